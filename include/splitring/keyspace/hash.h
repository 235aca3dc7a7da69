/* Hashes: fields with values, and with an expiry of their own where they were given one.
 *
 *   FORM_LISTPACK      field, value, …           in the order in which the fields came
 *   FORM_LISTPACK_EX   field, value, expiry, …   ordered by expiry; 0: none, at the end
 *   FORM_OBJECT        a dict of one block per field: "hashtable"
 *
 * A command opens the hash under its key and calls the functions below, which convert the form when
 * a limit is passed. A field is expired once `now` has passed its expiry. It then reads as absent,
 * and whoever named it removes it for real (unless KS_LOGICAL): the expire sink is told, the events
 * are "hexpired" and, where it was the last field, "del".
 *
 * Slices of fields and values are valid until the next call that writes.
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_HASH_H
#define SPLITRING_KEYSPACE_HASH_H

#include "splitring/keyspace/object.h"

#define HASH_EXPIRE_MAX (((int64_t)1 << 46) - 1) /* the latest expiry of a field, as in Redis */

struct hash_limits {
    uint64_t entries, value; /* hash-max-listpack-entries, hash-max-listpack-value */
};

struct hash_item {
    struct slice field, value;
    instant_ms expire; /* EXPIRE_NONE: for ever */
    /* Where numbers of a listpack are formatted. */
    char field_text[LP_NUMBER_LEN], value_text[LP_NUMBER_LEN];
};

/* A hash that one command works on. */
struct hash {
    struct ks *ks;
    struct slice key;
    struct entry *entry; /* NULL: there is none, or no longer; follows moves */
    struct hash_limits limits;
};
/* e: what is under the key, of TYPE_HASH, or NULL. */
static inline struct hash hash_open(struct ks *ks, struct slice key, struct entry *e,
                                    struct hash_limits limits)
{
    return (struct hash){.ks = ks, .key = key, .entry = e, .limits = limits};
}

/* ---- reading ---- */

/* Fields, including those that have expired and are still there. */
size_t hash_count(const struct entry *e);
/* Those that have not: O(1) where none has expired. */
size_t hash_count_live(const struct hash *h);
/* The lowest expiry of a field, or less; EXPIRE_NONE: no field has one. */
instant_ms hash_next_expiry(const struct entry *e);
/* May some of its fields have expired by now? */
bool hash_has_expired(const struct hash *h);
/* False: absent or expired. */
bool hash_find(struct hash *h, struct slice field, struct hash_item *item);
/* Every field, or only those that have not expired, in the order of their form. */
typedef void hash_visit(void *ctx, const struct hash_item *item);
void hash_each(const struct entry *e, hash_visit *visit, void *ctx);
void hash_each_live(const struct hash *h, hash_visit *visit, void *ctx);
/* Of FORM_OBJECT: as dict_scan, live fields only. */
uint64_t hash_scan(const struct hash *h, uint64_t cursor, size_t count, hash_visit *visit,
                   void *ctx);
/* Live fields, drawn at random. repeat: `count` times independently, until draw returns false.
 * distinct: `count` different ones, or all if there are fewer. False: no memory, none was drawn. */
typedef bool hash_draw(void *ctx, const struct hash_item *item);
bool hash_random_repeat(const struct hash *h, uint64_t count, struct rng *rng, hash_draw *draw,
                        void *ctx) WARN_UNUSED;
bool hash_random_distinct(const struct hash *h, uint64_t count, struct rng *rng, hash_draw *draw,
                          void *ctx) WARN_UNUSED;

/* ---- writing ---- */

/* One pair becomes part of the hash, which is made if it is absent. expire: EXPIRE_NONE (whatever
 * the field had goes), EXPIRE_KEEP or an instant. HASH_SET_* or -ENOMEM: nothing has changed. */
enum { HASH_SET_CREATED = 0, HASH_SET_UPDATED = 1 };
int hash_set(struct hash *h, struct slice field, struct slice value,
             instant_ms expire) WARN_UNUSED;
/* Several pairs to come (field, value, field, value …): chooses the form as Redis does, and where
 * the hash is absent and nothing but them will be in it, stores them all at once. Returns how many
 * of the pairs are stored already (0, or all of them, with *created new fields), or -ENOMEM. */
int hash_prepare(struct hash *h, const struct slice *pairs, size_t count,
                 size_t *created) WARN_UNUSED;
/* False: absent or expired. The last field leaves an empty hash: call_emptied(). */
bool hash_remove(struct hash *h, struct slice field);
/* EXPIRE_NONE or an instant, of a field that is there (hash_find). 0 or -ENOMEM. */
int hash_set_expiry(struct hash *h, struct slice field, instant_ms expire) WARN_UNUSED;
/* Removes up to `max` fields that have expired, found by nobody's name. Returns how many; h->entry
 * is NULL if the key has gone with them. */
size_t hash_expire_due(struct hash *h, size_t max);

/* ---- building, for RESTORE and loading ---- */

struct object *hash_object_new(struct shard *shard) WARN_UNUSED; /* NULL: no memory */
void hash_object_reserve(struct object *object, size_t count);
/* A field that must not be there yet: 0, -EEXIST, -ENOMEM. */
int hash_object_add(struct shard *shard, struct object *object, struct slice field,
                    struct slice value, instant_ms expire) WARN_UNUSED;
void hash_object_free(struct shard *shard, struct object *object);
extern const struct object_ops hash_object_ops;

#endif
