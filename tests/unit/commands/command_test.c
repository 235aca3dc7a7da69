/* Finding commands and keys in the generated table. What the table says is compared with a
 * redis-server in tests/compat/command_table.py. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>

#include "splitring/cmd/command.h"
#include "splitring/resp/reply.h"

#define ARGV_MAX 12

static struct slice argv[ARGV_MAX];

/* Words of a line, parted by single blanks. */
static int words(const char *line)
{
    int argc = 0;
    while (*line) {
        size_t len = strcspn(line, " ");
        argv[argc++] = slice_of(line, len);
        line += len + (line[len] == ' ');
    }
    return argc;
}

static const struct command *find(const char *line, bool *sub_missing)
{
    int argc = words(line);
    return command_find(argv, argc, sub_missing);
}

Test(command, every_name_is_found_in_any_case)
{
    for (size_t id = 0; id < command_count(); id++) {
        const struct command *cmd = command_at(id);
        cr_assert_eq(cmd->id, id);
        char name[64];
        for (int turn = 0; turn < 3; turn++) {
            size_t len = strlen(cmd->name);
            for (size_t i = 0; i <= len; i++) {
                bool up = turn == 1 || (turn == 2 && i % 2);
                name[i] = (char)(up ? toupper(cmd->name[i]) : cmd->name[i]);
            }
            cr_assert_eq(command_by_name(slice_of(name, len)), cmd, "%s", name);
            bool sub_missing;
            if (cmd->parent) *strchr(name, '|') = ' ';
            cr_assert_eq(find(name, &sub_missing), cmd, "%s", name);
            cr_assert_not(sub_missing);
        }
        if (cmd->parent) {
            cr_assert_not_null(cmd->parent->subcommands);
        } else {
            cr_assert_eq(cmd->handler == NULL, cmd->subcommands && strcmp(cmd->name, "command"));
        }
    }
}

Test(command, what_is_not_there)
{
    const char *names[] = {"",
                           "g",
                           "ge",
                           "gett",
                           "nosuch",
                           "get\1",
                           "GE\x54\x80",
                           "@et",
                           "[et",
                           "gEt ",
                           "bitfield\x7fro",
                           "bitfield?ro",
                           "abcdefghijklmnopqrstuvwxyz",
                           "config|",
                           "config|nosuch",
                           "|get",
                           "get|x",
                           "config|get|x",
                           "bitfield",
                           "incrbyfloa",
                           "incrbyfloatt",
                           "incrbyXXfloat"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        const struct command *cmd = command_by_name(slice_str(names[i]));
        if (strcmp(names[i], "bitfield") == 0) {
            cr_assert_str_eq(cmd->name, "bitfield");
        } else {
            cr_assert_null(cmd, "%s", names[i]);
        }
    }
    for (size_t len = 0; len < 40; len++) {
        char name[40];
        for (int byte = 0; byte < 256; byte++) {
            memset(name, byte, sizeof(name));
            cr_assert_null(command_by_name(slice_of(name, len)));
        }
    }
}

Test(command, containers)
{
    bool sub_missing;
    cr_assert_str_eq(find("config", &sub_missing)->name, "config");
    cr_assert_str_eq(find("CONFIG get x", &sub_missing)->name, "config|get");
    cr_assert_null(find("config nosuch", &sub_missing));
    cr_assert(sub_missing);
    cr_assert_null(find("nosuch x", &sub_missing));
    cr_assert_not(sub_missing);
    cr_assert_str_eq(find("get nosuch", &sub_missing)->name, "get");
}

static void expect_unknown(const char *line, const char *text)
{
    bool sub_missing;
    int argc = words(line);
    cr_assert_null(command_find(argv, argc, &sub_missing));
    struct buf out = {0};
    struct reply r = {.out = &out, .proto = 2};
    command_reply_unknown(&r, argv, argc, sub_missing);
    buf_append_char(&out, '\0');
    cr_assert_str_eq(out.ptr, text);
    buf_deinit(&out);
}

