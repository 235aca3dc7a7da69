/* What each command costs, on every run.
 *
 *   … handler A ][ handler B ][ handler C ]…      within a group one reading of the counter per
 *               ^ reading    ^ reading    ^       command: the end of one is the start of the next
 *
 * Missing nothing and costing nothing pull apart: two calls of clock_gettime() per command cost
 * more than a GET. So the clock is the CPU's tick counter (os_ticks.c), read once per command, and
 * everything that depends on the time hangs on one branch: meter_end() adds the time to the
 * command's histogram and looks closer (meter_look) when the time reaches the lowest limit that is
 * set, or the reply is large, or the command came from another worker, or for one in METER_SAMPLE.
 * A kernel without a steady counter pays for os_mono_ns() instead.
 *
 * Why not sample, or time whole groups and guess? One slow command among thousands is what a slow
 * log is for; and who of a group was slow cannot be told afterwards. A coarse clock (4 ms) tells
 * who, but not how long; it saves six nanoseconds.
 *
 * Stages. A command's time is `queued` from when its input could run to its turn, `waited` from its
 * message to another shard until it runs there (mailbox, locks), and then it runs. Only the last is
 * its "execution time", as in Redis; the others tell whether it was slow by itself or behind
 * something. Commands that go to other workers are all staged; of those that run where they came
 * from one in METER_SAMPLE, counted that many times. The same samples tell which keys are hot.
 *
 * Histograms are published as pointers: made by their worker with the first call, never moved,
 * freed with the hub.
 * Thread: the worker that runs; readers: any. */
#include "meter.h"

#include "commandlog.h"
#include "conn.h"
#include "fanout.h"
#include "hotkeys.h"
#include "latency.h"
#include "splitring/base/mem.h"

uint64_t meter_ns_slow(const struct worker *w, uint64_t ticks)
{
    if (unlikely(ticks > INT64_MAX)) return 0; /* another CPU's counter is a little behind */
    if (!w->meter.scale) return ticks;
    return (uint64_t)((double)ticks * (double)w->meter.scale / 4294967296.0);
}

/* ---- histograms ---- */

static struct hist *hist_of(struct worker *w, enum meter_kind kind, uint16_t command)
{
    counter *place = &w->pub->hists[kind][command];
    struct hist *h = (struct hist *)(uintptr_t)counter_get(place);
    if (h) return h;
    h = hist_try_new(kind == METER_RAN ? HIST_BITS : HIST_COARSE_BITS);
    counter_set_release(place, (uint64_t)(uintptr_t)h);
    return h;
}

struct hist *meter_hist_new(struct worker *w, uint16_t command)
{
    return hist_of(w, METER_RAN, command);
}

struct hist *meter_merged(const struct hub *hub, size_t command, enum meter_kind kind)
{
    struct hist *sum = NULL;
    for (unsigned n = 0; n < hub->count; n++) {
        const counter *place = &hub->published[n].hists[kind][command];
        const struct hist *h = (struct hist *)(uintptr_t)counter_get_acquire_shared(place);
        if (!h || !counter_get(&h->count)) continue;
        if (!sum) sum = hist_try_new(h->bits);
        if (sum) hist_merge(sum, h);
    }
    return sum;
}

void meter_reset(struct worker *w)
{
    for (unsigned kind = 0; kind < ARRAY_COUNT(w->pub->hists); kind++)
        for (size_t id = 0; id < command_count(); id++) {
            struct hist *h = (struct hist *)(uintptr_t)counter_get(&w->pub->hists[kind][id]);
            if (h) hist_reset(h);
        }
}

void meter_free_published(struct worker_published *p)
{
    for (unsigned kind = 0; kind < ARRAY_COUNT(p->hists); kind++) {
        for (size_t id = 0; id < command_count(); id++)
            mem_free((void *)(uintptr_t)counter_get(&p->hists[kind][id]));
        mem_free(p->hists[kind]);
    }
}

/* ---- stages ---- */

void meter_begin(struct worker *w, struct exec *x)
{
    x->begun = meter_ticks(w);
    x->queued_ns = meter_ns(w, x->client->ready_ticks, x->begun);
    (void)conn_peer(x->client); /* now, so that others may ask for it */
}

static struct meter_stages stages_of(const struct worker *w, const struct exec *x, uint64_t start)
{
    struct meter_stages s = {0};
    if (x->begun) {
        s.queued = x->queued_ns;
        s.waited = meter_ns(w, x->begun, start);
        s.known = true;
    } else if (x->client && x->client->worker == w) {
        s.queued = meter_ns(w, x->client->ready_ticks, start);
        s.known = true;
    }
    return s;
}

static void stage_record(struct worker *w, const struct command *cmd, enum meter_kind kind,
                         uint64_t ns, uint64_t times)
{
    struct hist *h = hist_of(w, kind, cmd->id);
    if (!h) return;
    counter_add(&h->bins[hist_bin_of(ns, HIST_COARSE_BITS)], times);
    counter_add(&h->count, times);
    counter_add(&h->sum, ns * times);
}

/* sampled: it stands for METER_SAMPLE others. */
static void stages_record(struct worker *w, const struct exec *x, const struct meter_stages *s,
                          bool sampled)
{
    bool moved = x->begun != 0;
    uint64_t times = moved ? 1 : METER_SAMPLE;
    if (!s->known || (!moved && !sampled)) return;
    stage_record(w, x->cmd, METER_QUEUED, s->queued, times);
    stage_record(w, x->cmd, METER_WAITED, s->waited, times);
}

/* ---- judging ---- */

static void judge(struct worker *w, const struct exec *x, const struct log_draft *draft,
                  uint64_t ns, const struct meter_stages *stages, size_t reply_len)
{
    latency_note_command(w, x->cmd, ns);
    commandlog_note(w, x, draft, ns, stages, reply_len);
}

