/* Images of keys from before a script first wrote them.
 *
 * A script that wants a shard it does not hold is given up; by then it may have written. Small
 * values are copied before (a memcpy of some hundred bytes, only where several workers exist and
 * only for scripts that have never wanted other shards); for a large one the answer is "no", and
 * the script starts again with all shards, where nothing ever has to be undone.
 *
 * Taking back is silent: no event, no reply. A WATCH on a key that was written and restored says
 * "changed"; its EXEC is tried again by its client, as after any conflict.
 * Thread: holder of the shards. */
#include "script_undo.h"

#include "exec.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"

#define VALUE_MAX (16u * 1024u) /* bytes of one value */
#define IMAGES_MAX (128u * 1024u)
#define RECORDS_MAX 64u

struct undo_record {
    size_t key_len, image_len;
    db_id db;
};

void script_undo_deinit(struct script_undo *u) { buf_deinit(&u->images); }

static struct ks view_of(struct worker *w, db_id db, instant_ms now)
{
    return (struct ks){.shards = w->hub->shards, .shard_count = w->hub->count, .db = db,
                       .now = now, .flags = KS_NO_STATS | KS_NO_TOUCH | KS_SILENT};
}

static bool is_noted(const struct script_undo *u, db_id db, struct slice key)
{
    for (size_t at = 0; at < u->images.len;) {
        struct undo_record r;
        memcpy(&r, u->images.ptr + at, sizeof r);
        struct slice known = slice_of(u->images.ptr + at + sizeof r, r.key_len);
        if (r.db == db && slice_equal(known, key)) return true;
        at += sizeof r + r.key_len + r.image_len;
    }
    return false;
}

static bool note(struct script_undo *u, struct worker *w, db_id db, instant_ms now,
                 struct slice key)
{
    struct ks ks = view_of(w, db, now);
    if (is_noted(u, db, key)) return true;
    const struct entry *e = ks_peek(&ks, key);
    if (u->count == RECORDS_MAX || u->images.len > IMAGES_MAX) return false;
    if (e && entry_bytes(e) > VALUE_MAX) return false;
    size_t at = u->images.len;
    struct undo_record r = {.key_len = key.len, .db = db};
    buf_append(&u->images, &r, sizeof r);
    buf_append_slice(&u->images, key);
    ks_image_write(&ks, key, &u->images);
    if (u->images.failed) {
        u->images.failed = false;
        u->images.len = at;
        return false;
    }
    r.image_len = u->images.len - at - sizeof r - key.len;
    memcpy(u->images.ptr + at, &r, sizeof r);
    u->count++;
    return true;
}

bool script_undo_note(struct script_undo *u, struct worker *w, const struct exec *x)
{
    if (x->cmd->route == ROUTE_CHANNEL) return true; /* what it tells is dropped with the unit */
    if (x->cmd->handler == cmd_move || x->cmd->handler == cmd_copy) return false; /* two dbs */
    struct key_ref local[64];
    struct key_ref *refs = x->argc <= 64 ? local : mem_alloc((size_t)x->argc * sizeof *refs);
    int count = command_keys(x->cmd, x->argv, x->argc, refs);
    bool ok = true;
    for (int i = 0; i < count && ok; i++)
        if (refs[i].flags & KEY_WRITES) ok = note(u, w, x->db, x->now, x->argv[refs[i].pos]);
    if (refs != local) mem_free(refs);
    return ok;
}

void script_undo(struct script_undo *u, struct worker *w, instant_ms now)
{
    for (size_t at = 0; at < u->images.len;) {
        struct undo_record r;
        memcpy(&r, u->images.ptr + at, sizeof r);
        struct slice key = slice_of(u->images.ptr + at + sizeof r, r.key_len);
        struct slice image = slice_of(key.ptr + key.len, r.image_len);
        struct ks ks = view_of(w, r.db, now);
        /* The image exists in memory; a copy of it that does not fit would be half a script. */
        check(ks_image_put(&ks, key, image) == 0);
        at += sizeof r + r.key_len + r.image_len;
    }
    u->images.len = 0;
    u->count = 0;
    w->touched_shards |= w->held;
    w->touched_dbs = DBS_ALL;
}
