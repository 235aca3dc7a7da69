/* Which worker serves a connection.
 *
 *   packed (default)   new connections go to the first worker that is not well loaded; every tick
 *                      a worker that is nearly full gives a share of its traffic to one with room,
 *                      and once a second one with hardly any work gives what it has to a lower one
 *   spread             new connections go to the workers in turn; only a full worker gives any away
 *
 * At low load one worker so serves every shard (it borrows the others'), at the cost of one thread:
 * no wake-ups between workers, and batches twice as large (FIGURES section 3, "sticky"). When load
 * comes, it is spread within some tenths of a second.
 *
 * Load is the greater of two measures of the last tick, in permille: the part of the time not spent
 * waiting in the io, and the CPU time of the thread (the kernel receives bytes while the worker
 * waits). How much traffic a connection brings is the number of its commands since the last tick.
 * Only connections at rest move: nothing in flight, unsent or half read.
 * Thread: owner. */
#include <errno.h>

#include "acl.h"
#include "conn.h"
#include "splitring/io/net.h"
#include "splitring/io/os.h"
#include "splitring/io/tls.h"

#define LOAD_WELL 600u   /* permille: gets no new connections while another has less */
#define LOAD_HIGH 800u   /* gives traffic away … */
#define LOAD_APART 300u  /* … to one with so much less */
#define LOAD_SPARE 350u  /* both together: one worker is enough */
#define MOVES_MAX 128u   /* per tick */
#define REST_TICKS 3u    /* between two moves of a worker: the measures follow */

static uint64_t load_of(const struct hub *hub, worker_id id)
{
    return counter_get(&hub->published[id].load_permille);
}

static worker_id least_loaded(const struct hub *hub)
{
    worker_id lowest = 0;
    for (worker_id i = 1; i < hub->count; i++)
        if (load_of(hub, i) < load_of(hub, lowest)) lowest = i;
    return lowest;
}

worker_id balance_place(struct worker *w)
{
    if (w->config->connection_placement == CONFIG_PLACEMENT_SPREAD)
        return (worker_id)(w->accept_next++ % w->hub->count);
    for (worker_id i = 0; i < w->hub->count; i++)
        if (load_of(w->hub, i) < LOAD_WELL) return i;
    return least_loaded(w->hub);
}

/* Takes the measure of the last tick. */
static uint64_t measure(struct worker *w)
{
    struct os_usage usage;
    os_thread_usage_get(&usage);
    int64_t cpu_us = (int64_t)((usage.user_s + usage.system_s) * 1e6);
    int64_t span = w->mono_us - w->load_since_us, used = cpu_us - w->load_cpu_us;
    if (w->busy_us > used) used = w->busy_us;
    uint64_t load = span > 0 && used > 0 ? (uint64_t)(used * 1000 / span) : 0;
    w->load_cpu_us = cpu_us;
    w->load_since_us = w->mono_us;
    w->busy_us = 0;
    counter_set(&w->pub->load_permille, load < 1000 ? load : 1000);
    return load < 1000 ? load : 1000;
}

/* So many permille of this worker's commands go to another; true if a connection went. One
 * connection that is all the traffic stays: elsewhere it would be as much. */
static bool give(struct worker *w, worker_id to, uint64_t permille)
{
    uint64_t total = 0, given = 0;
    unsigned moves = 0;
    for (struct list *l = w->conns.next; l != &w->conns; l = l->next)
        total += CONTAINER_OF(l, struct conn, link)->ops_recent;
    LIST_FOREACH_SAFE(link, next, &w->conns) {
        struct conn *c = CONTAINER_OF(link, struct conn, link);
        if (moves == MOVES_MAX) break;
        if (!c->ops_recent || (given + c->ops_recent) * 1000 > total * permille) continue;
        if (!conn_migrate(c, to)) continue;
        given += c->ops_recent;
        moves++;
    }
    return moves != 0;
}

void worker_balance(struct worker *w)
{
    struct hub *hub = w->hub;
    w->balance_due = false;
    uint64_t load = measure(w);
    worker_id to = least_loaded(hub);
    bool packed = w->config->connection_placement == CONFIG_PLACEMENT_PACKED;
    if (w->balance_rest) {
        w->balance_rest--;
    } else if (load > LOAD_HIGH && load > load_of(hub, to) + LOAD_APART) {
        uint64_t share = (load - load_of(hub, to)) * 500 / load;
        if (give(w, to, share)) w->balance_rest = REST_TICKS;
    } else if (packed && w->id > 0 && w->cron_ticks % 10 == 0) {
        for (to = 0; to < w->id && load + load_of(hub, to) > LOAD_SPARE;) to++;
        if (to < w->id) give(w, to, 1000);
    }
    LIST_FOREACH_SAFE(link, next, &w->conns) CONTAINER_OF(link, struct conn, link)->ops_recent = 0;
}

/* ---- a connection changes hands ---- */

bool conn_migrate(struct conn *c, worker_id to)
{
    uint32_t busy = CONN_WAITING | CONN_CLOSING | CONN_READY | CONN_DIRTY | CONN_WANT_WRITE |
                    CONN_HAS_INPUT | CONN_PAUSED | CONN_READ_PAUSED | CONN_PEER_CLOSED |
                    CONN_MIGRATING;
    /* Others count on its being here. */
    if (conn_subscribed(c) || c->track || c->flags & CONN_MONITOR) return false;
    if (unlikely(io_handshaking(&c->sock))) return false; /* soon it is over */
    if (c->flags & busy || c->in.len || c->out.len || c->data || parse_held(&c->parser))
        return false;
    c->flags |= CONN_MIGRATING;
    c->migrate_to = to;
    io_detach(c->worker->io, &c->sock);
    return true;
}

void conn_migrate_send(struct conn *c, int fd)
{
    struct worker *w = c->worker;
    c->migrate_fd = fd;
    parse_deinit(&c->parser);
    client_memory_drop(c);
    list_remove(&c->link);
    w->conn_count--;
    counter_set(&w->pub->clients, w->conn_count);
    counter_add(&w->pub->migrated, 1);
    worker_send(w, c->migrate_to, MSG_CONN, c);
}

void conn_adopt(struct worker *w, struct conn *c)
{
    int fd = c->migrate_fd, rc = -ECANCELED;
    struct tls *tls = c->sock.tls; /* it comes along */
    c->worker = w;
    c->cut_group = 0; /* the other worker's number: this one's may come to it, too */
    c->deferred = 0;
    parse_init(&c->parser, &w->parse_pool);
    c->flags &= ~(uint32_t)CONN_MIGRATING;
    list_push_back(&w->conns, &c->link);
    w->conn_count++;
    counter_set(&w->pub->clients, w->conn_count);
    memset(&c->sock, 0, sizeof c->sock);
    if (!(c->flags & CONN_CLOSING))
        rc = unlikely(tls != NULL) ? io_attach_tls(w->io, &c->sock, tls, c)
                                   : io_attach(w->io, &c->sock, fd, c);
    if (rc != 0) {
        net_close(fd);
        tls_free(tls);
        c->flags |= CONN_CLOSING | CONN_RELEASED;
        conn_maybe_free(c);
        return;
    }
    client_memory_count(c);
    acl_conn_adopted(c);
    if (c->in.len) conn_ready(c); /* bytes that came in while it was on its way */
}
