/* Requests of the lock table by short texts: "a" shared, "a!" exclusive, "*" the whole shard, "*!"
 * the whole shard exclusive; several by blanks.
 * Thread: one. */
#ifndef SPLITRING_TESTS_TX_FIXTURE_H
#define SPLITRING_TESTS_TX_FIXTURE_H

#include "splitring/tx/locks.h"

#define ASKS_MAX 64
#define ASK_KEYS_MAX 16

struct ask {
    struct lock_request request; /* first */
    struct lock_node nodes[ASK_KEYS_MAX + 1];
    char name[2];
    struct table *table;
};

struct table {
    struct locks *locks;
    struct ask asks[ASKS_MAX];
    unsigned count;
    char granted[ASKS_MAX + 1]; /* names, in the order of on_granted */
    unsigned granted_count;
    void (*on_granted)(struct table *table, struct ask *ask); /* more to do, or NULL */
};

void table_init(struct table *t);
void table_deinit(struct table *t); /* nothing may be left in it */
/* A new request, named 'A', 'B', … in order; not in the table yet. */
struct ask *ask(struct table *t, const char *keys);
bool try(struct table *t, const char *keys, struct ask **out);
/* Enters it; true: held at once. */
bool enter(struct table *t, const char *keys, struct ask **out);
/* Releases and runs what that lets go; returns the names granted. */
const char *leave(struct table *t, struct ask *ask);
bool unit_may_run(const struct table *t, const char *key); /* "": of no particular key */

#endif
