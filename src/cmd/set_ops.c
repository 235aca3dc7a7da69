/* Several sets: intersection, union, difference; replied, stored, or counted.
 *
 * Intersection walks the smallest set and looks every member up in the others, smallest first. A
 * difference chooses, as Redis does, between looking every member of the first set up in the others
 * (largest first), and copying the first set and removing the others' members from the copy,
 * whichever promises less work. A union is copied.
 *
 * A member's hash is computed once, however many sets it is looked up in.
 *
 * Results that are stored begin as Redis begins them (an intset, or a listpack for intersections of
 * something else) and grow by the rules of set_edit.c, so their encoding is that of Redis; an
 * intersection of integers alone is narrowed to an intset at the end. What the destination held is
 * freed in slices, and so is a large copy that was made for a reply.
 * Thread: holder of the call's shards. */
#include <stdlib.h>

#include "cmd/set_impl.h"
#include "splitring/base/mem.h"

/* ---- the sets of a call ---- */

struct source {
    const struct entry *entry; /* NULL: absent */
    uint64_t count;
    size_t place; /* among the arguments: sorting is stable */
};

#define SOURCES_INLINE 16u

struct sources {
    struct source *at;
    size_t count;
    size_t absent;
    struct source room[SOURCES_INLINE];
};

static void sources_deinit(struct sources *s)
{
    if (s->at != s->room) mem_free(s->at);
}

/* Looks up argv[first..first + count). False: the error is written. */
static bool sources_init(struct sources *s, struct call *c, int first, size_t count)
{
    s->at = count <= SOURCES_INLINE ? s->room : mem_try_alloc(count * sizeof(*s->at));
    s->count = count;
    s->absent = 0;
    if (!s->at) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct entry *e = ks_read(&c->ks, c->argv[(size_t)first + i]);
        if (!set_type_ok(c, e)) {
            sources_deinit(s);
            return false;
        }
        s->at[i] = (struct source){e, e ? set_count(e) : 0, i};
        s->absent += !e;
    }
    return true;
}

