/* Snapshots beside running commands: BGSAVE, save points, the base of the append log.
 *
 *   IDLE → CUTTING   somebody has asked; its worker looks for a moment for the cut
 *        → RUNNING   the cut is made: every shard tells its keys, P writes them
 *        → IDLE      the file is in place, or gone
 *
 * One at a time. Thread: as each function and group of fields says. */
#ifndef SPLITRING_SRC_WORKER_SNAPSHOT_H
#define SPLITRING_SRC_WORKER_SNAPSHOT_H

#include "splitring/base/buf.h"
#include "splitring/base/counters.h"
#include "splitring/base/list.h"
#include "splitring/base/mailbox.h"
#include "splitring/persist/dumpset.h"

struct conn;
struct hub;
struct persister;
struct reply;
struct worker;

enum snapshot_purpose {
    SNAPSHOT_NONE,
    SNAPSHOT_SAVE,   /* what BGSAVE makes: counts as a save */
    SNAPSHOT_REWRITE /* the base of an append log: marked as such (aof-base) */
};
enum snapshot_state { SNAPSHOT_IDLE, SNAPSHOT_CUTTING, SNAPSHOT_RUNNING };
/* Why one is given up. */
enum snapshot_end {
    SNAPSHOT_GOES_ON,
    SNAPSHOT_CANCELLED, /* asked for: neither good nor bad */
    SNAPSHOT_CROWDED,   /* snapshot-memory-limit */
    SNAPSHOT_FAILED     /* the disk */
};

struct snapshot_request {
    enum snapshot_purpose purpose;
    const char *path;   /* where the file is put when it is whole; copied */
    bool set;           /* not that file, but a set of one per shard */
    struct conn *conn;  /* waits until the cut is made; NULL: nobody does */
    const char *told;   /* … and is told this; constant */
    /* The cut is being made: all shards are held, nothing is half done. NULL: nothing to do. */
    void (*at_cut)(struct worker *w, void *ctx);
    /* Thread: P. It is over: 0 and the file is in place, or a negative errno (-ECANCELED: it was
     * given up) and nothing has changed. Also called if no cut could be made (then on the worker).
     * NULL: nobody asks. */
    void (*done)(void *ctx, int rc);
    void *ctx;
};

/* Begins to look for the moment of the cut; -EBUSY: there is one already. Thread: owner. */
int snapshot_start(struct worker *w, const struct snapshot_request *r) WARN_UNUSED;
/* What runs or is about to. Thread: any; a look only. */
enum snapshot_purpose snapshot_purpose_shared(const struct hub *hub);
/* It is given up, soon; nothing if there is none. Thread: any. */
void snapshot_give_up_shared(struct hub *hub, enum snapshot_end why);
/* The same at once: no shard tells anything any more when this returns. All shards are held. */
void snapshot_give_up_held(struct worker *w, enum snapshot_end why);
/* A slice of the own shard's walk; true: there is more that waits for nothing. Thread: owner. */
bool snapshot_step(struct worker *w);
/* Bytes of memory that the snapshot takes beside the data. Thread: any. */
uint64_t snapshot_bytes(const struct hub *hub);
uint64_t snapshot_keys(const struct hub *hub, uint64_t *told);

struct snapshots *snapshots_new(struct hub *hub);
void snapshots_free(struct snapshots *s);

/* ---- P's side (dumper.c) ---- */

/* A bounded piece of writing; true: there is more. Thread: P. */
bool dumper_step(struct persister *p);
/* The workers have gone in the middle of it. Thread: P. */
void dumper_stop(struct persister *p);

/* ---- between the two ---- */

#define SNAPSHOT_CHUNK (128u * 1024u) /* bytes, about: a chunk ends with an entry */
#define SNAPSHOT_IN_FLIGHT 8u         /* chunks of a shard that P may have */

struct snapshot_chunk {
    struct list link;
    struct buf bytes;
    unsigned version; /* of the types in it */
    bool last;        /* of its shard */
    bool big;         /* of the other stream: pieces of one value */
    bool ends_value;  /* … with the last of them */
};

/* A writer, and chunks on their way. Thread: holder; to_p's consumer: P. */
struct snapshot_stream {
    struct snapshot_share *share;
    bool big;
    struct rdb_out *writer;      /* NULL: it takes no part */
    struct snapshot_chunk *open; /* being filled */
    struct list ready;           /* full, P has no room for them yet */
    unsigned in_flight;
    uint64_t cut_at;             /* bytes of the writer when `open` was begun */
    struct mailbox to_p;
};

/* One shard's share: whole entries, and beside them values that come in pieces. While P has begun
 * with one of these it takes nothing else for that file. */
struct snapshot_share {
    /* constant */
    struct hub *hub;
    unsigned id;
    /* holder of the shard */
    struct snapshot_stream plain, big;
    struct list spare;    /* empty chunks */
    bool value_open;      /* pieces are being told */
    uint32_t db;          /* of the last whole key; UINT32_MAX: none in this chunk */
    uint64_t chunk_bytes; /* of all chunks there are */
    struct mailbox home;  /* chunks that P has done with; producer: P */
    /* holder publishes */
    _Alignas(CACHE_LINE) counter running; /* the owner has something to do for it */
    counter bytes, waiting_bytes, keys, told;
};

/* A file on its way: the only one, or a shard's of a set. */
struct snapshot_file {
    struct buf head;     /* what stands before the keys; written between IDLE and RUNNING */
    /* P only */
    struct rdb_out *out; /* NULL: not open */
    struct snapshot_share *value_of; /* whose value is half written; NULL: none is */
};

struct snapshots {
    claim_word state; /* enum snapshot_state */
    counter purpose;
    counter end;      /* enum snapshot_end: why it is to be given up */
    /* written between IDLE and RUNNING by who asked, constant then */
    struct snapshot_request request;
    char *path, *aside;
    struct rdb_out_options options;
    bool late_flush;
    uint64_t dirty;  /* writes that it holds */
    int64_t start_s; /* unix time of the cut */
    uint64_t memory_limit; /* 0: none */
    /* P only */
    struct rdb_disk disk; /* of the only file, */
    struct dumpset set;   /* or of a set */
    bool open;
    unsigned ended;       /* shards that have said their last */
    int error;
    uint64_t bytes_peak;
    /* shared */
    struct snapshot_share *shares; /* by shard */
    struct snapshot_file *files;   /* the only one is the first; of a set: by shard */
};

#endif
