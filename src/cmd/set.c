/* Sets: members one by one. (Random members are in set_random.c, several sets in set_ops.c.)
 *
 * A new set is built aside and put under its key when all members are in, so a key never holds an
 * empty set and a small one costs one allocation. A set that loses its last member goes, with the
 * event "del" behind the command's own.
 *
 * Want of memory in the middle of SADD leaves the members that came before; they are what the
 * effect then names, and the reply is the error.
 * Thread: holder of the call's shards. */
#include "cmd/scan_members.h"
#include "cmd/set_impl.h"

/* ---- writing ---- */

static void sadd_new(struct call *c, struct slice key, const struct set_limits *limits)
{
    struct set_edit edit;
    struct set_member m;
    set_member_text(&m, c->argv[2]);
    size_t hint = (size_t)(c->argc - 2);
    int rc = set_begin(&edit, &c->ks, key, set_form_for(&m, hint, limits), hint, limits);
    for (int i = 2; rc >= 0 && i < c->argc; i++) {
        if (i > 2) set_member_text(&m, c->argv[i]);
        rc = set_add(&edit, &m);
        if (rc < 0) set_close(&edit);
    }
    uint64_t count = rc < 0 ? 0 : set_edit_count(&edit);
    if (count && set_store(&edit, &c->ks, key, EXPIRE_NONE) < 0) {
        set_close(&edit);
        count = 0;
    }
    if (count == 0) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    c->dirty += count;
    ks_notify(&c->ks, EVENT_SET, "sadd", key);
    effect_verbatim(c);
    reply_int(&c->reply, (int64_t)count);
}

void cmd_sadd(struct call *c)
{
    struct slice key = c->argv[1];
    struct set_limits limits = set_limits_of(c);
    struct entry *e = ks_edit(&c->ks, key);
    if (!set_type_ok(c, e)) return;
    if (!e) {
        sadd_new(c, key, &limits);
        return;
    }
    struct set_edit edit;
    set_open(&edit, &c->ks, key, e, &limits);
    int added = 0, i = 2, rc = set_expect(&edit, (size_t)(c->argc - 2));
    for (; rc >= 0 && i < c->argc; i++) {
        struct set_member m;
        set_member_text(&m, c->argv[i]);
        rc = set_add(&edit, &m);
        if (rc > 0) added++;
        if (rc < 0) break;
    }
    if (added) {
        c->dirty += (uint64_t)added;
        call_changed(c, key, EVENT_SET, "sadd");
        effect_args(c, i, c->argv);
    }
    if (rc < 0) reply_error(&c->reply, ERR_NO_MEMORY);
    else reply_int(&c->reply, added);
}

void cmd_srem(struct call *c)
{
    struct slice key = c->argv[1];
    struct set_limits limits = set_limits_of(c);
    struct entry *e = ks_edit(&c->ks, key);
    if (!set_type_ok(c, e)) return;
    int64_t removed = 0;
    bool empty = false;
    if (e) {
        struct set_edit edit;
        set_open(&edit, &c->ks, key, e, &limits);
        for (int i = 2; i < c->argc && !empty; i++) {
            struct set_member m;
            set_member_text(&m, c->argv[i]);
            if (!set_remove(&edit, &m)) continue;
            removed++;
            empty = set_edit_count(&edit) == 0;
        }
    }
    if (removed) {
        c->dirty += (uint64_t)removed;
        call_changed(c, key, EVENT_SET, "srem");
        if (empty) call_emptied(c, key);
        effect_verbatim(c);
    }
    reply_int(&c->reply, removed);
}

/* 1: added, 0: it was there, -ENOMEM. */
static int add_one(struct call *c, struct slice key, struct set_member *m)
{
    struct set_limits limits = set_limits_of(c);
    struct set_edit edit;
    struct entry *e = ks_edit(&c->ks, key);
    if (e) {
        set_open(&edit, &c->ks, key, e, &limits);
        return set_add(&edit, m);
    }
    int rc = set_begin(&edit, &c->ks, key, set_form_for(m, 1, &limits), 1, &limits);
    if (rc < 0) return rc;
    rc = set_add(&edit, m);
    if (rc < 0 || set_store(&edit, &c->ks, key, EXPIRE_NONE) < 0) {
        set_close(&edit);
        return rc < 0 ? rc : -1;
    }
    return 1;
}

