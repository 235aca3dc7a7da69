/* Loading dumps: at start by all workers at once, and in place for DEBUG RELOAD.
 *
 * At start every worker reads the whole file and takes the keys of its own shard; the others' are
 * passed over, which costs a tenth of making a value. So nothing is handed between threads, a big
 * value streams into its shard without being in memory as a whole, the memory of a shard comes from
 * the thread that will use it, and each worker has itself seen the checksum over what it took. The
 * file is read once by the kernel: the workers go through it side by side. (One reader that hands
 * out chunks would read once, but would have to have every value whole, and would be what all wait
 * for.)
 *
 * Most of the time would go into waiting for memory: each key's place in the table is somewhere. So
 * records that lie in the reader's block are found ahead, and their slots are fetched while the
 * next are found. The table has its size from the beginning, by what the dump says of itself, as
 * far as its bytes make that likely: no segment grows or splits.
 *
 * It goes in slices of a pass, so clients are answered meanwhile: commands that need no data work,
 * the others get LOADING. Only when the last worker has finished, and so has found the checksum
 * right, do commands run. A damaged file ends the server before anything was served from it, and is
 * left as it is.
 *
 * An append log is a dump, or none, and then files of commands: load_log.c, load_run.c. A set of
 * dumps, one per shard: load_set.c.
 * Thread: owner. */
#include "load.h"

#include <errno.h>
#include <stdio.h>

#include "block.h"
#include "functions.h"
#include "journal_start.h"
#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/io/file.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"

#define SLICE_BYTES (256u * 1024u) /* of the file, in a pass: about a millisecond */
#define BATCH_KEYS 16u             /* looked for at the same time */
/* Of a short number under a short name. A dump that lies about its size gets no more room in tables
 * than it has bytes. */
#define RECORD_LEN_SMALL 16u

/* ---- the file ---- */

int load_dump_open(struct loader *l, const char *path, uint32_t databases, bool checksum)
{
    uint64_t size;
    l->fd = file_open(path, &size);
    if (l->fd < 0) return l->fd;
    struct rdb_in_options options = {.read = rdb_disk_read, .ctx = &l->fd, .size = size,
                                     .databases = databases, .skip_checksum = !checksum};
    l->in = rdb_in_new(&options);
    return 0;
}

static void begin_load(struct hub *hub)
{
    struct hub_persist *p = &hub->persist;
    counter_set(&p->load_start_ms, (uint64_t)(os_unix_us() / 1000));
    if (!p->set) counter_set(&p->load_work_bytes, counter_get(&p->load_total_bytes) * hub->count);
    counter_set_release(&hub->persist.loading, hub->count + 1); /* one for journal_start */
}

int hub_load(struct hub *hub)
{
    const struct config *config = hub->config_start;
    uint64_t size;
    if (config->appendonly) {
        bool found;
        int rc = load_log_find(hub, config, &found);
        if (!found) return rc < 0 ? rc : journal_start(hub);
        begin_load(hub);
        return 0;
    }
    int rc = load_set_find(hub, config);
    if (rc < 0) return rc;
    if (rc == LOAD_DONE) {
        begin_load(hub);
        return 0;
    }
    int fd = file_open(config->dbfilename, &size);
    if (fd == -ENOENT) return journal_start(hub);
    if (fd < 0) {
        log_line(LOG_LEVEL_WARNING,
                 "Fatal error: can't open the RDB file %s in %s for reading: %s. Exiting.",
                 config->dbfilename, config->dir, os_error_text(fd));
        return fd;
    }
    (void)file_close(fd);
    counter_set(&hub->persist.load_total_bytes, size);
    begin_load(hub);
    return 0;
}

bool hub_loading_shared(const struct hub *hub)
{
    return counter_get_acquire_shared((counter *)&hub->persist.loading) != 0;
}

bool hub_load_failed_shared(const struct hub *hub)
{
    return counter_get_acquire_shared((counter *)&hub->persist.load_failed) != 0;
}

