/* Protocol errors have the words of Redis, in any pieces, and claims cost no memory. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "parse_fixture.h"

static void expect(const struct parse_limits *limits, struct slice input, const char *log)
{
    char *seen;
    cr_assert(same_in_all_pieces(limits, input, &seen));
    cr_assert_str_eq(seen, log);
    free(seen);
}

#define PROTOCOL "error: ERR Protocol error: "

Test(parse_limits, array_length)
{
    expect(&limits_default, SLICE("*abc\r\n"), PROTOCOL "invalid multibulk length\n");
    expect(&limits_default, SLICE("*\r\n"), PROTOCOL "invalid multibulk length\n");
    expect(&limits_default, SLICE("*+1\r\n"), PROTOCOL "invalid multibulk length\n");
    expect(&limits_default, SLICE("*01\r\n"), PROTOCOL "invalid multibulk length\n");
    expect(&limits_default, SLICE("* 1\r\n"), PROTOCOL "invalid multibulk length\n");
    expect(&limits_default, SLICE("*2147483648\r\n"), PROTOCOL "invalid multibulk length\n");
    expect(&limits_default, SLICE("*99999999999999999999\r\n"),
           PROTOCOL "invalid multibulk length\n");
    expect(&limits_default, SLICE("*2147483647\r\n"), "held\n");
    expect(&limits_default, SLICE("PING\r\n*x\r\nPING\r\n"),
           "[PING]\n" PROTOCOL "invalid multibulk length\n");
}

Test(parse_limits, argument_length)
{
    expect(&limits_default, SLICE("*1\r\n$-1\r\n"), PROTOCOL "invalid bulk length\n");
    expect(&limits_default, SLICE("*1\r\n$\r\n"), PROTOCOL "invalid bulk length\n");
    expect(&limits_default, SLICE("*1\r\n$04\r\nPING\r\n"), PROTOCOL "invalid bulk length\n");
    expect(&limits_default, SLICE("*1\r\n$4 \r\n"), PROTOCOL "invalid bulk length\n");
    expect(&limits_default, SLICE("*1\r\n$536870913\r\n"), PROTOCOL "invalid bulk length\n");
    expect(&limits_default, SLICE("*1\r\n$536870912\r\n"), "held\n");
    expect(&limits_default, SLICE("*2\r\n$1\r\na\r\n:1\r\n"), PROTOCOL "expected '$', got ':'\n");
    expect(&limits_default, SLICE("*1\r\n\r\n"), PROTOCOL "expected '$', got ' '\n");
    expect(&limits_default, SLICE("*1\r\n12\r\n"), PROTOCOL "expected '$', got '1'\n");
}

Test(parse_limits, unauthenticated)
{
    expect(&limits_unauth, SLICE("*11\r\n"), PROTOCOL "unauthenticated multibulk length\n");
    expect(&limits_unauth, SLICE("*10\r\n"), "held\n");
    expect(&limits_unauth, SLICE("*1\r\n$16385\r\n"), PROTOCOL "unauthenticated bulk length\n");
    expect(&limits_unauth, SLICE("*1\r\n$16384\r\n"), "held\n");
    expect(&limits_unauth, SLICE("*1\r\n$536870913\r\n"), PROTOCOL "invalid bulk length\n");
    expect(&limits_unauth, SLICE("*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"), "[AUTH][pw]\n");
}

/* head, then `count` times fill, then tail */
static void expect_long(const char *head, char fill, size_t count, const char *tail,
                        const char *log)
{
    struct buf input = {0};
    buf_append(&input, head, strlen(head));
    for (size_t i = 0; i < count; i++) buf_append_char(&input, fill);
    buf_append(&input, tail, strlen(tail));
    expect(&limits_default, buf_slice(&input), log);
    buf_deinit(&input);
}

Test(parse_limits, lines)
{
    expect_long("*", '1', PARSE_LINE_MAX - 1, "", "held\n");
    expect_long("*", '1', PARSE_LINE_MAX - 1, "\r\n", PROTOCOL "invalid multibulk length\n");
    expect_long("*", '1', PARSE_LINE_MAX, "", PROTOCOL "too big mbulk count string\n");
    expect_long("*", '1', PARSE_LINE_MAX, "\r\n", PROTOCOL "too big mbulk count string\n");
    expect_long("*1\r\n$", '1', PARSE_LINE_MAX - 1, "\r\n", PROTOCOL "invalid bulk length\n");
    expect_long("*1\r\n$", '1', PARSE_LINE_MAX, "", PROTOCOL "too big bulk count string\n");
    expect_long("", 'a', PARSE_LINE_MAX, "", "held\n");
    expect_long("", ' ', PARSE_LINE_MAX, "\n", "");
    expect_long("", 'a', PARSE_LINE_MAX + 1, "", PROTOCOL "too big inline request\n");
    expect_long("", 'a', PARSE_LINE_MAX + 1, "\r\n", PROTOCOL "too big inline request\n");
}

/* 512 MB and two thousand million arguments announced, a few bytes sent. */
Test(parse_limits, claims_cost_nothing)
{
    const char *claims[] = {"*2147483647\r\n$1\r\na\r\n$1\r\n",
                            "*2\r\n$3\r\nSET\r\n$536870912\r\nabc",
                            "*2000000000\r\n$536870912\r\n"};
    for (size_t i = 0; i < ARRAY_COUNT(claims); i++) {
        struct seen seen;
        size_t pieces[] = {20};
        seen_run(&seen, &limits_default, slice_str(claims[i]), pieces, 1);
        cr_assert_str_eq(seen_text(&seen), "held\n");
        cr_assert_lt(seen.bytes_held_max, 70000); /* a blob begins with PARSE_BIG_LEN */
        seen_deinit(&seen);
    }
}

/* Held memory follows what has arrived: below four times the bytes, the array of arguments
 * apart. */
Test(parse_limits, held_grows_with_bytes)
{
    struct buf input = {0};
    buf_printf(&input, "*2\r\n$3\r\nSET\r\n$50000000\r\n");
    for (int i = 0; i < 3000000; i++) buf_append_char(&input, 'x');
    struct seen seen;
    size_t pieces[] = {16384};
    seen_run(&seen, &limits_default, buf_slice(&input), pieces, 1);
    cr_assert_lt(seen.bytes_held_max, 4 * input.len);
    seen_deinit(&seen);
    buf_deinit(&input);
}

Test(parse_limits, an_error_is_final)
{
    struct parse_pool pool;
    struct parser p;
    parse_pool_init(&pool);
    parse_init(&p, &pool);
    size_t used = 0;
    cr_assert_eq(parse_next(&p, &limits_default, "*x\r\n", 4, &used), PARSE_ERROR);
    used = 0;
    cr_assert_eq(parse_next(&p, &limits_default, "PING\r\n", 6, &used), PARSE_ERROR);
    parse_deinit(&p);
    parse_pool_deinit(&pool);
}
