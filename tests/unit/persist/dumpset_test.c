/* The manifest of a set of dumps: what is written is read again, and nothing else is. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "aof_line.h"
#include "splitring/base/mem.h"
#include "splitring/base/rng.h"
#include "splitring/persist/dumpset.h"

static struct dumpset_manifest made(unsigned count)
{
    struct dumpset_manifest m = {.seq = 7, .time_s = 1790000000, .count = count,
                                 .parts = mem_zalloc((count + 1) * sizeof(struct dumpset_part))};
    for (unsigned i = 0; i < count; i++) {
        dumpset_slots(i, count, &m.parts[i].slot_first, &m.parts[i].slot_last);
        m.parts[i].size = 1000 + i;
        m.parts[i].crc = 0x0123456789abcdefu * (i + 1);
    }
    return m;
}

static const char *parse(struct slice text)
{
    struct dumpset_manifest m;
    unsigned line;
    const char *why = dumpset_manifest_parse(&m, text, &line);
    dumpset_manifest_deinit(&m);
    return why;
}

/* The text behind a checksum that is right for it. */
static const char *parse_body(const char *body)
{
    struct buf text = {0};
    struct aof_sum sum = {0};
    char line[AOF_SUM_LINE_MAX];
    aof_sum_add(&sum, body, strlen(body));
    buf_append(&text, line, aof_line_format(sum, line));
    buf_append_char(&text, '\n');
    buf_append_slice(&text, slice_str(body));
    const char *why = parse(buf_slice(&text));
    buf_deinit(&text);
    return why;
}

Test(dumpset, round_trip)
{
    for (unsigned count = 0; count <= 33; count++) {
        struct dumpset_manifest m = made(count), read;
        struct buf text = {0}, again = {0};
        unsigned line;
        if (count & 1) m.older = (struct dumpset_mark){.known = true, .size = 0, .crc = 5};
        if (count & 2) m.newer = (struct dumpset_mark){.known = true, .size = 9, .crc = ~0ull};
        dumpset_manifest_format(&m, &text);
        cr_assert(dumpset_manifest_is(buf_slice(&text)));
        const char *why = dumpset_manifest_parse(&read, buf_slice(&text), &line);
        cr_assert_null(why, "%u: %s", count, why);
        cr_assert_eq(read.count, count);
        cr_assert_eq(read.seq, 7);
        dumpset_manifest_format(&read, &again);
        cr_assert(slice_equal(buf_slice(&text), buf_slice(&again)));
        dumpset_manifest_deinit(&m);
        dumpset_manifest_deinit(&read);
        buf_deinit(&text);
        buf_deinit(&again);
    }
}

Test(dumpset, slots_are_those_of_shards)
{
    for (unsigned count = 1; count <= 40; count++) {
        uint32_t due = 0, first, last;
        for (unsigned i = 0; i < count; i++) {
            dumpset_slots(i, count, &first, &last);
            cr_assert_eq(first, due);
            cr_assert_eq(shard_of_slot((uint16_t)first, count), i);
            cr_assert_eq(shard_of_slot((uint16_t)last, count), i);
            due = last + 1;
        }
        cr_assert_eq(due, SLOT_COUNT);
    }
}

Test(dumpset, every_bit_and_every_cut)
{
    struct dumpset_manifest m = made(3);
    struct buf text = {0};
    m.older = m.newer = (struct dumpset_mark){.known = true, .size = 77, .crc = 1};
    dumpset_manifest_format(&m, &text);
    for (size_t at = 0; at < text.len; at++) {
        cr_assert_not_null(parse(slice_of(text.ptr, at)), "cut at %zu", at);
        for (unsigned bit = 0; bit < 8; bit++) {
            text.ptr[at] ^= (char)(1 << bit);
            cr_assert_not_null(parse(buf_slice(&text)), "bit %u of %zu", bit, at);
            text.ptr[at] ^= (char)(1 << bit);
        }
    }
    cr_assert_null(parse(buf_slice(&text)));
    dumpset_manifest_deinit(&m);
    buf_deinit(&text);
}

#define HEAD "splitring-snapshot 1\nseq 1\ntime 2\n"
#define CRC " size 9 crc 0123456789abcdef\n"

