/* Assertions. check() stays in release builds: cross-thread protocol, persistence and bounds of
 * outside data. dcheck() is for debug, simulator and fuzz builds only.
 * Thread: any. */
#ifndef SPLITRING_BASE_CHECK_H
#define SPLITRING_BASE_CHECK_H

#include "splitring/base/types.h"

/* Prints "file:line: check failed: text" to stderr and aborts. */
_Noreturn void check_failed(const char *file, int line, const char *text);

#define check(cond) \
    do { \
        if (unlikely(!(cond))) check_failed(__FILE__, __LINE__, #cond); \
    } while (0)

#ifdef SPLITRING_DEBUG
#define dcheck(cond) check(cond)
#else
#define dcheck(cond) \
    do { \
        (void)sizeof(cond); \
    } while (0)
#endif

#endif
