/* The admin port's routes. Its server is io's (http.c), its figures the worker layer's (observe.h);
 * the page is page.html, put into the program when it is built.
 *
 * /livez says that this process runs, and nothing of its state: who restarts a server because it
 * loads, or because a script takes long, makes it worse. /readyz is about that.
 * Thread: the admin thread, but for start and stop (main). */
#include "splitring/admin/admin.h"

#include <errno.h>

#include "page.h"
#include "splitring/base/mem.h"
#include "splitring/config/config.h"
#include "splitring/io/http.h"
#include "splitring/io/log.h"
#include "splitring/io/net.h"
#include "splitring/io/os.h"
#include "splitring/worker/observe.h"

#define ADDRESSES_MAX 16u
#define BACKLOG 64

struct admin {
    struct hub *hub;
    struct observer *observer;
    struct http_server *server;
    struct os_thread *thread;
    int fds[ADDRESSES_MAX];
    unsigned count;
};

static void answer(void *ctx, struct slice path, struct http_answer *a)
{
    struct admin *admin = ctx;
    const char *why;
    if (slice_equal(path, SLICE("/metrics"))) {
        a->type = "text/plain; version=0.0.4; charset=utf-8";
        observe_metrics(admin->observer, &a->body);
    } else if (slice_equal(path, SLICE("/livez"))) {
        buf_append_slice(&a->body, SLICE("ok\n"));
    } else if (slice_equal(path, SLICE("/readyz"))) {
        bool ready = observe_ready(admin->hub, &why);
        if (!ready) a->status = 503;
        buf_printf(&a->body, "%s\n", ready ? "ok" : why);
    } else if (slice_equal(path, SLICE("/stats.json"))) {
        a->type = "application/json";
        observe_json(admin->observer, &a->body);
    } else if (slice_equal(path, SLICE("/"))) {
        a->type = "text/html; charset=utf-8";
        buf_append(&a->body, page_html, page_html_len);
    } else {
        a->status = 404;
    }
}

static void run(void *ctx)
{
    struct admin *admin = ctx;
    http_run(admin->server);
}

static void free_all(struct admin *admin)
{
    if (admin->server) http_free(admin->server);
    if (admin->observer) observer_free(admin->observer);
    while (admin->count) net_close(admin->fds[--admin->count]);
    mem_free(admin);
}

static int listen_all(struct admin *admin, const struct config *c)
{
    for (size_t i = 0; i < c->admin_bind.count && admin->count < ADDRESSES_MAX; i++) {
        const char *host = c->admin_bind.words[i];
        bool optional = host[0] == '-';
        int fd = net_listen_tcp(host + optional, (uint16_t)c->admin_port, BACKLOG);
        if (fd >= 0) {
            admin->fds[admin->count++] = fd;
        } else if (!(optional && (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT))) {
            log_line(LOG_LEVEL_WARNING, "Could not create the admin port's socket %s:%d: %s", host,
                     c->admin_port, os_error_text(fd));
            return fd;
        }
    }
    return 0;
}

int admin_start(struct admin **out, struct hub *hub, const struct config *config)
{
    *out = NULL;
    if (!config->admin_port) return 0;
    struct admin *admin = mem_zalloc(sizeof *admin);
    admin->hub = hub;
    int rc = listen_all(admin, config);
    if (rc == 0) rc = http_new(&admin->server, admin->fds, admin->count, answer, admin);
    if (rc == 0) {
        admin->observer = observer_new(hub);
        rc = os_thread_start(&admin->thread, "admin", -1, NULL, run, admin);
    }
    if (rc != 0) {
        log_line(LOG_LEVEL_WARNING, "Could not start the admin port: %s", os_error_text(rc));
        free_all(admin);
        return rc;
    }
    log_line(LOG_LEVEL_NOTICE, "Admin port: http://%s:%d/", config->admin_bind.words[0],
             config->admin_port);
    *out = admin;
    return 0;
}

void admin_stop(struct admin *admin)
{
    if (!admin) return;
    http_stop_shared(admin->server);
    os_thread_join(admin->thread);
    free_all(admin);
}
