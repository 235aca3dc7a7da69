/* HyperLogLog in Redis' string format.
 *
 *   "HYLL"  encoding  0 0 0  cardinality (8, little endian; top bit: out of date)  registers
 *
 *   dense (0)    16384 registers of six bits, lowest bits first
 *   sparse (1)   runs:  00llllll            zeros, l + 1 registers
 *                       01llllll llllllll   zeros, l + 1 registers (up to 16384)
 *                       1vvvvvll            l + 1 registers of rank v + 1 (up to 4, up to 32)
 *
 * Other programs read these strings, and PFCOUNT must agree with Redis to the digit, so the same
 * adds have to give the same bytes. That fixes more than the format: which run is split in which
 * way, how far neighbours are merged afterwards, and when a value becomes dense. The rules are:
 *
 *  - a run is split into what is left of the register, the register, and what is right of it; zeros
 *    up to 64 take the short opcode;
 *  - then up to five opcodes from the run before the change on are looked at, and neighbours of one
 *    rank are merged while they fit four registers;
 *  - growth beyond the limit, or a rank beyond 32, makes it dense. Growth is judged before the
 *    merge.
 *
 * The estimate is Otmar Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches",
 * arXiv:1702.01284, section 2.5), which needs the histogram of registers only; the hash is
 * MurmurHash64A with Redis' seed. Floating point is computed in the paper's order, in double, as
 * Redis does: another order would differ in the last digit.
 *
 * Values come from clients. What Redis lets pass and this does not: a long run of zeros that is cut
 * off by the end (Redis reads the terminator behind it), and a sparse value that is
 * longer than any valid one, so that all work is bounded.
 * Thread: any (pure). */
#include "splitring/data/hll.h"

#include <math.h>

#define RANK_MAX 51              /* 64 - 14 bits of index, + 1 */
#define SPARSE_RANK_MAX 32
#define VALUE_RUN_MAX 4u
#define ZERO_RUN_MAX 64u
#define ALPHA 0.721347520444481703680 /* 1 / (2 ln 2) */
#define HASH_SEED 0xadc83b19ULL

/* ---- header ---- */

bool hll_is_valid(struct slice value)
{
    if (value.len < HLL_HEADER_LEN || memcmp(value.ptr, "HYLL", 4) != 0) return false;
    return value.ptr[4] == 1 || (value.ptr[4] == 0 && value.len == HLL_DENSE_LEN);
}

bool hll_is_sparse(struct slice value) { return value.ptr[4] == 1; }

bool hll_cached(struct slice value, uint64_t *count)
{
    *count = 0;
    for (unsigned i = 0; i < 8; i++) *count |= (uint64_t)(uint8_t)value.ptr[8 + i] << (8 * i);
    return *count >> 63 == 0;
}

void hll_cache_set(char *bytes, uint64_t count)
{
    for (unsigned i = 0; i < 8; i++) bytes[8 + i] = (char)(count >> (8 * i));
}

void hll_cache_drop(char *bytes) { bytes[15] = (char)(bytes[15] | 0x80); }

/* ---- elements ---- */

static uint64_t load_tail(const char *ptr, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) word |= (uint64_t)(uint8_t)ptr[i] << (8 * i);
    return word;
}

/* MurmurHash64A (Austin Appleby), words read as little endian. */
static uint64_t murmur64a(struct slice s)
{
    const uint64_t m = 0xc6a4a7935bd1e995;
    uint64_t h = HASH_SEED ^ ((uint64_t)s.len * m);
    size_t at = 0;
    for (; s.len - at >= 8; at += 8) {
        uint64_t k = load_tail(s.ptr + at, 8) * m;
        k = (k ^ (k >> 47)) * m;
        h = (h ^ k) * m;
    }
    if (at < s.len) h = (h ^ load_tail(s.ptr + at, s.len - at)) * m;
    h = (h ^ (h >> 47)) * m;
    return h ^ (h >> 47);
}

struct hll_mark hll_mark_of(struct slice element)
{
    uint64_t hash = murmur64a(element);
    uint64_t rest = hash >> 14 | 1ULL << 50;
    return (struct hll_mark){(uint16_t)(hash % HLL_REGISTERS),
                             (uint8_t)(__builtin_ctzll(rest) + 1)};
}

/* ---- dense ---- */

static uint8_t dense_get(const char *bytes, uint32_t index)
{
    const uint8_t *at = (const uint8_t *)bytes + HLL_HEADER_LEN + index * 6 / 8;
    unsigned shift = index * 6 % 8, word = at[0];
    if (shift > 2) word |= (unsigned)at[1] << 8;
    return (uint8_t)(word >> shift & 63);
}

static void dense_put(char *bytes, uint32_t index, uint8_t rank)
{
    uint8_t *at = (uint8_t *)bytes + HLL_HEADER_LEN + index * 6 / 8;
    unsigned shift = index * 6 % 8;
    at[0] = (uint8_t)((at[0] & ~(63u << shift)) | (unsigned)rank << shift);
    if (shift <= 2) return;
    unsigned below = 8 - shift; /* bits that went into the first byte */
    at[1] = (uint8_t)((at[1] & ~(63u >> below)) | (unsigned)rank >> below);
}

