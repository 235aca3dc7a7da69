/* Commands without keys, refusals, and what else speaks to one connection: the handlers themselves
 * are found by the command table (cmd_ping, cmd_client_list …); a handler reaches its connection by
 * call->conn.
 * Thread: owner. */
#ifndef SPLITRING_SRC_WORKER_LOCAL_H
#define SPLITRING_SRC_WORKER_LOCAL_H

#include "internal.h"
#include "splitring/base/version.h"

/* Changes nothing that a later command of the pipeline could depend on (PING, ECHO, TIME). */
bool local_is_stateless(const struct command *cmd);
/* Looks at its connection only, and briefly: shards may stay held meanwhile. */
bool local_is_quick(const struct command *cmd);
/* Waits for nobody, and EXEC runs it in its turn: what scripts, functions and users there are. */
bool local_at_once(const struct command *cmd);
/* Commands of a connection that a script may give: they wait for nobody. */
bool local_in_scripts(const struct command *cmd);
/* May be given by a RESP2 connection that is subscribed to something. */
bool local_while_subscribed(const struct command *cmd);
/* Unknown command, wrong arity, not authenticated: the error reply. */
void local_refuse(struct worker *w, const struct op *op);
/* A script stands in the way for too long; EXEC is over then. */
void local_reply_busy(struct conn *c, bool is_exec, struct reply *reply);
/* The parser's error is answered and the connection closed after it. */
void conn_protocol_error(struct conn *c);
/* A line of CLIENT LIST, without its end. Thread: the connection's owner. */
void client_describe(const struct conn *c, struct buf *out);
/* A new socket: limits, protected mode, then a connection at this worker or another. */
void local_accept(struct worker *w, int fd, enum listen_kind kind);
/* A socket that another worker accepted for this one: fd << 1 | is-unix. */
void local_adopt_socket(struct worker *w, uintptr_t socket);
struct tls;
struct conn *local_adopt_tls(struct worker *w, struct tls *tls);

#endif
