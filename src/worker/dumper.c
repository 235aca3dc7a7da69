/* P's side of a snapshot: chunks of all shards become one file.
 *
 *   head (functions, sizes) | chunk of a shard | chunk of another … | end, checksum
 *
 * Chunks are whole as they come: they are summed up and written, nothing is looked at. When every
 * shard has said its last, the file is synced and gets its name; until then the old one is as it
 * was. If the disk refuses, the shards are told to give up, and what they still send is thrown
 * away: one way to an end for all cases.
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

/* ---- the beginning ---- */

static void fails(struct hub *hub, struct snapshots *s, int rc)
{
    if (s->error == 0 && rc < 0) s->error = rc;
    snapshot_give_up_shared(hub, SNAPSHOT_FAILED);
}

static void open_file(struct persister *p, struct snapshots *s)
{
    struct hub_persist *tell = &p->hub->persist;
    s->open = true;
    s->ended = 0;
    s->value_of = NULL;
    s->error = 0;
    s->bytes_peak = 0;
    counter_set(&tell->bgsave_start_us, (uint64_t)p->mono_us);
    if (counter_get(&s->purpose) == SNAPSHOT_SAVE)
        log_line(LOG_LEVEL_NOTICE, "Background saving started by pid %ld", os_pid());
    int rc = rdb_disk_create(&s->disk, s->aside);
    if (rc < 0) {
        log_line(LOG_LEVEL_WARNING, "Failed opening the temp RDB file %s for saving: %s", s->aside,
                 os_error_text(rc));
        fails(p->hub, s, rc);
        return;
    }
    s->disk.late = s->late_flush;
    s->options.write = rdb_disk_write;
    s->options.ctx = &s->disk;
    s->out = rdb_out_new(&s->options);
    rdb_out_raw(s->out, buf_slice(&s->head), 0);
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

static void finish(struct persister *p, struct snapshots *s)
{
    int rc = result(s);
    if (rc == 0)
        rc = rdb_disk_finish(&s->disk, s->out, s->path);
    else
        rdb_disk_cancel(&s->disk);
    rdb_out_free(s->out);
    s->out = NULL;
    s->open = false;
    p->mono_us = os_mono_us();
    if (counter_get(&s->purpose) == SNAPSHOT_SAVE) note_save(p, s, rc);
    if (s->request.done) s->request.done(s->request.ctx, rc);
    mem_free(s->path);
    mem_free(s->aside);
    s->path = s->aside = NULL;
    buf_deinit(&s->head);
    counter_set(&s->purpose, SNAPSHOT_NONE);
    check(claim_try_shared(&s->state, SNAPSHOT_RUNNING, SNAPSHOT_IDLE));
}

/* ---- in between ---- */

static void take(struct persister *p, struct snapshots *s, struct snapshot_share *share,
                 struct snapshot_chunk *chunk)
{
    if (s->out && chunk->bytes.len && result(s) == 0) {
        uint64_t before = s->disk.written;
        rdb_out_raw(s->out, buf_slice(&chunk->bytes), chunk->version);
        int rc = rdb_out_flush(s->out);
        if (rc < 0) fails(p->hub, s, rc);
        counter_add(&p->hub->persist.bgsave_bytes, s->disk.written - before);
    }
    s->ended += chunk->last;
    if (chunk->big) s->value_of = chunk->ends_value ? NULL : share;
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

bool dumper_step(struct persister *p)
{
    struct hub *hub = p->hub;
    struct snapshots *s = hub->snapshots;
    if (claim_get_shared(&s->state) != SNAPSHOT_RUNNING) return false;
    if (!s->open) open_file(p, s);
    unsigned taken = 0;
    for (uint32_t i = 0; i < hub->count; i++) {
        struct snapshot_share *share = &s->shares[i];
        if (s->value_of && s->value_of != share) continue;
        taken += take_some(p, s, share, &share->big);
        if (!s->value_of) taken += take_some(p, s, share, &share->plain);
    }
    if (s->ended == hub->count) finish(p, s);
    return taken > 0;
}

void dumper_stop(struct persister *p)
{
    struct snapshots *s = p->hub->snapshots;
    if (!s->open) return;
    log_line(LOG_LEVEL_WARNING, "There is a snapshot in progress: it is given up");
    rdb_disk_cancel(&s->disk);
    rdb_out_free(s->out);
    s->out = NULL;
    s->open = false;
    if (s->request.done) s->request.done(s->request.ctx, -ECANCELED);
}
