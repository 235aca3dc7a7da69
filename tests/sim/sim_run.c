/* One schedule. Workers are coroutines that run worker_step() until they wait; the scheduler picks,
 * by the seed, who goes next: a worker that has reason to, a thread, a client that sends its next
 * command, bytes that arrive, a socket that becomes writable, or the clock.
 *
 * A worker may also be stopped in the middle of a pass, while it holds shards (hub.preempt) or
 * sends: what other threads would see then, other coroutines see.
 * Thread: one. */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"
#include "splitring/base/check.h"
#include "splitring/io/os.h"
#include "splitring/config/config.h"

#define STEPS_MAX 60000u

void sim_fail(struct sim *sim, const char *why)
{
    if (!sim->failure[0]) snprintf(sim->failure, sizeof sim->failure, "%s", why);
}

/* ---- workers ---- */

static void preempt(void *ctx)
{
    struct sim *sim = ctx;
    if (rng_below(&sim->rng, 100) < sim->preempt_percent) sim_yield(sim);
}

static void pause_for_holder(unsigned spins)
{
    (void)spins;
    sim_yield(sim_current());
}

static void worker_loop(void *arg)
{
    struct io *io = arg;
    struct sim *sim = io->sim;
    while (worker_step(sim->worker[io->id], sim->clock_us, sim->clock_us, -1)) sim_yield(sim);
}

/* ---- clients ---- */

static bool client_sends(struct sim *sim, struct sim_client *client)
{
    if (client->sent == client->op_count || client->sent - client->answered >= client->depth)
        return false;
    int burst = 1 + (int)rng_below(&sim->rng, 4);
    while (burst-- && client->sent < client->op_count &&
           client->sent - client->answered < client->depth) {
        struct sim_op *op = &client->ops[client->sent++];
        op->invoked = ++sim->tick;
        if (sim->pubsub) sim_pubsub_write(sim, op, &client->out);
        else sim_op_write(sim, op, &client->out);
    }
    return true;
}

static bool client_reads(struct sim *sim, struct sim_client *client)
{
    bool any = false;
    if (sim->pubsub) return sim_pubsub_reads(sim, (unsigned)(client - sim->clients));
    while (client->answered < client->sent) {
        const char *at = client->replies.ptr + client->replies_used;
        struct sim_op *op = &client->ops[client->answered];
        size_t len = sim_op_reply_len(op, at, client->replies.len - client->replies_used);
        if (!len) break;
        client->answered++;
        op->completed = ++sim->tick;
        op->reply = slice_of((const char *)client->replies_used, len); /* an offset until the end */
        client->replies_used += len;
        any = true;
    }
    return any;
}

static bool client_acts(struct sim *sim)
{
    struct sim_client *client = &sim->clients[rng_below(&sim->rng, sim->client_count)];
    if (client->want_write && client->io && rng_below(&sim->rng, 2)) {
        client->want_write = false;
        sim_event(client->io, (struct io_event){.kind = IO_EV_WRITABLE,
                                                .owner = client->sock->owner}, NULL);
        return true;
    }
    if (client_reads(sim, client)) return true;
    if (rng_below(&sim->rng, 2) && client_sends(sim, client)) return true;
    return sim_deliver(sim, client) || client_sends(sim, client);
}

void sim_clients_read(struct sim *sim)
{
    for (unsigned c = 0; c < sim->client_count; c++) (void)client_reads(sim, &sim->clients[c]);
}

static bool all_answered(const struct sim *sim)
{
    for (unsigned c = 0; c < sim->client_count; c++)
        if (sim->clients[c].answered < sim->clients[c].op_count) return false;
    return true;
}

/* ---- the rescuer ----
 *
 * Programs may end with everybody waiting for lists that nobody fills. When nothing moves any more
 * a last client first asks how long the lists are: one that is not empty, with a client waiting for
 * it, is a wake-up lost. Then it fills them. */

