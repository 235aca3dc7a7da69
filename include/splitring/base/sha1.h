/* SHA-1, as FIPS 180-4 has it. For names of scripts and digests of data sets, as Redis computes
 * them; not for anything that must resist an attacker.
 * Thread: any (pure). */
#ifndef SPLITRING_BASE_SHA1_H
#define SPLITRING_BASE_SHA1_H

#include "splitring/base/slice.h"

#define SHA1_LEN 20u

void sha1(struct slice text, uint8_t out[SHA1_LEN]);
/* 40 digits, no terminator. */
void sha1_hex(const uint8_t digest[SHA1_LEN], char out[2 * SHA1_LEN]);

#endif
