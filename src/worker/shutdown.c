/* SHUTDOWN, SIGTERM and SIGINT.
 *
 * Where save points are configured, or SAVE was asked for, the data is written first, while
 * everything stands still: no write is admitted any more, those admitted have been answered, and
 * what was stopped is not let go again. So nothing that a client was told of is missing from the
 * dump. A save that fails leaves the server running, unless FORCE was given.
 * Source: https://redis.io/docs/latest/commands/shutdown/
 * Thread: owner; the act: holder of all shards. */
#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"

#include <signal.h>

#include "conn.h"
#include "save.h"
#include "splitring/io/log.h"
#include "splitring/io/notify.h"

enum { OPTION_FORCE = 1, OPTION_SIGNAL = 2 };

static bool wants_save(const struct worker *w, unsigned flags)
{
    if (w->loading || flags & CONFIG_SHUTDOWN_NOSAVE) return false;
    return flags & CONFIG_SHUTDOWN_SAVE || w->config->save.count > 0;
}

static void stop(struct hub *hub)
{
    notify_tell("STOPPING=1\n");
    hub_stop_shared(hub);
}

static void act_shutdown(struct worker *w, struct still *s, struct reply *reply)
{
    log_line(LOG_LEVEL_NOTICE, "Saving the final RDB snapshot before exiting.");
    notify_tell("STATUS=Saving the final RDB snapshot\n");
    if (save_in_place(w) != 0 && !(s->options & OPTION_FORCE)) {
        log_line(LOG_LEVEL_WARNING, "Error trying to save the DB, can't exit.");
        notify_tell("STATUS=Error trying to save the DB, can't exit.\n");
        if (s->options & OPTION_SIGNAL)
            log_line(LOG_LEVEL_WARNING, "Errors trying to shut down the server. Check the logs for "
                                        "more information.");
        counter_set(&w->hub->persist.signal, 0);
        reply_error(reply, ERR_SHUTDOWN_FAILED);
        return;
    }
    s->keep = true;
    stop(w->hub);
}

/* What P still puts in place would be older than what is saved now. */
static bool may_shutdown(struct worker *w, struct still *s)
{
    (void)s;
    return save_may(w);
}

/* True: it saves first and stops then. */
static bool save_first(struct worker *w, struct conn *c, unsigned flags, unsigned options)
{
    if (!wants_save(w, flags)) return false;
    if (flags & CONFIG_SHUTDOWN_FORCE) options |= OPTION_FORCE;
    struct still what = {.act = act_shutdown, .options = options, .drain = true,
                         .may = may_shutdown};
    still_start(w, c, &what);
    return true;
}

void cmd_shutdown(struct call *c)
{
    unsigned flags = 0;
    bool abort = false, safe = false, failover = false;
    for (int i = 1; i < c->argc; i++) {
        if (call_is(c, i, "nosave"))
            flags |= CONFIG_SHUTDOWN_NOSAVE;
        else if (call_is(c, i, "save"))
            flags |= CONFIG_SHUTDOWN_SAVE;
        else if (call_is(c, i, "now"))
            flags |= CONFIG_SHUTDOWN_NOW;
        else if (call_is(c, i, "force"))
            flags |= CONFIG_SHUTDOWN_FORCE;
        else if (call_is(c, i, "safe")) /* of a cluster's primaries, which have a vote */
            safe = true;
        else if (call_is(c, i, "failover"))
            failover = true;
        else if (call_is(c, i, "abort"))
            abort = true;
        else {
            reply_error(&c->reply, ERR_SYNTAX);
            return;
        }
    }
    bool both = flags & CONFIG_SHUTDOWN_SAVE && flags & CONFIG_SHUTDOWN_NOSAVE;
    if ((abort && (flags || safe || failover)) || both) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (failover) {
        reply_error(&c->reply, ERR_SHUTDOWN_FAILOVER);
        return;
    }
    if (abort) { /* what could be waited for, replicas, there are none */
        reply_error(&c->reply, ERR_SHUTDOWN_ABORT_NONE);
        return;
    }
    log_line(LOG_LEVEL_WARNING, "User requested shutdown...");
    if (save_first(c->worker, c->conn, flags, 0)) return;
    c->conn->flags |= CONN_CLOSE_AFTER;
    conn_dirty(c->conn);
    stop(c->worker->hub);
}

void shutdown_on_signal(struct worker *w)
{
    struct hub *hub = w->hub;
    int sig = (int)counter_get(&hub->persist.signal);
    const struct config *config = w->config;
    unsigned flags = sig == SIGINT ? config->shutdown_on_sigint : config->shutdown_on_sigterm;
    if (w->loading) {
        log_line(LOG_LEVEL_WARNING, "Received shutdown signal during loading, exiting now.");
    } else {
        log_line(LOG_LEVEL_WARNING, "Received %s scheduling shutdown...",
                 sig == SIGINT ? "SIGINT" : "SIGTERM");
        log_line(LOG_LEVEL_WARNING, "User requested shutdown...");
    }
    if (!save_first(w, NULL, flags, OPTION_SIGNAL)) stop(hub);
}
