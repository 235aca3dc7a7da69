/* Random fields of a hash.
 *
 * Drawing with repeats from a large hash asks its dict. Everything else first makes a pool, an
 * array of what can be drawn, and swaps what was drawn to its front: packed hashes, because an
 * element of a listpack is found by walking; hashes with expired fields, because rejecting them
 * might never end; and distinct draws of more than a third. Few distinct ones of many are drawn
 * from the dict and remembered by address.
 *
 * A pool is as large as the hash, never as large as a client's number.
 * Thread: holder of the shard. */
#include "hash_impl.h"

#define POOL_SMALL 128u
#define POOL_SHARE 3u /* distinct draws of more than 1/3 use a pool */

struct pool {
    const struct entry *entry;
    instant_ms now;
    size_t count;
    uintptr_t *places; /* offsets in the listpack, or blocks */
    uintptr_t small[POOL_SMALL];
};

static void pool_add(void *ctx, void *entry, unsigned bits)
{
    struct pool *pool = ctx;
    if ((bits & TABLE_BIT_TTL) && field_expiry(entry) < pool->now) return;
    pool->places[pool->count++] = (uintptr_t)entry;
}

/* All live fields. False: no memory. */
static bool pool_make(struct pool *pool, const struct hash *h)
{
    size_t count = hash_count(h->entry);
    pool->entry = h->entry;
    pool->now = hash_has_expired(h) ? hash_now(h) : INT64_MIN;
    pool->count = 0;
    pool->places = pool->small;
    if (count > POOL_SMALL) {
        pool->places = mem_try_alloc(count * sizeof(*pool->places));
        if (!pool->places) return false;
    }
    if (entry_form(h->entry) == FORM_OBJECT) {
        dict_each(&hash_object_of(h->entry)->dict, pool_add, pool);
        return true;
    }
    struct hash_item item;
    for (size_t at = lp_first(entry_packed(h->entry).ptr); at != LP_NONE;) {
        size_t next = hash_packed_item(h->entry, at, &item);
        if (item.expire >= pool->now) pool->places[pool->count++] = at;
        at = next;
    }
    return true;
}

static void pool_free(struct pool *pool)
{
    if (pool->places != pool->small) mem_free(pool->places);
}

static bool draw_place(const struct pool *pool, size_t i, hash_draw *draw, void *ctx)
{
    struct hash_item item;
    if (entry_form(pool->entry) == FORM_OBJECT) {
        field_item((const struct field *)pool->places[i], &item);
    } else {
        (void)hash_packed_item(pool->entry, pool->places[i], &item);
    }
    return draw(ctx, &item);
}

bool hash_random_repeat(const struct hash *h, uint64_t count, struct rng *rng, hash_draw *draw,
                        void *ctx)
{
    struct pool pool;
    if (entry_form(h->entry) == FORM_OBJECT && !hash_has_expired(h)) {
        const struct dict *dict = &hash_object_of(h->entry)->dict;
        bool more = true;
        for (; count > 0 && more; count--) {
            struct hash_item item;
            field_item(dict_random(dict, rng_next(rng)), &item);
            more = draw(ctx, &item);
        }
        return true;
    }
    if (!pool_make(&pool, h)) return false;
    bool more = pool.count > 0;
    for (; count > 0 && more; count--)
        more = draw_place(&pool, (size_t)rng_below(rng, pool.count), draw, ctx);
    pool_free(&pool);
    return true;
}

static bool draw_from_pool(const struct hash *h, uint64_t count, struct rng *rng, hash_draw *draw,
                           void *ctx)
{
    struct pool pool;
    if (!pool_make(&pool, h)) return false;
    bool all = count >= pool.count, more = true;
    if (all) count = pool.count;
    for (size_t i = 0; i < count && more; i++) {
        size_t other = all ? i : i + (size_t)rng_below(rng, pool.count - i);
        uintptr_t place = pool.places[other];
        pool.places[other] = pool.places[i];
        pool.places[i] = place;
        more = draw_place(&pool, i, draw, ctx);
    }
    pool_free(&pool);
    return true;
}

/* False: it is in the set already. */
static bool remember(uintptr_t *set, size_t mask, uintptr_t place)
{
    size_t at = (size_t)((place >> 3) * UINT64_C(0x9E3779B97F4A7C15) >> 20) & mask;
    for (; set[at] != 0; at = (at + 1) & mask) {
        if (set[at] == place) return false;
    }
    set[at] = place;
    return true;
}

bool hash_random_distinct(const struct hash *h, uint64_t count, struct rng *rng, hash_draw *draw,
                          void *ctx)
{
    size_t fields = hash_count(h->entry);
    if (entry_form(h->entry) != FORM_OBJECT || hash_has_expired(h) ||
        count > fields / POOL_SHARE) {
        return draw_from_pool(h, count, rng, draw, ctx);
    }
    const struct dict *dict = &hash_object_of(h->entry)->dict;
    size_t cap = 16;
    while (cap < 2 * count) cap *= 2;
    uintptr_t *set = mem_try_zalloc(cap * sizeof(*set));
    if (!set) return false;
    bool more = true;
    while (count > 0 && more) {
        const struct field *f = dict_random(dict, rng_next(rng));
        if (!remember(set, cap - 1, (uintptr_t)f)) continue;
        struct hash_item item;
        field_item(f, &item);
        more = draw(ctx, &item);
        count--;
    }
    mem_free(set);
    return true;
}
