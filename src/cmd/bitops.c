/* The arithmetic of BITCOUNT, BITPOS, BITFIELD and BITOP on plain bytes.
 *
 * Everything that touches many bytes works on 64-bit words loaded with memcpy (no alignment is
 * needed, no aliasing rule broken) in loops that gcc and clang turn into vector code for whatever
 * the build allows: no intrinsics, no dispatch at run time.
 *
 * Counting adds the counts of eight bytes side by side within a word; a byte's sum stays below 256
 * for 31 words, so the sums are widened once per block of 31 words only.
 *
 * BITOP goes through the result in blocks that fit the first-level cache, and through all sources
 * for each block, so a source byte and a result byte are touched once however many sources there
 * are. Two accumulators serve all operations that look at "the others" or at "exactly one":
 *     any   = bits seen so far           more = bits seen at least twice
 * A source that ends early counts as zeros.
 * Thread: any (pure). */
#include "cmd/bitops.h"

#include "splitring/base/check.h"

#define BLOCK 4096u     /* bytes of BITOP's block: two of them and a source fit 32 KiB */
#define COUNT_WORDS 31u /* 31 words of bytes with at most 8 bits: 248 */

static inline uint64_t load(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

/* The word whose highest bit is the string's first. */
static inline uint64_t load_ordered(const char *p, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < 8; i++) word = word << 8 | (i < len ? (uint8_t)p[i] : 0u);
    return word;
}

/* ---- counting ---- */

/* Eight counts of 0..8 side by side. */
static inline uint64_t byte_counts(uint64_t x)
{
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    return (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
}

static inline uint64_t sum_bytes(uint64_t x)
{
    x = (x & 0x00ff00ff00ff00ffu) + ((x >> 8) & 0x00ff00ff00ff00ffu);
    return (x * 0x0001000100010001u) >> 48;
}

static uint64_t count_bytes(const char *p, size_t len)
{
    uint64_t total = 0;
    while (len >= 4 * COUNT_WORDS * 8) {
        uint64_t sum[4] = {0, 0, 0, 0};
        for (size_t i = 0; i < COUNT_WORDS; i++, p += 32) {
            for (size_t lane = 0; lane < 4; lane++) sum[lane] += byte_counts(load(p + 8 * lane));
        }
        for (size_t lane = 0; lane < 4; lane++) total += sum_bytes(sum[lane]);
        len -= 4 * COUNT_WORDS * 8;
    }
    for (; len >= 8; len -= 8, p += 8) total += sum_bytes(byte_counts(load(p)));
    if (len) total += sum_bytes(byte_counts(load_ordered(p, len)));
    return total;
}

uint64_t bits_count(struct slice s, uint64_t from, uint64_t to)
{
    if (from >= to) return 0;
    dcheck(to <= (uint64_t)s.len * 8);
    size_t first = from >> 3, end = (to + 7) >> 3;
    uint64_t total = count_bytes(s.ptr + first, end - first);
    unsigned before = from & 7, after = (unsigned)(end * 8 - to);
    if (before) total -= sum_bytes(byte_counts((uint8_t)s.ptr[first] >> (8 - before)));
    if (after) total -= sum_bytes(byte_counts((uint8_t)s.ptr[end - 1] & ((1u << after) - 1)));
    return total;
}

/* ---- finding ---- */

/* First byte of [at, end) that has a bit other than `same`'s, or end. */
static size_t skip_bytes(const char *p, size_t at, size_t end, uint8_t same)
{
    uint64_t word = same ? UINT64_MAX : 0;
    while (end - at >= 32) {
        uint64_t differ = (load(p + at) ^ word) | (load(p + at + 8) ^ word) |
                          (load(p + at + 16) ^ word) | (load(p + at + 24) ^ word);
        if (differ) break;
        at += 32;
    }
    while (at < end && (uint8_t)p[at] == same) at++;
    return at;
}

int64_t bits_find(struct slice s, uint64_t from, uint64_t to, bool value)
{
    if (from >= to) return -1;
    dcheck(to <= (uint64_t)s.len * 8);
    /* Turned round where a 0 is looked for, so that it is a 1 in every byte below. */
    uint8_t flip = value ? 0 : 0xff;
    size_t at = from >> 3, end = (to + 7) >> 3;
    unsigned byte = (uint8_t)(s.ptr[at] ^ (char)flip) & (0xffu >> (from & 7));
    if (!byte) {
        at = skip_bytes(s.ptr, at + 1, end, flip);
        if (at == end) return -1;
        byte = (uint8_t)(s.ptr[at] ^ (char)flip);
    }
    uint64_t found = (uint64_t)at * 8 + (uint64_t)__builtin_clz(byte) - 24;
    return found < to ? (int64_t)found : -1;
}

/* ---- numbers ---- */

uint64_t bits_get(struct slice s, uint64_t at, unsigned width)
{
    dcheck(width >= 1 && width <= 64);
    uint64_t value = 0;
    while (width) {
        unsigned skip = at & 7;
        unsigned take = 8 - skip < width ? 8 - skip : width;
        uint64_t byte = (at >> 3) < s.len ? (uint8_t)s.ptr[at >> 3] : 0u;
        value = value << take | ((byte >> (8 - skip - take)) & ((1u << take) - 1));
        at += take;
        width -= take;
    }
    return value;
}

void bits_set(char *p, uint64_t at, unsigned width, uint64_t value)
{
    dcheck(width >= 1 && width <= 64);
    while (width) {
        unsigned skip = at & 7;
        unsigned take = 8 - skip < width ? 8 - skip : width;
        unsigned down = 8 - skip - take;
        unsigned mask = ((1u << take) - 1) << down;
        unsigned part = ((unsigned)(value >> (width - take)) << down) & mask;
        p[at >> 3] = (char)(((uint8_t)p[at >> 3] & ~mask) | part);
        at += take;
        width -= take;
    }
}

/* ---- combining ---- */

/* The block of a source, zero-padded to len through `pad` where it ends early. */
static const char *source_block(struct slice s, size_t at, size_t len, char pad[BLOCK])
{
    size_t have = s.len > at ? s.len - at : 0;
    if (have >= len) return s.ptr + at;
    if (have) memcpy(pad, s.ptr + at, have);
    memset(pad + have, 0, len - have);
    return pad;
}

typedef void fold_fn(char *restrict any, const char *restrict from, size_t len);

/* clang-format off */
/* Folds a word x of `from` into the word a of `any`, for all words. */
#define FOLD(name, expression) \
    static void name(char *restrict any, const char *restrict from, size_t len) \
    { \
        for (size_t i = 0; i < len; i += 8) { \
            uint64_t x = load(from + i), a = load(any + i); \
            a = (expression); \
            memcpy(any + i, &a, 8); \
        } \
    }

FOLD(fold_and, a & x)
FOLD(fold_or, a | x)
FOLD(fold_xor, a ^ x)
FOLD(fold_nor, ~(a | x))
FOLD(fold_and_not, a & ~x)
/* Here `from` is the first source, `any` the union of the others. */
FOLD(fold_diff, x & ~a)
FOLD(fold_diff1, ~x & a)
/* clang-format on */

static void fold_seen(char *restrict any, char *restrict more, const char *restrict from,
                      size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t x = load(from + i), a = load(any + i), m = load(more + i);
        m |= a & x;
        a |= x;
        memcpy(any + i, &a, 8);
        memcpy(more + i, &m, 8);
    }
}

