/* Pub/sub under the simulator: listeners that come and go, publishers that pipeline.
 *
 *   order    any two listeners saw the messages that both saw in the same order, over all channels;
 *            a publisher's own are in the order it sent them
 *   time     a message that was published after another one had been answered, or heard by anybody,
 *            comes after it
 *   numbers  the answers of PUBLISH add up to what was heard; not if scripts pause: subscriptions
 *            end between the counting and the sending
 *   opening  no message comes before the confirmation of its subscription, or after its end
 *
 * Messages are numbers, all different. A listener that is subscribed twice to what matches a
 * channel hears a message twice in a row.
 * Thread: one. */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

#define CHANNELS 4
#define EVERYTHING CHANNELS /* the pattern * */

static bool listens(const struct sim *sim, unsigned c) { return c < sim->listeners; }

/* Channels lie in different shards as the keys do. */
static const char *channel(const struct sim *sim, int n)
{
    return n == EVERYTHING ? "*" : sim->keys[n];
}

void sim_pubsub_programs(struct sim *sim)
{
    sim->client_count = 3 + (unsigned)rng_below(&sim->rng, SIM_CLIENTS_MAX - 2);
    sim->scripts = rng_below(&sim->rng, 3) == 0 && sim->lend_percent > 1;
    int turns = rng_below(&sim->rng, 2) ? 20000 : 0; /* of scripts: they may pause */
    sim->listeners = 1 + (unsigned)rng_below(&sim->rng, sim->client_count - 1);
    for (unsigned c = 0; c < sim->client_count; c++) {
        struct sim_client *client = &sim->clients[c];
        client->op_count = 3 + (int)rng_below(&sim->rng, SIM_OPS_MAX - 2);
        client->depth = 1 + (int)rng_below(&sim->rng, listens(sim, c) ? 3 : 8);
        for (int i = 0; i < client->op_count; i++) {
            struct sim_op *op = &client->ops[i];
            op->key_count = 1;
            if (!listens(sim, c)) {
                op->kind = SIM_PUBLISH;
                op->keys[0] = (int)rng_below(&sim->rng, CHANNELS);
                op->values[0] = ++sim->next_value;
                if (!sim->scripts || rng_below(&sim->rng, 3)) continue;
                op->wrap = WRAP_SCRIPT;
                op->keys[1] = (int)rng_below(&sim->rng, SIM_KEYS);
                op->variant = (int)rng_below(&sim->rng, 64);
                op->turns = turns;
                continue;
            }
            op->kind = rng_below(&sim->rng, 4) ? SIM_SUBSCRIBE : SIM_UNSUBSCRIBE;
            op->key_count = 1 + (int)rng_below(&sim->rng, 3);
            bool pattern = rng_below(&sim->rng, 5) == 0;
            int first = (int)rng_below(&sim->rng, CHANNELS);
            for (int k = 0; k < op->key_count; k++) op->keys[k] = (first + k) % CHANNELS;
            if (pattern) op->keys[0] = EVERYTHING, op->key_count = 1;
        }
    }
}

static void put_arg(struct buf *out, const char *text)
{
    buf_printf(out, "$%zu\r\n%s\r\n", strlen(text), text);
}

/* Publishes, then touches a key that it did not declare. */
static void script_write(const struct sim *sim, const struct sim_op *op, struct buf *out)
{
    char text[256], value[24], turns[24];
    snprintf(text, sizeof text,
             "local n = redis.call('publish', ARGV[1], ARGV[2]) for i = 1, tonumber(ARGV[4]) do "
             "end redis.call('incr', ARGV[3]) return n -- %d", op->variant);
    snprintf(value, sizeof value, "%lld", (long long)op->values[0]);
    snprintf(turns, sizeof turns, "%d", op->turns);
    const char *const args[] = {
        "EVAL", text, "0", channel(sim, op->keys[0]), value, sim->keys[op->keys[1]], turns};
    buf_printf(out, "*%zu\r\n", ARRAY_COUNT(args));
    for (size_t i = 0; i < ARRAY_COUNT(args); i++) put_arg(out, args[i]);
}

void sim_pubsub_write(const struct sim *sim, const struct sim_op *op, struct buf *out)
{
    bool pattern = op->keys[0] == EVERYTHING;
    char number[24];
    if (op->wrap == WRAP_SCRIPT) {
        script_write(sim, op, out);
        return;
    }
    if (op->kind == SIM_PUBLISH) {
        buf_printf(out, "*3\r\n");
        put_arg(out, "PUBLISH");
        put_arg(out, channel(sim, op->keys[0]));
        snprintf(number, sizeof number, "%lld", (long long)op->values[0]);
        put_arg(out, number);
        return;
    }
    bool adds = op->kind == SIM_SUBSCRIBE;
    buf_printf(out, "*%d\r\n", 1 + op->key_count);
    put_arg(out, pattern ? adds ? "PSUBSCRIBE" : "PUNSUBSCRIBE"
                         : adds ? "SUBSCRIBE" : "UNSUBSCRIBE");
    for (int k = 0; k < op->key_count; k++) put_arg(out, channel(sim, op->keys[k]));
}

/* ---- listening ---- */

/* The n-th element of an array of bulk strings and numbers. */
static struct slice element(const char *at, int n)
{
    at = strchr(at, '\n') + 1;
    for (;; n--) {
        const char *text = strchr(at, '\n') + 1;
        size_t len = *at == '$' ? (size_t)atol(at + 1) : 0;
        if (n == 0) return *at == '$' ? slice_of(text, len) : slice_of(at + 1, 1);
        at = *at == '$' ? text + len + 2 : text;
    }
}

