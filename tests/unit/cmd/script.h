/* Handler tests as tables: command lines with the reply and the effect each must have.
 * Thread: the test's. */
#ifndef SPLITRING_TESTS_UNIT_CMD_SCRIPT_H
#define SPLITRING_TESTS_UNIT_CMD_SCRIPT_H

#include "handler.h"

#define SAME "=" /* the effect is the command as sent */

struct step {
    const char *line;
    const char *reply;  /* RESP2 */
    const char *effect; /* commands, arguments with single blanks, joined by "; "; NULL: none */
};

/* Runs the steps in a world of one shard, in one of three shards, and there on copies of the keys.
 * `name` is shown with what fails. */
void script_run(const char *name, const struct step *steps, size_t count);
#define SCRIPT(...) \
    script_run(__func__, (struct step[]){__VA_ARGS__}, ARRAY_COUNT(((struct step[]){__VA_ARGS__})))

#endif
