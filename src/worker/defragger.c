/* activedefrag: when, and how fast.
 *
 * Each worker judges its own shard, by what it publishes once a second: the gaps in its pages (held
 * less used). They must be active-defrag-threshold-lower percent of what is in use, and the shard's
 * part of active-defrag-ignore-bytes. Then rounds run (keyspace/defrag.c), in slices of
 * active-defrag-cycle-us, 100 µs at most beside commands, and with pauses between them, so that all
 * slices together take from active-defrag-cycle-min to -cycle-max percent of the worker, by how
 * large the gaps are between the two thresholds.
 *
 * Some gaps stay whatever is moved: each block size has pages that are being filled. A round that
 * has mended next to nothing is followed by another only when gaps have grown again; else a low
 * threshold would make it run for ever.
 *
 * No round runs while the server is being loaded. Beside a snapshot one may: it changes no value.
 * Thread: owner. */
#include "defragger.h"

#include "internal.h"
#include "splitring/io/os.h"
#include "splitring/keyspace/defrag.h"
#include "stats.h"

#define LOOK_US 1000000
#define BESIDE_COMMANDS_US 100
#define STEP_BUDGET 256u    /* slots between two looks at the clock */
#define STEPS_MAX 256u      /* of a slice, whatever the clock says */
#define MENDED_SHARE 20u    /* a round that mends less than this part of the gaps was the last */
#define GROWN_SHARE 4u      /* … until they have grown by this part */

static uint64_t gaps(const struct worker *w, uint64_t *used)
{
    const struct shard_published *pub = &w->hub->shard_published[w->id];
    uint64_t held = counter_get(&pub->slab_held);
    *used = counter_get(&pub->slab_used);
    return held > *used ? held - *used : 0;
}

/* Percent of the worker; 0: the gaps are not worth it. */
static unsigned percent_for(const struct worker *w, uint64_t gap, uint64_t used)
{
    const struct config *c = w->config;
    uint64_t percent = gap * 100 / (used ? used : 1);
    uint64_t lower = (uint64_t)c->defrag_lower, upper = (uint64_t)c->defrag_upper;
    if (gap * w->hub->count < (uint64_t)c->defrag_ignore_bytes || percent < lower) return 0;
    unsigned low = (unsigned)c->defrag_cycle_min, high = (unsigned)c->defrag_cycle_max;
    if (high < low) high = low;
    if (percent >= upper || upper <= lower) return high;
    return low + (unsigned)((percent - lower) * (high - low) / (upper - lower));
}

static void publish(struct worker *w)
{
    struct defragger *d = &w->defragger;
    struct defrag_counts now = shard_defrag_counts(w->shard);
    const uint64_t counts[4] = {now.hits, now.misses, now.key_hits, now.key_misses};
    for (unsigned i = 0; i < 4; i++) {
        counter_add(&w->pub->defrag[i], counts[i] - d->counted[i]);
        d->counted[i] = counts[i];
    }
    counter_set(&w->pub->defrag_percent, d->runs ? d->percent : 0);
    counter_set(&w->pub->defrag_since_us, d->runs ? (uint64_t)d->begun_us : 0);
}

static void consider(struct worker *w)
{
    struct defragger *d = &w->defragger;
    uint64_t used, gap = gaps(w, &used);
    d->next_us = w->mono_us + LOOK_US;
    if (gap < d->gaps_left) d->gaps_left = gap;
    d->percent = percent_for(w, gap, used);
    if (!d->percent || w->loading) return;
    if (d->gaps_left && gap < d->gaps_left + d->gaps_left / GROWN_SHARE) return;
    worker_hold(w, w->id);
    if (!shard_defrag_start(w->shard)) return;
    d->runs = true;
    d->begun_us = d->next_us = w->mono_us;
    publish(w);
}

static void round_over(struct worker *w)
{
    struct defragger *d = &w->defragger;
    uint64_t used, gap, freed = shard_defrag_counts(w->shard).freed;
    stats_publish_shard(w, w->id);
    gap = gaps(w, &used);
    counter_add(&w->pub->defrag_us, (uint64_t)(w->mono_us - d->begun_us));
    d->runs = false;
    d->gaps_left = freed - d->freed < gap / MENDED_SHARE ? gap : 0;
    d->freed = freed;
    d->next_us = w->mono_us + LOOK_US;
}

static void slice(struct worker *w)
{
    struct defragger *d = &w->defragger;
    int64_t start_us = os_mono_us(), slice_us = w->config->defrag_cycle_us, took_us = 0;
    uint64_t commands = counter_get(&w->pub->commands);
    bool beside = commands != d->commands, more = true;
    if (slice_us == 0 || (beside && slice_us > BESIDE_COMMANDS_US)) slice_us = BESIDE_COMMANDS_US;
    d->commands = commands;
    worker_hold(w, w->id);
    if (!w->config->defrag || w->loading) shard_defrag_stop(w->shard);
    for (unsigned n = 0; n < STEPS_MAX && more && took_us < slice_us; n++) {
        more = shard_defrag_step(w->shard, STEP_BUDGET);
        took_us = os_mono_us() - start_us;
    }
    worker_touched(w, w->id, 0);
    d->next_us = w->mono_us + took_us + took_us * (100 - (int64_t)d->percent) / d->percent;
    if (!more) round_over(w);
    publish(w);
}

void defragger_step(struct worker *w)
{
    struct defragger *d = &w->defragger;
    if (w->mono_us < d->next_us) return;
    if (d->runs) slice(w);
    else if (w->config->defrag) consider(w);
}

int64_t defragger_next_us(const struct worker *w)
{
    return w->defragger.runs ? w->defragger.next_us : INT64_MAX;
}
