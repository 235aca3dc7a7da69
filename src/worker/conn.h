/* A client's connection: parser, unread input, unsent output, and the state that commands like
 * SELECT, HELLO and CLIENT set.
 *
 * At most one thing is in flight for a connection: a batch, a multi-shard command or a fan-out.
 * While it is (CONN_WAITING) nothing more of its input is run: that is what keeps its commands in
 * order.
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_CONN_H
#define SPLITRING_SRC_WORKER_CONN_H

#include "internal.h"

enum conn_flag {
    CONN_WAITING = 1u << 0,       /* something is in flight */
    CONN_CLOSING = 1u << 1,       /* io_close called or due; runs nothing more */
    CONN_CLOSE_AFTER = 1u << 2,   /* close when the output is sent (QUIT, protocol error) */
    CONN_READ_PAUSED = 1u << 3,
    CONN_WANT_WRITE = 1u << 4,
    CONN_PEER_CLOSED = 1u << 5,   /* EOF seen: what is parsed still runs */
    CONN_RELEASED = 1u << 6,      /* the kernel has let go */
    CONN_AUTHED = 1u << 7,        /* has signed in, or needed not to when it came */
    CONN_NO_TOUCH = 1u << 8,
    CONN_NO_EVICT = 1u << 9,
    CONN_REPLY_OFF = 1u << 10,
    CONN_REPLY_SKIP_NEXT = 1u << 11, /* CLIENT REPLY SKIP: the next command's reply is dropped */
    CONN_REPLY_SKIP = 1u << 12,      /* this command's reply is dropped */
    CONN_UNIX = 1u << 13,
    CONN_HELD_OP = 1u << 14,      /* the parser's current command has not run yet */
    CONN_READY = 1u << 15,        /* in worker.ready, .stalled or .deferred */
    CONN_DIRTY = 1u << 16,        /* in worker.dirty */
    CONN_FREE = 1u << 17,         /* may run whatever it likes: nothing is judged (acl.c) */
    CONN_MIGRATING = 1u << 18,    /* detaching, goes to another worker */
    CONN_PAUSED = 1u << 19,       /* CLIENT PAUSE */
    CONN_BAD_INPUT = 1u << 20,    /* a protocol error is due after what is in flight */
    CONN_BLOCKED = 1u << 21,      /* waits for a key: in_flight is its transaction (block.h) */
    CONN_MULTI = 1u << 22,        /* queues commands for EXEC (multi.h) */
    CONN_MONITOR = 1u << 23,      /* sees every command (monitor.h) */
    CONN_HAS_INPUT = CONN_HELD_OP | CONN_BAD_INPUT /* beside what is in `in` */
};

struct conn {
    struct io_sock sock;
    struct list link;       /* worker.conns */
    struct list ready_link; /* worker.ready, .stalled, .deferred or .paused */
    struct list dirty_link;
    struct worker *worker;
    uint64_t id;
    uint32_t flags;
    struct acl_user *user; /* a reference */
    db_id db;
    uint8_t proto;
    uint8_t limit_class;    /* client-output-buffer-limit: 0 normal */
    uint8_t batch_limit;    /* commands of its next batch; 0: not known yet (batch.c) */
    struct parser parser;
    struct buf in;          /* input not yet parsed, behind in_used bytes that are */
    size_t in_used;
    struct buf out;         /* replies not yet sent */
    size_t out_sent;        /* of out */
    /* the input window of this pass: a receive buffer or `in` */
    const char *data;
    size_t data_len, data_used;
    void *in_flight;        /* batch, txn or fanout */
    struct multi *multi;    /* CONN_MULTI, or an EXEC that is being answered; NULL */
    struct watch_set *watch; /* WATCH; NULL: nothing */
    struct list monitor_link; /* worker.monitors */
    uint64_t ready_ticks;   /* when it last had input to run and nothing in flight */
    char *peer;             /* conn_peer() */
    instant_ms created_ms, active_ms;
    instant_ms over_soft_ms; /* since when the output is above the soft limit; 0: it is not */
    const struct command *last_cmd;
    uint64_t commands, bytes_in, bytes_out;
    char *name;             /* CLIENT SETNAME; NULL */
    char *lib_name, *lib_ver;
    worker_id migrate_to;
    int migrate_fd;
    uint8_t deferred;       /* how often it was put off for a shard that somebody holds, */
    uint32_t deferred_for;  /* … the last time for these (defer.c) */
    uint64_t cut_group;     /* the group in which it was cut: nothing more of it runs there */
    struct list subs;       /* struct sub.conn_link, oldest first */
    uint32_t sub_count[3];  /* by enum topic_kind */
    struct holding *holding; /* output that waits for the disk (hold.h); NULL: none */
    struct act *act;        /* (UN)SUBSCRIBE in flight */
    struct conn_track *track; /* client-side caching; NULL: neither it nor others redirect here */
    uint32_t ops_recent;    /* commands since the last balance check */
    uint8_t memory_class;   /* under maxmemory-clients; 0: it is not evicted (client_memory.c) */
    size_t memory;          /* what it was last counted with */
    size_t subs_bytes;      /* of its subscriptions and the names of their channels */
    struct list class_link, grown_link;
};

