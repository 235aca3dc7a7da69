/* Small whole files: the configuration, ACL and manifest files. Not for data: snapshots and logs
 * have their own writers.
 *
 * Replacing is write aside, fsync, rename, fsync of the folder: after a crash the name holds the
 * old content or the new one. A symbolic link stays one; what it points at is replaced.
 * Thread: any. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "splitring/io/os.h"

#define READ_STEP 65536u

static int read_all(int fd, size_t max_len, struct buf *out)
{
    size_t start = out->len;
    for (;;) {
        if (!buf_reserve(out, READ_STEP)) return -ENOMEM;
        ssize_t got = read(fd, out->ptr + out->len, READ_STEP);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (got == 0) return 0;
        out->len += (size_t)got;
        if (out->len - start > max_len) return -EFBIG;
    }
}

int os_file_read(const char *path, size_t max_len, struct buf *out)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int rc = read_all(fd, max_len, out);
    if (!is_stdin) close(fd);
    return rc;
}

static int write_all(int fd, struct slice content)
{
    while (content.len > 0) {
        ssize_t put = write(fd, content.ptr, content.len);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -errno;
        content.ptr += put;
        content.len -= (size_t)put;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int sync_folder_of(char *path)
{
    char *slash = strrchr(path, '/');
    const char *folder = !slash ? "." : slash == path ? "/" : path;
    if (slash) *slash = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int rc = fsync(fd) < 0 && errno != EINVAL ? -errno : 0; /* EINVAL: a file system without it */
    close(fd);
    return rc;
}

int os_file_replace(const char *path, struct slice content)
{
    char target[PATH_MAX], aside[PATH_MAX + 32];
    struct stat old;
    bool exists = stat(path, &old) == 0;
    if (!exists || !realpath(path, target)) {
        if (strlen(path) >= sizeof target) return -ENAMETOOLONG;
        snprintf(target, sizeof target, "%s", path);
    }
    snprintf(aside, sizeof aside, "%s.%ld.tmp", target, os_pid());
    int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) { /* left by a dead process of our number */
        if (unlink(aside) < 0) return -errno;
        fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    }
    if (fd < 0) return -errno;
    int rc = 0;
    if (exists) {
        (void)!fchown(fd, old.st_uid, old.st_gid); /* only root can give files away */
        if (fchmod(fd, old.st_mode & 07777) < 0) rc = -errno;
    }
    if (rc == 0) rc = write_all(fd, content);
    if (close(fd) < 0 && rc == 0) rc = -errno;
    if (rc == 0 && rename(aside, target) < 0) rc = -errno;
    if (rc < 0) {
        unlink(aside);
        return rc;
    }
    return sync_folder_of(target);
}

int os_chdir(const char *path)
{
    return chdir(path) < 0 ? -errno : 0;
}

void os_cwd(char *out, size_t cap)
{
    if (!getcwd(out, cap) && cap > 0) out[0] = '\0';
}

int os_pidfile_write(const char *path)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%ld\n", os_pid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return -errno;
    int rc = write_all(fd, slice_of(text, (size_t)len));
    if (close(fd) < 0 && rc == 0) rc = -errno;
    return rc;
}
