/* The journal: what every unit of writes changed, in one total order (DESIGN section 5). Here is a
 * worker's side: effects are collected, get a ticket, and go to the persistence thread.
 *
 * Thread: the worker that runs, unless a function says otherwise. */
#ifndef SPLITRING_SRC_WORKER_JOURNAL_H
#define SPLITRING_SRC_WORKER_JOURNAL_H

#include "internal.h"

#define JOURNAL_IDLE UINT64_MAX

enum journal_kind {
    JOURNAL_EFFECTS,
    JOURNAL_LOST, /* memory was out: some effects are missing, what follows is worth nothing */
    JOURNAL_BEGIN, /* the log is switched on; what is before will be in a base */
    JOURNAL_CUT,  /* it goes on in a new file: likewise */
    JOURNAL_STOP  /* nobody wants it any more */
};

/* What one worker appended at once, under one ticket. */
struct journal_blob {
    counter next; /* struct journal_blob *; 0: none yet */
    uint64_t ticket;
    enum journal_kind kind;
    struct effects effects;
};

/* From one worker to the persistence thread: a queue without end, whose bytes are counted. */
struct journal_lane {
    /* the worker writes */
    _Alignas(CACHE_LINE) counter open; /* it may be about to append this ticket, or later ones */
    counter given_bytes;
    counter waits; /* 1: replies wait here for the disk */
    struct journal_blob *tail;
    uint64_t last_ticket;
    /* P writes */
    _Alignas(CACHE_LINE) counter taken_bytes;
    struct journal_blob *head; /* was taken; the next one hangs on it */
};

struct journal_log;

struct journal {
    /* shared */
    _Alignas(CACHE_LINE) counter tickets;
    _Alignas(CACHE_LINE) counter durable; /* every ticket up to this one is on the disk */
    counter dozing;    /* P looks by itself within some milliseconds */
    claim_word turn;
    /* constant after start */
    struct journal_lane *lanes; /* by worker */
    struct journal_log *log;
};

struct journal *journal_new(uint32_t workers);
void journal_free(struct journal *j, uint32_t workers);

/* Somebody wants effects. Changes only while all shards are held: who holds one knows. */
static inline bool journal_on(const struct hub *hub)
{
    return unlikely(counter_get(&hub->journaling) != 0);
}

/* ---- a unit's effects ---- */

static inline size_t journal_count(const struct worker *w) { return w->effects.count; }
/* From here on effects belong together, until journal_close: then those from `from` on, which
 * journal_count said, are wrapped if they are several and nothing further out is open. */
static inline void journal_open(struct worker *w) { w->effects_depth++; }
void journal_close(struct worker *w, size_t from);
/* Those from `from` on have not happened; or are kept for later, when journal_put brings them
 * back. */
void journal_rewind(struct worker *w, size_t from);
void journal_take(struct worker *w, size_t from, struct effects *kept);
void journal_put(struct worker *w, struct effects *kept);
/* A key, or a field of a hash, has gone by itself. */
void journal_expired(void *ctx, struct shard *shard, db_id db, struct slice key);
void journal_field_expired(void *ctx, struct shard *shard, db_id db, struct slice key,
                           struct slice field);

/* What the unit stated gets its ticket and goes to P. Called by push_flush: before anybody can
 * learn of it. */
void journal_flush(struct worker *w);
/* The same in the middle of a command of the connection's own, between these two: who changes what
 * belongs to no shard takes a turn. */
void journal_state_now(struct worker *w);
void journal_turn_take(struct hub *hub);
void journal_turn_give(struct hub *hub);
/* The end of a pass: P is woken if it was given something. */
void journal_publish(struct worker *w);
/* Too much is on its way to the disk: no more writes are started. */
bool journal_crowded(const struct worker *w);
/* Bytes of effects that are not in the log's file yet. Thread: any. */
uint64_t journal_lag_bytes(const struct hub *hub);

/* All shards are held; the log is cut, begins or ends here. The ticket of that. */
uint64_t journal_mark(struct worker *w, enum journal_kind kind);
/* Effects are collected from now on, or not any more; all shards are held. */
void journal_switch(struct hub *hub, bool on);

/* ---- replies that wait ---- */

/* Whoever takes a shard may show what was last written to it; who gets a message, everything. */
static inline void journal_saw_shard(struct worker *w, shard_id s)
{
    if (likely(!journal_on(w->hub))) return;
    uint64_t ticket = w->hub->shard_tickets[s].ticket;
    if (unlikely(w->hub->faults & FAULT_HOLD_OWN)) return;
    if (unlikely(ticket > w->hold)) w->hold = ticket;
}
void journal_saw_all(struct worker *w);

/* ---- the persistence thread ---- */

/* Looks at what is there; journal_next then gives it in order, as far as that is certain.
 * Thread: P. */
struct journal_view {
    uint64_t last, below; /* tickets below this one are all there */
    worker_id from;
    struct journal_blob *heads[SHARDS_MAX];
};
void journal_look(struct hub *hub, struct journal_view *view);
/* The next one; NULL: none whose turn is certain yet. */
struct journal_blob *journal_next(struct hub *hub, struct journal_view *view);
/* It has been dealt with: its effects are freed. */
void journal_taken(struct hub *hub, struct journal_view *view);

#endif
