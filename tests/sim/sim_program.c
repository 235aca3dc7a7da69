/* What the clients of a schedule do, drawn from its seed.
 * Thread: one. */
#include <stdio.h>

#include "sim.h"
#include "splitring/base/hash.h"

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

/* What has to do with the disk. */
static void program_disk_op(struct sim *sim, struct sim_op *op)
{
    static const enum op_kind log_dice[] = {SIM_WAITAOF, SIM_WAITAOF, SIM_REWRITE};
    static const enum op_kind dump_dice[] = {SIM_SAVE, SIM_BGSAVE, SIM_BGSAVE};
    const enum op_kind *dice = sim->log ? log_dice : dump_dice;
    *op = (struct sim_op){.kind = dice[rng_below(&sim->rng, 3)]};
    if (op->kind == SIM_WAITAOF)
        op->timeout_ms = (int[]){0, 5, 3000}[rng_below(&sim->rng, 3)];
}

static void program_client(struct sim *sim, struct sim_client *client, int64_t *unique)
{
    int most = !sim->disk ? SIM_OPS_MAX : sim->mode == SIM_DISK_EACH ? 4 : 8;
    client->op_count = 3 + (int)rng_below(&sim->rng, (uint64_t)most - 2);
    client->depth = 1 + (int)rng_below(&sim->rng, 8);
    for (int i = 0; i < client->op_count; i++) {
        program_op(sim, &client->ops[i], unique);
        wrap_op(sim, &client->ops[i]);
        if (sim->disk && rng_below(&sim->rng, 6) == 0) program_disk_op(sim, &client->ops[i]);
    }
}

void sim_programs(struct sim *sim)
{
    int64_t unique = 0;
    name_keys(sim);
    if (sim->pubsub) {
        sim_pubsub_programs(sim);
        return;
    }
    sim->lists = rng_below(&sim->rng, 2);
    sim->bank = rng_below(&sim->rng, 4) == 0;
    /* a script wants all shards at once: at 1 in 100 each, that is never */
    sim->scripts = rng_below(&sim->rng, 2) && sim->lend_percent > 1 && sim->mode != SIM_DISK_FAILS;
    unsigned most = sim->mode == SIM_DISK_EACH ? 2 : sim->disk ? 4 : SIM_CLIENTS_MAX;
    sim->client_count = 2 + (unsigned)rng_below(&sim->rng, most - 1);
    for (unsigned c = 0; c < sim->client_count; c++)
        program_client(sim, &sim->clients[c], &unique);
    sim->clients[sim->client_count++].depth = SIM_RESCUE_MAX;
}

