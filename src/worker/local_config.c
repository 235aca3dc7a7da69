/* CONFIG GET, SET, REWRITE, RESETSTAT. The language is config's; here is what a changed setting
 * means to a running server.
 *
 * CONFIG SET: tried on a clone by the connection's worker, which also asks the outside world (the
 * directory, the limit of descriptors), so that every refusal comes before anything has changed.
 * Then it is handed to every worker by way of worker 0 (all apply in one order), and answered after
 * the last has applied. Each worker replaces its own copy: no setting is shared while it changes.
 * What belongs to the process (log level, directory) is set by worker 0 alone, in that order.
 * Source: https://redis.io/docs/latest/commands/config-set/
 * Thread: parts: each worker; the rest: the connection's worker. */
#include <errno.h>
#include <stdio.h>

#include "acl.h"
#include "conn.h"
#include "events.h"
#include "fanout.h"
#include "journal_start.h"
#include "local.h"
#include "meter.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/handlers.h"
#include "splitring/io/log.h"
#include "splitring/io/net.h"
#include "splitring/io/os.h"
#include "splitring/io/tls.h"

#define DIR_MAX 4096

/* ---- GET ---- */

static void reply_pair(void *ctx, struct slice name, struct slice value)
{
    struct call *c = ctx;
    struct reply *reply = &c->reply;
    reply_bulk_slice(reply, name);
    /* A share of the memory: who asks expects a number, as Redis gives one. */
    if (value.len && value.ptr[value.len - 1] == '%' && slice_is_word(name, "maxmemory"))
        reply_bulk_int(reply, (int64_t)budget_limit(c->conn->worker->hub,
                                                     c->conn->worker->config));
    else
        reply_bulk_slice(reply, value);
}

void cmd_config_get(struct call *c)
{
    const struct config *config = c->conn->worker->config;
    size_t patterns = (size_t)c->argc - 2;
    reply_map(&c->reply, config_get(config, c->argv + 2, patterns, NULL, NULL));
    config_get(config, c->argv + 2, patterns, reply_pair, c);
}

/* ---- SET ---- */

struct set_request {
    struct buf args;      /* pairs' bytes */
    struct slice *argv;
    size_t count;
    bool client_is_local;
    bool tls;             /* the TLS context is to be made anew */
    char *dir;            /* the new directory as an absolute path; NULL: not changed */
    struct buf error;     /* of the trial */
};

static void set_request_free(void *arg)
{
    struct set_request *r = arg;
    buf_deinit(&r->args);
    buf_deinit(&r->error);
    mem_free(r->dir);
    mem_free(r->argv);
    mem_free(r);
}

static bool same_words(const struct config_words *a, const struct config_words *b)
{
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->words[i], b->words[i]) != 0) return false;
    return true;
}

/* More clients need more descriptors; Redis says how many there could be. */
static bool room_for_clients(const struct worker *w, int64_t maxclients, struct buf *error)
{
    unsigned reserve = 32 + 8 * w->hub->count, got; /* as at start (main.c) */
    int64_t want = maxclients + reserve;
    char reason[160];
    if (os_nofile_raise(want < UINT32_MAX ? (unsigned)want : UINT32_MAX, &got) == 0) return true;
    snprintf(reason, sizeof reason, "The operating system is not able to handle the specified "
             "number of clients, try with %u", got > reserve ? got - reserve : 0);
    config_set_failed(error, "maxclients", reason);
    return false;
}

