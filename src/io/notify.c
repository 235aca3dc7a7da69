/* What a service manager is told: systemd by datagrams to the socket that it names, upstart by a
 * stop that it takes for readiness.
 *
 * The protocol is one line a datagram, so libsystemd is not needed for it. A manager that is not
 * there, or does not listen, never hurts the server: what cannot be sent is dropped.
 * Source: sd_notify(3), https://upstart.ubuntu.com/cookbook/#expect
 * Thread: notify_begin before threads start; notify_tell: any. */
#include "splitring/io/notify.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int manager = -1; /* a connected socket; < 0: nobody is told */
static enum notify_manager found = NOTIFY_NOBODY;

/* The path of NOTIFY_SOCKET; "@name" is one without a file. 0 or a negative errno. */
static int open_socket(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || len >= sizeof to.sun_path) return -EINVAL;
    memcpy(to.sun_path, path, len);
    if (path[0] == '@') to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (connect(fd, (struct sockaddr *)&to, size) != 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    manager = fd;
    return 0;
}

enum notify_manager notify_begin(bool systemd, bool upstart, int *error)
{
    const char *path = getenv("NOTIFY_SOCKET"), *job = getenv("UPSTART_JOB");
    *error = 0;
    if (upstart && job) {
        unsetenv("UPSTART_JOB");
        raise(SIGSTOP);
        found = NOTIFY_UPSTART;
    } else if (systemd && path) {
        *error = open_socket(path);
        if (*error == 0) found = NOTIFY_SYSTEMD;
    }
    return found;
}

const char *notify_manager_name(void)
{
    static const char *const names[] = {"no", "systemd", "upstart"};
    return names[found];
}

void notify_tell(const char *lines)
{
    if (manager >= 0) (void)send(manager, lines, strlen(lines), MSG_NOSIGNAL);
}
