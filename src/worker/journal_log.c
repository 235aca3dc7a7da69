/* The append log, as the persistence thread writes it.
 *
 *   lanes ──look, merge by ticket──▶ out ──sum line, one write──▶ incr file ──sync──▶ D
 *
 * Records are merged into one total order: what has a ticket below every `open` word is all there
 * (journal.c). SELECT is written where the database changes, MULTI and EXEC around what happened as
 * one. Each write ends with a checksum line, so every byte of the file is covered by one.
 *
 * D (`durable`) is the ticket up to which everything is on the disk. Under `always` P syncs right
 * after the write and replies wait for D; under `everysec` a thread of its own syncs once a second.
 *
 * Errors (DESIGN section 5). Under `always` any of them ends the process: replies were held, so
 * nobody was told of what may be lost. Otherwise a failed write is cut back and tried again each
 * second, and writes are refused meanwhile; a failed sync says that the kernel may have dropped
 * what was written, so nothing of the file is believed until a new base is on the disk.
 *
 * Thread: P. */
#include "journal_log.h"

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/io/file.h"
#include "splitring/io/io.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"

#define OUT_MAX ((size_t)1 << 20)  /* written at once, about */
#define GATHER_PART 6              /* of the time of a sync is waited for company … */
#define GATHER_US_MAX 500          /* … but not longer */
#define OUT_KEEP ((size_t)2 << 20) /* of its room */
#define DOZE_US 5000               /* under everysec and no: workers need not wake P */
#define DOZE_LOOKS 3u
#define SECOND_US 1000000
#define RETRY_REWRITE_US (60 * SECOND_US)

static bool is_always(const struct journal_log *l)
{
    return counter_get(&l->fsync) == CONFIG_FSYNC_ALWAYS;
}

/* Replies that were held are not sent. */
__attribute__((noreturn)) static void give_up(void)
{
    os_end_now(1);
}

/* ---- what others learn ---- */

/* Those who sleep and have replies that wait for D. */
static void wake_waiting(struct hub *hub)
{
    counter_next_shared(&hub->waking); /* no worker goes while this is not zero */
    fence_shared();
    for (worker_id i = 0; i < hub->count; i++)
        if (counter_get(&hub->journal->lanes[i].waits)) {
            if (sleep_wants_wake_shared(hub_sleeping(hub, i)))
                io_wake_shared(hub->workers[i]->io);
        }
    counter_drop_shared(&hub->waking);
}

static void set_durable(struct hub *hub, uint64_t ticket)
{
    if (ticket <= counter_get(&hub->journal->durable)) return;
    counter_set_release(&hub->journal->durable, ticket);
    wake_waiting(hub);
}

static void publish(struct journal_log *l)
{
    counter_set(&l->size, l->others_size + l->file_size);
    counter_set(&l->buffered, l->out.len);
}

/* ---- appending ---- */

static void put_select(struct journal_log *l, db_id db)
{
    char number[24];
    size_t len = num_format_u64(number, db);
    buf_printf(&l->out, "*2\r\n$6\r\nSELECT\r\n$%zu\r\n%.*s\r\n", len, (int)len, number);
    l->db = db;
    l->db_known = true;
}

static void put_stamp(struct journal_log *l, instant_us now_us)
{
    int64_t now_s = now_us / SECOND_US;
    if (!counter_get(&l->stamps) || now_s <= l->stamp_s) return;
    buf_printf(&l->out, "#TS:%lld\r\n", (long long)now_s);
    l->stamp_s = now_s;
}

/* Plain commands of one database go as a whole: they lie one behind the other. */
static size_t plain_run(const struct effects *e, size_t i)
{
    db_id db = e->ends[i].db;
    while (i < e->count && e->ends[i].db == db && !e->ends[i].opens && !e->ends[i].closes) i++;
    return i;
}

