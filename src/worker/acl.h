/* Who a connection is and what it may do: the server's users, shared by all workers, and their log.
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_ACL_H
#define SPLITRING_SRC_WORKER_ACL_H

#include "splitring/acl/acl.h"

#include "internal.h"

struct acl_store;

/* ---- the users. Thread: any ---- */

struct acl_store *acl_store_new(const struct config *config); /* requirepass, nothing else yet */
void acl_store_free(struct acl_store *store);
/* The users as they are now: a reference. */
struct acl_set *acl_take(struct hub *hub);
/* `next` (a reference is spent, NULL is fine) takes the place of `seen`, unless somebody was
 * faster. */
bool acl_swap(struct hub *hub, const struct acl_set *seen, struct acl_set *next);
uint64_t acl_generation(const struct hub *hub);
/* requirepass was set. */
void acl_set_requirepass(struct hub *hub, const char *password);
/* The file's users instead of those there are. False: *error says why, as ACL LOAD does. */
bool acl_load_file(struct hub *hub, const struct config *config, struct buf *error);
/* What CONFIG REWRITE writes for them: lines, or nothing where the other settings say it all. */
void acl_config_lines(struct hub *hub, const struct config *config, struct buf *out);

/* ---- connections. Thread: owner ---- */

/* The worker's own look at the users is replaced by the newest one, and its connections follow: who
 * has lost his account, or a channel that he listens to, is closed; `actor` (may be NULL) after its
 * reply. */
void acl_refresh_slow(struct worker *w, struct conn *actor);
static inline void acl_refresh(struct worker *w)
{
    if (unlikely(acl_generation(w->hub) != w->acl_generation)) acl_refresh_slow(w, NULL);
}
/* Others do the same, then `done` replies. */
void acl_tell_all(struct call *c, enum error_id error, int64_t number);
void acl_free(struct worker *w);

void acl_conn_init(struct conn *c);    /* the default user, if that needs no password */
void acl_conn_deinit(struct conn *c);
void acl_conn_reset(struct conn *c);   /* as it was at first: RESET */
void acl_conn_adopted(struct conn *c); /* it came from another worker */
/* AUTH and HELLO: false: wrong, and it has been logged. */
bool acl_conn_login(struct conn *c, const struct slice *argv, struct slice user,
                    struct slice password);

/* ---- judging. Thread: owner ---- */

/* Of a connection that is not CONN_FREE: true: op->error says why it may not run. */
bool acl_refuses(struct worker *w, struct op *op);
/* …, of a command that was queued, or waits: true: the error has been written. */
bool acl_refuses_now(struct conn *c, const struct command *cmd, const struct slice *argv, int argc,
                     struct reply *reply);
/* …, inside a script. */
bool acl_refuses_script(struct conn *c, const struct command *cmd, const struct slice *argv,
                        int argc, struct reply *reply);
/* The reply of an op that was refused, and its entry in the log. */
void acl_reply_refusal(struct worker *w, const struct op *op, struct reply *reply);
/* The call may not go to keys that it does not name. */
bool acl_keys_limited(const struct conn *c, const struct command *cmd, const struct slice *argv,
                      int argc);

/* ---- the log (acl_log.c) ---- */

enum acl_context { ACL_TOPLEVEL, ACL_MULTI, ACL_LUA };

struct acl_log;
struct acl_log *acl_log_new(void);
void acl_log_free(struct acl_log *log);
/* Thread: the connection's owner; counts it, too. */
void acl_log_note(struct conn *c, enum acl_verdict why, enum acl_context context,
                  struct slice object, struct slice user);
/* Thread: any. */
void acl_log_reply(struct hub *hub, size_t count, instant_ms now, struct reply *reply);
void acl_log_clear(struct hub *hub);
struct acl_log *acl_log_of(const struct hub *hub);

#endif
