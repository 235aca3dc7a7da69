/* SAVE, LASTSAVE, DEBUG RELOAD: a dump of all shards as they are while everything stands still.
 *
 * Who saves holds all shards from the first byte to the last, as Redis does in its one thread:
 * clients wait. (Saving beside running commands: snapshot.c.)
 * Thread: owner; the acts: holder of all shards. */
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"

#include <stdio.h>

#include "conn.h"
#include "functions.h"
#include "local.h"
#include "local_debug.h"
#include "save.h"
#include "snapshot.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"
#include "splitring/persist/dumpset.h"
#include "stats.h"

/* ---- writing ---- */

struct saving {
    struct rdb_out *out;
    struct ks ks;
};

static void put_aux_number(struct rdb_out *out, const char *name, uint64_t number)
{
    char text[24];
    rdb_out_aux(out, name, slice_of(text, num_format_i64(text, (int64_t)number)));
}

static void put_aux(struct worker *w, struct rdb_out *out, bool aof_base)
{
    struct stats_memory memory;
    stats_memory(w->hub, &memory);
    rdb_out_aux(out, "redis-ver", slice_str(REDIS_VERSION_SHOWN));
    put_aux_number(out, "redis-bits", 64);
    put_aux_number(out, "ctime", (uint64_t)(os_unix_us() / 1000000));
    put_aux_number(out, "used-mem", memory.used);
    put_aux_number(out, "aof-base", aof_base);
    rdb_out_aux(out, "splitring-ver", slice_str(SPLITRING_VERSION));
}

static void put_key(void *ctx, const struct entry *e)
{
    struct saving *s = ctx;
    (void)rdb_out_key(s->out, &s->ks, e);
}

/* False: the database is empty, and the dump does not speak of it. */
static bool put_db(struct hub *hub, struct rdb_out *out, int shard, uint32_t db)
{
    uint64_t keys = 0, expires = 0;
    for (uint32_t i = 0; i < hub->count; i++) {
        if (shard != SAVE_ALL && i != (uint32_t)shard) continue;
        keys += shard_db_keys(hub->shards[i], (db_id)db);
        expires += shard_db_expires(hub->shards[i], (db_id)db);
    }
    if (keys) rdb_out_db(out, db, keys, expires);
    return keys != 0;
}

static void put_databases(struct worker *w, struct saving *s, int shard)
{
    struct hub *hub = w->hub;
    s->ks = (struct ks){.shards = hub->shards, .shard_count = hub->count, .now = w->now,
                        .flags = KS_NO_TOUCH | KS_LOGICAL | KS_NO_STATS | KS_SILENT};
    if (shard != SAVE_ALL) s->ks.shard = hub->shards[shard];
    for (uint32_t db = 0; db < hub->databases; db++) {
        s->ks.db = (db_id)db;
        if (put_db(hub, s->out, shard, db)) ks_each(&s->ks, put_key, s);
    }
}

static void put_functions(struct hub *hub, struct rdb_out *out)
{
    struct library_set *set = functions_take(hub);
    for (size_t i = 0; i < set->count; i++) rdb_out_function(out, set->items[i]->text);
    functions_drop(hub, set);
}

static void put_facts(struct worker *w, struct rdb_out *out, int shard, bool aof_base)
{
    put_aux(w, out, aof_base);
    if (shard <= 0) put_functions(w->hub, out);
}

void save_put_head(struct worker *w, struct rdb_out *out, int shard, bool aof_base)
{
    put_facts(w, out, shard, aof_base);
    for (uint32_t db = 0; db < w->hub->databases; db++) (void)put_db(w->hub, out, shard, db);
}

static struct rdb_out *begin(const struct config *config, struct rdb_disk *disk)
{
    bool lfu = config->maxmemory_policy == CONFIG_POLICY_ALLKEYS_LFU ||
               config->maxmemory_policy == CONFIG_POLICY_VOLATILE_LFU;
    bool lru = config->maxmemory_policy == CONFIG_POLICY_ALLKEYS_LRU ||
               config->maxmemory_policy == CONFIG_POLICY_VOLATILE_LRU;
    struct rdb_out_options options = {.write = rdb_disk_write, .ctx = disk, .version = 10,
                                      .exact = true, .compress = config->rdb_compression,
                                      .checksum = config->rdb_checksum, .idle = lru, .freq = lfu};
    return rdb_out_new(&options);
}

void save_note_saved(struct hub *hub, uint64_t dirty, int64_t now_s)
{
    counter_set(&hub->persist.dirty_saved, dirty);
    counter_set(&hub->persist.last_save_s, (uint64_t)now_s);
    counter_set(&hub->persist.save_failed, 0);
    counter_add_shared(&hub->persist.saves, 1);
    log_line(LOG_LEVEL_NOTICE, "DB saved on disk");
}

static void note_saved(struct hub *hub)
{
    uint64_t dirty = 0;
    for (uint32_t i = 0; i < hub->count; i++) dirty += counter_get(&hub->published[i].dirty);
    save_note_saved(hub, dirty, os_unix_us() / 1000000);
}

