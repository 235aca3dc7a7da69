/* Numbers against what Redis prints and accepts, and against libc over many random values. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "splitring/base/num.h"
#include "splitring/base/rng.h"

static bool is_text(const char *out, size_t len, const char *expected)
{
    return len == strlen(expected) && memcmp(out, expected, len) == 0;
}

Test(num, parse_i64)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"7", 7},
        {"-1", -1},
        {"10", 10},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    static const char *bad[] = {"",
                                "-",
                                "+1",
                                " 1",
                                "1 ",
                                "01",
                                "-0",
                                "-01",
                                "1.0",
                                "1e3",
                                "0x1",
                                "9223372036854775808",
                                "-9223372036854775809",
                                "--1",
                                "00",
                                "18446744073709551616",
                                "100000000000000000000000"};
    int64_t value;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        cr_assert(num_parse_i64(slice_str(good[i].text), &value), "%s", good[i].text);
        cr_assert_eq(value, good[i].value);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_assert_not(num_parse_i64(slice_str(bad[i]), &value), "%s", bad[i]);
    }
    cr_assert_not(num_parse_i64(slice_of("1\0", 2), &value));
}

Test(num, parse_u64)
{
    uint64_t value;
    cr_assert(num_parse_u64(SLICE("18446744073709551615"), &value));
    cr_assert_eq(value, UINT64_MAX);
    cr_assert(num_parse_u64(SLICE("10000000000000000000"), &value));
    cr_assert_not(num_parse_u64(SLICE("18446744073709551616"), &value));
    cr_assert_not(num_parse_u64(SLICE("99999999999999999999"), &value));
    cr_assert_not(num_parse_u64(SLICE("-1"), &value));
    cr_assert_not(num_parse_u64(SLICE("000"), &value));
}

Test(num, integers_come_back)
{
    struct rng rng;
    char text[NUM_I64_LEN_MAX + 1], expected[32];
    rng_seed(&rng, 1);
    for (int i = 0; i < 200000; i++) {
        int64_t value = (int64_t)(rng_next(&rng) >> rng_below(&rng, 64)), back;
        if (i % 2) value = -value;
        size_t len = num_format_i64(text, value);
        snprintf(expected, sizeof(expected), "%lld", (long long)value);
        cr_assert(is_text(text, len, expected), "%s", expected);
        cr_assert(num_parse_i64(slice_of(text, len), &back) && back == value);
    }
    cr_assert_eq(num_format_i64(text, INT64_MIN), 20);
    cr_assert_eq(num_format_u64(text, UINT64_MAX), 20);
    cr_assert_eq(num_format_u64(text, 0), 1);
}

Test(num, parse_double)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"0", 0},
        {"3.14", 3.14},
        {"-3.14", -3.14},
        {"+5", 5},
        {".5", .5},
        {"5.", 5},
        {"1e3", 1e3},
        {"-1.5E-3", -1.5e-3},
        {"inf", INFINITY},
        {"-inf", -INFINITY},
        {"+inf", INFINITY},
        {"Infinity", INFINITY},
        {"0x10", 16},
        {"123456789012345678901234567890", 1.2345678901234568e29},
        {"0.1000000000000000055511151231257827", 0.1},
        {"4.9e-324", 5e-324},
        {"00012", 12},
        {"999999999999999", 999999999999999},
        {"0.00000000000001", 1e-14},
    };
    static const char *bad[] = {"",  "nan", "-nan", " 1",    "1 ",     "abc",    "1.2.3", "1e",
                                ".", "-",   "+",    "1e400", "-1e400", "1e-400", "1,5",   "--1"};
    double value;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        cr_assert(num_parse_double(slice_str(good[i].text), &value), "%s", good[i].text);
        cr_assert(value == good[i].value, "%s", good[i].text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_assert_not(num_parse_double(slice_str(bad[i]), &value), "%s", bad[i]);
    }
    cr_assert_not(num_parse_double(slice_of("1\0", 2), &value));
    cr_assert(num_parse_double(SLICE("-0"), &value) && signbit(value));
    char long_text[1000];
    memset(long_text, '0', sizeof(long_text));
    long_text[999] = '7';
    cr_assert(num_parse_double(slice_of(long_text, 1000), &value) && value == 7);
}

/* As printed by Redis 7.2 (d2string). */
Test(num, format_double)
{
    static const struct {
        double value;
        const char *text;
    } known[] = {
        {0, "0"},
        {-0.0, "-0"},
        {100, "100"},
        {-7, "-7"},
        {3.1, "3.1"},
        {0.1, "0.1"},
        {1e21, "1e+21"},
        {1e20, "1e+20"},
        {1e18, "1000000000000000000"},
        {-1e300, "-1e+300"},
        {0.000001, "0.000001"},
        {1e-7, "1e-7"},
        {1.5e-9, "1.5e-9"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {NAN, "nan"},
        {4611686018427387904.0, "4611686018427387904"},
        {9.3e18, "9.3e+18"},
        {-4.7e18, "-4.7e+18"},
        {1.0 / 3, "0.3333333333333333"},
        {3.0000000000000004, "3.0000000000000004"},
        {123456.789, "123456.789"},
    };
    char text[NUM_DOUBLE_LEN_MAX];
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        size_t len = num_format_double(text, known[i].value);
        cr_assert(is_text(text, len, known[i].text), "%.*s for %s", (int)len, text, known[i].text);
    }
}

