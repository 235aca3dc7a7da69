/* The hash table of a keyspace (DESIGN section 7): a directory of segments that grow in steps and
 * split one at a time; each segment is flat open addressing with 8-byte slots in hash order, so
 * that one prefetch hides the miss, growth never stalls, and a position in hash order is a cursor
 * that survives any growth or shrinking.
 *
 * The table stores pointers to entries (8-byte aligned, below 2^47) and two bits per slot for the
 * caller. It never looks into entries but through `ops`.
 * Thread: holder of the shard. */
#ifndef SPLITRING_DATA_TABLE_H
#define SPLITRING_DATA_TABLE_H

#include "splitring/base/slice.h"

struct table;

struct table_ops {
    struct slice (*key)(const void *entry);
};

/* Slot bits of the caller. */
#define TABLE_BIT_TTL 1u   /* the entry has an expiry: only these are looked at by the sweep */
#define TABLE_BIT_SAVED 2u /* saved in this snapshot epoch (DESIGN section 6) */

/* seed: of hash_key(); every `hash` below is hash_key(key, seed). An empty table has no segment. */
struct table *table_new(const struct table_ops *ops, uint64_t seed) WARN_UNUSED;
void table_free(struct table *table); /* not the entries */

size_t table_count(const struct table *table);
size_t table_bytes(const struct table *table); /* memory of segments and directory */

/* Looking up a batch of keys. Stage 1: fetch the lines of the slot. Stage 2: fetch the likely entry
 * (both lines of it) and hand the candidate to stage 3, table_find_slot_hinted(). Both are hints
 * and may be skipped. A hint stays safe whatever happens to the table: one that is out of date
 * costs a search. */
struct table_hint {
    uint64_t *slot;
    uint64_t version;
};
void table_prefetch_slot(const struct table *table, uint64_t hash);
struct table_hint table_prefetch_entry(const struct table *table, uint64_t hash);

/* The entry, or NULL. */
void *table_find(const struct table *table, uint64_t hash, struct slice key);
/* Like find, but a handle for table_slot_*; valid until the next insert or remove. NULL: absent. */
uint64_t *table_find_slot(const struct table *table, uint64_t hash, struct slice key);
/* The same, and quicker after table_prefetch_entry() of the same table and hash. */
uint64_t *table_find_slot_hinted(const struct table *table, uint64_t hash, struct slice key,
                                 struct table_hint hint);
void *table_slot_entry(const uint64_t *slot);
unsigned table_slot_bits(const uint64_t *slot);
void table_slot_set_bits(uint64_t *slot, unsigned bits);
void table_slot_replace(uint64_t *slot, void *entry); /* same key, another block */
void table_slot_remove(struct table *table, uint64_t hash, uint64_t *slot);

/* The key must be absent. -ENOMEM: address space or memory is out, nothing has changed. */
int table_insert(struct table *table, uint64_t hash, void *entry, unsigned bits) WARN_UNUSED;

/* About so many entries are to come: an empty table gets the segments that they will fill, so that
 * none of them has to grow or to split on the way. A hint; does nothing to a table in use. */
void table_reserve(struct table *table, size_t count);

/* Walk in hash order. Visits whole slots' runs from `cursor` (a position in hash order, 0 = start)
 * until at least `count` entries or `slots_max` slots have been seen; returns the next cursor, 0 at
 * the end. Every entry present during the whole walk is visited at least once, whatever grows or
 * shrinks in between. The callback must not change the table. Cursors are below 2^48. */
typedef void table_visit(void *ctx, void *entry, unsigned bits);
uint64_t table_scan(const struct table *table, uint64_t cursor, size_t count, size_t slots_max,
                    table_visit *visit, void *ctx);

/* The same walk for the bits: every entry whose bits under `mask` are not `bits` gets these and is
 * shown, until visit says false (it is asked to stop; equal neighbours may still come) or about
 * `slots_max` slots have been seen; *looked counts them. visit must not change the table. */
typedef bool table_mark_visit(void *ctx, void *entry);
uint64_t table_mark(struct table *table, uint64_t cursor, unsigned mask, unsigned bits,
                    size_t slots_max, table_mark_visit *visit, void *ctx, size_t *looked);

/* The same walk for moving entries to other blocks: what `move` returns takes the entry's place
 * (the same key; or the entry itself). Bits stay. move must not change the table otherwise. */
typedef void *table_move_visit(void *ctx, void *entry);
uint64_t table_move(struct table *table, uint64_t cursor, size_t slots_max, table_move_visit *move,
                    void *ctx, size_t *looked);

/* A random entry (RANDOMKEY, sampling), all equally likely unless the table is all but empty for
 * its size; NULL: it is empty. */
void *table_random(const struct table *table, uint64_t random);

/* The slot that leads to this very block, which is not looked at (it may be gone); NULL: none. */
uint64_t *table_slot_of(const struct table *table, uint64_t hash, const void *entry);

/* Expiry support: every segment keeps the lowest expiry the caller has told it since the segment's
 * last sweep. table_note_expiry() is called whenever an entry gets a TTL. */
void table_note_expiry(struct table *table, uint64_t hash, int64_t expire_ms);
/* Looks for segments whose lowest expiry is <= now, from `cursor` (segment order in hash order, 0 =
 * start); visits the TTL entries of at most `segments_max` such segments. The callback returns the
 * entry's expiry (kept as the segment's new lowest; INT64_MAX: none) and collects what to delete
 * afterwards; it must not change the table. `now` <= 0 visits nothing. Returns the next cursor, 0
 * after the last segment. `visited` counts slots looked at, and is the caller's budget. */
typedef int64_t table_visit_ttl(void *ctx, void *entry);
uint64_t table_sweep(struct table *table, uint64_t cursor, int64_t now, size_t segments_max,
                     table_visit_ttl *visit, void *ctx, size_t *visited);
/* Lowest expiry over all segments, or INT64_MAX: tells an idle worker when to wake. Cheap: kept in
 * the table; may be lower than the truth, never higher. */
int64_t table_expiry_min(const struct table *table);

/* Bounded teardown: hands out up to `count` entries and forgets them; true while more are left.
 * Used to free a detached table in slices. */
typedef void table_take(void *ctx, void *entry);
bool table_drain(struct table *table, size_t count, table_take *take, void *ctx);

#endif
