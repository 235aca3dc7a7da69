/* (database, key) → list of nodes, for one shard: who waits for a key (block.c), who watches it
 * (watch.c). A key is known here as long as its list is not empty.
 * Thread: holder of the shard. */
#ifndef SPLITRING_SRC_WORKER_KEYED_H
#define SPLITRING_SRC_WORKER_KEYED_H

#include "splitring/base/list.h"
#include "splitring/base/slice.h"

struct keyed_list {
    struct list nodes;
    struct list mark; /* the caller's: a list of marked keys */
    uint32_t nokey;   /* the caller's: nodes that are told of the key's end, too */
    uint32_t turn;    /* the caller's: among marked keys of several shards; 0: after all others */
    struct keyed_list *next;
    uint64_t hash;
    db_id db;
    bool busy; /* being walked: not dropped */
    size_t key_len;
    char key[];
};

struct keyed {
    struct keyed_list **buckets; /* chained; a power of two */
    uint32_t bucket_count, count;
};

void keyed_init(struct keyed *keyed);
void keyed_deinit(struct keyed *keyed); /* must be empty */
/* hash: hash_key(key, the shard's seed). NULL: nobody. */
struct keyed_list *keyed_find(const struct keyed *keyed, uint64_t hash, db_id db,
                              struct slice key);
struct keyed_list *keyed_take(struct keyed *keyed, uint64_t hash, db_id db, struct slice key);
void keyed_drop_if_empty(struct keyed *keyed, struct keyed_list *list);
/* Every list of the database. The callback must not add or drop. */
void keyed_each(const struct keyed *keyed, db_id db,
                void (*visit)(void *ctx, struct keyed_list *list), void *ctx);

#endif
