/* What the files of the hash share: the large form's blocks and object, and both forms' own
 * functions (private to the keyspace).
 *
 * A field of a large hash is one block of the shard:
 *
 *   flags 1 | field length 1 | value length 2 | expiry 8 ? | lengths 8 + 8 ? | field | value
 *                                              FIELD_TTL     FIELD_LONG
 *
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_HASH_IMPL_H
#define SPLITRING_KEYSPACE_HASH_IMPL_H

#include "shard.h"
#include "splitring/data/dict.h"
#include "splitring/keyspace/hash.h"

enum field_flag {
    FIELD_TTL = 1u << 3,  /* the value 8 is the expiry's size */
    FIELD_LONG = 1u << 4  /* 16: the lengths did not fit into the header */
};
struct field {
    uint8_t flags;
    uint8_t name_len;
    uint16_t value_len;
    char body[];
};
static_assert(sizeof(struct field) == 4, "the header is half a word");

struct hash_object {
    struct object object;
    struct dict dict;
    uint64_t sweep_cursor;
    size_t blocks_bytes;  /* of all fields */
    size_t dict_counted;  /* of the dict, as told to shard_count_bytes */
};
static inline struct hash_object *hash_object_of(const struct entry *e)
{
    return CONTAINER_OF(entry_object(e), struct hash_object, object);
}

struct slice field_name(const struct field *f);
struct slice field_value(const struct field *f);
instant_ms field_expiry(const struct field *f);
void field_item(const struct field *f, struct hash_item *item);

/* ---- the large form (hash_object.c) ---- */

struct field *hash_object_find(const struct hash_object *ho, struct slice name);
/* As hash_set, without limits and without expired fields in mind. */
int hash_object_set(struct shard *shard, struct hash_object *ho, struct slice name,
                    struct slice value, instant_ms expire) WARN_UNUSED;
bool hash_object_remove(struct shard *shard, struct hash_object *ho, struct slice name);
int hash_object_set_expiry(struct shard *shard, struct hash_object *ho, struct slice name,
                           instant_ms expire) WARN_UNUSED;
/* Takes up to `max` (at most HASH_DUE_MAX) expired fields out; they are the caller's. *work: slots
 * that were looked at. */
#define HASH_DUE_MAX 512u
size_t hash_object_take_due(struct shard *shard, struct hash_object *ho, instant_ms now,
                            size_t max, struct field **out, size_t *work);
void field_free(struct shard *shard, struct hash_object *ho, struct field *f);

/* ---- the packed forms (hash_packed.c) ---- */

static inline unsigned packed_width(const struct entry *e) /* elements per field */
{
    return entry_form(e) == FORM_LISTPACK_EX ? 3 : 2;
}
/* The offset of the field's name, or LP_NONE. */
size_t hash_packed_find(const struct entry *e, struct slice name);
/* Reads the field at `at`; returns the offset of the next one, LP_NONE at the end. */
size_t hash_packed_item(const struct entry *e, size_t at, struct hash_item *item);
instant_ms hash_packed_next_expiry(const struct entry *e);
/* As their namesakes of hash.h; the form is right already. */
int hash_packed_set(struct hash *h, struct slice name, struct slice value,
                    instant_ms expire) WARN_UNUSED;
bool hash_packed_remove(struct hash *h, struct slice name);
int hash_packed_set_expiry(struct hash *h, size_t at, instant_ms expire) WARN_UNUSED;
/* FORM_LISTPACK to FORM_LISTPACK_EX. */
int hash_packed_widen(struct hash *h) WARN_UNUSED;
/* A new key with all the pairs, which must fit the limits. */
int hash_packed_create(struct hash *h, const struct slice *pairs, size_t count,
                       size_t *created) WARN_UNUSED;
/* Any form to FORM_OBJECT; the key may be absent. */
int hash_to_object(struct hash *h, size_t more) WARN_UNUSED;

/* The time by which this command judges fields; the shard's clock stands there from now on. */
static inline instant_ms hash_now(const struct hash *h)
{
    return shard_now(ks_shard_of(h->ks, h->key), h->ks->now);
}
/* After a field of the hash got an expiry: the sweep will find the key. */
void hash_note_expiry(struct hash *h, instant_ms expire);
/* hash_expire_due for the sweep, whose key may lie in the entry. *work: about slots and fields. */
size_t hash_sweep(struct hash *h, size_t max, const struct expire_sink *sink, size_t *work);

#endif
