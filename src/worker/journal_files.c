/* The files of the append log: a base, incr files, and the manifest that names them.
 *
 * A file counts once the manifest names it, and the manifest changes as a whole. So a new incr file
 * is named before anything is written to it, a base only when it lies whole on the disk, and what
 * is not needed any more goes last. A log that is switched on while the server runs names nothing
 * before its base is there: until then what the manifest says is the old state, whole.
 * Every start begins a new incr file, unless nothing is in the last one: nobody has to know where
 * the checksum of the last one stood, and what is torn in it stays as the loader left it.
 * Thread: P; journal_files_start: before P uses the log. */
#include <errno.h>
#include <stdio.h>

#include "journal_log.h"
#include "splitring/base/mem.h"
#include "splitring/base/version.h"
#include "splitring/io/file.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"
#include "splitring/persist/rdb_file.h"

#define MANIFEST_MAX ((size_t)1 << 20)

static void path_of(const struct journal_log *l, const char *name, char out[600])
{
    snprintf(out, 600, "%.255s/%s", l->dir, name);
}

void journal_files_aside(char out[64])
{
    snprintf(out, 64, "temp-rewriteaof-bg-%ld.aof", os_pid());
}

static int manifest_write(const struct journal_log *l, const struct aof_manifest *m)
{
    char name[AOF_NAME_MAX + 1], path[600];
    struct buf text = {0};
    if (!aof_name_manifest(name, l->name)) return -ENAMETOOLONG;
    path_of(l, name, path);
    aof_manifest_format(m, &text);
    int rc = text.failed ? -ENOMEM : os_file_replace(path, buf_slice(&text));
    buf_deinit(&text);
    if (rc < 0)
        log_line(LOG_LEVEL_WARNING, "Error writing the AOF manifest file %s: %s", path,
                 os_error_text(rc));
    return rc;
}

static int manifest_read(struct journal_log *l)
{
    char name[AOF_NAME_MAX + 1], path[600];
    struct buf text = {0};
    unsigned line;
    size_t at;
    if (!aof_name_manifest(name, l->name)) return -ENAMETOOLONG;
    path_of(l, name, path);
    int rc = os_file_read(path, MANIFEST_MAX, &text);
    const char *why = NULL;
    if (rc == 0) why = aof_manifest_parse(&l->manifest, buf_slice(&text), &line, &at);
    buf_deinit(&text);
    if (why) log_line(LOG_LEVEL_WARNING, "The AOF manifest file %s: %s", path, why);
    return rc == -ENOENT ? 0 : why ? -EBADMSG : rc;
}

/* The manifest as changed, on the disk and here; else nothing has changed. */
static bool manifest_change(struct journal_log *l, struct aof_manifest *next)
{
    bool done = manifest_write(l, next) == 0;
    struct aof_manifest *drop = done ? &l->manifest : next;
    aof_manifest_deinit(drop);
    if (done) l->manifest = *next;
    return done;
}

/* ---- incr files ---- */

/* Creates one with its mark: its descriptor, or a negative errno. The mark is on the disk before
 * the manifest names the file: else a power loss could leave a length and a first sector of zeros,
 * and nobody could tell that from damage. */
static int create_incr(const struct journal_log *l, int64_t seq, char name[AOF_NAME_MAX + 1])
{
    char path[600];
    if (!aof_name(name, l->name, seq, AOF_INCR, false)) return -ENAMETOOLONG;
    path_of(l, name, path);
    int rc = file_make_dir(l->dir);
    int fd = rc < 0 ? rc : file_create(path);
    rc = fd < 0 ? fd : file_write_at(fd, 0, AOF_MARK, sizeof AOF_MARK - 1);
    if (rc == 0) rc = file_sync(fd);
    if (rc < 0 && fd >= 0) (void)file_close(fd);
    if (rc < 0)
        log_line(LOG_LEVEL_WARNING, "Can't open the append-only file %s: %s", path,
                 os_error_text(rc));
    return rc < 0 ? rc : fd;
}

bool journal_files_cut(struct journal_log *l, bool names)
{
    char name[AOF_NAME_MAX + 1];
    int64_t seq = aof_manifest_seq(&l->manifest, AOF_INCR) + 1;
    if (seq <= l->seq) seq = l->seq + 1; /* one that the manifest has not named yet */
    int fd = create_incr(l, seq, name);
    if (fd < 0) return false;
    if (!l->waits_for_base && names) {
        struct aof_manifest next;
        aof_manifest_copy(&next, &l->manifest);
        aof_manifest_add(&next, AOF_INCR, seq, slice_str(name));
        if (!manifest_change(l, &next)) {
            (void)file_close(fd);
            return false;
        }
    }
    l->others_size += l->file_size;
    if (l->fd >= 0) (void)file_close(l->fd);
    l->fd = fd;
    l->seq = seq;
    l->file_size = l->synced_size = sizeof AOF_MARK - 1;
    l->asked_size = 0;
    l->db_known = false;
    return true;
}

/* ---- bases ---- */

/* What nobody needs any more. */
static void drop_history(struct journal_log *l)
{
    struct aof_manifest next;
    char path[600];
    aof_manifest_copy(&next, &l->manifest);
    for (unsigned i = next.count; i-- > 0;) {
        if (next.files[i].type != AOF_HISTORY) continue;
        path_of(l, next.files[i].name, path);
        file_remove(path);
        aof_manifest_forget(&next, i);
    }
    (void)manifest_change(l, &next);
}

static uint64_t size_of(const char *path)
{
    uint64_t size = 0;
    int fd = file_open(path, &size);
    if (fd >= 0) (void)file_close(fd);
    return size;
}