static void put_effects(struct journal_log *l, const struct effects *e, instant_us now_us,
                        bool wraps)
{
    l->group += e->count;
    put_stamp(l, now_us);
    for (size_t i = 0; i < e->count;) {
        const struct effect_end *end = &e->ends[i];
        if (!l->db_known || l->db != end->db) put_select(l, end->db);
        if (end->opens && wraps) buf_append_slice(&l->out, SLICE("*1\r\n$5\r\nMULTI\r\n"));
        size_t next = end->opens || end->closes ? i + 1 : plain_run(e, i);
        size_t from = i ? e->ends[i - 1].end : 0;
        buf_append(&l->out, e->bytes.ptr + from, e->ends[next - 1].end - from);
        if (end->closes && wraps) buf_append_slice(&l->out, SLICE("*1\r\n$4\r\nEXEC\r\n"));
        i = next;
    }
}

/* ---- errors ---- */

static void refuse_writes(struct hub *hub, int rc)
{
    counter_set(&hub->log_failed, (uint64_t)-rc);
    counter_set(&hub->journal->log->write_failed, 1);
}

static void lost(struct hub *hub, struct journal_log *l, int rc, const char *what)
{
    l->broken = true;
    refuse_writes(hub, rc);
    counter_set(&hub->persist.log_wanted, 1);
    log_line(LOG_LEVEL_WARNING, "%s: %s. Writes are refused until a new base of the append only "
             "file is on the disk.", what, os_error_text(rc));
}

static void on_write_error(struct hub *hub, struct journal_log *l, int rc, int64_t mono_us)
{
    if (is_always(l)) {
        log_line(LOG_LEVEL_WARNING, "Error writing to the AOF file: %s", os_error_text(rc));
        log_line(LOG_LEVEL_WARNING, "Can't recover from AOF write error when the AOF fsync policy "
                                    "is 'always'. Exiting...");
        give_up();
    }
    if (mono_us - l->told_error_us > 30 * SECOND_US || !counter_get(&l->write_failed)) {
        l->told_error_us = mono_us;
        log_line(LOG_LEVEL_WARNING, "Error writing to the AOF file: %s", os_error_text(rc));
    }
    refuse_writes(hub, rc);
    l->retry_us = mono_us + SECOND_US;
    int cut = file_truncate(l->fd, l->file_size);
    if (cut < 0)
        log_line(LOG_LEVEL_WARNING, "Could not remove short write from the append-only file. Redis "
                 "may refuse to load the AOF the next time it starts. ftruncate: %s",
                 os_error_text(cut));
}

static void on_sync_error(struct hub *hub, struct journal_log *l, int rc)
{
    if (is_always(l)) {
        log_line(LOG_LEVEL_WARNING, "Can't persist AOF for fsync error when the AOF fsync policy "
                 "is 'always': %s. Exiting...", os_error_text(rc));
        give_up();
    }
    lost(hub, l, rc, "Fail to fsync the AOF file");
}

/* ---- writing and syncing ---- */

/* All of `out` goes into the file. False: it could not; it is tried again later. */
static bool write_out(struct hub *hub, struct journal_log *l, int64_t mono_us)
{
    struct aof_sum sum = {0};
    if (!l->out.len) {
        l->written = l->merged; /* a cut has no bytes */
        return true;
    }
    if (!l->sealed) {
        aof_sum_add(&sum, l->out.ptr, l->out.len);
        sum.lag = l->file_size - l->synced_size;
        if (buf_reserve(&l->out, AOF_SUM_LINE_MAX))
            l->out.len += aof_sum_line(&sum, l->out.ptr + l->out.len);
    }
    if (l->out.failed) {
        log_line(LOG_LEVEL_WARNING, "Out of memory for the append only file. Exiting...");
        give_up();
    }
    int rc = file_write_at(l->fd, l->file_size, l->out.ptr, l->out.len);
    l->sealed = rc < 0;
    if (rc < 0) {
        on_write_error(hub, l, rc, mono_us);
        return false;
    }
    if (counter_get(&l->write_failed) && !l->broken) {
        log_line(LOG_LEVEL_WARNING, "AOF write error looks solved, Redis can write again.");
        counter_set(&hub->log_failed, 0);
        counter_set(&l->write_failed, 0);
    }
    l->file_size += l->out.len;
    l->out.len = 0;
    buf_shrink(&l->out, OUT_KEEP);
    l->written = l->merged;
    return true;
}

static bool lazy(const struct journal_log *l)
{
    return counter_get(&l->lazy_in_rewrite) && claim_get_shared(&l->rewriting);
}

