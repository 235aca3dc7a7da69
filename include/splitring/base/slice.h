/* A borrowed run of bytes: no ownership, no terminator.
 * Thread: any (plain values). */
#ifndef SPLITRING_BASE_SLICE_H
#define SPLITRING_BASE_SLICE_H

#include <string.h>

#include "splitring/base/types.h"

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_of(const char *ptr, size_t len)
{
    return (struct slice){ptr, len};
}
static inline struct slice slice_str(const char *s) { return (struct slice){s, strlen(s)}; }
static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
/* memcmp order, the shorter first where one is a prefix of the other. */
int slice_compare(struct slice a, struct slice b);
/* ASCII case-insensitive; word is the expected text ("WITHVALUES"). */
bool slice_is_word(struct slice a, const char *word);

/* Glob of Redis (stringmatchlen: * ? [a-z] [^a] \x), without its exponential blow-up: time is
 * O(pattern * text). Source: https://redis.io/docs/latest/commands/keys/ */
bool slice_glob(struct slice pattern, struct slice text, bool ignore_case);

#endif
