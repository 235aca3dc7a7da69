/* Files, includes, the command line, and what is said of mistakes. Thread: one. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"

static struct config cfg;
static struct config_notes notes;

static void stop(void)
{
    config_deinit(&cfg);
    config_notes_deinit(&notes);
}

static bool load_text(const char *text)
{
    stop();
    return fixture_load_text(&cfg, &notes, text);
}

static bool load_words(const struct fake_file *files, const char *main_file, ...)
{
    const char *words[16];
    int count = 0;
    va_list list;
    va_start(list, main_file);
    while ((words[count] = va_arg(list, const char *))) count++;
    va_end(list);
    stop();
    return fixture_load(&cfg, &notes, files, main_file, count, words);
}

static void start(void) { config_init(&cfg); }
TestSuite(config_load, .init = start, .fini = stop);

#define GIVES(name, text) cr_expect_str_eq(fixture_get(&cfg, name), text)
#define WORDS(...) load_words(NULL, NULL, __VA_ARGS__, (const char *)NULL)
#define FATAL(head, line, why) \
    cr_expect_str_eq(fixture_text(&notes.error), \
                     "\n*** FATAL CONFIG FILE ERROR (Splitring " SPLITRING_VERSION ") ***\n" head \
                     "\n>>> '" line "'\n" why "\n")
#define AT(number) "Reading the configuration file, at line " number

Test(config_load, lines)
{
    cr_assert(load_text("# a comment\n"
                        "\n"
                        "  port 7000\r\n"
                        "\tTimeOut   \"5\"\t\n"
                        "requirepass 'a\\'b \"c'\n"
                        "proc-title-template \"{title} \\x41\\t\\\"\\\\\"\n"
                        "maxmemory 1gb\n"
                        "maxmemory 2gb"));
    cr_expect_eq(cfg.port, 7000);
    cr_expect_eq(cfg.timeout_s, 5);
    cr_expect_str_eq(cfg.requirepass, "a'b \"c");
    cr_expect_str_eq(cfg.proc_title_template, "{title} A\t\"\\");
    cr_expect_eq(cfg.maxmemory, 2ll << 30);
    cr_expect_str_eq(cfg.config_file, "redis.conf");
}

Test(config_load, mistakes)
{
    cr_expect_not(load_text("port 1\nfoo \"bar\n"));
    FATAL(AT("2"), "foo \"bar", "Unbalanced quotes in configuration line");
    cr_expect_not(load_text("timeout 'a'b\n"));
    FATAL(AT("1"), "timeout 'a'b", "Unbalanced quotes in configuration line");
    cr_expect_not(load_text("timeout a b\n"));
    FATAL(AT("1"), "timeout a b", "wrong number of arguments");
    cr_expect_not(load_text("timeout\n"));
    FATAL(AT("1"), "timeout", "wrong number of arguments");
    cr_expect_not(load_text("\n\nno-such 1\nport x"));
    FATAL(AT("3"), "no-such 1", "Bad directive or wrong number of arguments");
    cr_expect_not(load_text("timeout \"5\" # comment"));
    FATAL(AT("1"), "timeout \"5\" # comment", "wrong number of arguments");
    cr_expect_not(load_text("unixsocketperm 999"));
    FATAL(AT("1"), "unixsocketperm 999", "argument couldn't be parsed as an octal number");
    cr_expect_not(load_text("dbfilename a/b"));
    FATAL(AT("1"), "dbfilename a/b", "dbfilename can't be a path, just a filename");
    cr_expect_not(load_text("appenddirname \"\""));
    FATAL(AT("1"), "appenddirname \"\"", "appenddirname can't be empty");
    cr_expect_not(load_text("rename-command"));
    FATAL(AT("1"), "rename-command", "Bad directive or wrong number of arguments");
    cr_expect_not(load_text("replicaof x y"));
    FATAL(AT("1"), "replicaof x y", "Invalid master port");
    cr_expect_not(load_text("include"));
    FATAL(AT("1"), "include", "Bad directive or wrong number of arguments");
}

Test(config_load, refused_with_a_reason)
{
    cr_expect_not(load_text("replicaof 10.0.0.1 6379"));
    FATAL(AT("1"), "replicaof 10.0.0.1 6379",
          "replication is not available yet in this version of Splitring");
    cr_expect_not(load_text("cluster-enabled yes"));
    cr_expect_not(load_text("loadmodule /x.so a b"));
    FATAL(AT("1"), "loadmodule /x.so a b", "modules are not supported");
    cr_expect(load_text("rename-command CONFIG \"\"\nrename-command GET fetch"));
    cr_expect(load_text("user alice on >secret ~* +@all\nuser bob"));
    cr_expect_not(load_text("user alice on\nuser bob\nuser alice off"));
    cr_expect_not(load_text("sentinel monitor a 1.2.3.4 1 2"));
    cr_expect(load_text("appendonly yes\nreplicaof no one\ncluster-enabled no\ntls-port 0\n"
                        "slaveof NO ONE\naclfile \"\"\n"));
}

Test(config_load, several_arguments)
{
    cr_assert(load_text("save 60 1\nsave 30 2 10 3\n"
                        "client-output-buffer-limit normal 1 1 1\n"
                        "client-output-buffer-limit \"pubsub 2kb 2 2\"\n"
                        "bind 127.0.0.1 -::1\n"
                        "unixsocketperm 700\n"));
    GIVES("save", "60 1 30 2 10 3");
    GIVES("client-output-buffer-limit", "normal 1 1 1 slave 268435456 67108864 60 pubsub 2048 2 2");
    cr_expect_eq(cfg.bind.count, 2u);
    cr_expect_eq(cfg.unixsocketperm, 0700);
    GIVES("unixsocketperm", "700");
    cr_assert(load_text("save \"\"\n"));
    cr_expect_eq(cfg.save.count, 0u);
    cr_assert(load_text("save\nbind\n"));
    cr_expect(cfg.save.count == 0 && cfg.bind.count == 0);
    cr_assert(load_text("save 1 1\nsave\nsave 2 2\n"));
    GIVES("save", "1 1 2 2");
    cr_assert(load_text("save 1 1\nsave \"\"\nsave 2 2\n"));
    GIVES("save", "2 2");
    cr_expect_not(load_text("save 60 1 30 2\nsave 5\n"));
    FATAL(AT("2"), "save 5", "Invalid save parameters");
    GIVES("save", "60 1 30 2");
}

Test(config_load, includes)
{
    struct fake_file files[] = {{"redis.conf", "port 1\ninclude a.conf\ntimeout 7\ninclude /d/*\n"},
                                {"a.conf", "port 2\ntimeout 6\ninclude b.conf\n"},
                                {"b.conf", "databases 3\n"},
                                {"/d/1.conf", "hz 20\n"},
                                {"/d/2.conf", "hz 30\n"},
                                {0}};
    cr_assert(load_words(files, "redis.conf", (const char *)NULL));
    cr_expect_eq(cfg.port, 2);
    cr_expect_eq(cfg.timeout_s, 7);
    cr_expect_eq(cfg.databases, 3);
    GIVES("hz", "30");

    struct fake_file none[] = {{"redis.conf", "include /none/*.conf\n"}, {0}};
    cr_expect(load_words(none, "redis.conf", (const char *)NULL), "no match is fine");

    struct fake_file moved[] = {
        {"redis.conf", "dir /srv\ninclude x.conf\n"}, {"/srv/x.conf", "port 3\n"}, {0}};
    cr_assert(load_words(moved, "redis.conf", (const char *)NULL));
    cr_expect_eq(cfg.port, 3);

    struct fake_file wrong[] = {
        {"redis.conf", "\ninclude x.conf\n"}, {"x.conf", "\n\nport x\n"}, {0}};
    cr_expect_not(load_words(wrong, "redis.conf", (const char *)NULL));
    FATAL(AT("3 of x.conf"), "port x", "argument couldn't be parsed into an integer");

    struct fake_file missing[] = {{"redis.conf", "include x.conf\n"}, {0}};
    cr_expect_not(load_words(missing, "redis.conf", (const char *)NULL));
    cr_expect_str_eq(fixture_text(&notes.error),
                     "Fatal error, can't open config file 'x.conf': No such file or directory\n");

    struct fake_file loop[] = {{"redis.conf", "include redis.conf\n"}, {0}};
    cr_expect_not(load_words(loop, "redis.conf", (const char *)NULL));
    cr_expect(strstr(fixture_text(&notes.error), "include is nested too deeply"));
}

/* Compared with redis-server 7.0.15's reading of the same words. */
Test(config_load, command_line)
{
    cr_assert(WORDS("--port", "7000", "--save", "", "--bind", "a", "b"));
    cr_expect_eq(cfg.port, 7000);
    cr_expect_eq(cfg.save.count, 0u);
    cr_expect_eq(cfg.bind.count, 2u);
    cr_assert(WORDS("--save", "60 1", "--timeout 5", "--PORT", "7001"));
    GIVES("save", "60 1");
    cr_expect_eq(cfg.timeout_s, 5);
    cr_expect_eq(cfg.port, 7001);
    cr_assert(WORDS("--save", "--port", "1"));
    cr_expect(cfg.save.count == 0 && cfg.port == 1);
    cr_assert(WORDS("--port", "1", "--save"));
    cr_expect_eq(cfg.save.count, 0u);
    cr_assert(WORDS("--save", "60", "1", "30", "2"));
    GIVES("save", "60 1 30 2");
    cr_assert(WORDS("--"));
    cr_assert(WORDS("--requirepass", "two words \"\xc3\xa9\n"));
    cr_expect_str_eq(cfg.requirepass, "two words \"\xc3\xa9\n");
    cr_expect_not(WORDS("--port"));
    FATAL("Reading the command line, option 1", "port", "wrong number of arguments");
    cr_expect_not(WORDS("--timeout", "1", "--port", "--bla"));
    FATAL("Reading the command line, option 2", "port \"--bla\"",
          "argument couldn't be parsed into an integer");
    cr_expect_not(WORDS("--foo", "bar"));
    FATAL("Reading the command line, option 1", "foo \"bar\"",
          "Bad directive or wrong number of arguments");
    cr_expect_not(WORDS("---port", "6"));
    FATAL("Reading the command line, option 1", "-port \"6\"",
          "Bad directive or wrong number of arguments");
    cr_expect_not(WORDS("--timeout", "5", "x.conf"));
    FATAL("Reading the command line, option 1", "timeout \"5\" \"x.conf\"",
          "wrong number of arguments");
}

