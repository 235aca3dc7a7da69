/* Inline commands: words and quotes as sdssplitargs of Redis. The table was taken from redis-server
 * 7.0.15 (tests/compat/protocol.py asks it again). */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "parse_fixture.h"

static const struct {
    const char *line, *log;
} lines[] = {
    {"PING\r\n", "[PING]\n"},
    {"PING\n", "[PING]\n"},
    {"  SET  a\tb  \r\n", "[SET][a][b]\n"},
    {"ECHO \"a b\"\r\n", "[ECHO][a b]\n"},
    {"ECHO 'a b'\r\n", "[ECHO][a b]\n"},
    {"ECHO \"\"\r\n", "[ECHO][]\n"},
    {"ECHO ''\r\n", "[ECHO][]\n"},
    {"ECHO foo\"bar\"\r\n", "[ECHO][foobar]\n"},
    {"ECHO foo'b r'\r\n", "[ECHO][foob r]\n"},
    {"ECHO \"\\x41\\x7a\\n\\r\\t\\b\\a\\q\\\\\\\"\"\r\n", "[ECHO][Az\n\r\t\b\aq\\\"]\n"},
    {"ECHO \"\\xg1\\x4\"\r\n", "[ECHO][xg1x4]\n"},
    {"ECHO '\\x41\\n\\''\r\n", "[ECHO][\\x41\\n']\n"},
    {"ECHO a\\nb\r\n", "[ECHO][a\\nb]\n"},
    {"ECHO \"a\" \"b\"\r\n", "[ECHO][a][b]\n"},
    {"ECHO \"it's\"\r\n", "[ECHO][it's]\n"},
    {"ECHO 'say \"x\"'\r\n", "[ECHO][say \"x\"]\n"},
    {"ECHO a\vb\r\n", "[ECHO][a\vb]\n"},
    {"\v\fECHO a\r\n", "[ECHO][a]\n"},
    {"ECHO \"a\"\vb\r\n", "[ECHO][a][b]\n"},
    {"ECHO a\rb\r\n", "[ECHO][a][b]\n"},
    {"ECHO \"\\\"\r\n", "error: ERR Protocol error: unbalanced quotes in request\n"},
    {"ECHO \"a\r\n", "error: ERR Protocol error: unbalanced quotes in request\n"},
    {"ECHO 'a\r\n", "error: ERR Protocol error: unbalanced quotes in request\n"},
    {"ECHO \"a\"b\r\n", "error: ERR Protocol error: unbalanced quotes in request\n"},
    {"ECHO 'a'b\r\n", "error: ERR Protocol error: unbalanced quotes in request\n"},
    {"ECHO \"a\"\"b\"\r\n", "error: ERR Protocol error: unbalanced quotes in request\n"},
    {"\"\r\n", "error: ERR Protocol error: unbalanced quotes in request\n"},
    {"\r\n\n \r\n", ""},
};

Test(inline_commands, quoting)
{
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        char *seen;
        cr_assert(same_in_all_pieces(&limits_default, slice_str(lines[i].line), &seen));
        cr_assert_str_eq(seen, lines[i].log, "line %zu: %s gave %s", i, lines[i].line, seen);
        free(seen);
    }
}

Test(inline_commands, all_bytes_by_hex)
{
    struct buf input = {0};
    buf_append(&input, "ECHO \"", 6);
    for (int i = 0; i < 256; i++) buf_printf(&input, i & 1 ? "\\x%02x" : "\\x%02X", (unsigned)i);
    buf_append(&input, "\"\r\n", 3);
    struct parse_pool pool;
    struct parser p;
    parse_pool_init(&pool);
    parse_init(&p, &pool);
    size_t used = 0;
    cr_assert_eq(parse_next(&p, &limits_default, input.ptr, input.len, &used), PARSE_COMMAND);
    cr_assert_eq(p.argc, 2);
    cr_assert_eq(p.argv[1].len, 256);
    for (int i = 0; i < 256; i++) cr_assert_eq((unsigned char)p.argv[1].ptr[i], i);
    parse_deinit(&p);
    parse_pool_deinit(&pool);
    buf_deinit(&input);
}

Test(inline_commands, many_words)
{
    struct buf input = {0};
    for (int i = 0; i < 30000; i++) buf_append(&input, "a ", 2);
    buf_append(&input, "\r\n", 2);
    char *seen;
    cr_assert(same_in_all_pieces(&limits_default, buf_slice(&input), &seen));
    cr_assert_eq(strlen(seen), 30000 * 3 + 1);
    free(seen);
    buf_deinit(&input);
}
