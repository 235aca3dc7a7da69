/* Which commands move an element, and by what functions: see the face. A table by handler, so that
 * the command table's rows need no column that five of them use.
 * Thread: any (constant). */
#include "splitring/cmd/move.h"

#include "list_impl.h"
#include "set_impl.h"

static const struct {
    void (*handler)(struct call *c);
    const struct move_ops *ops;
} rows[] = {
    {cmd_lmove, &list_move_ops},      {cmd_blmove, &list_move_ops}, {cmd_rpoplpush, &list_move_ops},
    {cmd_brpoplpush, &list_move_ops}, {cmd_smove, &set_move_ops},
};

const struct move_ops *move_ops_of(const struct command *cmd)
{
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (rows[i].handler == cmd->handler) return rows[i].ops;
    }
    return NULL;
}
