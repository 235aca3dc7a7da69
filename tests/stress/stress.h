/* What the stress programs share: expectations that are counted, and a watchdog, since what they
 * look for (a lost wake-up, a deadlock) shows as a program that never ends.
 * Thread: any, but for stress_begin and stress_end (main). */
#ifndef SPLITRING_TESTS_STRESS_H
#define SPLITRING_TESTS_STRESS_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "splitring/base/types.h"

extern _Atomic unsigned stress_passed, stress_failed;

/* Ends the process with a message after so many seconds; name is what it was doing. */
void stress_begin(const char *name, unsigned limit_s);
/* Prints "N passed, N failed"; main's exit code. */
int stress_end(void);
/* Seconds a phase may last: STRESS_SECONDS, or what is given. */
double stress_seconds(double usual);
/* Microseconds since some instant. */
int64_t stress_now_us(void);

/* One counted expectation; a failure is printed with its place. The first twenty, then silence. */
#define EXPECT(cond, ...) stress_expect((cond), __FILE__, __LINE__, __VA_ARGS__)
void stress_expect(bool ok, const char *file, int line, const char *fmt, ...) PRINTF_LIKE(4, 5);

#endif
