/* P's side of a snapshot: chunks of all shards become one file, or a file per shard.
 *
 *   head (functions, sizes) | chunk of a shard | chunk of another … | end, checksum
 *
 * Chunks are whole as they come: they are summed up and written, nothing is looked at. When every
 * shard has said its last, the file is synced and gets its name, or the set its manifest; until
 * then the old one is as it was. That sync must not hold up the append log, which has its turns in
 * the same thread: so P never gets far ahead of the disk, and waits for it a few MiB at a time. If
 * the disk refuses, the shards are told to give up, and what they still send is thrown away: one
 * way to an end for all cases.
 * Thread: P. */
#include <errno.h>

#include "internal.h"
#include "save.h"
#include "snapshot.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"

#define CHUNKS_PER_STEP 8u
#define BEHIND_MAX ((uint64_t)64 << 20) /* given to the kernel, and not on the disk yet */

/* ---- the beginning ---- */

static void fails(struct hub *hub, struct snapshots *s, int rc)
{
    if (s->error == 0 && rc < 0) s->error = rc;
    snapshot_give_up_shared(hub, SNAPSHOT_FAILED);
}

static unsigned file_count(const struct persister *p, const struct snapshots *s)
{
    return s->request.set ? p->hub->count : 1;
}

static struct snapshot_file *file_of(struct snapshots *s, const struct snapshot_share *share)
{
    return &s->files[s->request.set ? share->id : 0];
}

static void open_file(struct snapshots *s, struct snapshot_file *file, struct rdb_disk *disk)
{
    struct rdb_out_options options = s->options;
    disk->late = s->late_flush;
    options.write = rdb_disk_write;
    options.ctx = disk;
    file->value_of = NULL;
    file->out = rdb_out_new(&options);
    rdb_out_raw(file->out, buf_slice(&file->head), 0);
}

