/* Log-linear histogram.
 *
 * Durations below 64 ns have a bucket each. Above, the position of the highest bit selects a group
 * and the next six bits the bucket in it, so the relative width is 1/64 everywhere:
 *
 *     value 1 b5 b4 b3 b2 b1 b0 x x x x   ->   group = number of x, bucket = b5…b0
 *
 * Adding costs a count of leading zeros and one increment; the whole takes 18 KB per thread. A
 * sorted list of samples would need memory per request, fixed-width buckets either range or
 * precision. */
#include "histogram.h"

#include <string.h>

#define SUB_COUNT (1u << HISTOGRAM_SUB_BITS)

static unsigned bucket_of(uint64_t ns)
{
    if (ns < SUB_COUNT) {
        return (unsigned)ns;
    }
    unsigned top = 63u - (unsigned)__builtin_clzll(ns);
    if (top >= HISTOGRAM_TOP_BITS) {
        return HISTOGRAM_BUCKETS - 1;
    }
    unsigned shift = top - HISTOGRAM_SUB_BITS;
    unsigned sub = (unsigned)(ns >> shift) & (SUB_COUNT - 1);
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + sub;
}

/* The largest duration that falls into the bucket. */
static uint64_t bucket_bound_ns(unsigned bucket)
{
    if (bucket < SUB_COUNT) {
        return bucket;
    }
    unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t low = (uint64_t)(SUB_COUNT + (bucket & (SUB_COUNT - 1))) << shift;
    return low + (((uint64_t)1 << shift) - 1);
}

void histogram_init(struct histogram *h, unsigned slowest_cap)
{
    memset(h, 0, sizeof *h);
    h->slowest_cap = slowest_cap < SLOWEST_MAX ? slowest_cap : SLOWEST_MAX;
}

static void slowest_add(struct histogram *h, struct slow slow)
{
    unsigned count = h->slowest_count;
    if (count == h->slowest_cap) {
        if (count == 0 || h->slowest[count - 1].took_ns >= slow.took_ns) {
            return;
        }
        count--;
    }
    unsigned i = count;
    while (i > 0 && h->slowest[i - 1].took_ns < slow.took_ns) {
        h->slowest[i] = h->slowest[i - 1];
        i--;
    }
    h->slowest[i] = slow;
    h->slowest_count = count + 1;
}

void histogram_add(struct histogram *h, uint64_t took_ns, uint64_t times, uint64_t at)
{
    h->count += times;
    h->sum_ns += took_ns * times;
    h->bucket[bucket_of(took_ns)] += times;
    if (took_ns > h->max_ns) {
        h->max_ns = took_ns;
    }
    if (h->slowest_cap != 0) {
        slowest_add(h, (struct slow){.took_ns = took_ns, .at = at});
    }
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    if (from->max_ns > into->max_ns) {
        into->max_ns = from->max_ns;
    }
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->bucket[i] += from->bucket[i];
    }
    for (unsigned i = 0; i < from->slowest_count; i++) {
        slowest_add(into, from->slowest[i]);
    }
}

uint64_t histogram_quantile_ns(const struct histogram *h, double q)
{
    uint64_t rank = (uint64_t)(q * (double)h->count);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen > rank) {
            uint64_t bound = bucket_bound_ns(i);
            return bound < h->max_ns ? bound : h->max_ns;
        }
    }
    return h->max_ns;
}

uint64_t histogram_count_above(const struct histogram *h, uint64_t bound_ns)
{
    uint64_t count = 0;
    for (unsigned i = bucket_of(bound_ns) + 1; i < HISTOGRAM_BUCKETS; i++) {
        count += h->bucket[i];
    }
    return count;
}