void load_free(struct loader *l)
{
    if (!l) return;
    rdb_in_free(l->in);
    aof_in_free(l->log);
    if (l->scanning) aof_scan_end(&l->scan);
    if (l->fd >= 0) (void)file_close(l->fd);
    mem_free(l->argv);
    mem_free(l->refs);
    buf_deinit(&l->out);
    mem_free(l->name);
    mem_free(l);
}

static struct loader *loader_new(struct worker *w, int own)
{
    const struct env *env = &w->env;
    struct loader *l = mem_zalloc(sizeof *l);
    l->own = own;
    l->fd = -1;
    l->tells = own <= 0;
    l->limits = (struct rdb_limits){
        .hash = {env->hash_max_listpack_entries, env->hash_max_listpack_value},
        .set = {env->set_max_intset_entries, env->set_max_listpack_entries,
                env->set_max_listpack_value},
        .zset = {env->zset_max_listpack_entries, env->zset_max_listpack_value},
        .list_fill = list_fill(env->list_max_listpack_size),
    };
    l->ks = (struct ks){.shard = own >= 0 ? w->hub->shards[own] : NULL, .shards = w->hub->shards,
                        .shard_count = w->hub->count, .flags = KS_NO_STATS | KS_SILENT};
    return l;
}

/* ---- items ---- */

static void tell_aux(struct hub *hub, const struct rdb_item *item, int64_t now_s)
{
    int64_t number;
    if (slice_is_word(item->name, "redis-ver") || slice_is_word(item->name, "valkey-ver")) {
        log_line(LOG_LEVEL_NOTICE, "Loading RDB produced by version %.*s", (int)item->value.len,
                 item->value.ptr);
    } else if (!num_parse_i64(item->value, &number)) {
        return;
    } else if (slice_is_word(item->name, "ctime")) {
        log_line(LOG_LEVEL_NOTICE, "RDB age %lld seconds",
                 (long long)(number < now_s ? now_s - number : 0));
    } else if (slice_is_word(item->name, "used-mem")) {
        log_line(LOG_LEVEL_NOTICE, "RDB memory usage when created %.2f Mb",
                 (double)number / (1024 * 1024));
        counter_set(&hub->persist.load_used_mem, (uint64_t)number);
    }
}

/* What a key came to that was put. */
static int count_key(struct loader *l, int rc)
{
    if (unlikely(rc == RDB_E_EMPTY)) {
        l->empty++;
        return 0;
    }
    l->keys++;
    return rc == RDB_E_TWICE && l->merge ? 0 : rc;
}

static int refuse_twice(struct loader *l, const struct rdb_item *item)
{
    return rdb_in_refuse(l->in, item, "RDB has duplicated key");
}

static int take_key(struct worker *w, struct loader *l, const struct rdb_item *item)
{
    if (l->set && !load_set_has(l, item->key)) return load_set_refuse(l, item);
    if (l->own >= 0 && hub_shard_of(w->hub, item->key) != l->own) return rdb_in_skip(l->in);
    if (item->expire < w->now && !l->timeless) { /* as a primary does: it is not even made */
        l->expired++;
        return rdb_in_skip(l->in);
    }
    l->ks.db = (db_id)item->db;
    l->ks.now = w->now;
    int rc = count_key(l, rdb_in_put(l->in, &l->ks, &l->limits, item));
    return rc == RDB_E_TWICE ? refuse_twice(l, item) : rc;
}

/* The table has room for what is said to come, as far as so many keys can follow. */
static void make_room(struct worker *w, struct loader *l, const struct rdb_item *item)
{
    struct hub *hub = w->hub;
    uint64_t keys = item->keys, most = rdb_in_left(l->in) / RECORD_LEN_SMALL;
    if (keys > most) keys = most;
    for (worker_id i = 0; i < hub->count; i++)
        if (l->own < 0 || l->own == (int)i)
            shard_expect(hub->shards[i], (db_id)item->db,
                         l->set ? load_set_share(hub, l, i, keys) : (size_t)(keys / hub->count));
}

/* ---- many keys at once ---- */

