/* COMMAND's handlers: whole replies of small commands, in both protocol versions. */
#include <criterion/criterion.h>

#include "splitring/cmd/call.h"

static struct buf out;

static const char *run(uint8_t proto, int argc, const struct slice *argv)
{
    bool sub_missing;
    const struct command *cmd = command_find(argv, argc, &sub_missing);
    out.len = 0;
    struct env env = {0}; /* nothing is renamed */
    struct call c = {.cmd = cmd, .argv = argv, .argc = argc, .env = &env,
                     .reply = {.out = &out, .proto = proto}};
    cmd->handler(&c);
    buf_append_char(&out, '\0');
    return out.ptr;
}

#define RUN(proto, ...) \
    run((proto), (int)ARRAY_COUNT(((struct slice[]){__VA_ARGS__})), (struct slice[]){__VA_ARGS__})

Test(command_reply, info)
{
    cr_assert_str_eq(RUN(2, SLICE("COMMAND"), SLICE("INFO"), SLICE("strlen"), SLICE("nosuch")),
                     "*2\r\n*10\r\n$6\r\nstrlen\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n"
                     ":1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n"
                     "*1\r\n*6\r\n$5\r\nflags\r\n*1\r\n+RO\r\n"
                     "$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n"
                     "*2\r\n$5\r\nindex\r\n:1\r\n"
                     "$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n"
                     "*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n"
                     "*0\r\n$-1\r\n");
    cr_assert_str_eq(RUN(3, SLICE("COMMAND"), SLICE("INFO"), SLICE("acl|whoami")),
                     "*1\r\n*10\r\n$10\r\nacl|whoami\r\n:2\r\n~3\r\n+noscript\r\n+loading\r\n"
                     "+stale\r\n:0\r\n:0\r\n:0\r\n~1\r\n+@slow\r\n~0\r\n~0\r\n~0\r\n");
    buf_deinit(&out);
}

Test(command_reply, docs)
{
    const char *text = RUN(3, SLICE("COMMAND"), SLICE("DOCS"), SLICE("select"), SLICE("nosuch"));
    const char *head = "%1\r\n$6\r\nselect\r\n%5\r\n$7\r\nsummary\r\n";
    cr_assert_eq(strncmp(text, head, strlen(head)), 0, "%s", text);
    const char *tail = "$9\r\narguments\r\n*1\r\n%2\r\n$4\r\nname\r\n$5\r\nindex\r\n$4\r\ntype\r\n"
                       "$7\r\ninteger\r\n";
    cr_assert_str_eq(text + strlen(text) - strlen(tail), tail);
    buf_deinit(&out);
}

Test(command_reply, getkeys)
{
    cr_assert_str_eq(
        RUN(2, SLICE("command"), SLICE("getkeys"), SLICE("copy"), SLICE("a"), SLICE("b")),
        "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    cr_assert_str_eq(
        RUN(3, SLICE("command"), SLICE("getkeysandflags"), SLICE("getset"), SLICE("a"), SLICE("b")),
        "*1\r\n*2\r\n$1\r\na\r\n~3\r\n+RW\r\n+access\r\n+update\r\n");
    cr_assert_str_eq(RUN(2, SLICE("command"), SLICE("getkeys"), SLICE("nosuch")),
                     "-ERR Invalid command specified\r\n");
    cr_assert_str_eq(RUN(2, SLICE("command"), SLICE("getkeys"), SLICE("ping")),
                     "-ERR The command has no key arguments\r\n");
    cr_assert_str_eq(RUN(2, SLICE("command"), SLICE("getkeys"), SLICE("get")),
                     "-ERR Invalid number of arguments specified for command\r\n");
    buf_deinit(&out);
}

Test(command_reply, list)
{
    cr_assert_str_eq(RUN(3, SLICE("command"), SLICE("list"), SLICE("filterby"), SLICE("pattern"),
                         SLICE("ST*LEN")),
                     "*1\r\n$6\r\nstrlen\r\n");
    cr_assert_str_eq(
        RUN(3, SLICE("command"), SLICE("list"), SLICE("filterby"), SLICE("module"), SLICE("x")),
        "*0\r\n");
    cr_assert_str_eq(RUN(3, SLICE("command"), SLICE("list"), SLICE("x")), "-ERR syntax error\r\n");
    buf_deinit(&out);
}
