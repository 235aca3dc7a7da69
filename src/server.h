/* Sockets and workers, from start to stop.
 * Thread: main. */
#ifndef SPLITRING_SRC_SERVER_H
#define SPLITRING_SRC_SERVER_H

#include "splitring/config/config.h"

/* Without the directive maxmemory: in a cgroup with a limit below the machine's memory a share of
 * it, said in the log. Else the server would be killed where Redis' default says "no limit".
 * maxmemory-clients as well, unless it was given. */
void server_limit_memory(struct config *config, bool clients_given);
/* Listens, starts the workers, returns when they have stopped: the process's exit status. */
int server_run(const struct config *config);

#endif
