/* Numbers as Redis reads and writes them: strict decimal integers, shortest doubles, memory sizes.
 * Source: redis src/util.c is the reference for behaviour (string2ll, ld2string, d2string).
 * Thread: any (pure). */
#ifndef SPLITRING_BASE_NUM_H
#define SPLITRING_BASE_NUM_H

#include "splitring/base/slice.h"

#define NUM_I64_LEN_MAX 20u
#define NUM_DOUBLE_LEN_MAX 32u
#define NUM_LDOUBLE_LEN_MAX (5u * 1024u)

/* Strict: no sign '+', no blanks, no leading zeros, fits in 64 bits ("-0" is no number). */
bool num_parse_i64(struct slice s, int64_t *out);
/* False: a look at its ends has shown that the text is no integer. */
static inline bool num_may_parse(struct slice s)
{
    if (s.len == 0 || s.len > 20) return false;
    return (unsigned char)(s.ptr[s.len - 1] - '0') <= 9 &&
           ((unsigned char)(s.ptr[0] - '0') <= 9 || s.ptr[0] == '-');
}
bool num_parse_u64(struct slice s, uint64_t *out); /* strict, unsigned */
size_t num_format_i64(char *out, int64_t value);   /* returns len, no terminator, <= 20 */
size_t num_format_u64(char *out, uint64_t value);
/* As redis getDoubleFromObject: whole string, inf / -inf / +inf / infinity allowed, NaN and blanks
 * refused; locale-free. */
bool num_parse_double(struct slice s, double *out);
/* As getLongDoubleFromObject (INCRBYFLOAT): refuses blanks, NaN. */
bool num_parse_ldouble(struct slice s, long double *out);
/* Human form of INCRBYFLOAT (ld2string LD_STR_HUMAN: %.17Lf without trailing zeros). */
size_t num_format_ldouble(char out[NUM_LDOUBLE_LEN_MAX], long double value);
/* Doubles as Redis 7.2+ prints them (RESP3, ZSCORE, GEO): Grisu2 digits, which read back as the
 * same double; integers up to 2^62 without point or exponent; inf, -inf, nan, -0. No terminator. */
size_t num_format_double(char out[NUM_DOUBLE_LEN_MAX], double value);
/* "1gb", "64mb", "1k" (1000), "1kb" (1024), "100b", "100": bytes. Source: redis memtoull. */
bool num_parse_memory(struct slice s, uint64_t *out);
static inline bool num_add_overflow_i64(int64_t a, int64_t b, int64_t *out)
{
    return __builtin_add_overflow(a, b, out);
}

#endif
