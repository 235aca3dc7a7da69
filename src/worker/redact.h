/* Secrets among the arguments of commands: what the command log and MONITOR must not show.
 * Thread: any. */
#ifndef SPLITRING_SRC_WORKER_REDACT_H
#define SPLITRING_SRC_WORKER_REDACT_H

#include "splitring/cmd/command.h"

/* May some argument be a secret? If not, none has to be asked for. */
bool redact_may(const struct command *cmd);
/* Argument i is shown as this. */
struct slice redact_arg(const struct command *cmd, const struct slice *argv, int argc, int i);

#endif
