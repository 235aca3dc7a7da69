/* Latency events: moments at which something took longer than latency-monitor-threshold (LATENCY).
 * Thread: the worker, unless a function says otherwise. */
#ifndef SPLITRING_SRC_WORKER_LATENCY_H
#define SPLITRING_SRC_WORKER_LATENCY_H

#include "internal.h"

#define LATENCY_SAMPLES 160u

/* Redis' names where there is one (latency_event_name). */
enum latency_event {
    LATENCY_COMMAND,      /* a command not marked fast */
    LATENCY_FAST_COMMAND,
    LATENCY_EXPIRE_CYCLE, /* removing what has expired */
    LATENCY_EVICTION_CYCLE, /* making room */
    LATENCY_EVENTS
};

struct latency_sample {
    int64_t time_s; /* 0: none */
    uint64_t ms;    /* the longest of that second */
};

/* samples[next - 1] is the newest. */
struct latency_series {
    struct latency_sample samples[LATENCY_SAMPLES];
    unsigned next;
    uint64_t max_ms;
};

struct latency *latency_new(void);
void latency_free(struct latency *latency);
const char *latency_event_name(enum latency_event event);
struct latency_series *latency_series(struct latency *latency, enum latency_event event);

/* It took so long: a sample, if that reaches the threshold. */
void latency_note(struct worker *w, enum latency_event event, uint64_t ns);
void latency_note_command(struct worker *w, const struct command *cmd, uint64_t ns);
/* Adds a sample made elsewhere; of one second the longest stays. */
void latency_add(struct latency_series *series, struct latency_sample sample);

#endif