static int smaller_first(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

static int larger_first(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

/* ---- what is done with the members of a result ---- */

struct result {
    const struct sources *sources;
    struct reply *reply;   /* replied as they come, or NULL */
    struct set_edit *edit; /* added to a set (or removed from it), or NULL */
    uint64_t count, limit; /* 0: no limit */
    bool no_memory;
};

static bool take(struct result *r, struct set_member *m)
{
    r->count++;
    if (r->reply) set_reply_member(r->reply, m);
    if (r->edit && set_add(r->edit, m) < 0) {
        r->no_memory = true;
        return false;
    }
    return r->count != r->limit;
}

static bool take_all(void *ctx, struct set_member *m) { return take(ctx, m); }

static bool take_if_in_others(void *ctx, struct set_member *m)
{
    struct result *r = ctx;
    const struct sources *s = r->sources;
    for (size_t i = 1; i < s->count; i++) {
        if (s->at[i].entry != s->at[0].entry && !set_contains(s->at[i].entry, m)) return true;
    }
    return take(r, m);
}

static bool take_unless_in_others(void *ctx, struct set_member *m)
{
    struct result *r = ctx;
    const struct sources *s = r->sources;
    for (size_t i = 1; i < s->count; i++) {
        if (s->at[i].entry && set_contains(s->at[i].entry, m)) return true;
    }
    return take(r, m);
}

static bool strike_out(void *ctx, struct set_member *m)
{
    struct set_edit *edit = ctx;
    (void)set_remove(edit, m);
    return set_edit_count(edit) > 0;
}

static void intersect(struct sources *s, struct result *r)
{
    qsort(s->at, s->count, sizeof(*s->at), smaller_first);
    (void)set_each(s->at[0].entry, take_if_in_others, r);
}

typedef void make_result(struct sources *s, struct result *r);

static void unite(struct sources *s, struct result *r)
{
    for (size_t i = 0; i < s->count && !r->no_memory; i++) {
        if (s->at[i].entry) (void)set_each(s->at[i].entry, take_all, r);
    }
}

/* Is it less work to look up than to copy and strike out? Looking up has the smaller constant. */
static bool lookups_win(const struct sources *s)
{
    uint64_t lookups = 0, copies = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (!s->at[i].entry) continue;
        lookups += s->at[0].count;
        copies += s->at[i].count;
    }
    return lookups / 2 <= copies;
}

/* Nothing can be left of it. */
static bool difference_is_empty(const struct sources *s)
{
    if (!s->at[0].entry) return true;
    for (size_t i = 1; i < s->count; i++) {
        if (s->at[i].entry == s->at[0].entry) return true;
    }
    return false;
}

static void subtract_by_lookups(struct sources *s, struct result *r)
{
    if (s->count > 1) qsort(s->at + 1, s->count - 1, sizeof(*s->at), larger_first);
    (void)set_each(s->at[0].entry, take_unless_in_others, r);
}

static void subtract_by_copy(struct sources *s, struct result *r)
{
    (void)set_each(s->at[0].entry, take_all, r);
    for (size_t i = 1; i < s->count && !r->no_memory && set_edit_count(r->edit); i++) {
        if (s->at[i].entry) (void)set_each(s->at[i].entry, strike_out, r->edit);
    }
}

/* ---- replies ---- */

static bool reply_visit(void *ctx, struct set_member *m)
{
    set_reply_member(ctx, m);
    return true;
}

static void reply_edit(struct call *c, const struct set_edit *edit, const struct result *r)
{
    if (r->no_memory) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    reply_set(&c->reply, set_edit_count(edit));
    (void)set_edit_each(edit, reply_visit, &c->reply);
}

/* The result under its key; an empty one deletes what is there. Closes the edit. */
static void store(struct call *c, struct set_edit *edit, const struct result *r, const char *event)
{
    struct slice key = c->argv[1];
    uint64_t count = set_edit_count(edit);
    if (r->no_memory || (count && set_store(edit, &c->ks, key, EXPIRE_NONE) < 0)) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        set_close(edit);
        return;
    }
    if (count) {
        ks_notify(&c->ks, EVENT_SET, event, key);
        c->dirty++;
        effect_verbatim(c);
    } else {
        set_close(edit);
        if (ks_delete(&c->ks, key, false)) {
            ks_notify(&c->ks, EVENT_GENERIC, "del", key);
            c->dirty++;
            EFFECT(c, SLICE("DEL"), key);
        }
    }
    reply_int(&c->reply, (int64_t)count);
}

/* ---- intersection ---- */

void cmd_sinter(struct call *c)
{
    struct sources s;
    if (!sources_init(&s, c, 1, (size_t)(c->argc - 1))) return;
    if (s.absent) {
        reply_set(&c->reply, 0);
    } else {
        struct result r = {.sources = &s, .reply = &c->reply};
        size_t mark = reply_deferred_begin(&c->reply);
        intersect(&s, &r);
        reply_deferred_set(&c->reply, mark, r.count);
    }
    sources_deinit(&s);
}

void cmd_sinterstore(struct call *c)
{
    struct sources s;
    struct set_edit edit;
    struct set_limits limits = set_limits_of(c);
    if (!sources_init(&s, c, 2, (size_t)(c->argc - 2))) return;
    struct result r = {.sources = &s, .edit = &edit};
    (void)set_begin(&edit, &c->ks, c->argv[1], FORM_LISTPACK, 0, &limits);
    if (!s.absent) {
        qsort(s.at, s.count, sizeof(*s.at), smaller_first);
        if (entry_form(s.at[0].entry) == FORM_INTSET) {
            (void)set_begin(&edit, &c->ks, c->argv[1], FORM_INTSET, 0, &limits);
        }
        intersect(&s, &r);
        set_narrow(&edit);
    }
    store(c, &edit, &r, "sinterstore");
    sources_deinit(&s);
}