static void open_files(struct persister *p, struct snapshots *s)
{
    struct hub_persist *tell = &p->hub->persist;
    s->open = true;
    s->ended = 0;
    s->error = 0;
    s->bytes_peak = 0;
    counter_set(&tell->bgsave_start_us, (uint64_t)p->mono_us);
    if (counter_get(&s->purpose) == SNAPSHOT_SAVE)
        log_line(LOG_LEVEL_NOTICE, "Background saving started by pid %ld", os_pid());
    unsigned count = file_count(p, s);
    int rc = s->request.set ? dumpset_create(&s->set, s->path, count)
                            : rdb_disk_create(&s->disk, s->aside);
    if (rc < 0) {
        log_line(LOG_LEVEL_WARNING, "Failed opening the temp RDB file %s for saving: %s",
                 s->request.set ? s->path : s->aside, os_error_text(rc));
        fails(p->hub, s, rc);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        open_file(s, &s->files[i], s->request.set ? &s->set.files[i].disk : &s->disk);
}

/* ---- the end ---- */

/* Keeps INFO's promise, and the log's, as redis-server's. */
static void note_save(struct persister *p, struct snapshots *s, int rc)
{
    struct hub_persist *tell = &p->hub->persist;
    int64_t took_s = (p->mono_us - (int64_t)counter_get(&tell->bgsave_start_us)) / 1000000;
    counter_set(&tell->bgsave_last_s, (uint64_t)took_s);
    counter_set(&tell->bgsave_peak, s->bytes_peak);
    if (rc == 0) {
        save_note_saved(p->hub, s->dirty, os_unix_us() / 1000000);
        log_line(LOG_LEVEL_NOTICE, "Background saving terminated with success");
        return;
    }
    if (rc == -ECANCELED) {
        log_line(LOG_LEVEL_WARNING, "Background saving was given up before its end");
        return;
    }
    counter_set(&tell->save_failed, 1);
    if (counter_get(&s->end) == SNAPSHOT_CROWDED)
        log_line(LOG_LEVEL_WARNING, "Background saving was given up: what it has to keep in memory "
                                    "exceeds snapshot-memory-limit");
    else
        log_line(LOG_LEVEL_WARNING, "Write error saving DB on disk (%s): %s", s->path,
                 os_error_text(rc));
    log_line(LOG_LEVEL_WARNING, "Background saving error");
}

static int result(const struct snapshots *s)
{
    switch ((enum snapshot_end)counter_get_acquire_shared(&s->end)) {
    case SNAPSHOT_GOES_ON: return 0;
    case SNAPSHOT_CANCELLED: return -ECANCELED;
    case SNAPSHOT_CROWDED: return -ENOMEM;
    default: return s->error ? s->error : -EIO;
    }
}

/* The only file has its place: as a dump that counts, or for who asked for it. */
static int finish_file(struct snapshots *s)
{
    struct rdb_out *out = s->files[0].out;
    return counter_get(&s->purpose) == SNAPSHOT_SAVE
               ? dumpset_finish_dump(&s->disk, out, s->path, false)
               : rdb_disk_finish(&s->disk, out, s->path);
}

static int finish_set(struct snapshots *s)
{
    struct rdb_out *outs[SHARDS_MAX];
    for (unsigned i = 0; i < s->set.count; i++) outs[i] = s->files[i].out;
    return dumpset_commit(&s->set, outs, s->start_s, false);
}

static void close_files(struct persister *p, struct snapshots *s)
{
    rdb_disk_cancel(&s->disk);
    dumpset_cancel(&s->set);
    for (unsigned i = 0; i < file_count(p, s); i++) {
        rdb_out_free(s->files[i].out);
        s->files[i].out = NULL;
    }
    s->open = false;
}

static void finish(struct persister *p, struct snapshots *s)
{
    int rc = result(s);
    if (rc == 0) rc = s->request.set ? finish_set(s) : finish_file(s);
    close_files(p, s);
    p->mono_us = os_mono_us();
    if (counter_get(&s->purpose) == SNAPSHOT_SAVE) note_save(p, s, rc);
    if (s->request.done) s->request.done(s->request.ctx, rc);
    mem_free(s->path);
    mem_free(s->aside);
    s->path = s->aside = NULL;
    for (unsigned i = 0; i < p->hub->count; i++) buf_deinit(&s->files[i].head);
    counter_set(&s->purpose, SNAPSHOT_NONE);
    check(claim_try_shared(&s->state, SNAPSHOT_RUNNING, SNAPSHOT_IDLE));
}

/* ---- in between ---- */

static void take(struct persister *p, struct snapshots *s, struct snapshot_share *share,
                 struct snapshot_chunk *chunk)
{
    struct snapshot_file *file = file_of(s, share);
    if (file->out && chunk->bytes.len && result(s) == 0) {
        uint64_t before = rdb_out_bytes(file->out);
        rdb_out_raw(file->out, buf_slice(&chunk->bytes), chunk->version);
        int rc = rdb_out_flush(file->out);
        if (rc < 0) fails(p->hub, s, rc);
        counter_add(&p->hub->persist.bgsave_bytes, rdb_out_bytes(file->out) - before);
    }
    s->ended += chunk->last;
    if (chunk->big) file->value_of = chunk->ends_value ? NULL : share;
    uint64_t bytes = snapshot_bytes(p->hub);
    if (bytes > s->bytes_peak) s->bytes_peak = bytes;
}

static unsigned take_some(struct persister *p, struct snapshots *s, struct snapshot_share *share,
                          struct snapshot_stream *stream)
{
    struct message m;
    unsigned taken = 0;
    for (; taken < CHUNKS_PER_STEP && mailbox_receive(&stream->to_p, &m); taken++) {
        take(p, s, share, m.ptr);
        mailbox_send(&share->home, m);
        (void)mailbox_publish(&share->home);
    }
    return taken;
}

/* True: some of what the disk owes has been waited for, and it is others' turn. */
static bool settles(struct persister *p, struct snapshots *s, uint64_t behind)
{
    unsigned count = file_count(p, s);
    int rc = result(s);
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        struct rdb_disk *disk = s->request.set ? &s->set.files[i].disk : &s->disk;
        rc = rdb_disk_settle(disk, behind / count);
        if (rc < 0) fails(p->hub, s, rc);
    }
    return rc > 0;
}

bool dumper_step(struct persister *p)
{
    struct hub *hub = p->hub;
    struct snapshots *s = hub->snapshots;
    if (claim_get_shared(&s->state) != SNAPSHOT_RUNNING) return false;
    if (!s->open) open_files(p, s);
    if (settles(p, s, BEHIND_MAX)) return true;
    unsigned taken = 0;
    for (uint32_t i = 0; i < hub->count; i++) {
        struct snapshot_share *share = &s->shares[i];
        const struct snapshot_file *file = file_of(s, share);
        if (file->value_of && file->value_of != share) continue;
        taken += take_some(p, s, share, &share->big);
        if (!file->value_of) taken += take_some(p, s, share, &share->plain);
    }
    if (s->ended < hub->count) return taken > 0;
    if (settles(p, s, 0)) return true;
    finish(p, s);
    return true;
}

void dumper_stop(struct persister *p)
{
    struct snapshots *s = p->hub->snapshots;
    if (!s->open) return;
    log_line(LOG_LEVEL_WARNING, "There is a snapshot in progress: it is given up");
    close_files(p, s);
    if (s->request.done) s->request.done(s->request.ctx, -ECANCELED);
}