/* One block of the result in `any`. Blocks are whole words: bytes behind len are scratch. */
static void combine_block(enum bits_op op, char any[BLOCK], size_t at, size_t len,
                          const struct slice *sources, size_t count)
{
    /* clang-format off */
    static fold_fn *const each[] = {[BITS_AND] = fold_and,
                                    [BITS_OR] = fold_or,
                                    [BITS_XOR] = fold_xor,
                                    [BITS_NOT] = NULL,
                                    [BITS_DIFF] = fold_or,
                                    [BITS_DIFF1] = fold_or,
                                    [BITS_ANDOR] = fold_or};
    static fold_fn *const last[] = {[BITS_NOT] = fold_nor,
                                    [BITS_DIFF] = fold_diff,
                                    [BITS_DIFF1] = fold_diff1,
                                    [BITS_ANDOR] = fold_and,
                                    [BITS_ONE] = fold_and_not};
    /* clang-format on */
    char pad[BLOCK], more[BLOCK];
    size_t words = (len + 7) & ~(size_t)7;
    if (op == BITS_ONE) {
        memset(any, 0, words);
        memset(more, 0, words);
        for (size_t i = 0; i < count; i++) {
            fold_seen(any, more, source_block(sources[i], at, words, pad), words);
        }
        last[op](any, more, words);
        return;
    }
    /* Those with a last step begin with the others, and take the first source there. */
    if (last[op]) memset(any, 0, words);
    else memcpy(any, source_block(sources[0], at, words, pad), words);
    for (size_t i = 1; i < count && each[op]; i++) {
        each[op](any, source_block(sources[i], at, words, pad), words);
    }
    if (last[op]) last[op](any, source_block(sources[0], at, words, pad), words);
}

void bits_combine(enum bits_op op, char *out, size_t len, const struct slice *sources, size_t count)
{
    char any[BLOCK];
    for (size_t at = 0; at < len; at += BLOCK) {
        size_t part = len - at < BLOCK ? len - at : BLOCK;
        combine_block(op, any, at, part, sources, count);
        memcpy(out + at, any, part);
    }
}
