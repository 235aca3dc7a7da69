/* MONITOR: every command that runs, shown to the connections that asked for it.
 * Thread: the worker, unless a function says otherwise. */
#ifndef SPLITRING_SRC_WORKER_MONITOR_H
#define SPLITRING_SRC_WORKER_MONITOR_H

#include "exec.h"
#include "push.h"

/* Shows a command that has just run, or that holds all its locks. Call it only while
 * w->monitor_mask is not 0. Thread: holder of what x touched. */
void monitor_show(struct worker *w, const struct exec *x);
/* A script that is about to begin: those commands are not shown otherwise. */
void monitor_show_call(struct worker *w, struct conn *client, const struct call *c);
/* The same for a command of a script: `[db lua]`. */
void monitor_show_lua(struct worker *w, db_id db, const struct command *cmd,
                      const struct slice *argv, int argc);
void monitor_deliver(struct worker *w, const struct push_record *r);
/* The connection sees no more (RESET, its end). */
void monitor_leave(struct conn *c);

#endif
