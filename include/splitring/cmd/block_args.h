/* A blocking command cut down to one of its keys: what is run for a waiter whose key is ready.
 * Thread: any (pure). */
#ifndef SPLITRING_CMD_BLOCK_ARGS_H
#define SPLITRING_CMD_BLOCK_ARGS_H

#include "splitring/cmd/command.h"

#define BLOCK_ARGS_LOCAL 12

struct block_args {
    const struct slice *argv;
    int argc;
    struct slice local[BLOCK_ARGS_LOCAL];
    struct slice *more; /* where local is too small */
};

/* Where the word STREAMS of XREAD or XREADGROUP stands, with options read as they read them (a
 * group may be called "streams"); argc: nowhere, or behind what is no option of theirs. *block:
 * BLOCK is among the options. */
int block_streams_at(const struct slice *argv, int argc, bool *block);

/* pos: the key's place in argv. The slices point into argv's texts. */
void block_args_init(struct block_args *args, const struct command *cmd, const struct slice *argv,
                     int argc, int pos);
void block_args_deinit(struct block_args *args);

#endif