/* tls: of that descriptor, NULL: none; the caller's still if there is no memory (NULL). */
struct conn *conn_new(struct worker *w, int fd, bool unix_socket, struct tls *tls);
/* Stops everything of this connection as soon as nothing refers to it. */
void conn_close(struct conn *c);
/* Frees it when the kernel and what is in flight have let go. */
void conn_maybe_free(struct conn *c);
void conn_on_received(struct conn *c, const char *ptr, size_t len);
void conn_on_closed(struct conn *c, int error);
void conn_on_writable(struct conn *c);
void conn_on_released(struct conn *c, int fd); /* fd: given back by a detach */
/* There may be input to run: into the ready queue. */
void conn_ready(struct conn *c);
/* It stands still in `where` (CLIENT PAUSE, a script in its way) and counts as blocked, until
 * conn_unpark(). */
void conn_park(struct conn *c, struct list *where);
void conn_unpark(struct conn *c);
/* Output was appended. */
void conn_dirty(struct conn *c);
/* Sends what is there; false: the connection is closing. */
void conn_flush(struct conn *c);
/* End of a pass: unparsed bytes of the receive buffer are kept. */
void conn_keep_input(struct conn *c);
/* Hands a connection at rest to another worker: detaches now, sent when the kernel has let go.
 * False: it is not at rest. */
bool conn_migrate(struct conn *c, worker_id to);
void conn_migrate_send(struct conn *c, int fd);
void conn_adopt(struct worker *w, struct conn *c);
/* What was in flight has been answered: goes on. */
void conn_resume(struct conn *c);
/* It received or sent something: what it takes of memory is looked at again. */
static inline void conn_resized(struct conn *c)
{
    if (unlikely(c->worker->client_memory.limit != 0)) client_memory_note_slow(c);
}
/* Limits after output grew (client-output-buffer-limit). */
void conn_check_output_slow(struct conn *c);
static inline void conn_check_output(struct conn *c)
{
    const struct config_output_limit *limit = &c->worker->config->output_limits[c->limit_class];
    size_t unsent = c->out.len - c->out_sent;
    /* Below both limits (0, none, becomes the largest), and nothing else to think of. */
    bool fine = unsent <= (size_t)limit->hard_bytes - 1 && unsent <= (size_t)limit->soft_bytes - 1;
    bool plain = (c->flags & (CONN_AUTHED | CONN_MONITOR)) == CONN_AUTHED && !c->track;
    if (likely(fine && plain && !c->out_sent && !c->over_soft_ms)) return;
    conn_check_output_slow(c);
}
bool conn_output_full_slow(const struct conn *c);
/* So much is unsent that nothing more of its input is to be run (it goes on when that is sent). */
static inline bool conn_output_full(const struct conn *c)
{
    return unlikely(c->out.len - c->out_sent > OUTPUT_PAUSE) && conn_output_full_slow(c);
}
/* It need not sign in (any more). */
static inline bool conn_is_in(const struct conn *c)
{
    return c->flags & CONN_AUTHED || c->worker->acl_open;
}
static inline bool conn_subscribed(const struct conn *c)
{
    return c->sub_count[0] | c->sub_count[1] | c->sub_count[2];
}
static inline size_t conn_unread(const struct conn *c) { return c->in.len - c->in_used; }
/* Appends replies made elsewhere, honouring CLIENT REPLY. */
void conn_append_reply(struct conn *c, struct buf *reply);
/* Its address as text, found once: before anything of it goes to another worker, which may then
 * ask as well. */
const char *conn_peer(struct conn *c);
size_t conn_memory(const struct conn *c);
static inline struct reply conn_reply(struct conn *c)
{
    return (struct reply){.out = &c->out, .proto = c->proto};
}

#endif
