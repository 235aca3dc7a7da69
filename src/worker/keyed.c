/* A small chained table: it is empty nearly always, so it starts small, and its keys are copies
 * because the key that somebody waits for need not exist.
 * Thread: holder of the shard. */
#include "keyed.h"

#include "splitring/base/check.h"
#include "splitring/base/mem.h"

#define BUCKETS_MIN 64u

void keyed_init(struct keyed *keyed)
{
    keyed->bucket_count = BUCKETS_MIN;
    keyed->count = 0;
    keyed->buckets = mem_zalloc(BUCKETS_MIN * sizeof *keyed->buckets);
}

void keyed_deinit(struct keyed *keyed)
{
    check(keyed->count == 0);
    mem_free(keyed->buckets);
}

static struct keyed_list **place(const struct keyed *keyed, uint64_t hash, db_id db,
                                 struct slice key)
{
    struct keyed_list **at = &keyed->buckets[hash & (keyed->bucket_count - 1)];
    while (*at && !((*at)->hash == hash && (*at)->db == db &&
                    slice_equal(slice_of((*at)->key, (*at)->key_len), key)))
        at = &(*at)->next;
    return at;
}

static void resize(struct keyed *keyed, uint32_t bucket_count)
{
    struct keyed_list **old = keyed->buckets;
    uint32_t old_count = keyed->bucket_count;
    keyed->buckets = mem_zalloc(bucket_count * sizeof *keyed->buckets);
    keyed->bucket_count = bucket_count;
    for (uint32_t i = 0; i < old_count; i++)
        for (struct keyed_list *list = old[i], *next; list; list = next) {
            struct keyed_list **at = &keyed->buckets[list->hash & (bucket_count - 1)];
            next = list->next;
            list->next = *at;
            *at = list;
        }
    mem_free(old);
}

struct keyed_list *keyed_find(const struct keyed *keyed, uint64_t hash, db_id db,
                              struct slice key)
{
    return *place(keyed, hash, db, key);
}

struct keyed_list *keyed_take(struct keyed *keyed, uint64_t hash, db_id db, struct slice key)
{
    struct keyed_list **at = place(keyed, hash, db, key);
    if (*at) return *at;
    struct keyed_list *list = mem_alloc(sizeof *list + key.len);
    *list = (struct keyed_list){.hash = hash, .db = db, .key_len = key.len};
    if (key.len) memcpy(list->key, key.ptr, key.len);
    list_init(&list->nodes);
    list_init(&list->mark);
    *at = list;
    if (++keyed->count > keyed->bucket_count) resize(keyed, keyed->bucket_count * 2);
    return list;
}

void keyed_drop_if_empty(struct keyed *keyed, struct keyed_list *list)
{
    if (list->busy || !list_empty(&list->nodes)) return;
    *place(keyed, list->hash, list->db, slice_of(list->key, list->key_len)) = list->next;
    list_remove(&list->mark);
    mem_free(list);
    keyed->count--;
    if (keyed->count == 0 && keyed->bucket_count > BUCKETS_MIN) resize(keyed, BUCKETS_MIN);
}

void keyed_each(const struct keyed *keyed, db_id db,
                void (*visit)(void *ctx, struct keyed_list *list), void *ctx)
{
    for (uint32_t i = 0; i < keyed->bucket_count; i++)
        for (struct keyed_list *list = keyed->buckets[i]; list; list = list->next)
            if (list->db == db) visit(ctx, list);
}
