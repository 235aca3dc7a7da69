/* Shards and a view of them, for the tests of src/keyspace.
 * Thread: the test's. */
#ifndef SPLITRING_TESTS_UNIT_KEYSPACE_WORLD_H
#define SPLITRING_TESTS_UNIT_KEYSPACE_WORLD_H

#include <stdio.h>
#include <string.h>

#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/keyspace/keyspace.h"
#include "splitring/resp/parse.h"

#define WORLD_SHARDS_MAX 8u

struct world {
    struct shard *shards[WORLD_SHARDS_MAX];
    uint32_t count;
    struct ks ks;
    uint64_t expired_told, modified_told; /* calls of the hooks */
};

static inline void world_expired(void *ctx, struct shard *shard, db_id db, struct slice key)
{
    (void)shard, (void)db, (void)key;
    ((struct world *)ctx)->expired_told++;
}

static inline void world_modified(void *ctx, struct shard *shard, db_id db, struct slice key)
{
    (void)shard, (void)db, (void)key;
    ((struct world *)ctx)->modified_told++;
}

static inline void world_init(struct world *w, uint32_t count)
{
    *w = (struct world){.count = count};
    struct shard_options options = {
        .databases = 16, .seed = 7, .lfu_log_factor = 10, .lfu_decay_time = 1};
    struct expire_sink sink = {.expired = world_expired, .ctx = w};
    for (uint32_t i = 0; i < count; i++) {
        options.id = (shard_id)i;
        w->shards[i] = shard_new(&options);
        shard_set_expire_sink(w->shards[i], &sink);
        shard_set_modified_hook(w->shards[i], world_modified, w);
    }
    w->ks = (struct ks){.shards = w->shards, .shard_count = count, .now = 1700000000000};
    if (count == 1) w->ks.shard = w->shards[0];
}

static inline void world_deinit(struct world *w)
{
    for (uint32_t i = 0; i < w->count; i++) shard_free(w->shards[i]);
}

static inline uint64_t world_bytes(struct world *w)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < w->count; i++) bytes += shard_stats_of(w->shards[i])->bytes;
    return bytes;
}

static inline void world_free_pending(struct world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        while (shard_free_step(w->shards[i], 1000) > 0) {}
    }
}

static inline struct blob *world_blob(size_t len, char fill)
{
    struct blob *blob = mem_try_alloc(sizeof(*blob) + len);
    check(blob != NULL);
    blob->len = blob->cap = len;
    memset(blob->data, fill, len);
    return blob;
}

static inline void world_set(struct world *w, const char *key, const char *value, instant_ms expire)
{
    int rc = ks_set_string(&w->ks, slice_str(key), slice_str(value), expire);
    check(rc == 0);
}

/* The value as text, or "(nil)". */
static inline const char *world_get(struct world *w, const char *key)
{
    static char text[4096];
    char scratch[ENTRY_SCRATCH];
    const struct entry *e = ks_read(&w->ks, slice_str(key));
    if (!e) return "(nil)";
    struct slice s = entry_string(e, scratch);
    check(s.len < sizeof(text));
    if (s.len) memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return text;
}

#endif