Test(command, unknown_ones_are_named)
{
    expect_unknown("nosuch", "-ERR unknown command 'nosuch', with args beginning with: \r\n");
    expect_unknown("No a b", "-ERR unknown command 'No', with args beginning with: 'a' 'b' \r\n");
    expect_unknown("config x", "-ERR unknown subcommand 'x'. Try CONFIG HELP.\r\n");
    char line[400] = "x ", text[400];
    memset(line + 2, 'y', 300);
    int len = sprintf(text, "-ERR unknown command 'x', with args beginning with: '");
    memset(text + len, 'y', 128);
    strcpy(text + len + 128, "' \r\n");
    expect_unknown(line, text);
}

/* "pos:flags pos:flags", or "none", "malformed" */
static void expect_keys(const char *line, const char *expected)
{
    bool sub_missing;
    int argc = words(line);
    const struct command *cmd = command_find(argv, argc, &sub_missing);
    cr_assert_not_null(cmd, "%s", line);
    struct key_ref refs[ARGV_MAX];
    int count = command_keys(cmd, argv, argc, refs);
    char text[200] = "none";
    if (count < 0) strcpy(text, "malformed");
    for (int i = 0, len = 0; i < count; i++) {
        const char *access = refs[i].flags & KEY_RO   ? "r"
                             : refs[i].flags & KEY_RW ? "rw"
                             : refs[i].flags & KEY_OW ? "w"
                                                      : "rm";
        len += sprintf(text + len, "%s%d:%s", i ? " " : "", refs[i].pos, access);
    }
    cr_assert_str_eq(text, expected, "%s: %s instead of %s", line, text, expected);
}

Test(command, keys)
{
    expect_keys("get k", "1:r");
    expect_keys("mset a 1 b 2", "1:w 3:w");
    expect_keys("mset a 1 b", "1:w 3:w"); /* the handler says what is wrong */
    expect_keys("mget a b c", "1:r 2:r 3:r");
    expect_keys("bitop and d a b", "2:w 3:r 4:r");
    expect_keys("copy a b", "1:r 2:w");
    expect_keys("rename a b", "1:rw 2:w");
    expect_keys("object freq k", "2:r");
    expect_keys("ping", "none");
    expect_keys("get", "malformed");
    expect_keys("mset", "none");
}

Test(command, keys_that_depend_on_options)
{
    expect_keys("set k v", "1:w");
    expect_keys("set k v ex 10 get", "1:rw");
    expect_keys("set k v IFEQ x", "1:rw");
    expect_keys("set k get", "1:w"); /* the value is no option */
    expect_keys("bitfield k get u8 0 get u8 1", "1:r");
    expect_keys("bitfield k overflow sat get u8 1", "1:r");
    expect_keys("bitfield k get u8 0 incrby u8 0 1", "1:rw");
    expect_keys("bitfield k get u8", "1:rw");
    expect_keys("msetex 2 a 1 b 2 nx", "2:w 4:w");
    expect_keys("msetex 3 a 1 b 2", "malformed");
    expect_keys("msetex 2000000000 a 1", "malformed");
    expect_keys("msetex -1 a 1", "malformed");
    expect_keys("msetex x a 1", "malformed");
    expect_keys("msetex", "malformed");
}

Test(command, arity)
{
    bool sub_missing;
    cr_assert(command_arity_ok(find("get k", &sub_missing), 2));
    cr_assert_not(command_arity_ok(find("get k", &sub_missing), 3));
    cr_assert(command_arity_ok(find("mget k", &sub_missing), 30));
    cr_assert_not(command_arity_ok(find("mget k", &sub_missing), 1));
}

/* What the dispatcher relies on. */
Test(command, routes_fit_keys)
{
    for (size_t id = 0; id < command_count(); id++) {
        const struct command *cmd = command_at(id);
        bool has_keys = cmd->key_first > 0 || cmd->keys;
        /* A channel may look like a key to clients (SPUBLISH). */
        if (cmd->route == ROUTE_CHANNEL || cmd->acl & ACL_PUBSUB) continue;
        cr_assert_eq(cmd->route == ROUTE_KEYS, has_keys, "%s", cmd->name);
        if (cmd->split != SPLIT_NONE) cr_assert_neq(cmd->route, ROUTE_HERE, "%s", cmd->name);
        if (cmd->flags & CMD_MOVABLE_KEYS) cr_assert_not_null(cmd->keys, "%s", cmd->name);
        cr_assert((cmd->acl & ACL_FAST) != 0 || (cmd->acl & ACL_SLOW) != 0);
    }
}
