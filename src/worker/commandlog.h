/* The command logs of a worker: what was slow, what came or went in large pieces (SLOWLOG,
 * COMMANDLOG). Each is a list of so many of the newest entries.
 * Thread: the worker. */
#ifndef SPLITRING_SRC_WORKER_COMMANDLOG_H
#define SPLITRING_SRC_WORKER_COMMANDLOG_H

#include "meter.h"

enum log_kind { LOG_SLOW, LOG_LARGE_REQUEST, LOG_LARGE_REPLY, LOG_KINDS };

struct log_entry {
    struct list link;
    uint64_t id;
    int64_t time_s;
    uint64_t value; /* µs, or bytes */
    uint64_t queued_us, waited_us; /* LOG_SLOW: before it ran */
    worker_id ran_at;
    size_t len;     /* of wire: arguments, address and name, as SLOWLOG GET shows them */
    size_t arguments_len; /* of the first of these */
    char wire[];
};

struct commandlog *commandlog_new(void);
void commandlog_free(struct commandlog *log);

/* What is needed to log a command when its arguments are gone. NULL: no memory. */
struct log_draft *commandlog_draft(const struct worker *w, const struct exec *x);
const struct command *commandlog_draft_command(const struct log_draft *d);
void commandlog_draft_free(struct log_draft *d);

/* Judges a command that has ended by all three limits. Arguments are x's, or, if it has kept them,
 * draft's. */
void commandlog_note(struct worker *w, const struct exec *x, const struct log_draft *draft,
                     uint64_t ns, const struct meter_stages *stages, size_t reply_len);

int64_t commandlog_len_max(const struct config *config, enum log_kind kind);
/* Oldest first. */
const struct list *commandlog_entries(const struct commandlog *log, enum log_kind kind);
size_t commandlog_count(const struct commandlog *log, enum log_kind kind);
void commandlog_clear(struct commandlog *log, enum log_kind kind);

/* The bytes of a command as it came. */
size_t commandlog_request_len(const struct slice *argv, int argc);

#endif
