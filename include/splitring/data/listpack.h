/* Listpack: a run of strings and integers in one block of bytes, in the layout of Redis, so that
 * DUMP and snapshots copy it as it is.
 *
 *   total bytes u32 | elements u16 (65535: unknown, count them) | element … | 0xFF
 *   element: encoding and data | its length once more, readable from its end ("backlen")
 *
 * An element is named by its offset from the block's start (0: none, past the end), because the
 * block may move whenever it is edited. Strings that are canonical 64-bit integers are stored as
 * integers, as Redis does.
 * Source: https://github.com/antirez/listpack/blob/master/listpack.md
 * Thread: owner. */
#ifndef SPLITRING_DATA_LISTPACK_H
#define SPLITRING_DATA_LISTPACK_H

#include "splitring/base/buf.h"

#define LP_HEADER 6u
#define LP_EMPTY_LEN 7u      /* header and end */
#define LP_NUMBER_LEN 21u
#define LP_NONE 0u           /* offset of no element */

struct lp_value {
    struct slice text;  /* points into the block; of a number: ptr is NULL */
    int64_t number;
};

/* ---- the encodings ---- */

enum {
    LP_UINT7_MAX = 0x7F,  /* 0xxxxxxx */
    LP_STR6 = 0x80,       /* 10xxxxxx and the bytes */
    LP_INT13 = 0xC0,      /* 110xxxxx xxxxxxxx, signed, high byte first */
    LP_STR12 = 0xE0,      /* 1110xxxx xxxxxxxx and the bytes */
    LP_STR32 = 0xF0,      /* and 4 bytes of length, little endian, as all that follows */
    LP_INT16 = 0xF1,
    LP_INT24 = 0xF2,
    LP_INT32 = 0xF3,
    LP_INT64 = 0xF4,
    LP_END = 0xFF,
};

static inline uint32_t lp_read_u32(const char *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof(value));
    return value;
}
/* Encoding and data of the element at p, without its backlen. */
static inline size_t lp_data_len(const char *p)
{
    uint8_t kind = (uint8_t)p[0];
    if (kind < LP_STR6) return 1;
    if (kind < LP_INT13) return 1 + (size_t)(kind & 63);
    if (kind < LP_STR12) return 2;
    if (kind < LP_STR32) return 2 + ((size_t)(kind & 15) << 8 | (uint8_t)p[1]);
    if (kind == LP_STR32) return 5 + (size_t)lp_read_u32(p + 1);
    if (kind == LP_INT64) return 9;
    return kind == LP_END ? 1 : 2 + (size_t)(kind - LP_STR32);
}
/* Bytes of the backlen for so much data. Redis' limits lie one below what would fit. */
static inline size_t lp_backlen_len(size_t data_len)
{
    if (likely(data_len <= 127)) return 1;
    if (data_len < 16383) return 2;
    if (data_len < 2097151) return 3;
    return data_len < 268435455 ? 4 : 5;
}
struct lp_value lp_get_long(const char *p); /* the kinds from LP_INT13 on */

/* ---- reading: bytes is a valid listpack ---- */

static inline size_t lp_len(const char *bytes) { return lp_read_u32(bytes); } /* of the whole */
uint32_t lp_count(const char *bytes);   /* elements; counts them from 65535 on */
static inline size_t lp_first(const char *bytes) /* offset; LP_NONE when empty */
{
    return (uint8_t)bytes[LP_HEADER] == LP_END ? LP_NONE : LP_HEADER;
}
size_t lp_last(const char *bytes);
/* Bytes the element takes in the block. */
static inline size_t lp_element_len(const char *bytes, size_t at)
{
    size_t len = lp_data_len(bytes + at);
    return len + lp_backlen_len(len);
}
static inline size_t lp_next(const char *bytes, size_t at) /* LP_NONE after the last */
{
    at += lp_element_len(bytes, at);
    return (uint8_t)bytes[at] == LP_END ? LP_NONE : at;
}
size_t lp_prev(const char *bytes, size_t at);
size_t lp_seek(const char *bytes, int64_t index); /* negative: from the end; LP_NONE: outside */
static inline struct lp_value lp_get(const char *bytes, size_t at)
{
    const char *p = bytes + at;
    uint8_t kind = (uint8_t)p[0];
    if (kind < LP_STR6) return (struct lp_value){.number = kind};
    if (kind < LP_INT13) return (struct lp_value){.text = {p + 1, (size_t)(kind & 63)}};
    return lp_get_long(p);
}
/* The element's text; a number is formatted into scratch. */
struct slice lp_text(const char *bytes, size_t at, char scratch[LP_NUMBER_LEN]);
bool lp_equal(const char *bytes, size_t at, struct slice text);
bool lp_number(const char *bytes, size_t at, int64_t *number); /* is, or reads as, an integer */
/* The first element equal to text, from `at` on, looking at every (skip + 1)-th; LP_NONE. */
size_t lp_find(const char *bytes, size_t at, struct slice text, unsigned skip);
/* The same, looking at every one; *passed grows by the elements that were not it. */
size_t lp_find_counted(const char *bytes, size_t at, struct slice text, uint64_t *passed);
size_t lp_encoded_len(struct slice text);            /* bytes it would take */

