/* COMMAND and its subcommands: the table as clients ask for it. They need no shard and no worker.
 * Only COMMAND LIST and names like "config|get" show subcommands by themselves; the others count
 * and list top-level commands, which carry their subcommands inside.
 * Thread: any. */
#include "command_docs.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/call.h"

/* A command that has a name here: rename-command may have taken it away. */
static bool is_there(const struct call *c, const struct command *cmd)
{
    return command_has_name(c->env->names, cmd);
}

static bool is_top(const struct call *c, const struct command *cmd)
{
    return cmd->parent == NULL && is_there(c, cmd);
}

static size_t top_level_count(const struct call *c)
{
    size_t count = 0;
    for (size_t id = 0; id < command_count(); id++) count += is_top(c, command_at(id));
    return count;
}

void cmd_command(struct call *c)
{
    reply_array(&c->reply, top_level_count(c));
    for (size_t id = 0; id < command_count(); id++) {
        if (is_top(c, command_at(id))) command_reply_info(&c->reply, command_at(id));
    }
}

void cmd_command_count(struct call *c) { reply_int(&c->reply, (int64_t)top_level_count(c)); }

void cmd_command_info(struct call *c)
{
    if (c->argc == 2) {
        cmd_command(c);
        return;
    }
    reply_array(&c->reply, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        const struct command *cmd = command_by_given_name(c->env->names, c->argv[i]);
        if (cmd) {
            command_reply_info(&c->reply, cmd);
        } else {
            reply_null(&c->reply);
        }
    }
}

void cmd_command_docs(struct call *c)
{
    if (c->argc == 2) {
        reply_map(&c->reply, top_level_count(c));
        for (size_t id = 0; id < command_count(); id++) {
            if (is_top(c, command_at(id))) command_reply_docs(&c->reply, command_at(id));
        }
        return;
    }
    size_t found = 0;
    for (int i = 2; i < c->argc; i++)
        found += command_by_given_name(c->env->names, c->argv[i]) != NULL;
    reply_map(&c->reply, found);
    for (int i = 2; i < c->argc; i++) {
        const struct command *cmd = command_by_given_name(c->env->names, c->argv[i]);
        if (cmd) command_reply_docs(&c->reply, cmd);
    }
}

/* ---- COMMAND LIST ---- */

enum filter { FILTER_NONE, FILTER_MODULE, FILTER_CATEGORY, FILTER_PATTERN };

static bool in_category(const struct command *cmd, struct slice category)
{
    for (int bit = 0; bit < ACL_CATEGORY_COUNT; bit++) {
        if ((cmd->acl >> bit & 1) && slice_is_word(category, acl_category_name(bit))) return true;
    }
    return false;
}

void cmd_command_list(struct call *c)
{
    enum filter filter = FILTER_NONE;
    if (c->argc == 5 && call_is(c, 2, "filterby")) {
        if (call_is(c, 3, "module")) filter = FILTER_MODULE;
        if (call_is(c, 3, "aclcat")) filter = FILTER_CATEGORY;
        if (call_is(c, 3, "pattern")) filter = FILTER_PATTERN;
    }
    if (filter == FILTER_NONE && c->argc != 2) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    size_t mark = reply_deferred_begin(&c->reply), count = 0;
    for (size_t id = 0; id < command_count(); id++) {
        const struct command *cmd = command_at(id);
        if (filter == FILTER_MODULE) break; /* there are no modules */
        if (!is_there(c, cmd)) continue;
        if (filter == FILTER_CATEGORY && !in_category(cmd, c->argv[4])) continue;
        if (filter == FILTER_PATTERN && !slice_glob(c->argv[4], slice_str(cmd->name), true))
            continue;
        reply_bulk_str(&c->reply, cmd->name);
        count++;
    }
    reply_deferred_array(&c->reply, mark, count);
}

/* ---- COMMAND GETKEYS ---- */

static void reply_keys(struct call *c, bool with_flags)
{
    const struct slice *argv = c->argv + 2;
    int argc = c->argc - 2;
    bool sub_missing;
    const struct command *cmd =
        c->env->names ? command_find_named_slow(c->env->names, argv, argc, &sub_missing)
                      : command_find(argv, argc, &sub_missing);
    if (!cmd) {
        reply_error(&c->reply, ERR_COMMAND_INVALID);
        return;
    }
    if (cmd->key_spec_count == 0 && !cmd->keys) {
        reply_error(&c->reply, ERR_COMMAND_NO_KEYS);
        return;
    }
    if (!command_arity_ok(cmd, argc)) {
        reply_error(&c->reply, ERR_COMMAND_ARITY);
        return;
    }
    struct key_ref *refs = mem_try_alloc((size_t)argc * sizeof(*refs));
    if (!refs) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    int count = command_keys(cmd, argv, argc, refs);
    if (count < 0 || (count == 0 && !(cmd->flags & CMD_NO_MANDATORY_KEYS))) {
        reply_error(&c->reply, ERR_COMMAND_ARGUMENTS);
    } else {
        reply_array(&c->reply, (size_t)count);
        for (int i = 0; i < count; i++) {
            if (with_flags) reply_array(&c->reply, 2);
            reply_bulk_slice(&c->reply, argv[refs[i].pos]);
            if (with_flags) command_reply_key_flags(&c->reply, refs[i].flags);
        }
    }
    mem_free(refs);
}

void cmd_command_getkeys(struct call *c) { reply_keys(c, false); }

void cmd_command_getkeysandflags(struct call *c) { reply_keys(c, true); }

void cmd_command_help(struct call *c)
{
    static const char *const lines[] = {
        "(no subcommand)",
        "    Describe all commands.",
        "COUNT",
        "    Count the commands of this server.",
        "LIST [FILTERBY MODULE <name>|ACLCAT <category>|PATTERN <pattern>]",
        "    List the names of commands.",
        "INFO [<command-name> ...]",
        "    Describe the named commands, or all.",
        "DOCS [<command-name> ...]",
        "    Document the named commands, or all.",
        "GETKEYS <full-command>",
        "    Find the keys in a full command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Find the keys in a full command and what it does with them.",
        NULL,
    };
    call_help(c, lines);
}
