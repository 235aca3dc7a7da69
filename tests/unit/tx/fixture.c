/* Texts into requests, grants into names.
 * Thread: one. */
#include "fixture.h"

#include <string.h>

#include "splitring/base/check.h"

static void on_granted(void *ctx, struct lock_request *request)
{
    struct table *t = ctx;
    struct ask *a = CONTAINER_OF(request, struct ask, request);
    check(request->state == LOCK_HELD && a->table == t);
    t->granted[t->granted_count++] = a->name[0];
    if (t->on_granted) t->on_granted(t, a);
}

void table_init(struct table *t)
{
    *t = (struct table){.locks = locks_new()};
}

void table_deinit(struct table *t)
{
    locks_free(t->locks);
}

struct ask *ask(struct table *t, const char *keys)
{
    check(t->count < ASKS_MAX);
    struct ask *a = &t->asks[t->count];
    a->name[0] = (char)('A' + t->count++);
    a->name[1] = '\0';
    a->table = t;
    lock_request_init(&a->request, a->nodes);
    a->request.on_granted = on_granted;
    for (const char *at = keys; *at; at++) {
        if (*at == ' ') continue;
        enum lock_mode mode = at[1] == '!' ? LOCK_EXCLUSIVE : LOCK_SHARED;
        if (*at == '*') lock_request_whole(&a->request, mode);
        else lock_request_add(&a->request, (uint64_t)(unsigned char)*at, mode);
        at += mode == LOCK_EXCLUSIVE;
    }
    return a;
}

bool try(struct table *t, const char *keys, struct ask **out)
{
    struct ask *a = ask(t, keys);
    if (out) *out = a;
    return locks_try(t->locks, &a->request);
}

bool enter(struct table *t, const char *keys, struct ask **out)
{
    struct ask *a = ask(t, keys);
    if (out) *out = a;
    return locks_acquire(t->locks, &a->request);
}

const char *leave(struct table *t, struct ask *a)
{
    t->granted_count = 0;
    memset(t->granted, 0, sizeof t->granted);
    locks_release(t->locks, &a->request);
    locks_run_granted(t->locks, t);
    check(locks_audit(t->locks));
    return t->granted;
}

bool unit_may_run(const struct table *t, const char *key)
{
    if (!key[0]) return locks_key_free(t->locks, 0, LOCK_SHARED);
    return locks_key_free(t->locks, (uint64_t)(unsigned char)key[0],
                          key[1] == '!' ? LOCK_EXCLUSIVE : LOCK_SHARED);
}
