/* The handler of every command: void cmd_NAME(struct call *call), generated from
 * src/cmd/(group).toml into the build folder.
 * Thread: see call.h. */
#ifndef SPLITRING_CMD_HANDLERS_H
#define SPLITRING_CMD_HANDLERS_H

#include "commands_table.h" /* generated */

#endif
