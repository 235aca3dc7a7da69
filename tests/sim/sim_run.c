/* One schedule. Workers are coroutines that run worker_step() until they wait; the scheduler picks,
 * by the seed, who goes next: a worker that has reason to, a client that sends its next command,
 * bytes that arrive, a socket that becomes writable, or the clock.
 *
 * A worker may also be stopped in the middle of a pass, while it holds shards (hub.preempt) or
 * sends: what other threads would see then, other coroutines see.
 * Thread: one. */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"
#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/config/config.h"

#define STEPS_MAX 60000u
#define STACK_SPARE (32 * 1024) /* of each coroutine's stack nobody may ever have touched */
#define STACK_PAINT 0x5A

void sim_fail(struct sim *sim, const char *why)
{
    if (!sim->failure[0]) snprintf(sim->failure, sizeof sim->failure, "%s", why);
}

/* ---- coroutines ----
 *
 * AddressSanitizer is told of every change of stacks: Lua leaves C frames behind when it throws or
 * yields, whose marks are wiped only from a stack whose bounds are known. */

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define leave_stack(fake, to, size) __sanitizer_start_switch_fiber(fake, to, size)
#define enter_stack(fake, from, size) __sanitizer_finish_switch_fiber(fake, from, size)
#else
#define leave_stack(fake, to, size) ((void)(fake))
#define enter_stack(fake, from, size) ((void)(fake))
#endif

void sim_yield(struct sim *sim)
{
    struct io *self = sim->running;
    void *fake = NULL;
    leave_stack(&fake, sim->stack, sim->stack_size);
    swapcontext(&self->context, &sim->scheduler);
    enter_stack(fake, &sim->stack, &sim->stack_size);
}

static void preempt(void *ctx)
{
    struct sim *sim = ctx;
    if (rng_below(&sim->rng, 100) < sim->preempt_percent) sim_yield(sim);
}

/* hub.pause has no context: the simulator running on this thread. */
static struct sim *current;

static void pause_for_holder(unsigned spins)
{
    (void)spins;
    sim_yield(current);
}

static void worker_loop(unsigned lo, unsigned hi)
{
    struct io *io = (struct io *)((uintptr_t)lo | (uintptr_t)hi << 32);
    struct sim *sim = io->sim;
    enter_stack(NULL, &sim->stack, &sim->stack_size);
    while (worker_step(sim->worker[io->id], sim->clock_us, sim->clock_us, -1)) sim_yield(sim);
    io->finished = true;
    sim_yield(sim);
}

static void resume(struct sim *sim, struct io *io)
{
    void *fake = NULL;
    sim->running = io;
    leave_stack(&fake, io->stack, SIM_STACK);
    swapcontext(&sim->scheduler, &io->context);
    enter_stack(fake, NULL, NULL);
}

/* ---- programs ---- */

static void program_list_op(struct sim *sim, struct sim_op *op)
{
    static const enum op_kind dice[] = {
        SIM_RPUSH, SIM_RPUSH, SIM_RPUSH, SIM_RPUSH, SIM_LPOP, SIM_LLEN, SIM_LMOVE, SIM_LMPOP,
        SIM_BLPOP, SIM_BLPOP, SIM_BLMOVE, SIM_BLMOVE, SIM_BLMPOP, SIM_MLIST, SIM_MLIST};
    op->kind = dice[rng_below(&sim->rng, ARRAY_COUNT(dice))];
    bool move = op->kind == SIM_LMOVE || op->kind == SIM_BLMOVE;
    bool many = op->kind == SIM_LMPOP || op->kind == SIM_BLPOP || op->kind == SIM_BLMPOP;
    op->key_count = move ? 2 : many ? 1 + (int)rng_below(&sim->rng, SIM_LISTS) : 1;
    if (op->kind == SIM_MLIST) op->key_count = SIM_LISTS;
    int first = (int)rng_below(&sim->rng, SIM_LISTS);
    for (int i = 0; i < op->key_count; i++) op->keys[i] = SIM_KEYS + (first + i) % SIM_LISTS;
    if (op->kind == SIM_MLIST && rng_below(&sim->rng, 3) == 0) op->keys[1] = op->keys[0];
    if (sim_op_blocks(op) && rng_below(&sim->rng, 3) == 0)
        op->timeout_ms = 1 + (int)rng_below(&sim->rng, 20);
    if (op->kind == SIM_RPUSH) op->value_count = 1 + (int)rng_below(&sim->rng, 2);
    if (op->kind == SIM_MLIST)
        for (int i = 0; i < 2; i++) op->values[i] = ++sim->next_value;
    for (int i = 0; i < op->value_count; i++) op->values[i] = ++sim->next_value;
}

