/* Replies that wait for the disk.
 *
 * Under appendfsync always nobody may be shown what a crash can take back. A worker's `hold` is the
 * last ticket that anything it knows may depend on: of its own writes, of the shards it has taken,
 * and of everything, when it has got a message. When output is about to be sent, what is new in it
 * gets a mark: up to here, not before that ticket is durable. Marks are in order of both, so bytes
 * leave in order, up to the first mark that is not durable. Reads, pushes and errors are bytes like
 * any other.
 *
 *   out:  [sent │ free │ ≤ mark 0 │ ≤ mark 1 │ … ]
 *
 * A connection has few marks: where there is no room for another one, the last one grows, until the
 * first ones have gone; so one that is never quiet still moves on with every sync.
 * Thread: owner. */
#include "hold.h"

#include "splitring/base/mem.h"

#define MARKS_MAX 8u

struct holding {
    struct list link; /* worker.holding */
    struct conn *conn;
    size_t free_to;   /* of its output, nothing before this waits */
    unsigned count;
    struct {
        size_t at;
        uint64_t ticket;
    } marks[MARKS_MAX];
};

static uint64_t durable(const struct worker *w)
{
    if (w->config->appendfsync != CONFIG_FSYNC_ALWAYS) return UINT64_MAX;
    if (!journal_on(w->hub) || unlikely(w->hub->faults & FAULT_REPLY_EARLY)) return UINT64_MAX;
    return counter_get_acquire_shared(&w->hub->journal->durable);
}

static struct holding *holding_of(struct conn *c)
{
    if (c->holding) return c->holding;
    struct holding *h = c->holding = mem_zalloc(sizeof *h);
    list_init(&h->link);
    h->conn = c;
    h->free_to = c->out_sent;
    return h;
}

static void mark(struct holding *h, size_t at, uint64_t ticket)
{
    unsigned n = h->count;
    bool same = n && h->marks[n - 1].ticket == ticket;
    if (!same && n < MARKS_MAX) n = ++h->count;
    h->marks[n - 1].at = at;
    h->marks[n - 1].ticket = ticket;
}

size_t hold_limit_slow(struct conn *c)
{
    struct worker *w = c->worker;
    struct holding *h = c->holding;
    uint64_t done = durable(w);
    unsigned gone = 0;
    if (!h && w->hold <= done) return c->out.len;
    h = holding_of(c);
    if (h->free_to < c->out_sent) h->free_to = c->out_sent;
    size_t marked = h->count ? h->marks[h->count - 1].at : h->free_to;
    if (c->out.len > marked) mark(h, c->out.len, w->hold);
    while (gone < h->count && h->marks[gone].ticket <= done) h->free_to = h->marks[gone++].at;
    h->count -= gone;
    memmove(h->marks, h->marks + gone, h->count * sizeof h->marks[0]);
    size_t limit = h->free_to;
    if (h->count) return limit;
    hold_free(c);
    return limit;
}

void hold_wait(struct conn *c)
{
    struct holding *h = c->holding;
    struct worker *w = c->worker;
    if (!h || !list_empty(&h->link)) return;
    list_push_back(&w->holding, &h->link);
    if (h->marks[0].ticket < w->hold_next) w->hold_next = h->marks[0].ticket;
    counter_set(&w->hub->journal->lanes[w->id].waits, 1);
}

void hold_shift(struct conn *c, size_t len)
{
    struct holding *h = c->holding;
    if (likely(!h)) return;
    h->free_to -= len < h->free_to ? len : h->free_to;
    for (unsigned i = 0; i < h->count; i++) h->marks[i].at -= len;
}

void hold_free(struct conn *c)
{
    if (!c->holding) return;
    list_remove(&c->holding->link);
    mem_free(c->holding);
    c->holding = NULL;
}

/* ---- WAIT, WAITAOF ---- */

void hold_start_wait(struct conn *c, const struct log_wait *what)
{
    struct log_wait *wait = mem_alloc(sizeof *wait);
    struct worker *w = c->worker;
    *wait = *what;
    wait->conn = c;
    c->flags |= CONN_WAITING;
    c->in_flight = wait;
    counter_add(&w->pub->blocked, 1);
    list_push_back(&w->log_waits, &wait->link);
    counter_set(&w->hub->journal->lanes[w->id].waits, 1);
    persister_wake_shared(&w->hub->persister);
}

static void answer(struct worker *w, struct log_wait *wait, bool done)
{
    struct conn *c = wait->conn;
    struct buf out = {0};
    struct reply reply = {.out = &out, .proto = c->proto};
    bool aof = wait->aof;
    list_remove(&wait->link);
    mem_free(wait);
    counter_sub(&w->pub->blocked, 1);
    if (aof) {
        reply_array(&reply, 2);
        reply_int(&reply, done);
    }
    reply_int(&reply, 0); /* replicas */
    conn_append_reply(c, &out);
    buf_deinit(&out);
    bool gone = c->flags & CONN_PEER_CLOSED;
    conn_resume(c);
    if (gone) conn_close(c);
}

static void step_waits(struct worker *w)
{
    uint64_t done = counter_get_acquire_shared(&w->hub->journal->durable);
    LIST_FOREACH_SAFE(link, next, &w->log_waits) {
        struct log_wait *wait = CONTAINER_OF(link, struct log_wait, link);
        bool over = (wait->ticket <= done && !wait->for_ever) || w->stopping ||
                    w->mono_us >= wait->until_us ||
                    wait->conn->flags & (CONN_CLOSING | CONN_PEER_CLOSED);
        if (over) answer(w, wait, wait->ticket <= done);
    }
}

/* ---- the pass ---- */

static bool waits_over(const struct worker *w)
{
    uint64_t done = counter_get_acquire_shared(&w->hub->journal->durable);
    LIST_FOREACH_SAFE(link, next, &w->log_waits)
        if (CONTAINER_OF(link, struct log_wait, link)->ticket <= done &&
            !CONTAINER_OF(link, struct log_wait, link)->for_ever)
            return true;
    return false;
}

bool hold_due(const struct worker *w)
{
    return (!list_empty(&w->holding) && w->hold_next <= durable(w)) || waits_over(w);
}

int64_t hold_next_us(const struct worker *w)
{
    int64_t next = -1;
    LIST_FOREACH_SAFE(link, following, &w->log_waits) {
        const struct log_wait *wait = CONTAINER_OF(link, struct log_wait, link);
        if (wait->until_us == INT64_MAX) continue;
        int64_t left = wait->until_us > w->mono_us ? wait->until_us - w->mono_us : 1;
        if (next < 0 || left < next) next = left;
    }
    return next;
}

void hold_step_slow(struct worker *w)
{
    uint64_t done = durable(w), lowest = UINT64_MAX;
    if (w->hold_next <= done) {
        LIST_FOREACH_SAFE(link, next, &w->holding) {
            struct holding *h = CONTAINER_OF(link, struct holding, link);
            if (h->marks[0].ticket > done) {
                if (h->marks[0].ticket < lowest) lowest = h->marks[0].ticket;
                continue;
            }
            list_remove(&h->link);
            conn_dirty(h->conn);
        }
        w->hold_next = lowest;
    }
    step_waits(w);
    if (list_empty(&w->holding) && list_empty(&w->log_waits))
        counter_set(&w->hub->journal->lanes[w->id].waits, 0);
}
