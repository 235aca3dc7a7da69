/* Who was refused what: ACL LOG.
 *
 * One list for all workers under a spin lock of its own: it is rare that somebody is refused, and
 * equal refusals that follow each other are one entry, which needs all of them in one place. Texts
 * are made before the lock is taken. An entry keeps OBJECT_MAX bytes of what was asked for at most,
 * so a client cannot fill the memory with long keys.
 * Source: https://redis.io/docs/latest/commands/acl-log/
 * Thread: any. */
#include "acl.h"

#include "conn.h"
#include "local.h"
#include "splitring/base/mem.h"

#define OBJECT_MAX (16u * 1024u)
#define GROUPED 10u            /* newest entries that a new one may join */
#define GROUPED_MS_MAX 60000

struct text {
    char *ptr;
    size_t len;
};

struct acl_entry {
    struct list link;
    uint64_t id, count;
    uint8_t why, context;
    instant_ms created, updated;
    struct text object, user, client;
};

struct acl_log {
    claim_word locked;
    struct list entries; /* newest first */
    size_t count;
    uint64_t next_id;
};

static void lock(struct hub *hub)
{
    unsigned spins = 0;
    while (!claim_try_shared(&acl_log_of(hub)->locked, 0, 1)) hub->pause(spins++);
}

static void unlock(struct hub *hub)
{
    (void)claim_try_shared(&acl_log_of(hub)->locked, 1, 0);
}

static struct text text_of(struct slice s, size_t max)
{
    struct text t = {.len = s.len < max ? s.len : max};
    t.ptr = mem_alloc(t.len + 1);
    if (t.len) memcpy(t.ptr, s.ptr, t.len);
    return t;
}

static bool same(struct text a, struct text b)
{
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

static void entry_free(struct acl_entry *e)
{
    mem_free(e->object.ptr);
    mem_free(e->user.ptr);
    mem_free(e->client.ptr);
    mem_free(e);
}

struct acl_log *acl_log_new(void)
{
    struct acl_log *log = mem_zalloc(sizeof *log);
    list_init(&log->entries);
    return log;
}

static void free_all(struct list *entries)
{
    struct list *link;
    while ((link = list_pop_front(entries)) != NULL)
        entry_free(CONTAINER_OF(link, struct acl_entry, link));
}

void acl_log_free(struct acl_log *log)
{
    free_all(&log->entries);
    mem_free(log);
}

/* One that the new entry may join, or NULL. */
static struct acl_entry *find_equal(struct acl_log *log, const struct acl_entry *e)
{
    unsigned seen = 0;
    for (struct list *l = log->entries.next; l != &log->entries && seen++ < GROUPED; l = l->next) {
        struct acl_entry *old = CONTAINER_OF(l, struct acl_entry, link);
        instant_ms apart = e->updated - old->updated;
        if (old->why == e->why && old->context == e->context && apart <= GROUPED_MS_MAX &&
            apart >= -GROUPED_MS_MAX && same(old->object, e->object) && same(old->user, e->user))
            return old;
    }
    return NULL;
}

/* What no longer fits goes into `gone`. Under the lock. */
static void trim(struct acl_log *log, size_t max, struct list *gone)
{
    while (log->count > max) {
        struct list *last = log->entries.prev;
        list_remove(last);
        list_push_back(gone, last);
        log->count--;
    }
}

/* Under the lock. */
static void put(struct acl_log *log, struct acl_entry *e, size_t max, struct list *gone)
{
    struct acl_entry *old = max ? find_equal(log, e) : NULL;
    if (old) {
        struct text client = old->client;
        old->client = e->client;
        e->client = client;
        old->updated = e->updated;
        old->count++;
        list_remove(&old->link);
        list_push_front(&log->entries, &old->link);
        list_push_back(gone, &e->link);
        return;
    }
    if (max) {
        e->id = log->next_id++;
        list_push_front(&log->entries, &e->link);
        log->count++;
    } else {
        list_push_back(gone, &e->link);
    }
    trim(log, max, gone);
}

void acl_log_note(struct conn *c, enum acl_verdict why, enum acl_context context,
                  struct slice object, struct slice user)
{
    struct worker *w = c->worker;
    struct buf client = {0};
    struct list gone;
    counter_add(&w->pub->acl_denied[why], 1);
    client_describe(c, &client);
    struct acl_entry *e = mem_zalloc(sizeof *e);
    e->count = 1;
    e->why = (uint8_t)why;
    e->context = (uint8_t)context;
    e->created = e->updated = w->now;
    e->object = text_of(object, OBJECT_MAX);
    e->user = text_of(user, OBJECT_MAX);
    e->client = text_of(buf_slice(&client), OBJECT_MAX);
    list_init(&e->link);
    list_init(&gone);
    buf_deinit(&client);
    lock(w->hub);
    put(acl_log_of(w->hub), e, (size_t)w->config->acllog_max_len, &gone);
    unlock(w->hub);
    free_all(&gone);
}

void acl_log_clear(struct hub *hub)
{
    struct acl_log *log = acl_log_of(hub);
    struct list gone;
    list_init(&gone);
    lock(hub);
    trim(log, 0, &gone);
    unlock(hub);
    free_all(&gone);
}

static void reply_entry(const struct acl_entry *e, instant_ms now, struct reply *r)
{
    static const char *const reasons[] = {"unknown", "command", "key", "auth", "channel"};
    static const char *const contexts[] = {"toplevel", "multi", "lua"};
    reply_map(r, 10);
    reply_bulk_str(r, "count");
    reply_int(r, (int64_t)e->count);
    reply_bulk_str(r, "reason");
    reply_bulk_str(r, reasons[e->why]);
    reply_bulk_str(r, "context");
    reply_bulk_str(r, contexts[e->context]);
    reply_bulk_str(r, "object");
    reply_bulk(r, e->object.ptr, e->object.len);
    reply_bulk_str(r, "username");
    reply_bulk(r, e->user.ptr, e->user.len);
    reply_bulk_str(r, "age-seconds");
    reply_double(r, (double)(now - e->updated) / 1000);
    reply_bulk_str(r, "client-info");
    reply_bulk(r, e->client.ptr, e->client.len);
    reply_bulk_str(r, "entry-id");
    reply_int(r, (int64_t)e->id);
    reply_bulk_str(r, "timestamp-created");
    reply_int(r, e->created);
    reply_bulk_str(r, "timestamp-last-updated");
    reply_int(r, e->updated);
}

void acl_log_reply(struct hub *hub, size_t count, instant_ms now, struct reply *reply)
{
    struct acl_log *log = acl_log_of(hub);
    lock(hub);
    if (count > log->count) count = log->count;
    reply_array(reply, count);
    for (struct list *l = log->entries.next; count--; l = l->next)
        reply_entry(CONTAINER_OF(l, struct acl_entry, link), now, reply);
    unlock(hub);
}
