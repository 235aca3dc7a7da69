/* The CPU's time stamp counter as a clock.
 *
 * Reading it costs some ten nanoseconds, less than half of what clock_gettime() costs through the
 * vDSO, so that every command can be timed. It is used only where the kernel itself keeps time by
 * it: then it runs at one speed, in all states of the CPU, and alike on all CPUs (the kernel has
 * checked that, and goes on checking). The speed is measured against CLOCK_MONOTONIC at the start.
 * Thread: any. */
#include <stdio.h>
#include <string.h>

#include "splitring/io/os.h"

#define MEASURE_NS 4000000
#define TRIES 5

#if defined(__x86_64__)

static bool kernel_uses_it(void)
{
    char name[32] = "";
    FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "r");
    if (!f) return false;
    bool read = fgets(name, sizeof name, f) != NULL;
    fclose(f);
    return read && strcmp(name, "tsc\n") == 0;
}

/* The counter and the clock at one moment: of several tries the one that was disturbed least. */
static void both(uint64_t *ticks, int64_t *ns)
{
    int64_t best = INT64_MAX;
    for (unsigned i = 0; i < TRIES; i++) {
        int64_t before = os_mono_ns();
        uint64_t now = __builtin_ia32_rdtsc();
        int64_t after = os_mono_ns();
        if (after - before >= best) continue;
        best = after - before;
        *ticks = now;
        *ns = before + (after - before) / 2;
    }
}

uint64_t os_tick_scale(void)
{
    uint64_t from = 0, to = 0;
    int64_t from_ns = 0, to_ns = 0;
    if (!kernel_uses_it()) return 0;
    both(&from, &from_ns);
    do both(&to, &to_ns);
    while (to_ns - from_ns < MEASURE_NS);
    if (to <= from) return 0;
    double scale = (double)(to_ns - from_ns) / (double)(to - from);
    /* 100 MHz to 20 GHz: anything else is no such counter. */
    return scale > 0.05 && scale < 10 ? (uint64_t)(scale * 4294967296.0) : 0;
}

#else

uint64_t os_tick_scale(void) { return 0; }

#endif
