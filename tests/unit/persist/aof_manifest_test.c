/* The manifest of the append log: Redis' words for what is wrong, names with quotes, a checksum
 * that notices every flipped bit and every lost end. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "splitring/persist/aof_file.h"

static const char *parse(const char *text, struct aof_manifest *m)
{
    unsigned line;
    size_t at;
    return aof_manifest_parse(m, slice_str(text), &line, &at);
}

static struct aof_manifest sample(void)
{
    struct aof_manifest m = {0};
    aof_manifest_add(&m, AOF_INCR, 3, SLICE("appendonly.aof.3.incr.aof"));
    aof_manifest_add(&m, AOF_BASE, 2, SLICE("appendonly.aof.2.base.rdb"));
    aof_manifest_add(&m, AOF_HISTORY, 1, SLICE("a b\"\x01\\.aof"));
    aof_manifest_add(&m, AOF_INCR, 4, SLICE("appendonly.aof.4.incr.aof"));
    return m;
}

Test(aof_manifest, round_trip)
{
    struct aof_manifest m = sample(), back;
    struct buf text = {0}, again = {0};
    unsigned line;
    size_t at;
    aof_manifest_format(&m, &text);
    cr_assert_null(aof_manifest_parse(&back, buf_slice(&text), &line, &at));
    cr_assert_eq(back.count, 4);
    cr_assert_str_eq(back.files[1].name, "a b\"\x01\\.aof");
    cr_assert_eq(aof_manifest_base(&back)->seq, 2);
    cr_assert_str_eq(aof_manifest_last_incr(&back)->name, "appendonly.aof.4.incr.aof");
    aof_manifest_format(&back, &again);
    cr_assert(slice_equal(buf_slice(&text), buf_slice(&again)));
    const char *body = memchr(text.ptr, '\n', text.len);
    const char expected[] = "\nfile appendonly.aof.2.base.rdb seq 2 type b\n"
                            "file \"a b\\\"\\x01\\\\.aof\" seq 1 type h\n"
                            "file appendonly.aof.3.incr.aof seq 3 type i\n"
                            "file appendonly.aof.4.incr.aof seq 4 type i\n";
    cr_assert_eq((size_t)(text.ptr + text.len - body), sizeof expected - 1);
    cr_assert_eq(memcmp(body, expected, sizeof expected - 1), 0);
    aof_manifest_deinit(&m);
    aof_manifest_deinit(&back);
    buf_deinit(&text);
    buf_deinit(&again);
}

Test(aof_manifest, what_redis_says)
{
    static const struct {
        const char *text, *why;
        unsigned line;
    } rows[] = {
        {"", "Found an empty AOF manifest", 0},
        {"\n", "Invalid AOF manifest file format", 1},
        {"# hi\n", "Found an empty AOF manifest", 1},
        {"#CR", "The manifest does not fit its checksum: it is damaged", 1},
        {"# hi\nfile a seq 1 type i", "The AOF manifest file contains too long line", 2},
        {"file a seq 1\n", "Invalid AOF manifest file format", 1},
        {"file a seq 1 type i x\n", "Invalid AOF manifest file format", 1},
        {"file \"a seq 1 type i\n", "Invalid AOF manifest file format", 1},
        {"file a seq 0 type i\n", "Invalid AOF manifest file format", 1},
        {"file a seq 1x type i\n", "Invalid AOF manifest file format", 1},
        {"seq 1 type i hello you\n", "Invalid AOF manifest file format", 1},
        {"file d/a seq 1 type i\n", "File can't be a path, just a filename", 1},
        {"file .. seq 1 type i\n", "File can't be a path, just a filename", 1},
        {"file a seq 1 type b\nfile b seq 2 type b\n", "Found duplicate base file information", 2},
        {"file a seq 2 type i\nfile b seq 2 type i\n", "Found a non-monotonic sequence number", 2},
        {"file a seq 2 type x\n", "Unknown AOF file type", 1},
        {"#CRC:0000000000000000:2\nfile a seq 1 type i\n",
         "The manifest does not fit its checksum: it is damaged", 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct aof_manifest m;
        unsigned line;
        size_t at;
        const char *why = aof_manifest_parse(&m, slice_str(rows[i].text), &line, &at);
        cr_assert_not_null(why, "%s", rows[i].text);
        cr_expect_str_eq(why, rows[i].why);
        cr_expect_eq(line, rows[i].line, "%s: line %u", rows[i].text, line);
        cr_expect_eq(m.count, 0);
    }
}

Test(aof_manifest, what_redis_takes)
{
    struct aof_manifest m;
    cr_assert_null(parse("# a comment\n  FILE 'b a' SEQ 7 type ix new thing  \r\n", &m));
    cr_assert_eq(m.count, 1);
    cr_assert_str_eq(m.files[0].name, "b a");
    cr_assert_eq(m.files[0].seq, 7);
    aof_manifest_deinit(&m);
}

Test(aof_manifest, damage_is_noticed)
{
    struct aof_manifest m = sample(), back;
    struct buf text = {0};
    unsigned line;
    size_t at;
    aof_manifest_format(&m, &text);
    size_t first = (size_t)((char *)memchr(text.ptr, '\n', text.len) - text.ptr) + 1;
    for (size_t cut = first; cut < text.len; cut++)
        cr_assert_not_null(
            aof_manifest_parse(&back, slice_of(text.ptr, cut), &line, &at), "cut at %zu", cut);
    for (size_t bit = first * 8; bit < text.len * 8; bit++) {
        text.ptr[bit / 8] ^= (char)(1 << bit % 8);
        cr_assert_not_null(aof_manifest_parse(&back, buf_slice(&text), &line, &at), "bit %zu", bit);
        text.ptr[bit / 8] ^= (char)(1 << bit % 8);
    }
    /* In the checksum's own line: refused, or what it says is right. */
    for (size_t bit = 0; bit < first * 8; bit++) {
        text.ptr[bit / 8] ^= (char)(1 << bit % 8);
        if (!aof_manifest_parse(&back, buf_slice(&text), &line, &at)) {
            cr_assert_eq(back.count, m.count);
            aof_manifest_deinit(&back);
        }
        text.ptr[bit / 8] ^= (char)(1 << bit % 8);
    }
    aof_manifest_deinit(&m);
    buf_deinit(&text);
}

