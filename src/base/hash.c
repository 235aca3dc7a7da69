/* Two hashes with two jobs. CRC16 places a key on a shard, and must be Redis Cluster's so that
 * clients can compute it. XXH3 with a secret seed places it in a table.
 *
 * CRC16 is linear over GF(2): the table entry of a byte is the sum of the entries of its bits. So
 * the eight tables of slicing-by-8 come from 64 constants, x^16 .. x^79 modulo x^16+x^12+x^5+1,
 * which the preprocessor adds up. Table k is for a byte that k more bytes follow.
 * Bytewise costs 21 ns for a 16-byte key, this 4.5 ns (FIGURES section 4); carry-less
 * multiplication would save one more nanosecond and need a second body.
 * Thread: any (pure). */
#include "splitring/base/hash.h"

#define XXH_INLINE_ALL
/* The library's own conversions are its business. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wundef"
#include <xxhash.h>
#pragma GCC diagnostic pop

#define BIT(byte, i, power) (((byte) >> (i)&1) * (power))
#define ENTRY(b, p0, p1, p2, p3, p4, p5, p6, p7) \
    BIT(b, 0, p0) ^ BIT(b, 1, p1) ^ BIT(b, 2, p2) ^ BIT(b, 3, p3) ^ BIT(b, 4, p4) ^ \
        BIT(b, 5, p5) ^ BIT(b, 6, p6) ^ BIT(b, 7, p7)
#define ENTRIES_4(b, ...) \
    ENTRY(b, __VA_ARGS__), ENTRY(b + 1, __VA_ARGS__), ENTRY(b + 2, __VA_ARGS__), \
        ENTRY(b + 3, __VA_ARGS__)
#define ENTRIES_16(b, ...) \
    ENTRIES_4(b, __VA_ARGS__), ENTRIES_4(b + 4, __VA_ARGS__), ENTRIES_4(b + 8, __VA_ARGS__), \
        ENTRIES_4(b + 12, __VA_ARGS__)
#define ENTRIES_64(b, ...) \
    ENTRIES_16(b, __VA_ARGS__), ENTRIES_16(b + 16, __VA_ARGS__), ENTRIES_16(b + 32, __VA_ARGS__), \
        ENTRIES_16(b + 48, __VA_ARGS__)
#define TABLE(...) \
    { \
        ENTRIES_64(0, __VA_ARGS__), ENTRIES_64(64, __VA_ARGS__), ENTRIES_64(128, __VA_ARGS__), \
            ENTRIES_64(192, __VA_ARGS__) \
    }

static const uint16_t crc16_table[8][256] = {
    TABLE(0x1021, 0x2042, 0x4084, 0x8108, 0x1231, 0x2462, 0x48c4, 0x9188),
    TABLE(0x3331, 0x6662, 0xccc4, 0x89a9, 0x0373, 0x06e6, 0x0dcc, 0x1b98),
    TABLE(0x3730, 0x6e60, 0xdcc0, 0xa9a1, 0x4363, 0x86c6, 0x1dad, 0x3b5a),
    TABLE(0x76b4, 0xed68, 0xcaf1, 0x85c3, 0x1ba7, 0x374e, 0x6e9c, 0xdd38),
    TABLE(0xaa51, 0x4483, 0x8906, 0x022d, 0x045a, 0x08b4, 0x1168, 0x22d0),
    TABLE(0x45a0, 0x8b40, 0x06a1, 0x0d42, 0x1a84, 0x3508, 0x6a10, 0xd420),
    TABLE(0xb861, 0x60e3, 0xc1c6, 0x93ad, 0x377b, 0x6ef6, 0xddec, 0xabf9),
    TABLE(0x47d3, 0x8fa6, 0x0f6d, 0x1eda, 0x3db4, 0x7b68, 0xf6d0, 0xfd81),
};

uint16_t hash_crc16(const char *ptr, size_t len)
{
    const unsigned char *p = (const unsigned char *)ptr;
    unsigned crc = 0;
    for (; len >= 8; len -= 8, p += 8) {
        crc = (unsigned)(crc16_table[7][p[0] ^ (crc >> 8)] ^ crc16_table[6][p[1] ^ (crc & 255u)] ^
                         crc16_table[5][p[2]] ^ crc16_table[4][p[3]] ^ crc16_table[3][p[4]] ^
                         crc16_table[2][p[5]] ^ crc16_table[1][p[6]] ^ crc16_table[0][p[7]]);
    }
    if (len == 1) {
        crc = ((crc << 8) & 0xffffu) ^ crc16_table[0][p[0] ^ (crc >> 8)];
    } else if (len >= 2) {
        /* The rest at once: its look-ups do not wait for one another. */
        unsigned rest = (unsigned)(crc16_table[len - 1][p[0] ^ (crc >> 8)] ^
                                   crc16_table[len - 2][p[1] ^ (crc & 255u)]);
        for (size_t i = 2; i < len; i++) rest ^= crc16_table[len - 1 - i][p[i]];
        crc = rest;
    }
    return (uint16_t)crc;
}

uint16_t hash_slot(struct slice key)
{
    /* What is between the first '{' and the first '}' after it, unless that is empty. */
    const char *open = key.len ? memchr(key.ptr, '{', key.len) : NULL;
    if (unlikely(open != NULL)) {
        const char *tag = open + 1;
        const char *close = memchr(tag, '}', (size_t)(key.ptr + key.len - tag));
        if (close != NULL && close != tag) key = slice_of(tag, (size_t)(close - tag));
    }
    return hash_crc16(key.ptr, key.len) & (SLOT_COUNT - 1);
}

uint64_t hash_key(struct slice key, uint64_t seed)
{
    return XXH3_64bits_withSeed(key.ptr, key.len, seed);
}