bool journal_files_base(struct journal_log *l)
{
    char name[AOF_NAME_MAX + 1], incr[AOF_NAME_MAX + 1], path[600], aside[64];
    int64_t seq = aof_manifest_seq(&l->manifest, AOF_BASE) + 1;
    journal_files_aside(aside);
    if (!aof_name(name, l->name, seq, AOF_BASE, true) ||
        !aof_name(incr, l->name, l->seq, AOF_INCR, false))
        return false;
    path_of(l, name, path);
    int rc = file_make_dir(l->dir);
    if (rc == 0) rc = file_rename(aside, path);
    if (rc < 0) {
        log_line(LOG_LEVEL_WARNING, "Error trying to rename the temporary AOF base file %s into "
                 "%s: %s", aside, path, os_error_text(rc));
        file_remove(aside);
        return false;
    }
    struct aof_manifest next;
    aof_manifest_copy(&next, &l->manifest);
    aof_manifest_retire(&next, l->waits_for_base || l->fd < 0 ? 0 : 1);
    aof_manifest_add(&next, AOF_BASE, seq, slice_str(name));
    if (l->waits_for_base) aof_manifest_add(&next, AOF_INCR, l->seq, slice_str(incr));
    /* If it fails, the disk may bear the new manifest or the old one: the base stays. */
    if (!manifest_change(l, &next)) return false;
    l->waits_for_base = false;
    l->others_size = size_of(path);
    drop_history(l);
    return true;
}

/* ---- start ---- */

static int disk_write(void *ctx, const char *ptr, size_t len)
{
    return rdb_disk_write(ctx, ptr, len);
}

/* A log begins with a base, if only one of nothing. */
static int create_empty_base(struct journal_log *l)
{
    char name[AOF_NAME_MAX + 1], path[600], aside[64];
    struct rdb_disk disk;
    if (!aof_name(name, l->name, 1, AOF_BASE, true)) return -ENAMETOOLONG;
    path_of(l, name, path);
    journal_files_aside(aside);
    log_line(LOG_LEVEL_NOTICE, "Creating AOF base file %s on server start", name);
    int rc = rdb_disk_create(&disk, aside);
    if (rc < 0) return rc;
    struct rdb_out_options options = {.write = disk_write, .ctx = &disk, .version = 10,
                                      .checksum = true};
    struct rdb_out *out = rdb_out_new(&options);
    rdb_out_aux(out, "redis-ver", slice_str(REDIS_VERSION_SHOWN));
    rdb_out_aux(out, "aof-base", SLICE("1"));
    rc = rdb_disk_finish(&disk, out, path);
    rdb_out_free(out);
    if (rc == 0) aof_manifest_add(&l->manifest, AOF_BASE, 1, slice_str(name));
    return rc;
}

/* The last incr, if nothing but the mark is in it: its descriptor. It is not written anew, because
 * the manifest names it: it is whole at every moment. */
static int reopen_incr(const struct journal_log *l, const struct aof_file *last)
{
    char path[600], mark[sizeof AOF_MARK];
    uint64_t size;
    path_of(l, last->name, path);
    int fd = file_open(path, &size);
    if (fd < 0) return fd;
    ssize_t got = file_read_at(fd, 0, mark, sizeof mark);
    (void)file_close(fd);
    bool empty = got == sizeof AOF_MARK - 1 && memcmp(mark, AOF_MARK, sizeof AOF_MARK - 1) == 0;
    return empty ? file_reopen(path) : -ENOENT;
}

static int new_incr(struct journal_log *l)
{
    char name[AOF_NAME_MAX + 1];
    l->seq = aof_manifest_seq(&l->manifest, AOF_INCR) + 1;
    int fd = create_incr(l, l->seq, name);
    if (fd < 0) return fd;
    log_line(LOG_LEVEL_NOTICE, "Creating AOF incr file %s on server start", name);
    aof_manifest_add(&l->manifest, AOF_INCR, l->seq, slice_str(name));
    return fd;
}

/* The incr file that this run appends to. */
static int open_incr(struct journal_log *l)
{
    char path[600];
    const struct aof_file *last = aof_manifest_last_incr(&l->manifest);
    l->fd = last ? reopen_incr(l, last) : -ENOENT;
    if (l->fd >= 0) l->seq = last->seq;
    else l->fd = new_incr(l);
    if (l->fd < 0) return l->fd;
    int rc = manifest_write(l, &l->manifest); /* the folder, too, may not be on the disk yet */
    if (rc < 0) return rc;
    l->file_size = l->synced_size = sizeof AOF_MARK - 1;
    l->asked_size = 0;
    for (unsigned i = 0; i < l->manifest.count; i++) {
        path_of(l, l->manifest.files[i].name, path);
        if (l->manifest.files[i].seq != l->seq || l->manifest.files[i].type != AOF_INCR)
            l->others_size += size_of(path);
    }
    return 0;
}

int journal_files_start(struct hub *hub, const struct config *config)
{
    struct journal_log *l = hub->journal->log;
    l->dir = config->appenddirname;
    l->name = config->appendfilename;
    l->fd = -1;
    int rc = manifest_read(l);
    if (rc == 0 && config->appendonly) {
        rc = file_make_dir(l->dir);
        if (rc == 0 && l->manifest.count == 0) rc = create_empty_base(l);
        if (rc == 0) rc = open_incr(l);
    }
    if (rc < 0 && config->appendonly)
        log_line(LOG_LEVEL_WARNING, "Can't open or create the append-only files in %s: %s. "
                 "Exiting.", l->dir, os_error_text(rc));
    return config->appendonly ? rc : 0;
}