static bool waits_for(const struct sim *sim, int list)
{
    for (unsigned c = 0; c + 1 < sim->client_count; c++) {
        const struct sim_client *client = &sim->clients[c];
        if (client->answered == client->sent) continue;
        const struct sim_op *op = &client->ops[client->answered];
        if (!sim_op_blocks(op)) continue;
        int keys = op->kind == SIM_BLMOVE ? 1 : op->key_count;
        for (int i = 0; i < keys; i++)
            if (op->keys[i] == list) return true;
    }
    return false;
}

static void rescuer_adds(struct sim *sim, enum op_kind kind)
{
    struct sim_client *client = &sim->clients[sim->client_count - 1];
    for (int i = 0; i < SIM_LISTS && client->op_count < SIM_RESCUE_MAX; i++) {
        struct sim_op *op = &client->ops[client->op_count++];
        *op = (struct sim_op){.kind = kind, .keys = {SIM_KEYS + i}, .key_count = 1};
        if (kind == SIM_RPUSH) {
            op->value_count = 1;
            op->values[0] = ++sim->next_value;
        }
    }
}

/* True: there is something new to do. */
static bool rescue(struct sim *sim)
{
    struct sim_client *client = &sim->clients[sim->client_count - 1];
    if (client->sent < client->op_count) return client_sends(sim, client);
    if (client->answered < client->op_count || client->op_count == SIM_RESCUE_MAX) return false;
    bool asked = client->op_count && client->ops[client->op_count - 1].kind == SIM_LLEN;
    if (!asked) {
        rescuer_adds(sim, SIM_LLEN);
        return true;
    }
    for (int i = 0; i < SIM_LISTS; i++) {
        const struct sim_op *op = &client->ops[client->op_count - SIM_LISTS + i];
        const char *reply = client->replies.ptr + (uintptr_t)op->reply.ptr;
        if (reply[1] != '0' && waits_for(sim, op->keys[0]))
            sim_fail(sim, "lost wake-up: a client waits for a list that is not empty");
    }
    rescuer_adds(sim, SIM_RPUSH);
    return true;
}

/* ---- the scheduler ---- */

static bool worker_runnable(const struct sim *sim, const struct io *io)
{
    return !io->fiber.finished && (io->event_count || sim_runnable(sim, &io->fiber));
}

static void check_holders(struct sim *sim)
{
    uint32_t held = 0;
    for (unsigned i = 0; i < sim->workers; i++) {
        if (held & worker_held(sim->worker[i])) sim_fail(sim, "two workers hold one shard");
        held |= worker_held(sim->worker[i]);
    }
    if (!held && !hub_locks_audit(sim->hub)) sim_fail(sim, "lock table: someone was overtaken");
}

bool sim_server_step(struct sim *sim)
{
    unsigned all = sim->workers + sim->thread_count;
    unsigned first =
        sim->lockstep ? (unsigned)(sim->turn++ % all) : (unsigned)rng_below(&sim->rng, all);
    for (unsigned n = 0; n < all; n++) {
        unsigned i = (first + n) % all;
        struct sim_fiber *fiber = i < sim->workers ? &sim->ios[i].fiber
                                                   : &sim->threads[i - sim->workers]->fiber;
        if (i < sim->workers ? !worker_runnable(sim, &sim->ios[i]) : !sim_runnable(sim, fiber))
            continue;
        sim_fiber_resume(sim, fiber);
        check_holders(sim);
        return true;
    }
    return false;
}

/* Nothing can happen by itself: time goes on to the next timer; without one, the world has
 * stopped. */
bool sim_advance_clock(struct sim *sim)
{
    int64_t next = -1;
    for (unsigned i = 0; i < sim->workers + sim->thread_count; i++) {
        const struct sim_fiber *fiber = i < sim->workers ? &sim->ios[i].fiber
                                                         : &sim->threads[i - sim->workers]->fiber;
        int64_t until = fiber->wait_until_us;
        if (!fiber->finished && until >= 0 && (next < 0 || until < next)) next = until;
    }
    if (next < 0 || next > sim->clock_us + 20 * 1000 * 1000) return false;
    sim->clock_us = next > sim->clock_us ? next : sim->clock_us + 1;
    return true;
}

