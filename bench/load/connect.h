/* Opening a connection, and asking the server which worker has it.
 *
 * Thread: any. Blocking: used before the load begins. */
#ifndef BENCH_LOAD_CONNECT_H
#define BENCH_LOAD_CONNECT_H

#include "options.h"

/* A connected blocking socket with TCP_NODELAY, or a negative errno. */
int connect_open(const struct options *options) __attribute__((warn_unused_result));

/* The field worker= in the reply to CLIENT INFO, or -1 if there is none within two seconds. */
int connect_worker_get(int fd);

#endif