/* All registers, four of them from three bytes. */
static void dense_unpack(const char *bytes, uint8_t out[HLL_REGISTERS])
{
    const uint8_t *at = (const uint8_t *)bytes + HLL_HEADER_LEN;
    for (uint32_t i = 0; i < HLL_REGISTERS; i += 4, at += 3) {
        uint32_t word = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
        out[i] = word & 63;
        out[i + 1] = word >> 6 & 63;
        out[i + 2] = word >> 12 & 63;
        out[i + 3] = (uint8_t)(word >> 18);
    }
}

/* ---- runs ---- */

static bool is_value(uint8_t op) { return op >> 7; }
static bool is_long_zero(uint8_t op) { return op >> 6 == 1; }

static struct hll_run run_at(const uint8_t *at, const uint8_t *end)
{
    uint8_t op = at[0];
    if (is_value(op)) {
        return (struct hll_run){(op & 3u) + 1, (uint8_t)((op >> 2 & 31) + 1), 1};
    }
    if (!is_long_zero(op)) return (struct hll_run){(op & 63u) + 1, 0, 1};
    uint32_t low = end - at > 1 ? at[1] : 0;
    return (struct hll_run){((uint32_t)(op & 63u) << 8 | low) + 1, 0, 2};
}

bool hll_next_run(struct slice value, size_t *at, struct hll_run *run)
{
    if (*at >= value.len) return false;
    const uint8_t *bytes = (const uint8_t *)value.ptr;
    *run = run_at(bytes + *at, bytes + value.len);
    *at += run->bytes;
    return true;
}

static uint8_t *put_value(uint8_t *out, uint8_t rank, uint32_t len)
{
    *out = (uint8_t)(0x80u | (unsigned)(rank - 1) << 2 | (len - 1));
    return out + 1;
}

static uint8_t *put_zeros(uint8_t *out, uint32_t len)
{
    if (len <= ZERO_RUN_MAX) {
        *out = (uint8_t)(len - 1);
        return out + 1;
    }
    out[0] = (uint8_t)(0x40u | (len - 1) >> 8);
    out[1] = (uint8_t)(len - 1);
    return out + 2;
}

/* A run of `len` registers of one rank, if there are any. */
static uint8_t *put_run(uint8_t *out, uint8_t rank, uint32_t len)
{
    if (len == 0) return out;
    return rank ? put_value(out, rank, len) : put_zeros(out, len);
}

/* The run that holds a register. */
struct place {
    size_t at, prev;  /* offsets of its opcode, and of the one before (or its own: none) */
    uint32_t first;   /* its first register */
    struct hll_run run;
};

static bool find_place(struct slice value, uint32_t index, struct place *p)
{
    if (value.len > HLL_SPARSE_LEN_MAX) return false;
    *p = (struct place){.at = HLL_HEADER_LEN, .prev = HLL_HEADER_LEN};
    size_t next = HLL_HEADER_LEN;
    while (hll_next_run(value, &next, &p->run)) {
        if (next > value.len) return false;
        if (index < p->first + p->run.len) return true;
        p->first += p->run.len;
        p->prev = p->at;
        p->at = next;
    }
    return false;
}

/* ---- one register ---- */

enum hll_result hll_check(struct slice value, struct hll_mark mark)
{
    if (!hll_is_sparse(value)) {
        return mark.rank > dense_get(value.ptr, mark.index) ? HLL_CHANGED : HLL_SAME;
    }
    struct place p;
    if (!find_place(value, mark.index, &p)) return HLL_CORRUPT;
    return mark.rank > p.run.rank ? HLL_CHANGED : HLL_SAME;
}

/* Joins neighbours of one rank, looking at five opcodes from `at` on. */
static void merge_runs(struct hll *h, size_t at)
{
    uint8_t *bytes = (uint8_t *)h->bytes;
    for (int seen = 0; seen < 5 && at < h->len; seen++) {
        if (!is_value(bytes[at])) {
            at += is_long_zero(bytes[at]) ? 2 : 1;
            continue;
        }
        struct hll_run a = run_at(bytes + at, bytes + h->len), b = {0};
        if (at + 1 < h->len) b = run_at(bytes + at + 1, bytes + h->len);
        if (b.rank != a.rank || a.len + b.len > VALUE_RUN_MAX) {
            at++;
            continue;
        }
        put_value(bytes + at + 1, a.rank, a.len + b.len);
        memmove(bytes + at, bytes + at + 1, h->len - at - 1);
        h->len--;
    }
}

static enum hll_result dense_set(struct hll *h, struct hll_mark mark)
{
    if (mark.rank <= dense_get(h->bytes, mark.index)) return HLL_SAME;
    dense_put(h->bytes, mark.index, mark.rank);
    return HLL_CHANGED;
}

static enum hll_result promote(struct hll *h, struct hll_mark mark)
{
    if (!hll_make_dense(h)) return HLL_CORRUPT;
    dense_set(h, mark);
    return HLL_CHANGED;
}

