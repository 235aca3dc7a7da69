/* Sets of dumps on a disk: which one counts, and how another one comes to count.
 *
 *   parts written and synced → folder synced → manifest put in place (it names its own parts alone)
 *   → what is older goes
 *
 * The manifest's rename is the moment: before it the old set counts, or the whole dump, untouched;
 * after it the new one. Parts of a set that never came to count have a number that no manifest
 * names; the next set takes a number above all that is there and removes them when it counts.
 *
 * Before the first set a manifest of none is put in place. So a folder with parts and without a
 * manifest has lost it, and is refused: to begin empty there would end in overwriting what was.
 *
 * Between a set and a whole dump: each manifest bears the mark of the dump that lay there when its
 * set took its place (older), and before a dump takes the place of a set its mark is added to the
 * manifest (newer). A crash in between leaves a dump that is one of the two, or that somebody has
 * put there: who knows which of those is newer? Not their times, so the start is refused.
 * Thread: any; owner of the struct. */
#include <errno.h>
#include <stdio.h>

#include "crc64.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/file.h"
#include "splitring/io/os.h"
#include "splitring/persist/dumpset.h"

#define MANIFEST_MAX ((size_t)1 << 20)
#define MARK_BYTES 4096u
#define CHECKSUM_LEN 8u

/* ---- names ---- */

static char *joined(const char *dump, const char *tail)
{
    size_t cap = strlen(dump) + strlen(tail) + 1;
    char *path = mem_alloc(cap);
    snprintf(path, cap, "%s%s", dump, tail);
    return path;
}

char *dumpset_manifest_path(const char *dump) { return joined(dump, ".manifest"); }

char *dumpset_part_path(const char *dump, uint64_t seq, unsigned part)
{
    char tail[48];
    snprintf(tail, sizeof tail, ".%llu.%u.rdb", (unsigned long long)seq, part);
    return joined(dump, tail);
}

static const char *name_in(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool read_digits(const char **at, uint64_t *number)
{
    size_t len = strspn(*at, "0123456789");
    *number = 0;
    if (len == 0 || len > 18) return false;
    for (; len; len--) *number = *number * 10 + (uint64_t)(*(*at)++ - '0');
    return true;
}

/* The name of a part of the dump of that name. */
static bool is_part(const char *name, const char *dump, uint64_t *seq)
{
    uint64_t part;
    size_t len = strlen(dump);
    if (strncmp(name, dump, len) != 0 || name[len] != '.') return false;
    const char *at = name + len + 1;
    return read_digits(&at, seq) && *at++ == '.' && read_digits(&at, &part) &&
           strcmp(at, ".rdb") == 0;
}

/* Calls visit for each part of any set; what cannot be listed has none. */
static void each_part(const char *dump, void (*visit)(void *ctx, const char *path, uint64_t seq),
                      void *ctx)
{
    struct file_list list;
    const char *slash = strrchr(dump, '/');
    char *folder = joined(slash ? dump : ".", "");
    if (slash) folder[slash - dump + 1] = '\0';
    if (file_list_open(&list, folder) == 0) {
        for (const char *name; (name = file_list_next(&list)) != NULL;) {
            uint64_t seq;
            if (!is_part(name, name_in(dump), &seq)) continue;
            char *path = slash ? joined(folder, name) : joined(name, "");
            visit(ctx, path, seq);
            mem_free(path);
        }
        file_list_close(&list);
    }
    mem_free(folder);
}

/* ---- marks ---- */

static int read_exactly(int fd, uint64_t offset, char *ptr, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t got = file_read_at(fd, offset + done, ptr + done, len - done);
        if (got <= 0) return got < 0 ? (int)got : -EIO;
        done += (size_t)got;
    }
    return 0;
}

