/* Integers, memory sizes and long doubles in Redis' spelling.
 *
 * Integers are strict because the strict form is what may be stored as a number and printed back
 * byte for byte: "007", "+1" and "-0" stay strings. Long doubles go through libc, which is right to
 * the last digit and only as locale-free as the process: nothing here calls setlocale().
 * Thread: any (pure). */
#include "splitring/base/num.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool num_parse_u64(struct slice s, uint64_t *out)
{
    if (s.len == 0 || s.len > 20 || (s.ptr[0] == '0' && s.len > 1)) return false;
    uint64_t value = 0;
    size_t safe = s.len < 20 ? s.len : 19; /* only the twentieth digit can overflow */
    for (size_t i = 0; i < safe; i++) {
        unsigned digit = (unsigned)(unsigned char)s.ptr[i] - '0';
        if (digit > 9) return false;
        value = value * 10 + digit;
    }
    if (unlikely(s.len == 20)) {
        unsigned digit = (unsigned)(unsigned char)s.ptr[19] - '0';
        if (digit > 9 || value > UINT64_MAX / 10 || digit > UINT64_MAX - value * 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool num_parse_i64(struct slice s, int64_t *out)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    uint64_t magnitude;
    if (negative) s = slice_of(s.ptr + 1, s.len - 1);
    if (!num_parse_u64(s, &magnitude)) return false;
    if (negative) {
        if (magnitude == 0 || magnitude > (uint64_t)INT64_MAX + 1) return false;
        *out = (int64_t)(0 - magnitude);
    } else {
        if (magnitude > INT64_MAX) return false;
        *out = (int64_t)magnitude;
    }
    return true;
}

static const char digit_pairs[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445"
    "46474849505152535455565758596061626364656667686970717273747576777879808182838485868788899091"
    "9293949596979899";

/* 1233 / 4096 is a little more than log10(2): the estimate is right, or one short. */
static size_t decimal_len(uint64_t value)
{
    static const uint64_t powers[] = {
        1u, 10u, 100u, 1000u, 10000u, 100000u, 1000000u, 10000000u, 100000000u, 1000000000u,
        10000000000u, 100000000000u, 1000000000000u, 10000000000000u, 100000000000000u,
        1000000000000000u, 10000000000000000u, 100000000000000000u, 1000000000000000000u,
        10000000000000000000u};
    unsigned bits = 64u - (unsigned)__builtin_clzll(value | 1);
    size_t len = bits * 1233u >> 12;
    return len + (value >= powers[len]) + (value == 0);
}

size_t num_format_u64(char *out, uint64_t value)
{
    size_t len = decimal_len(value);
    char *p = out + len;
    while (value >= 100) {
        p -= 2;
        memcpy(p, digit_pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        memcpy(out, digit_pairs + 2 * value, 2);
    } else {
        out[0] = (char)('0' + value);
    }
    return len;
}

size_t num_format_i64(char *out, int64_t value)
{
    if (value >= 0) return num_format_u64(out, (uint64_t)value);
    out[0] = '-';
    return 1 + num_format_u64(out + 1, 0 - (uint64_t)value);
}

bool num_parse_ldouble(struct slice s, long double *out)
{
    char text[NUM_LDOUBLE_LEN_MAX];
    if (s.len == 0 || s.len >= sizeof(text)) return false;
    /* strtold would skip leading blanks. */
    if (s.ptr[0] == ' ' || (s.ptr[0] >= '\t' && s.ptr[0] <= '\r')) return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';

    char *end;
    errno = 0;
    long double value = strtold(text, &end);
    if (end != text + s.len || isnan(value)) return false;
    /* Too large or too small; a denormal result also sets ERANGE and is fine. */
    if (errno == ERANGE && (isinf(value) || fpclassify(value) == FP_ZERO)) return false;
    *out = value;
    return true;
}

size_t num_format_ldouble(char out[NUM_LDOUBLE_LEN_MAX], long double value)
{
    if (isnan(value)) {
        memcpy(out, "nan", 3);
        return 3;
    }
    if (isinf(value)) {
        memcpy(out, value > 0 ? "inf" : "-inf", value > 0 ? 3 : 4);
        return value > 0 ? 3 : 4;
    }
    /* The longest has 4933 digits before the point, 17 after it. */
    int printed = snprintf(out, NUM_LDOUBLE_LEN_MAX, "%.17Lf", value);
    size_t len = printed < 0 ? 0 : (size_t)printed;
    while (len > 0 && out[len - 1] == '0') len--;
    if (len > 0 && out[len - 1] == '.') len--;
    if (len == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        len = 1;
    }
    return len;
}

/* Redis takes the digits with strtoull, so leading zeros and no digits at all ("" is 0) are fine.
 * It lets the product wrap around where we refuse. */
bool num_parse_memory(struct slice s, uint64_t *out)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {
        {"", 1},
        {"b", 1},
        {"k", 1000},
        {"kb", 1024},
        {"m", 1000 * 1000},
        {"mb", 1024 * 1024},
        {"g", 1000 * 1000 * 1000},
        {"gb", 1024 * 1024 * 1024},
    };
    size_t digits = 0;
    uint64_t value = 0;
    for (; digits < s.len && is_digit(s.ptr[digits]); digits++) {
        uint64_t digit = (uint64_t)(s.ptr[digits] - '0');
        if (__builtin_mul_overflow(value, (uint64_t)10, &value)) return false;
        if (__builtin_add_overflow(value, digit, &value)) return false;
    }
    struct slice unit = slice_of(s.ptr + digits, s.len - digits);
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (slice_is_word(unit, units[i].name)) {
            return !__builtin_mul_overflow(value, units[i].bytes, out);
        }
    }
    return false;
}
