/* The alphabet of RDB: lengths, strings, numbers; from and to memory, or in blocks.
 * Thread: owner of the buffer / any. */
#ifndef SPLITRING_PERSIST_CODEC_INNER_H
#define SPLITRING_PERSIST_CODEC_INNER_H

#include <sys/types.h>

#include "splitring/base/buf.h"
#include "splitring/persist/rdb.h"

#define RDB_BLOCK 65536u /* bytes that are read and written at a time */

/* ---- writing ---- */

#define RDB_VERSION_LEAST 10u /* Redis 7.0: older ones are read, not written */

struct rdb_writer {
    struct buf *out;      /* its `failed` is the only error */
    unsigned version;     /* what the reader knows */
    unsigned version_used; /* of the newest type that was written */
    bool compress;
    bool exact;           /* newer types where older ones would lose something */
    bool key_due;         /* of a file: the key follows the type byte */
    struct slice key;
    uint32_t *lzf;        /* LZF_TABLE_LEN bytes, made when first needed */
    /* Takes what has come together in `out`, or `more` behind it; NULL: everything stays there. */
    void (*drain)(void *ctx, struct slice more);
    void *drain_ctx;
};

void rdb_writer_init(struct rdb_writer *w, struct buf *out, unsigned version, bool compress);
void rdb_writer_deinit(struct rdb_writer *w);
void rdb_put_byte(struct rdb_writer *w, unsigned byte);
/* A type that only readers of this version know. */
void rdb_put_type(struct rdb_writer *w, unsigned type, unsigned version);
void rdb_put_len(struct rdb_writer *w, uint64_t len);
void rdb_put_raw(struct rdb_writer *w, const void *bytes, size_t len);
void rdb_put_u64(struct rdb_writer *w, uint64_t value); /* 8 bytes, little endian */
void rdb_put_text(struct rdb_writer *w, struct slice text);
/* The same, never compressed. */
void rdb_put_text_plain(struct rdb_writer *w, struct slice text);
void rdb_put_int(struct rdb_writer *w, int64_t number); /* as a string */

/* The end of a payload: version and CRC-64 of all from begin on. */
void rdb_put_footer(struct buf *out, size_t begin, unsigned version);

/* ---- reading ---- */

#define RDB_FOOTER_LEN 10u
/* Which version wrote the payload; 0: none that we read, or damaged. */
unsigned rdb_payload_version(struct slice payload);

/* Where a reader's bytes come from when they are not all there. */
struct rdb_source {
    ssize_t (*read)(void *ctx, char *ptr, size_t len); /* bytes; 0: the end; a negative errno */
    void *ctx;
    char *block;        /* RDB_BLOCK bytes */
    uint64_t offset;    /* in the file, of the block's first byte */
    uint64_t size;      /* of the file; UINT64_MAX: not known */
    uint64_t crc;       /* of all bytes before `summed` */
    const char *summed; /* in the block */
    bool ended;         /* nothing more will come */
    bool cut_short;     /* … and something more was needed */
    char *packed;       /* compressed texts that are longer than a block */
    size_t packed_len;
};

/* Every function returns false once something was wrong: error is then RDB_E_FORMAT, RDB_E_EMPTY,
 * or a negative errno. */
struct rdb_reader {
    const char *at, *end;
    int error;
    struct rdb_source *source; /* at and end lie in its block; NULL: all bytes are there */
};

void rdb_source_init(struct rdb_source *src, struct rdb_reader *r);
void rdb_source_deinit(struct rdb_source *src);
/* With a source: the offset of the next byte in the file, and the checksum of all before it. */
uint64_t rdb_offset(const struct rdb_reader *r);
uint64_t rdb_crc(struct rdb_reader *r);

/* A string that was read; s stays until the next read into the same rdb_text. {0} is an empty
 * one. It must not be copied. */
struct rdb_text {
    struct slice s;
    char *room;
    size_t room_len;
    char small[64];
};
void rdb_text_deinit(struct rdb_text *t);

size_t rdb_source_left(const struct rdb_reader *r);
static inline size_t rdb_left(const struct rdb_reader *r)
{
    return unlikely(r->source != NULL) ? rdb_source_left(r) : (size_t)(r->end - r->at);
}
bool rdb_bad(struct rdb_reader *r); /* notes RDB_E_FORMAT; false */
bool rdb_empty(struct rdb_reader *r); /* notes RDB_E_EMPTY, when all of the value has been read */
bool rdb_no_memory(struct rdb_reader *r);
bool rdb_get_byte(struct rdb_reader *r, uint8_t *byte);
bool rdb_get_len(struct rdb_reader *r, uint64_t *len);
/* A number of things that take `least` bytes each, or more: refused if the rest is too short. */
bool rdb_get_count(struct rdb_reader *r, size_t least, uint64_t *count);
bool rdb_get_u64(struct rdb_reader *r, uint64_t *value);
/* At most a block; the bytes stay until the next read. */
bool rdb_get_raw(struct rdb_reader *r, size_t len, const char **bytes);
bool rdb_skip_raw(struct rdb_reader *r, uint64_t len);
bool rdb_skip_text(struct rdb_reader *r);
bool rdb_get_text(struct rdb_reader *r, struct rdb_text *t);
bool rdb_get_double(struct rdb_reader *r, double *value);      /* binary; NaN is refused */
bool rdb_get_old_double(struct rdb_reader *r, double *value);  /* decimal text; NaN is refused */

#endif
