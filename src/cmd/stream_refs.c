/* XDELEX and XACKDEL (Redis 8.2): deleting entries with a word on the groups that refer to them.
 *
 *   KEEPREF  what is pending stays so          DELREF  it is pending nowhere any more
 *   ACKED    an entry goes only if no group needs it: all have had it, none has it pending
 *
 * One number per id: 1 deleted, 2 still needed, -1 not there (XDELEX: in the stream; XACKDEL:
 * pending in the group). What an id comes to depends only on the stream, so the command is its own
 * effect.
 * Source: https://redis.io/docs/latest/commands/xdelex/ and …/xackdel/
 * Thread: holder of the call's shards. */
#include "cmd/stream_impl.h"

enum { ID_ABSENT = -1, ID_DELETED = 1, ID_NEEDED = 2 };

struct refs_args {
    enum stream_refs refs;
    int ids_at, ids; /* the first id, how many */
};

/* KEEPREF | DELREF | ACKED and IDS numids id …, in any order. */
static bool parse(struct call *c, int i, struct refs_args *a)
{
    int64_t count;
    struct stream_id id;
    *a = (struct refs_args){.refs = STREAM_KEEPREF};
    for (; i < c->argc; i++) {
        if (stream_is_refs(c, i, &a->refs)) continue;
        if (a->ids || !call_is(c, i, "IDS") || i >= c->argc - 1) {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
        if (!call_int_range(c, ++i, 1, INT64_MAX, &count, ERR_NUMIDS_POSITIVE)) return false;
        if (count > c->argc - i - 1) {
            reply_error(&c->reply, ERR_NUMIDS_MATCH);
            return false;
        }
        a->ids_at = i + 1;
        a->ids = (int)count;
        i += a->ids;
    }
    if (!a->ids) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    for (i = 0; i < a->ids; i++) {
        if (!stream_arg_id(c, a->ids_at + i, &id)) return false;
    }
    return true;
}

struct deletion {
    struct stream *s;
    struct stream_group *g; /* XACKDEL: where it is acknowledged */
    enum stream_refs refs;
    uint64_t deleted, changed;
};

/* The entry goes, unless a group needs it. */
static int delete_one(struct deletion *d, struct stream_id id)
{
    bool gone = false;
    if (d->refs == STREAM_ACKED && stream_referenced(d->s, id)) return ID_NEEDED;
    if (d->refs == STREAM_DELREF) gone = stream_nack_remove_all(d->s, id);
    bool there = stream_delete(d->s, id) == 1;
    if (there) {
        stream_deleted(d->s, id);
        d->deleted++;
    }
    d->changed += there || gone;
    return there ? ID_DELETED : ID_ABSENT;
}

static int acknowledge_one(struct deletion *d, struct stream_id id)
{
    if (!d->g || stream_nack_remove(d->s, d->g, id) != 1) return ID_ABSENT;
    uint64_t changed = d->changed + 1;
    int result = delete_one(d, id);
    d->changed = changed;
    return result == ID_NEEDED ? ID_NEEDED : ID_DELETED;
}

static void run(struct call *c, struct deletion *d, const struct refs_args *a, bool acknowledge)
{
    struct slice key = c->argv[1];
    reply_array(&c->reply, (size_t)a->ids);
    for (int i = 0; i < a->ids; i++) {
        struct stream_id id;
        (void)stream_id_parse(c->argv[a->ids_at + i], 0, false, &id, NULL);
        reply_int(&c->reply, acknowledge ? acknowledge_one(d, id) : delete_one(d, id));
    }
    if (d->deleted) {
        stream_settle(d->s);
        call_changed(c, key, EVENT_STREAM, "xdel");
    }
    if (d->changed == 0) return;
    c->dirty += d->changed;
    effect_verbatim(c);
    stream_done(c, key, d->s);
}

static void reply_absent(struct call *c, int count)
{
    reply_array(&c->reply, (size_t)count);
    for (int i = 0; i < count; i++) reply_int(&c->reply, ID_ABSENT);
}

static void delete_ids(struct call *c, int options_at, bool acknowledge)
{
    struct refs_args a;
    if (!parse(c, options_at, &a)) return;
    struct entry *e = ks_edit(&c->ks, c->argv[1]);
    if (!stream_type_ok(c, e)) return;
    if (!e) {
        reply_absent(c, a.ids);
        return;
    }
    struct deletion d = {.s = stream_of(e), .refs = a.refs};
    if (acknowledge) d.g = stream_group_find(d.s, c->argv[2]);
    run(c, &d, &a, acknowledge);
}

void cmd_xdelex(struct call *c) { delete_ids(c, 2, false); }

void cmd_xackdel(struct call *c) { delete_ids(c, 3, true); }
