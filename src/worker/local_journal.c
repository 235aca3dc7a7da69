/* BGREWRITEAOF, WAIT, WAITAOF.
 * Source: https://redis.io/docs/latest/commands/bgrewriteaof/, …/wait/, …/waitaof/
 * Thread: owner. */
#include "conn.h"
#include "hold.h"
#include "journal_start.h"
#include "multi.h"
#include "splitring/base/num.h"
#include "splitring/cmd/handlers.h"

void cmd_bgrewriteaof(struct call *c)
{
    if (journal_rewriting(c->worker->hub)) {
        reply_error(&c->reply, ERR_REWRITE_RUNNING);
    } else if (journal_rewrite(c->worker, false)) {
        reply_simple(&c->reply, "Background append only file rewriting started");
    } else {
        journal_rewrite_later(c->worker->hub);
        reply_simple(&c->reply, "Background append only file rewriting scheduled");
    }
}

/* A timeout in milliseconds, 0: for ever. */
static bool parse_timeout(struct call *c, int i, int64_t *until_us)
{
    int64_t ms;
    if (!call_int_or(c, i, &ms, ERR_TIMEOUT_NOT_INT)) return false;
    if (ms < 0) {
        reply_error(&c->reply, ERR_TIMEOUT_NEGATIVE);
        return false;
    }
    bool ever = ms == 0 || ms > INT64_MAX / 2000;
    *until_us = ever ? INT64_MAX : c->worker->mono_us + ms * 1000;
    return true;
}

static bool may_wait(const struct call *c)
{
    return !c->in_script && !(c->conn->multi && c->conn->multi->running) && !c->conn->multi;
}

/* There are no replicas to wait for. */
void cmd_wait(struct call *c)
{
    struct log_wait wait = {.ticket = UINT64_MAX, .for_ever = true};
    int64_t replicas;
    if (!call_int(c, 1, &replicas) || !parse_timeout(c, 2, &wait.until_us)) return;
    if (replicas <= 0 || !may_wait(c))
        reply_int(&c->reply, 0);
    else
        hold_start_wait(c->conn, &wait);
}

void cmd_waitaof(struct call *c)
{
    struct worker *w = c->worker;
    struct log_wait wait = {.aof = true};
    int64_t local, replicas;
    if (!call_int(c, 1, &local)) return;
    if (local < 0 || local > 1) {
        reply_errorf(&c->reply, ERR_OUT_OF_RANGE_BETWEEN, 0LL, 1LL);
        return;
    }
    if (!call_int_range(c, 2, 0, INT64_MAX, &replicas, ERR_OUT_OF_RANGE_POSITIVE)) return;
    if (!parse_timeout(c, 3, &wait.until_us)) return;
    if (local && !w->config->appendonly) {
        reply_error(&c->reply, ERR_WAITAOF_NO_LOG);
        return;
    }
    bool done = journal_on(w->hub) &&
                counter_get_acquire_shared(&w->hub->journal->durable) >= w->hold;
    if (((!local || done) && replicas == 0) || !may_wait(c)) {
        reply_array(&c->reply, 2);
        reply_int(&c->reply, done);
        reply_int(&c->reply, 0);
        return;
    }
    wait.ticket = w->hold;
    wait.for_ever = replicas > 0;
    hold_start_wait(c->conn, &wait);
}
