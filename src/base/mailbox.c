/* The SPSC ring between two workers.
 *
 * Indices run freely over 32 bits; slot = index mod MAILBOX_CAP. The producer fills slots and
 * publishes them with one release store per pass; the consumer's acquire load of `tail` makes the
 * slots, and everything the producer wrote before publishing (descriptors behind the pointers),
 * visible. The consumer's release store of `head` hands slots back.
 *
 * Why an overflow list and not reserved room: the number of messages in flight is bounded by the
 * work that was let in (mailbox_has_room at the start of work), so the list is as bounded as a
 * reservation would be, and no path has to count. */
#include "splitring/base/mailbox.h"

#include <string.h>

#include "splitring/base/mem.h"

static_assert((MAILBOX_CAP & (MAILBOX_CAP - 1)) == 0, "slot index is a mask");

void mailbox_init(struct mailbox *m, uint32_t cap)
{
    memset((void *)m, 0, sizeof *m);
    m->cap = cap && cap < MAILBOX_CAP ? cap : MAILBOX_CAP;
}

void mailbox_deinit(struct mailbox *m)
{
    mem_free(m->overflow);
    m->overflow = NULL;
}

static bool ring_full(struct mailbox *m)
{
    if (m->tail_local - m->head_cached < m->cap) return false;
    m->head_cached = atomic_load_explicit(&m->head, memory_order_acquire);
    return m->tail_local - m->head_cached >= m->cap;
}

static void overflow_push(struct mailbox *m, struct message msg)
{
    if (m->overflow_first + m->overflow_count == m->overflow_cap) {
        if (m->overflow_first > m->overflow_cap / 2) {
            memmove(m->overflow, m->overflow + m->overflow_first,
                    m->overflow_count * sizeof *m->overflow);
            m->overflow_first = 0;
        } else {
            m->overflow_cap = m->overflow_cap ? m->overflow_cap * 2 : 64;
            m->overflow = mem_realloc(m->overflow, m->overflow_cap * sizeof *m->overflow);
        }
    }
    m->overflow[m->overflow_first + m->overflow_count++] = msg;
}

static void overflow_flush(struct mailbox *m)
{
    while (m->overflow_count && !ring_full(m)) {
        m->slots[m->tail_local++ % MAILBOX_CAP] = m->overflow[m->overflow_first++];
        m->overflow_count--;
    }
    if (!m->overflow_count) m->overflow_first = 0;
}

void mailbox_send(struct mailbox *m, struct message msg)
{
    if (unlikely(m->overflow_count)) overflow_flush(m);
    if (unlikely(m->overflow_count || ring_full(m))) {
        overflow_push(m, msg);
        return;
    }
    m->slots[m->tail_local++ % MAILBOX_CAP] = msg;
}

bool mailbox_publish(struct mailbox *m)
{
    if (unlikely(m->overflow_count)) overflow_flush(m);
    if (atomic_load_explicit(&m->tail, memory_order_relaxed) == m->tail_local) return false;
    atomic_store_explicit(&m->tail, m->tail_local, memory_order_release);
    return true;
}

bool mailbox_has_room(struct mailbox *m)
{
    if (m->overflow_count) return false;
    if (m->tail_local - m->head_cached < m->cap / 2) return true;
    m->head_cached = atomic_load_explicit(&m->head, memory_order_acquire);
    return m->tail_local - m->head_cached < m->cap / 2;
}

bool mailbox_pending(const struct mailbox *m)
{
    return m->overflow_count ||
           atomic_load_explicit(&m->tail, memory_order_relaxed) != m->tail_local;
}

bool mailbox_receive(struct mailbox *m, struct message *out)
{
    uint32_t head = atomic_load_explicit(&m->head, memory_order_relaxed);
    if (head == m->tail_cached) {
        m->tail_cached = atomic_load_explicit(&m->tail, memory_order_acquire);
        if (head == m->tail_cached) return false;
    }
    *out = m->slots[head % MAILBOX_CAP];
    atomic_store_explicit(&m->head, head + 1, memory_order_release);
    return true;
}

bool mailbox_empty(const struct mailbox *m)
{
    return atomic_load_explicit(&m->head, memory_order_relaxed) ==
           atomic_load_explicit(&m->tail, memory_order_acquire);
}

uint32_t mailbox_depth_shared(const struct mailbox *m)
{
    uint32_t head = atomic_load_explicit(&m->head, memory_order_acquire);
    uint32_t depth = atomic_load_explicit(&m->tail, memory_order_acquire) - head;
    return depth < MAILBOX_CAP ? depth : MAILBOX_CAP; /* it may have gone round meanwhile */
}
