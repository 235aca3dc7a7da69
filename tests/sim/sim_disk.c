/* A disk that a simulated server writes to, and what a power loss leaves of it: the file face.
 *
 *   file     cache: what processes read and write      disk: what was synced
 *            in sectors of 512 bytes; `dirty` ones are on the disk if chance wants it
 *   folder   names: what processes find                kept: what was synced
 *            `changes` in order; of each folder a beginning of them is on the disk
 *
 * Within a sector a write is whole or absent, and sectors reach the disk in any order. A file's
 * length may be on the disk before what it covers, which then reads as zeros. A sync that fails
 * leaves pages that look clean and are not on the disk (as Linux does): later syncs pass them over.
 * (So a process that dies there and is started again reads what is not on the disk, and cannot
 * know; of a disk that has failed only power losses are looked at.)
 * A new name counts when its folder is synced; this is stricter than ext4, which orders all changes
 * of names in one journal.
 * Thread: one. */
#include "sim_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"
#include "splitring/base/check.h"
#include "splitring/io/file.h"
#include "splitring/io/os.h"

#define SECTOR 512u
#define NAME_CAP 128u
#define FD_FIRST 1000
#define NOTHING (-1)

struct content {
    struct buf cache, disk;
    bool *dirty; /* by sector */
    size_t sectors;
};

/* name → file. Folders are files, too, that are empty. */
struct name {
    char path[NAME_CAP];
    int file;
};

struct names {
    struct name *list;
    unsigned count, cap;
};

/* `path` is file's from now on (NOTHING: nobody's), and `from` nobody's any more. */
struct change {
    char path[NAME_CAP], from[NAME_CAP];
    int file;
};

struct open_file {
    int file;
    uint64_t at;
    bool used;
};

struct sim_disk {
    struct rng *rng;
    sim_disk_hook hook;
    void *hook_ctx;
    struct content *files;
    unsigned file_count;
    struct names names, kept;
    struct change *changes; /* that are not synced */
    unsigned change_count;
    struct open_file open[64];
    unsigned fail_one_in, fail_most;
};

/* ---- names ---- */

static const char *plain(const char *path) { return strncmp(path, "./", 2) ? path : path + 2; }

static int find(const struct names *n, const char *path)
{
    path = plain(path);
    for (unsigned i = 0; i < n->count; i++)
        if (!strcmp(n->list[i].path, path)) return n->list[i].file;
    return NOTHING;
}

static void set(struct names *n, const char *path, int file)
{
    unsigned i = 0;
    while (i < n->count && strcmp(n->list[i].path, path) != 0) i++;
    if (file == NOTHING) {
        if (i < n->count) n->list[i] = n->list[--n->count];
        return;
    }
    if (i == n->count) {
        n->list = realloc(n->list, (n->count + 1) * sizeof *n->list);
        snprintf(n->list[n->count++].path, NAME_CAP, "%s", path);
    }
    n->list[i].file = file;
}

static void apply(struct names *n, const struct change *c)
{
    if (c->from[0]) set(n, c->from, NOTHING);
    set(n, c->path, c->file);
}

