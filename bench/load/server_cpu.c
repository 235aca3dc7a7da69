/* CPU time of the server under load.
 *
 * /proc/PID/stat splits user from system and moves in ticks: right for seconds of load.
 * /proc/PID/task/TID/schedstat counts nanoseconds on a CPU and is brought up to date whenever the
 * thread goes to sleep, and else only with the timer's tick (4 ms): right for a single batch, if
 * only one is under way and it is read when the server sleeps. Unlike a latency it knows nothing of
 * other programs on the same CPU, so on a busy machine it still tells a server that worked for a
 * millisecond from one that was not let in. (It does count interrupts that fall on the server.) */
#include "server_cpu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cpu_time server_cpu_get(pid_t pid)
{
    char path[64];
    char text[1024];
    struct cpu_time time = {0, 0};

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return time;
    }
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *after_name = strrchr(text, ')'); /* the name may hold blanks and brackets */
    unsigned long user;
    unsigned long system;
    if (after_name != NULL &&
        sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &system) == 2) {
        double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
        time.user_s = (double)user * tick_s;
        time.system_s = (double)system * tick_s;
    }
    return time;
}

int server_clock_init(struct server_clock *clock, pid_t pid)
{
    char path[320];

    clock->count = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return -errno;
    }
    int result = -ENOENT;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
        int fd = clock->count < SERVER_CLOCK_THREADS_MAX ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0) {
            result = clock->count < SERVER_CLOCK_THREADS_MAX ? -errno : -E2BIG;
            break;
        }
        clock->fds[clock->count++] = fd;
        result = 0;
    }
    closedir(folder);
    if (result != 0) {
        server_clock_deinit(clock);
    }
    return result;
}

void server_clock_deinit(struct server_clock *clock)
{
    for (unsigned i = 0; i < clock->count; i++) {
        close(clock->fds[i]);
    }
    clock->count = 0;
}

uint64_t server_clock_ns(const struct server_clock *clock)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < clock->count; i++) {
        char text[64];
        ssize_t len = pread(clock->fds[i], text, sizeof text - 1, 0);
        if (len > 0) {
            text[len] = '\0';
            sum += strtoull(text, NULL, 10);
        }
    }
    return sum;
}