static void schedule(struct sim *sim)
{
    int64_t idle_since = 0;
    while (!sim->failure[0] && !sim->died && !all_answered(sim)) {
        if (sim->stop_at && sim->steps >= sim->stop_at) return;
        if (++sim->steps > STEPS_MAX) {
            sim_fail(sim, "no end: livelock or endless work");
            return;
        }
        if (sim->lists && rng_below(&sim->rng, 100) == 0) /* timeouts amid everything */
            sim->clock_us += (int64_t)rng_below(&sim->rng, 4000);
        if (sim->disk && rng_below(&sim->rng, 60) == 0) /* a sync is due each second */
            sim->clock_us += (int64_t)rng_below(&sim->rng, 500000);
        if (!sim->disk && sim->steps % 8 == 0)
            (void)hub_persister_step(sim->hub, sim->clock_us, sim->clock_us);
        bool acted = false;
        unsigned who = (unsigned)rng_below(&sim->rng, 100);
        if (who < (sim->lockstep ? 20 : 40)) acted = client_acts(sim);
        if (!acted) acted = sim_server_step(sim);
        for (unsigned i = 0; !acted && i < 40; i++) acted = client_acts(sim);
        for (unsigned c = 0; !acted && c < sim->client_count; c++)
            acted = sim_deliver(sim, &sim->clients[c]) || client_sends(sim, &sim->clients[c]);
        if (acted) {
            idle_since = sim->clock_us;
            continue;
        }
        bool idle = !sim_advance_clock(sim) || sim->clock_us - idle_since > 30 * 1000 * 1000;
        if (idle && sim->lists && rescue(sim)) idle_since = sim->clock_us;
        else if (idle)
            sim_fail(sim, "stuck: deadlock or lost wake-up");
    }
}

/* Everything has been answered: what is still on its way (releases) arrives, then nothing is
 * left. */
static void settle(struct sim *sim)
{
    for (unsigned i = 0; i < 4000 && sim->pubsub && !sim->failure[0]; i++) {
        client_acts(sim);
        sim_server_step(sim);
    }
    for (unsigned i = 0; i < 2000 && !sim->failure[0]; i++)
        if (!sim_server_step(sim) && hub_quiet(sim->hub)) return;
    if (!sim->failure[0] && !hub_quiet(sim->hub)) sim_fail(sim, "locks or batches left behind");
}

/* ---- set-up ---- */

static void start_worker(struct sim *sim, unsigned i)
{
    struct io *io = &sim->ios[i];
    io->sim = sim;
    io->id = (int)i;
    sim->worker[i] = worker_new(sim->hub, (worker_id)i, io);
    check(worker_listen(sim->worker[i], 10 + (int)i, LISTEN_TCP) == 0);
    sim_fiber_start(&io->fiber, worker_loop, io);
}

static void persist(void *hub) { hub_persister_run(hub); }

bool sim_server_start(struct sim *sim, const struct hub_options *options)
{
    struct hub_options all = *options;
    struct os_thread *thread;
    all.seed = sim->seed;
    all.start_ms = 1;
    all.pause = pause_for_holder;
    all.preempt = preempt;
    all.preempt_ctx = sim;
    sim->workers = options->workers;
    sim->hub = hub_new(&all);
    bool fine = !sim->disk || hub_load(sim->hub) == 0;
    for (unsigned i = 0; i < sim->workers; i++) start_worker(sim, i);
    if (sim->disk) check(os_thread_start(&thread, "P", -1, NULL, persist, sim->hub) == 0);
    return fine;
}

