/* MULTI, EXEC, DISCARD: commands queued by a connection and run as one.
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_MULTI_H
#define SPLITRING_SRC_WORKER_MULTI_H

#include "exec.h"
#include "internal.h"
#include "push.h"

/* One queued command; its arguments lie behind it. */
struct queued {
    const struct command *cmd;
    const char *key; /* of whose hash this is; NULL: not known */
    uint64_t hash;
    int argc;
    struct slice argv[];
};

#define MULTI_FEW 8u

struct multi {
    struct queued **cmds; /* few, or a block */
    size_t count, cap;
    size_t bytes;   /* of memory */
    size_t keys;    /* upper bound of keys */
    uint32_t mask;  /* shards of all keys */
    bool broken;    /* a command was refused: EXEC will abort */
    bool whole;     /* a command wants every key of every shard */
    bool writes;
    bool grows;     /* a command is refused while memory is out */
    bool oom;       /* memory was out when EXEC began (its scripts ask) */
    bool replicates; /* a command writes, or may speak to replicas (CLIENT PAUSE … WRITE) */
    struct buf *slots; /* replies by command, while some of them are made later */
    size_t next;    /* the next command that is made later */
    size_t at;      /* the command that runs, or is next */
    struct script_job *script; /* which has paused */
    struct push_mark pushed;   /* where what it tells begins */
    size_t stated;             /* where its effects begin, in those of the unit */
    bool running;   /* EXEC has begun, some commands are made later */
    bool calling;   /* one of them is being called */
    struct queued *few[MULTI_FEW];
    struct buf own; /* invalidations that its commands cause to their client */
};

void multi_free(struct multi *m);
void multi_end(struct conn *c); /* back to commands that run at once */
/* Is this op, which has been routed, to be queued (or refused) instead of run? Sets its kind. */
void multi_judge(struct worker *w, struct op *op);
void multi_queue(struct op *op);
/* A command was refused while queueing. */
void multi_break(struct conn *c);
/* No lock stops EXEC on the shards that are held. */
bool multi_is_free(struct worker *w, struct conn *c);
/* Adds all its keys and the watched ones that live in this shard. */
void multi_lock_keys(struct worker *w, struct conn *c, shard_id s, struct lock_request *req);
size_t multi_key_count(const struct conn *c); /* upper bound, for the request's nodes */
enum multi_outcome {
    MULTI_DONE,
    MULTI_LATER, /* some commands are made later (multi_continue); nothing is in `out` */
    MULTI_PAUSED /* at a script that takes long (m->script); multi_go_on() when that has ended */
};
/* Everything is at hand: runs the queue; the reply goes into `out`. The connection has to wait for
 * what is not done. m is freed in time. */
enum multi_outcome multi_run(struct worker *w, struct conn *c, const struct command *exec,
                             struct buf *out);
enum multi_outcome multi_go_on(struct worker *w, struct conn *c, struct buf *out);
/* Where the reply of the paused script goes. */
struct buf *multi_script_out(struct conn *c, struct buf *out);
/* From conn_resume: what the running EXEC waited for has been answered. */
void multi_continue(struct conn *c);

#endif
