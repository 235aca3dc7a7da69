/* A shard's own state (private to the keyspace).
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_SHARD_H
#define SPLITRING_KEYSPACE_SHARD_H

#include "entry.h"
#include "splitring/keyspace/events.h"

/* Sums of instants outgrow 64 bits. */
__extension__ typedef __int128 instant_sum;

struct db {
    struct table *table; /* NULL until the first key */
    size_t expires;      /* keys with a TTL */
    instant_sum expiry_sum;
    uint64_t sweep_cursor;
};

/* Work put off: a big value or a whole table, freed in slices. */
enum doomed_kind { DOOMED_TABLE, DOOMED_BLOB, DOOMED_OBJECT };
struct doomed {
    struct doomed *next;
    void *what;
    size_t left;  /* entries of a table, bytes of a blob, elements of an object */
    size_t bytes; /* a table's own memory when it was put here */
    size_t all;   /* `left` when it was put here */
    size_t worth; /* memory that comes back when it is freed, about */
    enum doomed_kind kind;
};

/* The best candidates for eviction seen so far, worst first (evict.c). A candidate is known by its
 * hash and by the address of its block, which may be gone: it is never looked at before the table
 * has confirmed it. */
#define EVICT_POOL 16u
struct evict_pool {
    unsigned count;
    unsigned order;  /* evict_order_of() the policy that they were chosen for */
    uint32_t next_db;
    bool met_lock;   /* this call left a key alone because it was locked */
    struct evict_candidate {
        uint64_t score, hash;
        struct entry *entry;
        db_id db;
    } at[EVICT_POOL];
};

struct shard {
    /* Constant after start. */
    struct shard_options options;
    const struct object_ops *objects[16];
    struct expire_sink lazy_sink;
    bool lazy_sink_set;
    void (*modified)(void *ctx, struct shard *, db_id, struct slice key);
    void *modified_ctx;
    void (*ready)(void *ctx, struct shard *, db_id, struct slice key);
    void *ready_ctx;
    struct event_sink events;

    /* Holder only. */
    uint32_t event_classes; /* wanted; 0: none */
    union {                 /* both are rare, and one look tells that there is neither */
        struct {
            uint32_t waiters;     /* blocked clients that wait for a key here */
            uint32_t snapshot_on; /* bool: writers tell what they change */
        };
        uint64_t attention;
    };
    unsigned saved_bit; /* TABLE_BIT_SAVED or 0: what a slot's bit is once its key has been told */
    struct snapshot *snapshot; /* NULL: none runs, and all bits agree */
    struct slab *slab;
    struct db *dbs;
    uint32_t dbs_used; /* databases below this number have had a key */
    uint32_t sweep_db;
    uint64_t epoch;     /* grows whenever a table is replaced: hints of before are void */
    instant_ms clock;   /* highest time by which a TTL has been judged here; never goes back */
    instant_ms lru_at;  /* the instant that lru_clock was made for */
    uint32_t lru_clock; /* seconds, 24 bits */
    size_t big_bytes;   /* memory outside the slab: blobs, objects, long entries */
    struct doomed *doomed_first, *doomed_last;
    size_t doomed_bytes; /* of the tables among them */
    size_t doomed_worth; /* what will come back of all of them, about */
    struct evict_pool candidates;
    struct rng rng;      /* LFU's dice */
    struct defrag *defrag; /* NULL: never begun */
    struct shard_stats stats;
    void *tx;
    bool expiring; /* what is being told of as modified has expired */
    bool timeless; /* a log is read: nothing expires */
};

extern const struct table_ops entry_table_ops;

static inline struct db *shard_db(const struct shard *shard, db_id id)
{
    dcheck(id < shard->options.databases);
    return &shard->dbs[id];
}
/* The database's table, made on first use; NULL: no memory. */
struct table *shard_table(struct shard *shard, db_id id);

static inline void shard_touched(struct shard *shard, db_id db, struct slice key)
{
    if (unlikely(shard->modified != NULL)) shard->modified(shard->modified_ctx, shard, db, key);
}

static inline void shard_event(struct shard *shard, db_id db, uint32_t class, const char *event,
                               struct slice key)
{
    if (unlikely(shard->event_classes & class))
        shard->events.event(shard->events.ctx, shard, db, class, event, key);
}

/* A value came into being, was replaced, or is going: tells those blocked on it, if its type is one
 * that clients block on. */
void shard_wake_waiters(struct shard *shard, db_id db, const struct entry *e);

/* A TTL came or went. */
static inline void db_expiry_added(struct db *db, instant_ms expire)
{
    if (expire == EXPIRE_NONE) return;
    db->expires++;
    db->expiry_sum += expire;
}
static inline void db_expiry_removed(struct db *db, instant_ms expire)
{
    if (expire == EXPIRE_NONE) return;
    db->expires--;
    db->expiry_sum -= expire;
}

/* The time by which this call judges TTLs here: its own, or the latest that anybody judged by, so
 * that nobody sees a key that was already reported gone (DESIGN 6a, "time"). */
static inline instant_ms shard_now(struct shard *shard, instant_ms now)
{
    if (unlikely(shard->timeless)) return INT64_MIN;
    if (now > shard->clock) shard->clock = now;
    return shard->clock;
}
static inline bool entry_expired(struct shard *shard, const struct entry *e, instant_ms now)
{
    return unlikely(entry_has_ttl(e)) && (instant_ms)e->body[0] < shard_now(shard, now);
}

