/* The hot path: parse a group of commands from ready connections, prefetch, run.
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_GROUP_H
#define SPLITRING_SRC_WORKER_GROUP_H

#include "internal.h"

struct exec;

struct group *group_new(void);
void group_free(struct group *g);
/* Runs ready connections' commands, at most `groups_max` groups; true if some are still ready. */
bool group_run_all(struct worker *w, unsigned groups_max);
/* An op as something to run. */
void group_exec_of(const struct worker *w, const struct op *op, struct exec *x);

#endif
