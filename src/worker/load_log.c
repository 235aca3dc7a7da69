/* The append log at start: which files it is made of, what of them is whole, what becomes of them.
 *
 *   hub_load    manifest → files (an old log of one file is moved into the folder first)
 *   worker 0    looks through all commands: sums, form, units (aof_scan.c); nothing has run yet
 *   all         base, then incr files in order (load.c, load_run.c)
 *   worker 0    when all are done: what was torn is cut off the disk
 *
 * So a damaged log ends the server before anything was loaded or changed, and what is cut is cut
 * only when everything else was right. Looking first reads the log once more than needed; it costs
 * a twentieth of loading it, and who runs commands need not be able to stop in the middle.
 *
 * Redis starts empty if there is no log, whatever dump.rdb holds, and the next save overwrites it.
 * Here such a dump is loaded and becomes the log's first base: switching `appendonly` on in
 * redis.conf loses nothing.
 * Thread: load_log_find: before the workers; else worker 0. */
#include "load.h"

#include <errno.h>
#include <stdio.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/file.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"

#define MANIFEST_MAX ((size_t)16 << 20)

static ssize_t read_log(void *fd, uint64_t offset, char *ptr, size_t len)
{
    return file_read_at(*(int *)fd, offset, ptr, len);
}

/* ---- finding ---- */

static bool path_in(const struct config *config, const char *name, char out[600])
{
    int len = snprintf(out, 600, "%s/%s", config->appenddirname, name);
    return len > 0 && len < 600;
}

static int no_manifest(const char *path, int rc)
{
    log_line(LOG_LEVEL_WARNING, "Fatal error: can't open the AOF manifest file %s for reading: %s",
             path, os_error_text(rc));
    return rc;
}

static int read_manifest(const struct config *config, struct aof_manifest *m)
{
    char name[AOF_NAME_MAX + 1], path[600];
    struct buf text = {0};
    unsigned line;
    size_t at;
    *m = (struct aof_manifest){0};
    if (!aof_name_manifest(name, config->appendfilename) || !path_in(config, name, path))
        return no_manifest(config->appendfilename, -ENAMETOOLONG);
    int rc = os_file_read(path, MANIFEST_MAX, &text);
    if (rc < 0) {
        buf_deinit(&text);
        return rc == -ENOENT ? 0 : no_manifest(path, rc);
    }
    const char *why = aof_manifest_parse(m, buf_slice(&text), &line, &at);
    if (why) {
        const char *begin = text.ptr ? text.ptr + at : "";
        const char *end = text.len ? memchr(begin, '\n', text.len - at) : NULL;
        log_line(LOG_LEVEL_WARNING, "*** FATAL AOF MANIFEST FILE ERROR ***");
        if (line) {
            size_t len = end ? (size_t)(end - begin) : text.len - at;
            log_line(LOG_LEVEL_WARNING, "Reading the manifest file, at line %u", line);
            log_line(LOG_LEVEL_WARNING, ">>> '%.*s'", (int)(len < 512 ? len : 512), begin);
        }
        log_line(LOG_LEVEL_WARNING, "%s (%s)", why, path);
    }
    buf_deinit(&text);
    return why ? -EBADMSG : 0;
}

static bool is_there(const char *path)
{
    uint64_t size;
    int fd = file_open(path, &size);
    if (fd >= 0) (void)file_close(fd);
    return fd != -ENOENT && fd != -ENOTDIR;
}

/* Redis up to 6 has one file, in `dir`. It goes into the folder as the base, as with Redis 7: also
 * if that was begun and not ended. */
static bool is_old_style(const struct config *config, const struct aof_manifest *m)
{
    char moved[600];
    if (!is_there(config->appendfilename)) return false;
    if (m->count == 0) return true;
    const struct aof_file *base = aof_manifest_base(m);
    return base && !aof_manifest_last_incr(m) && strcmp(base->name, config->appendfilename) == 0 &&
           path_in(config, base->name, moved) && !is_there(moved);
}

