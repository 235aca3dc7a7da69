/* One order for everything that is pushed.
 *
 *   unit ──append──▶ log ──flush: ticket──▶ one blob ──▶ mailbox of each worker concerned
 *                         (shards still held)            └▶ pending, by ticket ──▶ connections
 *
 * The rules of DESIGN 6a ("pushes", "events in MULTI") ask that messages of one channel, and events
 * of one key, arrive in the order in which they happened, though the shard may have been in several
 * hands, and that nobody sees an effect before its cause, on another channel either. Here all
 * pushes get tickets of one shared counter, and every worker delivers in the order of tickets:
 *
 * - A unit's records are collected and get one ticket *while its shards are still held*, so tickets
 *   of one channel or key are in the order of its holders. The same moment they are in the
 *   mailboxes: only then the shard is given back.
 * - Around taking a ticket and publishing, a worker's `open` word is at most that ticket; it is
 *   IDLE otherwise. What did not fit into a mailbox keeps `late`, a word per pair of workers.
 * - A receiver looks at its inboxes, notes the largest ticket T it found, reads all `open` and the
 *   `late` words for itself (B: the lowest), looks at its inboxes again, and delivers what is
 *   pending up to T and below B, sorted.
 *
 * Proof that a push q ≤ T, q < B for this worker is pending then: T was taken from the counter
 * after q, and the counter's additions are acquire and release, so the receiver, having T's
 * message, sees q's sender's `open` ≤ q, or something later. If it read that, B ≤ q. If it read
 * something later, q had been published, or `late` ≤ q been set, before: then either B ≤ q, or q
 * is in the inbox at the second look. And nothing overtakes causality: a push is shown only when
 * every `open` is above it, so it lies in every mailbox it is for, and whatever somebody does who
 * has seen it gets a larger ticket.
 *
 * The windows are a few hundred nanoseconds long, so a receiver hardly ever has to wait; then it
 * looks again some microseconds later. Why not the channel's owner as the one who orders and
 * forwards: two hops, a publisher that waits for both, order per channel only, and events of all
 * keys (`__keyevent@0__:set`) through one worker.
 *
 * Blobs are shared by all workers they are for; who drops the last reference frees. A publisher
 * whose receivers do not keep up is held back (push_crowded: group.c), by mailboxes that are full
 * and by bytes on their way; slow *clients* stall nobody, their output limits cut them.
 * Thread: the worker; `open`, `late`: one writer each, any reader. */
#include "push.h"

#include "journal.h"
#include "pubsub.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "tracking.h"

#define IDLE UINT64_MAX
#define LOG_MIN 1024u
#define WAY_BYTES_MAX (64u * 1024u * 1024u) /* of one worker, on their way */

struct push_blob {
    counter refs;
    uint64_t ticket;
    worker_id from;
    uint32_t mask;
    size_t len, cap;
    _Alignas(16) char bytes[];
};

struct pushes {
    struct push_blob *log;      /* of the running unit, or NULL */
    uint64_t last_ticket;
    uint64_t way_bytes;         /* sent to others, ever */
    uint32_t wake;              /* workers that got something since the last publish */
    struct push_blob **pending; /* ascending by ticket; [first, end) */
    size_t first, end, cap;
};

struct pushes *pushes_new(uint32_t workers)
{
    (void)workers;
    return mem_zalloc(sizeof(struct pushes));
}

void pushes_free(struct pushes *p)
{
    mem_free(p->log);
    for (size_t i = p->first; i < p->end; i++)
        if (refs_drop_shared(&p->pending[i]->refs)) mem_free(p->pending[i]);
    mem_free(p->pending);
    mem_free(p);
}

/* ---- the unit's log ---- */

static char *log_room(struct worker *w, size_t len)
{
    struct pushes *p = w->pushes;
    struct push_blob *b = p->log;
    if (!b || b->cap - b->len < len) {
        size_t used = b ? b->len : 0, cap = b ? b->cap * 2 : LOG_MIN;
        if (cap < used + len) cap = used + len;
        struct push_blob *more = mem_try_realloc(b, sizeof *b + cap);
        if (!more) return NULL;
        if (!b) *more = (struct push_blob){.from = w->id};
        more->cap = cap;
        p->log = b = more;
    }
    w->push_logged = true;
    b->len += len;
    return b->bytes + b->len - len;
}

struct push_record *push_append(struct worker *w, enum push_kind kind, shard_id shard,
                                uint32_t mask, size_t wire_len)
{
    dcheck(mask && worker_holds(w, shard));
    if (wire_len > SIZE_MAX / 4) return NULL;
    size_t len = (sizeof(struct push_record) + wire_len + 7) & ~(size_t)7;
    struct push_record *r = (struct push_record *)(void *)log_room(w, len);
    if (!r) return NULL;
    *r = (struct push_record){.len = len, .kind = (uint16_t)kind, .shard = shard, .mask = mask,
                              .wire_len = wire_len};
    w->pushes->log->mask |= mask;
    return r;
}

