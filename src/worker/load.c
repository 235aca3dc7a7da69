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
 * It goes in slices of a pass, so clients are answered meanwhile: commands that need no data work,
 * the others get LOADING. Only when the last worker has finished, and so has found the checksum
 * right, do commands run. A damaged file ends the server before anything was served from it, and is
 * left as it is.
 * Thread: owner. */
#include <errno.h>

#include "block.h"
#include "functions.h"
#include "internal.h"
#include "journal_start.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/io/file.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"
#include "splitring/persist/rdb_file.h"

#define SLICE_BYTES (256u * 1024u) /* of the file, in a pass: about a millisecond */

struct loader {
    struct rdb_in *in;
    int fd;
    struct rdb_limits limits;
    int own;      /* the one shard whose keys are taken; -1: all */
    bool merge;   /* keys that are there already are replaced */
    bool tells;   /* writes the log's lines about the file: one of the workers */
    struct ks ks;
    uint64_t keys, expired, empty;
    uint64_t told_bytes; /* of those in hub.persist.load_bytes */
};

/* ---- the file ---- */

static int open_dump(struct hub *hub, const struct config *config, struct loader *l)
{
    uint64_t size;
    l->fd = file_open(config->dbfilename, &size);
    if (l->fd < 0) return l->fd;
    struct rdb_in_options options = {.read = rdb_disk_read, .ctx = &l->fd, .size = size,
                                     .databases = hub->databases,
                                     .skip_checksum = !config->rdb_checksum};
    l->in = rdb_in_new(&options);
    counter_set(&hub->persist.load_total_bytes, size);
    return 0;
}

int hub_load(struct hub *hub)
{
    const struct config *config = hub->config_start;
    uint64_t size;
    int fd = file_open(config->dbfilename, &size);
    if (fd == -ENOENT) return journal_start(hub);
    if (fd < 0) {
        log_line(LOG_LEVEL_WARNING,
                 "Fatal error: can't open the RDB file %s in %s for reading: %s. Exiting.",
                 config->dbfilename, config->dir, os_error_text(fd));
        return fd;
    }
    (void)file_close(fd);
    counter_set(&hub->persist.load_start_ms, (uint64_t)(os_unix_us() / 1000));
    counter_set(&hub->persist.load_total_bytes, size);
    counter_set_release(&hub->persist.loading, hub->count + 1); /* one for journal_start */
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
    if (l->fd >= 0) (void)file_close(l->fd);
    mem_free(l);
}

static struct loader *loader_new(struct worker *w, int own)
{
    const struct env *env = &w->env;
    struct loader *l = mem_zalloc(sizeof *l);
    l->own = own;
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

static int take_key(struct worker *w, struct loader *l, const struct rdb_item *item)
{
    if (l->own >= 0 && hub_shard_of(w->hub, item->key) != l->own) return rdb_in_skip(l->in);
    if (item->expire < w->now) { /* as a primary does: it is not even made */
        l->expired++;
        return rdb_in_skip(l->in);
    }
    l->ks.db = (db_id)item->db;
    l->ks.now = w->now;
    int rc = rdb_in_put(l->in, &l->ks, &l->limits, item);
    if (rc == RDB_E_EMPTY) {
        l->empty++;
        return 0;
    }
    if (rc == RDB_E_TWICE) {
        if (!l->merge) return rdb_in_refuse(l->in, item, "RDB has duplicated key");
        rc = 0;
    }
    l->keys++;
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
    case RDB_ITEM_AUX:
        if (l->tells) tell_aux(w->hub, item, w->now / 1000);
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

/* About so many bytes of the file. 0: there is more; 1: the end; else RDB_E_FORMAT or an errno. */
#define LOADED 1
static int load_bytes(struct worker *w, struct loader *l, uint64_t bytes)
{
    struct rdb_item item;
    uint64_t until = rdb_in_offset(l->in) + bytes;
    while (rdb_in_offset(l->in) < until) {
        int rc = rdb_in_next(l->in, &item);
        if (rc == 0 && item.kind == RDB_ITEM_END) return LOADED;
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
    log_line(LOG_LEVEL_NOTICE, "Done loading RDB, keys loaded: %llu, keys expired: %llu.",
             (unsigned long long)counter_get(&p->keys_loaded),
             (unsigned long long)counter_get(&p->keys_expired));
    log_line(LOG_LEVEL_NOTICE, "DB loaded from disk: %.3f seconds", (double)ms / 1000);
}

static void load_fails(struct worker *w, const char *why)
{
    if (counter_next_shared(&w->hub->persist.load_failed) == 1) {
        log_line(LOG_LEVEL_WARNING, "Error loading the RDB file %s/%s: %s", w->config->dir,
                 w->config->dbfilename, why);
        log_line(LOG_LEVEL_WARNING, "Fatal error loading the DB, check server logs. Exiting.");
    }
    hub_stop_shared(w->hub);
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
    l->fd = -1;
}

static void publish_progress(struct worker *w, struct loader *l)
{
    uint64_t bytes = rdb_in_offset(l->in);
    counter_add_shared(&w->hub->persist.load_bytes, bytes - l->told_bytes);
    l->told_bytes = bytes;
    worker_touched(w, w->id, DBS_ALL);
    block_serve(w, w->id);
}

void load_step(struct worker *w)
{
    struct hub *hub = w->hub;
    struct loader *l = w->loader;
    if (!l) {
        w->loading = hub_loading_shared(hub);
        return;
    }
    if (hub_stopping_shared(hub)) return;
    int rc = l->in ? 0 : open_dump(hub, w->config, l);
    if (rc < 0) {
        load_fails(w, os_error_text(rc));
        return;
    }
    worker_hold(w, w->id);
    rc = load_bytes(w, l, SLICE_BYTES);
    publish_progress(w, l);
    worker_unhold_all(w);
    if (rc < 0) {
        load_fails(w, rdb_in_error(l->in));
    } else if (rc == LOADED) {
        tell_rest(l);
        count_loaded(hub, l);
        load_free(l);
        w->loader = NULL;
        if (counter_drop_shared(&hub->persist.loading) == 1) all_loaded(w);
        w->loading = hub_loading_shared(hub);
    }
}

/* ---- in place ---- */

bool load_in_place(struct worker *w, bool merge)
{
    struct hub *hub = w->hub;
    struct loader *l = loader_new(w, -1);
    l->merge = merge;
    int rc = open_dump(hub, w->config, l);
    const char *why = rc < 0 ? os_error_text(rc) : "";
    while (rc == 0) rc = load_bytes(w, l, UINT32_MAX);
    if (rc < 0 && l->in) why = rdb_in_error(l->in);
    if (rc < 0) {
        log_line(LOG_LEVEL_WARNING, "Error loading the RDB file %s/%s: %s", w->config->dir,
                 w->config->dbfilename, why);
    } else {
        tell_rest(l);
        counter_set(&hub->persist.keys_loaded, 0);
        counter_set(&hub->persist.keys_expired, 0);
        count_loaded(hub, l);
    }
    load_free(l);
    w->touched_shards |= w->held;
    w->touched_dbs = DBS_ALL;
    for (uint32_t held = w->held; held; held &= held - 1)
        block_serve(w, (shard_id)__builtin_ctz(held));
    return rc == LOADED;
}