static int upgrade(const struct config *config, struct aof_manifest *m)
{
    char name[AOF_NAME_MAX + 1], path[600], moved[600];
    const char *old = config->appendfilename;
    struct buf text = {0};
    int rc = file_is_link(old) ? -ELOOP : 0;
    if (rc == 0 && (!aof_name_manifest(name, old) || !path_in(config, name, path) ||
                    !path_in(config, old, moved)))
        rc = -ENAMETOOLONG;
    if (rc == 0) rc = file_make_dir(config->appenddirname);
    if (rc == 0 && m->count == 0) {
        aof_manifest_add(m, AOF_BASE, 1, slice_str(old));
        aof_manifest_format(m, &text);
        rc = text.failed ? -ENOMEM : os_file_replace(path, buf_slice(&text));
        buf_deinit(&text);
    }
    if (rc == 0) rc = file_rename(old, moved);
    if (rc < 0) {
        log_line(LOG_LEVEL_WARNING, "Error trying to move the old AOF file %s into dir %s: %s", old,
                 config->appenddirname,
                 rc == -ELOOP ? "it is a symbolic link; move what it points at by hand"
                              : os_error_text(rc));
        return rc;
    }
    log_line(LOG_LEVEL_NOTICE,
             "Successfully migrated an old-style AOF file (%s) into the AOF directory (%s).", old,
             config->appenddirname);
    return 0;
}

static int find_file(const struct config *config, struct load_file *f, const char *name)
{
    char sign[5];
    int fd = path_in(config, name, f->path) ? file_open(f->path, &f->size) : -ENAMETOOLONG;
    f->name = f->path + strlen(config->appenddirname) + 1;
    if (fd == -ENOENT)
        log_line(LOG_LEVEL_WARNING, "The append log file %s doesn't exist: %s", f->name,
                 os_error_text(fd));
    else if (fd < 0)
        log_line(LOG_LEVEL_WARNING,
                 "Fatal error: can't open the append log file %s for reading: %s", f->name,
                 os_error_text(fd));
    if (fd < 0) return fd;
    ssize_t got = file_read_at(fd, 0, sign, sizeof sign);
    f->rdb = got == sizeof sign && memcmp(sign, "REDIS", sizeof sign) == 0;
    size_t len = strlen(name);
    f->tail = f->rdb && !(len > 4 && strcmp(name + len - 4, ".rdb") == 0);
    (void)file_close(fd);
    return 0;
}

static void plan_places(struct load_plan *plan, uint32_t workers)
{
    uint64_t at = 0;
    bool last = true;
    plan->places = mem_alloc_aligned(workers * sizeof *plan->places, CACHE_LINE);
    memset(plan->places, 0, workers * sizeof *plan->places);
    for (unsigned i = plan->count; i-- > 0;) {
        plan->files[i].last = last;
        if (plan->files[i].size >= sizeof AOF_MARK) last = false;
    }
    for (unsigned i = 0; i < plan->count; i++) {
        plan->files[i].start = at;
        at += plan->files[i].size + 2;
    }
}

static int plan_of(const struct config *config, const struct aof_manifest *m,
                   struct load_plan *plan)
{
    plan->files = mem_zalloc((m->count + 1) * sizeof *plan->files);
    for (unsigned i = 0; i < m->count; i++) {
        if (m->files[i].type == AOF_HISTORY) continue;
        struct load_file *f = &plan->files[plan->count++];
        f->base = m->files[i].type == AOF_BASE;
        int rc = find_file(config, f, m->files[i].name);
        if (rc < 0) return rc;
    }
    return 0;
}

/* There is no log, but a dump. The base of a log is one file: a set of dumps cannot be that. */
static int plan_adopts(const struct config *config, struct load_plan *plan)
{
    struct load_file *f = &plan->files[0];
    struct dumpset_found found;
    const char *name = config->dbfilename;
    int rc = load_set_look(config, &found);
    if (rc == 0 && found.set) {
        log_line(LOG_LEVEL_WARNING,
                 "Fatal error: there is no append only file yet, and the data is in a snapshot of "
                 "several files. Make one of them by splitring-rdb merge %s.manifest -o %s, or "
                 "start with appendonly no and switch it on by CONFIG SET.", name, name);
        rc = -EEXIST;
    }
    dumpset_found_deinit(&found);
    if (rc < 0) return rc;
    snprintf(f->path, sizeof f->path, "%s", name);
    int fd = file_open(f->path, &f->size);
    if (fd < 0) return 0;
    (void)file_close(fd);
    f->name = f->path;
    f->rdb = f->base = true;
    plan->count = 1;
    plan->adopts = true;
    log_line(LOG_LEVEL_WARNING,
             "There is no append only file yet: %s is loaded, and becomes its first base",
             name);
    return 0;
}

int load_log_find(struct hub *hub, const struct config *config, bool *found)
{
    struct aof_manifest m;
    struct load_plan *plan = mem_zalloc(sizeof *plan);
    uint64_t total = 0;
    int rc = read_manifest(config, &m);
    if (rc == 0 && is_old_style(config, &m)) rc = upgrade(config, &m);
    if (rc == 0) rc = plan_of(config, &m, plan);
    if (rc == 0 && m.count == 0) rc = plan_adopts(config, plan);
    aof_manifest_deinit(&m);
    for (unsigned i = 0; i < plan->count; i++) total += plan->files[i].size;
    *found = rc == 0 && plan->count > 0;
    if (!*found) {
        load_log_free(plan);
        return rc;
    }
    plan_places(plan, hub->count);
    hub->persist.plan = plan;
    counter_set(&hub->persist.load_total_bytes, total);
    return 0;
}

