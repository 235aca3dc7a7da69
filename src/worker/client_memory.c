/* maxmemory-clients: memory of connections, and closing the largest when all take too much.
 *
 *   input, output ──▶ grown ──▶ end of the pass: counted again ──▶ worker's sum (published)
 *                                                            └──▶ its class by powers of two
 *   the sums of all workers reach the limit ──▶ the highest class that anybody has
 *        it is here:      its oldest member is closed, and so on
 *        it is elsewhere: that worker is woken, and looks at the end of its own pass
 *
 * A connection knows what it was last counted with, so sums change by differences. Without a limit
 * nothing is noted: the tick counts all connections once a second, which is what INFO shows, and
 * the hot path pays one branch. With a limit every connection that received, sent or was answered
 * is counted once more before its worker sleeps; what grows without either (an invalidation, a
 * message, a watched key of another's command) makes output, and so is noted as well.
 *
 * Counted are, as in Redis, and in bytes that are really taken: unread input, the arguments of an
 * unfinished command, queued commands, unsent output, subscriptions with the names of their
 * channels, watched keys, and prefixes of BCAST. So CLIENT LIST's tot-mem is what eviction goes by.
 *
 * Why classes: the largest first needs an order, and an exact one would move with each command.
 * Powers of two move rarely, and Redis evicts in the same order. The choice between workers needs
 * one number of each class per worker, so nobody looks into another's connections.
 *
 * CLIENT NO-EVICT takes a connection out of its class, not out of the sum. There are no replicas or
 * primaries here yet, which would be neither.
 * Thread: owner. */
#include "client_memory.h"

#include "conn.h"
#include "local.h"
#include "splitring/io/log.h"

#define CLASS_FIRST 16u             /* log2 of what the lowest class is below */
#define LIMIT_MIN ((uint64_t)128 << 10) /* less would keep everybody out (as Redis) */
#define EVICTIONS_PER_STEP 64u

uint64_t client_memory_limit(const struct hub *hub, const struct config *config)
{
    uint64_t limit = (uint64_t)config->maxmemory_clients;
    if (config->maxmemory_clients < 0)
        limit = budget_limit(hub, config) / 100 * (uint64_t)-config->maxmemory_clients;
    return limit && limit < LIMIT_MIN ? LIMIT_MIN : limit;
}

void client_memory_init(struct client_memory *m)
{
    for (unsigned i = 0; i < CLIENT_CLASSES; i++) list_init(&m->classes[i]);
    list_init(&m->grown);
}

void client_memory_config(struct worker *w)
{
    struct client_memory *m = &w->client_memory;
    bool before = m->limit != 0;
    m->limit = client_memory_limit(w->hub, w->config);
    m->complained = m->again = false;
    if (!before && !m->limit) return;
    for (struct list *l = w->conns.next; l != &w->conns; l = l->next)
        client_memory_count(CONTAINER_OF(l, struct conn, link));
}

/* ---- counting ---- */

static uint8_t class_of(size_t bytes)
{
    if (bytes >> CLASS_FIRST == 0) return 1;
    unsigned log = 63u - (unsigned)__builtin_clzll(bytes);
    unsigned class = log - CLASS_FIRST + 2;
    return (uint8_t)(class < CLIENT_CLASSES ? class : CLIENT_CLASSES);
}

/* class: 1 .. CLIENT_CLASSES; 0: none. */
static void put_into(struct conn *c, uint8_t class)
{
    struct worker *w = c->worker;
    if (class == c->memory_class) return;
    list_remove(&c->class_link);
    if (c->memory_class) counter_sub(&w->pub->client_classes[c->memory_class - 1], 1);
    c->memory_class = class;
    if (!class) return;
    list_push_back(&w->client_memory.classes[class - 1], &c->class_link);
    counter_add(&w->pub->client_classes[class - 1], 1);
}

static void counted_as(struct conn *c, size_t bytes)
{
    struct client_memory *m = &c->worker->client_memory;
    m->bytes += bytes - c->memory;
    c->memory = bytes;
    counter_set(&c->worker->pub->clients_bytes, m->bytes);
}

void client_memory_count(struct conn *c)
{
    if (c->flags & (CONN_CLOSING | CONN_MIGRATING)) return;
    counted_as(c, conn_memory(c));
    bool may_go = c->worker->client_memory.limit && !(c->flags & CONN_NO_EVICT);
    put_into(c, may_go ? class_of(c->memory) : 0);
}

void client_memory_drop(struct conn *c)
{
    counted_as(c, 0);
    put_into(c, 0);
    list_remove(&c->grown_link);
}

void client_memory_note_slow(struct conn *c)
{
    if (list_empty(&c->grown_link)) list_push_back(&c->worker->client_memory.grown, &c->grown_link);
}

/* ---- eviction ---- */

static uint64_t in_use(const struct hub *hub)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < hub->count; i++)
        bytes += counter_get(&hub->published[i].clients_bytes);
    return bytes;
}

static void evict(struct conn *c)
{
    struct buf line = {0};
    client_describe(c, &line);
    if (!line.failed) log_line(LOG_LEVEL_NOTICE, "Evicting client: %.*s", (int)line.len, line.ptr);
    buf_deinit(&line);
    counter_add(&c->worker->pub->evicted_clients, 1);
    conn_close(c);
}

/* The workers that have somebody in the highest class that anybody is in; 0: nobody is. */
static uint32_t who_has_largest(const struct hub *hub, unsigned *class)
{
    uint32_t mask = 0;
    for (unsigned n = CLIENT_CLASSES; n > 0 && !mask; n--) {
        *class = n - 1;
        for (unsigned i = 0; i < hub->count; i++)
            if (counter_get(&hub->published[i].client_classes[n - 1])) mask |= 1u << i;
    }
    return mask;
}

bool client_memory_step_slow(struct worker *w)
{
    struct client_memory *m = &w->client_memory;
    struct list *link;
    while ((link = list_pop_front(&m->grown)) != NULL)
        client_memory_count(CONTAINER_OF(link, struct conn, grown_link));
    m->again = false;
    for (unsigned n = 0; in_use(w->hub) >= m->limit; n++) {
        unsigned class;
        uint32_t mask = who_has_largest(w->hub, &class);
        if (mask == 0) {
            if (!m->complained)
                log_line(LOG_LEVEL_WARNING,
                         "Over client maxmemory after evicting all evictable clients");
            m->complained = true;
            return false;
        }
        if (!(mask >> w->id & 1u)) {
            for (; mask; mask &= mask - 1) worker_wake(w, (worker_id)__builtin_ctz(mask));
            m->again = true;
            return false;
        }
        if (n == EVICTIONS_PER_STEP) return true;
        evict(CONTAINER_OF(m->classes[class].next, struct conn, class_link));
    }
    m->complained = false;
    return false;
}
