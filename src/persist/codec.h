/* The alphabet of RDB: lengths, strings, numbers.
 * Thread: owner of the buffer / any. */
#ifndef SPLITRING_PERSIST_CODEC_INNER_H
#define SPLITRING_PERSIST_CODEC_INNER_H

#include "splitring/base/buf.h"
#include "splitring/persist/rdb.h"

/* ---- writing ---- */

#define RDB_VERSION_LEAST 10u /* Redis 7.0: older ones are read, not written */

struct rdb_writer {
    struct buf *out;      /* its `failed` is the only error */
    unsigned version;     /* what the reader knows */
    unsigned version_used; /* of the newest type that was written */
    bool compress;
    uint32_t *lzf;        /* LZF_TABLE_LEN bytes, made when first needed */
};

void rdb_writer_init(struct rdb_writer *w, struct buf *out, unsigned version, bool compress);
void rdb_writer_deinit(struct rdb_writer *w);
void rdb_put_byte(struct rdb_writer *w, unsigned byte);
/* A type that only readers of this version know. */
void rdb_put_type(struct rdb_writer *w, unsigned type, unsigned version);
void rdb_put_len(struct rdb_writer *w, uint64_t len);
void rdb_put_u64(struct rdb_writer *w, uint64_t value); /* 8 bytes, little endian */
void rdb_put_text(struct rdb_writer *w, struct slice text);
void rdb_put_int(struct rdb_writer *w, int64_t number); /* as a string */

/* The end of a payload: version and CRC-64 of all from begin on. */
void rdb_put_footer(struct buf *out, size_t begin, unsigned version);

/* ---- reading ---- */

#define RDB_FOOTER_LEN 10u
/* Which version wrote the payload; 0: none that we read, or damaged. */
unsigned rdb_payload_version(struct slice payload);

/* Every function returns false once something was wrong: error is then RDB_E_FORMAT or -ENOMEM. */
struct rdb_reader {
    const char *at, *end;
    int error;
};

/* A string that was read; s stays until the next read into the same rdb_text. {0} is an empty
 * one. */
struct rdb_text {
    struct slice s;
    char *room;
    size_t room_len;
    char digits[24];
};
void rdb_text_deinit(struct rdb_text *t);

static inline size_t rdb_left(const struct rdb_reader *r) { return (size_t)(r->end - r->at); }
bool rdb_bad(struct rdb_reader *r); /* notes RDB_E_FORMAT; false */
bool rdb_no_memory(struct rdb_reader *r);
bool rdb_get_byte(struct rdb_reader *r, uint8_t *byte);
bool rdb_get_len(struct rdb_reader *r, uint64_t *len);
/* A number of things that take `least` bytes each, or more: refused if the rest is too short. */
bool rdb_get_count(struct rdb_reader *r, size_t least, uint64_t *count);
bool rdb_get_u64(struct rdb_reader *r, uint64_t *value);
bool rdb_get_raw(struct rdb_reader *r, size_t len, const char **bytes);
bool rdb_get_text(struct rdb_reader *r, struct rdb_text *t);
bool rdb_get_double(struct rdb_reader *r, double *value);      /* binary; NaN is refused */
bool rdb_get_old_double(struct rdb_reader *r, double *value);  /* decimal text; NaN is refused */

#endif