void sim_server_config(struct sim *sim, struct config *config)
{
    config_init(config);
    config->databases = 1;
    config->save.count = 0;
    if (!sim->disk) return;
    config->appendonly = sim->log;
    config->appendfsync = sim->fsync;
    config->aof_rewrite_min_size = 300;
    config->aof_rewrite_percentage = rng_below(&sim->rng, 4) ? 0 : 100;
    config->aof_timestamps = rng_below(&sim->rng, 4) == 0;
    config->busy_reply_threshold_ms = 1000 * 1000 * 1000; /* its clock leaps */
}

void sim_connect(struct sim *sim, unsigned client)
{
    unsigned at = (unsigned)rng_below(&sim->rng, sim->workers);
    sim_event(&sim->ios[at],
              (struct io_event){.kind = IO_EV_ACCEPTED,
                                .fd = 100 + (int)client,
                                .owner = worker_listener(sim->worker[at], 0)},
              NULL);
}

static void start(struct sim *sim, uint32_t faults)
{
    struct config config;
    sim_server_config(sim, &config);
    config.connection_placement =
        faults || rng_below(&sim->rng, 8) ? CONFIG_PLACEMENT_SPREAD : CONFIG_PLACEMENT_PACKED;
    struct hub_options options = {
        .config = &config, .faults = faults,
        .lending = rng_below(&sim->rng, 4) != 0,
        .lend_percent = sim->lend_percent,
        .mailbox_cap = (uint32_t[]){2, 4, 16, 0}[rng_below(&sim->rng, 4)],
    };
    if (faults & FAULT_FULL_BLOCKS) options.mailbox_cap = 1;
    options.workers = 1 + (uint32_t)rng_below(&sim->rng, SIM_WORKERS_MAX);
    if (faults && options.workers == 1) options.workers = 2;
    if (faults & FAULTS_PUSH) options.workers = 3;
    if (!sim_server_start(sim, &options)) sim_fail(sim, "the first start fails");
    config_deinit(&config);
    if (sim->mode == SIM_DISK_FAILS)
        sim_disk_fail(sim->disk, 1 + (unsigned)rng_below(&sim->rng, 60),
                      1 + (unsigned)rng_below(&sim->rng, 3));
    sim_programs(sim);
    for (unsigned c = 0; c < sim->client_count; c++) sim_connect(sim, c);
}

void sim_server_stop(struct sim *sim)
{
    bool told = false;
    hub_stop_shared(sim->hub);
    for (unsigned i = 0; i < 100000 && !sim->died; i++) {
        bool finished = true;
        for (unsigned n = 0; n < sim->workers; n++) finished &= sim->ios[n].fiber.finished;
        if (finished && !told) hub_persister_stop_shared(sim->hub);
        told = finished;
        if (!sim_server_step(sim) && !sim_advance_clock(sim)) break;
    }
    for (unsigned i = 0; i < sim->workers && !sim->died; i++)
        if (!sim->ios[i].fiber.finished) sim_fail(sim, "a worker does not stop");
    for (unsigned i = 0; i < sim->thread_count && !sim->died; i++)
        if (!sim->threads[i]->fiber.finished) sim_fail(sim, "a thread does not stop");
    if (!sim->failure[0] && !sim->died && !hub_quiet(sim->hub))
        sim_fail(sim, "stopped with locks or batches left");
}

void sim_server_free(struct sim *sim)
{
    for (unsigned i = 0; i < sim->workers; i++) {
        sim_fiber_free(&sim->ios[i].fiber);
        worker_free(sim->worker[i]);
        for (unsigned e = 0; e < sim->ios[i].event_count; e++) free(sim->ios[i].buffers[e]);
        for (unsigned e = 0; e < sim->ios[i].given_count; e++) free(sim->ios[i].given[e]);
    }
    for (unsigned i = 0; i < sim->thread_count; i++) {
        sim_fiber_free(&sim->threads[i]->fiber);
        free(sim->threads[i]);
    }
    hub_free(sim->hub);
    sim_disk_free(sim->disk);
    for (unsigned c = 0; c < ARRAY_COUNT(sim->clients); c++) {
        buf_deinit(&sim->clients[c].out);
        buf_deinit(&sim->clients[c].replies);
    }
}

