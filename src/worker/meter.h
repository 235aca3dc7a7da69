/* What a command costs: its time on every run, by way of the CPU's tick counter, and what follows
 * from it (histograms, the command log, latency events). The hot path is here, inline; meter.c says
 * how it stays cheap.
 * Thread: the worker that runs the command. */
#ifndef SPLITRING_SRC_WORKER_METER_H
#define SPLITRING_SRC_WORKER_METER_H

#include "conn.h"
#include "exec.h"
#include "script.h"
#include "splitring/base/hist.h"
#include "splitring/io/os.h"

#define METER_SAMPLE 64u /* one command in so many is staged, and gives its keys (hotkeys.h) */

/* How the time of a command was spent before it ran, in ns. */
struct meter_stages {
    uint64_t queued; /* from its input being ready until its turn */
    uint64_t waited; /* from the message until it ran at another shard: mailbox, locks */
    bool known;
};

static inline uint64_t meter_ticks(const struct worker *w)
{
#if defined(__x86_64__)
    if (likely(w->meter.scale)) return __builtin_ia32_rdtsc();
#endif
    return (uint64_t)os_mono_ns();
}

/* Of a span of ticks that may be long. */
uint64_t meter_ns_slow(const struct worker *w, uint64_t ticks);
static inline uint64_t meter_ns(const struct worker *w, uint64_t from, uint64_t to)
{
    uint64_t ticks = to - from;
    if (unlikely(ticks >> 32 || !w->meter.scale)) return meter_ns_slow(w, ticks);
    return ticks * w->meter.scale >> 32;
}

/* Commands that run one behind the other share a reading: the end of one is the start of the next.
 * Only between these two calls, and after meter_chain_on() where something else was done. */
static inline void meter_chain_on(struct worker *w) { w->meter.chain = meter_ticks(w); }
static inline void meter_chain_off(struct worker *w) { w->meter.chain = 0; }

/* x will run elsewhere or later: when that began, and how long it had been queued until then.
 * Thread: the client's worker. */
void meter_begin(struct worker *w, struct exec *x);

/* ---- around a handler (exec.c) ---- */

struct hist *meter_hist_new(struct worker *w, uint16_t command);
void meter_keep_heads_slow(struct worker *w, const struct exec *x);
void meter_look(struct worker *w, const struct exec *x, uint64_t start, uint64_t ns,
                size_t reply_len, bool counted);

/* False: with its handler the command has not ended, or what it took counts elsewhere. */
bool meter_ended_slow(struct worker *w, const struct exec *x, uint64_t ns);

/* Its own; others': meter_merged(). */
static inline struct hist *meter_hist(const struct worker_published *p, size_t command)
{
    return (struct hist *)(uintptr_t)counter_get(&p->hists[METER_RAN][command]);
}

static inline void meter_record(struct worker *w, const struct command *cmd, uint64_t ns)
{
    counter_add(&w->pub->nsec[cmd->id], ns);
    if (unlikely(!w->meter.tracking)) return;
    struct hist *h = meter_hist(w->pub, cmd->id);
    if (unlikely(!h)) h = meter_hist_new(w, cmd->id);
    if (likely(h != NULL)) hist_record(h, ns, HIST_BITS);
}

static inline uint64_t meter_start(struct worker *w, const struct exec *x)
{
    if (unlikely(x->args)) meter_keep_heads_slow(w, x);
    return likely(w->meter.chain) ? w->meter.chain : meter_ticks(w);
}

/* counted: the call counts as one. */
static inline void meter_end(struct worker *w, const struct exec *x, uint64_t start,
                             size_t out_before, bool counted)
{
    uint64_t end = meter_ticks(w);
    uint64_t ns = meter_ns(w, start, end);
    if (likely(w->meter.chain)) w->meter.chain = end;
    bool plain = !((uintptr_t)x->part_ns | (uintptr_t)x->block | (uintptr_t)x->script |
                   (uintptr_t)w->meter.fanout);
    if (unlikely(!plain) && !meter_ended_slow(w, x, ns)) return;
    meter_record(w, x->cmd, ns);
    size_t reply_len = x->out->len - out_before;
    bool look = --w->meter.sample == 0 || ns >= w->meter.look_ns ||
                reply_len >= w->meter.reply_limit || x->large_request || x->begun;
    if (unlikely(look)) meter_look(w, x, start, ns, reply_len, counted);
}

/* ---- elsewhere ---- */

/* A command that ran in parts at several shards has ended; ns: the sum of its parts. Thread: the
 * client's worker. */
void meter_parts_ended(struct worker *w, const struct exec *x, uint64_t ns, size_t reply_len);
/* A script that had paused has ended; ns: the sum of its slices. */
void meter_script_ended(struct worker *w, const struct exec *x, uint64_t ns, size_t reply_len);
/* A client has got what it waited for; ns: what serving it took. One that gave up is not counted
 * as having run, as in Redis. Thread: the client's worker. */
void meter_wait_ended(struct worker *w, const struct exec *x, uint64_t ns);
/* A fan-out has ended, its reply is made. */
void meter_fanout_ended(struct worker *w, struct fanout *f, size_t reply_len);
/* Settings have changed (start, CONFIG SET). */
void meter_config(struct worker *w);
/* CONFIG RESETSTAT: this worker's histograms. */
void meter_reset(struct worker *w);
/* Of all workers, merged; NULL: nothing was recorded, or no memory. The caller frees it. Thread:
 * any. */
struct hist *meter_merged(const struct hub *hub, size_t command, enum meter_kind kind);
void meter_init(struct worker *w);
void meter_deinit(struct worker *w);
/* Of worker n, when all have stopped. Thread: main. */
void meter_free_published(struct worker_published *p);

#endif
