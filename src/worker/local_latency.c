/* LATENCY: events (merged over workers, which keep their own), histograms of commands and what they
 * waited for (read from published counters; nobody is asked).
 *
 * LATENCY STAGES is ours: per command the time until its turn (queued), between its message and its
 * run at another shard (waited), and its run. So it can be told whether a command was slow by
 * itself or behind others. It is a command of its own because SLOWLOG's and HISTOGRAM's shapes are
 * parsed by clients.
 * Source: https://redis.io/docs/latest/commands/latency/
 * Thread: parts: each worker; the rest: the connection's worker. */
#include <stdlib.h>

#include "conn.h"
#include "fanout.h"
#include "latency.h"
#include "latency_text.h"
#include "local_info.h"
#include "meter.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/cmd/handlers.h"

/* ---- events ---- */

/* Which event, in the request; what to do with all, in the answer. */
struct request {
    uint32_t events;
    enum { LATEST, HISTORY, GRAPH, DOCTOR } answer;
};

static bool event_of(struct slice name, unsigned *event)
{
    for (*event = 0; *event < LATENCY_EVENTS; ++*event)
        if (slice_equal(name, slice_str(latency_event_name((enum latency_event)*event))))
            return true;
    return false;
}

static void series_part(struct worker *w, struct fanout *f)
{
    for (unsigned e = 0; e < LATENCY_EVENTS; e++)
        buf_append(&f->out[w->id], latency_series(w->latency, (enum latency_event)e),
                   sizeof(struct latency_series));
}

static int by_time(const void *a, const void *b)
{
    const struct latency_sample *x = a, *y = b;
    return x->time_s < y->time_s ? -1 : x->time_s > y->time_s;
}

/* One series of what all workers have of event e: the newest seconds. */
static void merge(const struct worker *w, const struct fanout *f, unsigned e,
                  struct latency_series *into)
{
    size_t count = 0, room = w->hub->count * LATENCY_SAMPLES;
    struct latency_sample *all = mem_alloc(room * sizeof *all);
    *into = (struct latency_series){0};
    for (unsigned i = 0; i < w->hub->count; i++) {
        struct latency_series one;
        if (f->out[i].failed || f->out[i].len < (e + 1) * sizeof one) continue;
        memcpy(&one, f->out[i].ptr + e * sizeof one, sizeof one);
        for (unsigned s = 0; s < LATENCY_SAMPLES; s++)
            if (one.samples[s].time_s) all[count++] = one.samples[s];
        if (one.max_ms > into->max_ms) into->max_ms = one.max_ms;
    }
    qsort(all, count, sizeof *all, by_time);
    for (size_t s = 0; s < count; s++) latency_add(into, all[s]);
    mem_free(all);
}

static void put_latest(struct reply *reply, const struct latency_series *series)
{
    size_t count = 0;
    for (unsigned e = 0; e < LATENCY_EVENTS; e++) count += series[e].max_ms != 0;
    reply_array(reply, count);
    for (unsigned e = 0; e < LATENCY_EVENTS; e++) {
        if (!series[e].max_ms) continue;
        unsigned last = (series[e].next + LATENCY_SAMPLES - 1) % LATENCY_SAMPLES;
        reply_array(reply, 4);
        reply_bulk_str(reply, latency_event_name((enum latency_event)e));
        reply_int(reply, series[e].samples[last].time_s);
        reply_int(reply, (int64_t)series[e].samples[last].ms);
        reply_int(reply, (int64_t)series[e].max_ms);
    }
}

static void put_history(struct reply *reply, const struct latency_series *series)
{
    size_t count = 0;
    for (unsigned s = 0; s < LATENCY_SAMPLES; s++) count += series->samples[s].time_s != 0;
    reply_array(reply, count);
    for (unsigned i = 0; i < LATENCY_SAMPLES; i++) {
        const struct latency_sample *s = &series->samples[(series->next + i) % LATENCY_SAMPLES];
        if (!s->time_s) continue;
        reply_array(reply, 2);
        reply_int(reply, s->time_s);
        reply_int(reply, (int64_t)s->ms);
    }
}

