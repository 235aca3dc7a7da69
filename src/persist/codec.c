/* Lengths and strings of RDB.
 *
 *   length   00llllll | 01llllll llllllll | 0x80 u32 | 0x81 u64      (big endian)
 *   string   length and bytes, or one of
 *            0xc0 i8 | 0xc1 i16 | 0xc2 i32                           a number (little endian)
 *            0xc3 length-of-data length-of-text data                 LZF
 *
 * What is written is what Redis writes: texts up to 11 bytes that are canonical 32-bit integers as
 * numbers, texts beyond 20 bytes compressed where that saves four bytes.
 *
 * What is read may come from anywhere. A length is believed only as far as bytes follow: a text
 * needs that many, a compressed one a 88th of them, a count at least one byte for each thing.
 * Source: https://rdb.fnordig.de/file_format.html ; redis src/rdb.c for behaviour
 * Thread: owner of the buffer. */
#include "codec.h"

#include <errno.h>
#include <math.h>

#include "lzf.h"
#include "source.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"

enum { LEN_14 = 1, LEN_OTHER = 2, LEN_CODED = 3, LEN_U32 = 0x80, LEN_U64 = 0x81 };
enum { CODED_I8, CODED_I16, CODED_I32, CODED_LZF };

#define NUMBER_TEXT_MAX 11u
#define COMPRESS_MIN 20u /* longer texts are tried */
#define COMPRESS_GAIN 4u

/* ---- writing ---- */

void rdb_writer_init(struct rdb_writer *w, struct buf *out, unsigned version, bool compress)
{
    *w = (struct rdb_writer){.out = out, .version = version, .compress = compress};
    w->version_used = RDB_VERSION_LEAST;
}

void rdb_writer_deinit(struct rdb_writer *w)
{
    mem_free(w->lzf);
    w->lzf = NULL;
}

void rdb_put_byte(struct rdb_writer *w, unsigned byte) { buf_append_char(w->out, (char)byte); }

void rdb_put_type(struct rdb_writer *w, unsigned type, unsigned version)
{
    rdb_put_byte(w, type);
    if (version > w->version_used) w->version_used = version;
    if (!w->key_due) return;
    w->key_due = false;
    rdb_put_text(w, w->key);
}

/* Between two pieces: a full block goes out. */
static inline void make_room(struct rdb_writer *w)
{
    if (w->drain && w->out->len >= RDB_BLOCK) w->drain(w->drain_ctx, (struct slice){0});
}

void rdb_put_len(struct rdb_writer *w, uint64_t len)
{
    uint8_t bytes[9];
    size_t count;
    make_room(w);
    if (len < 1u << 6) {
        bytes[0] = (uint8_t)len;
        count = 1;
    } else if (len < 1u << 14) {
        bytes[0] = (uint8_t)(LEN_14 << 6 | len >> 8);
        bytes[1] = (uint8_t)len;
        count = 2;
    } else if (len <= UINT32_MAX) {
        uint32_t big = __builtin_bswap32((uint32_t)len);
        bytes[0] = LEN_U32;
        memcpy(bytes + 1, &big, sizeof(big));
        count = 5;
    } else {
        uint64_t big = __builtin_bswap64(len);
        bytes[0] = LEN_U64;
        memcpy(bytes + 1, &big, sizeof(big));
        count = 9;
    }
    buf_append(w->out, bytes, count);
}

void rdb_put_raw(struct rdb_writer *w, const void *bytes, size_t len)
{
    make_room(w);
    buf_append(w->out, bytes, len);
}

void rdb_put_u64(struct rdb_writer *w, uint64_t value) { buf_append(w->out, &value, 8); }

/* False: not a number of 32 bits. */
static bool put_small(struct rdb_writer *w, int64_t number)
{
    unsigned kind, len;
    if (number >= INT8_MIN && number <= INT8_MAX) {
        kind = CODED_I8;
        len = 1;
    } else if (number >= INT16_MIN && number <= INT16_MAX) {
        kind = CODED_I16;
        len = 2;
    } else if (number >= INT32_MIN && number <= INT32_MAX) {
        kind = CODED_I32;
        len = 4;
    } else {
        return false;
    }
    rdb_put_byte(w, LEN_CODED << 6 | kind);
    buf_append(w->out, &number, len);
    return true;
}

