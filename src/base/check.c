/* The end of the process when a claim does not hold.
 *
 * Written with write(2) straight to descriptor 2: the heap, stdio and the log may all be the thing
 * that is broken. abort() leaves a core file, which is worth more than any message.
 * Thread: any. */
#include "splitring/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void check_failed(const char *file, int line, const char *text)
{
    char message[512];
    int len = snprintf(message, sizeof(message), "%s:%d: check failed: %s\n", file, line, text);
    size_t count = len < 0 ? 0 : (size_t)len;
    if (count >= sizeof(message)) count = sizeof(message) - 1;
    /* Nothing is left to do if this fails too. */
    ssize_t ignored = write(STDERR_FILENO, message, count);
    (void)ignored;
    abort();
}
