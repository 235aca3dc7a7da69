/* SHA-1 of a text that lies in memory as a whole.
 * Source: FIPS 180-4, sections 4.1.1, 4.2.1, 5 and 6.1.
 * Thread: any (pure). */
#include "splitring/base/sha1.h"

static uint32_t rotate(uint32_t x, unsigned n) { return x << n | x >> (32 - n); }

static uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void add_block(uint32_t state[5], const uint8_t block[64])
{
    static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (unsigned t = 0; t < 16; t++) w[t] = load_be32(block + 4 * t);
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
    uint8_t last[128] = {0};
    const uint8_t *bytes = (const uint8_t *)text.ptr;
    size_t left = text.len;
    for (; left >= 64; left -= 64, bytes += 64) add_block(state, bytes);
    if (left) memcpy(last, bytes, left);
    last[left] = 0x80;
    size_t padded = left < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)text.len * 8;
    for (unsigned i = 0; i < 8; i++) last[padded - 1 - i] = (uint8_t)(bits >> (8 * i));
    add_block(state, last);
    if (padded == 128) add_block(state, last + 64);
    for (unsigned i = 0; i < SHA1_LEN; i++)
        out[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

void sha1_hex(const uint8_t digest[SHA1_LEN], char out[2 * SHA1_LEN])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < SHA1_LEN; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
}