/* The member is added before it is removed, because only adding can fail; that the target is new is
 * told in Redis' order, afterwards. */
static void move_member(struct call *c, struct slice from, struct slice to, struct set_member *m)
{
    struct set_limits limits = set_limits_of(c);
    bool fresh = ks_find(&c->ks, to) == NULL;
    uint8_t flags = c->ks.flags;
    c->ks.flags |= KS_SILENT;
    int added = add_one(c, to, m);
    c->ks.flags = flags;
    if (added < 0) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    struct set_edit edit;
    set_open(&edit, &c->ks, from, ks_edit(&c->ks, from), &limits);
    (void)set_remove(&edit, m);
    bool empty = set_edit_count(&edit) == 0;
    call_changed(c, from, EVENT_SET, "srem");
    if (empty) call_emptied(c, from);
    if (fresh) call_event(c, to, EVENT_NEW, "new");
    if (added) call_changed(c, to, EVENT_SET, "sadd");
    c->dirty += 1 + (uint64_t)added;
    effect_verbatim(c);
    reply_int(&c->reply, 1);
}

void cmd_smove(struct call *c)
{
    struct slice from = c->argv[1], to = c->argv[2];
    struct set_member m;
    set_member_text(&m, c->argv[3]);
    const struct entry *target = ks_find(&c->ks, to), *source = ks_find(&c->ks, from);
    if (!source) {
        reply_int(&c->reply, 0);
        return;
    }
    if (!set_type_ok(c, source) || !set_type_ok(c, target)) return;
    bool there = set_contains(source, &m);
    if (!there || slice_equal(from, to)) {
        reply_int(&c->reply, there);
        return;
    }
    move_member(c, from, to, &m);
}

/* ---- reading ---- */

void cmd_scard(struct call *c)
{
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!set_type_ok(c, e)) return;
    reply_int(&c->reply, e ? (int64_t)set_count(e) : 0);
}

static bool contains_arg(struct call *c, const struct entry *e, int i)
{
    struct set_member m;
    set_member_text(&m, c->argv[i]);
    return e && set_contains(e, &m);
}

void cmd_sismember(struct call *c)
{
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!set_type_ok(c, e)) return;
    reply_int(&c->reply, contains_arg(c, e, 2));
}

void cmd_smismember(struct call *c)
{
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!set_type_ok(c, e)) return;
    reply_array(&c->reply, (size_t)(c->argc - 2));
    for (int i = 2; i < c->argc; i++) reply_int(&c->reply, contains_arg(c, e, i));
}

static bool reply_visit(void *ctx, struct set_member *m)
{
    set_reply_member(ctx, m);
    return true;
}

void set_reply_all(struct reply *r, const struct entry *e)
{
    reply_set(r, e ? set_count(e) : 0);
    if (e) (void)set_each(e, reply_visit, r);
}

void cmd_smembers(struct call *c)
{
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (set_type_ok(c, e)) set_reply_all(&c->reply, e);
}

/* ---- scanning ---- */

static bool scan_member(void *ctx, struct set_member *m)
{
    struct member_scan *scan = ctx;
    struct slice text = set_member_get(m);
    if (member_scan_wants(scan, text)) member_scan_add(scan, text);
    return true;
}

static void scan_block(void *ctx, void *block, unsigned bits)
{
    (void)bits;
    struct set_member m;
    set_member_text(&m, set_block_text(block));
    (void)scan_member(ctx, &m);
}

void cmd_sscan(struct call *c)
{
    struct member_scan scan;
    if (!member_scan_begin(&scan, c, TYPE_SET)) return;
    if (entry_form(scan.entry) == FORM_OBJECT) {
        scan.cursor = set_scan(scan.entry, scan.cursor, scan.count, scan_block, &scan);
    } else {
        (void)set_each(scan.entry, scan_member, &scan);
        scan.cursor = 0;
    }
    member_scan_end(&scan);
}
