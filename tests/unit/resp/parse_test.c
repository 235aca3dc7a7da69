/* Requests in one piece, in every two pieces and byte by byte give the same commands. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "parse_fixture.h"
#include "splitring/base/mem.h"

static void expect(struct slice input, const char *log)
{
    char *seen;
    cr_assert(same_in_all_pieces(&limits_default, input, &seen));
    cr_assert_str_eq(seen, log);
    free(seen);
}

Test(parse, commands)
{
    expect(SLICE("*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n"), "[GET][hello]\n");
    expect(SLICE("*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$12\r\n012345678901\r\n"),
           "[PING]\n[SET][a][012345678901]\n");
    expect(SLICE("*2\r\n$0\r\n\r\n$0\r\n\r\n*1\r\n$0\r\n\r\n"), "[][]\n[]\n");
    expect(SLICE("PING\r\n*1\r\n$4\r\nPING\r\nECHO a\n"), "[PING]\n[PING]\n[ECHO][a]\n");
    expect(
        SLICE("*11\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n"
              "$1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n$1\r\nk\r\n"),
        "[a][b][c][d][e][f][g][h][i][j][k]\n");
}

Test(parse, nothing_to_do_is_skipped)
{
    expect(SLICE("*0\r\n*-1\r\n*-7\r\n\r\n\n   \r\n*1\r\n$1\r\nx\r\n"), "[x]\n");
    expect(SLICE("*-9223372036854775808\r\nPING\r\n"), "[PING]\n");
}

Test(parse, line_ends_are_bytes_like_others)
{
    expect(SLICE("*2\r\n$4\r\n\r\n\r\n\r\n$3\r\n*1\r\r\n"), "[\r\n\r\n][*1\r]\n");
    /* The reference skips the two bytes behind an argument and the one after '\r' unseen. */
    expect(SLICE("*1\rX$4\rYPINGZZ*1\r\n$1\r\nb\r\n"), "[PING]\n[b]\n");
}

Test(parse, lengths_of_many_digits)
{
    struct buf input = {0};
    char log[4000];
    size_t at = 0;
    const int lengths[] = {9, 10, 99, 100, 101, 999, 1000};
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        buf_printf(&input, "*1\r\n$%d\r\n%0*d\r\n", lengths[i], lengths[i], 7);
        at += (size_t)snprintf(log + at, sizeof(log) - at, "[%0*d]\n", lengths[i], 7);
    }
    expect(buf_slice(&input), log);
    buf_deinit(&input);
}

Test(parse, unfinished_is_held)
{
    expect(SLICE("*2\r\n$3\r\nGET\r\n$5\r\nhel"), "held\n");
    expect(SLICE("*2\r\n$3\r\nGET\r\n$5\r\nhello\r"), "held\n");
    expect(SLICE("*"), "held\n");
    expect(SLICE("*3\r"), "held\n");
    expect(SLICE("PING"), "held\n");
}

/* Arguments around PARSE_BIG_LEN, in the pieces of a receive buffer. */
Test(parse, big_arguments)
{
    for (size_t len = PARSE_BIG_LEN - 1; len <= PARSE_BIG_LEN + 1; len++) {
        struct buf input = {0};
        buf_printf(&input, "*4\r\n$3\r\nSET\r\n$%zu\r\n", len);
        size_t begin = input.len;
        for (size_t i = 0; i < len; i++) buf_append_char(&input, (char)('a' + i % 26));
        buf_printf(&input, "\r\n$1\r\nx\r\n$%zu\r\n", len);
        buf_append(&input, input.ptr + begin, 0);
        for (size_t i = 0; i < len; i++) buf_append_char(&input, (char)('a' + i % 26));
        buf_append(&input, "\r\nPING\r\n", 8);
        char *log;
        cr_assert(same_in_all_pieces(&limits_default, buf_slice(&input), &log));
        cr_assert_eq(strlen(log), 2 * len + strlen("[SET][][x][]\n[PING]\n"));
        free(log);
        buf_deinit(&input);
    }
}

/* A large argument arrives in a block of its own, which a handler may keep. */
Test(parse, blob_can_be_taken)
{
    struct parse_pool pool;
    struct parser p;
    parse_pool_init(&pool);
    parse_init(&p, &pool);
    struct buf input = {0};
    buf_printf(&input, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n");
    size_t cut = input.len + 20, used = 0;
    for (int i = 0; i < 100000; i++) buf_append_char(&input, 'v');
    buf_append(&input, "\r\n", 2);

    cr_assert_eq(parse_next(&p, &limits_default, input.ptr, cut, &used), PARSE_MORE);
    cr_assert_eq(used, cut);
    cr_assert_eq(parse_next(&p, &limits_default, input.ptr, input.len, &used), PARSE_COMMAND);
    cr_assert_eq(p.argc, 3);
    cr_assert_null(p.argv[1].blob);
    struct blob *blob = p.argv[2].blob;
    cr_assert_not_null(blob);
    cr_assert_eq(blob->data, p.argv[2].ptr);
    cr_assert_eq(blob->len, 100000);
    cr_assert_leq(blob->cap, 100000);
    p.argv[2].blob = NULL;
    cr_assert_eq(parse_next(&p, &limits_default, input.ptr, input.len, &used), PARSE_MORE);
    parse_deinit(&p);
    parse_pool_deinit(&pool);
    cr_assert_eq(blob->data[99999], 'v');
    mem_free(blob);
    buf_deinit(&input);
}

/* The arguments of a cut command stay while the rest of the same bytes is parsed. */
Test(parse, batch_stays_valid)
{
    struct parse_pool pool;
    struct parser p;
    parse_pool_init(&pool);
    parse_init(&p, &pool);
    size_t used = 0;
    const char *first = "*2\r\n$3\r\nGET\r\n$3\r\nab";
    cr_assert_eq(parse_next(&p, &limits_default, first, strlen(first), &used), PARSE_MORE);
    const char *rest = "c\r\nECHO \"q w\"\r\nECHO 'e'\r\n*2\r\n$3\r\nGET\r\n$1\r\nx";
    struct slice seen[3];
    used = 0;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(parse_next(&p, &limits_default, rest, strlen(rest), &used), PARSE_COMMAND);
        seen[i] = slice_of(p.argv[1].ptr, p.argv[1].len);
    }
    cr_assert_eq(parse_next(&p, &limits_default, rest, strlen(rest), &used), PARSE_MORE);
    cr_assert(slice_equal(seen[0], SLICE("abc")));
    cr_assert(slice_equal(seen[1], SLICE("q w")));
    cr_assert(slice_equal(seen[2], SLICE("e")));
    parse_deinit(&p);
    parse_pool_deinit(&pool);
}

Test(parse, idle_parser_holds_nothing)
{
    struct parse_pool pool;
    struct parser p;
    parse_pool_init(&pool);
    parse_init(&p, &pool);
    cr_assert_leq(sizeof(p), 64);
    size_t used = 0;
    cr_assert_eq(parse_next(&p, &limits_default, "*1\r\n$4\r\nPI", 10, &used), PARSE_MORE);
    cr_assert_gt(parse_held(&p), 0);
    used = 0;
    cr_assert_eq(parse_next(&p, &limits_default, "NG\r\n", 4, &used), PARSE_COMMAND);
    cr_assert_eq(parse_next(&p, &limits_default, "NG\r\n", 4, &used), PARSE_MORE);
    parse_trim(&p);
    cr_assert_eq(parse_held(&p), 0);
    cr_assert_null(pool.spare);
    parse_deinit(&p);
    parse_pool_deinit(&pool);
}