static uint64_t hash_of(const struct worker *w, const struct loader *l, const struct rdb_plain *p)
{
    const struct shard *shard = ks_shard_of(&l->ks, p->key);
    uint64_t hash = hash_key(p->key, w->hub->seed);
    shard_prefetch_slot(shard, (db_id)p->db, hash);
    return hash;
}

static struct rdb_item item_of(const struct rdb_plain *p)
{
    return (struct rdb_item){.kind = RDB_ITEM_KEY, .offset = p->offset, .key = p->key, .db = p->db};
}

static int put_plain(struct loader *l, const struct rdb_plain *plain, uint64_t hash)
{
    l->ks.db = (db_id)plain->db;
    l->ks.hash_key = plain->key.ptr;
    l->ks.hash = hash;
    int rc = count_key(l, rdb_in_put_plain(l->in, &l->ks, &l->limits, plain));
    l->ks.hash_key = NULL;
    if (likely(rc != RDB_E_TWICE)) return rc;
    struct rdb_item item = item_of(plain);
    return refuse_twice(l, &item);
}

struct plain_batch {
    struct rdb_plain keys[BATCH_KEYS];
    uint64_t hashes[BATCH_KEYS];
    unsigned count;
    int rc; /* of what follows them */
};

/* The next own keys whose records lie in memory; their slots are on their way. False: what follows
 * is of another kind, or behind `until`. */
static bool find_plain(struct worker *w, struct loader *l, uint64_t until,
                       struct plain_batch *batch)
{
    batch->count = 0;
    batch->rc = 0;
    rdb_in_plain_begin(l->in);
    while (rdb_in_offset(l->in) < until) {
        struct rdb_plain *plain = &batch->keys[batch->count];
        if (!rdb_in_plain(l->in, plain)) return false;
        if (unlikely(l->set) && !load_set_has(l, plain->key)) {
            struct rdb_item item = item_of(plain);
            batch->rc = load_set_refuse(l, &item);
            return false;
        }
        if (l->own >= 0 && hub_shard_of(w->hub, plain->key) != l->own) continue;
        if (unlikely(plain->expire < w->now) && !l->timeless) {
            l->expired++;
            continue;
        }
        batch->hashes[batch->count] = hash_of(w, l, plain);
        if (++batch->count == BATCH_KEYS) return true;
    }
    return false;
}

static int take_plain(struct worker *w, struct loader *l, uint64_t until)
{
    struct plain_batch batch;
    bool more = true;
    int rc = 0;
    l->ks.now = w->now;
    while (more && rc == 0) {
        more = find_plain(w, l, until, &batch);
        for (unsigned i = 0; rc == 0 && i < batch.count; i++)
            rc = put_plain(l, &batch.keys[i], batch.hashes[i]);
        if (rc == 0) rc = batch.rc;
    }
    return rc;
}

/* A library of functions; one of the workers makes it known to all. */
static int take_library(struct worker *w, struct loader *l, const struct rdb_item *item)
{
    struct buf error = {0};
    bool known = functions_load(w, item->value, l->merge, &error);
    if (!known)
        log_line(LOG_LEVEL_WARNING, "Failed creating the library: %.*s", (int)error.len,
                 error.ptr ? error.ptr : "");
    buf_deinit(&error);
    return known ? 0 : rdb_in_refuse(l->in, item, "Failed creating a function library");
}

static int take_item(struct worker *w, struct loader *l, const struct rdb_item *item)
{
    switch (item->kind) {
    case RDB_ITEM_KEY: return take_key(w, l, item);
    case RDB_ITEM_SIZES: make_room(w, l, item); break;
    case RDB_ITEM_AUX:
        if (l->tells && l->part == 0) tell_aux(w->hub, item, w->now / 1000);
        break;
    case RDB_ITEM_FUNCTION: return l->tells ? take_library(w, l, item) : 0;
    case RDB_ITEM_NOTE:
        if (l->tells && item->value.len)
            log_line(LOG_LEVEL_NOTICE, "RDB offset %llu: %.*s", (unsigned long long)item->offset,
                     (int)item->value.len, item->value.ptr);
        break;
    default: break;
    }
    return 0;
}

