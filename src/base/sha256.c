/* SHA-256 of a text that lies in memory as a whole. The round constants are the first 32 bits of
 * the fractional parts of the cube roots of the first 64 primes; the test computes nothing anew but
 * compares with the standard's examples and with lengths around the block's end.
 * Source: FIPS 180-4, sections 4.1.2, 4.2.2, 5 and 6.2.
 * Thread: any (pure). */
#include "splitring/base/sha256.h"

#include "sha.h"

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

static void add_block(uint32_t *state, const uint8_t *block)
{
    uint32_t w[64], v[8];
    for (unsigned t = 0; t < 16; t++) w[t] = sha_load_be32(block + 4 * t);
    for (unsigned t = 16; t < 64; t++) {
        uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    memcpy(v, state, sizeof v);
    for (unsigned t = 0; t < 64; t++) {
        uint32_t e = v[4], a = v[0];
        uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        uint32_t next = v[7] + s1 + ((e & v[5]) ^ (~e & v[6])) + constants[t] + w[t];
        uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        uint32_t majority = (a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]);
        for (unsigned i = 7; i > 0; i--) v[i] = v[i - 1];
        v[4] += next;
        v[0] = next + s0 + majority;
    }
    for (unsigned i = 0; i < 8; i++) state[i] += v[i];
}

void sha256(struct slice text, uint8_t out[SHA256_LEN])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    sha_digest(text, state, add_block, out, SHA256_LEN);
}

bool sha256_same(const uint8_t a[SHA256_LEN], const uint8_t b[SHA256_LEN])
{
    volatile uint8_t differs = 0; /* volatile: no early end may be made of it */
    for (unsigned i = 0; i < SHA256_LEN; i++) differs = (uint8_t)(differs | (a[i] ^ b[i]));
    return differs == 0;
}