static void series_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    const struct request *request = f->arg;
    struct latency_series *series = mem_alloc(LATENCY_EVENTS * sizeof *series);
    unsigned event = (unsigned)__builtin_ctz(request->events);
    struct buf text = {0};
    (void)c;
    for (unsigned e = 0; e < LATENCY_EVENTS; e++) merge(w, f, e, &series[e]);
    switch (reply ? (int)request->answer : -1) {
    case LATEST: put_latest(reply, series); break;
    case HISTORY: put_history(reply, &series[event]); break;
    case GRAPH:
        if (series[event].max_ms) {
            latency_graph(&text, latency_event_name((enum latency_event)event), &series[event],
                          os_unix_us() / 1000000);
            reply_verbatim(reply, "txt", buf_slice(&text));
        } else {
            const char *name = latency_event_name((enum latency_event)event);
            reply_errorf(reply, ERR_LATENCY_NO_SAMPLES, (int)strlen(name), name);
        }
        break;
    case DOCTOR:
        latency_doctor(&text, w, series);
        reply_verbatim(reply, "txt", buf_slice(&text));
        break;
    default: break;
    }
    buf_deinit(&text);
    mem_free(series);
}

static void ask(struct call *c, struct request request)
{
    struct request *r = mem_alloc(sizeof *r);
    *r = request;
    fanout_start(fanout_new(c->conn->worker, c->conn, series_part, series_done, r), false);
}

void cmd_latency_latest(struct call *c) { ask(c, (struct request){1, LATEST}); }

void cmd_latency_doctor(struct call *c) { ask(c, (struct request){1, DOCTOR}); }

void cmd_latency_history(struct call *c)
{
    unsigned event;
    if (event_of(c->argv[2], &event))
        ask(c, (struct request){1u << event, HISTORY});
    else
        reply_array(&c->reply, 0);
}

void cmd_latency_graph(struct call *c)
{
    unsigned event;
    if (event_of(c->argv[2], &event))
        ask(c, (struct request){1u << event, GRAPH});
    else
        reply_errorf(&c->reply, ERR_LATENCY_NO_SAMPLES, (int)c->argv[2].len, c->argv[2].ptr);
}

/* ---- RESET ---- */

static void reset_part(struct worker *w, struct fanout *f)
{
    const struct request *request = f->arg;
    for (unsigned e = 0; e < LATENCY_EVENTS; e++) {
        struct latency_series *series = latency_series(w->latency, (enum latency_event)e);
        if (!(request->events >> e & 1u) || !series->max_ms) continue;
        f->number[w->id] |= 1 << e;
        *series = (struct latency_series){0};
    }
}

static void reset_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    uint64_t events = 0;
    (void)c;
    for (unsigned i = 0; i < w->hub->count; i++) events |= (uint64_t)f->number[i];
    if (reply) reply_int(reply, __builtin_popcountll(events));
}

void cmd_latency_reset(struct call *c)
{
    struct request *r = mem_zalloc(sizeof *r);
    unsigned event;
    if (c->argc == 2) r->events = UINT32_MAX;
    for (int i = 2; i < c->argc; i++)
        if (event_of(c->argv[i], &event)) r->events |= 1u << event;
    fanout_start(fanout_new(c->conn->worker, c->conn, reset_part, reset_done, r), true);
}

/* ---- histograms ---- */

/* Calls put for the histogram of each command that was asked for, or of all; returns how many.
 * NULL as `r`: only counts them. */
static size_t each_hist(struct call *c, enum meter_kind kind, struct reply *r,
                        void (*put)(struct call *c, struct reply *r, size_t id,
                                    const struct hist *h))
{
    size_t count = 0;
    for (size_t id = 0; id < command_count(); id++) {
        const struct command *cmd = command_at(id), *top = cmd->parent ? cmd->parent : cmd;
        bool wanted = c->argc == 2;
        for (int i = 2; i < c->argc && !wanted; i++)
            wanted = slice_is_word(c->argv[i], top->name) || slice_is_word(c->argv[i], cmd->name);
        if (!wanted) continue;
        struct hist *h = meter_merged(c->conn->worker->hub, id, kind);
        if (h) count++;
        if (h && r) put(c, r, id, h);
        mem_free(h);
    }
    return count;
}