int load_dump_bytes(struct worker *w, struct loader *l, uint64_t bytes)
{
    struct rdb_item item;
    uint64_t until = rdb_in_offset(l->in) + bytes;
    while (rdb_in_offset(l->in) < until) {
        int rc = take_plain(w, l, until);
        if (rc == 0 && rdb_in_offset(l->in) >= until) return 0;
        if (rc == 0) rc = rdb_in_next(l->in, &item);
        if (rc == 0 && item.kind == RDB_ITEM_END) return LOAD_DONE;
        if (rc == 0) rc = take_item(w, l, &item);
        if (rc != 0) return rc < 0 ? rc : -EBADMSG;
    }
    return 0;
}

static void tell_rest(const struct loader *l)
{
    if (l->empty)
        log_line(LOG_LEVEL_WARNING, "Done loading RDB: %llu empty keys were skipped",
                 (unsigned long long)l->empty);
}

/* ---- at start ---- */

static void count_loaded(struct hub *hub, const struct loader *l)
{
    counter_add_shared(&hub->persist.keys_loaded, l->keys);
    counter_add_shared(&hub->persist.keys_expired, l->expired);
}

static void tell_done(struct hub *hub)
{
    const struct hub_persist *p = &hub->persist;
    int64_t ms = os_unix_us() / 1000 - (int64_t)counter_get(&p->load_start_ms);
    if (p->plan)
        log_line(LOG_LEVEL_NOTICE, "DB loaded from append only file: %.3f seconds",
                 (double)ms / 1000);
    if (p->plan) return;
    log_line(LOG_LEVEL_NOTICE, "Done loading RDB, keys loaded: %llu, keys expired: %llu.",
             (unsigned long long)counter_get(&p->keys_loaded),
             (unsigned long long)counter_get(&p->keys_expired));
    log_line(LOG_LEVEL_NOTICE, "DB loaded from disk: %.3f seconds", (double)ms / 1000);
}

/* The one that comes first says why, if it has not been said yet. */
static void load_fails(struct worker *w, struct loader *l, const char *why)
{
    struct hub *hub = w->hub;
    const struct load_plan *plan = hub->persist.plan;
    bool first = counter_next_shared(&hub->persist.load_failed) == 1;
    if (first && !plan)
        log_line(LOG_LEVEL_WARNING, "Error loading the RDB file %s/%s: %s", w->config->dir,
                 l->name ? l->name : w->config->dbfilename, why);
    else if (first && *why && l->in)
        log_line(LOG_LEVEL_WARNING, "Error reading the RDB base file %s, AOF loading aborted: %s",
                 plan->files[l->file].name, why);
    else if (first && *why)
        log_line(LOG_LEVEL_WARNING, "%s reading the append only file %s", why,
                 plan->files[l->file].name);
    if (first)
        log_line(LOG_LEVEL_WARNING, "Fatal error loading the DB, check server logs. Exiting.");
    hub_stop_shared(hub);
}

/* The last worker is done: commands may run as soon as the log is open. */
static void all_loaded(struct worker *w)
{
    struct hub *hub = w->hub;
    tell_done(hub);
    if (journal_start(hub) < 0) {
        counter_next_shared(&hub->persist.load_failed);
        hub_stop_shared(hub);
        return;
    }
    counter_drop_shared(&hub->persist.loading);
}

void load_begin(struct worker *w)
{
    struct loader *l = loader_new(w, w->id);
    w->loading = true;
    w->loader = l;
    l->set = w->hub->persist.set;
    if (w->hub->persist.plan && !w->hub->persist.plan->adopts) {
        l->timeless = true;
        w->env.loading = true;
        shard_set_timeless(w->shard, true);
    }
}

static void publish_progress(struct worker *w, struct loader *l)
{
    const struct load_plan *plan = w->hub->persist.plan;
    uint64_t bytes = l->in ? rdb_in_offset(l->in) : l->log ? aof_in_offset(l->log) : 0;
    bytes += l->parts_bytes;
    if (plan) bytes += l->file < plan->count ? plan->files[l->file].start : 0;
    if (bytes > l->told_bytes) {
        counter_add_shared(&w->hub->persist.load_bytes, bytes - l->told_bytes);
        l->told_bytes = bytes;
    }
    worker_touched(w, w->id, DBS_ALL);
    block_serve(w, w->id);
}

