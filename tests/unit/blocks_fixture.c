/* The model of blocks_test.c, and the sources under test compiled once more with an allocator that
 * counts and fails on demand. */
#include "blocks_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"

/* ---- memory ---- */

static size_t live_bytes;
static int fail_after = -1;
static bool has_failed;

size_t fixture_live_bytes(void) { return live_bytes; }

void fixture_fail_after(int after)
{
    fail_after = after;
    has_failed = false;
}

bool fixture_has_failed(void) { return has_failed; }

static bool fails_now(void)
{
    if (fail_after < 0 || fail_after-- > 0) return false;
    has_failed = true;
    return true;
}

void *fixture_alloc(size_t len)
{
    if (fails_now()) return NULL;
    void *ptr = mem_try_alloc(len);
    live_bytes += mem_usable(ptr);
    return ptr;
}

void fixture_free(void *ptr)
{
    live_bytes -= mem_usable(ptr);
    mem_free(ptr);
}

static void *fixture_realloc(void *ptr, size_t len)
{
    if (fails_now()) return NULL;
    size_t before = mem_usable(ptr);
    void *moved = mem_try_realloc(ptr, len);
    if (moved) live_bytes += mem_usable(moved) - before;
    return moved;
}

#define mem_try_alloc fixture_alloc
#define mem_try_realloc fixture_realloc
#define mem_free fixture_free
#include "../../src/data/blocks.c"
#include "../../src/data/blocks_edit.c"

/* ---- model ---- */

void model_insert(struct model *m, size_t at, struct model_block block)
{
    if (m->len == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 16;
        m->blocks = realloc(m->blocks, m->cap * sizeof(*m->blocks));
    }
    memmove(m->blocks + at + 1, m->blocks + at, (m->len - at) * sizeof(*m->blocks));
    m->blocks[at] = block;
    m->len++;
}

void model_remove(struct model *m, size_t at)
{
    m->len--;
    memmove(m->blocks + at, m->blocks + at + 1, (m->len - at) * sizeof(*m->blocks));
}

uint64_t model_rank(const struct model *m, size_t at)
{
    uint64_t rank = 0;
    for (size_t i = 0; i < at; i++) rank += m->blocks[i].count;
    return rank;
}

void model_copy(struct model *to, const struct model *from)
{
    *to = (struct model){.len = from->len, .cap = from->len};
    if (!from->len) return;
    to->blocks = malloc(from->len * sizeof(*to->blocks));
    memcpy(to->blocks, from->blocks, from->len * sizeof(*to->blocks));
}

void model_free(struct model *m)
{
    free(m->blocks);
    *m = (struct model){0};
}

void model_fill(char *bytes, const struct model_block *block)
{
    for (uint32_t i = 0; i < block->len; i++) bytes[i] = (char)(block->id >> i % 8 * 8);
}

struct block_init model_block_init(const struct model_block *block)
{
    struct block_init init = {.bytes = fixture_alloc(block->len),
                              .len = block->len,
                              .count = block->count,
                              .flags = (uint16_t)block->id,
                              .key = block->key};
    if (init.bytes) model_fill(init.bytes, block);
    return init;
}

void model_check_block(const struct block *block, const struct model_block *model)
{
    cr_assert_not_null(block);
    cr_assert_eq(block->len, model->len);
    cr_assert_eq(block->count, model->count);
    cr_assert_eq(block->flags, (uint16_t)model->id);
    cr_assert(block->key.high == model->key.high && block->key.low == model->key.low);
    cr_assert_geq(block->room, block->front + block->len);
    for (uint32_t i = 0; i < block->len; i++)
        cr_assert_eq(block->bytes[i], (char)(model->id >> i % 8 * 8));
}

struct sums {
    uint64_t weight, blocks;
    struct blocks_key first;
};

static struct sums verify_below(const struct blocks *b, void *at, unsigned height, bool top)
{
    if (height == 0) {
        const struct block *block = at;
        cr_assert_not(block->gone);
        return (struct sums){.weight = block->count, .blocks = 1, .first = block->key};
    }
    struct blocks_node *n = at;
    struct sums all = {0};
    cr_assert_not(n->gone);
    cr_assert(n->count >= (top ? 2u : 1u) && n->count <= n->cap && n->cap <= NODE_CAP_MAX);
    for (unsigned i = 0; i < n->count; i++) {
        struct sums part = verify_below(b, node_children(n)[i], height - 1, false);
        cr_assert_eq(part.weight, node_weights(n)[i]);
        cr_assert(part.first.high == node_keys(n)[i].high && part.first.low == node_keys(n)[i].low);
        if (i == 0) all.first = part.first;
        all.weight += part.weight;
        all.blocks += part.blocks;
    }
    return all;
}

void model_verify(const struct blocks *b, const struct model *m, const struct model *frozen)
{
    struct blocks_cursor c;
    struct sums all = {0};
    if (b->root) all = verify_below(b, b->root, b->height, true);
    cr_assert_eq(b->count, all.weight);
    cr_assert_eq(b->blocks, all.blocks);
    cr_assert_eq(b->blocks, m->len);
    cr_assert_eq(live_bytes, b->bytes + b->frozen_bytes);
    blocks_first(b, &c);
    for (size_t i = 0; i < m->len; i++, blocks_next(b, &c))
        model_check_block(c.block, &m->blocks[i]);
    cr_assert_null(c.block);
    blocks_last(b, &c);
    for (size_t i = m->len; i-- > 0; blocks_prev(b, &c)) model_check_block(c.block, &m->blocks[i]);
    cr_assert_null(c.block);
    if (!b->frozen) {
        cr_assert_eq(b->frozen_bytes, 0);
        return;
    }
    cr_assert_eq(b->frozen_blocks, frozen->len);
    if (b->leaving) return; /* its walker checks it */
    blocks_frozen_first(b, &c);
    for (size_t i = 0; i < frozen->len; i++, blocks_frozen_next(b, &c))
        model_check_block(c.block, &frozen->blocks[i]);
    cr_assert_null(c.block);
}
