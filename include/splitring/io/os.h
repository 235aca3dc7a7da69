/* The rest of the operating system: clocks, entropy, threads, CPUs, files, process facts.
 * Thread: any, unless said. */
#ifndef SPLITRING_IO_OS_H
#define SPLITRING_IO_OS_H

#include "splitring/base/buf.h"

instant_us os_unix_us(void);      /* CLOCK_REALTIME, microseconds */
int64_t os_mono_us(void);         /* CLOCK_MONOTONIC, microseconds */
int64_t os_mono_ns(void);         /* the same, nanoseconds */
/* Nanoseconds per tick of the CPU's time stamp counter, times 2^32; 0: it is no clock here. Takes
 * some milliseconds. */
uint64_t os_tick_scale(void);
uint64_t os_entropy64(void);      /* getrandom(2) */
void os_entropy(void *out, size_t len);
void os_sleep_us(int64_t us);
void os_yield(void);

struct os_thread;
/* cpu < 0: not pinned. A failed pin is reported by *pin_error (0 = fine, else a positive errno; may
 * be NULL), and the thread runs anyway. */
int os_thread_start(struct os_thread **out, const char *name, int cpu, int *pin_error,
                    void (*run)(void *arg), void *arg) WARN_UNUSED;
void os_thread_join(struct os_thread *thread); /* frees it */
void os_thread_pin(int cpu, int *pin_error);   /* the calling thread */

/* What a thread without an io sleeps on: a ring ends one wait, the next one if nobody waits now. */
struct os_bell;
struct os_bell *os_bell_new(void) WARN_UNUSED;
void os_bell_free(struct os_bell *bell);
void os_bell_wait(struct os_bell *bell, int64_t timeout_us); /* < 0: as long as it takes */
void os_bell_ring_shared(struct os_bell *bell);

/* CPUs this process may use: the affinity mask, lowered by the cgroup quota (v2 cpu.max, v1
 * cpu.cfs_quota_us / cpu.cfs_period_us, of this process's cgroup and its parents), at least 1.
 * cgroup_root: "" = "/sys/fs/cgroup" (tests inject a folder; the process's own cgroup path is read
 * from `proc_cgroup`, "" = "/proc/self/cgroup"). cpus[]: the usable CPU numbers, ascending. */
struct os_cpus {
    unsigned count;        /* workers to start */
    unsigned usable;       /* entries of cpus[] */
    uint16_t cpus[1024];
};
void os_cpus_find(struct os_cpus *out, const char *cgroup_root, const char *proc_cgroup);
/* Memory limit of the cgroup in bytes; 0: none. */
uint64_t os_cgroup_memory_max(const char *cgroup_root, const char *proc_cgroup);

/* The process ends here and now: nothing is sent, flushed or freed any more. */
__attribute__((noreturn)) void os_end_now(int code);

uint64_t os_rss_bytes(void);      /* /proc/self/statm */
uint64_t os_rss_anon_bytes(void); /* … without what is of files: code, libraries */
uint64_t os_memory_total(void);   /* physical memory */
struct os_usage {
    double user_s, system_s;      /* CPU of the process */
    double user_children_s, system_children_s;
};
void os_usage_get(struct os_usage *out);
void os_thread_usage_get(struct os_usage *out); /* of the calling thread; no children */
void os_exe_path(char *out, size_t cap);        /* this program's file; "" if it is not known */
/* RLIMIT_NOFILE soft limit, as Redis does. 0, or -EMFILE when *got stayed below want. */
int os_nofile_raise(unsigned want, unsigned *got);

/* Whole file into buf; -EFBIG above max_len. path "-" = standard input. */
int os_file_read(const char *path, size_t max_len, struct buf *out) WARN_UNUSED;
/* Written aside, fsynced, renamed over path, directory fsynced; keeps the mode of an old file. */
int os_file_replace(const char *path, struct slice content) WARN_UNUSED;
int os_chdir(const char *path) WARN_UNUSED;
void os_cwd(char *out, size_t cap);
int os_daemonize(void) WARN_UNUSED;
void os_uname(char *out, size_t cap); /* "Linux 6.1.0 x86_64" */
const char *os_error_text(int rc); /* of a negative errno */
long os_pid(void);
int os_pidfile_write(const char *path); /* pid and a newline; negative errno */

/* SIGTERM and SIGINT become a call of `on_stop(signal)`, from the signal handler (must be
 * async-signal-safe: store a flag, os_wake…); SIGPIPE, SIGHUP and SIGCHLD are ignored. */
void os_signals_install(void (*on_stop)(int sig));

#endif