static void sync_here(struct hub *hub, struct journal_log *l, int64_t mono_us)
{
    if (l->fd < 0) return;
    int rc = file_sync_data(l->fd);
    if (unlikely(hub->faults & FAULT_SYNC_IGNORED)) rc = 0;
    l->synced_us = mono_us;
    counter_add(&l->fsyncs, 1);
    if (rc < 0) {
        on_sync_error(hub, l, rc);
        return;
    }
    l->synced_size = l->file_size;
    set_durable(hub, l->written);
}

/* Under always a sync serves all who wait, and lasts longer than anything else here. Those whom the
 * last one has answered are about to write again: a sync that begins without them makes two groups
 * that take turns, each waiting for the other's. So it waits for about as many records as there
 * were, but only for a small part of the time that a sync takes. */
static bool gathers(struct journal_log *l, int64_t mono_us)
{
    if (l->synced_just_now) { /* those who came during the sync, and those who will come again */
        l->expected = l->last_group + l->group;
        l->expected -= l->expected / 8;
        l->synced_just_now = false;
    }
    return l->group && l->group < l->expected && mono_us < l->gather_until_us;
}

static void sync_group(struct hub *hub, struct journal_log *l, int64_t mono_us)
{
    int64_t begun_us = os_mono_us();
    sync_here(hub, l, mono_us);
    int64_t now_us = os_mono_us(), most_us = (now_us - begun_us) / GATHER_PART;
    l->last_group = l->group;
    l->synced_just_now = true;
    l->gather_until_us = now_us + (most_us < GATHER_US_MAX ? most_us : GATHER_US_MAX);
    l->group = 0;
}

static void sync_came_home(struct hub *hub, struct journal_log *l, uint64_t ticket)
{
    if (l->asked_size > l->synced_size) l->synced_size = l->asked_size;
    set_durable(hub, ticket);
}

static void sync_if_due(struct hub *hub, struct journal_log *l, int64_t mono_us)
{
    int rc;
    uint64_t ticket;
    if (journal_sync_over(&l->sync, &rc, &ticket)) {
        if (rc < 0 && !(hub->faults & FAULT_SYNC_IGNORED))
            on_sync_error(hub, l, rc);
        else
            sync_came_home(hub, l, ticket);
    }
    if (l->written <= counter_get(&hub->journal->durable) || l->fd < 0) return;
    if (is_always(l)) {
        if (lazy(l))
            set_durable(hub, l->written);
        else
            sync_group(hub, l, mono_us);
        return;
    }
    if (counter_get(&l->fsync) == CONFIG_FSYNC_NO || lazy(l) || l->broken) return;
    if (mono_us - l->synced_us < SECOND_US) return;
    if (journal_sync_ask(&l->sync, l->fd, l->written)) {
        l->asked_size = l->file_size;
        counter_add(&l->fsyncs, 1);
        l->synced_us = mono_us;
    } else if (mono_us - l->synced_us > 2 * SECOND_US) {
        counter_add(&l->delayed_fsyncs, 1);
        l->synced_us = mono_us;
    }
}

/* ---- cuts ---- */

static void cut(struct hub *hub, struct journal_log *l, int64_t mono_us)
{
    journal_sync_wait(&l->sync);
    bool syncs = counter_get(&l->fsync) != CONFIG_FSYNC_NO && !l->broken;
    if (l->fd >= 0 && syncs && !(hub->faults & FAULT_CUT_UNSYNCED)) sync_here(hub, l, mono_us);
    bool on = l->fd >= 0 || l->waits_for_base; /* else: a rewrite of a log that is switched off */
    bool names = !(hub->faults & FAULT_MANIFEST_LATE);
    l->cut_failed = on && !journal_files_cut(l, names);
    l->cut_seen = true;
}

static void begin(struct hub *hub, struct journal_log *l, int64_t mono_us)
{
    l->waits_for_base = true;
    l->others_size = l->file_size = 0;
    cut(hub, l, mono_us);
}

static void stop(struct hub *hub, struct journal_log *l, int64_t mono_us)
{
    journal_sync_wait(&l->sync);
    sync_here(hub, l, mono_us);
    if (l->fd >= 0) (void)file_close(l->fd);
    l->fd = -1;
    l->broken = l->waits_for_base = false;
    l->cut_failed |= l->cut_seen;
    counter_set(&hub->log_failed, 0);
    counter_set(&l->write_failed, 0);
    set_durable(hub, l->merged);
}

