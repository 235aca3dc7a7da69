/* LZF: bytes are literals or references to what came before.
 *
 *   000lllll                      l + 1 literal bytes follow
 *   lllddddd dddddddd             l + 2 bytes (l 1..6) from d + 1 bytes back
 *   111ddddd llllllll dddddddd    l + 9 bytes from d + 1 bytes back
 *
 * Decompression has one right answer; compression has not, and DUMP is to be Redis' to the byte. So
 * this makes the choices of liblzf 3.6 as Redis and Debian build it: a table of 2^16 positions
 * indexed by a hash of three bytes; the newest position only; position 0 is never referred to;
 * after a match only its last two positions enter the table; near the end of the input matches end
 * two bytes early, unless sixteen unconditional comparisons ran past that; a few pessimistic checks
 * of the output's room.
 *
 * The original begins with whatever lies in the table, which may (very rarely) make a difference;
 * here the slots that can be read are cleared first, one by one where that is less than all.
 * Source: http://oldhome.schmorp.de/marc/liblzf.html
 * Thread: any (pure). */
#include "lzf.h"

#define LITERALS_MAX 32u
#define DISTANCE_MAX 8192u
#define MATCH_MAX 264u
#define CLEAR_ALL_LEN 8192u /* from this input length on the whole table is cleared */

static inline uint32_t three(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}
static inline uint32_t slot_of(const uint8_t *p)
{
    uint32_t v = three(p);
    return ((v >> 8) - v * 5) & (uint32_t)(LZF_TABLE_SLOTS - 1);
}

static void clear_table(uint32_t *table, const uint8_t *in, size_t len)
{
    if (len >= CLEAR_ALL_LEN) {
        memset(table, 0, LZF_TABLE_LEN);
        return;
    }
    for (size_t i = 0; i + 2 < len; i++) table[slot_of(in + i)] = 0;
}

/* Bytes that are equal at both places, 3 at least (that many are known to be). */
static size_t match_len(const uint8_t *before, const uint8_t *here, size_t most)
{
    size_t len = 2;
    if (most > 16) {
        while (len < 18) {
            len++;
            if (before[len] != here[len]) return len;
        }
    }
    do len++;
    while (len < most && before[len] == here[len]);
    return len;
}

/* The output, with the literal run that is open. */
struct sink {
    uint8_t *out;
    size_t at, room;
    unsigned literals;
};

static inline void run_close(struct sink *s)
{
    if (s->literals) {
        s->out[s->at - s->literals - 1] = (uint8_t)(s->literals - 1);
    } else {
        s->at--; /* the byte that was kept for an empty run */
    }
}
static inline void run_open(struct sink *s)
{
    s->literals = 0;
    s->at++;
}
static inline void put_literal(struct sink *s, uint8_t byte)
{
    s->literals++;
    s->out[s->at++] = byte;
    if (s->literals == LITERALS_MAX) {
        run_close(s);
        run_open(s);
    }
}
/* False: no room. */
static bool put_match(struct sink *s, size_t distance, size_t len)
{
    if (s->at - (s->literals == 0) + 4 >= s->room) return false;
    run_close(s);
    size_t stored = len - 2, far = distance - 1;
    if (stored < 7) {
        s->out[s->at++] = (uint8_t)(far >> 8 | stored << 5);
    } else {
        s->out[s->at++] = (uint8_t)(far >> 8 | 7u << 5);
        s->out[s->at++] = (uint8_t)(stored - 7);
    }
    s->out[s->at++] = (uint8_t)far;
    run_open(s);
    return true;
}

size_t lzf_compress(struct slice text, char *out, size_t room, uint32_t *table)
{
    const uint8_t *in = (const uint8_t *)text.ptr;
    size_t len = text.len, i = 0;
    if (len == 0 || room == 0 || len > UINT32_MAX) return 0;
    struct sink s = {.out = (uint8_t *)out, .at = 1, .room = room};
    clear_table(table, in, len);
    while (i + 2 < len) {
        uint32_t *slot = &table[slot_of(in + i)];
        size_t before = *slot;
        *slot = (uint32_t)i;
        if (before == 0 || i - before > DISTANCE_MAX || three(in + before) != three(in + i)) {
            if (s.at >= room) return 0;
            put_literal(&s, in[i++]);
            continue;
        }
        size_t most = len - i - 2;
        if (most > MATCH_MAX) most = MATCH_MAX;
        size_t found = match_len(in + before, in + i, most);
        if (!put_match(&s, i - before, found)) return 0;
        i += found;
        if (i + 2 >= len) break;
        table[slot_of(in + i - 2)] = (uint32_t)(i - 2);
        table[slot_of(in + i - 1)] = (uint32_t)(i - 1);
    }
    if (s.at + 3 > room) return 0;
    while (i < len) put_literal(&s, in[i++]);
    run_close(&s);
    return s.at;
}

/* Texts of some ten bytes are the rule, and a call of memcpy costs more than copying these. The
 * parts do not overlap. */
static inline void copy_few(char *to, const char *from, size_t count)
{
    if (count > 32) {
        memcpy(to, from, count);
    } else if (count >= 16) {
        memcpy(to, from, 16);
        memcpy(to + count - 16, from + count - 16, 16);
    } else if (count >= 8) {
        memcpy(to, from, 8);
        memcpy(to + count - 8, from + count - 8, 8);
    } else {
        for (size_t i = 0; i < count; i++) to[i] = from[i];
    }
}

/* What lies `distance` bytes before, again and again where that is less than count. */
static inline void copy_back(char *to, size_t distance, size_t count)
{
    const char *from = to - distance;
    if (distance == 1) {
        memset(to, *from, count);
        return;
    }
    while (count > distance) {
        copy_few(to, from, distance);
        to += distance;
        count -= distance;
        distance *= 2;
    }
    copy_few(to, from, count);
}

bool lzf_decompress(struct slice text, char *out, size_t len)
{
    const uint8_t *in = (const uint8_t *)text.ptr, *end = in + text.len;
    size_t at = 0;
    while (in < end) {
        unsigned control = *in++;
        if (control < LITERALS_MAX) {
            size_t count = control + 1;
            if (count > (size_t)(end - in) || count > len - at) return false;
            copy_few(out + at, (const char *)in, count);
            in += count;
            at += count;
            continue;
        }
        size_t count = control >> 5;
        size_t more = count == 7 ? 2 : 1;
        if ((size_t)(end - in) < more) return false;
        if (count == 7) count += *in++;
        count += 2;
        size_t distance = (size_t)(control & 31) << 8 | *in++;
        distance++;
        if (distance > at || count > len - at) return false;
        copy_back(out + at, distance, count);
        at += count;
    }
    return at == len;
}
