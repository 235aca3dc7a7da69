/* The members of one set, hash or sorted set: a table whose size fits what is in it.
 *
 * Up to about 3500 members lie in one flat block of 8-byte slots (tag and pointer) that grows by a
 * fifth; beyond that it is a struct table (segments in hash order). Both have the slot bits that
 * expiry and snapshots need, and both walk in hash order, so that a cursor survives the change
 * between them. Entries are the caller's: 8-byte aligned blocks whose key `ops` finds.
 * Thread: holder of the shard. */
#ifndef SPLITRING_DATA_DICT_H
#define SPLITRING_DATA_DICT_H

#include "splitring/data/table.h"

struct dict {
    const struct table_ops *ops;
    uint64_t seed;
    void *body; /* flat block, or struct table */
    /* Of the flat form; slots 0: there is no block. */
    uint16_t count, slots, homes;
    uint8_t is_table;
    uint8_t saved_bit; /* TABLE_BIT_SAVED or 0: what new members bear; see dict_cut */
};

void dict_init(struct dict *d, const struct table_ops *ops, uint64_t seed); /* empty */
void dict_deinit(struct dict *d);                   /* not the entries */
size_t dict_count(const struct dict *d);
size_t dict_bytes(const struct dict *d);            /* without struct dict itself */
/* hash is hash_key(key, seed) everywhere. */
void *dict_find(const struct dict *d, uint64_t hash, struct slice key);
/* A handle for bits and replacement, valid until the next insert or remove; NULL: absent. Use
 * table_slot_entry, table_slot_bits, table_slot_set_bits, table_slot_replace on it. */
uint64_t *dict_find_slot(const struct dict *d, uint64_t hash, struct slice key);
/* The key must be absent. -ENOMEM: nothing has changed. */
int dict_insert(struct dict *d, uint64_t hash, void *entry, unsigned bits) WARN_UNUSED;
/* The entry is the caller's then; NULL: absent. Shrinks when sparse. */
void *dict_remove(struct dict *d, uint64_t hash, struct slice key);
/* Room for so many at once, so that building a large one does not grow in steps. A hint. */
void dict_reserve(struct dict *d, size_t count);
/* As table_scan: cursors below 2^48 that survive growth, shrinking and the change of form. */
uint64_t dict_scan(const struct dict *d, uint64_t cursor, size_t count, table_visit *visit,
                   void *ctx);
/* Every entry, in hash order. The callback must not change the dict. */
void dict_each(const struct dict *d, table_visit *visit, void *ctx);
/* Snapshots of the members: from a cut on all that are there count as unsaved, and new ones as
 * saved. dict_mark walks as table_mark and shows those that are unsaved, which they are not any
 * more then; no other cut may come before a walk from 0 to its end. */
void dict_cut(struct dict *d);
static inline bool dict_is_saved(const struct dict *d, const uint64_t *slot)
{
    return (table_slot_bits(slot) & TABLE_BIT_SAVED) == d->saved_bit;
}
uint64_t dict_mark(struct dict *d, uint64_t cursor, size_t slots_max, table_mark_visit *visit,
                   void *ctx, size_t *looked);
/* As table_move. */
uint64_t dict_move(struct dict *d, uint64_t cursor, size_t slots_max, table_move_visit *move,
                   void *ctx, size_t *looked);
/* NULL: empty. Uniform in the flat form, nearly so beyond. */
void *dict_random(const struct dict *d, uint64_t random);
/* Expiry of members, as table_note_expiry / table_sweep / table_expiry_min; the flat form is swept
 * in one call. The sweep visits members with TABLE_BIT_TTL. */
void dict_note_expiry(struct dict *d, uint64_t hash, int64_t expire_ms);
int64_t dict_expiry_min(const struct dict *d);
uint64_t dict_sweep(struct dict *d, uint64_t cursor, int64_t now, size_t segments_max,
                    table_visit_ttl *visit, void *ctx, size_t *visited);
/* Hands out up to `count` entries and forgets them; true while more are left. */
bool dict_drain(struct dict *d, size_t count, table_take *take, void *ctx);

#endif
