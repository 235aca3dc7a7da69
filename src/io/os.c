/* Clocks, entropy, process facts and signals.
 *
 * The one piece of writable global state of the program lives here: what a signal handler is to
 * call, since a handler gets no argument of ours.
 * Thread: any; os_signals_install and os_daemonize before threads start. */
#include "splitring/io/os.h"

#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "splitring/base/check.h"

static int64_t clock_us(clockid_t id)
{
    struct timespec ts;
    check(clock_gettime(id, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

instant_us os_unix_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t os_mono_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t os_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

void os_entropy(void *out, size_t len)
{
    char *at = out;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR) continue;
        check(got > 0);
        at += got;
        len -= (size_t)got;
    }
}

uint64_t os_entropy64(void)
{
    uint64_t value;
    os_entropy(&value, sizeof value);
    return value;
}

void os_yield(void)
{
    sched_yield();
}

void os_sleep_us(int64_t us)
{
    if (us <= 0) return;
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&left, &left) < 0 && errno == EINTR) continue;
}

/* --- process facts ---------------------------------------------------------------------------- */

/* "size resident shared …", in pages. */
static void read_statm(uint64_t *resident, uint64_t *shared)
{
    char text[128];
    *resident = *shared = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0) return;
    text[len] = '\0';
    char *at = strchr(text, ' ');
    if (!at) return;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    *resident = strtoull(at, &at, 10) * page;
    *shared = strtoull(at, NULL, 10) * page;
}

uint64_t os_rss_bytes(void)
{
    uint64_t resident, shared;
    read_statm(&resident, &shared);
    return resident;
}

uint64_t os_rss_anon_bytes(void)
{
    uint64_t resident, shared;
    read_statm(&resident, &shared);
    return resident > shared ? resident - shared : 0;
}

void os_end_now(int code) { _exit(code); }

uint64_t os_memory_total(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    return pages < 0 ? 0 : (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double seconds_of(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

void os_usage_get(struct os_usage *out)
{
    struct rusage self, children;
    check(getrusage(RUSAGE_SELF, &self) == 0);
    check(getrusage(RUSAGE_CHILDREN, &children) == 0);
    *out = (struct os_usage){
        .user_s = seconds_of(self.ru_utime),
        .system_s = seconds_of(self.ru_stime),
        .user_children_s = seconds_of(children.ru_utime),
        .system_children_s = seconds_of(children.ru_stime),
    };
}

void os_thread_usage_get(struct os_usage *out)
{
    struct rusage self;
    check(getrusage(RUSAGE_THREAD, &self) == 0);
    *out = (struct os_usage){.user_s = seconds_of(self.ru_utime),
                             .system_s = seconds_of(self.ru_stime)};
}

void os_exe_path(char *out, size_t cap)
{
    ssize_t len = readlink("/proc/self/exe", out, cap - 1);
    out[len < 0 ? 0 : len] = '\0';
}

/* As Redis' adjustOpenFilesLimit: the wish first (root may raise the hard limit), then the hard
 * limit, then less and less in steps, since the kernel may have ceilings it does not show. */
int os_nofile_raise(unsigned want, unsigned *got)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    rlim_t soft = limit.rlim_cur;
    for (rlim_t try = want; try > soft; try = try > 16 ? try - 16 : 0) {
        struct rlimit wish = {try, try > limit.rlim_max ? try : limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &wish) == 0) {
            soft = try;
            break;
        }
        if (try > limit.rlim_max) try = limit.rlim_max + 16;
    }
    *got = soft > UINT32_MAX ? UINT32_MAX : (unsigned)soft;
    return *got >= want ? 0 : -EMFILE;
}

void os_uname(char *out, size_t cap)
{
    struct utsname name;
    check(uname(&name) == 0);
    snprintf(out, cap, "%s %s %s", name.sysname, name.release, name.machine);
}

long os_pid(void)
{
    return (long)getpid();
}

int os_daemonize(void)
{
    pid_t pid = fork();
    if (pid < 0) return -errno;
    if (pid > 0) _exit(0);
    if (setsid() < 0) return -errno;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) return -errno;
    for (int fd = 0; fd <= 2; fd++) {
        if (dup2(null, fd) < 0) return -errno;
    }
    if (null > 2) close(null);
    return 0;
}

/* --- signals ---------------------------------------------------------------------------------- */

static void (*volatile stop_handler)(int sig);

static void on_signal(int sig)
{
    int saved = errno;
    if (stop_handler) stop_handler(sig);
    errno = saved;
}

void os_signals_install(void (*on_stop)(int sig))
{
    struct sigaction stop = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    stop_handler = on_stop;
    sigemptyset(&stop.sa_mask);
    sigemptyset(&ignore.sa_mask);
    check(sigaction(SIGTERM, &stop, NULL) == 0);
    check(sigaction(SIGINT, &stop, NULL) == 0);
    check(sigaction(SIGPIPE, &ignore, NULL) == 0);
    check(sigaction(SIGHUP, &ignore, NULL) == 0);
    /* A container's first process inherits others' children: ignored, they leave no zombie. */
    check(sigaction(SIGCHLD, &ignore, NULL) == 0);
}

const char *os_error_text(int rc)
{
    return strerrordesc_np(-rc) ? strerrordesc_np(-rc) : "Unknown error";
}