static size_t folder_len(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

static bool same_folder(const char *a, const char *b)
{
    return folder_len(a) == folder_len(b) && !strncmp(a, b, folder_len(a));
}

static bool has_folder(const struct names *n, const char *path)
{
    char folder[NAME_CAP];
    path = plain(path);
    snprintf(folder, sizeof folder, "%.*s", (int)folder_len(path), path);
    return !folder[0] || find(n, folder) != NOTHING;
}

static void change(struct sim_disk *d, const char *path, int file, const char *from)
{
    struct change *c;
    d->changes = realloc(d->changes, (d->change_count + 1) * sizeof *d->changes);
    c = &d->changes[d->change_count++];
    snprintf(c->path, NAME_CAP, "%s", plain(path));
    snprintf(c->from, NAME_CAP, "%s", plain(from));
    c->file = file;
    apply(&d->names, c);
}

/* What has changed in path's folder is on the disk. */
static void keep_folder(struct sim_disk *d, const char *path)
{
    unsigned left = 0;
    for (unsigned i = 0; i < d->change_count; i++)
        if (same_folder(d->changes[i].path, plain(path))) apply(&d->kept, &d->changes[i]);
        else d->changes[left++] = d->changes[i];
    d->change_count = left;
}

static int new_file(struct sim_disk *d)
{
    d->files = realloc(d->files, (d->file_count + 1) * sizeof *d->files);
    d->files[d->file_count] = (struct content){0};
    return (int)d->file_count++;
}

/* ---- contents ---- */

static size_t sectors_of(size_t len) { return (len + SECTOR - 1) / SECTOR; }

static void touch(struct content *f, size_t from, size_t until)
{
    size_t need = sectors_of(until);
    if (need > f->sectors) {
        f->dirty = realloc(f->dirty, need * sizeof *f->dirty);
        memset(f->dirty + f->sectors, 0, need - f->sectors);
        f->sectors = need;
    }
    for (size_t s = from / SECTOR; s < need; s++) f->dirty[s] = true;
}

static void resize(struct buf *b, size_t len)
{
    check(buf_reserve(b, len + 1));
    if (len > b->len) memset(b->ptr + b->len, 0, len - b->len);
    b->len = len;
}

static void put(struct content *f, uint64_t offset, const char *ptr, size_t len)
{
    if (!len) return;
    if (f->cache.len < offset + len) resize(&f->cache, offset + len);
    memcpy(f->cache.ptr + offset, ptr, len);
    touch(f, offset, offset + len);
}

/* Sector s of `to` becomes as in `from`, as far as both have it. */
static void copy_sector(struct buf *to, const struct buf *from, size_t s)
{
    size_t at = s * SECTOR, end = at + SECTOR;
    if (end > from->len) end = from->len;
    if (end > to->len) end = to->len;
    if (at < end) memcpy(to->ptr + at, from->ptr + at, end - at);
}

static bool equal_sector(const struct buf *a, const struct buf *b, size_t s)
{
    size_t at = s * SECTOR, a_end = a->len < at + SECTOR ? a->len : at + SECTOR;
    size_t b_end = b->len < at + SECTOR ? b->len : at + SECTOR;
    return a_end == b_end && (at >= a_end || !memcmp(a->ptr + at, b->ptr + at, a_end - at));
}

static void copy_content(struct content *to, const struct content *from)
{
    *to = (struct content){0};
    buf_append(&to->cache, from->cache.ptr, from->cache.len);
    buf_append(&to->disk, from->disk.ptr, from->disk.len);
    touch(to, 0, from->sectors * SECTOR);
    if (from->sectors) memcpy(to->dirty, from->dirty, from->sectors * sizeof *to->dirty);
}

static void free_content(struct content *f)
{
    buf_deinit(&f->cache);
    buf_deinit(&f->disk);
    free(f->dirty);
}

/* ---- the disk ---- */

struct sim_disk *sim_disk_new(struct rng *rng)
{
    struct sim_disk *d = calloc(1, sizeof *d);
    d->rng = rng;
    return d;
}

void sim_disk_free(struct sim_disk *d)
{
    if (!d) return;
    for (unsigned i = 0; i < d->file_count; i++) free_content(&d->files[i]);
    free(d->files);
    free(d->names.list);
    free(d->kept.list);
    free(d->changes);
    free(d);
}

void sim_disk_set_hook(struct sim_disk *d, sim_disk_hook hook, void *ctx)
{
    d->hook = hook;
    d->hook_ctx = ctx;
}

void sim_disk_fail(struct sim_disk *d, unsigned one_in, unsigned most)
{
    d->fail_one_in = one_in;
    d->fail_most = most;
}

/* What of a file a power loss leaves. */
static void after_crash(struct content *to, const struct content *from, struct rng *rng,
                        unsigned kept_percent)
{
    size_t len = from->disk.len, most = from->cache.len;
    bool any = false;
    *to = (struct content){0};
    for (size_t s = 0; s < from->sectors; s++) any |= from->dirty[s];
    size_t low = len < most ? len : most, high = len < most ? most : len;
    if (any) len = rng_below(rng, 2) ? most : low + rng_below(rng, high - low + 1);
    resize(&to->cache, len);
    for (size_t s = 0; s < sectors_of(len); s++) {
        bool dirty = s < from->sectors && from->dirty[s];
        bool kept = dirty && rng_below(rng, 100) < kept_percent;
        copy_sector(&to->cache, kept ? &from->cache : &from->disk, s);
    }
    buf_append(&to->disk, to->cache.ptr, to->cache.len);
}

static bool folder_goes_on(const struct change *from, unsigned i, const bool *ended)
{
    for (unsigned k = 0; k < i; k++)
        if (ended[k] && same_folder(from[k].path, from[i].path)) return false;
    return true;
}

static void copy_names(struct names *to, const struct names *from)
{
    for (unsigned i = 0; i < from->count; i++) set(to, from->list[i].path, from->list[i].file);
}

/* The process died, and nothing else. */
static struct sim_disk *copy_disk(const struct sim_disk *d, struct rng *rng)
{
    struct sim_disk *to = sim_disk_new(rng);
    for (unsigned i = 0; i < d->file_count; i++) {
        int file = new_file(to);
        copy_content(&to->files[file], &d->files[i]);
    }
    copy_names(&to->names, &d->names);
    copy_names(&to->kept, &d->kept);
    to->change_count = d->change_count;
    to->changes = malloc((d->change_count + 1) * sizeof *to->changes);
    if (d->change_count)
        memcpy(to->changes, d->changes, d->change_count * sizeof *to->changes);
    return to;
}

struct sim_disk *sim_disk_after_crash(const struct sim_disk *d, struct rng *rng,
                                      unsigned kept_percent)
{
    if (kept_percent == 100) return copy_disk(d, rng);
    struct sim_disk *to = sim_disk_new(rng);
    struct names names = {0};
    bool *ended = calloc(d->change_count + 1, sizeof *ended);
    copy_names(&names, &d->kept);
    for (unsigned i = 0; i < d->change_count; i++) {
        bool kept = folder_goes_on(d->changes, i, ended) && rng_below(rng, 100) < kept_percent;
        ended[i] = !kept;
        if (kept) apply(&names, &d->changes[i]);
    }
    free(ended);
    for (unsigned i = 0; i < names.count; i++) { /* what lies in a folder that is not there … */
        if (!has_folder(&names, names.list[i].path)) continue;
        int file = new_file(to);
        after_crash(&to->files[file], &d->files[names.list[i].file], rng, kept_percent);
        set(&to->names, names.list[i].path, file);
        set(&to->kept, names.list[i].path, file);
    }
    free(names.list);
    return to;
}

void sim_disk_print(const struct sim_disk *d)
{
    for (unsigned i = 0; i < d->names.count; i++) {
        const struct content *f = &d->files[d->names.list[i].file];
        fprintf(stderr, "---- %s: %zu bytes, %zu of them synced\n", d->names.list[i].path,
                f->cache.len, f->disk.len);
        for (size_t at = 0; at < f->cache.len; at++) {
            unsigned char byte = (unsigned char)f->cache.ptr[at];
            if (byte == '\n' || (byte >= ' ' && byte < 127)) fputc(byte, stderr);
            else fprintf(stderr, "\\x%02x", byte);
        }
        fputc('\n', stderr);
    }
}

/* ---- the file face ---- */

static struct sim_disk *disk(void)
{
    struct sim *sim = sim_current();
    return sim ? sim->disk : NULL;
}

/* Somebody may go on, or crash, here. Not 0: the call fails. */
static int reached(struct sim_disk *d, int error)
{
    if (d->hook) d->hook(d->hook_ctx);
    if (!d->fail_most || rng_below(d->rng, d->fail_one_in)) return 0;
    d->fail_most--;
    return error;
}

static struct content *content_of(struct sim_disk *d, int fd)
{
    struct open_file *o = &d->open[fd - FD_FIRST];
    check(fd >= FD_FIRST && o->used);
    return &d->files[o->file];
}

static int open_file(struct sim_disk *d, int file)
{
    for (unsigned i = 0; i < ARRAY_COUNT(d->open); i++) {
        if (d->open[i].used) continue;
        d->open[i] = (struct open_file){.file = file, .used = true};
        return FD_FIRST + (int)i;
    }
    return -EMFILE;
}

int file_open(const char *path, uint64_t *size)
{
    struct sim_disk *d = disk();
    int file = d ? find(&d->names, path) : NOTHING;
    *size = 0;
    if (file == NOTHING) return -ENOENT;
    *size = d->files[file].cache.len;
    return open_file(d, file);
}

ssize_t file_read_at(int fd, uint64_t offset, char *ptr, size_t len)
{
    struct sim_disk *d = disk();
    const struct buf *cache = &content_of(d, fd)->cache;
    if (offset >= cache->len) return 0;
    if (len > cache->len - offset) len = cache->len - offset;
    if (len > SECTOR && !rng_below(d->rng, 4)) len = 1 + rng_below(d->rng, len);
    memcpy(ptr, cache->ptr + offset, len);
    return (ssize_t)len;
}

ssize_t file_read(int fd, char *ptr, size_t len)
{
    struct open_file *o = &disk()->open[fd - FD_FIRST];
    ssize_t got = file_read_at(fd, o->at, ptr, len);
    if (got > 0) o->at += (uint64_t)got;
    return got;
}

int file_create(const char *path)
{
    struct sim_disk *d = disk();
    if (!d) return -EROFS;
    int rc = reached(d, -ENOSPC);
    if (rc < 0) return rc;
    if (!has_folder(&d->names, path)) return -ENOENT;
    int file = find(&d->names, path);
    if (file == NOTHING) {
        file = new_file(d);
        change(d, path, file, "");
    } else {
        touch(&d->files[file], 0, d->files[file].cache.len);
        resize(&d->files[file].cache, 0);
    }
    return open_file(d, file);
}

int file_reopen(const char *path)
{
    uint64_t size;
    return file_open(path, &size);
}

int file_write_at(int fd, uint64_t offset, const char *ptr, size_t len)
{
    struct sim_disk *d = disk();
    if (!d) return -EIO;
    int rc = reached(d, rng_below(d->rng, 2) ? -ENOSPC : -EIO);
    size_t first = rng_below(d->rng, len + 1);
    put(content_of(d, fd), offset, ptr, first);
    if (rc < 0) return rc;
    (void)reached(d, 0);
    put(content_of(d, fd), offset + first, ptr + first, len - first);
    return 0;
}

int file_write(int fd, const char *ptr, size_t len)
{
    if (!disk()) return -EIO;
    struct open_file *o = &disk()->open[fd - FD_FIRST];
    int rc = file_write_at(fd, o->at, ptr, len);
    if (rc == 0) o->at += len;
    return rc;
}

/* What is there now is on the disk when it is over; meanwhile others write on. */
static int sync_file(struct sim_disk *d, int file)
{
    struct content then;
    copy_content(&then, &d->files[file]);
    int rc = reached(d, -EIO);
    for (uint64_t n = rng_below(d->rng, 4); n-- > 0;) (void)reached(d, 0);
    struct content *f = &d->files[file];
    bool all = rc == 0 || rng_below(d->rng, 2);
    if (all) resize(&f->disk, then.cache.len);
    for (size_t s = 0; s < then.sectors; s++) {
        if (!then.dirty[s]) continue;
        if (rc == 0 || rng_below(d->rng, 2)) copy_sector(&f->disk, &then.cache, s);
        f->dirty[s] = !equal_sector(&then.cache, &f->cache, s);
    }
    free_content(&then);
    return rc;
}

int file_sync(int fd)
{
    struct sim_disk *d = disk();
    return d ? sync_file(d, d->open[fd - FD_FIRST].file) : -EIO;
}

int file_sync_data(int fd) { return file_sync(fd); }

int file_truncate(int fd, uint64_t len)
{
    struct sim_disk *d = disk();
    if (!d) return -EIO;
    int rc = reached(d, -EIO);
    if (rc < 0) return rc;
    struct content *f = content_of(d, fd);
    touch(f, len, f->cache.len > len ? f->cache.len : len);
    resize(&f->cache, len);
    return 0;
}

int file_close(int fd)
{
    struct sim_disk *d = disk();
    if (d) d->open[fd - FD_FIRST].used = false;
    return 0;
}

int file_cut(const char *path, uint64_t len)
{
    int fd = disk() ? file_reopen(path) : -EROFS;
    if (fd < 0) return fd;
    int rc = file_truncate(fd, len);
    if (rc == 0) rc = file_sync(fd);
    (void)file_close(fd);
    return rc;
}

void file_flush_begin(int fd, uint64_t from, uint64_t len)
{
    (void)fd;
    (void)from;
    (void)len;
}

/* It may be written at any time anyway; here others have their turn. */
int file_flush_wait(int fd, uint64_t from, uint64_t len)
{
    (void)fd;
    (void)from;
    (void)len;
    return disk() ? reached(disk(), -EIO) : -EIO;
}

bool file_is_link(const char *path)
{
    (void)path;
    return false;
}

int file_make_dir(const char *path)
{
    struct sim_disk *d = disk();
    if (!d) return -EROFS;
    int rc = reached(d, -ENOSPC);
    if (rc < 0) return rc;
    if (find(&d->names, path) == NOTHING) change(d, path, new_file(d), "");
    rc = reached(d, -EIO);
    if (rc == 0) keep_folder(d, path);
    return rc;
}

int file_link(const char *from, const char *to)
{
    struct sim_disk *d = disk();
    if (!d) return -EROFS;
    int rc = reached(d, -ENOSPC), file = find(&d->names, from);
    if (rc < 0 || file == NOTHING) return rc < 0 ? rc : -ENOENT;
    if (find(&d->names, to) != NOTHING) return -EEXIST;
    change(d, to, file, "");
    return 0;
}

int file_rename(const char *from, const char *to)
{
    struct sim_disk *d = disk();
    if (!d) return -EROFS;
    int rc = reached(d, -EIO), file = find(&d->names, from);
    if (rc < 0 || file == NOTHING) return rc < 0 ? rc : -ENOENT;
    change(d, to, file, from);
    rc = reached(d, -EIO);
    if (rc == 0) keep_folder(d, to);
    return rc;
}

void file_remove(const char *path)
{
    struct sim_disk *d = disk();
    if (!d || find(&d->names, path) == NOTHING) return;
    (void)reached(d, 0);
    change(d, path, NOTHING, "");
}

int file_sync_folder(const char *path)
{
    struct sim_disk *d = disk();
    if (!d) return -EROFS;
    int rc = reached(d, -EIO);
    if (rc == 0) keep_folder(d, path);
    return rc;
}

/* ---- folders ---- */

struct listing {
    char folder[NAME_CAP];
    unsigned next;
};

int file_list_open(struct file_list *list, const char *path)
{
    if (!disk()) return -EROFS;
    struct listing *l = list->dir = calloc(1, sizeof *l);
    snprintf(l->folder, sizeof l->folder, "%s", strcmp(path, ".") ? plain(path) : "");
    return 0;
}

const char *file_list_next(struct file_list *list)
{
    struct listing *l = list->dir;
    const struct names *n = &disk()->names;
    while (l->next < n->count) {
        const char *path = n->list[l->next++].path;
        size_t len = folder_len(path);
        if (len == strlen(l->folder) && !strncmp(path, l->folder, len))
            return path + len + (len > 0);
    }
    return NULL;
}

void file_list_close(struct file_list *list) { free(list->dir); }

/* ---- small whole files (os.h) ---- */

int os_file_read(const char *path, size_t max_len, struct buf *out)
{
    struct sim_disk *d = disk();
    int file = d ? find(&d->names, path) : NOTHING;
    if (file == NOTHING) return -ENOENT;
    if (d->files[file].cache.len > max_len) return -EFBIG;
    buf_append(out, d->files[file].cache.ptr, d->files[file].cache.len);
    return 0;
}

int os_file_replace(const char *path, struct slice content)
{
    char aside[NAME_CAP + 8];
    if (!disk()) return -EROFS;
    snprintf(aside, sizeof aside, "%s.tmp", path);
    int fd = file_create(aside);
    if (fd < 0) return fd;
    int rc = file_write(fd, content.ptr, content.len);
    if (rc == 0) rc = file_sync(fd);
    (void)file_close(fd);
    if (rc < 0) {
        file_remove(aside);
        return rc;
    }
    return file_rename(aside, path);
}