/* The data is compressed in place, behind room for its two lengths, and moved back onto them. */
static bool put_compressed(struct rdb_writer *w, struct slice text)
{
    if (!w->lzf) w->lzf = mem_try_alloc(LZF_TABLE_LEN);
    enum { HEAD = 1 + 9 + 9 };
    size_t most = text.len - COMPRESS_GAIN, begin = w->out->len;
    if (!w->lzf || !buf_reserve(w->out, HEAD + most)) return false;
    size_t len = lzf_compress(text, w->out->ptr + begin + HEAD, most, w->lzf);
    if (len == 0) return false;
    rdb_put_byte(w, LEN_CODED << 6 | CODED_LZF);
    rdb_put_len(w, len);
    rdb_put_len(w, text.len);
    memmove(w->out->ptr + w->out->len, w->out->ptr + begin + HEAD, len);
    w->out->len += len;
    return true;
}

void rdb_put_text(struct rdb_writer *w, struct slice text)
{
    int64_t number;
    make_room(w);
    if (text.len <= NUMBER_TEXT_MAX && num_parse_i64(text, &number) && put_small(w, number)) return;
    if (w->compress && text.len > COMPRESS_MIN && put_compressed(w, text)) return;
    rdb_put_text_plain(w, text);
}

void rdb_put_text_plain(struct rdb_writer *w, struct slice text)
{
    rdb_put_len(w, text.len);
    if (w->drain && text.len >= RDB_BLOCK) {
        w->drain(w->drain_ctx, text);
    } else {
        buf_append_slice(w->out, text);
    }
}

void rdb_put_int(struct rdb_writer *w, int64_t number)
{
    if (put_small(w, number)) return;
    char digits[NUM_I64_LEN_MAX];
    size_t len = num_format_i64(digits, number);
    rdb_put_len(w, len);
    buf_append(w->out, digits, len);
}

/* ---- reading ---- */

bool rdb_bad(struct rdb_reader *r)
{
    if (!r->error) r->error = RDB_E_FORMAT;
    return false;
}

bool rdb_no_memory(struct rdb_reader *r)
{
    if (!r->error) r->error = -ENOMEM;
    return false;
}

bool rdb_empty(struct rdb_reader *r)
{
    if (!r->error) r->error = RDB_E_EMPTY;
    return false;
}

bool rdb_get_raw(struct rdb_reader *r, size_t len, const char **bytes)
{
    if (unlikely(r->error)) return false;
    if (unlikely(len > (size_t)(r->end - r->at))) {
        if (!r->source || !rdb_source_need(r, len)) return rdb_bad(r);
    }
    *bytes = r->at;
    r->at += len;
    return true;
}

bool rdb_get_byte(struct rdb_reader *r, uint8_t *byte)
{
    const char *p;
    if (!rdb_get_raw(r, 1, &p)) return false;
    *byte = (uint8_t)*p;
    return true;
}

bool rdb_get_u64(struct rdb_reader *r, uint64_t *value)
{
    const char *p;
    if (!rdb_get_raw(r, sizeof(*value), &p)) return false;
    memcpy(value, p, sizeof(*value));
    return true;
}

/* A length, or with *coded set the kind of a coded string. */
static bool get_len(struct rdb_reader *r, uint64_t *len, bool *coded)
{
    uint8_t first, second;
    const char *p;
    *coded = false;
    if (!rdb_get_byte(r, &first)) return false;
    switch (first >> 6) {
    case 0: *len = first; return true;
    case LEN_14:
        if (!rdb_get_byte(r, &second)) return false;
        *len = (uint64_t)(first & 63) << 8 | second;
        return true;
    case LEN_CODED:
        *coded = true;
        *len = first & 63;
        return true;
    default: break;
    }
    if (first == LEN_U32) {
        uint32_t big;
        if (!rdb_get_raw(r, sizeof(big), &p)) return false;
        memcpy(&big, p, sizeof(big));
        *len = __builtin_bswap32(big);
        return true;
    }
    if (first != LEN_U64 || !rdb_get_u64(r, len)) return rdb_bad(r);
    *len = __builtin_bswap64(*len);
    return true;
}

bool rdb_get_len(struct rdb_reader *r, uint64_t *len)
{
    bool coded;
    if (!get_len(r, len, &coded)) return false;
    return coded ? rdb_bad(r) : true;
}

bool rdb_get_count(struct rdb_reader *r, size_t least, uint64_t *count)
{
    if (!rdb_get_len(r, count)) return false;
    return *count > rdb_left(r) / least ? rdb_bad(r) : true;
}

void rdb_text_deinit(struct rdb_text *t)
{
    mem_free(t->room);
    *t = (struct rdb_text){0};
}