/* The name of a setting that the context is made of; NULL: it is none. */
static const char *tls_setting(struct slice name)
{
    static const char *const names[] = {
        "tls-cert-file", "tls-key-file", "tls-key-file-pass", "tls-dh-params-file",
        "tls-ca-cert-file", "tls-ca-cert-dir", "tls-protocols", "tls-ciphers", "tls-ciphersuites",
        "tls-auth-clients", "tls-prefer-server-ciphers", "tls-session-caching",
        "tls-session-cache-size", "tls-session-cache-timeout"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (slice_is_word(name, names[i])) return names[i];
    return NULL;
}

/* Files are read again even if their names are the same: they may have been renewed. */
static bool tls_agrees(const struct config *after, struct set_request *r)
{
    const char *name = NULL;
    for (size_t i = 0; i < r->count && !name; i += 2) name = tls_setting(r->argv[i]);
    if (!name) return true;
    struct tls_context *trial = hub_tls_make(after);
    tls_context_free(trial);
    r->tls = true;
    if (trial) return true;
    config_set_failed(&r->error, name,
                      "Unable to update TLS configuration. Check server logs.");
    return false;
}

/* The outside world agrees, or r->error says why not. The directory comes last, because it is left
 * changed. */
static bool world_agrees(const struct worker *w, const struct config *after, struct set_request *r)
{
    static const char fixed[] = "the addresses to listen on are fixed while the server runs, in "
                                "this version of Splitring";
    const struct config *before = w->config;
    const char *address = NULL;
    if (strcmp(after->unixsocket, before->unixsocket) != 0) address = "unixsocket";
    if (!same_words(&after->bind, &before->bind)) address = "bind";
    if (after->port != before->port) address = "port";
    if (after->tls_port != before->tls_port) address = "tls-port";
    if (address) {
        config_set_failed(&r->error, address, fixed);
        return false;
    }
    bool more_clients = after->maxclients > before->maxclients;
    if (more_clients && !room_for_clients(w, after->maxclients, &r->error)) return false;
    if (after->tls_port && !tls_agrees(after, r)) return false;
    if (strcmp(before->dir, after->dir) == 0) return true;
    int rc = os_chdir(after->dir);
    if (rc != 0) {
        config_set_failed(&r->error, "dir", os_error_text(rc));
        return false;
    }
    r->dir = mem_zalloc(DIR_MAX);
    os_cwd(r->dir, DIR_MAX);
    return true;
}

static void apply_to_process(const struct set_request *r, const struct config *after)
{
    if (r->dir) {
        int rc = os_chdir(r->dir);
        if (rc != 0)
            log_line(LOG_LEVEL_WARNING, "Can't chdir to '%s': %s", r->dir, os_error_text(rc));
    }
    log_set_level((enum log_level)after->loglevel);
    log_set_format((enum log_format)after->log_format, (enum log_time)after->log_time);
}

/* Worker 0 accepts, and sees all changes in their order. */
static void apply_tls(struct worker *w, const struct config *after)
{
    struct tls_context *context = hub_tls_make(after);
    if (context) worker_use_tls(w, context); /* else a file has gone since the trial: logged */
}

static bool is_lfu(const struct config *c)
{
    return c->maxmemory_policy == CONFIG_POLICY_ALLKEYS_LFU ||
           c->maxmemory_policy == CONFIG_POLICY_VOLATILE_LFU;
}

static bool sets_password(const struct set_request *r)
{
    for (size_t i = 0; i < r->count; i += 2)
        if (slice_is_word(r->argv[i], "requirepass")) return true;
    return false;
}

/* Each worker: its own copy, changed and put in place as a whole. The outcome is the same
 * everywhere, because all apply the same pairs in the same order to equal copies. */
static void set_part(struct worker *w, struct fanout *f)
{
    const struct set_request *r = f->arg;
    struct config *next = mem_alloc(sizeof *next);
    config_clone(next, w->config);
    bool ok = config_set(next, r->argv, r->count, r->client_is_local, &f->out[w->id]);
    struct config *drop = ok ? w->config : next;
    if (ok) {
        if (r->dir) config_string_set(&next->dir, r->dir);
        if (w->id == 0) apply_to_process(r, next);
        if (w->id == 0 && r->tls) apply_tls(w, next);
        if (w->id == 0 && sets_password(r)) acl_set_requirepass(w->hub, next->requirepass);
        w->config = next;
        worker_config_changed(w);
        worker_hold(w, w->id);
        shard_set_policy(w->shard, is_lfu(next), (uint32_t)next->lfu_log_factor,
                         (uint32_t)next->lfu_decay_time_min);
        events_config(w);
        worker_touched(w, w->id, DBS_ALL); /* candidates are published by the new policy */
        w->quiet = false; /* idle clients may have a timeout now */
        w->quiet_ticks = 0;
    }
    config_deinit(drop);
    mem_free(drop);
    f->number[w->id] = ok;
}

/* Once per directive that changes nothing but what CONFIG GET shows. */
static void log_without_effect(const struct set_request *r)
{
    for (size_t i = 0; i < r->count; i += 2) {
        const char *why = config_without_effect(r->argv[i]);
        if (why)
            log_line(LOG_LEVEL_NOTICE, "CONFIG SET %.*s: accepted without effect (%s)",
                     (int)r->argv[i].len, r->argv[i].ptr, why);
    }
}

/* Redis' warning, word for word. */
static void warn_of_eviction(const struct worker *w, const struct set_request *r)
{
    uint64_t used = budget_used(w->hub), limit = w->budget.limit;
    bool asked = false;
    for (size_t i = 0; i < r->count; i += 2) asked |= slice_is_word(r->argv[i], "maxmemory");
    if (asked && limit && used > limit)
        log_line(LOG_LEVEL_WARNING,
                 "WARNING: the new maxmemory value set via CONFIG SET (%llu) is smaller than the "
                 "current memory usage (%llu). This will result in key eviction and/or the "
                 "inability to accept new write commands depending on the maxmemory-policy.",
                 (unsigned long long)limit, (unsigned long long)used);
}

static void set_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)c;
    const struct buf *error = &f->out[w->id];
    if (f->number[w->id]) {
        log_without_effect(f->arg);
        journal_config_changed(w);
        warn_of_eviction(w, f->arg);
    }
    if (!reply) return;
    if (f->number[w->id])
        reply_ok(reply);
    else
        reply_error_text(reply, error->ptr, error->len);
}

