/* Pending entries in the order of their deliveries: what XREADGROUP … CLAIM asks for.
 *
 *   group.by_age ─▶ blocks of struct stream_aged: when, id     sorted by both
 *
 * The order is made when a group is first read with CLAIM, by sorting all that is pending once, and
 * then kept: so the oldest are a walk from the front, however much is pending, and groups that are
 * never read so (all others, today) pay neither its 24 bytes for each entry nor the time. It is not
 * part of images, snapshots and DUMP: there it can be made again. For the same reason a change that
 * finds no memory just forgets it.
 *
 * Why not a second key in the blocks of pending entries, or links between them? Their records move,
 * and acknowledging in the order of ids is what has to be fast.
 * Thread: holder of the shard. */
#include "stream_impl.h"

#include <stdlib.h>

/* ---- keeping ---- */

void stream_age_forget(struct stream *s, struct stream_group *g)
{
    if (!g->by_age) return;
    stream_group_count(s, g, -(ptrdiff_t)(g->by_age->bytes + mem_usable(g->by_age)));
    blocks_deinit(g->by_age);
    mem_free(g->by_age);
    g->by_age = NULL;
}

void stream_age_changed(struct stream *s, struct stream_group *g, const struct stream_nack *was,
                        const struct stream_nack *is)
{
    if (likely(!g->by_age)) return;
    if (was && is && was->delivered == is->delivered) return;
    size_t before = g->by_age->bytes;
    int rc = 0;
    if (was) {
        struct stream_aged old = {was->delivered, was->id};
        rc = pending_remove(g->by_age, RECORD_AGED, &old);
        dcheck(rc == 1); /* nothing is frozen here */
        rc = rc == 1 ? 0 : -ENOMEM;
    }
    if (is && !rc) {
        struct stream_aged new = {is->delivered, is->id};
        rc = pending_insert(g->by_age, RECORD_AGED, &new);
    }
    stream_group_count(s, g, (ptrdiff_t)(g->by_age->bytes - before));
    if (rc) stream_age_forget(s, g);
}

/* ---- making ---- */

static int compare_aged(const void *a, const void *b)
{
    return stream_aged_compare(*(const struct stream_aged *)a, *(const struct stream_aged *)b);
}

static int fill(struct blocks *b, const struct stream_group *g)
{
    struct stream_pending p;
    const struct stream_nack *nack;
    size_t count = 0, all = stream_group_pending(g);
    if (all == 0) return 0;
    struct stream_aged *aged = mem_try_alloc(all * sizeof(*aged));
    if (!aged) return -ENOMEM;
    bool sorted = true;
    stream_pending_seek(&p, g, NULL, STREAM_ID_MIN);
    while ((nack = stream_pending_next(&p)) != NULL) {
        aged[count] = (struct stream_aged){nack->delivered, nack->id};
        sorted = sorted && (!count || compare_aged(&aged[count - 1], &aged[count]) < 0);
        count++;
    }
    if (!sorted) qsort(aged, count, sizeof(*aged), compare_aged);
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++) rc = pending_insert(b, RECORD_AGED, &aged[i]);
    mem_free(aged);
    return rc;
}

static int make(struct stream *s, struct stream_group *g)
{
    if (g->by_age) return 0;
    struct blocks *b = mem_try_alloc(sizeof(*b));
    if (!b) return -ENOMEM;
    blocks_init(b);
    g->by_age = b;
    stream_group_count(s, g, (ptrdiff_t)mem_usable(b));
    int rc = fill(b, g);
    stream_group_count(s, g, (ptrdiff_t)b->bytes);
    if (rc) stream_age_forget(s, g);
    return rc;
}

/* ---- asking ---- */

int stream_oldest(struct stream *s, struct stream_group *g, instant_ms until, uint64_t count,
                  struct buf *ids, struct buf *gone, instant_ms *next)
{
    struct blocks_cursor c;
    struct stream_aged aged;
    *next = EXPIRE_NONE;
    if (make(s, g)) return -ENOMEM;
    for (blocks_first(g->by_age, &c); c.block; blocks_next(g->by_age, &c)) {
        for (uint32_t i = 0; i < c.block->count; i++) {
            memcpy(&aged, c.block->bytes + (size_t)i * RECORD_AGED, sizeof(aged));
            if (aged.delivered > until || (count && ids->len == count * sizeof(aged.id))) {
                *next = aged.delivered;
                return ids->failed || gone->failed ? -ENOMEM : 0;
            }
            struct buf *to = stream_exists(s, aged.id) ? ids : gone;
            buf_append(to, &aged.id, sizeof(aged.id));
        }
    }
    return ids->failed || gone->failed ? -ENOMEM : 0;
}