static char *put_bulk(char *at, struct slice s)
{
    *at++ = '$';
    at += num_format_u64(at, s.len);
    *at++ = '\r';
    *at++ = '\n';
    if (s.len) memcpy(at, s.ptr, s.len);
    at += s.len;
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static size_t bulk_len(struct slice s)
{
    char digits[NUM_I64_LEN_MAX + 1];
    return s.len + num_format_u64(digits, s.len) + 5;
}

bool push_message(struct worker *w, enum push_kind kind, shard_id shard, uint32_t mask,
                  struct slice channel, uint64_t hash, struct slice payload)
{
    size_t head = bulk_len(channel);
    struct push_record *r = push_append(w, kind, shard, mask, head + bulk_len(payload));
    if (!r) return false;
    r->hash = hash;
    r->channel_len = channel.len;
    r->channel_at = head - 2 - channel.len;
    put_bulk(put_bulk(r->wire, channel), payload);
    return true;
}

struct push_mark push_mark(const struct worker *w)
{
    const struct push_blob *b = w->pushes->log;
    return (struct push_mark){.len = b ? b->len : 0, .mask = b ? b->mask : 0,
                              .ticket = w->pushes->last_ticket};
}

static void rewind(struct worker *w, struct push_mark mark)
{
    struct push_blob *b = w->pushes->log;
    check(mark.ticket == w->pushes->last_ticket);
    b->len = mark.len;
    b->mask = mark.mask;
    w->push_logged = b->len != 0;
}

/* A key's clients have been forgotten with the record that tells them: that one has to stay. */
void push_rewind(struct worker *w, struct push_mark mark)
{
    struct push_blob *b = w->pushes->log;
    if (!b) return;
    size_t end = b->len;
    rewind(w, mark);
    for (size_t at = mark.len; at < end;) {
        struct push_record *r = (struct push_record *)(void *)(b->bytes + at);
        size_t len = r->len;
        if (r->kind == PUSH_INVALIDATE || r->kind == PUSH_BROADCAST) {
            b->mask |= r->mask;
            memmove(b->bytes + b->len, r, len);
            b->len += len;
            w->push_logged = true;
        }
        at += len;
    }
}

void push_take(struct worker *w, struct push_mark mark, struct buf *kept, uint32_t *mask)
{
    const struct push_blob *b = w->pushes->log;
    if (!b || b->len == mark.len) return;
    size_t before = kept->len;
    buf_append(kept, b->bytes + mark.len, b->len - mark.len);
    if (kept->failed) {
        kept->len = before;
        kept->failed = false;
        counter_next_shared(&w->hub->tracking_lost);
    }
    *mask |= b->mask;
    rewind(w, mark);
}

void push_put(struct worker *w, const struct buf *kept, uint32_t mask)
{
    char *at = kept->len ? log_room(w, kept->len) : NULL;
    if (!at && kept->len) counter_next_shared(&w->hub->tracking_lost);
    if (!at) return;
    memcpy(at, kept->ptr, kept->len);
    w->pushes->log->mask |= mask;
}

/* ---- sending ---- */

static void pending_insert(struct pushes *p, struct push_blob *b)
{
    if (p->end == p->cap) {
        if (p->first > p->cap / 2) {
            memmove(p->pending, p->pending + p->first, (p->end - p->first) * sizeof *p->pending);
            p->end -= p->first;
            p->first = 0;
        } else {
            p->cap = p->cap ? p->cap * 2 : 64;
            p->pending = mem_realloc(p->pending, p->cap * sizeof *p->pending);
        }
    }
    size_t at = p->end++;
    for (; at > p->first && p->pending[at - 1]->ticket > b->ticket; at--)
        p->pending[at] = p->pending[at - 1];
    p->pending[at] = b;
}

static void send_to(struct worker *w, worker_id to, struct push_blob *b)
{
    struct hub *hub = w->hub;
    struct mailbox *box = hub_push_mail(hub, w->id, to);
    mailbox_send(box, (struct message){0, w->id, b});
    mailbox_publish(box);
    w->pushes->wake |= 1u << to;
    counter_add(&w->pub->messages_out, 1);
    if (likely(!mailbox_pending(box))) return;
    counter *late = hub_push_late(hub, w->id, to);
    if (counter_get(late) == IDLE) counter_set(late, w->pushes->last_ticket);
    w->push_crowded = true;
}

void push_flush_slow(struct worker *w)
{
    struct pushes *p = w->pushes;
    struct hub *hub = w->hub;
    if (w->effects_stated) journal_flush(w);
    if (!w->push_logged) return;
    struct push_blob *b = p->log;
    uint32_t own = 1u << w->id, others = b->mask & ~own;
    bool stays = b->mask & own; /* else b is not to be touched once it is sent */
    w->push_logged = false;
    p->log = NULL;
    refs_init(&b->refs, (unsigned)__builtin_popcount(b->mask));
    if (hub->count == 1) {
        b->ticket = ++p->last_ticket;
    } else {
        counter *open = &hub->push_open[w->id].ticket;
        counter_set(open, p->last_ticket + 1);
        b->ticket = p->last_ticket = counter_next_shared(&hub->push_tickets);
        if (others) p->way_bytes += b->len;
        for (; others; others &= others - 1) {
            if (unlikely(hub->preempt)) hub->preempt(hub->preempt_ctx);
            send_to(w, (worker_id)__builtin_ctz(others), b);
        }
        counter_set_release(open, IDLE);
    }
    if (stays) pending_insert(p, b);
}

static bool much_on_its_way(const struct worker *w)
{
    uint64_t done = counter_get(&w->hub->push_open[w->id].done_bytes);
    return w->pushes->way_bytes - done > WAY_BYTES_MAX;
}

bool push_publish(struct worker *w)
{
    struct pushes *p = w->pushes;
    bool left = false;
    if (w->hub->count == 1) return false;
    for (worker_id to = 0; w->push_crowded && to < w->hub->count; to++) {
        struct mailbox *box = hub_push_mail(w->hub, w->id, to);
        counter *late = hub_push_late(w->hub, w->id, to);
        if (counter_get(late) == IDLE) continue;
        if (mailbox_publish(box)) p->wake |= 1u << to;
        if (mailbox_pending(box))
            left = true;
        else
            counter_set_release(late, IDLE);
    }
    w->push_crowded = left || much_on_its_way(w);
    for (; p->wake; p->wake &= p->wake - 1) worker_wake(w, (worker_id)__builtin_ctz(p->wake));
    return left;
}

/* ---- delivering ---- */

/* Takes what was visible when it began: a ring holds no more than MAILBOX_CAP. */
static void look(struct worker *w)
{
    for (worker_id from = 0; from < w->hub->count; from++) {
        struct message m;
        if (from == w->id) continue;
        if (unlikely(w->hub->preempt)) w->hub->preempt(w->hub->preempt_ctx);
        struct mailbox *box = hub_push_mail(w->hub, from, w->id);
        for (unsigned n = 0; n < MAILBOX_CAP && mailbox_receive(box, &m); n++)
            pending_insert(w->pushes, m.ptr);
    }
}

static uint64_t bound(const struct worker *w)
{
    uint64_t lowest = IDLE;
    for (worker_id from = 0; from < w->hub->count; from++) {
        if (from == w->id) continue;
        uint64_t open = counter_get_acquire_shared(&w->hub->push_open[from].ticket);
        uint64_t late = counter_get_acquire_shared(hub_push_late(w->hub, from, w->id));
        if (open < lowest) lowest = open;
        if (late < lowest) lowest = late;
    }
    return lowest;
}

static void deliver(struct worker *w, struct push_blob *b)
{
    for (size_t at = 0; at < b->len;) {
        const struct push_record *r = (const struct push_record *)(void *)(b->bytes + at);
        bool here = r->mask >> w->id & 1u;
        if (here && (r->kind == PUSH_INVALIDATE || r->kind == PUSH_BROADCAST))
            tracking_deliver(w, r);
        else if (here)
            pubsub_deliver(w, r);
        at += r->len;
    }
    if (!refs_drop_shared(&b->refs)) return;
    if (b->mask & ~(1u << b->from))
        counter_add_shared(&w->hub->push_open[b->from].done_bytes, b->len);
    mem_free(b);
}

bool push_deliver(struct worker *w)
{
    struct pushes *p = w->pushes;
    if (w->hub->count > 1) look(w);
    if (likely(p->first == p->end)) return false;
    if (journal_on(w->hub)) journal_saw_all(w); /* what is told may be about a write of others */
    uint64_t last = p->pending[p->end - 1]->ticket, below = IDLE;
    if (w->hub->count > 1) {
        uint32_t faults = w->hub->faults;
        if (likely(!(faults & FAULT_PUSH_NO_BOUND))) below = bound(w);
        if (likely(!(faults & FAULT_PUSH_ONE_LOOK))) look(w);
    }
    while (p->first < p->end) {
        struct push_blob *b = p->pending[p->first];
        if (b->ticket > last || b->ticket >= below) return true;
        p->first++;
        deliver(w, b);
    }
    p->first = p->end = 0;
    return false;
}

bool push_idle(const struct worker *w)
{
    const struct pushes *p = w->pushes;
    bool idle = p->first == p->end && !w->push_logged;
    for (worker_id from = 0; idle && w->hub->count > 1 && from < w->hub->count; from++)
        idle = mailbox_empty(hub_push_mail(w->hub, from, w->id)) &&
               !mailbox_pending(hub_push_mail(w->hub, w->id, from));
    return idle;
}