Test(aof_manifest, a_rewrite)
{
    struct aof_manifest m = sample(), copy;
    char name[AOF_NAME_MAX + 1];
    aof_manifest_copy(&copy, &m);
    aof_manifest_retire(&copy, 1);
    aof_manifest_add(&copy, AOF_BASE, 5, SLICE("new"));
    cr_assert_eq(copy.count, 5);
    cr_assert_eq(copy.files[0].seq, 5);
    for (unsigned i = 1; i < 4; i++) cr_assert_eq(copy.files[i].type, AOF_HISTORY);
    cr_assert_eq(copy.files[4].seq, 4);
    cr_assert_eq(copy.files[4].type, AOF_INCR);
    cr_assert_eq(aof_manifest_seq(&copy, AOF_BASE), 5);
    while (copy.count > 2) aof_manifest_forget(&copy, 1);
    cr_assert_eq(copy.files[1].type, AOF_INCR);
    aof_manifest_deinit(&m);
    aof_manifest_deinit(&copy);
    cr_assert(aof_name(name, "appendonly.aof", 7, AOF_BASE, true));
    cr_assert_str_eq(name, "appendonly.aof.7.base.rdb");
    cr_assert(aof_name(name, "x", 1, AOF_INCR, false));
    cr_assert_str_eq(name, "x.1.incr.aof");
    cr_assert(aof_name_manifest(name, "x"));
    cr_assert_str_eq(name, "x.manifest");
}
