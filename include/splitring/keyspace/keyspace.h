/* One shard's data, and the view of it that a command gets.
 *
 * An entry is one block: header, optional expiry, key, and the value inline (small strings,
 * integers) or a pointer (large strings: struct blob; collections: their object). Entries are
 * reached only through these functions, because every write passes here: expiry, eviction, WATCH,
 * the snapshot's pre-images, notifications and memory counters hang on these calls.
 *
 * A view (struct ks) names either one shard, or all shards (a command whose shards are all held, or
 * the coordinator's scratch shard that holds copies). Pointers into entries are valid until the
 * next call that writes.
 * Thread: holder of the shard(s). */
#ifndef SPLITRING_KEYSPACE_KEYSPACE_H
#define SPLITRING_KEYSPACE_KEYSPACE_H

#include "splitring/base/buf.h"
#include "splitring/base/rng.h"
#include "splitring/base/slab.h"
#include "splitring/data/table.h"

struct blob;
struct entry;
struct shard;

enum value_type { /* numbers as in RDB and the modules API; names by type_name() */
    TYPE_STRING = 0,
    TYPE_LIST = 1,
    TYPE_SET = 2,
    TYPE_ZSET = 3,
    TYPE_HASH = 4,
    TYPE_STREAM = 6
};

#define EXPIRE_NONE INT64_MAX

enum ks_flag {
    KS_NO_TOUCH = 1u << 0, /* CLIENT NO-TOUCH: reads leave LRU/LFU alone */
    KS_LOGICAL = 1u << 1,  /* expired keys read as absent and stay (shared lock, replica) */
    KS_NO_STATS = 1u << 2, /* no keyspace_hits / misses */
    KS_SILENT = 1u << 3    /* no events that a key is new (its value comes home), or is missing */
};

/* What a prefetch found, for the lookup that follows. {0}: nothing. Safe whatever happens between:
 * one that is out of date costs a search. */
struct key_hint {
    struct table_hint at;
    const struct table *table;
    uint64_t epoch;
};

struct ks {
    struct shard *shard;          /* where all keys of this call live, or NULL: */
    struct shard *const *shards;  /* by shard id; used when shard is NULL */
    uint32_t shard_count;
    db_id db;
    uint8_t flags;                /* ks_flag */
    instant_ms now;
    const char *hash_key;         /* key bytes whose hash is known (pointer identity), or NULL */
    uint64_t hash;
    struct key_hint hint;         /* of hash_key, by shard_prefetch_entry of this shard and db */
};

/* ---- shards ---- */

struct shard_options {
    shard_id id;
    uint32_t databases;
    uint64_t seed;      /* hash seed, the same for all shards (SCAN, prefetch) */
    uint32_t lfu_log_factor, lfu_decay_time;
    bool lfu;           /* maxmemory-policy *-lfu: the 24-bit field is LFU */
};
struct shard *shard_new(const struct shard_options *options) WARN_UNUSED;
void shard_free(struct shard *shard);
/* Contiguous slot ranges; the one mapping of keys to shards. */
static inline shard_id shard_of_slot(uint16_t slot, uint32_t shard_count)
{
    return (shard_id)(slot * shard_count / SLOT_COUNT);
}
shard_id shard_id_of(const struct shard *shard);
uint64_t shard_seed(const struct shard *shard);
uint32_t shard_databases(const struct shard *shard);
/* CONFIG SET maxmemory-policy, lfu-log-factor, lfu-decay-time. */
void shard_set_policy(struct shard *shard, bool lfu, uint32_t log_factor, uint32_t decay_time);
/* The latest time by which a TTL was judged here; later calls judge by no earlier one. */
instant_ms shard_clock(const struct shard *shard);
/* While a log is read nothing expires, whatever the time is: that a key had gone is in the log. */
void shard_set_timeless(struct shard *shard, bool timeless);
/* Counters owners publish (INFO). All monotone but keys, expires, bytes. */
struct shard_stats {
    uint64_t hits, misses, expired, expired_fields, evicted, expired_stale_perc;
    uint64_t bytes;         /* entries, values, tables */
    uint64_t unlinked;      /* of them: what is only waiting to be freed (about) */
    uint64_t lazyfreed, lazyfree_pending;
};
const struct shard_stats *shard_stats_of(struct shard *shard);
void shard_stats_reset(struct shard *shard);
size_t shard_db_keys(const struct shard *shard, db_id db);
size_t shard_db_expires(const struct shard *shard, db_id db);
size_t shard_db_table_bytes(const struct shard *shard, db_id db);
/* Where its small blocks lie. */
const struct slab *shard_slab(const struct shard *shard);
void shard_slab_trim(struct shard *shard); /* pages kept for later go back to the system */
instant_ms shard_db_avg_ttl(const struct shard *shard, db_id db);
/* Background, bounded: `budget` is about the number of slots / entries looked at. */
struct expire_sink { /* told of every key the sweep deletes, before it goes (effect DEL, events) */
    void (*expired)(void *ctx, struct shard *shard, db_id db, struct slice key);
    /* A field of a hash goes (effect HDEL; its events come from the keyspace). NULL: ignored. */
    void (*field_expired)(void *ctx, struct shard *shard, db_id db, struct slice key,
                          struct slice field);
    bool (*locked)(void *ctx, struct shard *shard, db_id db, struct slice key, uint64_t hash);
    /* A key goes for want of memory, before it goes (effect DEL; events and counters come from the
     * keyspace). NULL: ignored. */
    void (*evicted)(void *ctx, struct shard *shard, db_id db, struct slice key);
    void *ctx;
};
/* Deletes expired keys; returns work done (0: nothing due). */
size_t shard_sweep(struct shard *shard, instant_ms now, size_t budget,
                   const struct expire_sink *sink);
