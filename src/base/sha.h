/* What the digests of FIPS 180-4 with blocks of 64 bytes have in common: SHA-1 and SHA-256.
 * Thread: any (pure). */
#ifndef SPLITRING_SRC_BASE_SHA_H
#define SPLITRING_SRC_BASE_SHA_H

#include "splitring/base/slice.h"

static inline uint32_t sha_load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The whole text with its padding through add_block, then the state's first len bytes into out.
 * Source: FIPS 180-4, sections 5.1.1, 5.2.1. */
void sha_digest(struct slice text, uint32_t *state,
                void (*add_block)(uint32_t *state, const uint8_t *block), uint8_t *out,
                unsigned len);

#endif