/* Accounts in any order, so on any shards. */
static void program_bank_op(struct sim *sim, struct sim_op *op)
{
    static const enum op_kind dice[] = {SIM_TRANSFER, SIM_TRANSFER, SIM_LOOK, SIM_MGET, SIM_MGET};
    op->kind = dice[rng_below(&sim->rng, ARRAY_COUNT(dice))];
    op->key_count = op->kind == SIM_TRANSFER ? 2 : SIM_ACCOUNTS;
    int first = (int)rng_below(&sim->rng, SIM_ACCOUNTS), step = 1 + (int)rng_below(&sim->rng, 2);
    for (int i = 0; i < op->key_count; i++) op->keys[i] = (first + i * step) % SIM_ACCOUNTS;
    op->values[0] = 1 + (int64_t)rng_below(&sim->rng, 9);
}

static void program_op(struct sim *sim, struct sim_op *op, int64_t *unique)
{
    /* the many-key kinds come often: they are what is tested */
    static const enum op_kind dice[] = {
        SIM_GET, SIM_GET, SIM_GET, SIM_SET, SIM_SET, SIM_SETGET, SIM_INCR, SIM_DEL, SIM_MGET,
        SIM_MGET, SIM_MGET, SIM_MSET, SIM_MSET, SIM_MSET, SIM_MSETNX, SIM_EXISTS, SIM_RENAME,
        SIM_COPY, SIM_DBSIZE, SIM_PING, SIM_MULTI, SIM_MULTI, SIM_CAS, SIM_CAS};
    static const enum op_kind script_dice[] = {SIM_MULTI, SIM_MULTI, SIM_MULTI, SIM_MGET, SIM_GET};
    if (sim->lists && rng_below(&sim->rng, 4)) {
        program_list_op(sim, op);
        return;
    }
    if (sim->bank) {
        program_bank_op(sim, op);
        return;
    }
    op->kind =
        rng_below(&sim->rng, 60) ? dice[rng_below(&sim->rng, ARRAY_COUNT(dice))] : SIM_FLUSHALL;
    if (sim->scripts && rng_below(&sim->rng, 3) == 0)
        op->kind = script_dice[rng_below(&sim->rng, ARRAY_COUNT(script_dice))];
    op->key_count = 1;
    switch (op->kind) {
    case SIM_MGET: case SIM_MSET: case SIM_MSETNX: case SIM_EXISTS: case SIM_DEL:
        op->key_count = 1 + (int)rng_below(&sim->rng, 3);
        break;
    case SIM_RENAME: case SIM_COPY: case SIM_CAS: op->key_count = 2; break;
    case SIM_MULTI: op->key_count = 3; break;
    case SIM_DBSIZE: case SIM_FLUSHALL: case SIM_PING: op->key_count = 0; break;
    default: break;
    }
    int first = (int)rng_below(&sim->rng, SIM_KEYS);
    int stride = 1 + (int)rng_below(&sim->rng, SIM_KEYS / 2 - 1); /* different keys, any order */
    for (int i = 0; i < op->key_count; i++) {
        op->keys[i] = (first + i * stride) % SIM_KEYS;
        op->values[i] = ++*unique * 1000;
    }
}

