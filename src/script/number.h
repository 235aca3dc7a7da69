/* Lua's numbers as C integers: what a cast gives on x86, without C's undefined cases.
 * Thread: any (pure). */
#ifndef SPLITRING_SCRIPT_NUMBER_H
#define SPLITRING_SCRIPT_NUMBER_H

#include "splitring/base/types.h"

#define NUMBER_2_63 9223372036854775808.0

/* Truncates; out of range and NaN: the lowest number. */
static inline int64_t number_to_i64(double n)
{
    return n >= -NUMBER_2_63 && n < NUMBER_2_63 ? (int64_t)n : INT64_MIN;
}
/* Negative numbers are those of two's complement; from 2^64 on: 0; NaN: 2^63. */
static inline uint64_t number_to_u64(double n)
{
    if (n < NUMBER_2_63 || n != n) return (uint64_t)number_to_i64(n);
    return n < 2 * NUMBER_2_63 ? (uint64_t)n : 0;
}

#endif