Test(dumpset, bad_lines)
{
    static const char *const good[] = {
        HEAD, HEAD "part 0 slots 0-16383" CRC, HEAD "older" CRC, HEAD "newer" CRC,
        HEAD "part 0 slots 0-1" CRC "part 1 slots 2-16383" CRC "older" CRC "newer" CRC};
    static const char *const bad[] = {
        "", "\n", "splitring-snapshot 1\n", "splitring-snapshot 1\nseq 1\n",
        "splitring-snapshot 2\nseq 1\ntime 2\n", "splitring-snapshot 1 \nseq 1\ntime 2\n",
        "splitring-snapshot 1\nseq -1\ntime 2\n", "splitring-snapshot 1\nseq 01\ntime 2\n",
        "splitring-snapshot 1\nseq 1\ntime 99999999999999999999\n",
        "splitring-snapshot 1\nseq 9223372036854775808\ntime 2\n",
        HEAD "\n", HEAD "part", HEAD "part 0 slots 0-16383", HEAD "else\n",
        HEAD "part 1 slots 0-16383" CRC, HEAD "part 0 slots 1-16383" CRC,
        HEAD "part 0 slots 0-16382" CRC, HEAD "part 0 slots 0-16384" CRC,
        HEAD "part 0 slots 0-4294967295" CRC, HEAD "part 0 slots 0-99999999999999999999" CRC,
        HEAD "part 0 slots 5-4" CRC, HEAD "part 0 slots 0-16383 size 9 crc 0123456789abcde\n",
        HEAD "part 0 slots 0-16383 size 9 crc 0123456789abcdef0\n",
        HEAD "part 0 slots 0-16383 size 9 crc 0123456789ABCDEF\n",
        HEAD "part 0 slots 0-16383 size x crc 0123456789abcdef\n",
        HEAD "part 0 slots 0-1" CRC "part 1 slots 1-16383" CRC,
        HEAD "part 0 slots 0-1" CRC "part 1 slots 3-16383" CRC,
        HEAD "part 0 slots 0-1" CRC "part 0 slots 2-16383" CRC,
        HEAD "part 0 slots 0-16383" CRC "part 1 slots 16384-16384" CRC,
        HEAD "older" CRC "part 0 slots 0-16383" CRC, HEAD "older" CRC "older" CRC,
        HEAD "newer" CRC "older" CRC, HEAD "older\n", HEAD "older size 1\n",
        HEAD "part 0 slots 0-16383 size 9 crc 0123456789abcdef \n"};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        cr_assert_null(parse_body(good[i]), "%s: %s", good[i], parse_body(good[i]));
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_assert_not_null(parse_body(bad[i]), "%s", bad[i]);
    cr_assert_not_null(parse(SLICE("")));
    cr_assert_not_null(parse(SLICE("#CRC:0000000000000000:0\n")));
}

Test(dumpset, too_many_parts)
{
    struct buf text = {0};
    buf_append_slice(&text, SLICE(HEAD));
    for (unsigned i = 0; i <= DUMPSET_PARTS_MAX; i++)
        buf_printf(&text, "part %u slots %u-%u" CRC, i, i, i == DUMPSET_PARTS_MAX ? 16383 : i);
    buf_append_char(&text, '\0');
    cr_assert_str_eq(parse_body(text.ptr), "There are too many parts");
    buf_deinit(&text);
}

/* Pieces of good lines, shuffled, behind a right checksum: read without harm, and if it is accepted
 * then as it stands. */
Test(dumpset, shuffled)
{
    static const char *const pieces[] = {
        HEAD, "part ", "0", "1", " slots ", "0-16383", "0-8191", "8192-16383", CRC, "older",
        "newer", "\n", " size ", "18446744073709551615",
        " crc ", "ffffffffffffffff", "-", "\xff", "seq 1\n"};
    struct rng rng;
    rng_seed(&rng, 20261122);
    for (unsigned round = 0; round < 200000; round++) {
        char body[2000] = "";
        struct dumpset_manifest m;
        struct buf text = {0}, again = {0};
        char line[AOF_SUM_LINE_MAX];
        struct aof_sum sum = {0};
        unsigned at;
        if (rng_below(&rng, 4)) strcpy(body, HEAD);
        for (uint64_t n = rng_below(&rng, 16); n > 0; n--)
            strcat(body, pieces[rng_below(&rng, ARRAY_COUNT(pieces))]);
        aof_sum_add(&sum, body, strlen(body));
        buf_append(&text, line, aof_line_format(sum, line));
        buf_append_char(&text, '\n');
        buf_append_slice(&text, slice_str(body));
        if (!dumpset_manifest_parse(&m, buf_slice(&text), &at)) {
            dumpset_manifest_format(&m, &again);
            cr_assert(slice_equal(buf_slice(&text), buf_slice(&again)), "%s", body);
        }
        dumpset_manifest_deinit(&m);
        buf_deinit(&text);
        buf_deinit(&again);
    }
}

Test(dumpset, a_log_is_none)
{
    cr_assert_not(dumpset_manifest_is(SLICE("file appendonly.aof.1.base.rdb seq 1 type b\n")));
    cr_assert_not(dumpset_manifest_is(SLICE("#CRC:0:0\nfile a seq 1 type b\n")));
    cr_assert_not(dumpset_manifest_is(SLICE("")));
}