/* Recency and frequency: what the 24 bits of a new, or of a touched entry are. */
uint32_t lfu_access_new(instant_ms now);
uint32_t lfu_access_touched(struct shard *shard, uint32_t access, instant_ms now);
static inline uint32_t lru_clock(struct shard *shard, instant_ms now)
{
    if (now != shard->lru_at) {
        shard->lru_at = now;
        shard->lru_clock = (uint32_t)(now / 1000) & 0xffffffu;
    }
    return shard->lru_clock;
}
static inline uint32_t entry_access_new(struct shard *shard, const struct ks *ks)
{
    return unlikely(shard->options.lfu) ? lfu_access_new(ks->now) : lru_clock(shard, ks->now);
}
static inline void entry_touch(struct shard *shard, const struct ks *ks, struct entry *e)
{
    if (ks->flags & KS_NO_TOUCH) return;
    e->access = (unlikely(shard->options.lfu) ? lfu_access_touched(shard, e->access, ks->now)
                                              : lru_clock(shard, ks->now)) &
                0xffffffu;
}

/* Where a key is or would be. */
struct place {
    struct shard *shard;
    struct db *db;
    struct table *table; /* NULL: the database has no table */
    uint64_t hash;
    uint64_t *slot; /* NULL: absent */
    struct entry *entry;
};

/* The key's slot in the table, or NULL. */
static inline uint64_t *ks_slot(const struct ks *ks, const struct shard *shard,
                                const struct table *table, struct slice key, uint64_t *hash)
{
    if (unlikely(key.ptr != ks->hash_key || key.ptr == NULL)) {
        *hash = hash_key(key, shard->options.seed);
        return table_find_slot(table, *hash, key);
    }
    *hash = ks->hash;
    if (ks->hint.table == table && ks->hint.epoch == shard->epoch) {
        return table_find_slot_hinted(table, *hash, key, ks->hint.at);
    }
    return table_find_slot(table, *hash, key);
}
/* The live entry's place. An expired one is deleted on the way, or under KS_LOGICAL left in the
 * place with *stale set (a writer overwrites it). */
struct place ks_place(struct ks *ks, struct slice key, bool *stale);
/* The entry leaves the table; it is the caller's now. */
struct entry *place_unlink(struct place *p);
/* An expired entry goes: the sink is told, counters move. */
void place_expire(struct place *p, db_id db, const struct expire_sink *sink);
/* Creates or replaces the value. The old one is freed. expire as ks_set_string. NULL: no memory,
 * nothing has changed (the value is still the caller's). */
struct entry *ks_put(struct ks *ks, struct slice key, const struct value *v, instant_ms expire);

/* ---- while a snapshot runs (snapshot.c) ---- */

/* The key is about to be changed or removed: it is told now if it has not been yet. */
void snapshot_tell(struct place *p);
static inline void snapshot_before_write(struct place *p)
{
    if (unlikely(p->shard->snapshot_on)) snapshot_tell(p);
}
/* The same by name; the key may be absent. */
void snapshot_tell_key(struct ks *ks, struct slice key);
/* A table leaves its database. True: the walk needs it, and will give it to shard_doom. */
bool snapshot_takes_table(struct shard *shard, struct table *table);
void snapshot_swapped(struct shard *shard, db_id a, db_id b);
/* An object goes: true if it has a duty, and is told and freed later. */
bool snapshot_takes_object(struct shard *shard, struct object *object);
/* A member of an object with a duty is about to be changed or removed (table_slot_* handle). */
void snapshot_tell_member(struct shard *shard, struct object *object, uint64_t *slot);
static inline void object_before_write(struct shard *shard, struct object *object, uint64_t *slot)
{
    if (unlikely(object->duty != NULL) && slot) snapshot_tell_member(shard, object, slot);
}
/* An object with a duty has been written: what it keeps for the snapshot is counted. */
void snapshot_count_kept(struct shard *shard, struct object *object);
/* The same for a long string: it goes; it is needed where it is; bytes of it are about to be
 * written; it lies elsewhere now (`from` is only compared). */
bool snapshot_takes_blob(struct shard *shard, struct blob *blob);
bool snapshot_needs_blob(const struct shard *shard, const struct blob *blob);
void snapshot_tell_text(struct shard *shard, const struct blob *blob, size_t from, size_t len);
void snapshot_blob_moved(struct shard *shard, const struct blob *from, struct blob *to);
/* What no other counter has of the memory it takes. */
size_t snapshot_own_bytes(const struct shard *shard);
/* After an abort: a slice of bringing the bits into line; false: done. */
bool snapshot_level(struct shard *shard, size_t budget);
/* The shard's end. */
void snapshot_drop(struct shard *shard);

/* While pages are being evacuated (defrag.c): the block, or its copy elsewhere. */
void *shard_moved(struct shard *shard, void *block, size_t len);
/* The same for a caller who frees the old block himself. */
void *shard_copied(struct shard *shard, const void *block, size_t len);
void defrag_drop(struct shard *shard);

/* Puts work off (flush.c). */
void shard_doom(struct shard *shard, enum doomed_kind kind, void *what, size_t left);

#endif
