/* Commands about the server: TIME, ROLE, LOLWUT, MEMORY DOCTOR.
 * Source: https://redis.io/docs/latest/commands/?group=server
 * Thread: owner. */
#include "conn.h"
#include "local.h"
#include "splitring/base/num.h"
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

void cmd_memory_doctor(struct call *c)
{
    const struct hub *hub = c->conn->worker->hub;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < hub->count; i++) bytes += counter_get(&hub->shard_published[i].bytes);
    uint64_t rss = os_rss_bytes();
    struct buf text = {0};
    if (bytes < (5u << 20))
        buf_printf(&text, "Hi Sam, this instance is empty or is using very little memory, my issue "
                          "detector can't be used in these conditions. Please, leave for your "
                          "mission on Earth and fill it with some data. The new Sam and I will be "
                          "back to our programming as soon as I finished rebooting.\n");
    else if (rss > bytes * 14 / 10)
        buf_printf(&text,
                   "Sam, I detected a few issues in this Splitring instance memory implants:\n\n"
                   " * High total RSS: This instance has a memory fragmentation and RSS "
                   "overhead greater than 1.4 (%.2f).\n",
                   (double)rss / (double)bytes);
    else
        buf_printf(&text,
                   "Hi Sam, I can't find any memory issue in your instance. I can only account "
                   "for what occurs on this base.\n");
    reply_verbatim(&c->reply, "txt", buf_slice(&text));
    buf_deinit(&text);
}

void cmd_memory_help(struct call *c)
{
    static const char *const lines[] = {
        "DOCTOR", "    Return memory problems reports.",
        "USAGE <key> [SAMPLES <count>]", "    Return memory in bytes used by <key> and its value.",
        NULL};
    call_help(c, lines);
}
