/* Random members: SRANDMEMBER and SPOP.
 *
 * A subset is drawn in one of two ways. Walking the set and taking each member with the right
 * probability (Knuth, The Art of Computer Programming vol. 2, 3.4.2, algorithm S) gives every
 * subset the same chance; it costs the whole set, and is used where that is small or where a good
 * part of it is wanted. Else members are drawn one by one, and those drawn before drawn again.
 *
 * SPOP with a count has the cases of Redis, since they show in OBJECT ENCODING: everything is
 * popped (the key goes); so much that the few that stay are put into a new set, and the old one
 * freed in slices; or one after the other. Packed sets are always split in one walk.
 *
 * SPOP states what it took: SREM, in portions, or DEL where nothing is left.
 *
 * The number of members SRANDMEMBER repeats is the client's, and a count may be 2^63: more than
 * RANDOM_REPEATS_MAX, and replies longer than proto-max-bulk-len, are refused.
 * Source: https://redis.io/docs/latest/commands/spop/
 * Thread: holder of the call's shards. */
#include "cmd/repeats.h"
#include "cmd/set_impl.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/effects.h"

#define SREM_PORTION 1024u
#define WALK_FACTOR 3u      /* more than a third of a dict is wanted: walk it */
#define STAY_FACTOR 5u      /* less than a fifth of what is popped stays: move what stays */

/* ---- drawing a subset by walking ---- */

struct draw {
    struct rng *rng;
    uint64_t left;   /* members not yet seen */
    uint64_t wanted; /* of those */
};

static bool draw_takes(struct draw *d)
{
    bool takes = d->wanted > 0 && rng_below(d->rng, d->left) < d->wanted;
    d->left--;
    d->wanted -= takes;
    return takes;
}

/* ---- SRANDMEMBER ---- */

struct pick {
    struct draw draw;
    struct reply *reply;
};

static bool pick_visit(void *ctx, struct set_member *m)
{
    struct pick *p = ctx;
    if (draw_takes(&p->draw)) set_reply_member(p->reply, m);
    return p->draw.wanted > 0;
}

/* Members drawn so far, known by where their text lies. */
struct drawn {
    uintptr_t *slots;
    size_t mask;
};

static bool drawn_add(struct drawn *d, const char *text)
{
    size_t at = (size_t)(((uint64_t)(uintptr_t)text * 0x9e3779b97f4a7c15u) >> 20) & d->mask;
    while (d->slots[at] && d->slots[at] != (uintptr_t)text) at = (at + 1) & d->mask;
    if (d->slots[at]) return false;
    d->slots[at] = (uintptr_t)text;
    return true;
}

/* count distinct members of a dict at least three times as large. False: no memory. */
static bool reply_distinct(struct call *c, const struct entry *e, uint64_t count)
{
    size_t room = 16;
    while (room < count * 2) room *= 2;
    struct drawn d = {mem_try_zalloc(room * sizeof(*d.slots)), room - 1};
    if (!d.slots) return false;
    reply_array(&c->reply, count);
    while (count > 0) {
        struct set_member m;
        set_random(e, c->rng, &m);
        if (!drawn_add(&d, m.text.ptr)) continue;
        set_reply_member(&c->reply, &m);
        count--;
    }
    mem_free(d.slots);
    return true;
}

static void reply_some(struct call *c, const struct entry *e, uint64_t count)
{
    uint64_t all = set_count(e);
    if (count > all) count = all;
    if (entry_form(e) == FORM_OBJECT && count <= all / WALK_FACTOR && reply_distinct(c, e, count)) {
        return;
    }
    struct pick p = {{c->rng, all, count}, &c->reply};
    reply_array(&c->reply, count);
    if (count) (void)set_each(e, pick_visit, &p);
}

static void reply_repeated(struct call *c, const struct entry *e, uint64_t count)
{
    uint64_t len_max = (uint64_t)c->env->proto_max_bulk_len;
    struct buf *out = c->reply.out;
    size_t begin = out->len;
    bool fits = count <= RANDOM_REPEATS_MAX;
    if (fits) reply_array(&c->reply, count);
    for (; fits && count > 0 && !out->failed; count--) {
        struct set_member m;
        set_random(e, c->rng, &m);
        set_reply_member(&c->reply, &m);
        fits = out->len - begin <= len_max;
    }
    if (fits) return;
    out->len = begin;
    reply_error(&c->reply, ERR_OUT_OF_RANGE);
}

