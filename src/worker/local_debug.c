/* DEBUG: what test suites need.
 * Source: redis src/debug.c, HELP text.
 * Thread: owner. */
#include "conn.h"
#include "local.h"
#include "splitring/cmd/handlers.h"

void cmd_debug(struct call *c)
{
    reply_errorf(&c->reply, ERR_DEBUG_SUB, (int)c->argv[1].len, c->argv[1].ptr);
}