void cmd_sintercard(struct call *c)
{
    int64_t keys, limit = 0;
    if (!call_int_range(c, 1, 1, INT64_MAX, &keys, ERR_NUMKEYS_POSITIVE)) return;
    if (keys > c->argc - 2) {
        reply_error(&c->reply, ERR_NUMKEYS_TOO_MANY);
        return;
    }
    for (int i = 2 + (int)keys; i < c->argc; i++) {
        if (!call_is(c, i, "limit") || i + 1 == c->argc) {
            reply_error(&c->reply, ERR_SYNTAX);
            return;
        }
        if (!call_int_range(c, ++i, 0, INT64_MAX, &limit, ERR_LIMIT_NEGATIVE)) return;
    }
    struct sources s;
    if (!sources_init(&s, c, 2, (size_t)keys)) return;
    struct result r = {.sources = &s, .limit = (uint64_t)limit};
    if (!s.absent) intersect(&s, &r);
    reply_int(&c->reply, (int64_t)r.count);
    sources_deinit(&s);
}

/* ---- union and difference ---- */

/* A copy that is only replied: an intset as long as everything is one, else a dict, in which
 * members are found fastest. */
static int begin_copy(struct call *c, const struct sources *s, struct set_edit *edit,
                      const struct set_limits *limits)
{
    enum form form = FORM_INTSET;
    uint64_t hint = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (!s->at[i].entry) continue;
        if (entry_form(s->at[i].entry) != FORM_INTSET) form = FORM_OBJECT;
        if (s->at[i].count > hint) hint = s->at[i].count;
    }
    int rc = set_begin(edit, &c->ks, c->argv[1], form, hint, limits);
    if (rc < 0) reply_error(&c->reply, ERR_NO_MEMORY);
    return rc;
}

/* The result is made as a set and replied. */
static void reply_made(struct call *c, struct sources *s, make_result *make)
{
    struct set_edit edit;
    struct set_limits limits = set_limits_of(c);
    if (begin_copy(c, s, &edit, &limits)) return;
    struct result r = {.sources = s, .edit = &edit};
    make(s, &r);
    reply_edit(c, &edit, &r);
    set_close(&edit);
}

/* The result of the sets behind it is what the first key has from now on. */
static void store_made(struct call *c, make_result *make, const char *event)
{
    struct sources s;
    struct set_edit edit;
    struct set_limits limits = set_limits_of(c);
    if (!sources_init(&s, c, 2, (size_t)(c->argc - 2))) return;
    struct result r = {.sources = &s, .edit = &edit};
    (void)set_begin(&edit, &c->ks, c->argv[1], FORM_INTSET, 0, &limits);
    make(&s, &r);
    store(c, &edit, &r, event);
    sources_deinit(&s);
}

void cmd_sunion(struct call *c)
{
    struct sources s;
    if (!sources_init(&s, c, 1, (size_t)(c->argc - 1))) return;
    if (s.absent + 1 >= s.count) {
        const struct entry *only = NULL;
        for (size_t i = 0; i < s.count; i++) {
            if (s.at[i].entry) only = s.at[i].entry;
        }
        set_reply_all(&c->reply, only);
    } else {
        reply_made(c, &s, unite);
    }
    sources_deinit(&s);
}

void cmd_sunionstore(struct call *c) { store_made(c, unite, "sunionstore"); }

void cmd_sdiff(struct call *c)
{
    struct sources s;
    if (!sources_init(&s, c, 1, (size_t)(c->argc - 1))) return;
    if (difference_is_empty(&s)) {
        reply_set(&c->reply, 0);
    } else if (lookups_win(&s)) {
        struct result r = {.sources = &s, .reply = &c->reply};
        size_t mark = reply_deferred_begin(&c->reply);
        subtract_by_lookups(&s, &r);
        reply_deferred_set(&c->reply, mark, r.count);
    } else {
        reply_made(c, &s, subtract_by_copy);
    }
    sources_deinit(&s);
}

static void subtract(struct sources *s, struct result *r)
{
    if (difference_is_empty(s)) return;
    if (lookups_win(s)) subtract_by_lookups(s, r);
    else subtract_by_copy(s, r);
}

void cmd_sdiffstore(struct call *c) { store_made(c, subtract, "sdiffstore"); }
