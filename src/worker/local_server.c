/* Commands about the server: TIME, ROLE, LOLWUT.
 * Source: https://redis.io/docs/latest/commands/?group=server
 * Thread: owner. */
#include "conn.h"
#include "local.h"
#include "splitring/cmd/handlers.h"
#include "splitring/io/os.h"

void cmd_time(struct call *c)
{
    instant_us now = os_unix_us();
    reply_array(&c->reply, 2);
    reply_bulk_int(&c->reply, now / 1000000);
    reply_bulk_int(&c->reply, now % 1000000);
}

void cmd_role(struct call *c)
{
    reply_array(&c->reply, 3);
    reply_bulk_str(&c->reply, "master");
    reply_int(&c->reply, 0);
    reply_array(&c->reply, 0);
}

void cmd_lolwut(struct call *c)
{
    static const char ring[] =
        "         .-~~~~-.    .-~~~~-.\n"
        "       .'  .--.  `  '  .--.  `.\n"
        "      /   /    \\        /    \\   \\\n"
        "     |   |  0   |      |   1  |   |\n"
        "      \\   \\    /        \\    /   /\n"
        "       `.  `--'  .  .  `--'  .'\n"
        "         `-.__.-'    `-.__.-'\n"
        "\nA ring that is split still holds every key.\n"
        "Redis ver. " REDIS_VERSION_SHOWN "\n";
    reply_verbatim(&c->reply, "txt", SLICE(ring));
}
