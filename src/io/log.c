/* Log lines as Redis and Valkey write them, so that what reads their log reads ours:
 *
 *   4711:M 22 Nov 2026 03:27:39.012 * Ready to accept connections
 *   pid=4711 role=primary timestamp="22 Nov 2026 03:27:39.012" level=notice message="Ready …"
 *   {"pid":4711,"role":"primary","timestamp":"…","level":"notice","message":"Ready …"}
 *
 * Every line is one write to a file opened for appending, which the kernel keeps whole. The file is
 * opened for each line, as Redis does it: whoever rotates logs may move it or cut it (copytruncate)
 * without telling us. Lines are few, and no command waits for one unless it failed. If it cannot be
 * opened just now (no descriptors left), the line goes to the descriptor of the start.
 *
 * Descriptor, path, level and forms are the process's (io may have globals: it is the outside
 * world). The path is set once, before there are threads.
 * Thread: any. */
#include "splitring/io/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 1024
#define LINE_MAX_LEN (6 * MESSAGE_MAX + 256) /* every byte of the message as \u00xx */

static _Atomic int log_fd = STDOUT_FILENO;
static _Atomic int log_level = LOG_LEVEL_NOTICE;
static _Atomic int log_format = LOG_FORMAT_LEGACY;
static _Atomic int log_time = LOG_TIME_LEGACY;
static _Atomic bool log_syslog = false;
static char log_path[PATH_MAX]; /* "": standard output. Constant after log_open */
static char log_ident[128];

#define OPEN_FLAGS (O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC)

int log_open(const char *path, enum log_level level)
{
    log_set_level(level);
    if (path[0] == '\0') return 0;
    int fd = open(path, OPEN_FLAGS, 0644);
    if (fd < 0) return -errno;
    atomic_store(&log_fd, fd);
    char cwd[PATH_MAX];
    if (path[0] == '/' || !getcwd(cwd, sizeof cwd)) cwd[0] = '\0';
    int len = snprintf(log_path, sizeof log_path, "%s%s%s", cwd, cwd[0] ? "/" : "", path);
    if (len < 0 || (size_t)len >= sizeof log_path) log_path[0] = '\0'; /* the descriptor stays */
    return 0;
}

void log_open_syslog(const char *ident, int facility)
{
    static const int facilities[] = {LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2, LOG_LOCAL3, LOG_LOCAL4,
                                     LOG_LOCAL5, LOG_LOCAL6, LOG_LOCAL7, LOG_USER};
    snprintf(log_ident, sizeof log_ident, "%s", ident); /* it is kept, not copied */
    openlog(log_ident, LOG_PID | LOG_NDELAY | LOG_NOWAIT, facilities[facility]);
    atomic_store(&log_syslog, true);
}

void log_set_level(enum log_level level)
{
    atomic_store(&log_level, (int)level);
}

void log_set_format(enum log_format format, enum log_time time)
{
    atomic_store(&log_format, (int)format);
    atomic_store(&log_time, (int)time);
}

bool log_wants(enum log_level level) { return (int)level >= atomic_load(&log_level); }

/* ---- a line ---- */

static void time_text(char out[64])
{
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    int ms = (int)(ts.tv_nsec / 1000000), form = atomic_load(&log_time);
    if (form == LOG_TIME_MILLISECONDS) {
        snprintf(out, 64, "%lld", (long long)ts.tv_sec * 1000 + ms);
        return;
    }
    localtime_r(&ts.tv_sec, &tm);
    bool iso = form == LOG_TIME_ISO8601;
    size_t n = strftime(out, 64, iso ? "%Y-%m-%dT%H:%M:%S" : "%d %b %Y %H:%M:%S", &tm);
    n += (size_t)snprintf(out + n, 64 - n, ".%03d", ms);
    long minutes = tm.tm_gmtoff / 60;
    if (iso)
        snprintf(out + n, 64 - n, "%c%02ld:%02ld", minutes < 0 ? '-' : '+',
                 (minutes < 0 ? -minutes : minutes) / 60, (minutes < 0 ? -minutes : minutes) % 60);
}

/* In quotes, so that it stays one value. Returns its length; out has room for all. */
static size_t put_quoted(char *out, const char *text)
{
    size_t n = 0;
    out[n++] = '"';
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < ' ' || c == 127) {
            n += (size_t)sprintf(out + n, "\\u%04x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    out[n++] = '"';
    return n;
}

static size_t put_line(char *out, enum log_level level, const char *message)
{
    static const char *const names[] = {"debug", "info", "notice", "warning", "warning"};
    char when[64];
    int pid = (int)getpid(), format = atomic_load(&log_format);
    size_t n = 0;
    time_text(when);
    if (format == LOG_FORMAT_LEGACY)
        return (size_t)sprintf(out, "%d:M %s %c %s\n", pid, when,
                               ".-*##"[level], message);
    const char *head = format == LOG_FORMAT_JSON
                           ? "{\"pid\":%d,\"role\":\"primary\",\"timestamp\":\"%s\","
                             "\"level\":\"%s\",\"message\":"
                           : "pid=%d role=primary timestamp=\"%s\" level=%s message=";
    n += (size_t)snprintf(out, 256, head, pid, when, names[level]);
    n += put_quoted(out + n, message);
    if (format == LOG_FORMAT_JSON) out[n++] = '}';
    out[n++] = '\n';
    return n;
}

static void to_file(const char *line, size_t len)
{
    int fd = log_path[0] ? open(log_path, OPEN_FLAGS, 0644) : -1;
    ssize_t written = write(fd >= 0 ? fd : atomic_load(&log_fd), line, len);
    (void)written; /* a full disk must not stop the server from serving */
    if (fd >= 0) close(fd);
}

void log_line(enum log_level level, const char *fmt, ...)
{
    static const int priorities[] = {LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_WARNING};
    char message[MESSAGE_MAX], line[LINE_MAX_LEN];
    int error = errno; /* the caller may be about to look at it */
    if (!log_wants(level)) return;
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (len < 0) message[0] = '\0';
    to_file(line, put_line(line, level, message));
    if (atomic_load(&log_syslog)) syslog(priorities[level], "%s", message);
    errno = error;
}
