/* Fuzz target of HyperLogLog values. Byte 0 chooses how the value is made of the rest (as it is,
 * with a header put in front, stretched to a dense value), byte 1 the limit of sparse values, bytes
 * 2 and 3 seed the elements that are added. Values are exact blocks, so a sanitizer sees every byte
 * out of bounds.
 *
 * What must hold: the functions agree on what is corrupt; a sound value stays sound, and after each
 * add the register is what hll_check promised, all others are as before, and the cached header is
 * untouched. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "splitring/base/check.h"
#include "splitring/base/rng.h"
#include "splitring/data/hll.h"

#define ADDS 24

/* The value in a block of `room` bytes at least. */
static struct hll value_make(uint8_t how, const uint8_t *data, size_t len, size_t room)
{
    struct hll h;
    size_t header = how & 3 ? HLL_HEADER_LEN : 0;
    bool dense = (how & 3) == 2;
    h.len = dense ? HLL_DENSE_LEN : header + len;
    h.bytes = malloc(h.len > room ? h.len : room ? room : 1);
    check(h.bytes);
    if (dense) {
        for (size_t i = 0; i < h.len; i++) h.bytes[i] = (char)(len ? data[i % len] : 0);
    } else if (len) {
        memcpy(h.bytes + header, data, len);
    }
    if (header) {
        memset(h.bytes, how >> 2, HLL_HEADER_LEN);
        memcpy(h.bytes, "HYLL", 4);
        h.bytes[4] = !dense;
    }
    return h;
}

/* Walks all runs as PFDEBUG DECODE does; the registers they cover. */
static uint64_t walk(struct slice value)
{
    struct hll_run run;
    uint64_t total = 0;
    for (size_t at = HLL_HEADER_LEN; hll_next_run(value, &at, &run);) total += run.len;
    return total;
}

static void add(struct hll *h, struct hll_mark mark, uint64_t sparse_max, bool sound)
{
    uint8_t before[HLL_REGISTERS] = {0}, after[HLL_REGISTERS] = {0};
    char header[HLL_HEADER_LEN];
    struct slice value = slice_of(h->bytes, h->len);
    memcpy(header, h->bytes, sizeof(header));
    check(hll_merge(value, before) == sound);
    enum hll_result promised = hll_check(value, mark), result = hll_set(h, mark, sparse_max);
    check(!sound || promised == result);
    check(h->len <= HLL_SPARSE_LEN_MAX || h->len <= value.len);
    if (!sound) return;
    check(result == (mark.rank > before[mark.index] ? HLL_CHANGED : HLL_SAME));
    check(hll_is_valid(slice_of(h->bytes, h->len)));
    check(hll_merge(slice_of(h->bytes, h->len), after));
    if (result == HLL_CHANGED) before[mark.index] = mark.rank;
    check(memcmp(before, after, sizeof(after)) == 0);
    header[4] = h->bytes[4];
    check(memcmp(header, h->bytes, sizeof(header)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 4) return 0;
    uint8_t registers[HLL_REGISTERS] = {0};
    uint64_t count = 0, merged = 0;
    struct hll h = value_make(data[0], data + 4, len - 4, 0);
    struct slice value = slice_of(h.bytes, h.len);
    if (!hll_is_valid(value)) {
        free(h.bytes);
        return 0;
    }
    bool sound = hll_merge(value, registers);
    check(hll_count(value, &count) == sound);
    merged = hll_count_registers(registers);
    check(!sound || merged == count);
    if (hll_is_sparse(value)) check(!sound || walk(value) == HLL_REGISTERS);
    (void)hll_cached(value, &merged);
    (void)hll_check(value, hll_mark_of(value));
    free(h.bytes);
    if (h.len > HLL_SPARSE_LEN_MAX) return 0; /* nobody edits these */

    h = value_make(data[0], data + 4, len - 4, HLL_ROOM);
    struct rng rng;
    rng_seed(&rng, data[2] | (uint64_t)data[3] << 8);
    uint64_t sparse_max = (uint64_t)data[1] * 200;
    for (unsigned i = 0; i < ADDS; i++) {
        uint64_t element = rng_next(&rng);
        struct hll_mark mark = hll_mark_of(slice_of((const char *)&element, i % 9));
        if (i % 3) mark.index = (uint16_t)rng_below(&rng, HLL_REGISTERS);
        if (i % 5 == 4) mark.rank = (uint8_t)(1 + rng_below(&rng, 51));
        add(&h, mark, sparse_max, sound);
    }
    check(hll_make_dense(&h) == sound || !hll_is_sparse(slice_of(h.bytes, h.len)));
    if (sound) {
        hll_cache_set(h.bytes, count >> 1);
        check(hll_cached(slice_of(h.bytes, h.len), &merged) && merged == count >> 1);
        hll_cache_drop(h.bytes);
        check(!hll_cached(slice_of(h.bytes, h.len), &merged));
    }
    free(h.bytes);
    return 0;
}
