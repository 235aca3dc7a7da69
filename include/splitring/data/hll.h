/* HyperLogLog values: strings in Redis' own format, to the byte. 16384 registers, each the longest
 * run of zeros (plus one) that a hash with that index has shown; either packed to six bits, or as
 * runs of equal registers while most are zero.
 *
 * A value may be any string that a client has SET: everything here takes hostile bytes and never
 * reads or writes outside them.
 * Source: redis src/hyperloglog.c is the reference for the format and for when it changes.
 * Thread: any (pure). */
#ifndef SPLITRING_DATA_HLL_H
#define SPLITRING_DATA_HLL_H

#include "splitring/base/slice.h"

#define HLL_REGISTERS 16384u
#define HLL_HEADER_LEN 16u
#define HLL_DENSE_LEN (HLL_HEADER_LEN + HLL_REGISTERS * 6 / 8)
#define HLL_EMPTY_LEN (HLL_HEADER_LEN + 2u) /* one run of zeros */
/* No valid sparse value is longer: two bytes for every register. */
#define HLL_SPARSE_LEN_MAX (HLL_HEADER_LEN + 2 * HLL_REGISTERS)
/* Room that hll_set() needs for a sparse value; dense ones stay as long as they are. */
#define HLL_ROOM (HLL_SPARSE_LEN_MAX + 4u)

enum hll_result {
    HLL_CORRUPT = -1,
    HLL_SAME = 0,   /* the register was as high already */
    HLL_CHANGED = 1
};

/* A value being edited. */
struct hll {
    char *bytes;
    size_t len;
};

/* Where an element counts, and how much. */
struct hll_mark {
    uint16_t index; /* below HLL_REGISTERS */
    uint8_t rank;   /* 1..51 */
};

bool hll_is_valid(struct slice value); /* magic, encoding, length: what makes it a HyperLogLog */
bool hll_is_sparse(struct slice value);
/* The cardinality kept in the header. False: it is out of date. */
bool hll_cached(struct slice value, uint64_t *count);
void hll_cache_set(char *bytes, uint64_t count); /* bytes: at least the header */
void hll_cache_drop(char *bytes);

struct hll_mark hll_mark_of(struct slice element);
/* What hll_set would answer. */
enum hll_result hll_check(struct slice value, struct hll_mark mark);
/* Raises a register. A sparse value becomes dense where Redis makes it so: the rank is beyond 32,
 * or it would grow beyond sparse_max bytes. Does not touch the cached cardinality, and nothing at
 * all unless it answers HLL_CHANGED. */
enum hll_result hll_set(struct hll *h, struct hll_mark mark, uint64_t sparse_max);
void hll_make_empty(struct hll *h);     /* room: HLL_EMPTY_LEN at least */
bool hll_make_dense(struct hll *h);     /* room: HLL_DENSE_LEN; false: corrupt, nothing changed */

/* Each of `registers` becomes the larger of itself and the value's. False: corrupt. */
bool hll_merge(struct slice value, uint8_t registers[HLL_REGISTERS]);
/* The estimate. False: corrupt. */
bool hll_count(struct slice value, uint64_t *count);
uint64_t hll_count_registers(const uint8_t registers[HLL_REGISTERS]);

/* The next run of a sparse value's opcodes, from `at` (first HLL_HEADER_LEN). False: the end. An
 * opcode that is cut off leaves *at beyond the end. */
struct hll_run {
    uint32_t len;  /* registers, at least 1 */
    uint8_t rank;  /* of each */
    uint8_t bytes; /* of the opcode: 1, or 2 for a long run of zeros */
};
bool hll_next_run(struct slice value, size_t *at, struct hll_run *run);

#endif
