/* What a script has changed, so that it can be taken back.
 * Thread: holder of the shards. */
#ifndef SPLITRING_SRC_WORKER_SCRIPT_UNDO_H
#define SPLITRING_SRC_WORKER_SCRIPT_UNDO_H

#include "internal.h"

struct exec;

struct script_undo {
    struct buf images; /* records: struct undo_record, key, image */
    unsigned count;
};

void script_undo_deinit(struct script_undo *u);
/* Before a command writes: the values of its keys as they are. False: they are too large to be
 * copied, or too many; nothing may be written. */
bool script_undo_note(struct script_undo *u, struct worker *w, const struct exec *x);
/* All keys as they were. */
void script_undo(struct script_undo *u, struct worker *w, instant_ms now);

#endif
