/* What the files of the stream group share.
 * Thread: holder of the call's shards. */
#ifndef SPLITRING_CMD_STREAM_IMPL_H
#define SPLITRING_CMD_STREAM_IMPL_H

#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"
#include "splitring/keyspace/stream.h"

/* ---- arguments: false means that the error is written ---- */

static inline bool stream_type_ok(struct call *c, const struct entry *e)
{
    if (likely(!e || entry_type(e) == TYPE_STREAM)) return true;
    reply_error(&c->reply, ERR_WRONGTYPE);
    return false;
}
/* An id as a command line has it. Without a sequence it gets `seq`; "ms-*" only where seq_given is
 * not NULL. `ends`: "-" and "+" are the first and the last id. */
bool stream_id_parse(struct slice text, uint64_t seq, bool ends, struct stream_id *id,
                     bool *seq_given);
bool stream_arg_id(struct call *c, int i, struct stream_id *id); /* neither "-" nor "+" */
/* One end of a range, '(' makes it exclusive: the id that is inside. */
bool stream_arg_start(struct call *c, int i, struct stream_id *id);
bool stream_arg_end(struct call *c, int i, struct stream_id *id);
/* KEEPREF, DELREF, ACKED; false: none of them, no error is written. */
bool stream_is_refs(const struct call *c, int i, enum stream_refs *refs);

/* The options in front of XADD's id, and all of XTRIM's. */
struct stream_trim_args {
    struct stream_trim trim;
    int strategy_at, operator_at, threshold_at, limit_at; /* 0: not given */
    bool nomkstream, id_given, seq_given;
    int id_at;            /* XADD: the id, or argc */
    struct stream_id id;
};
bool stream_trim_parse(struct call *c, bool xadd, struct stream_trim_args *a);

/* ---- replies ---- */

#define STREAM_ID_TEXT_MAX 41u
struct slice stream_id_text(char out[STREAM_ID_TEXT_MAX], struct stream_id id);
void stream_reply_id(struct call *c, struct stream_id id);
void stream_reply_entry(struct call *c, struct stream_iter *it); /* [id, [field, value, …]] */
void stream_reply_body(struct call *c, struct stream_iter *it);  /* without the array around */
/* Entries without the array around them; count 0: all. How many. */
size_t stream_reply_entries(struct call *c, const struct stream *s, struct stream_id start,
                            struct stream_id end, uint64_t count, bool reverse);
/* The one entry; false: it is not there, nothing is written. */
bool stream_reply_one(struct call *c, const struct stream *s, struct stream_id id);

/* ---- writing ---- */

/* After a write: memory counters. */
void stream_done(struct call *c, struct slice key, struct stream *s);
/* The consumer, made if it is not there (event, effect). NULL: no memory. */
struct stream_consumer *stream_consumer_get(struct call *c, struct slice key, struct stream *s,
                                            struct stream_group *g, struct slice group,
                                            struct slice name);
/* XCLAIM that replays what a pending entry has become. */
void stream_effect_claim(struct call *c, struct slice key, struct slice group,
                         const struct stream_group *g, const struct stream_nack *nack);
/* XGROUP SETID to where the group is. */
void stream_effect_setid(struct call *c, struct slice key, struct slice group,
                         const struct stream_group *g);

#endif