/* False: the log cannot take it now. */
static bool take(struct hub *hub, struct journal_log *l, const struct journal_blob *b,
                 instant_us now_us, int64_t mono_us)
{
    if (b->kind != JOURNAL_EFFECTS && l->fd >= 0 && !write_out(hub, l, mono_us)) return false;
    l->merged = b->ticket;
    switch (b->kind) {
    case JOURNAL_EFFECTS:
        if (l->fd >= 0)
            put_effects(l, &b->effects, now_us, !(hub->faults & FAULT_UNIT_UNWRAPPED));
        break;
    case JOURNAL_LOST: lost(hub, l, -12, "Out of memory for the append only file"); break;
    case JOURNAL_BEGIN: begin(hub, l, mono_us); break;
    case JOURNAL_CUT: cut(hub, l, mono_us); break;
    case JOURNAL_STOP: stop(hub, l, mono_us); break;
    }
    return true;
}

enum merged { MERGED_NONE, MERGED_SOME, MERGED_MORE };

static enum merged merge(struct hub *hub, struct journal_log *l, instant_us now_us,
                         int64_t mono_us)
{
    struct journal_view view;
    struct journal_blob *b;
    enum merged any = MERGED_NONE;
    journal_look(hub, &view);
    while ((b = journal_next(hub, &view)) != NULL) {
        if (l->out.len >= OUT_MAX) return MERGED_MORE;
        if (!take(hub, l, b, now_us, mono_us)) return any;
        journal_taken(hub, &view);
        any = MERGED_SOME;
    }
    return any;
}

/* ---- rewrites ---- */

static void rewrite_over(struct hub *hub, struct journal_log *l, bool done, instant_us now_us,
                         int64_t mono_us)
{
    int64_t took_ms = now_us / 1000 - (int64_t)counter_get(&l->start_ms);
    counter_set(&l->last_s, (uint64_t)(took_ms / 1000));
    counter_set(&l->rewrite_failed, !done);
    l->cut_seen = false;
    if (done) {
        publish(l);
        counter_set(&l->base_size, counter_get(&l->size));
        counter_add(&l->rewrites, 1);
        counter_set(&l->failures, 0);
        if (counter_get(&l->enabled) == 2) counter_set(&l->enabled, 1);
        if (l->broken) {
            l->broken = false;
            counter_set(&hub->log_failed, 0);
            counter_set(&l->write_failed, 0);
        }
        log_line(LOG_LEVEL_NOTICE, "Background AOF rewrite finished successfully");
    } else {
        counter_add(&l->failures, 1);
        l->next_rewrite_us = mono_us + RETRY_REWRITE_US;
        if (counter_get(&l->enabled) == 2 || l->broken) {
            l->next_rewrite_us = mono_us + SECOND_US;
            counter_set(&hub->persist.log_wanted, 1);
        }
        log_line(LOG_LEVEL_WARNING, "Background AOF rewrite failed");
    }
    counter_set(&l->base, JOURNAL_BASE_NONE);
    check(claim_try_shared(&l->rewriting, 1, 0));
}

static void rewrite_step(struct hub *hub, struct journal_log *l, instant_us now_us,
                         int64_t mono_us)
{
    uint64_t base = counter_get_acquire_shared(&l->base);
    if (base == JOURNAL_BASE_FAILED) {
        rewrite_over(hub, l, false, now_us, mono_us);
    } else if (base == JOURNAL_BASE_WRITTEN && l->cut_seen) {
        char aside[64];
        journal_files_aside(aside);
        bool done = !l->cut_failed && journal_files_base(l);
        if (!done) file_remove(aside);
        rewrite_over(hub, l, done, now_us, mono_us);
    }
}

