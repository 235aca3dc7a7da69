/* INFO. Everything is read from counters that their owners publish: no worker is asked.
 * Source: https://redis.io/docs/latest/commands/info/
 * Thread: owner. */
#include "conn.h"
#include "local.h"
#include "splitring/cmd/handlers.h"

void cmd_info(struct call *c)
{
    struct buf text = {0};
    const struct hub *hub = c->conn->worker->hub;
    buf_printf(&text, "# Server\r\nredis_version:" REDIS_VERSION_SHOWN "\r\n"
                      "splitring_version:" SPLITRING_VERSION "\r\nworkers:%u\r\n", hub->count);
    reply_verbatim(&c->reply, "txt", buf_slice(&text));
    buf_deinit(&text);
}
