/* What the handlers of sets share. Inner header of src/cmd.
 * Thread: holder of the call's shards. */
#ifndef SPLITRING_CMD_SET_IMPL_H
#define SPLITRING_CMD_SET_IMPL_H

#include "splitring/cmd/call.h"
#include "splitring/keyspace/set.h"

static inline struct set_limits set_limits_of(const struct call *c)
{
    return (struct set_limits){c->env->set_max_intset_entries, c->env->set_max_listpack_entries,
                               c->env->set_max_listpack_value};
}

/* False: the error is written. No entry is fine. */
static inline bool set_type_ok(struct call *c, const struct entry *e)
{
    if (likely(!e || entry_type(e) == TYPE_SET)) return true;
    reply_error(&c->reply, ERR_WRONGTYPE);
    return false;
}

/* The member as a bulk string; a number's digits go straight into the reply. */
static inline void set_reply_member(struct reply *r, struct set_member *m)
{
    if (m->text.ptr) reply_bulk_slice(r, m->text);
    else reply_bulk_int(r, m->number);
}


/* The whole set, or an empty one if e is NULL. */
void set_reply_all(struct reply *r, const struct entry *e);

#endif