Test(num, doubles_come_back)
{
    struct rng rng;
    char text[NUM_DOUBLE_LEN_MAX], other[64];
    rng_seed(&rng, 2);
    for (int i = 0; i < 300000; i++) {
        uint64_t bits = rng_next(&rng);
        double value, back;
        if (i % 5 == 0) bits &= 0x800fffffffffffff; /* denormal */
        if (i % 5 == 1) bits &= 0xffffffff00000000;
        memcpy(&value, &bits, sizeof(value));
        if (i % 5 == 2) value = (double)(int64_t)(bits >> 40) / 1000;
        if (isnan(value) || value == 0) continue;
        size_t len = num_format_double(text, value);
        cr_assert_lt(len, NUM_DOUBLE_LEN_MAX);
        bool ok = num_parse_double(slice_of(text, len), &back);
        cr_assert(ok && back == value, "%.17g", value);
        /* The short road of the parser against libc. */
        int printed = snprintf(other, sizeof(other), "%.*f", (int)(bits % 12), fmod(value, 1e6));
        cr_assert(num_parse_double(slice_of(other, (size_t)printed), &back));
        cr_assert(back == strtod(other, NULL), "%s", other);
    }
}

Test(num, long_doubles)
{
    static const struct {
        const char *text, *human;
    } known[] = {
        {"10.5", "10.5"},
        {"0.1", "0.1"},
        {"5.0e3", "5000"},
        {"-0.0", "0"},
        {"3", "3"},
        {"1e20", "100000000000000000000"},
        {"0.00000000000000001", "0.00000000000000001"},
        {"0.000000000000000001", "0"},
        {"-1.25", "-1.25"},
        {"1e17", "100000000000000000"},
        {"inf", "inf"},
        {"-inf", "-inf"},
        {"3.1", "3.1"},
        {"0x10", "16"},
    };
    static const char *bad[] = {"", "nan", " 1", "1 ", "x", "1e5000", "1e-5000", "1.1.1"};
    static char text[NUM_LDOUBLE_LEN_MAX], huge[NUM_LDOUBLE_LEN_MAX + 1];
    long double value;
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        cr_assert(num_parse_ldouble(slice_str(known[i].text), &value), "%s", known[i].text);
        size_t len = num_format_ldouble(text, value);
        cr_assert(is_text(text, len, known[i].human), "%.*s", (int)len, text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_assert_not(num_parse_ldouble(slice_str(bad[i]), &value), "%s", bad[i]);
    }
    memset(huge, '1', sizeof(huge));
    cr_assert_not(num_parse_ldouble(slice_of(huge, sizeof(huge)), &value));
    cr_assert(num_parse_ldouble(SLICE("1e4932"), &value));
    cr_assert_eq(num_format_ldouble(text, value), 4933);
    cr_assert(is_text(text, num_format_ldouble(text, (long double)NAN), "nan"));
}

Test(num, memory)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"100", 100},
        {"100b", 100},
        {"1k", 1000},
        {"1kb", 1024},
        {"1KB", 1024},
        {"2m", 2000000},
        {"2mb", 2097152},
        {"3g", 3000000000},
        {"3Gb", 3221225472},
        {"007", 7},
        {"", 0},
        {"18446744073709551615", UINT64_MAX},
    };
    static const char *bad[] = {"-1",
                                "1kbb",
                                "1tb",
                                "1 kb",
                                "1.5gb",
                                "x",
                                " 1",
                                "18446744073709551616",
                                "99999999999999gb"};
    uint64_t bytes;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        cr_assert(num_parse_memory(slice_str(good[i].text), &bytes), "%s", good[i].text);
        cr_assert_eq(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_assert_not(num_parse_memory(slice_str(bad[i]), &bytes), "%s", bad[i]);
    }
}