static struct set_request *set_request_new(struct call *c)
{
    struct set_request *r = mem_zalloc(sizeof *r);
    size_t len = 0;
    r->count = (size_t)c->argc - 2;
    r->argv = mem_alloc(r->count * sizeof *r->argv);
    r->client_is_local = net_peer_is_loopback(c->conn->sock.fd);
    for (size_t i = 0; i < r->count; i++) len += c->argv[i + 2].len;
    buf_reserve(&r->args, len + 1);
    for (size_t i = 0; i < r->count && !r->args.failed; i++) {
        r->argv[i] = slice_of(r->args.ptr + r->args.len, c->argv[i + 2].len);
        buf_append_slice(&r->args, c->argv[i + 2]);
    }
    return r;
}

void cmd_config_set(struct call *c)
{
    struct worker *w = c->conn->worker;
    struct set_request *r = set_request_new(c);
    struct config trial;
    config_clone(&trial, w->config);
    bool ok = !r->args.failed &&
              config_set(&trial, r->argv, r->count, r->client_is_local, &r->error) &&
              world_agrees(w, &trial, r);
    config_deinit(&trial);
    if (!ok) {
        if (r->args.failed || r->error.failed)
            reply_error(&c->reply, ERR_NO_MEMORY);
        else
            reply_error_text(&c->reply, r->error.ptr, r->error.len);
        set_request_free(r);
        return;
    }
    struct fanout *f = fanout_new(w, c->conn, set_part, set_done, r);
    f->free_arg = set_request_free;
    fanout_start(f, true);
}

/* ---- REWRITE ---- */

void cmd_config_rewrite(struct call *c)
{
    const struct config *config = c->conn->worker->config;
    struct buf old = {0}, text = {0}, users = {0};
    if (config->config_file[0] == '\0') {
        reply_error(&c->reply, ERR_CONFIG_NO_FILE);
        return;
    }
    int rc = os_file_read(config->config_file, 16u << 20, &old);
    if (rc == 0 || rc == -ENOENT) {
        acl_config_lines(c->conn->worker->hub, config, &users);
        if (!users.ptr) buf_reserve(&users, 1); /* none: those in the file go */
        config_rewrite(config, buf_slice(&old), buf_slice(&users), &text);
        text.failed |= users.failed;
        rc = text.failed ? -ENOMEM : os_file_replace(config->config_file, buf_slice(&text));
    }
    if (rc == 0) {
        log_line(LOG_LEVEL_NOTICE, "CONFIG REWRITE executed with success.");
        reply_ok(&c->reply);
    } else {
        log_line(LOG_LEVEL_WARNING, "CONFIG REWRITE failed: %s", os_error_text(rc));
        reply_errorf(&c->reply, ERR_CONFIG_REWRITE_FAILED, os_error_text(rc));
    }
    buf_deinit(&old);
    buf_deinit(&text);
    buf_deinit(&users);
}

/* ---- RESETSTAT ---- */

/* Counters have one writer each: every worker resets its own, and its shard's under its hold. */
static void resetstat_part(struct worker *w, struct fanout *f)
{
    struct worker_published *p = w->pub;
    (void)f;
    counter *own[] = {&p->commands, &p->connections, &p->rejected, &p->bytes_in, &p->bytes_out,
                      &p->reads, &p->writes, &p->error_replies, &p->sweep_us, &p->passes,
                      &p->defrag[0], &p->defrag[1], &p->defrag[2], &p->defrag[3],
                      &p->defrag_us,
                      &p->groups, &p->sleeps, &p->wakes, &p->ran_local, &p->ran_borrowed,
                      &p->batches, &p->batch_runs, &p->txns, &p->txns_direct, &p->txns_refused,
                      &p->messages_out, &p->messages_in,
                      &p->inbox_max, &p->migrated, &p->protocol_errors, &p->output_kills,
                      &p->query_kills, &p->evicted_clients,
                      &p->acl_denied[0], &p->acl_denied[1], &p->acl_denied[2],
                      &p->acl_denied[3], &p->acl_denied[4]};
    for (size_t i = 0; i < ARRAY_COUNT(own); i++) counter_set(own[i], 0);
    for (size_t i = 0; i < ERROR_CODES; i++) counter_set(&p->errors[i], 0);
    for (size_t id = 0; id < command_count(); id++) {
        counter_set(&p->calls[id], 0);
        counter_set(&p->calls_failed[id], 0);
        counter_set(&p->calls_rejected[id], 0);
        counter_set(&p->nsec[id], 0);
    }
    meter_reset(w);
    w->last_commands = w->last_in = w->last_out = w->seen_commands = 0;
    worker_hold(w, w->id);
    shard_stats_reset(w->shard);
    worker_publish_shard(w, w->id);
}

static void resetstat_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)w;
    (void)f;
    (void)c;
    if (reply) reply_ok(reply);
}

void cmd_config_resetstat(struct call *c)
{
    fanout_start(fanout_new(c->conn->worker, c->conn, resetstat_part, resetstat_done, NULL), true);
}

void cmd_config_help(struct call *c)
{
    static const char *const lines[] = {
        "GET <pattern>", "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>", "    Set the configuration <directive> to <value>.",
        "RESETSTAT", "    Reset statistics reported by the INFO command.",
        "REWRITE", "    Rewrite the configuration file.", NULL};
    call_help(c, lines);
}