/* Frees detached values and tables; returns work done (0: nothing left). */
size_t shard_free_step(struct shard *shard, size_t budget);
/* From this instant on the sweep has work; EXPIRE_NONE: no key with a TTL. A key is expired once
 * `now` has passed its expiry: at that very millisecond it is still there, as in Redis. */
instant_ms shard_expiry_min(const struct shard *shard);
/* Called for every expired key that a read or write finds (lazy expiry), before it goes; `locked`
 * is asked where keys are met that nobody named (SCAN, RANDOMKEY). They must not write. */
void shard_set_expire_sink(struct shard *shard, const struct expire_sink *sink);
/* Hook called for every modified key (WATCH; tracking); NULL = none. A key without ptr: the whole
 * database (flush, swap). The hook must not write. */
void shard_set_modified_hook(struct shard *shard,
                             void (*modified)(void *ctx, struct shard *, db_id, struct slice key),
                             void *ctx);
/* Inside that hook: the key goes because it has expired. */
bool shard_is_expiring(const struct shard *shard);
/* Prefetch stages of a pass (hash = hash_key(key, seed)). */
void shard_prefetch_slot(const struct shard *shard, db_id db, uint64_t hash);
struct key_hint shard_prefetch_entry(const struct shard *shard, db_id db, uint64_t hash);
/* About so many keys are going to be put into an empty database. A hint: its table is made large
 * enough, in address space; memory comes with the keys. */
void shard_expect(struct shard *shard, db_id db, size_t keys);
/* Transaction layer's place on the shard (lock table, queue); owned by tx. */
void **shard_tx_slot(struct shard *shard);

/* ---- finding ---- */

/* The shard of a key in this view. */
struct shard *ks_shard_of(const struct ks *ks, struct slice key);
/* Present and not expired, or NULL. Expired keys are deleted on the way (unless KS_LOGICAL). find:
 * for writers, no statistics, no touch. read: counts hit or miss, touches LRU/LFU. */
struct entry *ks_find(struct ks *ks, struct slice key);
struct entry *ks_read(struct ks *ks, struct slice key);
struct entry *ks_peek(struct ks *ks, struct slice key); /* neither touch nor statistics */

enum value_type entry_type(const struct entry *e);
const char *type_name(enum value_type type); /* "string", "list", … */
struct slice entry_key(const struct entry *e);
instant_ms entry_expiry(const struct entry *e); /* EXPIRE_NONE */
const char *entry_encoding(const struct entry *e); /* OBJECT ENCODING: "int", "embstr", … */
uint32_t entry_idle_s(const struct ks *ks, const struct entry *e);   /* OBJECT IDLETIME */
uint8_t entry_freq(const struct ks *ks, const struct entry *e);      /* OBJECT FREQ, decayed */
size_t entry_bytes(const struct entry *e);                           /* MEMORY USAGE */
bool ks_lfu(const struct ks *ks);
/* The key as it is when it was not touched for so long (of use under LRU), or with this frequency
 * (under LFU); a key that is absent stays so. */
