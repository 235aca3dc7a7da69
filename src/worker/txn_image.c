/* Values on their way to the coordinator's scratch shard and back: for commands that have no form
 * of their own for several shards (COPY, RENAME, BITOP, SUNIONSTORE …).
 *
 * With the grants come images of all keys; the handler runs on the scratch shard; each written key
 * whose image has changed goes home with the write hop. Out of memory on the way: an error reply
 * and no writes.
 * Thread: as the face says. */
#include "conn.h"
#include "journal.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "txn.h"

#define IMAGE_UNCHANGED UINT64_MAX

struct ks txn_key_view(const struct txn *t, struct shard *shard, int pos)
{
    bool second = t->copy_db >= 0 && pos == 2;
    return (struct ks){.shard = shard, .shard_count = 1, .now = t->x.now,
                       .db = second ? (db_id)t->copy_db : t->x.db,
                       .flags = KS_NO_STATS | KS_NO_TOUCH |
                                (t->x.cmd->flags & CMD_WRITE ? 0 : KS_LOGICAL)};
}

/* Appends a length and the key's image. */
static void image_fetch(const struct txn *t, struct shard *shard, int pos, struct buf *list)
{
    struct ks ks = txn_key_view(t, shard, pos);
    uint64_t len = 0;
    size_t at = list->len;
    buf_append(list, &len, sizeof len);
    ks_image_write(&ks, t->argv[pos], list);
    if (list->failed) return;
    len = list->len - at - sizeof len;
    memcpy(list->ptr + at, &len, sizeof len);
}

/* The next image of a list; false: unchanged. */
static bool image_next(const struct buf *list, size_t *at, struct slice *image)
{
    uint64_t len;
    memcpy(&len, list->ptr + *at, sizeof len);
    *at += sizeof len;
    if (len == IMAGE_UNCHANGED) return false;
    *image = slice_of(list->ptr + *at, (size_t)len);
    *at += (size_t)len;
    return true;
}

static bool scratch_fill(struct txn *t)
{
    for (unsigned i = 0; i < t->part_count; i++) {
        struct txn_part *part = &t->parts[i];
        size_t at = 0;
        if (part->images.failed) return false;
        for (int k = 0; k < part->key_count; k++) {
            struct slice image;
            struct ks ks = txn_key_view(t, t->home->scratch, part->key_pos[k]);
            if (image_next(&part->images, &at, &image) &&
                ks_image_put(&ks, t->argv[part->key_pos[k]], image) != 0)
                return false;
        }
    }
    return true;
}

static bool key_is_written(const struct txn *t, int pos)
{
    for (int i = 0; i < t->ref_count; i++)
        if (t->refs[i].pos == pos) return t->refs[i].flags & KEY_WRITES;
    return false;
}

/* Which of the part's keys the handler changed; false: none. */
static bool part_collect_writes(struct txn *t, struct txn_part *part)
{
    bool any = false;
    size_t at = 0;
    for (int k = 0; k < part->key_count; k++) {
        int pos = part->key_pos[k];
        struct slice before = {0};
        image_next(&part->images, &at, &before);
        size_t mark = part->writes.len;
        if (key_is_written(t, pos)) {
            image_fetch(t, t->home->scratch, pos, &part->writes);
            struct slice after = slice_of(part->writes.ptr + mark + 8, part->writes.len - mark - 8);
            if (part->writes.failed || !slice_equal(before, after)) {
                any = true;
                continue;
            }
        }
        uint64_t unchanged = IMAGE_UNCHANGED;
        part->writes.len = mark;
        buf_append(&part->writes, &unchanged, sizeof unchanged);
    }
    return any;
}

/* Large copies are freed in slices, later (timer.c). */
static void scratch_empty(struct txn *t)
{
    for (unsigned i = 0; i < t->part_count; i++)
        for (int k = 0; k < t->parts[i].key_count; k++) {
            struct ks ks = txn_key_view(t, t->home->scratch, t->parts[i].key_pos[k]);
            ks_delete(&ks, t->argv[t->parts[i].key_pos[k]], false);
        }
}

/* The handler on copies; afterwards each part knows what it has to write. Out of memory on the way:
 * an error reply and no writes. */
void txn_run_on_scratch(struct txn *t)
{
    t->x.out = &t->reply;
    t->x.block = t->x.cmd->flags & CMD_BLOCKING ? &t->block : NULL;
    t->x.away = t->way == TXN_COPIES ? &t->away : NULL;
    size_t stated = journal_count(t->home);
    bool ok = t->way != TXN_COPIES || scratch_fill(t);
    if (ok) exec_scratch(t->home, &t->x);
    for (unsigned i = 0; i < t->part_count && ok; i++) {
        struct txn_part *part = &t->parts[i];
        part->writes.len = 0; /* MIGRATE runs twice */
        bool may = t->way == TXN_COPIES && t->x.cmd->flags & CMD_WRITE && !t->block.wanted;
        if (!may || !part_collect_writes(t, part)) buf_deinit(&part->writes);
        ok = !part->writes.failed;
    }
    if (!ok) {
        struct reply reply = {.out = &t->reply, .proto = t->x.proto};
        for (unsigned i = 0; i < t->part_count; i++) buf_deinit(&t->parts[i].writes);
        t->reply.len = 0;
        journal_rewind(t->home, stated);
        reply_error(&reply, ERR_OOM);
    }
    scratch_empty(t);
}

void txn_images_fetch(struct worker *w, struct txn_part *part)
{
    for (int k = 0; k < part->key_count; k++)
        image_fetch(part->txn, w->hub->shards[part->shard], part->key_pos[k], &part->images);
}

void txn_images_put(struct worker *w, struct txn_part *part)
{
    struct txn *t = part->txn;
    size_t at = 0;
    for (int k = 0; k < part->key_count && part->writes.len; k++) {
        struct slice image;
        struct ks ks = txn_key_view(t, w->hub->shards[part->shard], part->key_pos[k]);
        ks.flags = KS_NO_STATS | KS_SILENT;
        /* The image exists in memory; a copy of it that does not fit would be half a write. It was
         * stated at the lock point, so what it replaces may not be stated as expired after that. */
        w->effects_mute = true;
        if (image_next(&part->writes, &at, &image))
            check(ks_image_put(&ks, t->argv[part->key_pos[k]], image) == 0);
        w->effects_mute = false;
    }
    worker_touched(w, part->shard, DBS_ALL);
}
