/* How much of the machine is ours: CPUs by affinity and cgroup quota, memory by cgroup limit.
 *
 * A cgroup is a folder, its limits are files in it, and the limits of its parents bind as well. So:
 * find this process's path in /proc/self/cgroup, then look at every folder from there up to the
 * root.
 *
 *   v2      "0::/a/b"              root/a/b/cpu.max               "150000 100000" | "max 100000"
 *   hybrid  the same               root/unified/a/b/…
 *   v1      "4:cpu,cpuacct:/a/b"   root/cpu/a/b/cpu.cfs_quota_us  "150000" | "-1", …_period_us
 *
 * In a container the path may be the host's while the mount begins at the container's own folder:
 * then the deeper folders do not exist, are skipped, and the root has the limit.
 * Thread: any. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "splitring/io/os.h"

#define UNLIMITED_V1 (UINT64_C(1) << 60) /* v1 writes "none" as about 2^63 */

struct limits {
    uint64_t cpus;   /* rounded up; 0: none */
    uint64_t memory; /* 0: none */
};

static void lower(uint64_t *limit, uint64_t value)
{
    if (value > 0 && (*limit == 0 || value < *limit)) *limit = value;
}

/* The first bytes of a small file, terminated; false if there is none. */
static bool read_small(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t len = 0;
    while (len < cap - 1) {
        ssize_t got = read(fd, out + len, cap - 1 - len);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        len += (size_t)got;
    }
    close(fd);
    out[len] = '\0';
    return len > 0;
}

static bool read_file_of(const char *folder, const char *name, char *out, size_t cap)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/%s", folder, name);
    return len > 0 && (size_t)len < sizeof path && read_small(path, out, cap);
}

static void look_v2(const char *folder, struct limits *limits)
{
    char text[128];
    long long quota, period;
    if (read_file_of(folder, "cpu.max", text, sizeof text) &&
        sscanf(text, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0)
        lower(&limits->cpus, ((uint64_t)quota + (uint64_t)period - 1) / (uint64_t)period);
    if (read_file_of(folder, "memory.max", text, sizeof text) && text[0] != 'm')
        lower(&limits->memory, strtoull(text, NULL, 10));
}

static void look_v1_cpu(const char *folder, struct limits *limits)
{
    char quota_text[64], period_text[64];
    if (!read_file_of(folder, "cpu.cfs_quota_us", quota_text, sizeof quota_text) ||
        !read_file_of(folder, "cpu.cfs_period_us", period_text, sizeof period_text))
        return;
    long long quota = strtoll(quota_text, NULL, 10), period = strtoll(period_text, NULL, 10);
    if (quota > 0 && period > 0)
        lower(&limits->cpus, ((uint64_t)quota + (uint64_t)period - 1) / (uint64_t)period);
}

static void look_v1_memory(const char *folder, struct limits *limits)
{
    char text[64];
    if (!read_file_of(folder, "memory.limit_in_bytes", text, sizeof text)) return;
    uint64_t value = strtoull(text, NULL, 10);
    if (value < UNLIMITED_V1) lower(&limits->memory, value);
}

/* From mount + path up to mount. */
static void climb(const char *mount, const char *path, void (*look)(const char *, struct limits *),
                  struct limits *limits)
{
    char folder[PATH_MAX];
    if (strstr(path, "/..")) path = "/"; /* a cgroup above our namespace's root: not visible */
    int len = snprintf(folder, sizeof folder, "%s%s", mount, path);
    if (len < 0 || (size_t)len >= sizeof folder) return;
    size_t root = strlen(mount);
    for (;;) {
        look(folder, limits);
        char *slash = strrchr(folder + root, '/');
        if (!slash) return;
        *slash = '\0';
    }
}

static bool names(const char *controllers, const char *wanted)
{
    size_t len = strlen(wanted);
    for (const char *at = controllers; (at = strstr(at, wanted)); at += len) {
        bool starts = at == controllers || at[-1] == ',';
        if (starts && (at[len] == ',' || at[len] == '\0')) return true;
    }
    return false;
}

/* One line of /proc/self/cgroup: "number:controllers:path". */
static void look_at_line(const char *root, char *line, struct limits *limits)
{
    char mount[PATH_MAX];
    char *controllers = strchr(line, ':');
    if (!controllers) return;
    char *path = strchr(++controllers, ':');
    if (!path || path[1] != '/') return;
    *path++ = '\0';
    if (controllers[0] == '\0') {
        climb(root, path, look_v2, limits);
        snprintf(mount, sizeof mount, "%s/unified", root);
        climb(mount, path, look_v2, limits);
    }
    if (names(controllers, "cpu")) {
        snprintf(mount, sizeof mount, "%s/cpu", root);
        climb(mount, path, look_v1_cpu, limits);
        snprintf(mount, sizeof mount, "%s/%s", root, controllers);
        climb(mount, path, look_v1_cpu, limits);
    }
    if (names(controllers, "memory")) {
        snprintf(mount, sizeof mount, "%s/memory", root);
        climb(mount, path, look_v1_memory, limits);
    }
}

static struct limits limits_find(const char *cgroup_root, const char *proc_cgroup)
{
    struct limits limits = {0};
    char text[8192], *rest = text, *line;
    const char *root = *cgroup_root ? cgroup_root : "/sys/fs/cgroup";
    if (!read_small(*proc_cgroup ? proc_cgroup : "/proc/self/cgroup", text, sizeof text))
        return limits;
    while ((line = strsep(&rest, "\n"))) look_at_line(root, line, &limits);
    return limits;
}

/* The kernel refuses a mask that is too short for the CPUs it could have: grow it until it fits. */
static void affinity_find(struct os_cpus *out)
{
    for (size_t cap = 1024; cap <= 65536; cap *= 4) {
        cpu_set_t *set = CPU_ALLOC(cap);
        if (!set) break;
        size_t len = CPU_ALLOC_SIZE(cap);
        CPU_ZERO_S(len, set);
        bool ok = sched_getaffinity(0, len, set) == 0;
        for (size_t cpu = 0; ok && cpu < cap && out->usable < ARRAY_COUNT(out->cpus); cpu++) {
            if (CPU_ISSET_S(cpu, len, set)) out->cpus[out->usable++] = (uint16_t)cpu;
        }
        CPU_FREE(set);
        if (ok) break;
    }
    if (out->usable == 0) out->cpus[out->usable++] = 0;
}

void os_cpus_find(struct os_cpus *out, const char *cgroup_root, const char *proc_cgroup)
{
    *out = (struct os_cpus){0};
    affinity_find(out);
    struct limits limits = limits_find(cgroup_root, proc_cgroup);
    out->count = out->usable;
    if (limits.cpus > 0 && limits.cpus < out->count) out->count = (unsigned)limits.cpus;
}

uint64_t os_cgroup_memory_max(const char *cgroup_root, const char *proc_cgroup)
{
    return limits_find(cgroup_root, proc_cgroup).memory;
}
