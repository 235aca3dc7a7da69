/* What the files of the hash group share.
 * Thread: holder of the call's shards. */
#ifndef SPLITRING_CMD_HASH_IMPL_H
#define SPLITRING_CMD_HASH_IMPL_H

#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"
#include "splitring/keyspace/hash.h"

/* False: WRONGTYPE is written. An absent key (NULL) is fine. */
static inline bool hash_type_ok(struct call *c, const struct entry *e)
{
    if (likely(!e || entry_type(e) == TYPE_HASH)) return true;
    reply_error(&c->reply, ERR_WRONGTYPE);
    return false;
}

/* The hash of argument 1. False: WRONGTYPE is written. */
static inline bool hash_for(struct call *c, struct entry *e, struct hash *h)
{
    struct hash_limits limits = {.entries = c->env->hash_max_listpack_entries,
                                 .value = c->env->hash_max_listpack_value};
    if (unlikely(!hash_type_ok(c, e))) return false;
    *h = hash_open(&c->ks, c->argv[1], e, limits);
    return true;
}
static inline bool hash_for_reading(struct call *c, struct hash *h)
{
    return hash_for(c, ks_read(&c->ks, c->argv[1]), h);
}
static inline bool hash_for_writing(struct call *c, struct hash *h)
{
    return hash_for(c, ks_edit(&c->ks, c->argv[1]), h);
}

/* After fields of the hash changed: hooks, the event, and the end of a hash that is empty now. */
void hash_changed(struct call *c, const struct hash *h, const char *event);

/* FIELDS numfields field … at argument `at`, up to the end. False: the error is written; `error` is
 * what a wrong number means. The first field is argument at + 2. */
bool hash_fields(struct call *c, int at, enum error_id error);

/* An instant out of argument i, for fields. False: the error is written. */
bool hash_when(struct call *c, int i, bool seconds, bool relative, instant_ms *when);

/* ---- an effect on some of the fields ---- */

/* Fields that a command has changed, behind room for the words before them. */
#define FIELD_LIST_HEAD 5
#define FIELD_LIST_SMALL 24
struct field_list {
    struct slice *argv; /* NULL: nobody wants to know */
    size_t count;
    struct slice small[FIELD_LIST_SMALL];
};
void field_list_init(struct field_list *list, struct call *c, size_t fields_max);
static inline void field_list_add(struct field_list *list, struct slice field)
{
    if (list->argv) list->argv[FIELD_LIST_HEAD + list->count] = field;
    list->count++;
}
/* States HDEL key field …; nothing where there are none. */
void field_list_deleted(struct field_list *list, struct call *c);
/* HPEXPIREAT key ms FIELDS n field …, or HPERSIST for EXPIRE_NONE. */
void field_list_expires(struct field_list *list, struct call *c, instant_ms when);
void field_list_deinit(struct field_list *list);

#endif