/* Cumulative counts at about 1, 2, 4 … µs, where they grow. */
static size_t put_cumulative(struct reply *r, const struct hist *h)
{
    uint64_t total = counter_get(&h->count), before = 0;
    size_t count = 0;
    for (uint64_t level = 1024; before < total; level *= 2) {
        uint64_t seen = hist_count_to(h, level);
        if (seen > before) {
            reply_int(r, (int64_t)(hist_equivalent_max(level, h->bits) / 1000));
            reply_int(r, (int64_t)seen);
            count++;
        }
        before = seen;
        if (level >> HIST_VALUE_BITS_MAX) break;
    }
    return count;
}

static void put_histogram(struct call *c, struct reply *r, size_t id, const struct hist *h)
{
    (void)c;
    reply_bulk_str(r, command_at(id)->name);
    reply_map(r, 2);
    reply_bulk_str(r, "calls");
    reply_int(r, (int64_t)counter_get(&h->count));
    reply_bulk_str(r, "histogram_usec");
    size_t mark = reply_deferred_begin(r);
    size_t count = put_cumulative(r, h);
    reply_deferred_map(r, mark, count);
}

void cmd_latency_histogram(struct call *c)
{
    size_t mark = reply_deferred_begin(&c->reply);
    size_t count = each_hist(c, METER_RAN, &c->reply, put_histogram);
    reply_deferred_map(&c->reply, mark, count);
}

/* ---- STAGES ---- */

static void put_stage(struct reply *r, const char *name, const struct hist *h)
{
    static const double percents[] = {50, 99, 99.9};
    static const char *const labels[] = {"p50", "p99", "p99.9"};
    reply_bulk_str(r, name);
    reply_map(r, 2 + ARRAY_COUNT(percents));
    reply_bulk_str(r, "calls");
    reply_int(r, h ? (int64_t)counter_get(&h->count) : 0);
    reply_bulk_str(r, "sum");
    reply_int(r, h ? (int64_t)(counter_get(&h->sum) / 1000) : 0);
    for (unsigned i = 0; i < ARRAY_COUNT(percents); i++) {
        reply_bulk_str(r, labels[i]);
        reply_double(r, h ? (double)(hist_percentile(h, percents[i]) / 10) / 100 : 0);
    }
}

static void put_stages(struct call *c, struct reply *r, size_t id, const struct hist *h)
{
    const struct hub *hub = c->conn->worker->hub;
    struct hist *queued = meter_merged(hub, id, METER_QUEUED);
    struct hist *waited = meter_merged(hub, id, METER_WAITED);
    reply_bulk_str(r, command_at(id)->name);
    reply_map(r, 3);
    put_stage(r, "queued_usec", queued);
    put_stage(r, "waited_usec", waited);
    put_stage(r, "ran_usec", h);
    mem_free(queued);
    mem_free(waited);
}

void cmd_latency_stages(struct call *c)
{
    size_t mark = reply_deferred_begin(&c->reply);
    size_t count = each_hist(c, METER_RAN, &c->reply, put_stages);
    reply_deferred_map(&c->reply, mark, count);
}

/* ---- INFO latencystats ---- */

void info_latencystats(struct info *i)
{
    const struct config_percentiles *wanted = &i->w->config->latency_percentiles;
    if (!i->w->config->latency_tracking) return;
    for (size_t id = 0; id < command_count(); id++) {
        struct hist *h = meter_merged(i->hub, id, METER_RAN);
        if (!h) continue;
        buf_printf(i->out, "latency_percentiles_usec_%s:", command_at(id)->name);
        for (size_t p = 0; p < wanted->count; p++) {
            char number[NUM_DOUBLE_LEN_MAX];
            int len = (int)num_format_double(number, wanted->values[p]);
            double value = (double)hist_percentile(h, wanted->values[p]) / 1000;
            buf_printf(i->out, "%sp%.*s=%.3f", p ? "," : "", len, number, value);
        }
        buf_append(i->out, "\r\n", 2);
        mem_free(h);
    }
}

void cmd_latency_help(struct call *c)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        "    Return a cumulative distribution of latencies in the format of a histogram for the "
        "specified command names.",
        "    If no commands are specified then all histograms are replied.",
        "STAGES [COMMAND ...]",
        "    Return, in microseconds, for how long commands were queued at their connection,",
        "    waited for another worker or a lock, and ran: calls, sum and percentiles. Calls that",
        "    did not wait are sampled, one in 64.",
        NULL};
    call_help(c, lines);
}
