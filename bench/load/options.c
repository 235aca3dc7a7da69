/* The load generator's command line: memtier's knobs under similar names.
 *
 * One table of long options, one switch that stores them, one function that refuses combinations
 * which would silently measure something else. Numbers are taken whole: "10k" is an error. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "loadgen: a load of GET and SET on a Redis-like server\n"
    "  --host H --port P        where (127.0.0.1, 6379); --unix PATH instead\n"
    "  --threads N --clients N  load threads (1), connections over all threads (50)\n"
    "  --pipeline N             requests sent at once, then all replies awaited (1)\n"
    "  --ratio S:G              S SETs, then G GETs, and so on (1:10)\n"
    "  --data-size N --ttl S    bytes of a value (64), EX of each SET (none)\n"
    "  --keys N --key-size N    size of the key range (1000000), bytes of a key (16)\n"
    "  --prefix TEXT            in front of the number (\"key:\", nothing with tags)\n"
    "  --pattern P              uniform, zipf:EXPONENT or seq (uniform)\n"
    "  --tags FILE|A,B,C        connection i asks for {tag i}key; a file has one tag per line\n"
    "  --shards N               tags by shard: slots in N equal ranges, the connection's own one\n"
    "                           from worker= of CLIENT INFO, else connection i mod N\n"
    "  --locality L             with --shards: own, any or other shards' keys (own)\n"
    "  --worker N               connections that CLIENT INFO reports elsewhere are opened anew\n"
    "  --walk set|get|del       each key of the range once instead of the mixed load\n"
    "  --preload                the same as --walk set\n"
    "  --command 'WORDS'        this instead of GETs and SETs; __number__ is the key's number\n"
    "  --duration S --warmup S  seconds measured (5) and before that (1); or --requests N\n"
    "  --rate N                 requests per second over all connections, arriving at random\n"
    "  --seed N                 another sequence of keys (1)\n"
    "  --cpus A,B               thread i runs on CPU i of the list\n"
    "  --server-pid PID         report the CPU time of this process too\n"
    "  --server-time            how long the server worked for each batch, too; needs --clients 1\n"
    "                           and --server-pid\n"
    "  --slowest N              list the N slowest requests and when they came (at most 32)\n"
    "  --json                   one JSON object on one line\n"
    "Exit: 0, 1 for a wrong option or no connection, 2 for error replies or a broken stream.\n";

enum {
    OPT_HOST = 256,
    OPT_PORT,
    OPT_UNIX,
    OPT_THREADS,
    OPT_CLIENTS,
    OPT_PIPELINE,
    OPT_RATIO,
    OPT_DATA,
    OPT_TTL,
    OPT_KEYS,
    OPT_KEY_SIZE,
    OPT_PREFIX,
    OPT_PATTERN,
    OPT_TAGS,
    OPT_SHARDS,
    OPT_LOCALITY,
    OPT_WORKER,
    OPT_WALK,
    OPT_PRELOAD,
    OPT_COMMAND,
    OPT_DURATION,
    OPT_WARMUP,
    OPT_REQUESTS,
    OPT_RATE,
    OPT_SEED,
    OPT_CPUS,
    OPT_SERVER_PID,
    OPT_SERVER_TIME,
    OPT_SLOWEST,
    OPT_JSON,
    OPT_HELP,
};

static const struct option long_options[] = {
    {"host", required_argument, NULL, OPT_HOST},
    {"port", required_argument, NULL, OPT_PORT},
    {"unix", required_argument, NULL, OPT_UNIX},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"clients", required_argument, NULL, OPT_CLIENTS},
    {"pipeline", required_argument, NULL, OPT_PIPELINE},
    {"ratio", required_argument, NULL, OPT_RATIO},
    {"data-size", required_argument, NULL, OPT_DATA},
    {"ttl", required_argument, NULL, OPT_TTL},
    {"keys", required_argument, NULL, OPT_KEYS},
    {"key-size", required_argument, NULL, OPT_KEY_SIZE},
    {"prefix", required_argument, NULL, OPT_PREFIX},
    {"pattern", required_argument, NULL, OPT_PATTERN},
    {"tags", required_argument, NULL, OPT_TAGS},
    {"shards", required_argument, NULL, OPT_SHARDS},
    {"locality", required_argument, NULL, OPT_LOCALITY},
    {"worker", required_argument, NULL, OPT_WORKER},
    {"walk", required_argument, NULL, OPT_WALK},
    {"preload", no_argument, NULL, OPT_PRELOAD},
    {"command", required_argument, NULL, OPT_COMMAND},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"warmup", required_argument, NULL, OPT_WARMUP},
    {"requests", required_argument, NULL, OPT_REQUESTS},
    {"rate", required_argument, NULL, OPT_RATE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"cpus", required_argument, NULL, OPT_CPUS},
    {"server-pid", required_argument, NULL, OPT_SERVER_PID},
    {"server-time", no_argument, NULL, OPT_SERVER_TIME},
    {"slowest", required_argument, NULL, OPT_SLOWEST},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static void __attribute__((noreturn, format(printf, 1, 2))) refuse(const char *format, ...)
{
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs(" (--help lists the options)\n", stderr);
    __builtin_va_end(arguments);
    exit(1);
}

static uint64_t whole(const char *text, uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number < min || number > max) {
        refuse("'%s' is not a number from %llu to %llu", text, (unsigned long long)min,
               (unsigned long long)max);
    }
    return number;
}

static double decimal(const char *text, double min, double max)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= min && number <= max)) {
        refuse("'%s' is not a number from %g to %g", text, min, max);
    }
    return number;
}

static unsigned choice(const char *text, const char *const *names)
{
    for (unsigned i = 0; names[i] != NULL; i++) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
    }
    refuse("'%s' is not among the choices", text);
}

static void ratio_parse(struct options *options, const char *text)
{
    int end = 0;
    if (sscanf(text, "%u:%u%n", &options->sets, &options->gets, &end) != 2 || text[end] != '\0' ||
        options->sets > 1000000 || options->gets > 1000000 || options->sets + options->gets == 0) {
        refuse("'%s' is not a ratio like 1:10", text);
    }
}

static void pattern_parse(struct options *options, const char *text)
{
    if (strncmp(text, "zipf:", 5) == 0) {
        options->pattern = PATTERN_ZIPF;
        options->zipf_exponent = decimal(text + 5, 0.01, 10);
        return;
    }
    static const char *const names[] = {"uniform", "seq", NULL};
    options->pattern = choice(text, names) == 0 ? PATTERN_UNIFORM : PATTERN_SEQUENTIAL;
}

static void tag_add(struct options *options, const char *tag, size_t len)
{
    if (len == 0) {
        return;
    }
    options->tags = realloc(options->tags, (options->tag_count + 1) * sizeof *options->tags);
    char *copy = strndup(tag, len);
    if (options->tags == NULL || copy == NULL) {
        refuse("out of memory");
    }
    options->tags[options->tag_count++] = copy;
}

static void tags_parse(struct options *options, const char *text)
{
    FILE *file = fopen(text, "r");
    if (file == NULL) {
        while (*text != '\0') {
            size_t len = strcspn(text, ",");
            tag_add(options, text, len);
            text += len + (text[len] == ',');
        }
    } else {
        char line[256];
        while (fgets(line, sizeof line, file) != NULL) {
            tag_add(options, line, strcspn(line, "\r\n"));
        }
        fclose(file);
    }
    if (options->tag_count == 0) {
        refuse("--tags names no tag");
    }
}

static void cpus_parse(struct options *options, const char *text)
{
    while (*text != '\0') {
        char *end;
        unsigned long cpu = strtoul(text, &end, 10);
        if (end == text || (*end != ',' && *end != '\0') || cpu > 1023 ||
            options->cpu_count == OPTIONS_CPUS_MAX) {
            refuse("'%s' is not a list of CPUs", text);
        }
        options->cpus[options->cpu_count++] = (unsigned)cpu;
        text = end + (*end == ',');
    }
}

static void store(struct options *o, int option, const char *text)
{
    static const char *const walks[] = {"none", "set", "get", "del", NULL};
    static const char *const localities[] = {"own", "any", "other", NULL};

    switch (option) {
    case OPT_HOST: o->host = text; break;
    case OPT_PORT: o->port = text; break;
    case OPT_UNIX: o->unix_path = text; break;
    case OPT_THREADS: o->threads = (unsigned)whole(text, 1, 64); break;
    case OPT_CLIENTS: o->clients = (unsigned)whole(text, 1, 100000); break;
    case OPT_PIPELINE: o->pipeline = (unsigned)whole(text, 1, 100000); break;
    case OPT_RATIO: ratio_parse(o, text); break;
    case OPT_DATA: o->data_len = (unsigned)whole(text, 1, 64u << 20); break;
    case OPT_TTL: o->ttl_s = whole(text, 1, 1u << 31); break;
    case OPT_KEYS: o->keys = whole(text, 1, 1ull << 32); break;
    case OPT_KEY_SIZE: o->key_len = (unsigned)whole(text, 1, 4096); break;
    case OPT_PREFIX: o->prefix = text; break;
    case OPT_PATTERN: pattern_parse(o, text); break;
    case OPT_TAGS: tags_parse(o, text); break;
    case OPT_SHARDS: o->shards = (unsigned)whole(text, 1, 1024); break;
    case OPT_LOCALITY: o->locality = (enum locality)choice(text, localities); break;
    case OPT_WORKER: o->worker = (int)whole(text, 0, 1023); break;
    case OPT_WALK: o->walk = (enum walk)choice(text, walks); break;
    case OPT_PRELOAD: o->walk = WALK_SET; break;
    case OPT_COMMAND: o->command = text; break;
    case OPT_DURATION: o->duration_s = decimal(text, 0.01, 1e6); break;
    case OPT_WARMUP: o->warmup_s = decimal(text, 0, 1e6); break;
    case OPT_REQUESTS: o->requests = whole(text, 1, 1ull << 60); break;
    case OPT_RATE: o->rate = decimal(text, 0.01, 1e9); break;
    case OPT_SEED: o->seed = whole(text, 0, UINT64_MAX); break;
    case OPT_CPUS: cpus_parse(o, text); break;
    case OPT_SERVER_PID: o->server_pid = (pid_t)whole(text, 1, 1u << 22); break;
    case OPT_SERVER_TIME: o->server_time = true; break;
    case OPT_SLOWEST: o->slowest = (unsigned)whole(text, 0, 32); break;
    case OPT_JSON: o->json = true; break;
    case OPT_HELP: fputs(usage, stdout); exit(0);
    default: refuse("unknown option");
    }
}

static void combinations_check(struct options *options)
{
    if (options->command != NULL && (options->tag_count != 0 || options->shards != 0)) {
        refuse("--command has no use for --tags and --shards");
    }
    if (options->tag_count != 0 && options->shards != 0) {
        refuse("--tags and --shards exclude each other");
    }
    if (options->walk != WALK_NONE && options->requests != 0) {
        refuse("a walk visits each key once: --requests has no place in it");
    }
    if (options->walk != WALK_NONE && options->tag_count > options->clients) {
        refuse("a walk needs a connection for each tag");
    }
    if (options->server_time && (options->clients != 1 || options->server_pid == 0)) {
        refuse("--server-time needs --clients 1 and --server-pid");
    }
    if (options->shards == 1 && options->locality == LOCALITY_OTHER) {
        refuse("with one shard there is no other");
    }
    if (options->shards != 0 && options->keys < options->shards) {
        refuse("fewer keys than shards");
    }
    if (options->threads > options->clients) {
        options->threads = options->clients;
    }
    if (options->prefix == NULL) {
        options->prefix = options->tag_count != 0 || options->shards != 0 ? "" : "key:";
    }
}

void options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){
        .host = "127.0.0.1",
        .port = "6379",
        .threads = 1,
        .clients = 50,
        .pipeline = 1,
        .sets = 1,
        .gets = 10,
        .data_len = 64,
        .keys = 1000000,
        .key_len = 16,
        .seed = 1,
        .worker = -1,
        .warmup_s = 1,
        .duration_s = 5,
    };
    for (;;) {
        int option = getopt_long(argc, argv, "", long_options, NULL);
        if (option == -1) {
            break;
        }
        store(options, option, optarg);
    }
    if (optind < argc) {
        refuse("'%s' is no option", argv[optind]);
    }
    combinations_check(options);
}