static bool text_room(struct rdb_reader *r, struct rdb_text *t, size_t len)
{
    if (len <= t->room_len) return true;
    char *room = mem_try_realloc(t->room, len);
    if (!room) return rdb_no_memory(r);
    t->room = room;
    t->room_len = len;
    return true;
}

/* A block does not stay, so the text is copied; a long one is read straight into its room. */
static bool take_text(struct rdb_reader *r, struct rdb_text *t, uint64_t len)
{
    if (len <= sizeof(t->small)) {
        const char *bytes;
        if (!rdb_get_raw(r, len, &bytes)) return false;
        memcpy(t->small, bytes, len);
        t->s = slice_of(t->small, len);
        return true;
    }
    if (!rdb_source_take(r, &t->room, &t->room_len, len)) return false;
    t->s = slice_of(t->room, len);
    return true;
}

static bool get_compressed(struct rdb_reader *r, struct rdb_text *t)
{
    uint64_t data_len, len;
    const char *data;
    if (!rdb_get_len(r, &data_len) || !rdb_get_len(r, &len)) return false;
    if (data_len > rdb_left(r) || len > data_len * LZF_RATIO_MAX || len == 0) return rdb_bad(r);
    if (r->source && data_len > RDB_BLOCK) {
        struct rdb_source *src = r->source;
        if (!rdb_source_take(r, &src->packed, &src->packed_len, data_len)) return false;
        data = src->packed;
    } else if (!rdb_get_raw(r, data_len, &data)) {
        return false;
    }
    if (!text_room(r, t, len)) return false;
    if (!lzf_decompress(slice_of(data, data_len), t->room, len)) return rdb_bad(r);
    t->s = slice_of(t->room, len);
    return true;
}

static bool get_number(struct rdb_reader *r, struct rdb_text *t, size_t len)
{
    const char *p;
    if (!rdb_get_raw(r, len, &p)) return false;
    uint64_t raw = 0;
    memcpy(&raw, p, len);
    unsigned unused = 64 - 8 * (unsigned)len;
    int64_t number = (int64_t)(raw << unused) >> unused;
    t->s = slice_of(t->small, num_format_i64(t->small, number));
    return true;
}

bool rdb_get_text(struct rdb_reader *r, struct rdb_text *t)
{
    uint64_t len;
    bool coded;
    if (!get_len(r, &len, &coded)) return false;
    if (!coded && r->source) return take_text(r, t, len);
    if (!coded) {
        const char *bytes;
        if (!rdb_get_raw(r, len, &bytes)) return false;
        t->s = slice_of(bytes, len);
        return true;
    }
    switch (len) {
    case CODED_I8: return get_number(r, t, 1);
    case CODED_I16: return get_number(r, t, 2);
    case CODED_I32: return get_number(r, t, 4);
    case CODED_LZF: return get_compressed(r, t);
    default: return rdb_bad(r);
    }
}

bool rdb_skip_text(struct rdb_reader *r)
{
    uint64_t len, text_len;
    bool coded;
    if (!get_len(r, &len, &coded)) return false;
    if (!coded) return rdb_skip_raw(r, len);
    switch (len) {
    case CODED_I8: return rdb_skip_raw(r, 1);
    case CODED_I16: return rdb_skip_raw(r, 2);
    case CODED_I32: return rdb_skip_raw(r, 4);
    case CODED_LZF:
        return rdb_get_len(r, &len) && rdb_get_len(r, &text_len) && rdb_skip_raw(r, len);
    default: return rdb_bad(r);
    }
}

bool rdb_get_double(struct rdb_reader *r, double *value)
{
    const char *p;
    if (!rdb_get_raw(r, sizeof(*value), &p)) return false;
    memcpy(value, p, sizeof(*value));
    return isnan(*value) ? rdb_bad(r) : true;
}

bool rdb_get_old_double(struct rdb_reader *r, double *value)
{
    enum { OLD_NAN = 253, OLD_INF = 254, OLD_MINUS_INF = 255 };
    uint8_t len;
    const char *text;
    if (!rdb_get_byte(r, &len)) return false;
    switch (len) {
    case OLD_NAN: return rdb_bad(r);
    case OLD_INF: *value = INFINITY; return true;
    case OLD_MINUS_INF: *value = -INFINITY; return true;
    default: break;
    }
    if (!rdb_get_raw(r, len, &text)) return false;
    return num_parse_double(slice_of(text, len), value) ? true : rdb_bad(r);
}
