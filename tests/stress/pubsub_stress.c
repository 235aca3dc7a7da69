/* Pushes over four workers with real threads: listeners that come and go, publishers, writers whose
 * events are heard, and a stop in the middle of it all.
 *
 *   steady listeners   hear everything, all in one order; a key's events in the order of its values
 *   fickle listeners   subscribe and leave; what they heard and what the steady ones heard is what
 *                      PUBLISH said
 *
 * Thread: each actor its own; the sums are taken after they have ended. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "ring.h"
#include "splitring/base/mem.h"
#include "splitring/base/rng.h"
#include "stress.h"

#define WORKERS 4u
#define CHANNELS 6u
#define STEADY 2u
#define FICKLE 2u
#define PUBLISHERS 2u
#define WRITERS 2u
#define ACTORS (STEADY + FICKLE + PUBLISHERS + WRITERS)

enum role { LISTENS, COMES_AND_GOES, PUBLISHES, WRITES };

struct actor {
    enum role role;
    unsigned id;
    int port;
    int64_t until_us;
    bool storm;
    struct rng rng;
    struct client client;
    struct buf heard; /* LISTENS: channel and text of each message, by lines */
    uint64_t count;   /* messages heard, or receivers that PUBLISH told of */
    bool gone;
};

static bool still(struct actor *a, bool fine)
{
    if (fine) return true;
    a->gone = true;
    EXPECT(a->storm, "actor %u: the server has closed", a->id);
    return false;
}

/* ---- listening ---- */

/* The n-th element, a bulk string, as text. */
static struct slice text_at(struct slice reply, int n)
{
    struct slice bulk = reply_element(reply, n);
    const char *nl = memchr(bulk.ptr, '\n', bulk.len);
    return nl ? slice_of(nl + 1, (size_t)(bulk.ptr + bulk.len - nl) - 3) : bulk;
}

static bool is_message(struct slice reply, int *text_index)
{
    struct slice what = text_at(reply, 0);
    *text_index = slice_equal(what, SLICE("pmessage")) ? 3 : 2;
    return *text_index == 3 || slice_equal(what, SLICE("message"));
}

static void listen(struct actor *a)
{
    struct slice reply;
    if (!still(a, client_call(&a->client, &reply, "PSUBSCRIBE ch* __keyspace@0__:n* end"))) return;
    for (unsigned confirmed = 1; client_reply(&a->client, &reply);) {
        int at;
        if (!is_message(reply, &at)) {
            confirmed++;
            continue;
        }
        struct slice channel = text_at(reply, at - 1);
        if (slice_equal(channel, SLICE("end"))) return;
        if (channel.ptr[0] == 'c') a->count++;
        buf_append_slice(&a->heard, channel);
        buf_append_char(&a->heard, ' ');
        buf_append_slice(&a->heard, text_at(reply, at));
        buf_append_char(&a->heard, '\n');
    }
    still(a, false);
}

static void come_and_go(struct actor *a)
{
    while (stress_now_us() < a->until_us && !a->gone) {
        unsigned first = (unsigned)rng_below(&a->rng, CHANNELS);
        bool pattern = rng_below(&a->rng, 4) == 0;
        const char *verb = pattern ? "P" : "";
        client_ask(&a->client, "%sSUBSCRIBE ch%u ch%u", verb, first, (first + 1) % CHANNELS);
        client_ask(&a->client, "%sUNSUBSCRIBE ch%u ch%u", verb, first, (first + 1) % CHANNELS);
        if (!still(a, client_send(&a->client))) return;
        for (unsigned confirmed = 0; confirmed < 4 && !a->gone;) {
            struct slice reply;
            int at;
            if (!still(a, client_reply(&a->client, &reply))) return;
            if (is_message(reply, &at)) a->count++;
            else confirmed++;
        }
    }
}

/* ---- speaking ---- */

static void publish(struct actor *a)
{
    for (uint64_t n = 0; stress_now_us() < a->until_us; n++) {
        unsigned burst = 1 + (unsigned)rng_below(&a->rng, 12);
        for (unsigned i = 0; i < burst; i++)
            client_ask(&a->client, "PUBLISH ch%u %u:%" PRIu64,
                       (unsigned)rng_below(&a->rng, CHANNELS), a->id, n);
        if (!still(a, client_send(&a->client))) return;
        for (unsigned i = 0; i < burst; i++) {
            struct slice reply;
            if (!still(a, client_reply(&a->client, &reply))) return;
            a->count += (uint64_t)reply_number(reply);
        }
    }
}

static void write_keys(struct actor *a)
{
    while (stress_now_us() < a->until_us) {
        unsigned burst = 1 + (unsigned)rng_below(&a->rng, 12);
        for (unsigned i = 0; i < burst; i++)
            client_ask(&a->client, rng_below(&a->rng, 2) ? "INCR n%u" : "DEL n%u",
                       (unsigned)rng_below(&a->rng, CHANNELS));
        if (!still(a, client_send(&a->client))) return;
        for (unsigned i = 0; i < burst; i++) {
            struct slice reply;
            if (!still(a, client_reply(&a->client, &reply))) return;
        }
    }
}

