/* SHA-1 of a text that lies in memory as a whole.
 * Source: FIPS 180-4, sections 4.1.1, 4.2.1, 5 and 6.1.
 * Thread: any (pure). */
#include "splitring/base/sha1.h"

#include "sha.h"

static uint32_t rotate(uint32_t x, unsigned n) { return x << n | x >> (32 - n); }

static void add_block(uint32_t *state, const uint8_t *block)
{
    static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (unsigned t = 0; t < 16; t++) w[t] = sha_load_be32(block + 4 * t);
    for (unsigned t = 16; t < 80; t++)
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    for (unsigned t = 0; t < 80; t++) {
        uint32_t f = b ^ c ^ d;
        if (t < 20) f = (b & c) | (~b & d);
        else if (t >= 40 && t < 60) f = (b & c) | (b & d) | (c & d);
        uint32_t next = rotate(a, 5) + f + e + constants[t / 20] + w[t];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void sha1(struct slice text, uint8_t out[SHA1_LEN])
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    sha_digest(text, state, add_block, out, SHA1_LEN);
}

void sha1_hex(const uint8_t digest[SHA1_LEN], char out[2 * SHA1_LEN])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < SHA1_LEN; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
}
