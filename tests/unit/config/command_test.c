/* CONFIG GET and SET, clones, and the table itself. Thread: one. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "directive.h"
#include "fixture.h"

static struct config cfg;

static void start(void) { config_init(&cfg); }
static void stop(void) { config_deinit(&cfg); }

TestSuite(config_command, .init = start, .fini = stop);

#define GIVES(name, text) cr_expect_str_eq(fixture_get(&cfg, name), text)
#define SETS(...) cr_expect_str_eq(fixture_set(&cfg, __VA_ARGS__, NULL), "OK")
#define FAILS(name, value, reason) \
    cr_expect_str_eq(fixture_set(&cfg, name, value, NULL), \
                     "ERR CONFIG SET failed (possibly related to argument '" name "') - " reason)

Test(config_command, defaults)
{
    cr_expect_eq(cfg.port, 6379);
    cr_expect_eq(cfg.databases, 16);
    cr_expect_eq(cfg.threads, 0);
    cr_expect(cfg.shard_lending && cfg.cpu_pinning && cfg.protected_mode);
    cr_expect_eq(cfg.proto_max_bulk_len, 512ll << 20);
    cr_expect_eq(cfg.maxmemory_policy, CONFIG_POLICY_NOEVICTION);
    cr_expect_eq(cfg.bind.count, 2u);
    cr_expect_eq(cfg.output_limits[CONFIG_CLIENT_REPLICA].hard_bytes, 256ll << 20);
    cr_expect_eq(cfg.save.count, 3u);
    cr_expect_eq(cfg.save.points[2].changes, 10000);
    GIVES("save", "3600 1 300 100 60 10000");
    GIVES("client-output-buffer-limit",
          "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
    GIVES("bind", "* -::*");
    GIVES("latency-tracking-info-percentiles", "50 99 99.9");
    GIVES("repl-backlog-size", "1048576");
    GIVES("oom-score-adj-values", "0 200 800");
    GIVES("shutdown-on-sigterm", "default");
    GIVES("threads", "auto");
    GIVES("unixsocketperm", "0");
    GIVES("replicaof", "");
}

/* Every preset is in its limits, fits its field, and is accepted by its own row; names differ. */
Test(config_command, table)
{
    cr_expect_leq(directive_count(), 320u);
    for (size_t i = 0; i < directive_count(); i++) {
        const struct directive *d = directive_at(i);
        bool by_alias = true;
        cr_expect_eq(directive_index(d), i, "%s", d->name);
        cr_expect_eq(directive_find(slice_str(d->name), &by_alias), d, "%s twice", d->name);
        cr_expect_not(by_alias);
        if (d->alias) cr_expect_eq(directive_find(slice_str(d->alias), NULL), d, "%s", d->alias);
        if (d->class != CLASS_HONOURED && d->type != DIRECTIVE_INCLUDE)
            cr_expect_not_null(d->why, "%s", d->name);
        bool narrow = d->width == 4 && d->max;
        if (narrow) cr_expect(d->min >= INT32_MIN && d->max <= INT32_MAX, "%s", d->name);
        if (!d->preset) continue;
        struct buf why = {0};
        struct slice preset = slice_str(d->preset);
        struct slice none[] = {SLICE("no"), SLICE("one")};
        bool fine = d->type == DIRECTIVE_REPLICAOF
                        ? directive_set_line(&cfg, d, none, 2, false, &why)
                        : directive_set_line(&cfg, d, &preset, 1, false, &why);
        cr_expect(fine, "%s: %s", d->name, fixture_text(&why));
        buf_deinit(&why);
    }
}

/* What CONFIG GET shows can be given to CONFIG SET. */
Test(config_command, get_then_set)
{
    for (size_t i = 0; i < directive_count(); i++) {
        const struct directive *d = directive_at(i);
        if (d->flags & (FLAG_IMMUTABLE | FLAG_FILE_ONLY | FLAG_PROTECTED)) continue;
        struct buf text = {0};
        directive_format(&cfg, d, &text);
        cr_expect_str_eq(fixture_set(&cfg, d->name, fixture_text(&text), NULL), "OK", "%s",
                         d->name);
        buf_deinit(&text);
    }
}