void cmd_srandmember(struct call *c)
{
    int64_t count = 1;
    if (c->argc > 3) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (c->argc == 3) {
        if (!call_int(c, 2, &count)) return;
        if (count == INT64_MIN) {
            reply_errorf(&c->reply, ERR_OUT_OF_RANGE_BETWEEN, (long long)-INT64_MAX,
                         (long long)INT64_MAX);
            return;
        }
    }
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!set_type_ok(c, e)) return;
    struct set_member m;
    if (!e || count == 0) {
        if (c->argc == 3) reply_array(&c->reply, 0);
        else reply_null(&c->reply);
    } else if (c->argc == 2) {
        set_random(e, c->rng, &m);
        set_reply_member(&c->reply, &m);
    } else if (count < 0) {
        reply_repeated(c, e, (uint64_t)-count);
    } else {
        reply_some(c, e, (uint64_t)count);
    }
}

/* ---- what SPOP states ---- */

/* Members that were popped, copied, because they may be gone when there are enough to be stated. */
struct gone {
    struct call *c;
    struct buf bytes;
    size_t *ends; /* room for SREM_PORTION; NULL: nobody wants to know */
    size_t count;
    bool stated; /* a portion is out */
};

static void gone_init(struct gone *g, struct call *c)
{
    *g = (struct gone){.c = c};
    if (!c->effects) return;
    g->ends = mem_try_alloc(SREM_PORTION * sizeof(*g->ends));
    if (!g->ends) c->effects->failed = true;
}

static void gone_state(struct gone *g)
{
    struct slice argv[SREM_PORTION + 2] = {SLICE("SREM"), g->c->argv[1]};
    size_t begin = 0;
    for (size_t i = 0; i < g->count && !g->bytes.failed; i++) {
        argv[i + 2] = slice_of(g->bytes.ptr + begin, g->ends[i] - begin);
        begin = g->ends[i];
    }
    if (g->bytes.failed) g->c->effects->failed = true;
    else if (g->count) effect_args(g->c, (int)g->count + 2, argv);
    g->stated = true;
    g->count = 0;
    g->bytes.len = 0;
}

/* It did not happen. What is out already cannot be taken back: nobody may rely on the list. */
static void gone_withdraw(struct gone *g)
{
    if (g->stated) g->c->effects->failed = true;
    g->count = 0;
}

static void gone_add(struct gone *g, struct set_member *m)
{
    if (!g->ends) return;
    buf_append_slice(&g->bytes, set_member_get(m));
    g->ends[g->count++] = g->bytes.len;
    if (g->count == SREM_PORTION) gone_state(g);
}

static void gone_deinit(struct gone *g)
{
    if (g->ends) gone_state(g);
    mem_free(g->ends);
    buf_deinit(&g->bytes);
}

/* ---- SPOP ---- */

static void popped(struct call *c, uint64_t count, bool empty)
{
    c->dirty += count;
    call_changed(c, c->argv[1], EVENT_SET, "spop");
    if (empty) call_emptied(c, c->argv[1]);
}

static void pop_one(struct call *c)
{
    struct slice key = c->argv[1];
    struct set_limits limits = set_limits_of(c);
    struct entry *e = ks_edit(&c->ks, key);
    if (!set_type_ok(c, e)) return;
    if (!e) {
        reply_null(&c->reply);
        return;
    }
    struct set_member m;
    struct set_edit edit;
    set_random(e, c->rng, &m);
    set_reply_member(&c->reply, &m);
    /* The reply and the effect have it before its memory goes. */
    if (c->effects) EFFECT(c, SLICE("SREM"), key, set_member_get(&m));
    set_open(&edit, &c->ks, key, e, &limits);
    (void)set_remove(&edit, &m);
    popped(c, 1, set_edit_count(&edit) == 0);
}

