/* Writing RESP2 / RESP3 into a buffer. Handlers write replies here and never see a socket.
 * Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
 * Thread: owner of the buffer. */
#ifndef SPLITRING_RESP_REPLY_H
#define SPLITRING_RESP_REPLY_H

#include "splitring/base/buf.h"
#include "splitring/resp/errors.h"

struct reply {
    struct buf *out;
    uint8_t proto;     /* 2 or 3 */
    uint32_t errors;   /* error replies written so far (statistics; EXEC, scripts) */
};

void reply_raw(struct reply *r, const char *ptr, size_t len);
void reply_ok(struct reply *r);
void reply_simple(struct reply *r, const char *text);        /* +text */
void reply_int(struct reply *r, int64_t value);
void reply_bulk(struct reply *r, const char *ptr, size_t len);
void reply_bulk_slice(struct reply *r, struct slice s);
void reply_bulk_str(struct reply *r, const char *text);
void reply_bulk_int(struct reply *r, int64_t value);         /* the number as a bulk string */
void reply_null(struct reply *r);                            /* $-1 or _ */
void reply_null_array(struct reply *r);                      /* *-1 or _ */
void reply_bool(struct reply *r, bool value);                /* :1/:0 or #t/#f */
void reply_double(struct reply *r, double value);            /* bulk or , */
void reply_verbatim(struct reply *r, const char ext[3], struct slice text); /* bulk or = */
void reply_array(struct reply *r, size_t count);
void reply_map(struct reply *r, size_t pairs);               /* *2n or % */
void reply_set(struct reply *r, size_t count);               /* * or ~ */
void reply_push(struct reply *r, size_t count);              /* * or > */
/* Length known only afterwards: begin returns a mark; end inserts the header there. */
size_t reply_deferred_begin(struct reply *r);
void reply_deferred_array(struct reply *r, size_t mark, size_t count);
void reply_deferred_map(struct reply *r, size_t mark, size_t pairs);
void reply_deferred_set(struct reply *r, size_t mark, size_t count);

/* One of resp/errors.toml; printf arguments where the text has them. CR and LF inside arguments
 * become blanks, as Redis does. */
void reply_error(struct reply *r, enum error_id id);
void reply_errorf(struct reply *r, enum error_id id, ...);
/* A text made elsewhere, without the leading '-' ("ERR …"). */
void reply_error_text(struct reply *r, const char *ptr, size_t len);

#endif
