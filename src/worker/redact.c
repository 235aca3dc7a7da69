/* Which arguments are secrets: passwords and users given to AUTH, HELLO AUTH, MIGRATE AUTH and
 * AUTH2, users and rules of ACL SETUSER, GETUSER and DELUSER, and CONFIG SET's values of sensitive
 * directives.
 *
 * Redis' handlers mark such arguments while they run; here it is told from the arguments alone, so
 * a command that was refused half-way hides as much as one that went well.
 * Thread: any. */
#include "redact.h"

#include "splitring/cmd/handlers.h"
#include "splitring/config/config.h"

static bool is_about_user(const struct command *cmd)
{
    return cmd->handler == cmd_acl_setuser || cmd->handler == cmd_acl_deluser ||
           cmd->handler == cmd_acl_getuser;
}

bool redact_may(const struct command *cmd)
{
    return cmd->handler == cmd_auth || cmd->handler == cmd_hello || cmd->handler == cmd_migrate ||
           cmd->handler == cmd_config_set || is_about_user(cmd);
}

static bool follows(const struct slice *argv, int i, int from, const char *word)
{
    return i - 1 >= from && slice_is_word(argv[i - 1], word);
}

static bool is_secret(const struct command *cmd, const struct slice *argv, int argc, int i)
{
    if (i == 0) return false;
    if (cmd->handler == cmd_auth) return true;
    if (cmd->handler == cmd_hello)
        return follows(argv, i, 2, "auth") || follows(argv, i - 1, 2, "auth");
    if (cmd->handler == cmd_migrate)
        return follows(argv, i, 6, "auth") || follows(argv, i, 6, "auth2") ||
               follows(argv, i - 1, 6, "auth2");
    if (cmd->handler == cmd_config_set)
        return i >= 3 && i % 2 == 1 && i < argc && config_is_sensitive(argv[i - 1]);
    return is_about_user(cmd) && i >= 2;
}

struct slice redact_arg(const struct command *cmd, const struct slice *argv, int argc, int i)
{
    return is_secret(cmd, argv, argc, i) ? SLICE("(redacted)") : argv[i];
}
