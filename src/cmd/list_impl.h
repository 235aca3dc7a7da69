/* What the files of the list group share.
 * Thread: holder of the call's shards. */
#ifndef SPLITRING_CMD_LIST_IMPL_H
#define SPLITRING_CMD_LIST_IMPL_H

#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"
#include "splitring/keyspace/list.h"


/* e may be NULL. False: WRONGTYPE is written. */
static inline bool list_type_ok(struct call *c, const struct entry *e)
{
    if (likely(!e || entry_type(e) == TYPE_LIST)) return true;
    reply_error(&c->reply, ERR_WRONGTYPE);
    return false;
}

static inline struct list_key list_open(struct call *c, struct slice key, struct entry *e)
{
    return (struct list_key){
        .ks = &c->ks, .key = key, .entry = e, .fill = list_fill(c->env->list_max_listpack_size)};
}

static inline void list_reply_value(struct call *c, const struct lp_value *value)
{
    if (value->text.ptr) reply_bulk_slice(&c->reply, value->text);
    else reply_bulk_int(&c->reply, value->number);
}

/* LEFT or RIGHT. False: the error is written. */
bool list_end_arg(struct call *c, int i, enum list_end *end);
/* Elements from `first` on, `count` of them, going towards an end: an array. */
void list_reply_range(struct call *c, const struct entry *e, uint64_t first, uint64_t count,
                      enum list_end towards);
/* Removes `count` elements at one end, with events; the reply is written, from `mark` on: where
 * memory is out it becomes the error. The effect is the caller's; false: there is none. */
bool list_take(struct call *c, struct slice key, struct entry *e, enum list_end end,
               uint64_t count, size_t mark);

#endif
