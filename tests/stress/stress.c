/* Counting, printing, and the watchdog.
 * Thread: any. */
#include "stress.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

_Atomic unsigned stress_passed, stress_failed;
static const char *_Atomic doing = "";

static void on_alarm(int sig)
{
    const char *name = atomic_load(&doing);
    (void)sig;
    (void)!write(STDOUT_FILENO, name, strlen(name));
    (void)!write(STDOUT_FILENO, ": stuck\n0 passed, 1 failed\n", 27);
    abort(); /* a core, or gdb, tells where */
}

void stress_begin(const char *name, unsigned limit_s)
{
    atomic_store(&doing, name);
    signal(SIGALRM, on_alarm);
    alarm(limit_s);
    setvbuf(stdout, NULL, _IOLBF, 0);
}

int stress_end(void)
{
    alarm(0);
    unsigned failed = atomic_load(&stress_failed);
    printf("%u passed, %u failed\n", atomic_load(&stress_passed), failed);
    return failed != 0;
}

double stress_seconds(double usual)
{
    const char *text = getenv("STRESS_SECONDS");
    return text ? strtod(text, NULL) : usual;
}

int64_t stress_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void stress_expect(bool ok, const char *file, int line, const char *fmt, ...)
{
    if (ok) {
        atomic_fetch_add_explicit(&stress_passed, 1, memory_order_relaxed);
        return;
    }
    if (atomic_fetch_add(&stress_failed, 1) >= 20) return;
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    printf("%s:%d: %s\n", file, line, text);
}
