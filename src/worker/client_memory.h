/* What connections take of memory, and maxmemory-clients: which of them are closed when all take
 * too much.
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_CLIENT_MEMORY_H
#define SPLITRING_SRC_WORKER_CLIENT_MEMORY_H

#include "splitring/base/list.h"
#include "splitring/base/types.h"

struct config;
struct conn;
struct hub;
struct worker;

/* Classes by size: below 64 KiB, below 128 KiB, ... the last: 8 GiB and more. As Redis'. */
#define CLIENT_CLASSES 19u

/* Inside struct worker. */
struct client_memory {
    uint64_t limit; /* bytes for the connections of all workers; 0: none */
    uint64_t bytes; /* of all connections here, as they were last looked at */
    struct list classes[CLIENT_CLASSES]; /* conn.class_link: who may be evicted, under a limit */
    struct list grown;                   /* conn.grown_link: to be looked at in this pass */
    bool again;                          /* too much is in use, and another worker is to evict */
    bool complained;                     /* nobody could be evicted, which has been said */
};

void client_memory_init(struct client_memory *m);
/* The settings have changed. */
void client_memory_config(struct worker *w);
/* maxmemory-clients in bytes, whatever it was given in; 0: none. Thread: any. */
uint64_t client_memory_limit(const struct hub *hub, const struct config *config);
/* Looks at the connection again. */
void client_memory_count(struct conn *c);
/* It goes: to another worker, or altogether. */
void client_memory_drop(struct conn *c);
/* It may have grown or shrunk: looked at before the pass ends. */
void client_memory_note_slow(struct conn *c);
/* The end of a pass, when replies have been sent: evicts while clients take too much; true if it
 * goes on at once. */
bool client_memory_step_slow(struct worker *w);

#endif
