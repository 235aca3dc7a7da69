/* SHA-256, as FIPS 180-4 has it: how ACL passwords are kept, as Redis keeps them. And comparing two
 * digests without telling by the time it takes where they differ.
 * Thread: any (pure). */
#ifndef SPLITRING_BASE_SHA256_H
#define SPLITRING_BASE_SHA256_H

#include "splitring/base/slice.h"

#define SHA256_LEN 32u

void sha256(struct slice text, uint8_t out[SHA256_LEN]);
bool sha256_same(const uint8_t a[SHA256_LEN], const uint8_t b[SHA256_LEN]);

#endif