Test(config_command, numbers)
{
    SETS("timeout", "5");
    cr_expect_eq(cfg.timeout_s, 5);
    FAILS("timeout", "abc", "argument couldn't be parsed into an integer");
    FAILS("timeout", "007", "argument couldn't be parsed into an integer");
    FAILS("timeout", "", "argument couldn't be parsed into an integer");
    FAILS("timeout", "-1", "argument must be between 0 and 2147483647 inclusive");
    FAILS("timeout", "99999999999", "argument must be between 0 and 2147483647 inclusive");
    FAILS("maxclients", "0", "argument must be between 1 and 4294967295 inclusive");
    SETS("maxclients", "4294967295");
    cr_expect_eq(cfg.maxclients, 4294967295ll);
    FAILS("maxmemory", "-1", "argument must be a memory value");
    FAILS("maxmemory", "1.5gb", "argument must be a memory value");
    SETS("maxmemory", "1gb");
    GIVES("maxmemory", "1073741824");
    SETS("maxmemory", "");
    GIVES("maxmemory", "0");
    SETS("hash-max-ziplist-value", "1k");
    GIVES("hash-max-listpack-value", "1000");
    SETS("maxmemory-clients", "5%");
    cr_expect_eq(cfg.maxmemory_clients, -5);
    GIVES("maxmemory-clients", "5%");
    FAILS("maxmemory-clients", "101%", "percentage argument must be less or equal to 100");
    FAILS("maxmemory-clients", "-5", "argument must be a memory or percent value");
    FAILS("maxmemory-clients", "%", "argument must be a memory or percent value");
    SETS("slowlog-log-slower-than", "-1");
    SETS("list-max-listpack-size", "-5");
    cr_expect_eq(cfg.list_max_listpack_size, -5);
}

Test(config_command, words)
{
    SETS("protected-mode", "NO");
    cr_expect_not(cfg.protected_mode);
    FAILS("protected-mode", "maybe", "argument must be 'yes' or 'no'");
    SETS("maxmemory-policy", "AllKeys-LRU");
    cr_expect_eq(cfg.maxmemory_policy, CONFIG_POLICY_ALLKEYS_LRU);
    FAILS("appendfsync", "x", "argument(s) must be one of the following: everysec, always, no");
    SETS("shutdown-on-sigterm", "now SAVE");
    GIVES("shutdown-on-sigterm", "save now");
    FAILS("shutdown-on-sigterm", "save nosave",
          "shutdown options SAVE and NOSAVE can't be used simultaneously");
    FAILS("shutdown-on-sigterm", "",
          "argument(s) must be one of the following: default, save, nosave, now, force");
    SETS("shutdown-on-sigterm", "default now");
    GIVES("shutdown-on-sigterm", "now");
    SETS("oom-score-adj", "absolute");
    GIVES("oom-score-adj", "absolute");
    FAILS("proc-title-template", "{x}", "template format is invalid or contains unknown variables");
    FAILS("proc-title-template", "{title",
          "template format is invalid or contains unknown variables");
    SETS("proc-title-template", "{title} on {port}!");
}

