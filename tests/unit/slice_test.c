/* Slices, and the glob with the oddities that Redis has. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "splitring/base/rng.h"
#include "splitring/base/slice.h"

static bool glob(const char *pattern, const char *text)
{
    return slice_glob(slice_str(pattern), slice_str(text), false);
}

Test(slice, compare_and_words)
{
    cr_assert(slice_equal(SLICE("abc"), SLICE("abc")));
    cr_assert_not(slice_equal(SLICE("abc"), SLICE("abd")));
    cr_assert(slice_equal(slice_of(NULL, 0), SLICE("")));
    cr_assert_lt(slice_compare(SLICE("a"), SLICE("ab")), 0);
    cr_assert_gt(slice_compare(SLICE("b"), SLICE("ab")), 0);
    cr_assert_gt(slice_compare(SLICE("\xff"), SLICE("a")), 0);
    cr_assert_eq(slice_compare(SLICE(""), slice_of(NULL, 0)), 0);
    cr_assert(slice_is_word(SLICE("withValues"), "WITHVALUES"));
    cr_assert_not(slice_is_word(SLICE("withValue"), "WITHVALUES"));
    cr_assert_not(slice_is_word(SLICE("withValuesX"), "WITHVALUES"));
    cr_assert_not(slice_is_word(slice_of("ex\0", 3), "EX"));
    cr_assert_not(slice_is_word(SLICE("[x"), "{x"));
}

Test(slice, glob_matches)
{
    static const char *const pairs[][2] = {
        {"*", "anything"},
        {"h?llo", "hallo"},
        {"h*llo", "hllo"},
        {"h*llo", "heeeello"},
        {"h[ae]llo", "hello"},
        {"h[^e]llo", "hallo"},
        {"h[a-b]llo", "hbllo"},
        {"a\\*b", "a*b"},
        {"[b-a]", "a"},
        {"[ab", "b"},
        {"[^", "x"},
        {"a\\", "a\\"},
        {"[\\]]", "]"},
        {"a*", "a"},
        {"a***", "a"},
        {"*a*b*c", "xxaxxbxxc"},
        {"[a-]", "^"},
        {"[^a]*", "bcd"},
        {"", ""},
        {"\\[x]", "[x]"},
        {"*\\?", "ab?"},
        {"user:*:name", "user:1:2:name"},
        {"[]", "[]"},
    };
    for (size_t i = 0; i + 1 < ARRAY_COUNT(pairs); i++) {
        cr_assert(glob(pairs[i][0], pairs[i][1]), "%s ~ %s", pairs[i][0], pairs[i][1]);
    }
    cr_assert_not(glob("[]", "[]"), "an empty class matches nothing");
}

Test(slice, glob_refuses)
{
    static const char *const pairs[][2] = {
        {"*", ""},       {"", "a"},         {"a", ""},
        {"?", ""},       {"h?llo", "hllo"}, {"h[^e]llo", "hello"},
        {"abc", "abcd"}, {"abcd", "abc"},   {"*b", "abc"},
        {"a*c", "ab"},   {"[", "["},        {"A", "a"},
        {"[a-c]", "d"},  {"a\\*b", "axb"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        cr_assert_not(glob(pairs[i][0], pairs[i][1]), "%s ~ %s", pairs[i][0], pairs[i][1]);
    }
}

Test(slice, glob_ignoring_case)
{
    cr_assert(slice_glob(SLICE("MaX*"), SLICE("maxmemory"), true));
    cr_assert(slice_glob(SLICE("[A-C]x"), SLICE("bX"), true));
    cr_assert(slice_glob(SLICE("\\Ab"), SLICE("aB"), true));
    cr_assert_not(slice_glob(SLICE("[\\A]"), SLICE("a"), true), "escaped in a class: exact");
    cr_assert_not(slice_glob(SLICE("max"), SLICE("MAX"), false));
}

/* All splits of the text for every star, as the meaning says; for short texts only. */
static bool glob_slowly(const char *p, size_t p_len, const char *t, size_t t_len)
{
    if (p_len == 0) return t_len == 0;
    if (p[0] == '*') {
        for (size_t i = 0; i <= t_len; i++) {
            if (glob_slowly(p + 1, p_len - 1, t + i, t_len - i)) return true;
        }
        return false;
    }
    return t_len && (p[0] == '?' || p[0] == t[0]) &&
           glob_slowly(p + 1, p_len - 1, t + 1, t_len - 1);
}

Test(slice, glob_against_the_plain_meaning)
{
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 300000; i++) {
        char pattern[8], text[8];
        size_t p_len = rng_below(&rng, sizeof(pattern)), t_len = 1 + rng_below(&rng, 7);
        for (size_t k = 0; k < p_len; k++) pattern[k] = "ab*?*"[rng_below(&rng, 5)];
        for (size_t k = 0; k < t_len; k++) text[k] = "ab"[rng_below(&rng, 2)];
        cr_assert_eq(slice_glob(slice_of(pattern, p_len), slice_of(text, t_len), false),
                     glob_slowly(pattern, p_len, text, t_len), "%.*s ~ %.*s", (int)p_len, pattern,
                     (int)t_len, text);
    }
}

Test(slice, glob_does_not_explode)
{
    char pattern[2001], text[5000];
    for (size_t i = 0; i < 2000; i += 2) memcpy(pattern + i, "*a", 2);
    pattern[2000] = 'b';
    memset(text, 'a', sizeof(text));
    clock_t start = clock();
    cr_assert_not(slice_glob(slice_of(pattern, 2001), slice_of(text, sizeof(text)), false));
    cr_assert_lt((double)(clock() - start) / CLOCKS_PER_SEC, 2.0);
}
