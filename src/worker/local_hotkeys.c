/* HOTKEYS: sessions that count what each key costs, in all workers (hotkeys.c).
 *
 *   START METRICS n [CPU] [NET] [COUNT k] [DURATION s] [SAMPLE ratio] · STOP · GET · RESET
 *
 * Acts on a session go through worker 0, so all workers have the same one; what is wrong with it
 * (one is running already, …) every worker finds alike. GET adds up the workers' tables by key.
 * The reply's form is that of Redis 8.6: an array with one map.
 * Source: https://redis.io/docs/latest/commands/hotkeys/ and its subcommands.
 * Thread: parts: each worker; the rest: the connection's worker. */
#include <stdlib.h>

#include "conn.h"
#include "fanout.h"
#include "hotkeys.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/handlers.h"

#define COUNT_MAX 64
#define COUNT_DEFAULT 10
#define SAMPLE_MAX INT32_MAX
#define DURATION_S_MAX 1000000

/* ---- START ---- */

static const char *const metric_names[] = {"CPU", "NET"};

/* METRICS n name …; *at: behind it. Unknown names are for later versions: counted, not kept. */
static bool take_metrics(struct call *c, int *at, struct hot_session *s)
{
    int64_t n;
    bool any = false;
    if (!call_int_range(c, 3, 1, HOT_METRICS, &n, ERR_HOTKEYS_METRIC_COUNT)) return false;
    for (*at = 4; *at < 4 + n && *at < c->argc; ++*at)
        for (unsigned m = 0; m < HOT_METRICS; m++) {
            if (!call_is(c, *at, metric_names[m])) continue;
            if (s->wants[m]) {
                reply_errorf(&c->reply, ERR_HOTKEYS_METRIC_TWICE, metric_names[m]);
                return false;
            }
            s->wants[m] = any = true;
        }
    bool enough = *at == 4 + n;
    if (!any || !enough)
        reply_error(&c->reply, any ? ERR_HOTKEYS_METRIC_MISMATCH : ERR_HOTKEYS_NO_METRIC);
    return any && enough;
}

static bool take_options(struct call *c, int at, struct hot_session *s)
{
    int64_t n;
    for (; at + 1 < c->argc; at += 2) {
        if (call_is(c, at, "COUNT")) {
            if (!call_int_range(c, at + 1, 1, COUNT_MAX, &s->keys, ERR_HOTKEYS_COUNT)) return false;
        } else if (call_is(c, at, "DURATION")) {
            if (!call_int_range(c, at + 1, 0, DURATION_S_MAX, &n, ERR_HOTKEYS_DURATION))
                return false;
            s->end_ms = n ? s->start_ms + n * 1000 : EXPIRE_NONE;
        } else if (call_is(c, at, "SAMPLE")) {
            if (!call_int_range(c, at + 1, 1, SAMPLE_MAX, &s->sample, ERR_HOTKEYS_SAMPLE))
                return false;
        } else if (call_is(c, at, "SLOTS")) {
            reply_error(&c->reply, ERR_HOTKEYS_SLOTS);
            return false;
        } else {
            break;
        }
    }
    if (at < c->argc) reply_error(&c->reply, ERR_SYNTAX);
    return at >= c->argc;
}

enum session_act { ACT_START, ACT_STOP, ACT_RESET };
struct request {
    enum session_act act;
    struct hot_session session;
};
enum outcome { DONE, NOTHING, RUNS };

static void act_part(struct worker *w, struct fanout *f)
{
    const struct request *r = f->arg;
    bool active = hotkeys_session(w).active;
    f->number[w->id] = DONE;
    if (r->act == ACT_STOP) {
        f->number[w->id] = active ? DONE : NOTHING;
        hotkeys_session_stop(w);
    } else if (active) {
        f->number[w->id] = RUNS;
    } else if (r->act == ACT_START) {
        hotkeys_session_start(w, &r->session);
    } else {
        hotkeys_session_reset(w);
    }
}

static void act_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    const struct request *r = f->arg;
    (void)c;
    if (!reply) return;
    switch ((enum outcome)f->number[w->id]) {
    case DONE: reply_ok(reply); break;
    case NOTHING: reply_null(reply); break;
    case RUNS:
        reply_error(reply, r->act == ACT_START ? ERR_HOTKEYS_RUNS : ERR_HOTKEYS_STOP_FIRST);
        break;
    }
}

static void act(struct call *c, struct request request)
{
    struct request *r = mem_alloc(sizeof *r);
    *r = request;
    fanout_start(fanout_new(c->conn->worker, c->conn, act_part, act_done, r), true);
}

void cmd_hotkeys_start(struct call *c)
{
    struct request r = {.act = ACT_START,
                        .session = {.keys = COUNT_DEFAULT, .sample = 1, .end_ms = EXPIRE_NONE,
                                    .start_ms = c->conn->worker->now}};
    int at;
    if (c->argc < 4 || !call_is(c, 2, "METRICS")) {
        reply_error(&c->reply, ERR_HOTKEYS_NO_METRICS);
        return;
    }
    if (take_metrics(c, &at, &r.session) && take_options(c, at, &r.session)) act(c, r);
}

void cmd_hotkeys_stop(struct call *c) { act(c, (struct request){.act = ACT_STOP}); }
void cmd_hotkeys_reset(struct call *c) { act(c, (struct request){.act = ACT_RESET}); }

/* ---- GET ---- */

