/* A growing byte buffer. {0} is a valid empty one. Growth that fails sets `failed` and drops the
 * bytes (client-sized data: the owner looks at the flag once and closes the client); nothing
 * aborts.
 * Thread: owner. */
#ifndef SPLITRING_BASE_BUF_H
#define SPLITRING_BASE_BUF_H

#include "splitring/base/slice.h"

struct buf {
    char *ptr;
    size_t len;
    size_t cap;
    bool failed;
};

void buf_deinit(struct buf *buf);                       /* frees, back to {0} */
bool buf_reserve_slow(struct buf *buf, size_t more);    /* room for `more` after len, or failed */
static inline bool buf_reserve(struct buf *buf, size_t more)
{
    return likely(buf->cap - buf->len >= more) || buf_reserve_slow(buf, more);
}
static inline void buf_append(struct buf *buf, const void *ptr, size_t len)
{
    if (!buf_reserve(buf, len)) return;
    if (len) memcpy(buf->ptr + buf->len, ptr, len);
    buf->len += len;
}
static inline void buf_append_slice(struct buf *buf, struct slice s)
{
    buf_append(buf, s.ptr, s.len);
}
static inline void buf_append_char(struct buf *buf, char c)
{
    if (buf_reserve(buf, 1)) buf->ptr[buf->len++] = c;
}
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_insert(struct buf *buf, size_t at, const void *ptr, size_t len); /* moves the tail */
void buf_consume(struct buf *buf, size_t len);                            /* drops the first len */
void buf_shrink(struct buf *buf, size_t cap_max); /* frees the block when empty and larger */
static inline struct slice buf_slice(const struct buf *buf) { return slice_of(buf->ptr, buf->len); }

#endif
