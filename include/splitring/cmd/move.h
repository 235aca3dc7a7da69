/* Commands that move one element from one key to another (`split = "move"`: LMOVE, RPOPLPUSH and
 * their blocking forms, SMOVE), in halves: for keys in two shards that cannot be held at once.
 * Under locks on both keys the coordinator
 *     checks the arguments,
 *     looks at the source where it lives, and then at the target where that lives,
 *     if both are ready, runs the two commands of move_halves(), give first, each at its shard,
 *     and finishes: reply, `dirty` and effect, or the wish to wait.
 * Thread: holder of the call's shards. */
#ifndef SPLITRING_CMD_MOVE_H
#define SPLITRING_CMD_MOVE_H

#include "splitring/cmd/call.h"

enum move_state {
    MOVE_ABSENT,     /* no key (source: or no such member); a target may be absent and ready */
    MOVE_WRONG_TYPE,
    MOVE_READY
};

/* A command with its arguments; they point to constants, to c->argv and to the element. */
struct move_half {
    struct slice argv[3];
    int argc;
};

struct move_ops {
    /* Everything that does not depend on the keys. False: the error is written. */
    bool (*check)(struct call *c);
    /* At the source's shard: READY puts the element that would move into *element. */
    enum move_state (*look_source)(struct call *c, struct buf *element);
    /* At the target's shard: MOVE_WRONG_TYPE or MOVE_READY. Only asked if the source is ready. */
    enum move_state (*look_target)(struct call *c);
    void (*halves)(struct call *c, struct slice element, struct move_half *take,
                   struct move_half *give);
    /* After the move, or where there is none: `element` as it was moved. May call call_block(). */
    void (*finish)(struct call *c, enum move_state source, enum move_state target,
                   struct slice element);
};

/* NULL: not such a command. */
const struct move_ops *move_ops_of(const struct command *cmd);

#endif