/* ---- a schedule ---- */

static void draw_disk(struct sim *sim, uint32_t faults)
{
    unsigned dice = (unsigned)rng_below(&sim->rng, 10);
    sim->disk = sim_disk_new(&sim->rng);
    sim_disk_set_hook(sim->disk, sim_crash_here, sim);
    sim->log = dice < 8 || faults || sim->mode != SIM_DISK;
    sim->fsync = dice < 6 || sim->mode == SIM_DISK_EACH ? CONFIG_FSYNC_ALWAYS
                                                        : CONFIG_FSYNC_EVERYSEC;
    if (faults && faults != FAULT_SYNC_IGNORED) sim->fsync = CONFIG_FSYNC_ALWAYS;
    sim->crash_percent = sim->mode == SIM_DISK_EACH ? 100 : 3;
}

static void draw(struct sim *sim, uint32_t faults)
{
    bool disk = sim->mode != SIM_MEMORY;
    sim->preempt_percent = (unsigned[]){0, 5, 30}[rng_below(&sim->rng, 3)];
    sim->lockstep = rng_below(&sim->rng, 4) == 0;
    if (faults & FAULTS_PUSH) { /* rare: one worker stops while two others go on */
        sim->preempt_percent = 10;
        sim->lockstep = false;
    }
    if (!faults && rng_below(&sim->rng, 8) == 0) sim->stop_at = 1 + rng_below(&sim->rng, 400);
    sim->lend_percent = (uint32_t[]){100, 50, 10, 1}[rng_below(&sim->rng, 4)];
    if (disk) {
        draw_disk(sim, faults);
        return;
    }
    if (faults & FAULTS_PUSH) sim->lend_percent = 1; /* and so no scripts */
    sim->pubsub = faults ? faults & FAULTS_PUSH : rng_below(&sim->rng, 4) == 0;
}

/* Replies get addresses when the buffers do not grow any more. */
static void place_replies(struct sim *sim)
{
    for (unsigned c = 0; c < sim->client_count; c++)
        for (int i = 0; i < sim->clients[c].answered; i++)
            sim->clients[c].ops[i].reply.ptr =
                sim->clients[c].replies.ptr + (uintptr_t)sim->clients[c].ops[i].reply.ptr;
}

bool sim_run(struct sim *sim, uint64_t seed, enum sim_mode mode, uint32_t faults)
{
    memset(sim, 0, sizeof *sim);
    sim->seed = seed;
    sim->mode = mode;
    sim->faults = faults;
    sim->clock_us = 1000000000;
    sim_set_current(sim);
    rng_seed(&sim->rng, seed);
    draw(sim, faults);
    start(sim, faults);
    schedule(sim);
    bool whole = all_answered(sim) && !sim->died;
    if (!sim->failure[0] && whole) settle(sim);
    if (!sim->failure[0] && whole && sim->pubsub) sim_pubsub_judge(sim);
    if (sim->disk && !sim->failure[0]) { /* what is found afterwards tells more than replies do */
        if (!sim->died) sim_server_stop(sim);
        sim_crash_at_end(sim, !sim->died);
    }
    if (!sim->pubsub) place_replies(sim);
    if (!sim->failure[0] && whole && sim->bank && !sim_sums_right(sim))
        sim_fail(sim, "money was made or lost");
    if (!sim->failure[0] && whole && !sim->pubsub && !sim_serializable(sim))
        sim_fail(sim, "not strictly serializable");
    if (!sim->failure[0] && sim->disk) sim_crashes_judge(sim);
    if (!sim->failure[0] && !sim->disk) sim_server_stop(sim);
    /* A failed or dead world is left as it is: the process ends. */
    if (!sim->failure[0] && !sim->died) sim_server_free(sim);
    return !sim->failure[0];
}
