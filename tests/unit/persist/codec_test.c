/* The alphabet of RDB: what is written reads back, what is cut off or lies about lengths does not;
 * LZF against its format; CRC-64 against its check value. */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "codec.h"
#include "crc64.h"
#include "lzf.h"
#include "splitring/base/num.h"
#include "splitring/base/rng.h"

Test(crc64, check_value_and_pieces)
{
    cr_assert_eq(crc64(0, "123456789", 9), 0xe9c6d914c4b8d9ca);
    char bytes[100];
    for (size_t i = 0; i < sizeof(bytes); i++) bytes[i] = (char)(i * 37);
    uint64_t whole = crc64(0, bytes, sizeof(bytes));
    for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
        uint64_t crc = crc64(0, bytes, cut);
        cr_assert_eq(crc64(crc, bytes + cut, sizeof(bytes) - cut), whole);
    }
}

/* However it is cut: in single bytes, by tables, or folded. */
Test(crc64, every_length)
{
    static char bytes[1300];
    struct rng rng;
    rng_seed(&rng, 17);
    for (size_t i = 0; i < sizeof(bytes); i++) bytes[i] = (char)rng_next(&rng);
    for (size_t begin = 0; begin < 20; begin += 3) {
        uint64_t crc = rng_next(&rng), whole = crc;
        for (size_t len = 0; begin + len < sizeof(bytes); len++) {
            cr_assert_eq(crc64(crc, bytes + begin, len), whole, "%zu bytes from %zu", len, begin);
            whole = crc64(whole, bytes + begin + len, 1);
        }
    }
}

/* ---- LZF ---- */

static size_t fill(struct rng *rng, char *text, size_t most)
{
    size_t len = rng_below(rng, most), period = 1 + rng_below(rng, 40);
    unsigned letters = 1u + (unsigned)rng_below(rng, 255), kind = (unsigned)rng_below(rng, 3);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)rng_below(rng, letters);
        if (kind == 1) text[i] = (char)(i % period);
        if (kind == 2 && i > 300 && rng_below(rng, 30)) text[i] = text[i - period];
    }
    return len;
}

Test(lzf, round_trip)
{
    enum { most = 40000 };
    uint32_t *table = malloc(LZF_TABLE_LEN);
    char *text = malloc(most);
    struct rng rng;
    rng_seed(&rng, 3);
    memset(table, 0xa5, LZF_TABLE_LEN);
    size_t compressed = 0;
    for (int round = 0; round < 3000; round++) {
        size_t len = fill(&rng, text, round % 8 ? 600 : most);
        size_t room = len > 4 ? len - 4 : len;
        char *out = malloc(room + 1), *back = malloc(len + 1);
        size_t used = lzf_compress(slice_of(text, len), out, room, table);
        cr_assert_leq(used, room);
        if (used) {
            compressed++;
            char *exact = malloc(used);
            memcpy(exact, out, used);
            cr_assert(lzf_decompress(slice_of(exact, used), back, len));
            cr_assert(memcmp(back, text, len) == 0);
            cr_assert_not(lzf_decompress(slice_of(exact, used), back, len - 1));
            cr_assert_not(lzf_decompress(slice_of(exact, used), back, len + 1));
            cr_assert_not(lzf_decompress(slice_of(exact, used - 1), back, len));
            cr_assert_leq(len, used * LZF_RATIO_MAX);
            free(exact);
        }
        free(out);
        free(back);
    }
    cr_assert_gt(compressed, 1000);
    free(table);
    free(text);
}

/* What liblzf makes of these: the choices that DUMP must share. */
Test(lzf, bytes_of_liblzf)
{
    static const struct {
        const char *text, *bytes;
        size_t len;
    } rows[] = {
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\1aa\xe0\x11\0\1aa", 9},
        {"abcabcabcabcabcabcabcabcabcabc", "\3abca\xe0\xf\2\1bc", 11},
        {"hello hello hello hello hello!", "\6hello h\xe0\xc\5\1o!", 14},
    };
    uint32_t *table = calloc(1, LZF_TABLE_LEN);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char out[64];
        struct slice text = slice_str(rows[i].text);
        size_t len = lzf_compress(text, out, text.len - 4, table);
        cr_expect_eq(len, rows[i].len, "%s: %zu", rows[i].text, len);
        cr_expect(memcmp(out, rows[i].bytes, rows[i].len) == 0, "%s", rows[i].text);
    }
    free(table);
}

Test(lzf, hostile)
{
    static const struct {
        const char *bytes;
        size_t len, out;
    } rows[] = {
        {"", 0, 1},         {"\5ab", 3, 6},     {"\1ab\x20", 4, 5}, {"\1ab\x20\2", 5, 5},
        {"\x20\0", 2, 3},   {"\1ab\xe0", 4, 9}, {"\1ab\xe0\1", 5, 9},
        {"\1ab\xe0\xff\0", 6, 100},
    };
    char out[100];
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char *exact = malloc(rows[i].len + 1);
        memcpy(exact, rows[i].bytes, rows[i].len);
        cr_expect_not(lzf_decompress(slice_of(exact, rows[i].len), out, rows[i].out), "%zu", i);
        free(exact);
    }
}

/* ---- lengths and strings ---- */

static struct rdb_reader reader_of(const char *bytes, size_t len)
{
    return (struct rdb_reader){.at = bytes, .end = bytes + len};
}