/* Not known, and 0, if there is no file. */
static int mark_of(const char *path, struct dumpset_mark *mark)
{
    char block[MARK_BYTES];
    uint64_t size;
    *mark = (struct dumpset_mark){0};
    int fd = file_open(path, &size);
    if (fd < 0) return fd == -ENOENT ? 0 : fd;
    size_t len = size < sizeof block ? (size_t)size : sizeof block;
    *mark = (struct dumpset_mark){.known = true, .size = size};
    int rc = read_exactly(fd, 0, block, len);
    if (rc == 0) mark->crc = crc64(0, block, len);
    if (rc == 0) rc = read_exactly(fd, size - len, block, len);
    if (rc == 0) mark->crc = crc64(mark->crc, block, len);
    (void)file_close(fd);
    return rc;
}

static bool mark_is(const struct dumpset_mark *a, const struct dumpset_mark *b)
{
    return a->known && b->known && a->size == b->size && a->crc == b->crc;
}

/* ---- the manifest ---- */

/* -ENOENT: there is none; -EBADMSG: it is damaged, *why and *line say how. */
static int read_manifest(const char *path, struct dumpset_manifest *m, const char **why,
                         unsigned *line)
{
    struct buf text = {0};
    *m = (struct dumpset_manifest){0};
    *why = NULL;
    int rc = os_file_read(path, MANIFEST_MAX, &text);
    if (rc == 0) *why = dumpset_manifest_parse(m, buf_slice(&text), line);
    buf_deinit(&text);
    return *why ? -EBADMSG : rc;
}

static int write_manifest(const char *path, const struct dumpset_manifest *m)
{
    struct buf text = {0};
    dumpset_manifest_format(m, &text);
    int rc = text.failed ? -ENOMEM : os_file_replace(path, buf_slice(&text));
    buf_deinit(&text);
    return rc;
}

/* ---- finding ---- */

static void note_seq(void *ctx, const char *path, uint64_t seq)
{
    uint64_t *most = ctx;
    (void)path;
    if (seq > *most) *most = seq;
}

static int check_part(const struct dumpset_part *part, const char *path, char *why, size_t cap)
{
    char end[CHECKSUM_LEN];
    uint64_t size, crc = 0;
    int fd = file_open(path, &size);
    if (fd < 0) {
        snprintf(why, cap, "The part %s of the snapshot cannot be opened: %s", path,
                 os_error_text(fd));
        return fd;
    }
    int rc = size == part->size && size >= CHECKSUM_LEN ? 0 : -EBADMSG;
    if (rc < 0)
        snprintf(why, cap, "The part %s of the snapshot has %llu bytes, where its manifest says "
                 "%llu", path, (unsigned long long)size, (unsigned long long)part->size);
    if (rc == 0) {
        rc = read_exactly(fd, size - CHECKSUM_LEN, end, CHECKSUM_LEN);
        memcpy(&crc, end, CHECKSUM_LEN);
        if (rc < 0)
            snprintf(why, cap, "The part %s of the snapshot cannot be read: %s", path,
                     os_error_text(rc));
    }
    if (rc == 0 && crc != part->crc) {
        snprintf(why, cap, "The part %s of the snapshot ends with the checksum %016llx, where its "
                 "manifest says %016llx: it is damaged, or of another snapshot", path,
                 (unsigned long long)crc, (unsigned long long)part->crc);
        rc = -EBADMSG;
    }
    (void)file_close(fd);
    return rc;
}

int dumpset_check_parts(const char *dump, const struct dumpset_manifest *m, uint64_t *bytes,
                        char *why, size_t why_cap)
{
    int rc = 0;
    *bytes = 0;
    for (unsigned i = 0; i < m->count && rc == 0; i++) {
        char *path = dumpset_part_path(dump, m->seq, i);
        rc = check_part(&m->parts[i], path, why, why_cap);
        *bytes += m->parts[i].size;
        mem_free(path);
    }
    return rc;
}

