/* Keyspace events become messages.
 *
 * An event is said at the shard of its key, by whoever holds it, and goes straight to the workers
 * that listen: patterns and the channels `__keyspace@…`, `__keyevent@…` are known to every shard
 * (topics.c). So `__keyevent@0__:set` loads no shard in particular, and without listeners an event
 * costs a look at one number.
 *
 * Order: an event is appended to the unit's log while its shard is held, and the log gets its
 * ticket before the shard (or a batch's turn) is given on. So events of a key have tickets in the
 * order of its writes, through whatever hands the shard went, and all receivers deliver by ticket
 * (push.c). A command over several shards that are held together has its events in its own order.
 *
 * A command on copies (txn.c) runs on the coordinator's scratch shard while its keys are locked:
 * its events go by the register of the coordinator's own shard, and get their ticket before the
 * locks are released. Values that come home from there are put silently (KS_SILENT).
 *
 * An event that finds no memory is lost: its command has been done.
 * Thread: holder of the shard. */
#include "events.h"

#include "push.h"
#include "splitring/base/check.h"
#include "topics.h"

static_assert((int)EVENT_GENERIC == CONFIG_EVENT_GENERIC &&
              (int)EVENT_STRING == CONFIG_EVENT_STRING, "classes of config and keyspace");
static_assert((int)EVENT_LIST == CONFIG_EVENT_LIST && (int)EVENT_SET == CONFIG_EVENT_SET,
              "likewise");
static_assert((int)EVENT_HASH == CONFIG_EVENT_HASH && (int)EVENT_ZSET == CONFIG_EVENT_ZSET,
              "likewise");
static_assert((int)EVENT_EXPIRED == CONFIG_EVENT_EXPIRED &&
              (int)EVENT_EVICTED == CONFIG_EVENT_EVICTED, "likewise");
static_assert((int)EVENT_STREAM == CONFIG_EVENT_STREAM && (int)EVENT_MISS == CONFIG_EVENT_MISS,
              "likewise");
static_assert((int)EVENT_NEW == CONFIG_EVENT_NEW, "likewise");

#define EVENT_FORMS ((unsigned)(CONFIG_EVENT_KEYSPACE | CONFIG_EVENT_KEYEVENT))

static void say(struct worker *w, shard_id s, const char *form, db_id db, struct slice name,
                struct slice payload)
{
    struct topics *t = w->hub->topics[s];
    uint32_t mask;
    t->name.len = 0;
    t->name.failed = false;
    buf_printf(&t->name, "%s@%u__:", form, db);
    buf_append_slice(&t->name, name);
    if (t->name.failed) return;
    struct slice channel = buf_slice(&t->name);
    uint64_t hash = hash_key(channel, w->hub->seed);
    if (topics_receivers(t, TOPIC_CHANNEL, channel, hash, &mask))
        (void)push_message(w, PUSH_MESSAGE, s, mask, channel, hash, payload);
    buf_shrink(&t->name, 0);
}

static void on_event(void *ctx, struct shard *shard, db_id db, uint32_t class, const char *event,
                     struct slice key)
{
    struct hub *hub = ctx;
    shard_id s = shard_id_of(shard);
    const struct topics *t = hub->topics[s];
    (void)class;
    if (!t->everywhere) return;
    struct worker *w = hub->workers[hub->holders[s].by];
    dcheck(worker_holds(w, s));
    struct slice name = slice_str(event);
    if (t->notify & CONFIG_EVENT_KEYSPACE) say(w, s, "__keyspace", db, key, name);
    if (t->notify & CONFIG_EVENT_KEYEVENT) say(w, s, "__keyevent", db, name, key);
}

static uint32_t classes(const struct worker *w)
{
    unsigned wanted = w->config->notify_events;
    return wanted & EVENT_FORMS ? wanted & ~EVENT_FORMS : 0;
}

void events_config(struct worker *w)
{
    struct event_sink sink = {.event = on_event, .ctx = w->hub};
    dcheck(worker_holds(w, w->id));
    w->hub->topics[w->id]->notify = w->config->notify_events & EVENT_FORMS;
    shard_set_events(w->shard, classes(w), &sink);
}

void events_scratch_begin(struct worker *w)
{
    struct event_sink sink = {.event = on_event, .ctx = w->hub};
    if (likely(!classes(w))) return;
    worker_hold(w, w->id);
    shard_set_events(w->scratch, classes(w), &sink);
}

void events_scratch_end(struct worker *w)
{
    if (likely(!shard_event_classes(w->scratch))) return;
    shard_set_events(w->scratch, 0, NULL);
    push_flush(w);
}
