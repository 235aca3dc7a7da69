/* What a command changed, as commands that replay it (DESIGN section 5): a growing list, each in
 * RESP form, ready for the append log, replicas and MONITOR-like readers.
 * A list that ran out of memory says so (effects_failed): the command's writes are then not fully
 * described, and the owner must not acknowledge them.
 * Thread: owner. */
#ifndef SPLITRING_CMD_EFFECTS_H
#define SPLITRING_CMD_EFFECTS_H

#include "splitring/base/buf.h"

struct effects {
    struct buf bytes; /* all commands, one after the other */
    size_t *ends;     /* where each one ends */
    size_t count;
    size_t cap;
    bool failed;
};

void effects_init(struct effects *e);
void effects_deinit(struct effects *e);
void effects_clear(struct effects *e); /* empty again; keeps moderate room */
void effects_add(struct effects *e, size_t argc, const struct slice *argv);
static inline size_t effects_count(const struct effects *e) { return e->count; }
static inline bool effects_failed(const struct effects *e) { return e->failed || e->bytes.failed; }
/* The i-th command, valid until the next add. */
static inline struct slice effects_at(const struct effects *e, size_t i)
{
    size_t begin = i ? e->ends[i - 1] : 0;
    return slice_of(e->bytes.ptr + begin, e->ends[i] - begin);
}

#endif
