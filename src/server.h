/* Sockets and workers, from start to stop.
 * Thread: main. */
#ifndef SPLITRING_SRC_SERVER_H
#define SPLITRING_SRC_SERVER_H

#include "splitring/config/config.h"

/* Listens, starts the workers, returns when they have stopped: the process's exit status. */
int server_run(const struct config *config);

#endif
