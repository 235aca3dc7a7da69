/* The server's log: one line per event, in Redis' form ("pid:role date * text"), to standard output
 * or logfile. A line is one write(2), so threads do not mix.
 * Thread: any after log_open. */
#ifndef SPLITRING_IO_LOG_H
#define SPLITRING_IO_LOG_H

#include "splitring/base/types.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_VERBOSE,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTHING
};

/* path "": standard output. Negative errno if the file cannot be opened for appending. */
int log_open(const char *path, enum log_level level) WARN_UNUSED;
void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