void load_log_free(struct load_plan *plan)
{
    if (!plan) return;
    mem_free(plan->files);
    mem_free(plan->places);
    mem_free(plan);
}

/* ---- looking ---- */

static void tell_cut(const struct config *config, const struct load_file *f,
                     const struct aof_scan *s)
{
    if (s->verdict == AOF_TORN_MULTI)
        log_line(LOG_LEVEL_WARNING, "Revert incomplete MULTI/EXEC transaction from AOF file %s",
                 f->name);
    if (!config->aof_load_truncated) {
        log_line(LOG_LEVEL_WARNING,
                 "Unexpected end of file reading the append only file %s. You can: 1) Make a "
                 "backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>. "
                 "2) Alternatively you can set the 'aof-load-truncated' configuration option to "
                 "yes and restart the server. (Offset %llu, where %llu bytes are whole: %s.)",
                 f->name, (unsigned long long)s->bad, (unsigned long long)s->valid, s->why);
        return;
    }
    log_line(LOG_LEVEL_WARNING, "!!! Warning: short read while loading the AOF file %s!!!",
             f->name);
    log_line(LOG_LEVEL_WARNING, "Truncating the AOF %s at offset %llu (%llu bytes go: %s)", f->name,
             (unsigned long long)s->valid, (unsigned long long)(f->size - s->valid), s->why);
    log_line(LOG_LEVEL_WARNING, "AOF %s loaded anyway because aof-load-truncated is enabled",
             f->name);
}

static void tell_damaged(const struct load_file *f, uint64_t at, const char *why)
{
    log_line(LOG_LEVEL_WARNING,
             "Bad file format reading the append only file %s: make a backup of your AOF file, "
             "then use ./redis-check-aof --fix <filename.manifest>, or splitring-check --fix. "
             "(Damaged at offset %llu: %s.)", f->name, (unsigned long long)at, why);
}

/* The verdict about a file. */
static int take_verdict(const struct config *config, struct load_file *f, const struct aof_scan *s)
{
    f->valid = s->valid;
    f->sum = s->valid_sum;
    f->seal = s->marked && s->valid_sum.bytes > 0;
    if (s->verdict == AOF_WHOLE && f->seal && !f->last) {
        tell_damaged(f, s->valid, "it ends without its checksum, and is not the last file");
        return -EBADMSG;
    }
    if (s->verdict == AOF_WHOLE) return 0;
    if (s->verdict == AOF_DAMAGED) {
        tell_damaged(f, s->bad, s->why);
        return -EBADMSG;
    }
    if (!f->last)
        log_line(LOG_LEVEL_WARNING, "Fatal error: the truncated file is not the last file");
    tell_cut(config, f, s);
    f->cut = true;
    return f->last && config->aof_load_truncated ? 0 : -EBADMSG;
}

static int begin_scan(struct loader *l, const struct load_file *f)
{
    struct aof_in_options options = {.read = read_log, .ctx = &l->fd, .offset = f->commands,
                                     .size = f->size};
    aof_scan_begin(&l->scan, &options);
    l->scanning = true;
    return 0;
}

/* Opens what is next to be looked at. LOAD_DONE: nothing is left. */
static int look_next(struct worker *w, struct loader *l)
{
    const struct load_plan *plan = w->hub->persist.plan;
    while (l->file < plan->count && plan->files[l->file].rdb && !plan->files[l->file].tail)
        l->file++;
    if (l->file == plan->count) return LOAD_DONE;
    struct load_file *f = &plan->files[l->file];
    if (f->tail) {
        l->skipping = true;
        return load_dump_open(l, f->path, w->hub->databases, w->config->rdb_checksum);
    }
    uint64_t size;
    l->fd = file_open(f->path, &size);
    return l->fd < 0 ? l->fd : begin_scan(l, f);
}

