/* A log-linear histogram of durations, and a short list of the slowest ones with their place.
 *
 * Thread: owner (each load thread has its own; merge after they have ended). */
#ifndef BENCH_LOAD_HISTOGRAM_H
#define BENCH_LOAD_HISTOGRAM_H

#include <stdint.h>

/* 64 buckets per power of two: a quantile is at most 1.6 % above the true value. */
#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_TOP_BITS 40 /* 2^40 ns are 18 minutes; longer ones count as that */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_TOP_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)
#define SLOWEST_MAX 32

struct slow {
    uint64_t took_ns;
    uint64_t at; /* how many requests the thread had completed before */
};

struct histogram {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t bucket[HISTOGRAM_BUCKETS];
    struct slow slowest[SLOWEST_MAX]; /* descending */
    unsigned slowest_count;
    unsigned slowest_cap; /* 0: keep no list */
};

void histogram_init(struct histogram *h, unsigned slowest_cap);
void histogram_add(struct histogram *h, uint64_t took_ns, uint64_t times, uint64_t at);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The smallest bucket bound that a share `q` (0…1) of all durations does not exceed; 0 if empty. */
uint64_t histogram_quantile_ns(const struct histogram *h, double q);

/* How many durations were longer than the bound, to the precision of a bucket. */
uint64_t histogram_count_above(const struct histogram *h, uint64_t bound_ns);

#endif
