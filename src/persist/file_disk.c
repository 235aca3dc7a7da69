/* Dumps on a disk: read in pieces; written aside, synced, renamed.
 *
 * Until the rename the old file is untouched, so whatever happens before (no space, a crash, a
 * broken disk) costs nothing but the attempt. The kernel is asked to begin writing every few MiB:
 * the sync at the end is short then, and other files' syncs do not wait for ours.
 * Thread: any; owner of the struct. */
#include "splitring/io/file.h"
#include "splitring/persist/rdb_file.h"

#define FLUSH_EVERY ((uint64_t)4 << 20)

ssize_t rdb_disk_read(void *fd, char *ptr, size_t len) { return file_read(*(int *)fd, ptr, len); }

int rdb_disk_create(struct rdb_disk *d, const char *aside)
{
    *d = (struct rdb_disk){.aside = aside, .fd = file_create(aside)};
    return d->fd < 0 ? d->fd : 0;
}

int rdb_disk_write(void *disk, const char *ptr, size_t len)
{
    struct rdb_disk *d = disk;
    int rc = file_write(d->fd, ptr, len);
    if (rc < 0) return rc;
    d->written += len;
    if (!d->late && d->written - d->begun >= FLUSH_EVERY) {
        file_flush_begin(d->fd, d->begun, d->written - d->begun);
        d->begun = d->written;
    }
    return 0;
}

int rdb_disk_settle(struct rdb_disk *d, uint64_t behind)
{
    uint64_t left = d->begun - d->settled;
    if (d->fd < 0 || left <= behind) return 0;
    uint64_t len = left < FLUSH_EVERY ? left : FLUSH_EVERY;
    int rc = file_flush_wait(d->fd, d->settled, len);
    if (rc < 0) return rc;
    d->settled += len;
    return 1;
}

void rdb_disk_cancel(struct rdb_disk *d)
{
    if (d->fd < 0) return;
    (void)file_close(d->fd);
    d->fd = -1;
    file_remove(d->aside);
}

int rdb_disk_end(struct rdb_disk *d, struct rdb_out *out)
{
    char header[RDB_HEADER_LEN + 1];
    bool changed;
    int rc = rdb_out_end(out, header, &changed);
    if (rc == 0 && changed) rc = file_write_at(d->fd, 0, header, RDB_HEADER_LEN);
    if (rc == 0) rc = file_sync(d->fd);
    if (rc == 0) {
        rc = file_close(d->fd);
        d->fd = -1;
        if (rc < 0) file_remove(d->aside);
    }
    rdb_disk_cancel(d);
    return rc;
}

int rdb_disk_finish(struct rdb_disk *d, struct rdb_out *out, const char *path)
{
    int rc = rdb_disk_end(d, out);
    if (rc < 0) return rc;
    rc = file_rename(d->aside, path);
    if (rc < 0) file_remove(d->aside);
    return rc;
}
