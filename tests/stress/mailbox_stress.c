/* Two threads, a mailbox each way, as between two workers.
 *
 *   producer ── descriptors, in order, in bursts ──▶ consumer
 *            ◀────────── the same descriptors come home ──────
 *
 * Bursts are longer than the ring, so the overflow list is in use; the descriptors' contents are
 * plain memory, written before the send and read behind the receive: TSan, or wrong words, tell if
 * a message is seen before what it points to. In some phases new work is started only where
 * there is room, and then nothing ever overflows.
 * Thread: main, producer and consumer. */
#include <string.h>

#include "splitring/base/mailbox.h"
#include "splitring/base/mem.h"
#include "splitring/base/rng.h"
#include "splitring/io/os.h"
#include "stress.h"

struct note {
    uint64_t seq;
    uint64_t words[6];
    uint64_t answer;
};

struct pair {
    struct mailbox out, home;
    uint32_t cap;
    bool respect_room; /* no overflow then: at most half the ring is on its way */
    int64_t until_us;
    /* producer */
    uint64_t sent, returned, overflowed;
    /* consumer */
    uint64_t received;
};

static void note_fill(struct note *n, uint64_t seq)
{
    n->seq = seq;
    for (unsigned i = 0; i < 6; i++) n->words[i] = seq * (i + 1) + i;
    n->answer = 0;
}

static bool note_right(const struct note *n, uint64_t seq)
{
    bool right = n->seq == seq;
    for (unsigned i = 0; i < 6; i++) right &= n->words[i] == seq * (i + 1) + i;
    return right;
}

static bool take_home(struct pair *p)
{
    struct message m;
    bool any = false;
    while (mailbox_receive(&p->home, &m)) {
        struct note *n = m.ptr;
        if (n->seq != p->returned || n->answer != ~n->seq || m.kind != 2)
            EXPECT(false, "cap %u: note %llu came home as %llu", p->cap,
                   (unsigned long long)p->returned, (unsigned long long)n->seq);
        p->returned++;
        mem_free(n);
        any = true;
    }
    return any;
}

static void produce(void *arg)
{
    struct pair *p = arg;
    struct rng rng;
    rng_seed(&rng, p->cap);
    while (stress_now_us() < p->until_us) {
        uint64_t burst = rng_below(&rng, p->respect_room ? 8 : p->cap * 2 + 40);
        for (uint64_t i = 0; i < burst; i++) {
            if (p->respect_room && !mailbox_has_room(&p->out)) break;
            struct note *n = mem_alloc(sizeof *n);
            note_fill(n, p->sent++);
            mailbox_send(&p->out, (struct message){1, 0, n});
        }
        p->overflowed += p->out.overflow_count != 0;
        mailbox_publish(&p->out);
        if (!take_home(p)) os_yield();
        /* Without has_room somebody else bounds what is in flight, as the worker's clients do. */
        while (p->sent - p->returned > 20000) {
            mailbox_publish(&p->out);
            if (!take_home(p)) os_yield();
        }
    }
    while (p->returned < p->sent) {
        mailbox_publish(&p->out);
        if (!take_home(p)) os_yield();
    }
    EXPECT(!mailbox_pending(&p->out), "cap %u: something left to publish", p->cap);
    mailbox_send(&p->out, (struct message){3, 0, NULL});
    while (mailbox_publish(&p->out) || mailbox_pending(&p->out)) os_yield();
}

static void consume(void *arg)
{
    struct pair *p = arg;
    for (;;) {
        struct message m;
        if (!mailbox_receive(&p->out, &m)) {
            if (!mailbox_publish(&p->home)) os_yield(); /* answers too may be beyond the ring */
            continue;
        }
        if (m.kind == 3) break;
        struct note *n = m.ptr;
        if (!note_right(n, p->received))
            EXPECT(false, "cap %u: message %llu is %llu", p->cap, (unsigned long long)p->received,
                   (unsigned long long)n->seq);
        n->answer = ~n->seq;
        p->received++;
        mailbox_send(&p->home, (struct message){2, 0, n});
        if (p->received % 64 == 0) mailbox_publish(&p->home);
    }
    EXPECT(mailbox_empty(&p->out), "cap %u: not empty at the end", p->cap);
}

static void run(uint32_t cap, bool respect_room)
{
    static struct pair p;
    struct os_thread *threads[2];
    memset((void *)&p, 0, sizeof p);
    p.cap = cap ? cap : MAILBOX_CAP;
    p.respect_room = respect_room;
    p.until_us = stress_now_us() + (int64_t)(stress_seconds(1.2) * 1e6);
    mailbox_init(&p.out, cap);
    mailbox_init(&p.home, cap);
    if (os_thread_start(&threads[0], "producer", -1, NULL, produce, &p) < 0 ||
        os_thread_start(&threads[1], "consumer", -1, NULL, consume, &p) < 0)
        exit(2);
    for (unsigned i = 0; i < 2; i++) os_thread_join(threads[i]);
    EXPECT(p.sent == p.received && p.sent == p.returned, "cap %u: %llu sent, %llu seen, %llu home",
           p.cap, (unsigned long long)p.sent, (unsigned long long)p.received,
           (unsigned long long)p.returned);
    EXPECT(p.sent > 1000, "cap %u: only %llu messages", p.cap, (unsigned long long)p.sent);
    EXPECT(respect_room ? p.overflowed == 0 : p.overflowed > 0, "cap %u: overflow used %llu times",
           p.cap, (unsigned long long)p.overflowed);
    printf("cap %3u %s %9llu messages, overflow seen %llu times\n", p.cap,
           respect_room ? "with room" : "bursts   ", (unsigned long long)p.sent,
           (unsigned long long)p.overflowed);
    mailbox_deinit(&p.out);
    mailbox_deinit(&p.home);
}

/* Alone: the rules of room and publishing, step by step. */
static void rules(void)
{
    static struct mailbox m;
    struct message got;
    mailbox_init(&m, 8);
    for (uint32_t i = 0; i < 4; i++) {
        EXPECT(mailbox_has_room(&m), "room for %u of 8", i);
        mailbox_send(&m, (struct message){i, 0, NULL});
    }
    EXPECT(!mailbox_has_room(&m), "half full: no new work");
    EXPECT(!mailbox_receive(&m, &got), "not visible before publish");
    EXPECT(mailbox_publish(&m) && !mailbox_publish(&m), "published once");
    for (uint32_t i = 4; i < 20; i++) mailbox_send(&m, (struct message){i, 0, NULL});
    EXPECT(mailbox_publish(&m) && mailbox_pending(&m), "twelve beyond the ring");
    for (uint32_t i = 0; i < 20; i++) {
        if (!mailbox_receive(&m, &got)) {
            mailbox_publish(&m);
            EXPECT(mailbox_receive(&m, &got), "%u is there after the flush", i);
        }
        EXPECT(got.kind == i, "%u came as %u", i, got.kind);
    }
    EXPECT(!mailbox_pending(&m) && mailbox_empty(&m) && mailbox_has_room(&m), "all gone");
    mailbox_deinit(&m);
}

int main(void)
{
    stress_begin("mailbox", 120);
    rules();
    run(2, false);
    run(16, false);
    run(0, false);
    run(4, true);
    run(0, true);
    return stress_end();
}