static int channel_number(const struct sim *sim, struct slice name)
{
    for (int n = 0; n <= CHANNELS; n++)
        if (slice_equal(name, slice_str(channel(sim, n)))) return n;
    return -1;
}

static void heard(struct sim *sim, struct sim_listener *l, const char *at, bool pattern)
{
    int via = channel_number(sim, element(at, 1));
    struct slice text = element(at, pattern ? 3 : 2);
    char number[24];
    snprintf(number, sizeof number, "%.*s", (int)text.len, text.ptr);
    if (via < 0 || !l->open[via]) sim_fail(sim, "a message without a subscription");
    if (l->count == SIM_HEARD_MAX) sim_fail(sim, "more messages than can be");
    else l->heard[l->count++] = (struct sim_heard){atoll(number), ++sim->tick};
}

/* One push or confirmation; true: the current command is answered. */
static bool listener_reads(struct sim *sim, unsigned c, const char *at, const struct sim_op *op)
{
    struct sim_listener *l = &sim->listener[c];
    struct slice what = element(at, 0);
    if (slice_equal(what, SLICE("message")) || slice_equal(what, SLICE("pmessage"))) {
        heard(sim, l, at, what.len == 8);
        return false;
    }
    int n = channel_number(sim, element(at, 1));
    if (!op || n != op->keys[l->confirmed]) {
        sim_fail(sim, "a confirmation that nobody asked for");
        return false;
    }
    l->open[n] = op->kind == SIM_SUBSCRIBE;
    if (++l->confirmed < op->key_count) return false;
    l->confirmed = 0;
    return true;
}

bool sim_pubsub_reads(struct sim *sim, unsigned c)
{
    struct sim_client *client = &sim->clients[c];
    bool any = false;
    for (;;) {
        const char *at = client->replies.ptr + client->replies_used;
        size_t len = sim_reply_len(at, client->replies.len - client->replies_used);
        if (!len || sim->failure[0]) return any;
        struct sim_op *op =
            client->answered < client->sent ? &client->ops[client->answered] : NULL;
        bool answered = op != NULL;
        if (listens(sim, c)) answered = listener_reads(sim, c, at, op);
        else if (op && *at == ':') sim->published += atoll(at + 1);
        else sim_fail(sim, "PUBLISH is not answered by a number");
        if (answered) {
            client->answered++;
            op->completed = ++sim->tick;
        }
        client->replies_used += len;
        any = true;
    }
}

/* ---- judging ---- */

static int first_of(const struct sim_listener *l, int64_t value)
{
    for (int i = 0; i < l->count; i++)
        if (l->heard[i].value == value) return i;
    return -1;
}

static const struct sim_op *op_of(const struct sim *sim, int64_t value)
{
    for (unsigned c = sim->listeners; c < sim->client_count; c++)
        for (int i = 0; i < sim->clients[c].op_count; i++)
            if (sim->clients[c].ops[i].values[0] == value) return &sim->clients[c].ops[i];
    return NULL;
}

/* When anybody knew of it: its answer, or the first who heard it. */
static uint64_t known_at(const struct sim *sim, int64_t value)
{
    uint64_t tick = op_of(sim, value)->completed;
    for (unsigned c = 0; c < sim->listeners; c++) {
        int at = first_of(&sim->listener[c], value);
        if (at >= 0 && (!tick || sim->listener[c].heard[at].tick < tick))
            tick = sim->listener[c].heard[at].tick;
    }
    return tick;
}

/* x was heard before y. */
static void judge_pair(struct sim *sim, int64_t x, int64_t y)
{
    const struct sim_op *a = op_of(sim, x), *b = op_of(sim, y);
    uint64_t known = known_at(sim, y);
    if (known && known < a->invoked) sim_fail(sim, "a later message came first");
    for (unsigned c = sim->listeners; c < sim->client_count; c++) {
        const struct sim_op *ops = sim->clients[c].ops;
        bool both = a >= ops && a < ops + SIM_OPS_MAX && b >= ops && b < ops + SIM_OPS_MAX;
        if (both && a > b) sim_fail(sim, "a publisher's messages changed places");
    }
    for (unsigned c = 0; c < sim->listeners; c++) {
        int at_x = first_of(&sim->listener[c], x), at_y = first_of(&sim->listener[c], y);
        if (at_x >= 0 && at_y >= 0 && at_y < at_x) sim_fail(sim, "two orders of messages");
    }
}

void sim_pubsub_judge(struct sim *sim)
{
    int64_t total = 0;
    bool pauses = false;
    for (unsigned c = sim->listeners; c < sim->client_count; c++)
        for (int i = 0; i < sim->clients[c].op_count; i++)
            pauses |= sim->clients[c].ops[i].turns != 0;
    for (unsigned c = 0; c < sim->listeners; c++) {
        const struct sim_listener *l = &sim->listener[c];
        total += l->count;
        for (int i = 0; i < l->count; i++) {
            int64_t x = l->heard[i].value;
            if (!op_of(sim, x)) sim_fail(sim, "a message that nobody sent");
            if (first_of(l, x) != i && l->heard[i - 1].value != x)
                sim_fail(sim, "a message came again");
            for (int j = i + 1; j < l->count && !sim->failure[0]; j++)
                if (l->heard[j].value != x) judge_pair(sim, x, l->heard[j].value);
        }
    }
    if (total != sim->published && !pauses)
        sim_fail(sim, "PUBLISH's answers are not what was heard");
}
