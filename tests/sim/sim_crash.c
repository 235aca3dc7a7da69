/* Crashes: at moments in which the disk changes it is noted what a power loss would leave, and what
 * clients have been told by then. The world goes on; when it has ended, another server is started
 * on each of these disks, with any number of workers, and its keys are read.
 *
 *   always     all that was answered is there
 *   everysec   what WAITAOF said is there
 *   no log     what SAVE said is there
 *
 * In all of them the state is that of one moment in one order of all commands, which explains every
 * reply as well (sim_model.c): so nothing is there in half, and nothing without what came before.
 * Loading changes the disk, too: it may be cut short by another crash, and then the same is found.
 * Thread: one. */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"
#include "splitring/base/check.h"

#define STEPS_MAX 40000u
#define MOMENTS 4u /* of one schedule, unless every one is looked at */
#define VARIANTS 4u /* … and then so many fates of what was not synced */

/* ---- noting ---- */

static bool told(const struct sim_client *client, const struct sim_op *op, const char *begin)
{
    const char *reply = client->replies.ptr + (uintptr_t)op->reply.ptr;
    return !strncmp(reply, begin, strlen(begin));
}

/* A write for certain: it has its place in the order of the log, behind all that were over. */
static bool surely_writes(const struct sim_client *client, const struct sim_op *op)
{
    static const enum op_kind kinds[] = {SIM_SET, SIM_SETGET, SIM_INCR, SIM_MSET, SIM_MULTI,
                                         SIM_TRANSFER, SIM_MLIST, SIM_RPUSH};
    const char *reply = client->replies.ptr + (uintptr_t)op->reply.ptr;
    if (memmem(reply, op->reply.len, "\n-", 2) || *reply == '-') return false;
    for (unsigned i = 0; i < ARRAY_COUNT(kinds); i++)
        if (op->kind == kinds[i]) return true;
    return false;
}

/* How many of a client's commands must be there. (WAITAOF speaks of what its client wrote.) */
static int durable_of(const struct sim *sim, const struct sim_client *client)
{
    int i = client->answered - 1;
    if (sim->log && sim->fsync == CONFIG_FSYNC_ALWAYS) return client->answered;
    for (; i >= 0; i--) {
        const struct sim_op *op = &client->ops[i];
        if (op->kind == SIM_SAVE && !sim->log && told(client, op, "+OK")) return i + 1;
        if (op->kind == SIM_WAITAOF && told(client, op, "*2\r\n:1")) break;
    }
    while (i >= 0 && !surely_writes(client, &client->ops[i])) i--;
    return i + 1;
}

static struct sim_crash *note(struct sim *sim, unsigned kept_percent)
{
    struct sim_crash *crash = &sim->crashes[sim->crash_count++];
    sim_clients_read(sim);
    *crash = (struct sim_crash){.step = sim->steps, .kept_percent = kept_percent};
    crash->disk = sim_disk_after_crash(sim->disk, &sim->rng, kept_percent);
    for (unsigned c = 0; c < sim->client_count; c++) {
        crash->sent[c] = sim->clients[c].sent;
        crash->answered[c] = sim->clients[c].answered;
        crash->durable[c] = durable_of(sim, &sim->clients[c]);
    }
    return crash;
}

static unsigned draw_kept(struct sim *sim)
{
    static const unsigned dice[] = {0, 0, 10, 50, 90, 100};
    bool fails = sim->mode == SIM_DISK_FAILS; /* no 100: sim_disk.c says why */
    return dice[rng_below(&sim->rng, ARRAY_COUNT(dice) - fails)];
}

void sim_crash_here(void *ctx)
{
    struct sim *sim = ctx;
    bool each = sim->mode == SIM_DISK_EACH;
    unsigned most = each ? SIM_CRASHES_MAX - 1 - VARIANTS : MOMENTS;
    if (sim->crash_count < most && rng_below(&sim->rng, 100) < sim->crash_percent)
        for (unsigned n = 0; n < (each ? VARIANTS : 1); n++) (void)note(sim, draw_kept(sim));
    if (rng_below(&sim->rng, 2)) sim_yield(sim);
}

void sim_crash_at_end(struct sim *sim, bool clean)
{
    if (sim->failure[0]) return;
    struct sim_crash *crash = note(sim, draw_kept(sim));
    if (!clean || !sim->log || sim->mode == SIM_DISK_FAILS) return;
    for (unsigned c = 0; c < sim->client_count; c++) crash->durable[c] = crash->answered[c];
}