/* Passes over a dump that commands follow. */
static int skip_dump(struct loader *l, struct load_file *f, uint64_t bytes)
{
    struct rdb_item item;
    uint64_t until = rdb_in_offset(l->in) + bytes;
    while (rdb_in_offset(l->in) < until) {
        int rc = rdb_in_next(l->in, &item);
        if (rc == 0 && item.kind == RDB_ITEM_END) {
            f->commands = rdb_in_offset(l->in);
            rdb_in_free(l->in);
            l->in = NULL;
            l->skipping = false;
            return begin_scan(l, f);
        }
        if (rc == 0 && item.kind == RDB_ITEM_KEY) rc = rdb_in_skip(l->in);
        if (rc != 0) {
            log_line(LOG_LEVEL_WARNING,
                     "Error reading the RDB preamble of the AOF file %s, AOF loading aborted: %s",
                     f->name, rdb_in_error(l->in));
            return -EBADMSG;
        }
    }
    return 0;
}

int load_log_look(struct worker *w, struct loader *l, uint64_t bytes)
{
    struct load_plan *plan = w->hub->persist.plan;
    if (!l->scanning && !l->skipping) {
        int rc = look_next(w, l);
        if (rc < 0)
            log_line(LOG_LEVEL_WARNING,
                     "Fatal error: can't open the append log file %s for reading: %s",
                     plan->files[l->file].name, os_error_text(rc));
        if (rc != LOAD_DONE) return rc;
        l->file = 0;
        counter_set_release(&plan->looked, 1);
        return LOAD_DONE;
    }
    struct load_file *f = &plan->files[l->file];
    if (l->skipping) return skip_dump(l, f, bytes);
    int rc = aof_scan_step(&l->scan, bytes);
    if (rc < 0)
        log_line(LOG_LEVEL_WARNING, "Unrecoverable error reading the append only file %s: %s",
                 f->name, os_error_text(rc));
    if (rc == 1) {
        rc = take_verdict(w->config, f, &l->scan);
        aof_scan_end(&l->scan);
        l->scanning = false;
        (void)file_close(l->fd);
        l->fd = -1;
        l->file++;
    }
    return rc;
}

/* ---- the end ---- */

static int sync_path(const char *path)
{
    uint64_t size;
    int fd = file_open(path, &size), rc = fd < 0 ? fd : file_sync(fd);
    if (fd >= 0) (void)file_close(fd);
    return rc;
}

/* Cuts what was torn, and closes what no checksum covers. A server that was killed may have left
 * what is in the page cache alone: clients are shown nothing that a power loss could still take. */
static int make_whole(const struct load_file *f, bool keep_torn)
{
    char line[AOF_SUM_LINE_MAX];
    struct aof_sum sum = f->sum;
    int rc = f->cut && !keep_torn ? file_cut(f->path, f->valid) : sync_path(f->path);
    if (rc == 0 && f->seal) {
        int fd = file_reopen(f->path);
        rc = fd < 0 ? fd : file_write_at(fd, f->valid, line, aof_sum_line(&sum, line));
        if (rc == 0) rc = file_sync(fd);
        if (fd >= 0) (void)file_close(fd);
    }
    if (rc < 0)
        log_line(LOG_LEVEL_WARNING, "Error truncating the AOF file %s: %s", f->name,
                 os_error_text(rc));
    return rc;
}

/* The dump becomes the base of a log. */
static int adopt(const struct config *config)
{
    char name[AOF_NAME_MAX + 1], path[600];
    struct aof_manifest m = {0};
    struct buf text = {0};
    int rc = file_make_dir(config->appenddirname);
    bool fits = aof_name(name, config->appendfilename, 1, AOF_BASE, true) &&
                path_in(config, name, path);
    if (rc == 0 && !fits) rc = -ENAMETOOLONG;
    if (rc == 0) {
        file_remove(path); /* no manifest names it */
        rc = file_link(config->dbfilename, path);
    }
    aof_manifest_add(&m, AOF_BASE, 1, fits ? slice_str(name) : SLICE(""));
    aof_manifest_format(&m, &text);
    if (rc == 0 && (!aof_name_manifest(name, config->appendfilename) ||
                    !path_in(config, name, path) || text.failed))
        rc = -ENAMETOOLONG;
    if (rc == 0) rc = os_file_replace(path, buf_slice(&text));
    if (rc < 0)
        log_line(LOG_LEVEL_WARNING, "Can't open or create append-only dir %s: %s",
                 config->appenddirname, os_error_text(rc));
    aof_manifest_deinit(&m);
    buf_deinit(&text);
    return rc;
}

int load_log_end(struct worker *w)
{
    const struct load_plan *plan = w->hub->persist.plan;
    int rc = plan->adopts ? adopt(w->config) : 0;
    for (unsigned i = 0; i < plan->count && rc == 0; i++)
        rc = make_whole(&plan->files[i], w->hub->faults & FAULT_TORN_KEPT);
    return rc;
}