static int save_file(struct worker *w, const char *aside, const char *name)
{
    const struct config *config = w->config;
    struct rdb_disk disk;
    int rc = rdb_disk_create(&disk, aside);
    if (rc < 0) {
        log_line(LOG_LEVEL_WARNING,
                 "Failed opening the temp RDB file %s (in server root dir %s) for saving: %s",
                 aside, config->dir, os_error_text(rc));
        return rc;
    }
    struct saving s = {.out = begin(config, &disk)};
    put_facts(w, s.out, SAVE_ALL, false);
    put_databases(w, &s, SAVE_ALL);
    rc = dumpset_finish_dump(&disk, s.out, name, false);
    rdb_out_free(s.out);
    if (rc < 0)
        log_line(LOG_LEVEL_WARNING, "Write error saving DB on disk (%s in %s): %s", name,
                 config->dir, os_error_text(rc));
    return rc;
}

/* A dump per shard. */
static int save_set(struct worker *w, const char *name)
{
    struct hub *hub = w->hub;
    struct rdb_out *outs[SHARDS_MAX];
    struct dumpset set;
    int rc = dumpset_create(&set, name, hub->count);
    if (rc == 0) {
        for (uint32_t i = 0; i < hub->count; i++) {
            struct saving s = {.out = outs[i] = begin(w->config, &set.files[i].disk)};
            put_facts(w, s.out, (int)i, false);
            put_databases(w, &s, (int)i);
        }
        rc = dumpset_commit(&set, outs, os_unix_us() / 1000000, false);
        for (uint32_t i = 0; i < hub->count; i++) rdb_out_free(outs[i]);
    }
    if (rc < 0)
        log_line(LOG_LEVEL_WARNING, "Write error saving DB on disk (%s.manifest in %s): %s", name,
                 w->config->dir, os_error_text(rc));
    return rc;
}

int save_in_place(struct worker *w)
{
    char aside[64];
    const char *name = w->config->dbfilename;
    snprintf(aside, sizeof aside, "temp-%ld.rdb", os_pid());
    int rc = w->config->snapshot_layout == CONFIG_LAYOUT_SHARDS ? save_set(w, name)
                                                                : save_file(w, aside, name);
    if (rc == 0) note_saved(w->hub);
    return rc;
}

bool save_may(struct worker *w)
{
    if (snapshot_purpose_shared(w->hub) != SNAPSHOT_SAVE) return true;
    snapshot_give_up_held(w, SNAPSHOT_CANCELLED);
    return false;
}

/* ---- commands ---- */

static void act_save(struct worker *w, struct still *s, struct reply *reply)
{
    (void)s;
    if (bgsave_in_the_way(w->hub))
        reply_error(reply, ERR_BGSAVE_RUNNING);
    else if (save_in_place(w) == 0)
        reply_ok(reply);
    else
        reply_error(reply, ERR_PLAIN_ERROR);
}

/* The snapshot after FLUSHALL is nobody's to know of. */
static bool may_save(struct worker *w, struct still *s)
{
    (void)s;
    return bgsave_in_the_way(w->hub) || snapshot_purpose_shared(w->hub) != SNAPSHOT_SAVE;
}

void cmd_save(struct call *c)
{
    struct still what = {.act = act_save, .may = may_save};
    if (bgsave_in_the_way(c->worker->hub))
        reply_error(&c->reply, ERR_BGSAVE_RUNNING);
    else
        still_start(c->worker, c->conn, &what);
}

void cmd_lastsave(struct call *c)
{
    reply_int(&c->reply, (int64_t)counter_get(&c->worker->hub->persist.last_save_s));
}

/* ---- DEBUG RELOAD ---- */

enum { RELOAD_NO_SAVE = 1, RELOAD_NO_FLUSH = 2, RELOAD_MERGE = 4 };

static void flush_all(struct worker *w)
{
    struct hub *hub = w->hub;
    struct ks ks = {.shards = hub->shards, .shard_count = hub->count, .now = w->now};
    for (uint32_t db = 0; db < hub->databases; db++) (void)ks_flush_db(&ks, (db_id)db, false);
    w->touched_shards |= w->held;
    w->touched_dbs = DBS_ALL;
    struct buf error = {0};
    (void)functions_put(hub, NULL, 0, FUNCTIONS_FLUSH, &error);
    buf_deinit(&error);
}

static bool may_reload(struct worker *w, struct still *s)
{
    (void)s;
    return save_may(w);
}

static void act_reload(struct worker *w, struct still *s, struct reply *reply)
{
    if (!(s->options & RELOAD_NO_SAVE) && save_in_place(w) != 0) {
        reply_error(reply, ERR_PLAIN_ERROR);
        return;
    }
    if (!(s->options & RELOAD_NO_FLUSH)) flush_all(w);
    if (!load_in_place(w, s->options & RELOAD_MERGE)) {
        reply_error(reply, ERR_RELOAD_FAILED);
        return;
    }
    log_line(LOG_LEVEL_WARNING, "DB reloaded by DEBUG RELOAD");
    reply_ok(reply);
}

void debug_reload(struct call *c)
{
    struct still what = {.act = act_reload, .exclusive = true, .may = may_reload};
    for (int i = 2; i < c->argc; i++) {
        if (call_is(c, i, "nosave")) {
            what.options |= RELOAD_NO_SAVE;
        } else if (call_is(c, i, "noflush")) {
            what.options |= RELOAD_NO_FLUSH;
        } else if (call_is(c, i, "merge")) {
            what.options |= RELOAD_MERGE;
        } else {
            reply_error(&c->reply, ERR_RELOAD_OPTIONS);
            return;
        }
    }
    if (c->worker->loading)
        reply_error(&c->reply, ERR_LOADING);
    else
        still_start(c->worker, c->conn, &what);
}
