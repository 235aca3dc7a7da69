/* Bits of a byte string, as the bitmap commands number them: bit 0 is the highest bit of byte 0.
 * Ranges are half open and in bits; they lie within the string.
 * Thread: any (pure). */
#ifndef SPLITRING_CMD_BITOPS_H
#define SPLITRING_CMD_BITOPS_H

#include "splitring/base/slice.h"

/* Bits set in [from, to). */
uint64_t bits_count(struct slice s, uint64_t from, uint64_t to);
/* Position of the first bit with that value in [from, to), or -1. */
int64_t bits_find(struct slice s, uint64_t from, uint64_t to, bool value);

/* An unsigned number of `width` (1..64) bits, the highest first. Bits behind the end read as 0. */
uint64_t bits_get(struct slice s, uint64_t at, unsigned width);
/* The lowest `width` bits of value; [at, at + width) must lie within p. */
void bits_set(char *p, uint64_t at, unsigned width, uint64_t value);

enum bits_op {
    BITS_AND,
    BITS_OR,
    BITS_XOR,
    BITS_NOT,   /* of the first source */
    BITS_DIFF,  /* in the first source, in none of the others */
    BITS_DIFF1, /* in one of the others, not in the first */
    BITS_ANDOR, /* in the first source and in one of the others */
    BITS_ONE    /* in exactly one source */
};
/* Combines count >= 1 sources (zero-padded on the right) into out[0..len). */
void bits_combine(enum bits_op op, char *out, size_t len, const struct slice *sources,
                  size_t count);

#endif
