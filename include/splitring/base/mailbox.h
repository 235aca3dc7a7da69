/* A bounded single-producer single-consumer ring of small messages; one for every ordered pair of
 * workers.
 *
 *   producer: owns `tail`, reads `head` only when its cached copy says full
 *   consumer: owns `head`, reads `tail` only when its cached copy says empty
 *
 * A send is visible to the consumer after mailbox_publish(), which stores `tail` once for all sends
 * of a pass. Messages that find the ring full wait in the producer's overflow list, in order;
 * it is flushed before newer ones. So sending never fails and never waits; only *starting* work
 * looks at mailbox_has_room() (DESIGN section 4: answers and releases always have room).
 * Thread: producer / consumer, as each function says. */
#ifndef SPLITRING_BASE_MAILBOX_H
#define SPLITRING_BASE_MAILBOX_H

#include <stdatomic.h>

#include "splitring/base/types.h"

#define MAILBOX_CAP 256u

struct message {
    uint32_t kind;
    uint32_t from;
    void *ptr;
};

struct mailbox {
    /* producer writes */
    _Alignas(CACHE_LINE) _Atomic uint32_t tail;
    uint32_t tail_local;  /* sent, perhaps not yet published */
    uint32_t head_cached;
    uint32_t cap;             /* <= MAILBOX_CAP; constant after start */
    struct message *overflow; /* FIFO beyond the ring */
    uint32_t overflow_count, overflow_cap, overflow_first;
    /* consumer writes */
    _Alignas(CACHE_LINE) _Atomic uint32_t head;
    uint32_t tail_cached;
    /* both */
    _Alignas(CACHE_LINE) struct message slots[MAILBOX_CAP];
};

void mailbox_init(struct mailbox *m, uint32_t cap); /* cap: 0 = MAILBOX_CAP (less: simulator) */
void mailbox_deinit(struct mailbox *m);
/* Thread: producer. */
void mailbox_send(struct mailbox *m, struct message msg);
/* True if anything became visible (the consumer may have to be woken). Thread: producer. */
bool mailbox_publish(struct mailbox *m);
/* Room to start new work. Thread: producer. */
bool mailbox_has_room(struct mailbox *m);
/* Messages not yet published or beyond the ring. Thread: producer. */
bool mailbox_pending(const struct mailbox *m);
/* Thread: consumer. */
bool mailbox_receive(struct mailbox *m, struct message *out);
bool mailbox_empty(const struct mailbox *m);
/* Published and not yet received, as of a moment ago. Thread: any. */
uint32_t mailbox_depth_shared(const struct mailbox *m);

#endif