static enum hll_result sparse_set(struct hll *h, struct hll_mark mark, uint64_t sparse_max)
{
    struct place p;
    if (mark.rank > SPARSE_RANK_MAX) return promote(h, mark);
    if (!find_place(slice_of(h->bytes, h->len), mark.index, &p)) return HLL_CORRUPT;
    if (mark.rank <= p.run.rank) return HLL_SAME;
    uint8_t split[5], *end = split;
    end = put_run(end, p.run.rank, mark.index - p.first);
    end = put_value(end, mark.rank, 1);
    end = put_run(end, p.run.rank, p.first + p.run.len - 1 - mark.index);
    size_t split_len = (size_t)(end - split), len = h->len - p.run.bytes + split_len;
    if (split_len > p.run.bytes) {
        if (len > sparse_max) return promote(h, mark);
        if (len > HLL_SPARSE_LEN_MAX) return HLL_CORRUPT;
    }
    char *at = h->bytes + p.at;
    memmove(at + split_len, at + p.run.bytes, h->len - p.at - p.run.bytes);
    memcpy(at, split, split_len);
    h->len = len;
    merge_runs(h, p.prev);
    return HLL_CHANGED;
}

enum hll_result hll_set(struct hll *h, struct hll_mark mark, uint64_t sparse_max)
{
    bool sparse = hll_is_sparse(slice_of(h->bytes, h->len));
    return sparse ? sparse_set(h, mark, sparse_max) : dense_set(h, mark);
}

/* ---- whole values ---- */

void hll_make_empty(struct hll *h)
{
    memset(h->bytes, 0, HLL_HEADER_LEN);
    memcpy(h->bytes, "HYLL\1", 5);
    put_zeros((uint8_t *)h->bytes + HLL_HEADER_LEN, HLL_REGISTERS);
    h->len = HLL_EMPTY_LEN;
}

bool hll_make_dense(struct hll *h)
{
    struct slice value = slice_of(h->bytes, h->len);
    uint8_t registers[HLL_REGISTERS] = {0};
    if (!hll_is_sparse(value)) return true;
    if (!hll_merge(value, registers)) return false;
    h->bytes[4] = 0;
    memset(h->bytes + HLL_HEADER_LEN, 0, HLL_DENSE_LEN - HLL_HEADER_LEN);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        if (registers[i]) dense_put(h->bytes, i, registers[i]);
    }
    h->len = HLL_DENSE_LEN;
    return true;
}

bool hll_merge(struct slice value, uint8_t registers[HLL_REGISTERS])
{
    if (!hll_is_sparse(value)) {
        uint8_t own[HLL_REGISTERS];
        dense_unpack(value.ptr, own);
        for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
            if (own[i] > registers[i]) registers[i] = own[i];
        }
        return true;
    }
    struct hll_run run;
    uint32_t index = 0;
    size_t at = HLL_HEADER_LEN;
    while (hll_next_run(value, &at, &run)) {
        if (run.len > HLL_REGISTERS - index) return false;
        for (uint32_t end = index + run.len; index < end && run.rank; index++) {
            if (run.rank > registers[index]) registers[index] = run.rank;
        }
        if (!run.rank) index += run.len;
    }
    return at == value.len && index == HLL_REGISTERS;
}

/* ---- the estimate ---- */

static double sigma(double x)
{
    if (x == 1.) return (double)INFINITY;
    double y = 1, z = x, before;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (before != z);
    return z;
}

static double tau(double x)
{
    if (x == 0. || x == 1.) return 0.;
    double y = 1, z = 1 - x, before;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= pow(1 - x, 2) * y;
    } while (before != z);
    return z / 3;
}

static uint64_t estimate(const uint32_t histogram[64])
{
    const double m = HLL_REGISTERS;
    double z = m * tau((m - histogram[RANK_MAX]) / m);
    for (int rank = RANK_MAX - 1; rank >= 1; rank--) {
        z += histogram[rank];
        z *= 0.5;
    }
    z += m * sigma(histogram[0] / m);
    /* Registers that no element can have given (all above 51) make it infinite: Redis then shows
     * the smallest number there is. */
    double count = (double)llroundl((long double)(ALPHA * m * m / z));
    return count >= 0x1p63 ? (uint64_t)count : (uint64_t)(int64_t)count;
}

uint64_t hll_count_registers(const uint8_t registers[HLL_REGISTERS])
{
    uint32_t histogram[64] = {0};
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) histogram[registers[i] & 63]++;
    return estimate(histogram);
}

bool hll_count(struct slice value, uint64_t *count)
{
    uint32_t histogram[64] = {0};
    if (!hll_is_sparse(value)) {
        uint8_t registers[HLL_REGISTERS];
        dense_unpack(value.ptr, registers);
        *count = hll_count_registers(registers);
        return true;
    }
    struct hll_run run;
    uint32_t index = 0;
    size_t at = HLL_HEADER_LEN;
    while (hll_next_run(value, &at, &run)) {
        if (run.len > HLL_REGISTERS - index) return false;
        index += run.len;
        histogram[run.rank] += run.len;
    }
    if (at != value.len || index != HLL_REGISTERS) return false;
    *count = estimate(histogram);
    return true;
}
