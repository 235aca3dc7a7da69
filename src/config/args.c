/* The command line: splitring [file] [-] [--name value …].
 *
 * Options are turned into lines of a configuration file, as Redis does it, so that there is one
 * reader and one set of messages. Its quirks are kept because scripts and container images rely on
 * them: values go up to the next word that begins with "--"; but a name without a value yet takes
 * even such a word ("--port --x" gives port the value "--x"); `--save` alone means `--save ""`;
 * "--port 7000" may come as one word; a lone "-" in first or last place reads standard input.
 *
 * Thread: any. */
#include <stdio.h>
#include <string.h>

#include "directive.h"

void config_args_deinit(struct config_args *args)
{
    buf_deinit(&args->options);
    buf_deinit(&args->environment);
    buf_deinit(&args->environment_left);
    *args = (struct config_args){0};
}

static bool is_option(const char *word) { return word[0] == '-' && word[1] == '-'; }

/* Words that are no directives. `first`: the short forms count in first place only. */
static bool take_action(struct config_args *args, const char *word, bool first)
{
    static const struct {
        const char *word;
        enum config_action action;
    } actions[] = {{"--check-config", CONFIG_CHECK}, {"--healthcheck", CONFIG_HEALTHCHECK},
                   {"--livecheck", CONFIG_LIVECHECK},
                   {"--version", CONFIG_VERSION},    {"--help", CONFIG_HELP},
                   {"-v", CONFIG_VERSION},           {"-h", CONFIG_HELP}};
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++) {
        if (strcmp(word, actions[i].word) != 0) continue;
        if (!is_option(word) && !first) return false;
        args->action = actions[i].action;
        return true;
    }
    return false;
}

/* The word holds a value behind the name: "--port 7000". */
static bool has_value(const char *word)
{
    struct line_args split;
    if (!line_split(&split, slice_str(word))) return true;
    size_t count = split.count;
    line_args_deinit(&split);
    return count != 1;
}

/* --save without a value is `save ""`. */
static bool lacks_save_points(const char *word, const char *next)
{
    return slice_is_word(slice_str(word), "--save") && (!next || is_option(next));
}

void config_parse_args(struct config_args *args, int argc, char *const *argv)
{
    *args = (struct config_args){.action = CONFIG_RUN};
    int first = 1;
    while (first < argc && take_action(args, argv[first], first == 1)) first++;
    int at = first;
    if (at < argc && argv[at][0] != '-') args->file = argv[at++];
    bool complete = true; /* the last option has a value */
    for (; at < argc; at++) {
        const char *word = argv[at], *next = at + 1 < argc ? argv[at + 1] : NULL;
        if (!strcmp(word, "-") && (at == first || !next)) {
            args->from_stdin = true;
        } else if (complete && take_action(args, word, false)) {
            continue;
        } else if (complete && is_option(word)) {
            if (args->options.len) buf_append_char(&args->options, '\n');
            buf_printf(&args->options, "%s ", word + 2);
            complete = has_value(word);
            if (!complete && lacks_save_points(word, next)) {
                buf_append_slice(&args->options, SLICE("\"\""));
                complete = true;
            }
        } else {
            line_append_quoted(&args->options, slice_str(word));
            buf_append_char(&args->options, ' ');
            complete = true;
        }
    }
}

/* ---- the environment ---- */

#define ENVIRONMENT_PREFIX "SPLITRING_"
#define NAME_MAX_LEN 64u

/* SPLITRING_PORT=tcp://10.0.0.1:6379, SPLITRING_SERVICE_HOST, SPLITRING_PORT_6379_TCP_ADDR … */
static bool is_service_link(struct slice name, const char *value)
{
    bool port = name.len >= 4 && memcmp(name.ptr, "port", 4) == 0;
    bool service = name.len >= 8 && memcmp(name.ptr, "service-", 8) == 0;
    return service || (port && name.len > 4 && name.ptr[4] == '-') ||
           (port && name.len == 4 && strstr(value, "://"));
}

static void take_variable(struct config_args *args, struct slice name, const char *value)
{
    struct slice text = slice_str(value);
    do { /* an empty value is a line, too */
        buf_append_slice(&args->environment, name);
        buf_append_char(&args->environment, ' ');
        struct slice line = line_next(&text);
        buf_append_slice(&args->environment, line.len ? line : SLICE("\"\""));
        buf_append_char(&args->environment, '\n');
    } while (text.len);
}

void config_take_environment(struct config_args *args, char *const *environment)
{
    const size_t prefix = sizeof ENVIRONMENT_PREFIX - 1;
    for (; *environment; environment++) {
        char lower[NAME_MAX_LEN];
        size_t len = 0;
        const char *at = *environment + prefix, *end = strchr(*environment, '=');
        if (strncmp(*environment, ENVIRONMENT_PREFIX, prefix) != 0 || !end) continue;
        for (; at < end && len < sizeof lower; at++) {
            bool upper = *at >= 'A' && *at <= 'Z';
            lower[len++] = *at == '_' ? '-' : (char)(upper ? *at - 'A' + 'a' : *at);
        }
        struct slice name = slice_of(lower, len);
        if (is_service_link(name, end + 1)) continue;
        if (at == end && directive_find(name, NULL)) {
            take_variable(args, name, end + 1);
        } else {
            buf_append_char(&args->environment_left, ' ');
            buf_append(&args->environment_left, *environment, (size_t)(end - *environment));
        }
    }
}

const char *config_usage(void)
{
    return "Usage: splitring [/path/to/redis.conf | -] [--directive value ...]\n"
           "\n"
           "  splitring                              the default settings, port 6379\n"
           "  splitring /etc/redis/redis.conf        a configuration file of Redis or Valkey\n"
           "  splitring - < redis.conf               the same from standard input\n"
           "  splitring redis.conf --port 7000 --maxmemory 1gb --save \"\"\n"
           "                                         options win over the file\n"
           "\n"
           "Every directive of redis.conf is an option, and a variable of the environment:\n"
           "SPLITRING_MAXMEMORY=1gb (options win). Splitring's own directives:\n"
           "  --threads auto|N                       workers; auto: the CPUs that it may use\n"
           "  --io-engine auto|io_uring|epoll        auto: io_uring where it is allowed\n"
           "  --shard-lending yes|no                 workers serve shards of idle workers\n"
           "  --connection-placement packed|spread   few busy workers, or connections in turn\n"
           "  --cpu-pinning yes|no                   each worker stays on its CPU\n"
           "  --admin-port N                         HTTP: a live page, /metrics, /readyz, /livez\n"
           "  --hot-keys yes|no                      one command in 64 tells which keys are hot\n"
           "  --admin-bind ADDRESS ...               where; default 127.0.0.1\n"
           "\n"
           "Instead of running:\n"
           "  --check-config                         say what is honoured, ignored and refused\n"
           "  --healthcheck [HOST:PORT]              PING the server there, or the one that these\n"
           "                                         settings name; exit status 0: it is ready\n"
           "  --livecheck [HOST:PORT]                …; 0: it answers, and may be loading\n"
           "  -v, --version    -h, --help\n";
}
