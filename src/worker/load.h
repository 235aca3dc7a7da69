/* Loading: what its files know of each other.
 *
 *   load.c      a worker's loader: dumps, the slices of a pass, the end
 *   load_log.c  the append log: which files it is made of, what of them is whole, the end of it
 *   load_run.c  commands of a log, run in order
 *   load_set.c  a dump per shard
 *
 * Thread: owner, unless a function says otherwise. */
#ifndef SPLITRING_SRC_WORKER_LOAD_H
#define SPLITRING_SRC_WORKER_LOAD_H

#include "internal.h"
#include "splitring/persist/aof_file.h"
#include "splitring/persist/dumpset.h"

/* A file of the log. Written by hub_load, then by worker 0 until `looked`; constant afterwards. */
struct load_file {
    char path[600];
    const char *name;   /* in path, behind the folder */
    bool base, last;    /* last: nothing but empty files follow */
    bool rdb;           /* it begins with a dump */
    bool tail;          /* … and commands may follow */
    bool cut, seal;     /* at the end: what is not valid goes; the rest gets its checksum */
    uint64_t size;
    uint64_t commands;  /* where those begin */
    uint64_t valid;     /* up to here it is loaded */
    uint64_t start;     /* bytes of all files before it */
    struct aof_sum sum; /* for seal */
};

/* Up to where a worker has come, over all files, in bytes. */
struct load_place {
    _Alignas(CACHE_LINE) counter at;
};

struct load_plan {
    struct load_file *files;
    unsigned count;
    bool adopts;    /* no log yet, the dump is its first base */
    counter looked; /* 1: worker 0 has found that everything is whole */
    struct load_place *places; /* by worker */
};

struct loader {
    struct rdb_in *in;   /* a dump is read */
    struct aof_in *log;  /* commands are */
    struct aof_scan scan; /* worker 0: … are looked at */
    bool scanning, skipping;
    bool waits;          /* for other workers */
    bool has_item;       /* item is still to be run, */
    uint32_t waits_mask; /* when the workers of these shards have come to it */
    struct aof_item item;
    unsigned file;       /* of the plan */
    const struct dumpset_manifest *set; /* of dumps; NULL: none */
    unsigned part;       /* of the set */
    uint64_t parts_bytes; /* of the parts that were read */
    char *name;          /* of the part that is read */
    int fd;
    struct rdb_limits limits;
    int own;      /* the one shard whose keys are taken; -1: all */
    bool merge;   /* keys that are there already are replaced */
    bool timeless; /* expired ones are taken, too */
    bool tells;   /* writes the log's lines about the file: one of the workers */
    struct ks ks;
    db_id db;     /* of commands */
    struct slice *argv;
    struct key_ref *refs;
    int args_cap;
    struct buf out; /* what nobody reads */
    unsigned errors;
    uint64_t keys, expired, empty;
    uint64_t told_bytes; /* of those in hub.persist.load_bytes */
    int64_t file_us;     /* when it began with the file */
    char why[300];
};

/* What a step came to: 0 there is more, or an errno. */
enum { LOAD_DONE = 1, LOAD_WAITS = 2 };

/* A dump, about so many bytes of it. */
int load_dump_bytes(struct worker *w, struct loader *l, uint64_t bytes);
int load_dump_open(struct loader *l, const char *path, uint32_t databases, bool checksum);

/* Commands up to `valid` of the file; the own shard is held. LOAD_WAITS: for another worker, and
 * nothing may be held meanwhile. */
int load_run_bytes(struct worker *w, struct loader *l, const struct load_file *f, uint64_t bytes);
bool load_run_waits(const struct worker *w, const struct loader *l);
void load_run_end(struct worker *w);

/* A slice of the set's parts. */
int load_set_slice(struct worker *w, struct loader *l, uint64_t bytes);
/* The key may be in the part that is read. */
bool load_set_has(const struct loader *l, struct slice key);
int load_set_refuse(struct loader *l, const struct rdb_item *item); /* it may not */
/* How many of that many keys of the part belong to the shard, about. */
size_t load_set_share(const struct hub *hub, const struct loader *l, shard_id shard, uint64_t keys);
/* Is it a set that is to be loaded? 0; or it has been said why not. */
int load_set_look(const struct config *config, struct dumpset_found *found);
/* The same for the start: 0 there is none, LOAD_DONE it is hub.persist.set, or it has been said. */
int load_set_find(struct hub *hub, const struct config *config);

/* Finds the log's files. 0; or it has been said why not. *found: there is something to load. */
int load_log_find(struct hub *hub, const struct config *config, bool *found);
/* Worker 0: looks at what is there, a slice of it. LOAD_DONE: all is whole, or what is torn may
 * go. */
int load_log_look(struct worker *w, struct loader *l, uint64_t bytes);
/* Everything is loaded by all: the files are made as they have been loaded. */
int load_log_end(struct worker *w);

#endif