Test(config_load, sources_in_order)
{
    struct fake_file files[] = {
        {"redis.conf", "port 1\ntimeout 1\ndatabases 1"}, {"-", "timeout 2\ndatabases 2"}, {0}};
    cr_assert(load_words(files, "redis.conf", "--databases", "3", "-", (const char *)NULL));
    cr_expect(cfg.port == 1 && cfg.timeout_s == 2 && cfg.databases == 3);
    cr_expect_not(load_words(files, "redis.conf", "-", "--port", "3", (const char *)NULL));
    cr_assert(load_words(files, NULL, "-", (const char *)NULL));
    cr_expect_eq(cfg.databases, 2);
    cr_assert(load_words(files, "redis.conf", "--port", "9", "-", (const char *)NULL));
    cr_expect(cfg.port == 9 && cfg.timeout_s == 2);
}

Test(config_load, actions)
{
    static const struct {
        const char *words[5];
        enum config_action action;
        const char *file;
    } cases[] = {
        {{"-v"}, CONFIG_VERSION, NULL},
        {{"--version"}, CONFIG_VERSION, NULL},
        {{"-h"}, CONFIG_HELP, NULL},
        {{"--help"}, CONFIG_HELP, NULL},
        {{"--check-config", "x.conf"}, CONFIG_CHECK, "x.conf"},
        {{"x.conf", "--check-config", "--port", "1"}, CONFIG_CHECK, "x.conf"},
        {{"--port", "1", "--healthcheck"}, CONFIG_HEALTHCHECK, NULL},
        {{"--healthcheck", "x.conf", "--port", "1"}, CONFIG_HEALTHCHECK, "x.conf"},
        {{"--requirepass", "--check-config"}, CONFIG_RUN, NULL},
        {{NULL}, CONFIG_RUN, NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char *words[6] = {(char *)"splitring"};
        int count = 1;
        for (size_t j = 0; cases[i].words[j]; j++) words[count++] = (char *)cases[i].words[j];
        struct config_args args;
        config_parse_args(&args, count, words);
        cr_expect_eq(args.action, cases[i].action, "case %zu", i);
        cr_expect((args.file == NULL) == (cases[i].file == NULL), "case %zu", i);
        if (args.file) cr_expect_str_eq(args.file, cases[i].file);
        config_args_deinit(&args);
    }
    cr_expect(strstr(config_usage(), "--threads"));
}

Test(config_load, report)
{
    struct fake_file files[] = {
        {"r.conf", "port 7000\nhz 20\nloadmodule x\nbogus\nsave \"\"\nsave 1 1\n'x\n"}, {0}};
    struct buf out = {0};
    cr_expect_not(
        load_words(files, "r.conf", "--check-config", "--io-threads", "4", (const char *)NULL));
    config_report(&notes, &out);
    const char *text = fixture_text(&out);
    cr_expect(strstr(text, "r.conf:1: port: honoured\n"));
    cr_expect(strstr(text, "r.conf:2: hz: ignored (has no meaning here"));
    cr_expect(strstr(text, "r.conf:3: loadmodule: refused (modules are not"));
    cr_expect(strstr(text, "r.conf:4: bogus: refused (Bad directive"));
    cr_expect(strstr(text, "r.conf:5: save: honoured\n"));
    cr_expect(strstr(text, "r.conf:6: save: honoured\n"));
    cr_expect(strstr(text, "r.conf:7: 'x: refused (Unbalanced"));
    cr_expect(strstr(text, "command line: io-threads: ignored (has no"));
    cr_expect(strstr(text, "\n8 directives: 3 honoured, 2 ignored, 3 refused\n"), "%s", text);
    FATAL(AT("3"), "loadmodule x", "modules are not supported");
    buf_deinit(&out);
}

static void keep_line(void *ctx, const char *text) { buf_printf(ctx, "%s\n", text); }

Test(config_load, log_notes)
{
    struct buf out = {0};
    cr_assert(load_text("hz 20\nio-threads 2\ndynamic-hz no\nhz 30\nport 1\nsave \"\"\n"
                        "rdbcompression yes\n"));
    config_log_notes(&cfg, &notes, keep_line, &out);
    const char *text = fixture_text(&out);
    cr_expect(strstr(text, "without effect: hz, dynamic-hz ("), "%s", text);
    cr_expect(strstr(text, "without effect: io-threads ("));
    cr_expect_not(strstr(text, "napshots"));
    cr_expect_not(strstr(text, "rdbcompression"), "that is the default");
    buf_deinit(&out);
}

/* A file with every directive that Redis 7.2's, 8.0's and Valkey's own redis.conf carry. */
Test(config_load, every_directive)
{
    struct buf text = {0};
    FILE *file = fopen(CONFIG_FIXTURE, "r");
    cr_assert_not_null(file, "%s", CONFIG_FIXTURE);
    char block[4096];
    for (size_t len; (len = fread(block, 1, sizeof block, file)) > 0;)
        buf_append(&text, block, len);
    fclose(file);
    cr_assert(load_text(fixture_text(&text)), "%s", fixture_text(&notes.error));
    cr_expect_gt(notes.count, 200u);
    cr_expect_eq(cfg.timeout_s, 42, "the last line counts");
    buf_deinit(&text);
}

/* Whatever bytes a line has, it is read or refused, never worse. */
Test(config_load, noise)
{
    static const char bytes[] = "port save \"'\\x1\n#:bind 0-9%kmgb\r\t\xff";
    unsigned seed = 7;
    for (int round = 0; round < 20000; round++) {
        char text[65];
        size_t len = (seed >> 8) % 64;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1103515245u + 12345u;
            text[i] = bytes[(seed >> 16) % (sizeof bytes - 1)];
        }
        text[len] = 0;
        bool fine = load_text(text);
        cr_assert_eq(fine, notes.error.len == 0);
    }
}
