/* What a service manager (systemd, upstart) is told of the server's state.
 * Source: sd_notify(3)
 * Thread: notify_begin before threads start; notify_tell: any. */
#ifndef SPLITRING_IO_NOTIFY_H
#define SPLITRING_IO_NOTIFY_H

#include <stdbool.h>

enum notify_manager { NOTIFY_NOBODY, NOTIFY_SYSTEMD, NOTIFY_UPSTART };

/* Looks for the managers that are asked for. Under upstart this process stops itself, which is what
 * upstart waits for. *error: a negative errno if systemd's socket cannot be reached, else 0. */
enum notify_manager notify_begin(bool systemd, bool upstart, int *error);
const char *notify_manager_name(void); /* "systemd", "upstart", "no" */
/* Lines of sd_notify: "READY=1\nSTATUS=…". Nothing happens without systemd; never blocks. */
void notify_tell(const char *lines);

#endif