/* The next sample lies somewhere in the next stretch of METER_SAMPLE commands: exactly one in each,
 * and no pattern of commands can lie beside all of them. */
static void next_sample(struct worker *w)
{
    w->meter.sample_dice = w->meter.sample_dice * 1664525u + 1013904223u;
    unsigned place = w->meter.sample_dice >> 26; /* 0..63 */
    static_assert(METER_SAMPLE == 64, "six bits");
    w->meter.sample = w->meter.sample_rest + 1 + place;
    w->meter.sample_rest = METER_SAMPLE - 1 - place;
}

void meter_look(struct worker *w, const struct exec *x, uint64_t start, uint64_t ns,
                size_t reply_len, bool counted)
{
    struct meter_stages stages = {0};
    bool sampled = w->meter.sample == 0;
    if (sampled) next_sample(w);
    if (counted) stages = stages_of(w, x, start); /* else it had been blocked meanwhile */
    if (w->meter.tracking) stages_record(w, x, &stages, sampled);
    if (!x->in_script) judge(w, x, NULL, ns, &stages, reply_len);
    if (sampled && w->meter.hot) hotkeys_sample(w, x);
    if (unlikely(hotkeys_session_active(w))) hotkeys_count(w, x, ns, reply_len);
}

void meter_parts_ended(struct worker *w, const struct exec *x, uint64_t ns, size_t reply_len)
{
    uint64_t lasted = meter_ns(w, x->begun, meter_ticks(w));
    struct meter_stages stages = {x->queued_ns, lasted > ns ? lasted - ns : 0, true};
    bool sampled = --w->meter.sample == 0;
    if (sampled) next_sample(w);
    meter_record(w, x->cmd, ns);
    if (w->meter.tracking) stages_record(w, x, &stages, sampled);
    judge(w, x, NULL, ns, &stages, reply_len);
    if (sampled && w->meter.hot) hotkeys_sample(w, x);
    if (unlikely(hotkeys_session_active(w))) hotkeys_count(w, x, ns, reply_len);
}

void meter_script_ended(struct worker *w, const struct exec *x, uint64_t ns, size_t reply_len)
{
    struct meter_stages stages = {0};
    meter_record(w, x->cmd, ns);
    judge(w, x, NULL, ns, &stages, reply_len);
}

void meter_wait_ended(struct worker *w, const struct exec *x, uint64_t ns)
{
    struct meter_stages stages = {0};
    meter_record(w, x->cmd, ns);
    judge(w, x, NULL, ns, &stages, 0);
}

/* A fan-out goes on when the handler has returned: it is judged at its end. */
static void defer(struct worker *w, const struct exec *x, uint64_t ns)
{
    struct fanout *f = w->meter.fanout;
    w->meter.fanout = NULL;
    if (ns > f->ns[w->id]) f->ns[w->id] = ns; /* its own part may be within */
    f->draft = commandlog_draft(w, x);
}

bool meter_ended_slow(struct worker *w, const struct exec *x, uint64_t ns)
{
    if (x->part_ns) {
        *x->part_ns += ns;
        return false;
    }
    if (x->block && x->block->wanted) return false;
    if (x->script && script_call_goes_on(x->script)) return false;
    if (!w->meter.fanout || x->client->in_flight != w->meter.fanout) return true;
    defer(w, x, ns);
    return false;
}

void meter_fanout_ended(struct worker *w, struct fanout *f, size_t reply_len)
{
    uint64_t ns = 0;
    if (w->meter.fanout == f) w->meter.fanout = NULL; /* within its handler, which is timed */
    if (!f->draft) return;
    for (unsigned i = 0; i < w->hub->count; i++)
        if (f->ns[i] > ns) ns = f->ns[i];
    struct meter_stages stages = {0};
    struct exec x = {.cmd = commandlog_draft_command(f->draft)};
    meter_record(w, x.cmd, ns);
    judge(w, &x, f->draft, ns, &stages, reply_len);
    commandlog_draft_free(f->draft);
}

/* ---- settings ---- */

static uint64_t limit_of(int64_t value, uint64_t unit)
{
    return value > INT64_MAX / (int64_t)unit ? UINT64_MAX : (uint64_t)value * unit;
}

void meter_config(struct worker *w)
{
    const struct config *c = w->config;
    uint64_t slow = UINT64_MAX, latency = UINT64_MAX;
    if (c->slowlog_slower_than_us >= 0) slow = limit_of(c->slowlog_slower_than_us, 1000);
    if (c->latency_monitor_threshold_ms > 0)
        latency = limit_of(c->latency_monitor_threshold_ms, 1000000);
    w->meter.look_ns = slow < latency ? slow : latency;
    w->meter.reply_limit =
        c->log_reply_larger_than < 0 ? SIZE_MAX : (size_t)c->log_reply_larger_than;
    w->meter.request_limit =
        c->log_request_larger_than < 0 ? SIZE_MAX : (size_t)c->log_request_larger_than;
    if (hotkeys_session_active(w)) w->meter.look_ns = 0;
    w->meter.tracking = c->latency_tracking;
    w->meter.hot = c->hot_keys;
}

void meter_init(struct worker *w)
{
    w->commandlog = commandlog_new();
    w->latency = latency_new();
    w->hotkeys = hotkeys_new();
    w->meter.sample_dice = (uint32_t)w->id;
    next_sample(w);
    w->meter.scale = w->hub->tick_scale;
    w->meter.pass = meter_ticks(w);
}

void meter_deinit(struct worker *w)
{
    commandlog_free(w->commandlog);
    latency_free(w->latency);
    hotkeys_free(w->hotkeys);
    mem_free(w->bigkeys);
    buf_deinit(&w->meter.heads);
}