/* ---- another server ---- */

/* Until as many replies have come; false: they do not. */
static bool run_until_told(struct sim *r, unsigned replies)
{
    struct sim_client *client = &r->clients[0];
    for (unsigned steps = 0; steps < STEPS_MAX && !r->failure[0] && !r->died; steps++) {
        size_t at = 0, len = 1;
        for (unsigned n = 0; n < replies && len; n++) {
            len = sim_reply_len(client->replies.ptr + at, client->replies.len - at);
            at += len;
        }
        if (len) return true;
        if (client->want_write && client->io) {
            client->want_write = false;
            sim_event(client->io, (struct io_event){.kind = IO_EV_WRITABLE,
                                                    .owner = client->sock->owner}, NULL);
        }
        if (!sim_deliver(r, client) && !sim_server_step(r) && !sim_advance_clock(r)) break;
    }
    return false;
}

static bool run_until_loaded(struct sim *r)
{
    for (unsigned steps = 0; steps < STEPS_MAX && !r->failure[0]; steps++) {
        if (hub_load_failed_shared(r->hub)) return false;
        if (!hub_loading_shared(r->hub)) return true;
        if (!sim_server_step(r) && !sim_advance_clock(r)) break;
    }
    return false;
}

static const char *line_end(const char *p) { return strchr(p, '\n') + 1; }

/* What *p begins with: $len, value. SIM_ABSENT: none. */
static int64_t take_value(const char **p)
{
    bool none = (*p)[1] == '-';
    int64_t value = SIM_ABSENT;
    *p = line_end(*p);
    if (none) return value;
    value = strtoll(*p, NULL, 10);
    *p = line_end(*p);
    return value;
}

static void ask(struct sim *r)
{
    struct buf *out = &r->clients[0].out;
    buf_printf(out, "MGET");
    for (int i = 0; i < SIM_KEYS; i++) buf_printf(out, " %s", r->keys[i]);
    buf_printf(out, " marker\r\n");
    for (int i = 0; i < SIM_LISTS; i++)
        buf_printf(out, "LRANGE %s 0 -1\r\n", r->keys[SIM_KEYS + i]);
}

static void take_answers(struct sim *r, struct sim_state *found, bool *marked)
{
    buf_append(&r->clients[0].replies, "", 1);
    const char *p = line_end(r->clients[0].replies.ptr);
    memset(found, 0, sizeof *found);
    for (int i = 0; i < SIM_KEYS; i++) found->values[i] = take_value(&p);
    *marked = take_value(&p) != SIM_ABSENT;
    for (int i = 0; i < SIM_LISTS; i++) {
        long len = strtol(p + 1, NULL, 10);
        p = line_end(p);
        check(len < SIM_LIST_LEN_MAX);
        found->lens[i] = (uint8_t)len;
        for (long n = 0; n < len; n++) found->lists[i][n] = (uint8_t)take_value(&p);
    }
    r->clients[0].replies.len = 0;
}

static struct sim *world_on(const struct sim *sim, struct sim_disk *disk, uint64_t salt)
{
    struct sim *r = calloc(1, sizeof *r);
    r->seed = sim->seed + salt;
    r->mode = SIM_DISK;
    r->clock_us = sim->clock_us + 1000000;
    rng_seed(&r->rng, sim->seed * 977 + salt);
    r->disk = disk;
    sim_disk_set_hook(disk, sim_crash_here, r);
    r->log = sim->log;
    r->fsync = CONFIG_FSYNC_ALWAYS;
    r->faults = sim->faults;
    r->crash_percent = 10; /* while it loads */
    r->client_count = 1;
    memcpy(r->keys, sim->keys, sizeof r->keys);
    return r;
}

/* Starts a server on the disk, which is its own then, and reads everything. */
static struct sim *server_on(const struct sim *sim, struct sim_disk *disk, uint64_t salt,
                             struct sim_state *found, bool *marked)
{
    struct sim *r = world_on(sim, disk, salt);
    struct config config;
    sim_set_current(r);
    sim_server_config(r, &config);
    struct hub_options options = {.config = &config, .lending = true, .lend_percent = 100,
                                  .faults = r->faults,
                                  .workers = 1 + (uint32_t)rng_below(&r->rng, SIM_WORKERS_MAX)};
    bool fine = sim_server_start(r, &options);
    config_deinit(&config);
    if (!fine || !run_until_loaded(r)) {
        sim_fail(r, "no server starts on what the crash left");
        return r;
    }
    r->crash_percent = 0;
    sim_connect(r, 0);
    ask(r);
    if (run_until_told(r, 1 + SIM_LISTS)) take_answers(r, found, marked);
    else sim_fail(r, "the server on what the crash left does not answer");
    return r;
}