static void rewrite_if_large(struct hub *hub, struct journal_log *l, int64_t mono_us)
{
    uint64_t percentage = counter_get(&l->rewrite_percentage), size = counter_get(&l->size);
    if (!percentage || counter_get(&l->enabled) != 1 || claim_get_shared(&l->rewriting)) return;
    if (size <= counter_get(&l->rewrite_min_size) || mono_us < l->next_rewrite_us) return;
    uint64_t base = counter_get(&l->base_size) ? counter_get(&l->base_size) : 1;
    uint64_t growth = size > base ? size * 100 / base - 100 : 0;
    if (growth < percentage || counter_get(&hub->persist.log_wanted)) return;
    log_line(LOG_LEVEL_NOTICE, "Starting automatic rewriting of AOF on %llu%% growth",
             (unsigned long long)growth);
    counter_set(&hub->persist.log_wanted, 1);
}

/* Worker 0 begins it. */
static void ask_for_rewrite(struct hub *hub, struct journal_log *l, int64_t mono_us)
{
    bool wanted = counter_get(&hub->persist.log_wanted) && !claim_get_shared(&l->rewriting);
    if (!wanted || mono_us < l->next_rewrite_us)
        return;
    l->next_rewrite_us = mono_us + SECOND_US; /* asked again, if need be */
    counter_next_shared(&hub->waking);
    if (hub->workers[0] && sleep_wants_wake_shared(hub_sleeping(hub, 0)))
        io_wake_shared(hub->workers[0]->io);
    counter_drop_shared(&hub->waking);
}

/* ---- the step ---- */

bool journal_step(struct hub *hub, instant_us now_us, int64_t mono_us)
{
    struct journal_log *l = hub->journal->log;
    if (!counter_get_acquire_shared(&l->ready)) return false;
    enum merged any = MERGED_NONE;
    if (!l->sealed || mono_us >= l->retry_us) {
        if (!l->sealed) any = merge(hub, l, now_us, mono_us);
        if (is_always(l) && gathers(l, mono_us)) return false;
        if (l->fd >= 0) (void)write_out(hub, l, mono_us);
    }
    sync_if_due(hub, l, mono_us);
    rewrite_step(hub, l, now_us, mono_us);
    publish(l);
    rewrite_if_large(hub, l, mono_us);
    ask_for_rewrite(hub, l, mono_us);
    if (is_always(l) || !counter_get(&l->enabled)) {
        counter_set(&hub->journal->dozing, 0);
        return any != MERGED_NONE;
    }
    l->idle_looks = any != MERGED_NONE ? 0 : l->idle_looks + 1;
    counter_set(&hub->journal->dozing, l->idle_looks < DOZE_LOOKS);
    return any == MERGED_MORE;
}

int64_t journal_next_us(const struct hub *hub, int64_t mono_us)
{
    const struct journal_log *l = hub->journal->log;
    if (!counter_get_acquire_shared(&l->ready)) return -1;
    if (counter_get(&hub->journal->dozing)) return DOZE_US;
    bool behind = l->written > counter_get(&hub->journal->durable) &&
                  counter_get(&l->fsync) == CONFIG_FSYNC_EVERYSEC;
    if (l->group && is_always(l)) { /* those who are still expected */
        int64_t left = l->gather_until_us - mono_us;
        return left > 0 ? left : 1;
    }
    bool again = l->sealed || l->broken || counter_get(&hub->persist.log_wanted);
    int64_t next = again ? SECOND_US / 10 : -1;
    if (l->idle_looks == DOZE_LOOKS) next = 20 * DOZE_US; /* what a worker gave when P dozed */
    if (behind) {
        int64_t left = l->synced_us + SECOND_US - mono_us;
        if (left < 1000) left = 1000;
        if (next < 0 || left < next) next = left;
    }
    return next;
}

void journal_end(struct hub *hub)
{
    struct journal_log *l = hub->journal->log;
    journal_sync_wait(&l->sync);
    journal_sync_end(&l->sync);
    if (!counter_get_acquire_shared(&l->ready) || l->fd < 0) return;
    while (merge(hub, l, os_unix_us(), os_mono_us()) != MERGED_NONE)
        if (!write_out(hub, l, os_mono_us())) break;
    if (write_out(hub, l, os_mono_us()) && !l->broken) {
        log_line(LOG_LEVEL_NOTICE, "Calling fsync() on the AOF file.");
        sync_here(hub, l, os_mono_us());
    }
    (void)file_close(l->fd);
    l->fd = -1;
    buf_deinit(&l->out);
    aof_manifest_deinit(&l->manifest);
}
