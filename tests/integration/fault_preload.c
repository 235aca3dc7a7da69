/* Faults of the disk, for tests: preloaded into the server, it makes writes and syncs of a kind of
 * file fail.
 *
 *   FAULT_FILE   part of the path of the files concerned (".incr.aof")
 *   FAULT_SWITCH path of a file whose text says what fails now, and may change at any time:
 *                "write ENOSPC", "write EIO", "short", "fsync EIO"; empty or absent: nothing
 *
 * A short write puts half of the bytes there and then fails, as a disk does that gets full.
 * Thread: any. */
#undef _FILE_OFFSET_BITS /* else pwrite is pwrite64 by another name */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fdatasync(int fd);
int fsync(int fd);
ssize_t pwrite(int fd, const void *ptr, size_t len, off_t offset);
ssize_t pwrite64(int fd, const void *ptr, size_t len, off_t offset);

static bool concerned(int fd)
{
    char link[64], path[4096];
    const char *part = getenv("FAULT_FILE");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0 || !part) return false;
    path[len] = '\0';
    return strstr(path, part) != NULL;
}

/* What is to fail; 0: nothing. */
static int fault(const char *what, char word[32])
{
    char text[64] = {0}, name[32] = {0};
    const char *path = getenv("FAULT_SWITCH");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0 || sscanf(text, "%31s %31s", word, name) < 1) return 0;
    if (strcmp(word, what) != 0 && !(strcmp(word, "short") == 0 && strcmp(what, "write") == 0))
        return 0;
    return strcmp(name, "EIO") == 0 ? EIO : ENOSPC;
}

ssize_t pwrite(int fd, const void *ptr, size_t len, off_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    static __thread bool half;
    char word[32];
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    int error = concerned(fd) ? fault("write", word) : 0;
    if (!error) return real(fd, ptr, len, offset);
    if (strcmp(word, "short") == 0 && !half && len > 1) {
        half = true;
        return real(fd, ptr, len / 2, offset);
    }
    half = false;
    errno = error;
    return -1;
}

ssize_t pwrite64(int fd, const void *ptr, size_t len, off_t offset)
{
    return pwrite(fd, ptr, len, offset);
}

static int sync_or_fail(int fd, const char *name)
{
    char word[32];
    int error = concerned(fd) ? fault("fsync", word) : 0;
    if (error) {
        errno = error;
        return -1;
    }
    int (*real)(int);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fdatasync(int fd) { return sync_or_fail(fd, "fdatasync"); }

int fsync(int fd) { return sync_or_fail(fd, "fsync"); }
