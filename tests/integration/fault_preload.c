/* Faults of the disk, for tests: preloaded into the server, it makes writes and syncs of a kind of
 * file fail, or the process die between two of them.
 *
 *   FAULT_FILE   part of the path of the files concerned (".incr.aof"), which may be their folder's
 *   FAULT_SWITCH path of a file whose text says what fails now, and may change at any time:
 *                "write ENOSPC", "write EIO", "short", "fsync EIO", "rename EIO", "resync"
 *                (a folder's sync behind a rename in it), or "kill N": the process dies in place
 *                of act N from then on; empty or absent: nothing
 *   FAULT_TRACE  path of a file to which every act is written, one per line
 *
 * An act is a file made, written, synced, renamed or removed. A short write puts half of the bytes
 * there and then fails, as a disk does that gets full.
 * Thread: any. */
#undef _FILE_OFFSET_BITS /* else pwrite is pwrite64 by another name */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fdatasync(int fd);
int fsync(int fd);
ssize_t pwrite(int fd, const void *ptr, size_t len, off_t offset);
int open64(const char *path, int flags, ...);
ssize_t pwrite64(int fd, const void *ptr, size_t len, off_t offset);

#define PATH_CAP 4200

static bool path_of(int fd, char path[PATH_CAP])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, PATH_CAP - 1);
    if (len < 0) return false;
    path[len] = '\0';
    return path[0] == '/';
}

static void whole_path(const char *given, char path[PATH_CAP])
{
    char folder[PATH_CAP / 2] = "";
    if (given[0] != '/' && !getcwd(folder, sizeof folder)) folder[0] = '\0';
    snprintf(path, PATH_CAP, "%s%s%.*s", folder, given[0] == '/' ? "" : "/", PATH_CAP / 2 - 2,
             given);
}

static int open_plain(const char *path, int flags)
{
    static int (*real)(const char *, int, ...);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "open64");
    return real(path, flags | O_CLOEXEC, 0644);
}

static void trace(const char *what, const char *path)
{
    char line[PATH_CAP + 40];
    static ssize_t (*real)(int, const void *, size_t);
    const char *to = getenv("FAULT_TRACE");
    int fd = to ? open_plain(to, O_WRONLY | O_CREAT | O_APPEND) : -1;
    if (fd < 0) return;
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "write");
    int len = snprintf(line, sizeof line, "%s %s\n", what, path);
    (void)!real(fd, line, (size_t)len);
    close(fd);
}

/* What is to fail; 0: nothing. */
static int fault(const char *what, char word[32])
{
    char text[64] = {0}, name[32] = {0};
    const char *path = getenv("FAULT_SWITCH");
    int fd = path ? open_plain(path, O_RDONLY) : -1;
    if (fd < 0) return 0;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0 || sscanf(text, "%31s %31s", word, name) < 1) return 0;
    if (strcmp(word, "kill") == 0) {
        static int acts;
        if (__sync_add_and_fetch(&acts, 1) >= atoi(name)) kill(getpid(), SIGKILL);
        return 0;
    }
    if (strcmp(word, what) != 0 && !(strcmp(word, "short") == 0 && strcmp(what, "write") == 0))
        return 0;
    return strcmp(name, "EIO") == 0 ? EIO : ENOSPC;
}

/* The act is about to happen: what is to fail; 0: nothing. */
static int act(const char *what, const char *path, char word[32])
{
    const char *part = getenv("FAULT_FILE");
    if (!part || !strstr(path, part)) return 0;
    int error = fault(what, word);
    trace(what, path);
    return error;
}

static int act_on(const char *what, int fd, char word[32])
{
    char path[PATH_CAP];
    return path_of(fd, path) ? act(what, path, word) : 0;
}

ssize_t pwrite(int fd, const void *ptr, size_t len, off_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    static __thread bool half;
    char word[32];
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    int error = act_on("write", fd, word);
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

ssize_t write(int fd, const void *ptr, size_t len)
{
    static ssize_t (*real)(int, const void *, size_t);
    char word[32];
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "write");
    errno = act_on("write", fd, word);
    return errno ? -1 : real(fd, ptr, len);
}

static __thread bool renamed;

static bool is_folder(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static int sync_or_fail(int fd, const char *name)
{
    char word[32] = "";
    int error = act_on("fsync", fd, word);
    if (renamed && is_folder(fd)) {
        if (strcmp(word, "resync") == 0) error = EIO;
        renamed = false;
    }
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

static int open_or_fail(const char *given, int flags, unsigned mode)
{
    static int (*real)(const char *, int, ...);
    char path[PATH_CAP], word[32];
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "open64");
    if (flags & (O_CREAT | O_TRUNC)) {
        whole_path(given, path);
        errno = act("create", path, word);
        if (errno) return -1;
    }
    return real(given, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;
    va_end(args);
    return open_or_fail(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;
    va_end(args);
    return open_or_fail(path, flags, mode);
}

int rename(const char *from, const char *to)
{
    static int (*real)(const char *, const char *);
    char path[PATH_CAP], word[32];
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "rename");
    whole_path(to, path);
    errno = act("rename", path, word);
    renamed = !errno;
    return errno ? -1 : real(from, to);
}

int unlink(const char *given)
{
    static int (*real)(const char *);
    char path[PATH_CAP], word[32];
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "unlink");
    whole_path(given, path);
    errno = act("unlink", path, word);
    return errno ? -1 : real(given);
}