/* ---- files of a log ---- */

static ssize_t read_log(void *fd, uint64_t offset, char *ptr, size_t len)
{
    return file_read_at(*(int *)fd, offset, ptr, len);
}

static int open_log_file(struct worker *w, struct loader *l, const struct load_file *f)
{
    l->file_us = w->mono_us;
    if (f->rdb) {
        if (l->tells)
            log_line(LOG_LEVEL_NOTICE, f->tail ? "Reading RDB preamble from AOF file..."
                                               : "Reading RDB base file on AOF loading...");
        return load_dump_open(l, f->path, w->hub->databases, w->config->rdb_checksum);
    }
    uint64_t size;
    l->fd = file_open(f->path, &size);
    if (l->fd < 0) return l->fd;
    struct aof_in_options options = {.read = read_log, .ctx = &l->fd, .size = f->valid};
    l->log = aof_in_new(&options);
    l->db = 0;
    return 0;
}

/* The dump has ended: commands may follow. */
static int end_of_dump(struct loader *l, const struct load_file *f)
{
    uint64_t at = rdb_in_offset(l->in);
    if (!f->tail && at != f->size) {
        snprintf(l->why, sizeof l->why, "%llu bytes are behind its end, at offset %llu",
                 (unsigned long long)(f->size - at), (unsigned long long)at);
        return -EBADMSG;
    }
    rdb_in_free(l->in);
    l->in = NULL;
    if (!f->tail) return LOAD_DONE;
    if (l->tells) log_line(LOG_LEVEL_NOTICE, "Reading the remaining AOF tail...");
    struct aof_in_options options = {.read = read_log, .ctx = &l->fd, .offset = f->commands,
                                     .size = f->valid};
    l->log = aof_in_new(&options);
    l->db = 0;
    return 0;
}

static void close_log_file(struct worker *w, struct loader *l, const struct load_file *f)
{
    aof_in_free(l->log);
    l->log = NULL;
    if (l->fd >= 0) (void)file_close(l->fd);
    l->fd = -1;
    l->file++;
    if (l->tells)
        log_line(LOG_LEVEL_NOTICE, "DB loaded from %s file %s: %.3f seconds",
                 f->base ? "base" : "incr", f->name, (double)(w->mono_us - l->file_us) / 1e6);
}

/* A slice of the log's files. */
static int load_log_slice(struct worker *w, struct loader *l)
{
    const struct load_plan *plan = w->hub->persist.plan;
    if (!counter_get_acquire_shared(&plan->looked)) {
        int rc = w->id == 0 ? load_log_look(w, l, 4 * SLICE_BYTES) : LOAD_WAITS;
        return rc == LOAD_DONE ? 0 : rc;
    }
    if (l->file == plan->count) return LOAD_DONE;
    const struct load_file *f = &plan->files[l->file];
    int rc = l->in || l->log ? 0 : open_log_file(w, l, f);
    if (rc == 0 && l->in) {
        rc = load_dump_bytes(w, l, SLICE_BYTES);
        if (rc < 0) snprintf(l->why, sizeof l->why, "%s", rdb_in_error(l->in));
        if (rc != LOAD_DONE) return rc;
        rc = end_of_dump(l, f);
    } else if (rc == 0) {
        rc = load_run_bytes(w, l, f, SLICE_BYTES);
    } else {
        snprintf(l->why, sizeof l->why, "%s", os_error_text(rc));
    }
    if (rc == LOAD_DONE) {
        close_log_file(w, l, f);
        return 0;
    }
    return rc;
}

/* ---- the end of it ---- */

static void loader_done(struct worker *w, struct loader *l)
{
    struct hub *hub = w->hub;
    tell_rest(l);
    count_loaded(hub, l);
    load_free(l);
    w->loader = NULL;
    w->env.loading = false;
    worker_hold(w, w->id);
    shard_set_timeless(w->shard, false);
    worker_unhold_all(w);
    if (counter_drop_shared(&hub->persist.loading) == 1) all_loaded(w);
    w->loading = hub_loading_shared(hub);
}

