/* The server's log: one line per event, in Redis' form ("pid:role date * text") or as pairs, to
 * standard output or logfile, and to syslog. A line is one write(2), so threads do not mix.
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

/* Valkey's log-format and log-timestamp-format. */
enum log_format { LOG_FORMAT_LEGACY, LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };
enum log_time { LOG_TIME_LEGACY, LOG_TIME_ISO8601, LOG_TIME_MILLISECONDS };
#define LOG_FACILITY_USER 8 /* syslog-facility; 0 to 7: local0 to local7 */

/* path "": standard output; else it is relative to the working directory of now, and opened for
 * each line, so a file that was moved away is made anew. Negative errno if it cannot be opened for
 * appending. */
int log_open(const char *path, enum log_level level) WARN_UNUSED;
/* From now on every line goes there, too. */
void log_open_syslog(const char *ident, int facility);
void log_set_level(enum log_level level);
void log_set_format(enum log_format format, enum log_time time);
/* Would such a line be written? For callers that must work for its text. */
bool log_wants(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
