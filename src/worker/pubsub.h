/* Subscriptions of this worker's connections.
 * Thread: owner, except pubsub_part_run. */
#ifndef SPLITRING_SRC_WORKER_PUBSUB_H
#define SPLITRING_SRC_WORKER_PUBSUB_H

#include "push.h"
#include "topics.h"

struct act_part;
struct call;

struct pubsub *pubsub_new(struct worker *w);
void pubsub_free(struct pubsub *p);

/* SUBSCRIBE and UNSUBSCRIBE, of the channels argv[1..]; none given: UNSUBSCRIBE of all of a kind.
 * The connection waits until the shards know. */
void pubsub_subscribe(struct call *c, enum topic_kind kind);
void pubsub_unsubscribe(struct call *c, enum topic_kind kind);
/* RESET: no subscription is left, then `reply`. False: there was none, nothing is done. */
bool pubsub_reset(struct worker *w, struct conn *c, struct slice reply);
/* This user may listen to everything that the connection listens to. */
struct acl_user;
bool pubsub_allowed(const struct conn *c, const struct acl_user *user);
/* The connection is closing: its subscriptions go, nobody waits for it. */
void pubsub_conn_closed(struct conn *c);
/* Starts and ends what the functions above have put off; holding nothing, between replies. */
void pubsub_step(struct worker *w);
/* Nothing is on its way. */
bool pubsub_idle(const struct worker *w);

/* A part has arrived at its shard, which is held. Thread: holder of the shard. */
void pubsub_part_run(struct worker *w, struct act_part *part);
/* A push has come, in its order. */
void pubsub_deliver(struct worker *w, const struct push_record *r);

#endif
