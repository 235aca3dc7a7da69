/* Histograms of times: what is not on the hot path (base/hist.h).
 *
 *   bin:    0 … 2^(bits+1) - 1      one value each
 *           then 2^bits bins for each power of two, each twice as wide as those before
 *
 * Why not a library: recording is three relaxed stores that other threads may read at any moment,
 * and reading is rare. Bins are never moved or rescaled.
 * Thread: as the face says. */
#include "splitring/base/hist.h"

#include "splitring/base/check.h"
#include "splitring/base/mem.h"

struct hist *hist_try_new(unsigned bits)
{
    struct hist *h = mem_try_zalloc(sizeof *h + hist_bins(bits) * sizeof h->bins[0]);
    if (h) h->bits = bits;
    return h;
}

void hist_reset(struct hist *h)
{
    counter_set(&h->count, 0);
    counter_set(&h->sum, 0);
    for (size_t i = 0; i < hist_bins(h->bits); i++) counter_set(&h->bins[i], 0);
}

void hist_merge(struct hist *to, const struct hist *from)
{
    check(to->bits == from->bits);
    uint64_t count = 0;
    for (size_t i = 0; i < hist_bins(to->bits); i++) {
        uint64_t n = counter_get(&from->bins[i]);
        if (!n) continue;
        counter_add(&to->bins[i], n);
        count += n;
    }
    counter_add(&to->count, count); /* of what was seen, though more may have been recorded since */
    counter_add(&to->sum, counter_get(&from->sum));
}

static uint64_t bin_max(size_t bin, unsigned bits)
{
    size_t shift = bin >> bits;
    if (shift <= 1) return bin; /* bins of one value */
    shift--;
    uint64_t mantissa = bin - (shift << bits);
    return ((mantissa + 1) << shift) - 1;
}

uint64_t hist_equivalent_max(uint64_t value, unsigned bits)
{
    return bin_max(hist_bin_of(value, bits), bits);
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
    uint64_t total = counter_get(&h->count), seen = 0;
    if (percent > 100) percent = 100;
    uint64_t wanted = (uint64_t)(percent / 100 * (double)total + 0.5);
    if (wanted < 1) wanted = 1;
    for (size_t i = 0; i < hist_bins(h->bits); i++) {
        seen += counter_get(&h->bins[i]);
        if (seen >= wanted) return bin_max(i, h->bits);
    }
    return 0;
}

uint64_t hist_count_to(const struct hist *h, uint64_t value)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= hist_bin_of(value, h->bits); i++) count += counter_get(&h->bins[i]);
    return count;
}