void ks_set_idle(struct ks *ks, struct slice key, uint32_t idle_s);
void ks_set_freq(struct ks *ks, struct slice key, uint8_t freq);

/* ---- strings ---- */

/* The value's text; integers are formatted into scratch. Type must be string. */
#define ENTRY_SCRATCH 24
struct slice entry_string(const struct entry *e, char scratch[ENTRY_SCRATCH]);
bool entry_is_int(const struct entry *e, int64_t *value); /* int-encoded */

/* Creates or replaces a whole value. expire: EXPIRE_NONE, an instant, or KEEP. Text that is a
 * canonical 64-bit integer is stored as one. All return 0 or -ENOMEM (nothing changed). */
#define EXPIRE_KEEP (INT64_MAX - 1)
int ks_set_string(struct ks *ks, struct slice key, struct slice value,
                  instant_ms expire) WARN_UNUSED;
/* Takes the blob on success; its text is never made a number, and is "raw" however short. */
int ks_set_blob(struct ks *ks, struct slice key, struct blob *value,
                instant_ms expire) WARN_UNUSED;
int ks_set_int(struct ks *ks, struct slice key, int64_t value, instant_ms expire) WARN_UNUSED;
/* As ks_set_string, but text stays text (INCRBYFLOAT's result is never int-encoded). */
int ks_set_text(struct ks *ks, struct slice key, struct slice value, instant_ms expire) WARN_UNUSED;
/* Room for in-place writes (APPEND, SETRANGE, SETBIT, BITFIELD): the key's string becomes `len`
 * bytes long (never shorter than it is; new bytes are zero; created if absent; TTL kept; encoding
 * "raw" from now on). Growing a large string again and again costs amortised O(1). NULL: no
 * memory. */
char *ks_string_room(struct ks *ks, struct slice key, size_t len) WARN_UNUSED;
/* The same where only `count` bytes from `from` on will be written: cheaper for a long string while
 * a snapshot runs. */
char *ks_string_room_for(struct ks *ks, struct slice key, size_t len, size_t from,
                         size_t count) WARN_UNUSED;

/* ---- keys ---- */

/* True if it was there (expired counts as absent). Large values are freed in slices when `async`
 * or when they are big (DEL never stalls). */
bool ks_delete(struct ks *ks, struct slice key, bool async);
/* expire: an instant or EXPIRE_NONE; the key must be present. */
int ks_set_expiry(struct ks *ks, struct slice key, instant_ms expire) WARN_UNUSED;
/* What is at `to` (in db `to_db`) is replaced in one step; it must not be `from` itself. Value, TTL
 * and LRU move / are copied, within one shard or across. 0 or -ENOMEM (nothing changed). */
int ks_move(struct ks *ks, struct slice from, db_id to_db, struct slice to) WARN_UNUSED;
int ks_copy(struct ks *ks, struct slice from, db_id to_db, struct slice to) WARN_UNUSED;
static inline struct ks ks_in_db(const struct ks *ks, db_id db)
{
    struct ks other = *ks;
    other.db = db;
    return other;
}

/* ---- images: a value outside its shard ---- */

/* A key's value, TTL and LRU as bytes, owned by no shard (a hop to the coordinator and back). The
 * image of an absent key is a valid image. put replaces or deletes what is there. */
void ks_image_write(struct ks *ks, struct slice key, struct buf *out);
int ks_image_put(struct ks *ks, struct slice key, struct slice image) WARN_UNUSED; /* 0, -ENOMEM */

/* ---- whole databases, for the shards of the view ---- */

size_t ks_flush_db(struct ks *ks, db_id db, bool async); /* keys removed */
void ks_swap_db(struct ks *ks, db_id a, db_id b);
size_t ks_db_keys(const struct ks *ks, db_id db);
/* One shard (ks->shard): as table_scan; expired keys are skipped, some are deleted afterwards. */
typedef void ks_visit(void *ctx, const struct entry *e);
uint64_t ks_scan(struct ks *ks, uint64_t cursor, size_t count, ks_visit *visit, void *ctx);
/* Every live key of the db, all shards of the view. */
void ks_each(struct ks *ks, ks_visit *visit, void *ctx);
struct entry *ks_random(struct ks *ks, struct rng *rng); /* live; NULL: none */

#endif