/* Each worker: its session, then its slots by metric, with their number before each. */
static void get_part(struct worker *w, struct fanout *f)
{
    struct hot_session s = hotkeys_session(w);
    struct buf *out = &f->out[w->id];
    buf_append(out, &s, sizeof s);
    for (unsigned m = 0; m < HOT_METRICS; m++) {
        size_t mark = out->len, count;
        buf_append(out, &mark, sizeof mark);
        hotkeys_session_slots(w, (enum hot_metric)m, out);
        if (out->failed) return;
        count = (out->len - mark - sizeof mark) / sizeof(struct hot_slot);
        memcpy(out->ptr + mark, &count, sizeof count);
    }
}

static int by_hash(const void *a, const void *b)
{
    const struct hot_slot *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static int by_weight(const void *a, const void *b)
{
    const struct hot_slot *x = a, *y = b;
    return x->weight > y->weight ? -1 : x->weight < y->weight;
}

/* One entry per key, heaviest first. Returns their number. */
static size_t add_up(struct hot_slot *slots, size_t count)
{
    size_t n = 0;
    if (!count) return 0;
    qsort(slots, count, sizeof *slots, by_hash);
    for (size_t i = 1; i < count; i++) {
        if (slots[i].hash == slots[n].hash) slots[n].weight += slots[i].weight;
        else slots[++n] = slots[i];
    }
    qsort(slots, n + 1, sizeof *slots, by_weight);
    return n + 1;
}

static void put_int(struct reply *r, const char *name, uint64_t value)
{
    reply_bulk_str(r, name);
    reply_int(r, (int64_t)value);
}

static void put_keys(struct reply *r, struct buf *all, int64_t keys, unsigned unit)
{
    struct hot_slot *slots = (struct hot_slot *)(void *)all->ptr;
    size_t n = add_up(slots, all->len / sizeof *slots);
    if (n > (size_t)keys) n = (size_t)keys;
    reply_array(r, 2 * n);
    for (size_t i = 0; i < n; i++) {
        size_t len = slots[i].len < HOT_KEY_LEN_MAX ? slots[i].len : HOT_KEY_LEN_MAX;
        reply_bulk(r, slots[i].key, len);
        reply_int(r, (int64_t)(slots[i].weight / unit));
    }
}

/* The workers' tables of one metric behind each other. */
static void gather(const struct worker *w, const struct fanout *f, unsigned metric, struct buf *all)
{
    for (worker_id id = 0; id < w->hub->count; id++) {
        const char *at = f->out[id].ptr + sizeof(struct hot_session);
        size_t count = 0;
        for (unsigned m = 0; m <= metric; m++) {
            at += count * sizeof(struct hot_slot);
            memcpy(&count, at, sizeof count);
            at += sizeof count;
        }
        buf_append(all, at, count * sizeof(struct hot_slot));
    }
}

static void put_session(struct worker *w, struct fanout *f, struct reply *r,
                        const struct hot_session *sum)
{
    bool cpu = sum->wants[HOT_CPU], net = sum->wants[HOT_NET];
    struct buf all[HOT_METRICS] = {{0}};
    instant_ms end = sum->active ? w->now : sum->end_ms;
    for (unsigned m = 0; m < HOT_METRICS; m++) gather(w, f, m, &all[m]);
    reply_array(r, 1);
    reply_map(r, 7u + 3u * cpu + 2u * net);
    put_int(r, "tracking-active", sum->active);
    put_int(r, "sample-ratio", (uint64_t)sum->sample);
    reply_bulk_str(r, "selected-slots");
    reply_array(r, 0);
    put_int(r, "all-commands-all-slots-us", sum->ns / 1000);
    put_int(r, "net-bytes-all-commands-all-slots", sum->net);
    put_int(r, "collection-start-time-unix-ms", (uint64_t)sum->start_ms);
    put_int(r, "collection-duration-ms", end > sum->start_ms ? (uint64_t)(end - sum->start_ms) : 0);
    if (cpu) {
        put_int(r, "total-cpu-time-user-ms", sum->cpu_user_us / 1000);
        put_int(r, "total-cpu-time-sys-ms", sum->cpu_system_us / 1000);
    }
    if (net) put_int(r, "total-net-bytes", sum->net);
    for (unsigned m = 0; m < HOT_METRICS; m++) {
        if (!sum->wants[m]) continue;
        reply_bulk_str(r, m == HOT_CPU ? "by-cpu-time-us" : "by-net-bytes");
        put_keys(r, &all[m], sum->keys, m == HOT_CPU ? 1000 : 1);
    }
    for (unsigned m = 0; m < HOT_METRICS; m++) buf_deinit(&all[m]);
}

static void get_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    struct hot_session sum = {0}, one;
    (void)c;
    if (!reply) return;
    for (worker_id id = 0; id < w->hub->count; id++) {
        if (f->out[id].failed) {
            reply_error(reply, ERR_NO_MEMORY);
            return;
        }
        memcpy(&one, f->out[id].ptr, sizeof one);
        uint64_t ns = sum.ns, net = sum.net, user = sum.cpu_user_us, system = sum.cpu_system_us;
        sum = one;
        sum.ns += ns, sum.net += net, sum.cpu_user_us += user, sum.cpu_system_us += system;
    }
    if (sum.known)
        put_session(w, f, reply, &sum);
    else
        reply_null_array(reply);
}

void cmd_hotkeys_get(struct call *c)
{
    fanout_start(fanout_new(c->conn->worker, c->conn, get_part, get_done, NULL), true);
}

void cmd_hotkeys_help(struct call *c)
{
    static const char *const lines[] = {
        "START METRICS <count> [CPU] [NET] [COUNT <k>] [DURATION <seconds>] [SAMPLE <ratio>]",
        "    Start to count what each key costs.",
        "STOP", "    Stop counting; the figures stay.",
        "GET", "    Return the figures: the keys that cost most, and totals.",
        "RESET", "    Forget the figures.", NULL};
    call_help(c, lines);
}
