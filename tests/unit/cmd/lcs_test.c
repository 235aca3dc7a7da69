/* LCS: its length against a recursive model with a memory, its string and runs against what they
 * must be (a common subsequence of that length), and fixed cases whose replies are Redis 7.0's. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "handler.h"

#define LEN_MAX 24

static struct handler_world w;

static void setup(void) { handler_init(&w, 1, 5); }
static void teardown(void) { handler_deinit(&w); }

TestSuite(lcs, .init = setup, .fini = teardown);

static int memory[LEN_MAX + 1][LEN_MAX + 1];

static int model(const char *a, const char *b)
{
    int *known = &memory[strlen(a)][strlen(b)];
    if (*known >= 0) return *known;
    int best = 0;
    if (*a && *b) {
        int skip_a = model(a + 1, b), skip_b = model(a, b + 1);
        best = skip_a > skip_b ? skip_a : skip_b;
        if (*a == *b && model(a + 1, b + 1) + 1 > best) best = model(a + 1, b + 1) + 1;
    }
    return *known = best;
}

static bool is_subsequence(const char *part, const char *whole)
{
    for (; *part; part++, whole++) {
        while (*whole && *whole != *part) whole++;
        if (!*whole) return false;
    }
    return true;
}

static void random_word(char out[LEN_MAX + 1], const char *letters)
{
    size_t len = rng_below(&w.rng, LEN_MAX + 1), kinds = strlen(letters);
    for (size_t i = 0; i < len; i++) out[i] = letters[rng_below(&w.rng, kinds)];
    out[len] = '\0';
}

/* The runs of an IDX reply (RESP2): they lie right to left, are equal text, and sum up to len. */
static void check_runs(const char *reply, const char *a, const char *b, int len)
{
    long count, a0, a1, b0, b1, runs, sum = 0, a_before = LEN_MAX, b_before = LEN_MAX;
    int used = 0, total;
    cr_assert_eq(sscanf(reply, "*4\r\n$7\r\nmatches\r\n*%ld\r\n%n", &count, &used), 1, "%s", reply);
    for (long i = 0; i < count; i++) {
        reply += used;
        int got = sscanf(reply, "*3\r\n*2\r\n:%ld\r\n:%ld\r\n*2\r\n:%ld\r\n:%ld\r\n:%ld\r\n%n", &a0,
                         &a1, &b0, &b1, &runs, &used);
        cr_assert_eq(got, 5, "%s", reply);
        cr_assert(a1 < a_before && b1 < b_before && a1 - a0 == b1 - b0 && a1 - a0 + 1 == runs);
        cr_assert_eq(memcmp(a + a0, b + b0, (size_t)runs), 0);
        a_before = a0;
        b_before = b0;
        sum += runs;
    }
    cr_assert_eq(sscanf(reply + used, "$3\r\nlen\r\n:%d\r\n", &total), 1, "%s", reply + used);
    cr_assert(total == len && sum == len);
}

Test(lcs, random_words_against_the_model)
{
    char a[LEN_MAX + 1], b[LEN_MAX + 1], text[64], expected[64];
    for (int round = 0; round < 3000; round++) {
        const char *letters = rng_below(&w.rng, 2) ? "ab" : "abcdef";
        random_word(a, letters);
        random_word(b, letters);
        memset(memory, 0xff, sizeof(memory));
        int len = model(a, b), got = -1;
        handler_runf(&w, "MSET a '%s' b '%s'", a, b);
        snprintf(expected, sizeof(expected), ":%d\r\n", len);
        cr_assert_str_eq(handler_run_line(&w, "LCS a b LEN"), expected, "%s / %s", a, b);
        text[0] = '\0';
        sscanf(handler_run_line(&w, "LCS a b"), "$%d\r\n%60[a-f]", &got, text);
        cr_assert(got == len && (int)strlen(text) == len, "%s / %s: %s", a, b, text);
        cr_assert(is_subsequence(text, a) && is_subsequence(text, b));
        check_runs(handler_run_line(&w, "LCS a b IDX WITHMATCHLEN"), a, b, len);
    }
}

Test(lcs, replies_of_redis)
{
    handler_run_line(&w, "MSET key1 ohmytext key2 mynewtext n 12345");
    cr_assert_str_eq(handler_run_line(&w, "LCS key1 key2"), "$6\r\nmytext\r\n");
    cr_assert_str_eq(handler_run_line(&w, "lcs key1 key2 len"), ":6\r\n");
    cr_assert_str_eq(handler_run_line(&w, "LCS key1 key2 IDX"),
                     "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n"
                     "*2\r\n*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:6\r\n");
    cr_assert_str_eq(handler_run_line(&w, "LCS key1 key2 IDX MINMATCHLEN 4 WITHMATCHLEN"),
                     "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n"
                     "$3\r\nlen\r\n:6\r\n");
    w.proto = 3;
    cr_assert_str_eq(handler_run_line(&w, "LCS key1 none IDX"),
                     "%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n");
    cr_assert_str_eq(handler_run_line(&w, "LCS none none2"), "$0\r\n\r\n");
    cr_assert_str_eq(handler_run_line(&w, "LCS n n IDX"),
                     "%2\r\n$7\r\nmatches\r\n*1\r\n*2\r\n*2\r\n:0\r\n:4\r\n*2\r\n:0\r\n:4\r\n"
                     "$3\r\nlen\r\n:5\r\n");
}

Test(lcs, refuses_tables_over_the_limit)
{
    w.env.proto_max_bulk_len = 100000;
    char text[200];
    memset(text, 'x', sizeof(text));
    handler_runf(&w, "SET a '%.*s'", 155, text);
    handler_runf(&w, "SET b '%.*s'", 159, text);
    cr_assert_str_eq(handler_run_line(&w, "LCS a b LEN"), ":155\r\n"); /* 156 * 160 * 4 = 99840 */
    handler_runf(&w, "SET b '%.*s'", 160, text);
    cr_assert_str_eq(handler_run_line(&w, "LCS a b LEN"),
                     "-ERR Insufficient memory, transient memory for LCS exceeds "
                     "proto-max-bulk-len\r\n");
}
