/* What a command changed, as commands that replay it (DESIGN section 5): a growing list, each in
 * RESP form, ready for the append log, replicas and MONITOR-like readers.
 * A list that ran out of memory says so (effects_failed): the command's writes are then not fully
 * described, and the owner must not acknowledge them.
 * Thread: owner. */
#ifndef SPLITRING_CMD_EFFECTS_H
#define SPLITRING_CMD_EFFECTS_H

#include "splitring/base/buf.h"

/* Where a command ends, and what it is part of. */
struct effect_end {
    size_t end;
    db_id db;
    bool opens, closes; /* the first, the last one of several that happen as one */
    bool stays;         /* it has happened by itself: nothing takes it back */
};

struct effects {
    struct buf bytes; /* all commands, one after the other */
    struct effect_end *ends;
    size_t count;
    size_t cap;
    db_id db;         /* of those added next */
    bool failed;
};

void effects_init(struct effects *e);
void effects_deinit(struct effects *e);
void effects_clear(struct effects *e); /* empty again; keeps moderate room */
void effects_add(struct effects *e, size_t argc, const struct slice *argv);
/* Back to where there were so many. */
void effects_cut(struct effects *e, size_t count);
void effects_copy(const struct effects *e, size_t i, struct effects *to); /* behind those of `to` */
/* Moves those from the given one on behind what `to` has. */
void effects_move(struct effects *e, size_t from, struct effects *to);
static inline size_t effects_count(const struct effects *e) { return e->count; }
static inline bool effects_failed(const struct effects *e) { return e->failed || e->bytes.failed; }
/* The i-th command, valid until the next add. */
static inline struct slice effects_at(const struct effects *e, size_t i)
{
    size_t begin = i ? e->ends[i - 1].end : 0;
    return slice_of(e->bytes.ptr + begin, e->ends[i].end - begin);
}

#endif
