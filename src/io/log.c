/* Log lines as Redis writes them, so that what reads its log reads ours:
 *
 *   4711:M 22 Nov 2026 03:27:39.012 * Ready to accept connections
 *
 * The file is opened for appending and every line is one write, which the kernel keeps whole. The
 * descriptor and the level are the process's (io may have globals: it is the outside world).
 * Thread: any. */
#include "splitring/io/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static _Atomic int log_fd = STDOUT_FILENO;
static _Atomic int log_level = LOG_LEVEL_NOTICE;

int log_open(const char *path, enum log_level level)
{
    log_set_level(level);
    if (path[0] == '\0') return 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return -errno;
    atomic_store(&log_fd, fd);
    return 0;
}

void log_set_level(enum log_level level)
{
    atomic_store(&log_level, (int)level);
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if ((int)level < atomic_load(&log_level)) return;
    char line[1024];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);
    size_t n = (size_t)snprintf(line, sizeof line, "%d:M ", (int)getpid());
    n += strftime(line + n, sizeof line - n, "%d %b %Y %H:%M:%S.", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, "%03d %c ", (int)(ts.tv_nsec / 1000000),
                          ".-*#"[level < LOG_LEVEL_NOTHING ? level : 3]);
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(line + n, sizeof line - n - 1, fmt, args);
    va_end(args);
    n += len < 0 ? 0 : (size_t)len < sizeof line - n - 1 ? (size_t)len : sizeof line - n - 2;
    line[n++] = '\n';
    ssize_t written = write(atomic_load(&log_fd), line, n);
    (void)written; /* a full disk must not stop the server from serving */
}