static void act(void *arg)
{
    struct actor *a = arg;
    client_init(&a->client);
    if (still(a, client_open(&a->client, a->port))) {
        switch (a->role) {
        case LISTENS: listen(a); break;
        case COMES_AND_GOES: come_and_go(a); break;
        case PUBLISHES: publish(a); break;
        case WRITES: write_keys(a); break;
        }
    }
    client_deinit(&a->client);
}

/* ---- phases ---- */

static enum role role_of(unsigned i)
{
    if (i < STEADY) return LISTENS;
    if (i < STEADY + FICKLE) return COMES_AND_GOES;
    return i < STEADY + FICKLE + PUBLISHERS ? PUBLISHES : WRITES;
}

/* A key that is not there is not deleted twice in a row: DEL's event comes after INCR's. */
static void judge_events(const struct actor *a)
{
    char last[CHANNELS] = {0};
    const char *at = a->heard.ptr, *end = at + a->heard.len;
    while (at && at < end) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        if (*at == '_') { /* __keyspace@0__:n1 incrby */
            unsigned key = (unsigned)(at[16] - '0');
            char what = at[18];
            EXPECT(what != 'd' || last[key] == 'i', "del without incrby before");
            last[key] = what;
        }
        at = nl + 1;
    }
}

static void judge(struct actor *actors)
{
    uint64_t heard = 0, told = 0;
    for (unsigned i = 0; i < ACTORS; i++)
        *(actors[i].role == PUBLISHES ? &told : &heard) += actors[i].count;
    EXPECT(heard == told, "%" PRIu64 " heard, %" PRIu64 " told", heard, told);
    for (unsigned i = 1; i < STEADY; i++)
        EXPECT(slice_equal(buf_slice(&actors[0].heard), buf_slice(&actors[i].heard)),
               "two orders of messages");
    judge_events(&actors[0]);
}

static void end_listening(int port)
{
    struct client c;
    struct slice reply;
    client_init(&c);
    EXPECT(client_open(&c, port) && client_call(&c, &reply, "PUBLISH end x") &&
           reply_number(reply) == STEADY, "the end is not heard");
    client_deinit(&c);
}

static void prepare(int port)
{
    struct client c;
    struct slice reply;
    client_init(&c);
    EXPECT(client_open(&c, port) &&
           client_call(&c, &reply, "CONFIG SET notify-keyspace-events KA") &&
           reply_is(reply, "+OK"), "CONFIG SET");
    client_deinit(&c);
}

static void run(const char *name, enum io_engine engine, bool lending, bool storm, double seconds)
{
    static struct actor actors[ACTORS];
    struct os_thread *threads[ACTORS];
    struct ring ring;
    uint64_t heard = 0;
    seconds = stress_seconds(seconds);
    stress_begin(name, 60 + 4 * (unsigned)seconds);
    if (!ring_start(&ring, engine, WORKERS, lending)) return;
    prepare(ring.port);
    int64_t until_us = stress_now_us() + (int64_t)(seconds * 1e6);
    for (unsigned i = 0; i < ACTORS; i++) {
        actors[i] = (struct actor){.role = role_of(i), .id = i, .port = ring.port, .storm = storm,
                                   .until_us = until_us + (storm ? 30000000 : 0)};
        rng_seed(&actors[i].rng, i + 1);
        if (os_thread_start(&threads[i], "actor", -1, NULL, act, &actors[i]) < 0) exit(2);
        if (i + 1 == STEADY) os_sleep_us(100000); /* they shall hear all of it */
    }
    if (storm) {
        os_sleep_us((int64_t)(seconds * 1e6));
        ring_stop(&ring);
    }
    for (unsigned i = STEADY; i < ACTORS; i++) os_thread_join(threads[i]);
    if (!storm) end_listening(ring.port);
    for (unsigned i = 0; i < STEADY; i++) {
        os_thread_join(threads[i]);
        heard += actors[i].count;
    }
    if (!storm) {
        judge(actors);
        ring_stop(&ring);
        EXPECT(heard > 20, "%s: only %" PRIu64 " messages", name, heard);
    }
    for (unsigned i = 0; i < ACTORS; i++) buf_deinit(&actors[i].heard);
    printf("%-42s %8" PRIu64 " messages heard\n", name, heard);
}

int main(void)
{
    run("io_uring, lending", IO_ENGINE_URING, true, false, 1.0);
    run("io_uring, messages only", IO_ENGINE_URING, false, false, 1.0);
    run("epoll, lending", IO_ENGINE_EPOLL, true, false, 1.0);
    run("io_uring, lending, stopped in a storm", IO_ENGINE_URING, true, true, 0.3);
    run("epoll, messages only, stopped in a storm", IO_ENGINE_EPOLL, false, true, 0.3);
    return stress_end();
}
