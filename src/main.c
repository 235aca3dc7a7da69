/* The process: arguments and configuration, what they ask for (--check-config, --healthcheck …),
 * and the surroundings of the server (directory, log, daemon). The server itself is server.c.
 * Thread: main. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"
#include "splitring/cmd/command.h"
#include "splitring/io/log.h"
#include "splitring/io/net.h"
#include "splitring/io/os.h"
#include "splitring/io/tls.h"
#include "splitring/worker/worker.h"

/* ---- configuration ---- */

static int read_file(void *ctx, const char *path, struct buf *out)
{
    (void)ctx;
    return os_file_read(path, 16u << 20, out);
}

static int glob_files(void *ctx, const char *pattern, struct buf *out)
{
    glob_t found;
    (void)ctx;
    int rc = glob(pattern, 0, NULL, &found);
    if (rc == GLOB_NOMATCH) return 0;
    if (rc != 0) return -EIO;
    for (size_t i = 0; i < found.gl_pathc; i++)
        buf_append(out, found.gl_pathv[i], strlen(found.gl_pathv[i]) + 1);
    globfree(&found);
    return 0;
}

/* host NULL: the Unix socket. alive: any answer will do. */
static bool answers(const char *host, const struct config *c, bool alive)
{
    struct slice ping = SLICE("PING\r\n");
    struct buf answer = {0};
    struct tls_options tls;
    hub_tls_options(c, &tls);
    int rc = host && !c->port
                 ? tls_ask(&tls, host, (uint16_t)c->tls_port, ping, &answer, 2000)
                 : net_ask(host, (uint16_t)c->port, c->unixsocket, ping, &answer, 2000);
    /* NOAUTH comes only from a server that is there and ready. */
    bool ok = rc == 0 && answer.len > 0 &&
              (alive || answer.ptr[0] == '+' ||
               (answer.len > 7 && memcmp(answer.ptr, "-NOAUTH", 7) == 0));
    buf_deinit(&answer);
    return ok;
}

/* From where one listens to where one connects: "any address" is reached by the loopback. */
static const char *reachable(const char *bound)
{
    if (*bound == '-') bound++; /* may be missing */
    if (!*bound || !strcmp(bound, "*") || !strcmp(bound, "0.0.0.0")) return "127.0.0.1";
    if (!strcmp(bound, "::*") || !strcmp(bound, "::")) return "::1";
    return bound;
}

static int healthcheck(const struct config *c, bool alive)
{
    for (size_t i = 0; (c->port || c->tls_port) && i < c->bind.count; i++)
        if (answers(reachable(c->bind.words[i]), c, alive)) return 0;
    return c->unixsocket[0] && answers(NULL, c, alive) ? 0 : 1;
}

/* --healthcheck host:port, with brackets around an IPv6 address. False: it is no such thing. */
static bool take_address(struct config_args *args, struct config *c, char host[256])
{
    const char *colon = args->file ? strrchr(args->file, ':') : NULL;
    char *end;
    if (!colon || colon == args->file || colon - args->file > 255) return false;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end || end == colon + 1 || port == 0 || port > UINT16_MAX) return false;
    bool brackets = args->file[0] == '[' && colon[-1] == ']';
    snprintf(host, 256, "%.*s", (int)(colon - args->file) - 2 * brackets, args->file + brackets);
    c->port = (int)port;
    args->file = NULL;
    return true;
}

static void note_line(void *ctx, const char *text)
{
    (void)ctx;
    log_line(LOG_LEVEL_NOTICE, "%s", text);
}

/* CONFIG REWRITE must find the file after chdir. */
static void config_file_make_absolute(struct config *config)
{
    char cwd[4096];
    struct buf path = {0};
    if (config->config_file[0] == '\0' || config->config_file[0] == '/') return;
    os_cwd(cwd, sizeof cwd);
    buf_printf(&path, "%s/%s", cwd, config->config_file);
    buf_append_char(&path, '\0');
    config_string_set(&config->config_file, path.ptr);
    buf_deinit(&path);
}