/* RENAME and LMPOP reply otherwise to a script: an error with its name, no null array. */
static bool may_be_script(enum op_kind kind)
{
    return kind != SIM_CAS && kind != SIM_RENAME && (kind <= SIM_LMOVE);
}

static void wrap_op(struct sim *sim, struct sim_op *op)
{
    bool multi = op->kind >= SIM_MULTI && op->kind <= SIM_MLIST;
    if (!sim->scripts || !may_be_script(op->kind) || rng_below(&sim->rng, 4) >= (multi ? 3 : 1))
        return;
    op->wrap = rng_below(&sim->rng, 4) ? WRAP_SCRIPT : WRAP_SCRIPT_IN_MULTI;
    op->declared = (int)rng_below(&sim->rng, (uint64_t)op->key_count + 1);
    op->variant = (int)rng_below(&sim->rng, 64);
    op->turns_at = (int)rng_below(&sim->rng, 4);
    if (rng_below(&sim->rng, 2)) op->turns = 20000; /* two pulses: it may pause */
}

/* Key names that spread over the shards. */
static void name_keys(struct sim *sim)
{
    unsigned n = 0;
    for (int i = 0; i < SIM_KEYS + SIM_LISTS; i++)
        for (unsigned want = (unsigned)i % sim->workers;;) {
            snprintf(sim->keys[i], sizeof sim->keys[i], "k%u", n++);
            if (hash_slot(slice_str(sim->keys[i])) * sim->workers / SLOT_COUNT == want) break;
        }
}

