/* Sets: an intset, a listpack, or a dict of members ("hashtable"), by the rules of Redis 7.2.
 *
 *   FORM_INTSET    packed, data/intset.h: integers only, up to set-max-intset-entries
 *   FORM_LISTPACK  packed: members as elements, in the order they came
 *   FORM_OBJECT    a dict whose entries are blocks: | length, 1, 3 or 9 bytes | member |
 *
 * A member is looked for in many sets by one struct set_member, which remembers what has been found
 * out about it: its number, its hash (all shards hash alike).
 * Thread: holder of the shard(s). */
#ifndef SPLITRING_KEYSPACE_SET_H
#define SPLITRING_KEYSPACE_SET_H

#include "splitring/base/num.h"
#include "splitring/base/rng.h"
#include "splitring/data/intset.h"
#include "splitring/keyspace/object.h"

extern const struct object_ops set_object_ops;

/* The directives set-max-intset-entries, set-max-listpack-entries, set-max-listpack-value. */
struct set_limits {
    uint64_t intset_entries, listpack_entries, listpack_value;
};

/* ---- members ---- */

enum set_member_kind { MEMBER_UNKNOWN, MEMBER_NUMBER, MEMBER_TEXT };

/* Not to be copied once its text has been asked for. */
struct set_member {
    struct slice text; /* of a number: ptr NULL until it is asked for */
    int64_t number;
    uint64_t hash;
    uint8_t kind; /* enum set_member_kind: does the text read as a canonical integer? */
    bool hashed;
    char scratch[NUM_I64_LEN_MAX];
};
static inline void set_member_text(struct set_member *m, struct slice text)
{
    m->text = text;
    m->kind = MEMBER_UNKNOWN;
    m->hashed = false;
}
static inline void set_member_number(struct set_member *m, int64_t number)
{
    m->text = slice_of(NULL, 0);
    m->number = number;
    m->kind = MEMBER_NUMBER;
    m->hashed = false;
}
struct slice set_member_get(struct set_member *m); /* the text */
bool set_member_is_number(struct set_member *m);

/* ---- reading: e is a set ---- */

uint64_t set_count(const struct entry *e);
bool set_contains(const struct entry *e, struct set_member *m);
/* Every member: intsets rise, listpacks keep their order, dicts follow their hashes. The callback
 * returns false to stop, and must not write to the keyspace. False: it was stopped. */
typedef bool set_visit(void *ctx, struct set_member *m);
bool set_each(const struct entry *e, set_visit *visit, void *ctx);
/* SSCAN of FORM_OBJECT (dict_scan): returns the next cursor. */
uint64_t set_scan(const struct entry *e, uint64_t cursor, size_t count, table_visit *visit,
                  void *ctx);
struct slice set_block_text(const void *block); /* the member that such a visit is given */
/* A random member, uniform (nearly so in dicts beyond 3500). The text lives until the next write.
 */
void set_random(const struct entry *e, struct rng *rng, struct set_member *m);

/* ---- writing ---- */

/* A set that is being changed: one under a key, or one on the heap that will get a key later
 * (set_store). Members must not point into the set itself. */
struct set_object;
#define SET_EDIT_ROOM 128u
struct set_edit {
    struct packed packed; /* bytes, and where they lie; entry NULL: on the heap, or in room */
    struct shard *shard;  /* whose memory */
    const struct set_limits *limits;
    struct set_object *object; /* FORM_OBJECT */
    enum form form;
    char room[SET_EDIT_ROOM];
};

/* The set at e, which ks_edit found under key. (Both must live as long as the edit.) */
void set_open(struct set_edit *edit, struct ks *ks, struct slice key, struct entry *e,
              const struct set_limits *limits);
/* An empty one, for the shard of `key`; close it or store it. FORM_OBJECT makes room for `hint`
 * members, and can fail (-ENOMEM: nothing to close); the packed forms cannot. */
int set_begin(struct set_edit *edit, struct ks *ks, struct slice key, enum form form, size_t hint,
              const struct set_limits *limits);
/* The form that Redis begins with when this member is the first of about `hint`. */
enum form set_form_for(struct set_member *first, size_t hint, const struct set_limits *limits);
/* About to add so many: becomes a dict at once if they would not fit. */
int set_expect(struct set_edit *edit, size_t hint) WARN_UNUSED;
/* 1: added. 0: it was there. -ENOMEM: nothing has changed. */
int set_add(struct set_edit *edit, struct set_member *m) WARN_UNUSED;
bool set_remove(struct set_edit *edit, struct set_member *m); /* false: it was not there */
bool set_edit_contains(const struct set_edit *edit, struct set_member *m);
uint64_t set_edit_count(const struct set_edit *edit);
bool set_edit_each(const struct set_edit *edit, set_visit *visit, void *ctx);
/* If all members are integers and few enough: an intset. Without memory for it it stays as it is.
 */
void set_narrow(struct set_edit *edit);
/* Puts what set_begin began under the key (which must live in the same shard as the key given
 * there), replacing what is there. It must not be empty. Closes the edit on success. -ENOMEM:
 * nothing has changed. */
int set_store(struct set_edit *edit, struct ks *ks, struct slice key,
              instant_ms expire) WARN_UNUSED;
void set_close(struct set_edit *edit); /* frees what has not been stored; needless after set_open */

#endif