/* A set and a dump: which is newer? */
static int choose(const char *dump, struct dumpset_found *f)
{
    struct dumpset_mark mark;
    const struct dumpset_manifest *m = &f->manifest;
    int rc = mark_of(dump, &mark);
    if (rc < 0) {
        snprintf(f->why, sizeof f->why, "There is a snapshot of several files, and %s beside it "
                 "cannot be read: %s", dump, os_error_text(rc));
        return rc;
    }
    f->set = !mark.known || mark_is(&mark, &m->older);
    f->other = mark.known;
    if (f->set || mark_is(&mark, &m->newer)) return 0;
    snprintf(f->why, sizeof f->why, "There are both %s and a snapshot of %u files "
             "(%s.manifest), and neither was made to follow the other: nobody can know which is "
             "newer. Move away %s, or %s.manifest and the files %s.%llu.*.rdb", dump, m->count,
             dump, dump, dump, dump, (unsigned long long)m->seq);
    return -EEXIST;
}

static int no_manifest(const char *dump, struct dumpset_found *f)
{
    uint64_t most = 0;
    each_part(dump, note_seq, &most);
    if (most == 0) return 0;
    snprintf(f->why, sizeof f->why, "There are files of a snapshot, %s.%llu.*.rdb, but the "
             "manifest %s.manifest that belongs to them has gone. Bring it back, or make one dump "
             "of them by splitring-rdb merge, and move them away", dump, (unsigned long long)most,
             dump);
    return -ENOENT;
}

int dumpset_find(const char *dump, struct dumpset_found *f)
{
    const char *why;
    unsigned line = 0;
    char *path = dumpset_manifest_path(dump);
    *f = (struct dumpset_found){0};
    int rc = read_manifest(path, &f->manifest, &why, &line);
    if (why)
        snprintf(f->why, sizeof f->why, "The snapshot's manifest %s is damaged in line %u: %s",
                 path, line, why);
    else if (rc < 0 && rc != -ENOENT)
        snprintf(f->why, sizeof f->why, "The snapshot's manifest %s cannot be read: %s", path,
                 os_error_text(rc));
    mem_free(path);
    if (rc == -ENOENT) return no_manifest(dump, f);
    if (rc == 0 && f->manifest.count) rc = choose(dump, f);
    if (rc == 0 && f->set)
        rc = dumpset_check_parts(dump, &f->manifest, &f->bytes, f->why, sizeof f->why);
    if (rc < 0 || !f->set) dumpset_manifest_deinit(&f->manifest);
    return rc;
}

void dumpset_found_deinit(struct dumpset_found *f) { dumpset_manifest_deinit(&f->manifest); }

/* ---- a set on its way ---- */

static void set_deinit(struct dumpset *set)
{
    for (unsigned i = 0; i < set->count; i++) mem_free(set->files[i].path);
    mem_free(set->files);
    mem_free(set->dump);
    mem_free(set->manifest);
    *set = (struct dumpset){0};
}

void dumpset_cancel(struct dumpset *set)
{
    for (unsigned i = 0; i < set->count; i++) {
        rdb_disk_cancel(&set->files[i].disk);
        if (set->files[i].path) file_remove(set->files[i].path);
    }
    set_deinit(set);
}

/* A damaged manifest is about to be replaced; one that has gone from its parts is not replaced by
 * one of none, so that nobody takes them for nothing meanwhile. */
static int begin_manifest(struct dumpset *set)
{
    struct dumpset_manifest m;
    const char *why;
    unsigned line;
    int rc = read_manifest(set->manifest, &m, &why, &line);
    set->seq = m.seq;
    each_part(set->dump, note_seq, &set->seq);
    dumpset_manifest_deinit(&m);
    bool first = rc == -ENOENT && set->seq == 0;
    if (rc == -ENOENT || why) rc = 0;
    set->seq++;
    return first ? write_manifest(set->manifest, &m) : rc;
}

int dumpset_create(struct dumpset *set, const char *dump, unsigned count)
{
    check(count > 0 && count <= DUMPSET_PARTS_MAX);
    *set = (struct dumpset){.dump = joined(dump, ""), .manifest = dumpset_manifest_path(dump),
                            .files = mem_zalloc(count * sizeof(struct dumpset_file)),
                            .count = count};
    for (unsigned i = 0; i < count; i++) set->files[i].disk.fd = -1;
    int rc = begin_manifest(set);
    for (unsigned i = 0; i < count && rc >= 0; i++) {
        set->files[i].path = dumpset_part_path(dump, set->seq, i);
        rc = rdb_disk_create(&set->files[i].disk, set->files[i].path);
    }
    if (rc < 0) dumpset_cancel(set);
    return rc < 0 ? rc : 0;
}