Test(codec, lengths)
{
    static const uint64_t lens[] = {0,     1,          63,         64,          16383, 16384, 70000,
                                    1 << 30, UINT32_MAX, (uint64_t)UINT32_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
        struct buf out = {0};
        struct rdb_writer w;
        rdb_writer_init(&w, &out, 10, true);
        rdb_put_len(&w, lens[i]);
        for (size_t cut = 0; cut <= out.len; cut++) {
            char *exact = malloc(cut + 1);
            memcpy(exact, out.ptr, cut);
            struct rdb_reader r = reader_of(exact, cut);
            uint64_t len;
            cr_assert_eq(rdb_get_len(&r, &len), cut == out.len);
            if (cut == out.len) cr_assert(len == lens[i] && r.at == r.end);
            struct rdb_reader again = reader_of(exact, cut);
            cr_assert_eq(rdb_get_count(&again, 1, &len), cut == out.len && lens[i] == 0);
            free(exact);
        }
        buf_deinit(&out);
        rdb_writer_deinit(&w);
    }
}

static void text_round(struct slice text, bool compress, size_t len_expected)
{
    struct buf out = {0};
    struct rdb_writer w;
    rdb_writer_init(&w, &out, 10, compress);
    rdb_put_text(&w, text);
    if (len_expected) cr_expect_eq(out.len, len_expected, "%.*s", (int)text.len, text.ptr);
    size_t step = out.len > 1000 ? 97 : 1;
    for (size_t cut = out.len;; cut = cut > step ? cut - step : 0) {
        char *exact = malloc(cut + 1);
        memcpy(exact, out.ptr, cut);
        struct rdb_reader r = reader_of(exact, cut);
        struct rdb_text back = {0};
        bool ok = rdb_get_text(&r, &back);
        cr_assert_eq(ok, cut == out.len);
        if (ok) cr_assert(slice_equal(back.s, text) && r.at == r.end);
        if (!ok) cr_assert_eq(r.error, RDB_E_FORMAT);
        rdb_text_deinit(&back);
        free(exact);
        if (cut == 0) break;
    }
    rdb_writer_deinit(&w);
    buf_deinit(&out);
}

Test(codec, texts)
{
    text_round(SLICE(""), true, 1);
    text_round(SLICE("abc"), true, 4);
    text_round(SLICE("-128"), true, 2);
    text_round(SLICE("128"), true, 3);
    text_round(SLICE("32768"), true, 5);
    text_round(SLICE("-2147483648"), true, 5);
    text_round(SLICE("2147483648"), true, 11);
    text_round(SLICE("007"), true, 4);
    text_round(SLICE("aaaaaaaaaaaaaaaaaaaa"), true, 21);
    text_round(SLICE("aaaaaaaaaaaaaaaaaaaaa"), true, 9);
    text_round(SLICE("aaaaaaaaaaaaaaaaaaaaa"), false, 22);
    struct rng rng;
    rng_seed(&rng, 9);
    char *text = malloc(30000);
    for (int i = 0; i < 300; i++) text_round(slice_of(text, fill(&rng, text, 30000)), i % 4, 0);
    free(text);
}

Test(codec, hostile_texts)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"\x80\xff\xff\xff\xff" "abc", 8},                  /* 4 GiB */
        {"\x81\xff\xff\xff\xff\xff\xff\xff\xff" "abc", 12}, /* 2^64 - 1 */
        {"\x82" "abcdefghij", 11},                          /* no such length */
        {"\xc4" "abc", 4},                                  /* no such number */
        {"\xff", 1},
        {"\xc3\5\x80\x7f\xff\xff\xff\1ab\x20\0", 13},       /* 2 GiB from 5 bytes */
        {"\xc3\5\0\1ab\x20\0", 8},                          /* nothing from 5 bytes */
        {"\xc3\x81\xff\xff\xff\xff\xff\xff\xff\xff\5\1ab", 14},
        {"\xc3\xc0\5\5\1ab\x20\0", 9},                      /* a number for a length */
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char *exact = malloc(rows[i].len);
        memcpy(exact, rows[i].bytes, rows[i].len);
        struct rdb_reader r = reader_of(exact, rows[i].len);
        struct rdb_text text = {0};
        cr_expect_not(rdb_get_text(&r, &text), "row %zu", i);
        cr_expect_eq(r.error, RDB_E_FORMAT);
        cr_expect_lt(text.room_len, 1000);
        rdb_text_deinit(&text);
        free(exact);
    }
}

Test(codec, doubles)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool ok;
        double value;
    } rows[] = {
        {"\3" "1.5", 4, true, 1.5}, {"\2-3", 3, true, -3},  {"\xfe", 1, true, INFINITY},
        {"\xff", 1, true, -INFINITY}, {"\xfd", 1, false, 0}, {"\3nan", 4, false, 0},
        {"\0", 1, false, 0},        {"\4" "1.5", 4, false, 0}, {"\3" "1x5", 4, false, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct rdb_reader r = reader_of(rows[i].bytes, rows[i].len);
        double value = 0;
        cr_expect_eq(rdb_get_old_double(&r, &value), rows[i].ok, "row %zu", i);
        if (rows[i].ok) cr_expect(value == rows[i].value, "row %zu", i);
    }
    double nan_value = NAN, value;
    char bytes[8];
    memcpy(bytes, &nan_value, 8);
    struct rdb_reader r = reader_of(bytes, 8);
    cr_assert_not(rdb_get_double(&r, &value));
}