Test(config_command, lists)
{
    SETS("save", "10 2 30 5");
    GIVES("save", "10 2 30 5");
    FAILS("save", "1 2 3", "Invalid save parameters");
    FAILS("save", "0 1", "Invalid save parameters");
    FAILS("save", "10 2  30 5", "Invalid save parameters");
    SETS("save", "");
    cr_expect_eq(cfg.save.count, 0u);
    GIVES("save", "");
    SETS("client-output-buffer-limit", "normal 1mb 2kb 3 slave 1 1 1");
    GIVES("client-output-buffer-limit",
          "normal 1048576 2048 3 slave 1 1 1 pubsub 33554432 8388608 60");
    SETS("client-output-buffer-limit", "");
    FAILS("client-output-buffer-limit", "normal 1 2",
          "Wrong number of arguments in buffer limit configuration.");
    FAILS("client-output-buffer-limit", "master 1 2 3",
          "Invalid client class specified in buffer limit configuration.");
    FAILS("client-output-buffer-limit", "normal -1 2 3",
          "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    SETS("bind", "127.0.0.1 -::1");
    cr_expect_str_eq(cfg.bind.words[1], "-::1");
    SETS("bind", "");
    cr_expect_eq(cfg.bind.count, 0u);
    FAILS("bind", "a b c d e f g h i j k l m n o p q", "Too many bind addresses specified.");
    SETS("latency-tracking-info-percentiles", "50.5 99.99 33");
    GIVES("latency-tracking-info-percentiles", "50.5 99.99 33");
    FAILS("latency-tracking-info-percentiles", "50 101",
          "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
    FAILS("latency-tracking-info-percentiles", "50 a",
          "Invalid latency-tracking-info-percentiles parameters");
    SETS("latency-tracking-info-percentiles", "");
    GIVES("latency-tracking-info-percentiles", "");
    FAILS("oom-score-adj-values", "1 2", "wrong number of arguments");
    SETS("oom-score-adj-values", "5 2 1");
    GIVES("oom-score-adj-values", "5 2 1");
}

Test(config_command, renames)
{
    const struct directive *d = directive_find(SLICE("rename-command"), NULL);
    struct slice first[] = {SLICE("CONFIG"), SLICE("")}, second[] = {SLICE("get"), SLICE("holen")};
    struct buf why = {0};
    cr_expect(value_parse(d, &cfg.rename_command, d->width, first, 2, true, &why));
    cr_expect(value_parse(d, &cfg.rename_command, d->width, second, 2, true, &why));
    cr_expect_not(value_parse(d, &cfg.rename_command, d->width, first, 1, true, &why));
    cr_assert_eq(cfg.rename_command.count, 4u);
    cr_expect_str_eq(cfg.rename_command.words[1], "");
    cr_expect_str_eq(cfg.rename_command.words[3], "holen");
    buf_deinit(&why);
}

Test(config_command, events)
{
    static const char *const pairs[][2] = {{"KEA", "AKE"}, {"Kg", "gK"},       {"g$lshzxetd", "A"},
                                           {"m", "m"},     {"nmKEA", "AnKEm"}, {"Kx", "xK"},
                                           {"", ""}};
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        SETS("notify-keyspace-events", pairs[i][0]);
        GIVES("notify-keyspace-events", pairs[i][1]);
    }
    FAILS("notify-keyspace-events", "q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
}

Test(config_command, refused)
{
    cr_expect_str_eq(fixture_set(&cfg, "foo", "bar", NULL),
                     "ERR Unknown option or number of arguments for CONFIG SET - 'foo'");
    cr_expect_str_eq(fixture_set(&cfg, "a\r\nb", "", NULL),
                     "ERR Unknown option or number of arguments for CONFIG SET - 'a  b'");
    cr_expect_str_eq(fixture_set(&cfg, "include", "x", NULL),
                     "ERR Unknown option or number of arguments for CONFIG SET - 'include'");
    cr_expect_str_eq(fixture_set(&cfg, "timeout", NULL), "ERR syntax error");
    FAILS("daemonize", "yes", "can't set immutable config");
    FAILS("dir", "/tmp", "can't set protected config");
    SETS("appendonly", "yes");
    FAILS("tls-port", "65536", "argument must be between 0 and 65535 inclusive");
    cr_expect_str_eq(fixture_set(&cfg, "maxmemory", "1", "MAXMEMORY", "2", NULL),
                     "ERR CONFIG SET failed (possibly related to argument 'MAXMEMORY') - "
                     "duplicate parameter");
    char *huge = malloc(2000001);
    memset(huge, 'x', 2000000);
    huge[2000000] = 0;
    cr_expect_str_eq(fixture_set(&cfg, "requirepass", huge, NULL),
                     "ERR CONFIG SET failed (possibly related to argument 'requirepass') - "
                     "argument is too long");
    memset(huge, ' ', 2000000);
    FAILS("save", huge, "argument is too long");
    free(huge);
    struct buf error = {0};
    struct slice zero[] = {SLICE("requirepass"), SLICE("a\0b")};
    cr_expect_not(config_set(&cfg, zero, 2, true, &error));
    buf_deinit(&error);
}

Test(config_command, protected_by_guard)
{
    struct buf error = {0};
    struct slice args[] = {SLICE("dir"), SLICE("/tmp")};
    cfg.enable_protected_configs = CONFIG_GUARD_LOCAL;
    cr_expect_not(config_set(&cfg, args, 2, false, &error));
    cr_expect(config_set(&cfg, args, 2, true, &error));
    cfg.enable_protected_configs = CONFIG_GUARD_YES;
    cr_expect(config_set(&cfg, args, 2, false, &error));
    cr_expect_str_eq(cfg.dir, "/tmp");
    buf_deinit(&error);
}

/* The last of many pairs is wrong: nothing changes, not even lists. */
Test(config_command, atomic)
{
    struct config before;
    config_clone(&before, &cfg);
    cr_expect_str_eq(fixture_set(&cfg, "timeout", "9", "save", "1 1", "bind", "1.2.3.4", "hz", "50",
                                 "requirepass", "secret", "maxmemory", "abc", NULL),
                     "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - "
                     "argument must be a memory value");
    cr_expect_eq(config_changes(&before, &cfg, NULL, NULL), 0u);
    SETS("timeout", "9", "save", "1 1", "bind", "1.2.3.4", "hz", "50", "requirepass", "secret");
    cr_expect_eq(config_changes(&before, &cfg, NULL, NULL), 5u);
    GIVES("hz", "50");
    SETS("hz", "10");
    cr_expect_null(cfg.plain[0]);
    cr_expect_eq(config_changes(&before, &cfg, NULL, NULL), 4u);
    config_deinit(&before);
}

Test(config_command, clones_share_nothing)
{
    SETS("save", "5 5", "requirepass", "one", "hz", "20", "bind", "a b");
    struct config copy;
    config_clone(&copy, &cfg);
    SETS("save", "", "requirepass", "two", "hz", "30", "bind", "c");
    cr_expect_str_eq(copy.requirepass, "one");
    cr_expect_str_eq(copy.bind.words[1], "b");
    cr_expect_str_eq(fixture_get(&copy, "hz"), "20");
    cr_expect_str_eq(fixture_get(&copy, "save"), "5 5");
    config_string_set(&copy.dir, "/somewhere");
    cr_expect_str_eq(cfg.dir, ".");
    config_deinit(&copy);
}

static void collect(void *ctx, struct slice name, struct slice value)
{
    (void)value;
    buf_printf(ctx, "%.*s ", (int)name.len, name.ptr);
}

static const char *names(const char *a, const char *b, const char *c)
{
    static char text[8192];
    struct slice patterns[] = {slice_str(a), slice_str(b), slice_str(c)};
    struct buf out = {0};
    size_t count = config_get(&cfg, patterns, 3, collect, &out);
    cr_expect_eq(config_get(&cfg, patterns, 3, NULL, NULL), count);
    snprintf(text, sizeof text, "%s", fixture_text(&out));
    buf_deinit(&out);
    return text;
}

Test(config_command, patterns)
{
    cr_expect_str_eq(names("MaxMemory", "maxmemory", "no-such"), "MaxMemory ");
    cr_expect_str_eq(names("slave-priority", "replica-priority", "*-PRIORITY"),
                     "slave-priority replica-priority ");
    cr_expect_str_eq(names("maxmemor?", "[m]axmemory", "max\\memory"), "maxmemory ");
    cr_expect_str_eq(names("watch*", "include", "user"), "");
    cr_expect_str_eq(names("watchdog-period", "rename-command", "x"), "watchdog-period ");
    cr_expect(strstr(names("*", "*", "*"), "hash-max-ziplist-entries "));
}

Test(config_command, secrets_and_reasons)
{
    cr_expect(config_is_sensitive(SLICE("RequirePass")));
    cr_expect(config_is_sensitive(SLICE("primaryauth")));
    cr_expect_not(config_is_sensitive(SLICE("port")));
    cr_expect_null(config_without_effect(SLICE("port")));
    cr_expect_not_null(config_without_effect(SLICE("hz")));
    struct buf error = {0};
    config_set_failed(&error, "port", "Unable to listen on this port. Check server logs.");
    cr_expect_str_eq(fixture_text(&error),
                     "ERR CONFIG SET failed (possibly related to argument 'port') - "
                     "Unable to listen on this port. Check server logs.");
    buf_deinit(&error);
}