/* ---- it comes to count ---- */

struct sweep {
    uint64_t below; /* the sequence number of the set that counts */
};

static void remove_part(void *ctx, const char *path, uint64_t seq)
{
    const struct sweep *s = ctx;
    if (seq < s->below) file_remove(path);
}

static int end_parts(struct dumpset *set, struct rdb_out *const *outs, struct dumpset_manifest *m)
{
    int rc = 0;
    for (unsigned i = 0; i < set->count && rc == 0; i++) {
        struct dumpset_part *part = &m->parts[i];
        rc = rdb_disk_end(&set->files[i].disk, outs[i]);
        dumpset_slots(i, set->count, &part->slot_first, &part->slot_last);
        part->size = set->files[i].disk.written;
        part->crc = rdb_out_crc(outs[i]);
    }
    return rc == 0 ? file_sync_folder(set->manifest) : rc;
}

/* Putting the manifest in place has failed, but it may be there all the same: its folder could not
 * be synced. Then either may be found after a power loss, and nothing may go. */
static bool may_be_named(const struct dumpset *set)
{
    struct dumpset_manifest m;
    const char *why;
    unsigned line;
    int rc = read_manifest(set->manifest, &m, &why, &line);
    bool other = rc == -ENOENT || (rc == 0 && m.seq != set->seq);
    dumpset_manifest_deinit(&m);
    return !other;
}

static void remove_older(const struct dumpset *set, const struct dumpset_mark *older)
{
    struct dumpset_mark now;
    struct sweep s = {.below = set->seq};
    if (older->known && mark_of(set->dump, &now) == 0 && mark_is(&now, older))
        file_remove(set->dump);
    each_part(set->dump, remove_part, &s);
}

int dumpset_commit(struct dumpset *set, struct rdb_out *const *outs, int64_t time_s, bool keep)
{
    struct dumpset_manifest m = {.seq = set->seq, .time_s = time_s, .count = set->count,
                                 .parts = mem_zalloc(set->count * sizeof(struct dumpset_part))};
    int rc = end_parts(set, outs, &m);
    if (rc == 0) rc = mark_of(set->dump, &m.older);
    bool put = rc == 0;
    if (put) rc = write_manifest(set->manifest, &m);
    if (rc == 0 && !keep) remove_older(set, &m.older);
    if (rc < 0 && !(put && may_be_named(set)))
        dumpset_cancel(set);
    else
        set_deinit(set);
    dumpset_manifest_deinit(&m);
    return rc;
}

/* ---- a whole dump comes to count ---- */

/* The set that the manifest names is followed by the dump that lies at `aside`. */
static int announce(const char *manifest, struct dumpset_manifest *m, const char *aside)
{
    if (m->count == 0) return 0;
    int rc = mark_of(aside, &m->newer);
    return rc == 0 ? write_manifest(manifest, m) : rc;
}

int dumpset_finish_dump(struct rdb_disk *d, struct rdb_out *out, const char *dump, bool keep)
{
    struct dumpset_manifest m;
    const char *why;
    unsigned line;
    char *manifest = dumpset_manifest_path(dump);
    int rc = read_manifest(manifest, &m, &why, &line);
    bool none = rc == -ENOENT;
    if (none || why) rc = 0;
    if (rc == 0)
        rc = rdb_disk_end(d, out);
    else
        rdb_disk_cancel(d);
    if (rc == 0) rc = announce(manifest, &m, d->aside);
    if (rc == 0) rc = file_rename(d->aside, dump);
    if (rc < 0) file_remove(d->aside);
    if (rc == 0 && !none && !keep) {
        struct sweep s = {.below = UINT64_MAX};
        each_part(dump, remove_part, &s);
        if (file_sync_folder(manifest) == 0) file_remove(manifest);
    }
    dumpset_manifest_deinit(&m);
    mem_free(manifest);
    return rc;
}
