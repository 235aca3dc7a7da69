/* One run of one command: what a handler sees. It has arguments, shards, a reply, the time and a
 * generator; no sockets, no mailboxes, no clock.
 * Thread: holder of every shard in `shards`. */
#ifndef SPLITRING_CMD_CALL_H
#define SPLITRING_CMD_CALL_H

#include "splitring/base/rng.h"
#include "splitring/cmd/command.h"
#include "splitring/cmd/handlers.h"
#include "splitring/keyspace/events.h"
#include "splitring/keyspace/keyspace.h"
#include "splitring/resp/parse.h"
#include "splitring/resp/reply.h"

struct effects;
struct watch_set;
struct env;
struct script_call;
struct conn;
struct worker;

struct call {
    const struct command *cmd;
    const struct slice *argv;
    int argc;
    struct ks ks;             /* the keyspace as this call sees it: shards, db, now, touch rules */
    struct reply reply;
    struct rng *rng;
    const struct env *env;    /* settings a handler may read (limits, thresholds) */
    struct effects *effects;  /* NULL: nobody consumes effects */
    struct arg *args;         /* NULL, or argv with owned blobs to take (call_take_blob) */
    struct conn *conn;        /* ROUTE_HERE commands only: the worker's connection; else NULL */
    struct worker *worker;    /* who runs it: for handlers that live in src/worker */
    uint64_t dirty;           /* writes done (Redis' server.dirty): 0 = nothing changed */
    bool in_script;           /* called by redis.call */
    bool keys_limited;        /* its user may not read every key: SORT's patterns are refused */
    bool may_block;           /* of a blocking command: the client may be made to wait */
    struct watch_set *watch;  /* WATCH only: what its connection watches */
    struct call_away *away;   /* MIGRATE: where it notes its wish; NULL: not to be had here */
    struct call_block *block; /* where call_block() notes its wish, if may_block */
    struct script_call *script; /* of a command that runs a script: worker/script.h */
};

/* What a blocking command that found nothing wants (call_block). */
struct call_block {
    bool wanted;
    int64_t timeout_ms;      /* 0: for ever */
    instant_ms retry_at;     /* then the command runs again, if it still waits; 0: only for a key */
    struct buf args;         /* replaced arguments, one after the other */
    struct call_block_arg {
        int index;
        size_t begin, len;   /* in args */
    } *replaced;
    int replaced_count;
};

/* What MIGRATE wants of another server. The worker sends the bytes and collects the lines that come
 * back, while the keys stay locked; then the handler runs once more and finds `done` set. */
struct call_away {
    bool wanted, done;
    char host[256];
    uint16_t port;
    int64_t timeout_ms;      /* without any progress */
    struct buf request;
    size_t lines_wanted;
    struct buf answer;       /* lines with their ends; fewer than wanted if something failed */
    enum { AWAY_DONE, AWAY_NOT_CONNECTED, AWAY_NOT_SENT, AWAY_NOT_ANSWERED } outcome;
};

/* Settings that handlers depend on; each worker has its own copy, replaced by CONFIG SET. */
struct env {
    int64_t proto_max_bulk_len;
    uint32_t databases;
    bool lazyfree_user_del;
    bool lazyfree_user_flush;
    uint32_t shard_count;
    bool loading; /* a log is read: nothing is past */
    const struct command_names *names; /* of commands, for COMMAND; NULL: the table's */
    /* Encodings (Redis' directives of the same names). */
    uint64_t hash_max_listpack_entries, hash_max_listpack_value;
    uint64_t set_max_intset_entries, set_max_listpack_entries, set_max_listpack_value;
    uint64_t zset_max_listpack_entries, zset_max_listpack_value;
    int64_t list_max_listpack_size; /* negative: -1..-5 = 4..64 KiB */
    uint64_t list_compress_depth;
    uint64_t hll_sparse_max_bytes;
    uint64_t stream_node_max_bytes, stream_node_max_entries;
};

static inline struct slice call_arg(const struct call *c, int i) { return c->argv[i]; }
/* True when argument i is the word (case-insensitive). */
static inline bool call_is(const struct call *c, int i, const char *word)
{
    return slice_is_word(c->argv[i], word);
}
/* On failure the error reply is written (call_int: "value is not an integer or out of range"). */
bool call_int(struct call *c, int i, int64_t *out);
bool call_int_or(struct call *c, int i, int64_t *out, enum error_id err);
bool call_int_range(struct call *c, int i, int64_t lo, int64_t hi, int64_t *out, enum error_id err);
/* A key that is given this expiry is gone at once. */
static inline bool call_is_past(const struct call *c, instant_ms when)
{
    return when <= c->ks.now && !c->env->loading;
}
/* The owned block of argument i, or NULL if it has none (then copy). */
struct blob *call_take_blob(struct call *c, int i);
/* The reply of a container's HELP: its name, then the lines (NULL-terminated; explanations indented
 * by four blanks), then HELP itself. */
void call_help(struct call *c, const char *const *lines);

/* After a key's value changed in place: WATCH and tracking, then the keyspace event (a constant:
 * "hset"). dirty and effects are the handler's own. */
void call_changed(struct call *c, struct slice key, enum event_class class, const char *event);
/* The event alone, where the write itself has told WATCH (ks_set_string, ks_delete …). */
static inline void call_event(struct call *c, struct slice key, enum event_class class,
                              const char *event)
{
    ks_notify(&c->ks, class, event, key);
}
/* The last element has gone: the key is deleted, with its event "del". */
void call_emptied(struct call *c, struct slice key);

/* A blocking command that finds nothing. True: the client waits, the handler returns without a
 * reply, and runs again (on the shard where a key has become ready, keys of other shards reading as
 * absent) until it replies; a timeout is answered for it with a null array. False: waiting is not
 * allowed here (MULTI, scripts): reply what Redis replies then. timeout_ms 0: for ever. */
bool call_block(struct call *c, int64_t timeout_ms);
/* What it waits for may also be there by then, without anybody touching a key. After call_block. */
void call_block_until(struct call *c, instant_ms retry_at);
/* While it waits, argument i reads like this (XREAD's `$`). Before or after call_block. */
void call_block_arg(struct call *c, int i, struct slice text);
/* A timeout argument in seconds with fractions, as Redis' getTimeoutFromObjectOrReply: error texts
 * and limits. False: the error has been written. */
bool call_timeout(struct call *c, int i, int64_t *timeout_ms);

/* What the journal gets from this command (DESIGN section 5). A write handler that changed
 * something calls exactly one of these per effect, in order; a write that changed nothing calls
 * none. Without a consumer they cost one branch. Expiry and eviction state DEL by themselves. */
void effect_verbatim(struct call *c);                                     /* the command as sent */
void effect_args(struct call *c, int argc, const struct slice *argv);     /* another command */
#define EFFECT(c, ...) \
    effect_args((c), (int)ARRAY_COUNT(((struct slice[]){__VA_ARGS__})), \
                (struct slice[]){__VA_ARGS__})
/* Number formatted into out (>= 21 bytes), as a slice, for EFFECT. */
struct slice effect_int(char *out, int64_t value);

#endif