static int start_log(const struct config *c)
{
    log_set_format((enum log_format)c->log_format, (enum log_time)c->log_time);
    if (c->syslog_enabled) log_open_syslog(c->syslog_ident, c->syslog_facility);
    return log_open(c->logfile, (enum log_level)c->loglevel);
}

/* What only who knows the commands can judge. False: *error says why, as for any other line. */
static bool names_are_fine(const struct config *c, struct buf *error)
{
    struct command_names *names;
    size_t bad;
    const struct config_words *words = &c->rename_command;
    const char *why = command_names_new(&names, words->words, words->count, &bad);
    if (why)
        buf_printf(error,
                   "\n*** FATAL CONFIG FILE ERROR (Splitring " SPLITRING_VERSION ") ***\n"
                   "Reading the configuration\n>>> 'rename-command %s \"%s\"'\n%s\n",
                   words->words[bad], words->words[bad + 1], why);
    command_names_free(names);
    return why == NULL;
}

/* unknown: variables that look as if they were meant for us. */
static int prepare_and_serve(struct config *config, const struct config_notes *notes,
                             struct slice unknown)
{
    char cwd[4096];
    config_file_make_absolute(config);
    int rc = os_chdir(config->dir); /* first: relative names are names in it */
    if (rc != 0)
        fprintf(stderr, "Can't chdir to '%s': %s\n", config->dir, strerror(-rc));
    else if ((rc = start_log(config)) != 0)
        fprintf(stderr, "Can't open the log file %s: %s\n", config->logfile, strerror(-rc));
    if (rc != 0) return 1;
    os_cwd(cwd, sizeof cwd);
    config_string_set(&config->dir, cwd);
    if (config->daemonize && os_daemonize() != 0) return 1;
    config_log_notes(config, notes, note_line, NULL);
    if (unknown.len)
        log_line(LOG_LEVEL_WARNING, "Variables of the environment that name no directive:%.*s",
                 (int)unknown.len, unknown.ptr);
    bool clients_given = config_given(notes, "maxmemory-clients");
    if (!config_given(notes, "maxmemory")) server_limit_memory(config, clients_given);
    return server_run(config);
}

int main(int argc, char **argv)
{
    struct config config;
    struct config_args args;
    struct config_notes notes = {0};
    struct config_files files = {.read = read_file, .glob = glob_files};
    struct buf report = {0};
    config_init(&config);
    config_parse_args(&args, argc, argv);
    config_take_environment(&args, environ);
    int rc = 0;
    if (args.action == CONFIG_VERSION) {
        printf("Splitring server v=" SPLITRING_VERSION " bits=64\n");
    } else if (args.action == CONFIG_HELP) {
        fputs(config_usage(), stdout);
    } else {
        char host[256];
        bool alive = args.action == CONFIG_LIVECHECK;
        bool probes = args.action == CONFIG_HEALTHCHECK || alive;
        bool asks = probes && take_address(&args, &config, host);
        bool ok = asks || (config_load(&config, &args, &files, &notes) &&
                           names_are_fine(&config, &notes.error));
        if (args.action == CONFIG_CHECK) {
            config_report(&notes, &report);
            fwrite(report.ptr, 1, report.len, stdout);
        }
        if (!ok) fwrite(notes.error.ptr, 1, notes.error.len, stderr);
        if (!ok)
            rc = 1;
        else if (probes)
            rc = asks ? !answers(host, &config, alive) : healthcheck(&config, alive);
        else if (args.action == CONFIG_RUN)
            rc = prepare_and_serve(&config, &notes, buf_slice(&args.environment_left));
    }
    buf_deinit(&report);
    config_notes_deinit(&notes);
    config_args_deinit(&args);
    config_deinit(&config);
    return rc;
}