/* The last one is worker 0: what follows upon a log that is loaded happens before any command. */
static void end_log(struct worker *w, struct loader *l)
{
    struct hub *hub = w->hub;
    l->waits = w->id == 0 && counter_get_acquire_shared(&hub->persist.loading) > 2;
    if (l->waits) return;
    if (w->id == 0 && load_log_end(w) < 0) {
        load_fails(w, l, "");
        return;
    }
    load_run_end(w);
    loader_done(w, l);
}

static int slice(struct worker *w, struct loader *l)
{
    if (w->hub->persist.plan) return load_log_slice(w, l);
    if (l->set) return load_set_slice(w, l, SLICE_BYTES);
    int rc = l->in ? 0 : load_dump_open(l, w->config->dbfilename, w->hub->databases,
                                        w->config->rdb_checksum);
    if (rc < 0) {
        snprintf(l->why, sizeof l->why, "%s", os_error_text(rc));
        return rc;
    }
    rc = load_dump_bytes(w, l, SLICE_BYTES);
    if (rc < 0) snprintf(l->why, sizeof l->why, "%s", rdb_in_error(l->in));
    return rc;
}

bool load_waits(const struct worker *w) { return w->loader->waits; }

#define WAIT_PAUSES 2000u

void load_step(struct worker *w)
{
    struct hub *hub = w->hub;
    struct loader *l = w->loader;
    if (!l) {
        w->loading = hub_loading_shared(hub);
        return;
    }
    if (hub_stopping_shared(hub)) return;
    worker_hold(w, w->id);
    int rc = slice(w, l);
    publish_progress(w, l);
    worker_unhold_all(w);
    l->waits = rc == LOAD_WAITS;
    if (rc < 0) load_fails(w, l, l->why);
    else if (rc == LOAD_DONE && hub->persist.plan) end_log(w, l);
    else if (rc == LOAD_DONE) loader_done(w, l);
    else if (rc == LOAD_WAITS && l->has_item) {
        for (unsigned i = 0; i < WAIT_PAUSES && load_run_waits(w, l); i++) hub->pause(0);
        l->waits = load_run_waits(w, l);
    }
}

/* ---- in place ---- */

static int load_all(struct worker *w, struct loader *l)
{
    int rc = l->set ? 0 : load_dump_open(l, w->config->dbfilename, w->hub->databases,
                                         w->config->rdb_checksum);
    if (rc < 0) snprintf(l->why, sizeof l->why, "%s", os_error_text(rc));
    while (rc == 0)
        rc = l->set ? load_set_slice(w, l, UINT32_MAX) : load_dump_bytes(w, l, UINT32_MAX);
    if (rc < 0 && l->in && !l->set) snprintf(l->why, sizeof l->why, "%s", rdb_in_error(l->in));
    return rc;
}

bool load_in_place(struct worker *w, bool merge)
{
    struct hub *hub = w->hub;
    struct dumpset_found found;
    if (load_set_look(w->config, &found) < 0) return false;
    struct loader *l = loader_new(w, -1);
    l->merge = merge;
    l->set = found.set ? &found.manifest : NULL;
    int rc = load_all(w, l);
    if (rc < 0) {
        log_line(LOG_LEVEL_WARNING, "Error loading the RDB file %s/%s: %s", w->config->dir,
                 l->name ? l->name : w->config->dbfilename, l->why);
    } else {
        tell_rest(l);
        counter_set(&hub->persist.keys_loaded, 0);
        counter_set(&hub->persist.keys_expired, 0);
        count_loaded(hub, l);
    }
    load_free(l);
    dumpset_found_deinit(&found);
    w->touched_shards |= w->held;
    w->touched_dbs = DBS_ALL;
    for (uint32_t held = w->held; held; held &= held - 1)
        block_serve(w, (shard_id)__builtin_ctz(held));
    return rc == LOAD_DONE;
}