/* What stays goes into a new set while the old one is walked; then it takes the old one's place. */
struct parting {
    struct draw draw;
    struct set_edit stay;
    struct reply *reply;
    struct gone *gone;
    bool failed;
};

static void part_with(struct parting *p, struct set_member *m)
{
    set_reply_member(p->reply, m);
    gone_add(p->gone, m);
}

static bool part_drawn(void *ctx, struct set_member *m)
{
    struct parting *p = ctx;
    if (draw_takes(&p->draw)) part_with(p, m);
    else p->failed = set_add(&p->stay, m) < 0;
    return !p->failed;
}

static bool part_others(void *ctx, struct set_member *m)
{
    struct parting *p = ctx;
    if (!set_edit_contains(&p->stay, m)) part_with(p, m);
    return true;
}

/* Of a dict few stay: they are drawn one by one, and everything else goes. */
static void part_from_dict(struct parting *p, const struct entry *e, uint64_t stay)
{
    while (stay > 0 && !p->failed) {
        struct set_member m;
        set_random(e, p->draw.rng, &m);
        int rc = set_add(&p->stay, &m);
        if (rc > 0) stay--;
        p->failed = rc < 0;
    }
    if (!p->failed) (void)set_each(e, part_others, p);
}

static void pop_by_parting(struct call *c, const struct entry *e, uint64_t count)
{
    struct slice key = c->argv[1];
    struct set_limits limits = set_limits_of(c);
    uint64_t all = set_count(e);
    bool ints = entry_form(e) == FORM_INTSET;
    size_t mark = c->reply.out->len;
    struct gone gone;
    struct parting p = {.draw = {c->rng, all, count}, .reply = &c->reply, .gone = &gone};
    gone_init(&gone, c);
    (void)set_begin(&p.stay, &c->ks, key, ints ? FORM_INTSET : FORM_LISTPACK, 0, &limits);
    reply_set(&c->reply, count);
    if (entry_form(e) == FORM_OBJECT) part_from_dict(&p, e, all - count);
    else (void)set_each(e, part_drawn, &p);
    if (p.failed || set_store(&p.stay, &c->ks, key, EXPIRE_KEEP) < 0) {
        c->reply.out->len = mark;
        reply_error(&c->reply, ERR_NO_MEMORY);
        set_close(&p.stay);
        gone_withdraw(&gone);
    } else {
        popped(c, count, false);
    }
    gone_deinit(&gone);
}

static void pop_one_by_one(struct call *c, struct entry *e, uint64_t count)
{
    struct set_limits limits = set_limits_of(c);
    struct set_edit edit;
    struct gone gone;
    gone_init(&gone, c);
    set_open(&edit, &c->ks, c->argv[1], e, &limits);
    reply_set(&c->reply, count);
    for (uint64_t i = 0; i < count; i++) {
        struct set_member m;
        set_random(e, c->rng, &m);
        set_reply_member(&c->reply, &m);
        gone_add(&gone, &m);
        (void)set_remove(&edit, &m);
    }
    popped(c, count, false);
    gone_deinit(&gone);
}

static void pop_many(struct call *c)
{
    struct slice key = c->argv[1];
    int64_t wanted;
    if (!call_int_range(c, 2, 0, INT64_MAX, &wanted, ERR_OUT_OF_RANGE_POSITIVE)) return;
    struct entry *e = ks_edit(&c->ks, key);
    if (!set_type_ok(c, e)) return;
    uint64_t count = (uint64_t)wanted, all = e ? set_count(e) : 0;
    if (count == 0 || !e) {
        reply_set(&c->reply, 0);
    } else if (count >= all) {
        set_reply_all(&c->reply, e);
        EFFECT(c, SLICE("DEL"), key);
        popped(c, all, true);
    } else if (entry_form(e) != FORM_OBJECT || (all - count) * STAY_FACTOR <= count) {
        pop_by_parting(c, e, count);
    } else {
        pop_one_by_one(c, e, count);
    }
}

void cmd_spop(struct call *c)
{
    if (c->argc > 3) reply_error(&c->reply, ERR_SYNTAX);
    else if (c->argc == 3) pop_many(c);
    else pop_one(c);
}
