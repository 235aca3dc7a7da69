/* The growing buffer: replies, query tails, log records, chunks of a file.
 *
 * Room doubles while it is small, which keeps copying cheap, and grows by a quarter when it is
 * large, which keeps waste bounded: a 100 MB reply should not sit in 200 MB. Growth that fails
 * drops the block and raises `failed`; with cap = len = 0 every later append comes to
 * buf_reserve_slow, which refuses, so writers need no checks of their own.
 * Thread: owner. */
#include "splitring/base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "splitring/base/mem.h"

#define CAP_MIN 64u
#define DOUBLING_MAX ((size_t)1 << 20)

void buf_deinit(struct buf *buf)
{
    mem_free(buf->ptr);
    *buf = (struct buf){0};
}

static bool fail(struct buf *buf)
{
    mem_free(buf->ptr);
    *buf = (struct buf){.failed = true};
    return false;
}

bool buf_reserve_slow(struct buf *buf, size_t more)
{
    if (buf->failed) return false;
    size_t need = buf->len + more;
    if (need < more) return fail(buf);
    if (need <= buf->cap) return true;

    size_t cap = buf->cap < DOUBLING_MAX ? buf->cap * 2 : buf->cap + buf->cap / 4;
    if (cap < CAP_MIN) cap = CAP_MIN;
    if (cap < need) cap = need;
    char *ptr = mem_try_realloc(buf->ptr, cap);
    if (ptr == NULL) return fail(buf);
    buf->ptr = ptr;
    buf->cap = cap;
    return true;
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    for (size_t room = 128;;) {
        if (!buf_reserve(buf, room)) return;
        size_t left = buf->cap - buf->len;
        va_list args;
        va_start(args, fmt);
        int len = vsnprintf(buf->ptr + buf->len, left, fmt, args);
        va_end(args);
        if (len < 0) {
            (void)fail(buf);
            return;
        }
        if ((size_t)len < left) {
            buf->len += (size_t)len;
            return;
        }
        room = (size_t)len + 1;
    }
}

void buf_insert(struct buf *buf, size_t at, const void *ptr, size_t len)
{
    if (len == 0 || !buf_reserve(buf, len)) return;
    memmove(buf->ptr + at + len, buf->ptr + at, buf->len - at);
    memcpy(buf->ptr + at, ptr, len);
    buf->len += len;
}

void buf_consume(struct buf *buf, size_t len)
{
    if (len == 0) return;
    buf->len -= len;
    if (buf->len) memmove(buf->ptr, buf->ptr + len, buf->len);
}

void buf_shrink(struct buf *buf, size_t cap_max)
{
    if (buf->len != 0 || buf->cap <= cap_max) return;
    mem_free(buf->ptr);
    buf->ptr = NULL;
    buf->cap = 0;
}
