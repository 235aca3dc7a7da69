/* A histogram of times: log-linear, so that every value is known to the same relative precision.
 *
 * One thread records, any thread reads (counters). Values are nanoseconds. Each power of two is cut
 * into 2^bits parts of equal width; below 2^(bits + 1) every value has a bin of its own. With bits
 * = 7 the bins are those of HdrHistogram with two significant digits, so percentiles and the
 * cumulative form come out as Redis prints them.
 * Source: https://hdrhistogram.github.io/HdrHistogram/ (the idea of the bins)
 * Thread: writer / any, as each function says. */
#ifndef SPLITRING_BASE_HIST_H
#define SPLITRING_BASE_HIST_H

#include "splitring/base/counters.h"

#define HIST_BITS 7u             /* of a command's execution time */
#define HIST_COARSE_BITS 4u      /* of the time it waited: 6 % */
#define HIST_VALUE_BITS_MAX 37u  /* values from 2^37 ns (137 s) on count as the largest */

struct hist {
    unsigned bits; /* constant */
    counter count, sum;
    counter bins[];
};

static inline size_t hist_bins(unsigned bits)
{
    return (size_t)(HIST_VALUE_BITS_MAX - bits + 1) << bits;
}

static inline size_t hist_bin_of(uint64_t value, unsigned bits)
{
    if (unlikely(value >> HIST_VALUE_BITS_MAX)) return hist_bins(bits) - 1;
    unsigned top = 63u - (unsigned)__builtin_clzll(value | 1);
    unsigned shift = top > bits ? top - bits : 0;
    return ((size_t)shift << bits) + (size_t)(value >> shift);
}

/* bits: that of h, as a constant where it is one. Thread: writer. */
static inline void hist_record(struct hist *h, uint64_t value, unsigned bits)
{
    counter_add(&h->bins[hist_bin_of(value, bits)], 1);
    counter_add(&h->count, 1);
    counter_add(&h->sum, value);
}

/* NULL: no memory. */
struct hist *hist_try_new(unsigned bits);
/* Thread: writer. */
void hist_reset(struct hist *h);
/* Adds `from` to `to`, which is the caller's own. bits are equal. Thread: writer of `to`. */
void hist_merge(struct hist *to, const struct hist *from);
/* The largest value that shares a bin with `value`. */
uint64_t hist_equivalent_max(uint64_t value, unsigned bits);
/* The value below which percent % of the records lie, as the largest of its bin; 0 without any.
 * Thread: any, exact when nobody records. */
uint64_t hist_percentile(const struct hist *h, double percent);
/* Records in bins up to that of `value`. */
uint64_t hist_count_to(const struct hist *h, uint64_t value);

#endif
