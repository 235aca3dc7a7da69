/* Data files in pieces: what a snapshot is read from and written to.
 *
 * Short writes and signals are dealt with here. A rename counts once the folder is synced: after a
 * power loss the name holds the old file or the new one, whole.
 * Thread: any. */
#include "splitring/io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_open(const char *path, uint64_t *size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not wait for a writer */
    if (fd < 0) return -errno;
    int rc = fstat(fd, &st) < 0 ? -errno : 0;
    if (rc == 0 && !S_ISREG(st.st_mode)) rc = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    if (rc != 0) {
        close(fd);
        return rc;
    }
    *size = (uint64_t)st.st_size;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return fd;
}

ssize_t file_read(int fd, char *ptr, size_t len)
{
    for (;;) {
        ssize_t got = read(fd, ptr, len);
        if (got >= 0) return got;
        if (errno != EINTR) return -errno;
    }
}

ssize_t file_read_at(int fd, uint64_t offset, char *ptr, size_t len)
{
    for (;;) {
        ssize_t got = pread(fd, ptr, len, (off_t)offset);
        if (got >= 0) return got;
        if (errno != EINTR) return -errno;
    }
}

int file_cut(const char *path, uint64_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int rc = ftruncate(fd, (off_t)len) < 0 || fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

int file_create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : fd;
}

int file_reopen(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int file_write(int fd, const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, ptr, len);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -errno;
        if (put == 0) return -ENOSPC;
        ptr += put;
        len -= (size_t)put;
    }
    return 0;
}

int file_write_at(int fd, uint64_t offset, const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t put = pwrite(fd, ptr, len, (off_t)offset);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -errno;
        if (put == 0) return -ENOSPC;
        ptr += put;
        offset += (size_t)put;
        len -= (size_t)put;
    }
    return 0;
}

int file_sync(int fd) { return fsync(fd) < 0 ? -errno : 0; }

int file_sync_data(int fd) { return fdatasync(fd) < 0 ? -errno : 0; }

int file_truncate(int fd, uint64_t len) { return ftruncate(fd, (off_t)len) < 0 ? -errno : 0; }

int file_make_dir(const char *path)
{
    bool is_new = mkdir(path, 0755) == 0;
    if (!is_new && errno != EEXIST) return -errno;
    int rc = file_sync_folder(path); /* who made it may have been killed before it was kept */
    return !is_new && rc == -EACCES ? 0 : rc;
}

void file_flush_begin(int fd, uint64_t from, uint64_t len)
{
    (void)sync_file_range(fd, (off_t)from, (off_t)len, SYNC_FILE_RANGE_WRITE);
}

int file_flush_wait(int fd, uint64_t from, uint64_t len)
{
    unsigned how = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(fd, (off_t)from, (off_t)len, how) == 0) return 0;
    /* Not every file system can, and need not. */
    return errno == ENOSYS || errno == EINVAL || errno == ESPIPE ? 0 : -errno;
}

int file_close(int fd) { return close(fd) < 0 ? -errno : 0; }

bool file_is_link(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

static int copy(int from, int to)
{
    static const size_t step = (size_t)1 << 30;
    ssize_t got;
    while ((got = copy_file_range(from, NULL, to, NULL, step, 0)) > 0) continue;
    return got < 0 || fsync(to) < 0 ? -errno : 0;
}

int file_link(const char *from, const char *to)
{
    if (link(from, to) == 0) return 0;
    if (errno == EEXIST || errno == ENOENT) return -errno;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return -errno;
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int rc = out < 0 ? -errno : copy(in, out);
    close(in);
    if (out >= 0) close(out);
    if (out >= 0 && rc < 0) unlink(to);
    return rc;
}

int file_sync_folder(const char *path)
{
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy) return -ENAMETOOLONG;
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int rc = fsync(fd) < 0 && errno != EINVAL ? -errno : 0; /* EINVAL: a file system without it */
    close(fd);
    return rc;
}

int file_rename(const char *from, const char *to)
{
    if (strlen(to) >= PATH_MAX) return -ENAMETOOLONG;
    return rename(from, to) < 0 ? -errno : file_sync_folder(to);
}

void file_remove(const char *path) { (void)unlink(path); }

bool file_is_terminal(int fd) { return isatty(fd) == 1; }

int file_list_open(struct file_list *list, const char *path)
{
    list->dir = opendir(path);
    return list->dir ? 0 : -errno;
}

const char *file_list_next(struct file_list *list)
{
    const struct dirent *entry = readdir(list->dir);
    return entry ? entry->d_name : NULL;
}

void file_list_close(struct file_list *list) { (void)closedir(list->dir); }
