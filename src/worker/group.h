/* The hot path: parse a group of commands from ready connections, prefetch, run.
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_GROUP_H
#define SPLITRING_SRC_WORKER_GROUP_H

#include "internal.h"
#include "splitring/cmd/command.h"

struct exec;

struct group *group_new(void);
void group_free(struct group *g);
/* Runs ready connections' commands, at most `groups_max` groups; true if some are still ready. */
bool group_run_all(struct worker *w, unsigned groups_max);
/* What CLIENT PAUSE … WRITE stops: writes, and what Redis would tell replicas. */
static inline bool group_may_replicate(const struct command *cmd)
{
    return cmd->flags & (CMD_WRITE | CMD_MAY_REPLICATE) || cmd->route == ROUTE_CHANNEL;
}
/* An op as something to run. */
void group_exec_of(const struct worker *w, const struct op *op, struct exec *x);

#endif