/* ---- editing ---- */

/* A listpack that may be edited. resize makes the block len bytes long (contents up to the shorter
 * length stay), sets lp->bytes and returns it; NULL: no memory, nothing has changed. Embed the
 * struct to know more in resize. */
struct lp {
    char *bytes;
    char *(*resize)(struct lp *lp, size_t len);
};
/* A block of mem_try_realloc: the caller frees lp->bytes with mem_free. */
char *lp_resize_heap(struct lp *lp, size_t len);

/* Writes an empty listpack into LP_EMPTY_LEN bytes. */
void lp_init(char *bytes);
/* All return 0 or -ENOMEM (nothing changed). Offsets before `at` stay valid. The texts must not
 * point into the block. A total beyond 1 GiB counts as no memory. */
int lp_append(struct lp *lp, struct slice text) WARN_UNUSED;
int lp_append_number(struct lp *lp, int64_t number) WARN_UNUSED;
int lp_prepend(struct lp *lp, struct slice text) WARN_UNUSED;
/* Before the element at `at`; LP_NONE: at the end. The new element's offset is then `at` (or the
 * former end). */
int lp_insert(struct lp *lp, size_t at, struct slice text) WARN_UNUSED;
/* Several elements in one move of the tail, as they would be inserted one after the other. */
int lp_insert_many(struct lp *lp, size_t at, const struct slice *texts, size_t count) WARN_UNUSED;
int lp_replace(struct lp *lp, size_t at, struct slice text) WARN_UNUSED;
int lp_replace_number(struct lp *lp, size_t at, int64_t number) WARN_UNUSED;
/* `count` elements from `at` on go (fewer at the end). The offset of what follows is then `at`, if
 * anything does: lp_len(bytes) - 1 == at means the end. Shrinking never fails. */
void lp_delete(struct lp *lp, size_t at, size_t count);
/* The same at the front, in place: the block grows (shrinks) at its start, and nothing but the
 * header moves. A listpack lies at bytes + len, where len is lp_encoded_len(text): it begins at
 * bytes afterwards, with the text before its elements. */
void lp_push_front(char *bytes, size_t len, struct slice text);
/* Where the listpack begins once its first element has gone. */
char *lp_pop_front(char *bytes);
/* All elements of another listpack, before those that are there. */
int lp_join_front(struct lp *lp, const char *other) WARN_UNUSED;
/* Writes a listpack of the `count` elements from offset `from` up to `to` (lp_len - 1: the end)
 * into LP_EMPTY_LEN + to - from bytes. */
void lp_copy_range(const char *bytes, size_t from, size_t to, uint32_t count, char *out);

/* Appends elements to plain bytes, to build a listpack in a buffer: begin, add …, end. No memory,
 * or more than 1 GiB: out->failed. */
void lp_build_begin(struct buf *out);
void lp_build_add(struct buf *out, struct slice text);
void lp_build_add_number(struct buf *out, int64_t number);
void lp_build_end(struct buf *out, size_t begin); /* begin: out->len before lp_build_begin */

/* ---- outside data ---- */

/* True if the bytes are one valid listpack from first to last byte: header, every element's
 * encoding, length and backlen, the end, the count. Reads each byte at most once. */
bool lp_valid(struct slice bytes, uint32_t *count);
/* Of a valid one: it is, to the byte, what building it anew would make. */
bool lp_is_canonical(const char *bytes);

#endif