static void end_server(struct sim *sim, struct sim *r)
{
    if (!r->failure[0]) sim_server_stop(r);
    if (r->failure[0]) sim_fail(sim, r->failure);
    for (unsigned i = 0; i < r->crash_count; i++) sim_disk_free(r->crashes[i].disk);
    if (!r->failure[0]) sim_server_free(r);
    if (!r->failure[0]) free(r);
    sim_set_current(sim);
}

/* ---- judging ---- */

/* A server that loaded nothing to its end has told nobody: what is found need not be the same. */
static void again(struct sim *sim, const struct sim_crash *crash, struct sim_disk *disk,
                  uint64_t salt)
{
    struct sim_state found;
    bool marked = false;
    struct sim *r = server_on(sim, disk, salt, &found, &marked);
    if (!r->failure[0] && !sim_crash_explained(sim, crash, &found))
        sim_fail(r, "after a crash while a log was loaded: lost, torn or made up");
    end_server(sim, r);
}

static void same_again(struct sim *sim, struct sim_disk *disk, uint64_t salt,
                       const struct sim_state *first)
{
    struct sim_state found;
    bool marked = false;
    struct sim *r = server_on(sim, disk, salt, &found, &marked);
    if (!r->failure[0] && memcmp(first, &found, sizeof found) != 0)
        sim_fail(r, "what was loaded once is not loaded again");
    if (!r->failure[0] && !marked) sim_fail(r, "what was written after a crash is not loaded");
    end_server(sim, r);
}

/* The first server is written to, and lost as well; perhaps while it loads. */
static void crash_again(struct sim *sim, const struct sim_crash *crash, struct sim *r,
                        uint64_t salt, const struct sim_state *found)
{
    if (rng_below(&r->rng, 3) && sim->mode != SIM_DISK_EACH) return;
    unsigned count = r->crash_count < 2 ? r->crash_count : 2;
    for (unsigned i = 0; i < count && !sim->failure[0]; i++) {
        struct sim_disk *disk = r->crashes[i].disk;
        r->crashes[i].disk = NULL;
        again(sim, crash, disk, salt + 1 + i);
    }
    sim_set_current(r);
    buf_printf(&r->clients[0].out, "SET marker 1\r\n");
    if (!run_until_told(r, 1)) {
        sim_fail(r, "the server on what the crash left takes no writes");
    } else if (sim->log && !sim->failure[0]) {
        struct sim_disk *disk = sim_disk_after_crash(r->disk, &r->rng, draw_kept(r));
        same_again(sim, disk, salt + 4, found);
        sim_set_current(r);
    }
}

void sim_crashes_judge(struct sim *sim)
{
    for (unsigned i = 0; i < sim->crash_count; i++) {
        struct sim_crash *crash = &sim->crashes[i];
        struct sim_state found;
        bool marked = false;
        struct sim_disk *disk = crash->disk;
        crash->disk = NULL;
        if (sim->failure[0]) {
            sim_disk_free(disk);
            continue;
        }
        uint64_t salt = 1000 + 8 * i;
        bool loud = getenv("SPLITRING_SIM_HISTORY") != NULL;
        struct sim_disk *kept = loud ? sim_disk_after_crash(disk, &sim->rng, 100) : NULL;
        struct sim *r = server_on(sim, disk, salt, &found, &marked);
        if (!r->failure[0] && !sim_crash_explained(sim, crash, &found))
            sim_fail(r, "after a crash: lost, torn or made up");
        if (!r->failure[0]) crash_again(sim, crash, r, salt, &found);
        if (kept && (r->failure[0] || sim->failure[0])) {
            fprintf(stderr, "crash %u of %u, at step %llu, %u %% kept\n", i + 1, sim->crash_count,
                    (unsigned long long)crash->step, crash->kept_percent);
            for (unsigned c = 0; c < sim->client_count; c++)
                fprintf(stderr, "client %u: %d sent, %d answered, %d durable\n", c,
                        crash->sent[c], crash->answered[c], crash->durable[c]);
            for (int k = 0; k < SIM_KEYS; k++)
                fprintf(stderr, "%s = %lld\n", sim->keys[k], (long long)found.values[k]);
            sim_disk_print(kept);
        }
        sim_disk_free(kept);
        end_server(sim, r);
    }
}
