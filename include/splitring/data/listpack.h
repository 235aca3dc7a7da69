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

/* ---- reading: bytes is a valid listpack ---- */

size_t lp_len(const char *bytes);       /* bytes of the whole */
uint32_t lp_count(const char *bytes);   /* elements */
size_t lp_first(const char *bytes);     /* offset; LP_NONE when empty */
size_t lp_last(const char *bytes);
size_t lp_next(const char *bytes, size_t at);
size_t lp_prev(const char *bytes, size_t at);
size_t lp_seek(const char *bytes, int64_t index); /* negative: from the end; LP_NONE: outside */
struct lp_value lp_get(const char *bytes, size_t at);
/* The element's text; a number is formatted into scratch. */
struct slice lp_text(const char *bytes, size_t at, char scratch[LP_NUMBER_LEN]);
bool lp_equal(const char *bytes, size_t at, struct slice text);
bool lp_number(const char *bytes, size_t at, int64_t *number); /* is, or reads as, an integer */
/* The first element equal to text, from `at` on, looking at every (skip + 1)-th; LP_NONE. */
size_t lp_find(const char *bytes, size_t at, struct slice text, unsigned skip);
size_t lp_element_len(const char *bytes, size_t at); /* bytes it takes in the block */
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

/* Appends elements to plain bytes, to build a listpack in a buffer: begin, add …, end. */
void lp_build_begin(struct buf *out);
void lp_build_add(struct buf *out, struct slice text);
void lp_build_add_number(struct buf *out, int64_t number);
void lp_build_end(struct buf *out, size_t begin); /* begin: out->len before lp_build_begin */

/* ---- outside data ---- */

/* True if the bytes are one valid listpack from first to last byte: header, every element's
 * encoding, length and backlen, the end, the count. Reads each byte at most once. */
bool lp_valid(struct slice bytes, uint32_t *count);

#endif