static void programs(struct sim *sim)
{
    int64_t unique = 0;
    if (sim->pubsub) {
        sim_pubsub_programs(sim);
        return;
    }
    sim->lists = rng_below(&sim->rng, 2);
    sim->bank = rng_below(&sim->rng, 4) == 0;
    /* a script wants all shards at once: at 1 in 100 each, that is never */
    sim->scripts = rng_below(&sim->rng, 2) && sim->lend_percent > 1;
    sim->client_count = 2 + (unsigned)rng_below(&sim->rng, SIM_CLIENTS_MAX - 1);
    for (unsigned c = 0; c < sim->client_count; c++) {
        struct sim_client *client = &sim->clients[c];
        client->op_count = 3 + (int)rng_below(&sim->rng, SIM_OPS_MAX - 2);
        client->depth = 1 + (int)rng_below(&sim->rng, 8);
        for (int i = 0; i < client->op_count; i++) {
            program_op(sim, &client->ops[i], &unique);
            wrap_op(sim, &client->ops[i]);
        }
    }
    sim->clients[sim->client_count++].depth = SIM_RESCUE_MAX;
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

static bool runnable(const struct sim *sim, const struct io *io)
{
    if (io->finished) return false;
    if (!io->waiting || io->woken || io->event_count) return true;
    return io->wait_until_us >= 0 && io->wait_until_us <= sim->clock_us;
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

static bool step_worker(struct sim *sim)
{
    unsigned first = sim->lockstep ? (unsigned)(sim->turn++ % sim->workers)
                                   : (unsigned)rng_below(&sim->rng, sim->workers);
    for (unsigned n = 0; n < sim->workers; n++) {
        struct io *io = &sim->ios[(first + n) % sim->workers];
        if (!runnable(sim, io)) continue;
        resume(sim, io);
        check_holders(sim);
        return true;
    }
    return false;
}

/* Nothing can happen by itself: time goes on to the next timer; without one, the world has
 * stopped. */
static bool advance_clock(struct sim *sim)
{
    int64_t next = -1;
    for (unsigned i = 0; i < sim->workers; i++) {
        int64_t until = sim->ios[i].wait_until_us;
        if (!sim->ios[i].finished && until >= 0 && (next < 0 || until < next)) next = until;
    }
    if (next < 0 || next > sim->clock_us + 20 * 1000 * 1000) return false;
    sim->clock_us = next > sim->clock_us ? next : sim->clock_us + 1;
    return true;
}

static void schedule(struct sim *sim)
{
    int64_t idle_since = 0;
    while (!sim->failure[0] && !all_answered(sim)) {
        if (sim->stop_at && sim->steps >= sim->stop_at) return;
        if (++sim->steps > STEPS_MAX) {
            sim_fail(sim, "no end: livelock or endless work");
            return;
        }
        if (sim->lists && rng_below(&sim->rng, 100) == 0) /* timeouts amid everything */
            sim->clock_us += (int64_t)rng_below(&sim->rng, 4000);
        if (sim->steps % 8 == 0)
            (void)hub_persister_step(sim->hub, sim->clock_us, sim->clock_us);
        bool acted = false;
        unsigned who = (unsigned)rng_below(&sim->rng, 100);
        if (who < (sim->lockstep ? 20 : 40)) acted = client_acts(sim);
        if (!acted) acted = step_worker(sim);
        for (unsigned i = 0; !acted && i < 40; i++) acted = client_acts(sim);
        for (unsigned c = 0; !acted && c < sim->client_count; c++)
            acted = sim_deliver(sim, &sim->clients[c]) || client_sends(sim, &sim->clients[c]);
        if (acted) {
            idle_since = sim->clock_us;
            continue;
        }
        bool idle = !advance_clock(sim) || sim->clock_us - idle_since > 30 * 1000 * 1000;
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
        step_worker(sim);
    }
    for (unsigned i = 0; i < 2000 && !sim->failure[0]; i++)
        if (!step_worker(sim) && hub_quiet(sim->hub)) return;
    if (!sim->failure[0] && !hub_quiet(sim->hub)) sim_fail(sim, "locks or batches left behind");
}

/* ---- set-up ---- */

static void start_worker(struct sim *sim, unsigned i)
{
    struct io *io = &sim->ios[i];
    io->sim = sim;
    io->id = (int)i;
    io->stack = mem_alloc(SIM_STACK);
    memset(io->stack, STACK_PAINT, STACK_SPARE);
    sim->worker[i] = worker_new(sim->hub, (worker_id)i, io);
    check(worker_listen(sim->worker[i], 10 + (int)i, LISTEN_TCP) == 0);
    getcontext(&io->context);
    io->context.uc_stack.ss_sp = io->stack;
    io->context.uc_stack.ss_size = SIM_STACK;
    io->context.uc_link = &sim->scheduler;
    uintptr_t at = (uintptr_t)io;
    makecontext(&io->context, (void (*)(void))worker_loop, 2, (unsigned)at, (unsigned)(at >> 32));
}

static void start(struct sim *sim, uint32_t faults)
{
    struct config config;
    config_init(&config);
    config.databases = 1;
    config.save.count = 0; /* its files cannot be written: writes would be refused (MISCONF) */
    config.connection_placement =
        faults || rng_below(&sim->rng, 8) ? CONFIG_PLACEMENT_SPREAD : CONFIG_PLACEMENT_PACKED;
    struct hub_options options = {
        .config = &config, .seed = sim->seed, .start_ms = 1, .pause = pause_for_holder,
        .preempt = preempt, .preempt_ctx = sim, .faults = faults,
        .lending = rng_below(&sim->rng, 4) != 0,
        .lend_percent = sim->lend_percent,
        .mailbox_cap = (uint32_t[]){2, 4, 16, 0}[rng_below(&sim->rng, 4)],
    };
    if (faults & FAULT_FULL_BLOCKS) options.mailbox_cap = 1;
    sim->workers = options.workers = 1 + (uint32_t)rng_below(&sim->rng, SIM_WORKERS_MAX);
    if (faults && sim->workers == 1) sim->workers = options.workers = 2;
    if (faults & FAULTS_PUSH) sim->workers = options.workers = 3;
    sim->hub = hub_new(&options);
    config_deinit(&config);
    for (unsigned i = 0; i < sim->workers; i++) start_worker(sim, i);
    name_keys(sim);
    programs(sim);
    for (unsigned c = 0; c < sim->client_count; c++) {
        unsigned at = (unsigned)rng_below(&sim->rng, sim->workers);
        sim_event(&sim->ios[at],
                  (struct io_event){.kind = IO_EV_ACCEPTED,
                                    .fd = 100 + (int)c,
                                    .owner = worker_listener(sim->worker[at], 0)},
                  NULL);
    }
}

static void finish(struct sim *sim)
{
    hub_stop_shared(sim->hub);
    for (unsigned i = 0; i < 100000; i++)
        if (!step_worker(sim) && !advance_clock(sim)) break;
    for (unsigned i = 0; i < sim->workers; i++)
        if (!sim->ios[i].finished) sim_fail(sim, "a worker does not stop");
    if (!sim->failure[0] && !hub_quiet(sim->hub))
        sim_fail(sim, "stopped with locks or batches left");
}

static void clean(struct sim *sim)
{
    for (unsigned i = 0; i < sim->workers; i++) {
        for (int n = 0; n < STACK_SPARE; n++) check(sim->ios[i].stack[n] == STACK_PAINT);
        worker_free(sim->worker[i]);
        mem_free(sim->ios[i].stack);
        for (unsigned e = 0; e < sim->ios[i].event_count; e++) free(sim->ios[i].buffers[e]);
        for (unsigned e = 0; e < sim->ios[i].given_count; e++) free(sim->ios[i].given[e]);
    }
    hub_free(sim->hub);
    for (unsigned c = 0; c < sim->client_count; c++) {
        buf_deinit(&sim->clients[c].out);
        buf_deinit(&sim->clients[c].replies);
    }
}

bool sim_run(struct sim *sim, uint64_t seed, uint32_t faults)
{
    memset(sim, 0, sizeof *sim);
    sim->seed = seed;
    sim->clock_us = 1000000000;
    current = sim;
    rng_seed(&sim->rng, seed);
    sim->preempt_percent = (unsigned[]){0, 5, 30}[rng_below(&sim->rng, 3)];
    sim->lockstep = rng_below(&sim->rng, 4) == 0;
    if (faults & FAULTS_PUSH) { /* rare: one worker stops while two others go on */
        sim->preempt_percent = 10;
        sim->lockstep = false;
    }
    if (!faults && rng_below(&sim->rng, 8) == 0) sim->stop_at = 1 + rng_below(&sim->rng, 400);
    sim->lend_percent = (uint32_t[]){100, 50, 10, 1}[rng_below(&sim->rng, 4)];
    if (faults & FAULTS_PUSH) sim->lend_percent = 1; /* and so no scripts */
    sim->pubsub = faults ? faults & FAULTS_PUSH : rng_below(&sim->rng, 4) == 0;
    start(sim, faults);
    schedule(sim);
    bool whole = all_answered(sim);
    if (!sim->failure[0] && whole) settle(sim);
    if (!sim->failure[0] && whole && sim->pubsub) sim_pubsub_judge(sim);
    for (unsigned c = 0; c < sim->client_count && !sim->pubsub; c++)
        for (int i = 0; i < sim->clients[c].answered; i++)
            sim->clients[c].ops[i].reply.ptr =
                sim->clients[c].replies.ptr + (uintptr_t)sim->clients[c].ops[i].reply.ptr;
    if (!sim->failure[0] && whole && sim->bank && !sim_sums_right(sim))
        sim_fail(sim, "money was made or lost");
    if (!sim->failure[0] && whole && !sim->pubsub && !sim_serializable(sim))
        sim_fail(sim, "not strictly serializable");
    if (!sim->failure[0]) finish(sim);
    if (!sim->failure[0]) clean(sim); /* a failed world is left as it is: the process ends */
    return !sim->failure[0];
}
