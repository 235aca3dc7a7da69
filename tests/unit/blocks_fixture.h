/* The sequence of blocks with an allocator that counts and can be told to fail, and the plain model
 * that tests compare it with. */
#ifndef TESTS_UNIT_BLOCKS_FIXTURE_H
#define TESTS_UNIT_BLOCKS_FIXTURE_H

#include "splitring/base/rng.h"
#include "splitring/data/blocks.h"

/* Of all blocks of memory that blocks.c and the tests hold. */
size_t fixture_live_bytes(void);
/* The next `after` allocations succeed, the one behind them fails, and then all succeed again.
 * Negative: none fails. */
void fixture_fail_after(int after);
bool fixture_has_failed(void); /* since the last fixture_fail_after */
void *fixture_alloc(size_t len);
void fixture_free(void *ptr);

/* What a block holds in these tests: a number, repeated. */
struct model_block {
    uint64_t id;
    uint32_t len, count;
    struct blocks_key key;
};
struct model {
    struct model_block *blocks;
    size_t len, cap;
};
void model_insert(struct model *m, size_t at, struct model_block block);
void model_remove(struct model *m, size_t at);
uint64_t model_rank(const struct model *m, size_t at);
void model_copy(struct model *to, const struct model *from);
void model_free(struct model *m);

/* A block for the sequence as the model has it; bytes are fixture_alloc'ed. */
struct block_init model_block_init(const struct model_block *block);
void model_fill(char *bytes, const struct model_block *block);
void model_check_block(const struct block *block, const struct model_block *model);
/* Order, contents, inner books, memory; also of the frozen root, if there is one. */
void model_verify(const struct blocks *b, const struct model *m, const struct model *frozen);

#endif
