/* The two long replies of COMMAND, one command each (command_docs.c).
 * Thread: any. */
#ifndef SPLITRING_SRC_CMD_COMMAND_DOCS_H
#define SPLITRING_SRC_CMD_COMMAND_DOCS_H

#include "splitring/cmd/command.h"
#include "splitring/resp/reply.h"

void command_reply_info(struct reply *r, const struct command *cmd); /* COMMAND INFO, COMMAND */
/* COMMAND DOCS: the name and its map, two elements. */
void command_reply_docs(struct reply *r, const struct command *cmd);
void command_reply_key_flags(struct reply *r, uint32_t flags);

#endif
