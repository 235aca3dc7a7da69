/* A shard's register of subscriptions.
 *
 *   channel → how many subscriptions each worker has, and a mask of those that have any
 *
 * A channel is known to the shard of its slot; whoever holds that shard may publish: he knows at
 * once how many receive the message, and the workers it goes to. No worker but those with
 * subscribers hears of it, and nobody has to be asked. Patterns may match any channel, so every
 * shard knows them all; channels of keyspace events (`__keyspace@…`, `__keyevent@…`) likewise,
 * because events come from the shard of the key.
 *
 * Names are as long as clients like: their memory may fail to come.
 * Thread: holder of the shard. */
#include "topics.h"

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/data/table.h"

struct topic_route {
    struct list link; /* topics.patterns */
    struct slice name;
    uint64_t total;
    uint32_t mask;
    bool at_home;
    uint32_t counts[]; /* by worker; the name's bytes follow */
};

static struct slice route_key(const void *entry)
{
    return ((const struct topic_route *)entry)->name;
}

static const struct table_ops route_ops = {.key = route_key};

bool topic_is_everywhere(enum topic_kind kind, struct slice name)
{
    static const char space[] = "__keyspace@", event[] = "__keyevent@";
    if (kind != TOPIC_CHANNEL) return kind == TOPIC_PATTERN;
    return name.len >= sizeof space - 1 && (memcmp(name.ptr, space, sizeof space - 1) == 0 ||
                                            memcmp(name.ptr, event, sizeof event - 1) == 0);
}

struct topics *topics_new(uint32_t workers, uint64_t seed)
{
    struct topics *t = mem_zalloc(sizeof *t);
    t->workers = workers;
    t->seed = seed;
    for (unsigned kind = 0; kind < TOPIC_KINDS; kind++)
        t->tables[kind] = table_new(&route_ops, seed);
    list_init(&t->patterns);
    return t;
}

static void drop_route(void *ctx, void *entry)
{
    (void)ctx;
    mem_free(entry);
}

void topics_free(struct topics *t)
{
    for (unsigned kind = 0; kind < TOPIC_KINDS; kind++) {
        while (table_drain(t->tables[kind], 1024, drop_route, NULL)) {}
        table_free(t->tables[kind]);
    }
    buf_deinit(&t->name);
    mem_free(t);
}

static struct topic_route *route_new(struct topics *t, enum topic_kind kind, struct slice name,
                                     uint64_t hash, bool at_home)
{
    size_t head = sizeof(struct topic_route) + t->workers * sizeof(uint32_t);
    struct topic_route *r = mem_try_zalloc(head + name.len);
    if (!r) return NULL;
    char *copy = (char *)r + head;
    if (name.len) memcpy(copy, name.ptr, name.len);
    r->name = slice_of(copy, name.len);
    r->at_home = at_home;
    list_init(&r->link);
    if (table_insert(t->tables[kind], hash, r, 0) < 0) {
        mem_free(r);
        return NULL;
    }
    if (kind == TOPIC_PATTERN) list_push_back(&t->patterns, &r->link);
    t->everywhere += topic_is_everywhere(kind, name);
    t->at_home[kind] += at_home;
    return r;
}

bool topics_add(struct topics *t, enum topic_kind kind, struct slice name, uint64_t hash,
                worker_id worker, bool at_home)
{
    struct topic_route *r = table_find(t->tables[kind], hash, name);
    if (!r) r = route_new(t, kind, name, hash, at_home);
    if (!r) return false;
    r->total++;
    r->counts[worker]++;
    r->mask |= 1u << worker;
    return true;
}

void topics_remove(struct topics *t, enum topic_kind kind, struct slice name, uint64_t hash,
                   worker_id worker)
{
    uint64_t *slot = table_find_slot(t->tables[kind], hash, name);
    check(slot);
    struct topic_route *r = table_slot_entry(slot);
    check(r->counts[worker]);
    if (--r->counts[worker] == 0) r->mask &= ~(1u << worker);
    if (--r->total) return;
    t->everywhere -= topic_is_everywhere(kind, name);
    t->at_home[kind] -= r->at_home;
    list_remove(&r->link);
    table_slot_remove(t->tables[kind], hash, slot);
    mem_free(r);
}

uint64_t topics_receivers(const struct topics *t, enum topic_kind kind, struct slice channel,
                          uint64_t hash, uint32_t *mask)
{
    const struct topic_route *r = table_find(t->tables[kind], hash, channel);
    uint64_t count = r ? r->total : 0;
    *mask = r ? r->mask : 0;
    if (kind == TOPIC_SHARD) return count;
    for (const struct list *l = t->patterns.next; l != &t->patterns; l = l->next) {
        r = CONTAINER_OF(l, struct topic_route, link);
        if (!slice_glob(r->name, channel, false)) continue;
        count += r->total;
        *mask |= r->mask;
    }
    return count;
}

uint64_t topics_subscribers(const struct topics *t, enum topic_kind kind, struct slice channel,
                            uint64_t hash)
{
    const struct topic_route *r = table_find(t->tables[kind], hash, channel);
    return r ? r->total : 0;
}

size_t topics_count(const struct topics *t, enum topic_kind kind)
{
    return t->at_home[kind];
}

struct each {
    void (*visit)(void *ctx, struct slice name);
    void *ctx;
};

static void each_visit(void *ctx, void *entry, unsigned bits)
{
    const struct each *each = ctx;
    (void)bits;
    if (((const struct topic_route *)entry)->at_home) each->visit(each->ctx, route_key(entry));
}

void topics_each(const struct topics *t, enum topic_kind kind,
                 void (*visit)(void *ctx, struct slice name), void *ctx)
{
    struct each each = {visit, ctx};
    uint64_t cursor = 0;
    do {
        cursor = table_scan(t->tables[kind], cursor, SIZE_MAX, SIZE_MAX, each_visit, &each);
    } while (cursor != 0);
}
