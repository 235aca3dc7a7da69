/* Series of latency samples, one per event and worker: rings of 160, at most one sample a second.
 * LATENCY merges those of all workers (local_latency.c).
 *
 * Nothing is asked for here that is not known anyway: a command's time has been taken (meter.h),
 * the sweep of what has expired is timed for INFO.
 * Source: https://redis.io/docs/latest/commands/latency-latest/ and its neighbours.
 * Thread: the worker. */
#include "latency.h"

#include "splitring/base/mem.h"
#include "splitring/io/os.h"

struct latency {
    struct latency_series series[LATENCY_EVENTS];
};

struct latency *latency_new(void) { return mem_zalloc(sizeof(struct latency)); }

void latency_free(struct latency *latency) { mem_free(latency); }

const char *latency_event_name(enum latency_event event)
{
    static const char *const names[] = {"command", "fast-command", "expire-cycle",
                                        "eviction-cycle"};
    static_assert(ARRAY_COUNT(names) == LATENCY_EVENTS, "a name for each");
    return names[event];
}

struct latency_series *latency_series(struct latency *latency, enum latency_event event)
{
    return &latency->series[event];
}

void latency_add(struct latency_series *series, struct latency_sample sample)
{
    struct latency_sample *last =
        &series->samples[(series->next + LATENCY_SAMPLES - 1) % LATENCY_SAMPLES];
    if (sample.ms > series->max_ms) series->max_ms = sample.ms;
    if (last->time_s == sample.time_s) {
        if (sample.ms > last->ms) last->ms = sample.ms;
        return;
    }
    series->samples[series->next] = sample;
    series->next = (series->next + 1) % LATENCY_SAMPLES;
}

void latency_note(struct worker *w, enum latency_event event, uint64_t ns)
{
    int64_t threshold = w->config->latency_monitor_threshold_ms;
    if (!threshold || ns / 1000000 < (uint64_t)threshold) return;
    latency_add(&w->latency->series[event],
                (struct latency_sample){os_unix_us() / 1000000, ns / 1000000});
}

void latency_note_command(struct worker *w, const struct command *cmd, uint64_t ns)
{
    latency_note(w, cmd->flags & CMD_FAST ? LATENCY_FAST_COMMAND : LATENCY_COMMAND, ns);
}
