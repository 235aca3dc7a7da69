/* Bytes of one pass, packed one after another: small pieces of many sockets stay in a few hot cache
 * lines. Address space, whose memory comes with use and goes after a while without.
 * Thread: owner. */
#ifndef SPLITRING_SRC_IO_PASS_ARENA_H
#define SPLITRING_SRC_IO_PASS_ARENA_H

#include "splitring/base/check.h"

struct pass_arena {
    /* constant after start */
    char *base;
    size_t len;
    /* owner only */
    size_t used; /* bytes of this pass */
    size_t peak; /* most in a pass of this window */
    size_t high; /* touched since the last discard */
    unsigned passes;
};

bool pass_arena_init(struct pass_arena *arena, size_t len) WARN_UNUSED; /* of whole pages */
void pass_arena_deinit(struct pass_arena *arena);
void pass_arena_reset(struct pass_arena *arena); /* a new pass: all of it is free */

static inline char *pass_arena_room(const struct pass_arena *arena)
{
    return arena->base + arena->used;
}
static inline void pass_arena_take(struct pass_arena *arena, size_t len)
{
    arena->used += (len + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
}

#endif
