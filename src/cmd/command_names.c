/* rename-command: names that this server gives to commands, beside those of the table.
 *
 * The table is constant and its slots are the generator's, so renaming is an overlay: a short list
 * of names, looked at first, each with the command that it stands for here, or none. A name that
 * is not in the list means what it means in the table. Nobody who renames nothing has a list, and
 * pays one branch; who does pays a comparison of lengths for each of his names.
 *
 * Only clients and scripts speak these names. Rules of users (ACL), the append log, statistics and
 * COMMAND's answers are about commands and call them what the table does, as in Redis, so that
 * renaming changes no file and no user.
 * Thread: any (constant after start). */
#include "splitring/base/mem.h"
#include "splitring/cmd/command.h"

struct renamed {
    const char *name;          /* of the configuration's memory */
    const struct command *cmd; /* NULL: there is no such command here */
};
struct command_names {
    size_t count;
    struct renamed all[];
};

static const struct renamed *find(const struct command_names *names, struct slice name)
{
    for (size_t i = 0; i < names->count; i++)
        if (slice_is_word(name, names->all[i].name)) return &names->all[i];
    return NULL;
}

static const struct command *meaning(const struct command_names *names, struct slice name)
{
    const struct renamed *renamed = find(names, name);
    bool missing;
    return renamed ? renamed->cmd : command_find(&name, 1, &missing);
}

static void put(struct command_names *names, const char *name, const struct command *cmd)
{
    const struct renamed *old = find(names, slice_str(name));
    size_t at = old ? (size_t)(old - names->all) : names->count++;
    names->all[at] = (struct renamed){name, cmd};
}

const char *command_names_new(struct command_names **out, char *const *words, size_t count,
                              size_t *bad)
{
    *out = NULL;
    if (!count) return NULL;
    struct command_names *names = mem_alloc(sizeof *names + count * sizeof names->all[0]);
    names->count = 0;
    const char *why = NULL;
    for (*bad = 0; *bad < count; *bad += 2) {
        struct slice from = slice_str(words[*bad]), to = slice_str(words[*bad + 1]);
        const struct command *cmd = meaning(names, from);
        if (!cmd) why = "No such command in rename-command";
        if (cmd) put(names, words[*bad], NULL);
        if (cmd && to.len && meaning(names, to)) why = "Target command name already exists";
        if (why) {
            mem_free(names);
            return why;
        }
        if (to.len) put(names, words[*bad + 1], cmd);
    }
    *out = names;
    return NULL;
}

void command_names_free(struct command_names *names) { mem_free(names); }

const struct command *command_find_named_slow(const struct command_names *names,
                                              const struct slice *argv, int argc,
                                              bool *sub_missing)
{
    *sub_missing = false;
    const struct command *cmd = meaning(names, argv[0]);
    if (!cmd || !cmd->subcommands || argc == 1) return cmd;
    return command_find((struct slice[]){slice_str(cmd->name), argv[1]}, 2, sub_missing);
}

const struct command *command_by_given_name(const struct command_names *names, struct slice name)
{
    if (!names) return command_by_name(name);
    const char *bar = name.len ? memchr(name.ptr, '|', name.len) : NULL;
    if (!bar) return meaning(names, name);
    size_t len = (size_t)(bar - name.ptr);
    struct slice words[] = {slice_of(name.ptr, len), slice_of(bar + 1, name.len - len - 1)};
    bool missing;
    const struct command *cmd = command_find_named_slow(names, words, 2, &missing);
    return cmd && cmd->parent ? cmd : NULL;
}

bool command_has_name(const struct command_names *names, const struct command *cmd)
{
    if (!names) return true;
    if (cmd->parent) cmd = cmd->parent;
    for (size_t i = 0; i < names->count; i++)
        if (names->all[i].cmd == cmd) return true;
    return !find(names, slice_str(cmd->name));
}
