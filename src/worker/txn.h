/* Commands over several shards, and commands that may block: locks on keys, two phases (DESIGN
 * section 4).
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_TXN_H
#define SPLITRING_SRC_WORKER_TXN_H

#include "exec.h"
#include "internal.h"
#include "multi.h"

struct txn;
struct waiter;

enum txn_answer {
    TXN_GRANTED,
    TXN_REFUSED,
    TXN_BUSY, /* it waited, for a script that takes too long */
    TXN_DONE
};
enum txn_phase { TXN_PHASE_TRY, TXN_PHASE_ORDERED, TXN_PHASE_WRITE };

/* Where the handler runs. */
enum txn_way {
    TXN_PARTS,  /* at each shard, on that shard's keys; replies are combined */
    TXN_HELD,   /* at the coordinator, which borrows all the shards while it holds the locks */
    TXN_COPIES, /* on the coordinator's scratch shard, on images of all keys */
    TXN_ONE,    /* at the one shard where all keys live */
    TXN_FIRST   /* at the shard of the first key that exists */
};

/* What one shard is asked for. Between a request and its answer it belongs to the shard's holder,
 * otherwise to the coordinator. */
struct txn_part {
    struct lock_request lock;
    struct txn *txn;
    shard_id shard;
    uint8_t answer;   /* enum txn_answer */
    bool granted;     /* coordinator's view */
    instant_ms clock; /* of the shard when it granted */
    instant_ms next_expiry; /* lowest expiry of its keys after that; EXPIRE_NONE */
    int first;        /* TXN_FIRST: argv position of its first key that exists; INT_MAX */
    struct exec sub;  /* the command as this shard runs it */
    struct slice *sub_argv;
    int *key_pos;     /* argv positions of this shard's keys, ascending */
    int key_count;
    struct buf reply; /* of sub */
    uint64_t ns;      /* that sub took */
    struct buf own;   /* invalidations it caused to its own client, for behind the whole reply */
    struct buf images; /* fetched: per key a length and the image */
    struct buf writes; /* to put: the same; length SIZE_MAX: unchanged */
    struct list link;         /* worker.local_hops or .local_answers */
    struct list release_link; /* worker.local_releases */
    uint32_t kind;    /* the act waiting in local_hops */
    struct waiter *waiter;    /* of MSG_TXN_REGISTER: by then t may have another, or none */
};

struct txn {
    struct conn *conn;
    struct worker *home;
    struct exec x; /* arguments copied */
    struct buf bytes;
    struct slice *argv;
    struct key_ref *refs;
    int ref_count;
    int copy_db;      /* COPY … DB n: where its destination lives; -1 */
    enum txn_way way;
    bool is_exec;     /* runs what its connection has queued (multi.c) */
    enum txn_phase phase;
    unsigned pending; /* answers outstanding */
    unsigned part_count;
    struct txn_part *parts; /* ascending by shard */
    struct list held_link;   /* worker.possess: all locks are held, the shards are not yet */
    struct txn_part *acting; /* TXN_ONE, TXN_FIRST: whose reply it is */
    counter refs_left; /* releases on their way, a waiter, and one for the coordinator */
    struct buf reply; /* of the handler on the scratch shard */
    struct call_away away; /* MIGRATE (away.c) */
    /* blocking commands (block.c) */
    struct call_block block;
    struct waiter *waiter;
    uint64_t acl_generation; /* of the users, when it was judged */
    instant_ms deadline; /* of the first time it blocked; 0: none */
    bool has_deadline;
};

/* op's arguments copied, its parts made; NULL: no memory. Thread: the connection's owner. */
struct txn *txn_new(struct worker *w, const struct op *op);
void txn_drop(struct txn *t);
/* Starts op as a transaction; the connection waits. Thread: the connection's owner. */
void txn_start(struct worker *w, const struct op *op);
/* The same for op, which runs here already with all its shards held and not a lock in any of them:
 * from now on it has its locks. */
struct txn *txn_new_granted(struct worker *w, const struct op *op);
/* Gives everything up and begins again with these shards. */
void txn_widen(struct txn *t, uint32_t mask);
/* TXN_HELD has run: gives its locks up, and answers. Its shards are held. */
void txn_held_done(struct worker *w, struct txn *t);
/* The same for an EXEC, which may not be over. */
void txn_exec_ran(struct worker *w, struct txn *t, enum multi_outcome outcome);
/* The other server has been asked: the handler runs again, and what it writes goes home.
 * Thread: the coordinator. */
void txn_resume(struct txn *t);
/* From the beginning once more. Thread: the coordinator. */
void txn_restart(struct txn *t);
/* The connection gets this reply and goes on; t may be gone afterwards. Thread: the coordinator. */
void txn_finish(struct txn *t, struct buf *out);
/* kind: MSG_TXN_…; RELEASE of a part that holds nothing wakes those who wait for its keys. Thread:
 * the coordinator. */
void txn_part_send(struct txn *t, struct txn_part *part, uint32_t kind);
/* kind: MSG_TXN_TRY … MSG_TXN_REGISTER. Thread: owner of part->shard. */
void txn_hop(struct worker *w, uint32_t kind, struct txn_part *part);
/* Thread: the coordinator. */
void txn_answered(struct worker *w, struct txn_part *part);
/* Acts of the coordinator's own shard; true if there were any. */
bool txn_run_local(struct worker *w);

/* Every write has been answered: so is the client. Thread: the coordinator. */
void txn_written(struct txn *t);
/* Gives the part's locks up; who waits for one of its keys is served before whoever waits for the
 * lock. Thread: holder of part->shard. */
void txn_release_part(struct worker *w, struct txn_part *part);
/* TXN_HELD that have their locks and wait for their shards; true if some still do. */
bool txn_run_held(struct worker *w);

/* ---- images (txn_image.c) ---- */

/* A key of the transaction in this shard, for looking at or moving its value. */
struct ks txn_key_view(const struct txn *t, struct shard *shard, int pos);
/* Images of the part's keys into part->images. Thread: holder of part->shard. */
void txn_images_fetch(struct worker *w, struct txn_part *part);
/* The handler on copies; afterwards each part knows what it has to write. Thread: coordinator. */
void txn_run_on_scratch(struct txn *t);
/* Thread: holder of part->shard. */
void txn_images_put(struct worker *w, struct txn_part *part);

/* Replies of the parts made into one (txn_reply.c). */
void txn_combine(const struct command *cmd, int key_count, struct txn_part *parts, unsigned count,
                 struct rng *rng, uint8_t proto, struct buf *out);

#endif
