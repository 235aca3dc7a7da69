/* LATENCY GRAPH and LATENCY DOCTOR.
 *
 *     command - high 500 ms, low 101 ms (all time high 500 ms)
 *     ----------------------------------------------------------------…
 *        _#        rows of four levels: ' ' then '_', 'o', '#', and '|' below a top
 *       o||
 *     _|||
 *
 *     1152         how long ago, read downwards: 15s, 11s …
 *     51ss
 *     ss
 *
 * The doctor's report says what was seen and where to look next; of what Redis checks, only that is
 * said which exists here.
 * Source: https://redis.io/docs/latest/commands/latency-graph/, …/latency-doctor/
 * Thread: any. */
#include "latency_text.h"

#include <stdio.h>

#include "meter.h"
#include "splitring/base/mem.h"

#define ROWS 4u
#define LEVELS 3u /* of a character */
#define LABEL_MAX 8u
#define WORTH_SAYING_NS 10000000u

struct column {
    uint64_t ms;
    char label[LABEL_MAX];
};

static void label_of(char out[LABEL_MAX], int64_t age_s)
{
    long long age = age_s < 0 ? 0 : age_s;
    if (age < 60)
        snprintf(out, LABEL_MAX, "%llds", age);
    else if (age < 3600)
        snprintf(out, LABEL_MAX, "%lldm", age / 60);
    else if (age < 3600 * 24)
        snprintf(out, LABEL_MAX, "%lldh", age / 3600);
    else
        snprintf(out, LABEL_MAX, "%lldd", age / 86400 % 100000);
}

static size_t columns_of(const struct latency_series *series, int64_t now_s, struct column *out)
{
    size_t count = 0;
    for (unsigned i = 0; i < LATENCY_SAMPLES; i++) {
        const struct latency_sample *s = &series->samples[(series->next + i) % LATENCY_SAMPLES];
        if (!s->time_s) continue;
        out[count].ms = s->ms;
        label_of(out[count++].label, now_s - s->time_s);
    }
    return count;
}

/* The character of a column in a row counted from the top. */
static char cell(uint64_t ms, uint64_t low, uint64_t high, unsigned row)
{
    static const char tops[] = "_o#";
    double span = high > low ? (double)(high - low) : 1;
    unsigned steps = (unsigned)((double)(ms - low) / span * (ROWS * LEVELS - 1)) + 1;
    unsigned below = (ROWS - 1 - row) * LEVELS;
    if (steps <= below) return ' ';
    return steps > below + LEVELS ? '|' : tops[steps - below - 1];
}

/* Without blanks at its end. */
static void put_line(struct buf *out, char *line, size_t len)
{
    while (len && line[len - 1] == ' ') len--;
    buf_append(out, line, len);
    buf_append_char(out, '\n');
}

void latency_graph(struct buf *out, const char *event, const struct latency_series *series,
                   int64_t now_s)
{
    struct column columns[LATENCY_SAMPLES];
    char line[LATENCY_SAMPLES];
    uint64_t low = UINT64_MAX, high = 0;
    size_t count = columns_of(series, now_s, columns), deepest = 0;
    for (size_t i = 0; i < count; i++) {
        if (columns[i].ms < low) low = columns[i].ms;
        if (columns[i].ms > high) high = columns[i].ms;
        if (strlen(columns[i].label) > deepest) deepest = strlen(columns[i].label);
    }
    buf_printf(out, "%s - high %llu ms, low %llu ms (all time high %llu ms)\n", event,
               (unsigned long long)high, (unsigned long long)low,
               (unsigned long long)series->max_ms);
    for (unsigned i = 0; i < 80; i++) buf_append_char(out, '-');
    buf_append_char(out, '\n');
    for (unsigned row = 0; row < ROWS; row++) {
        for (size_t i = 0; i < count; i++) line[i] = cell(columns[i].ms, low, high, row);
        put_line(out, line, count);
    }
    buf_append_char(out, '\n');
    for (size_t depth = 0; depth < deepest; depth++) {
        for (size_t i = 0; i < count; i++)
            line[i] = depth < strlen(columns[i].label) ? columns[i].label[depth] : ' ';
        put_line(out, line, count);
    }
}

