/* One client thread of server_stress: random requests, pipelined, and what their replies must be.
 * Thread: each actor its own; what they share is said. */
#ifndef SPLITRING_TESTS_ACTOR_H
#define SPLITRING_TESTS_ACTOR_H

#include "client.h"
#include "ring.h"
#include "splitring/base/rng.h"

#define ACTORS 4u
#define COUNTERS 16u /* INCR */
#define GROUPS 4u    /* four keys each, one per shard, written together or not at all */
#define GROUP_KEYS 4u
#define PAIRS 4u     /* two keys in two shards, of which exactly one exists: RENAME to and fro */

enum mode {
    MODE_EXACT, /* nothing flushes db 0: counters and pairs are exact */
    MODE_FLUSH, /* FLUSHALL among the commands */
    MODE_STORM  /* the server stops in the middle: nothing but surviving is expected */
};

/* constant while actors run */
struct names {
    char counters[COUNTERS][16];
    char groups[GROUPS][GROUP_KEYS][16];
    char pairs[PAIRS][2][16];
    char marks[ACTORS][2][16]; /* written in this order by each actor: order over two shards */
};

struct actor {
    const struct names *names;
    enum mode mode;
    unsigned id;
    int port;
    int64_t until_us;
    struct rng rng;
    struct client client;
    int64_t unique;
    int64_t mark;
    uint64_t counted[COUNTERS]; /* INCRs that were answered */
    int64_t last_seen[COUNTERS];
    uint64_t requests, bursts, kills, visits;
    bool gone; /* the server has closed: only in MODE_STORM */
};

void names_init(struct names *names, uint32_t workers);
/* Keys that must exist before the actors start, and the sums after they have ended. */
void names_prepare(const struct names *names, int port);
void names_check(const struct names *names, int port, const struct actor *actors);
void actor_run(void *actor);

#endif
