/* Which key comes next.
 *
 * Every connection has its own generator (splitmix64), seeded apart: were they to draw the same
 * sequence, 50 connections would ask for each key 50 times in a row and measure the CPU's caches.
 *
 * Zipf is drawn by rejection-inversion (W. Hörmann, G. Derflinger, "Rejection-inversion to generate
 * variates from monotone discrete distributions", ACM TOMACS 6(3), 1996): exact for every
 * exponent, no table, two logarithms per draw. The well-known formula of YCSB is an approximation,
 * breaks down at exponent 1 and needs a sum over all keys first.
 *
 * Tags of a shard are found by trying short strings until each shard has enough of them. */
#include "keys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void rng_init(struct rng *rng, uint64_t seed) { rng->state = mix(seed + 0x632be59bd9b4e019u); }

uint64_t rng_next(struct rng *rng)
{
    rng->state += 0x9e3779b97f4a7c15u;
    return mix(rng->state);
}

double rng_unit(struct rng *rng) { return (double)(rng_next(rng) >> 11) * 0x1p-53; }

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    return ((rng_next(rng) >> 32) * bound) >> 32;
}

/* (e^x - 1) / x and log(1 + x) / x without cancellation near 0: exponents near 1 come here. */
static double expm1_over(double x) { return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2; }

static double log1p_over(double x) { return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2; }

/* The weight's antiderivative, its inverse, and the weight. */
static double zipf_h(const struct zipf *zipf, double x)
{
    double log_x = log(x);
    return expm1_over((1 - zipf->exponent) * log_x) * log_x;
}

static double zipf_h_inverse(const struct zipf *zipf, double x)
{
    double t = x * (1 - zipf->exponent);
    if (t < -1) {
        t = -1;
    }
    return exp(log1p_over(t) * x);
}

static double zipf_weight(const struct zipf *zipf, double x)
{
    return exp(-zipf->exponent * log(x));
}

void zipf_init(struct zipf *zipf, uint64_t count, double exponent)
{
    zipf->exponent = exponent;
    zipf->count = (double)count;
    zipf->h_first = zipf_h(zipf, 1.5) - 1;
    zipf->h_count = zipf_h(zipf, zipf->count + 0.5);
    zipf->shortcut = 2 - zipf_h_inverse(zipf, zipf_h(zipf, 2.5) - zipf_weight(zipf, 2));
}

uint64_t zipf_draw(const struct zipf *zipf, struct rng *rng)
{
    for (;;) {
        double u = zipf->h_count + rng_unit(rng) * (zipf->h_first - zipf->h_count);
        double x = zipf_h_inverse(zipf, u);
        double rank = floor(x + 0.5);
        if (rank < 1) {
            rank = 1;
        } else if (rank > zipf->count) {
            rank = zipf->count;
        }
        if (rank - x <= zipf->shortcut || u >= zipf_h(zipf, rank + 0.5) - zipf_weight(zipf, rank)) {
            return (uint64_t)rank;
        }
    }
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

void shuffle_init(struct shuffle *shuffle, uint64_t count)
{
    shuffle->count = count;
    shuffle->factor = (count * 618 / 1000) | 1; /* the golden section scatters neighbours */
    while (common_divisor(shuffle->factor, count) != 1) {
        shuffle->factor += 2;
    }
}

uint64_t shuffle_apply(const struct shuffle *shuffle, uint64_t index)
{
    return index * shuffle->factor % shuffle->count;
}

unsigned slot_of(const char *tag, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)(unsigned char)tag[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
        }
        crc &= 0xffff;
    }
    return crc % SLOT_COUNT;
}

void shard_tags_fill(char (*tags)[SHARD_TAG_LEN], unsigned shard_count)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    unsigned found[1024] = {0};
    unsigned full = 0;

    /* 36^4 = 1.7M candidates, of which 1024 × 128 are needed at most. */
    for (unsigned n = 0; full < shard_count && n < 36u * 36 * 36 * 36; n++) {
        char tag[SHARD_TAG_LEN];
        unsigned rest = n;
        for (unsigned i = SHARD_TAG_LEN; i > 0; i--) {
            tag[i - 1] = digits[rest % 36];
            rest /= 36;
        }
        unsigned shard = slot_of(tag, sizeof tag) * shard_count / SLOT_COUNT;
        if (found[shard] < SHARD_TAG_COUNT) {
            memcpy(tags[shard * SHARD_TAG_COUNT + found[shard]], tag, sizeof tag);
            found[shard]++;
            full += found[shard] == SHARD_TAG_COUNT;
        }
    }
    if (full < shard_count) {
        abort();
    }
}