/* ---- the doctor ---- */

static void put_event(struct buf *out, unsigned n, const char *event,
                      const struct latency_series *series)
{
    uint64_t sum = 0;
    size_t count = 0;
    for (unsigned s = 0; s < LATENCY_SAMPLES; s++) {
        if (!series->samples[s].time_s) continue;
        sum += series->samples[s].ms;
        count++;
    }
    buf_printf(out, "%u. %s: %zu latency spikes (average %llums). Worst all time event %llums.\n",
               n, event, count, (unsigned long long)(count ? sum / count : 0),
               (unsigned long long)series->max_ms);
}

/* The command that has waited most in all, beside what it ran. */
static void put_waits(struct buf *out, const struct hub *hub)
{
    uint64_t worst = 0, ran = 0;
    const char *name = NULL;
    for (size_t id = 0; id < command_count(); id++) {
        struct hist *queued = meter_merged(hub, id, METER_QUEUED);
        struct hist *waited = meter_merged(hub, id, METER_WAITED);
        uint64_t sum = (queued ? counter_get(&queued->sum) : 0) +
                       (waited ? counter_get(&waited->sum) : 0);
        mem_free(queued);
        mem_free(waited);
        if (sum <= worst) continue;
        struct hist *own = meter_merged(hub, id, METER_RAN);
        worst = sum;
        ran = own ? counter_get(&own->sum) : 0;
        name = command_at(id)->name;
        mem_free(own);
    }
    if (name && worst > ran && worst > WORTH_SAYING_NS)
        buf_printf(out, "- '%s' waited longer (about %llums in all) than it ran (%llums): LATENCY "
                        "STAGES shows whether in its connection's queue or for other workers.\n",
                   name, (unsigned long long)(worst / 1000000),
                   (unsigned long long)(ran / 1000000));
}

void latency_doctor(struct buf *out, const struct worker *w, const struct latency_series *series)
{
    const struct config *c = w->config;
    unsigned count = 0;
    bool commands = series[LATENCY_COMMAND].max_ms || series[LATENCY_FAST_COMMAND].max_ms;
    for (unsigned e = 0; e < LATENCY_EVENTS; e++) count += series[e].max_ms != 0;
    if (!count) {
        buf_printf(out, "%s", c->latency_monitor_threshold_ms
            ? "Dave, no latency spike was observed during the lifetime of this Redis instance, not "
              "in the slightest bit. I honestly think you ought to sit down calmly, take a stress "
              "pill, and think things over.\n"
            : "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis "
              "instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in "
              "order to enable it. If we weren't in a deep space mission I'd suggest to take a "
              "look at https://redis.io/topics/latency-monitor.\n");
        return;
    }
    buf_printf(out, "Dave, I have observed latency spikes in this Redis instance. You don't mind "
                    "talking about it, do you Dave?\n\n");
    count = 0;
    for (unsigned e = 0; e < LATENCY_EVENTS; e++)
        if (series[e].max_ms)
            put_event(out, ++count, latency_event_name((enum latency_event)e), &series[e]);
    buf_printf(out, "\nI have a few advices for you:\n\n");
    if (commands && (c->slowlog_slower_than_us < 0 ||
                     c->slowlog_slower_than_us / 1000 > c->latency_monitor_threshold_ms))
        buf_printf(out, "- Your current Slow Log configuration only logs events that are slower "
                        "than your configured latency monitor threshold. Please use 'CONFIG SET "
                        "slowlog-log-slower-than %lld'.\n",
                   (long long)c->latency_monitor_threshold_ms * 1000);
    if (commands)
        buf_printf(out, "- Check your Slow Log to understand what are the commands you are running "
                        "which are too slow to execute. Please check "
                        "https://redis.io/commands/slowlog for more information.\n");
    if (series[LATENCY_EXPIRE_CYCLE].max_ms)
        buf_printf(out, "- Many keys, or large ones, expire at the same time: spread their times "
                        "to live.\n");
    put_waits(out, w->hub);
}
