/* An act that every worker does once, answered after the last one has done it: CLIENT LIST, KILL,
 * PAUSE, CONFIG SET, DEBUG … (DESIGN 6a, "control order").
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_FANOUT_H
#define SPLITRING_SRC_WORKER_FANOUT_H

#include "internal.h"

struct fanout {
    /* Thread: each worker, once. Writes its share to f->out[w->id]. */
    void (*part)(struct worker *w, struct fanout *f);
    /* Thread: home, after all parts. Writes the reply to `reply` (NULL: the client is gone); may
     * set *conn's flags, or let the connection wait for something else (in_flight). */
    void (*done)(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply);
    /* Frees arg; NULL: mem_free. */
    void (*free_arg)(void *arg);
    void *arg;              /* request, constant while parts run */
    struct conn *conn;      /* NULL: nobody waits (signals, timers) */
    struct worker *home;
    struct buf out[SHARDS_MAX];
    int64_t number[SHARDS_MAX]; /* a count per worker */
    uint64_t ns[SHARDS_MAX]; /* what each part took */
    struct log_draft *draft; /* of the command, for the command log; NULL: it needs none */
    unsigned pending;       /* home only */
    uint8_t proto;
};

struct fanout *fanout_new(
    struct worker *w, struct conn *c, void (*part)(struct worker *, struct fanout *),
    void (*done)(struct worker *, struct fanout *, struct conn *, struct reply *), void *arg);
/* ordered: goes through worker 0, so that all workers apply two such acts in the same order. The
 * connection waits until done() has been called. */
void fanout_start(struct fanout *f, bool ordered);
/* Messages (step.c). */
void fanout_order(struct worker *w, struct fanout *f);
void fanout_part(struct worker *w, struct fanout *f);
void fanout_part_done(struct worker *w, struct fanout *f);

#endif
