/* splitring-rdb: looks into dumps, and makes dumps of dumps. Here are arguments and `check`; the
 * other commands have files of their own.
 *
 * Values are made with the server's own code in a shard that holds one key at a time, so a file
 * that passes `check` loads.
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "tool.h"

static const char usage[] =
    "Usage: splitring-rdb COMMAND [OPTION]... FILE...\n"
    "\n"
    "  check FILE...           read all values and the checksum\n"
    "  stats FILE... [-t N]    keys and bytes by type and by prefix up to ':', biggest keys\n"
    "  json FILE               one JSON object per key and line; bytes that are no UTF-8 become\n"
    "                          {\"base64\": \"...\"}\n"
    "  merge FILE... -o OUT    one dump of several; a key that is in two of them is an error\n"
    "  split FILE -n N -o OUT  N dumps OUT.0 ... by the slots of the keys; with --set a snapshot\n"
    "                          as snapshot-layout shards makes it (OUT.manifest)\n"
    "\n"
    "A FILE that ends with .manifest stands for the parts of that snapshot. What merge and split\n"
    "write next to another snapshot of the same name counts as newer than that; nothing of it is\n"
    "removed.\n"
    "\n"
    "  -o, --output FILE       where to write; a file there is replaced when all is well\n"
    "  -n, --parts N           1 to 1024\n"
    "      --set               with split: a snapshot of N files\n"
    "  -t, --top N             lines of each list (20)\n"
    "      --for-7.0           write what redis-server 7.0 reads, even if streams' consumers\n"
    "                          lose the time of their last success\n"
    "  -q, --quiet             no progress bar\n"
    "  -h, --help    -v, --version\n"
    "\n"
    "Reads dumps of Redis up to 8.0 and Valkey up to 9.1; writes those of Redis 7.0 or 7.2, and\n"
    "of 7.4 where fields of hashes have a TTL. Exit status: 0 fine, 1 damaged, 2 wrong usage,\n"
    "3 a file cannot be read or written.\n";

/* ---- check ---- */

static enum exit_code check_file(const char *path, const struct options *o)
{
    struct input input;
    struct rdb_item item;
    struct scratch s;
    enum exit_code code = EXIT_FINE;
    uint64_t keys = 0, expires = 0, functions = 0, empty = 0;
    if (!input_open(&input, path, o)) return EXIT_ENVIRONMENT;
    scratch_init(&s);
    while (input_next(&input, &item, &code)) {
        int rc;
        functions += item.kind == RDB_ITEM_FUNCTION;
        if (item.kind != RDB_ITEM_KEY) continue;
        if (scratch_take(&s, &input, &item, &rc)) scratch_drop(&s, &item);
        if (!input_ok(&input, rc, &code)) break;
        empty += rc == RDB_E_EMPTY;
        keys += rc == 0;
        expires += rc == 0 && item.expire != EXPIRE_NONE;
    }
    scratch_deinit(&s);
    unsigned version = rdb_in_version(input.in);
    input_close(&input);
    if (code != EXIT_FINE) return code;
    printf("%s: fine, version %u, %llu keys (%llu with a TTL), %llu function libraries, %llu "
           "bytes\n", path, version, (unsigned long long)keys, (unsigned long long)expires,
           (unsigned long long)functions, (unsigned long long)input.size);
    if (empty) printf("%s: %llu empty keys, which are skipped\n", path, (unsigned long long)empty);
    return EXIT_FINE;
}

enum exit_code run_check(const struct options *o)
{
    enum exit_code worst = EXIT_FINE;
    for (unsigned i = 0; i < o->file_count; i++) {
        enum exit_code code = check_file(o->files[i], o);
        if (code > worst) worst = code;
    }
    return worst;
}

/* ---- arguments ---- */

static const struct command {
    const char *name;
    enum exit_code (*run)(const struct options *o);
    unsigned files_max;
    bool output, parts;
} commands[] = {
    {"check", run_check, FILES_MAX, false, false}, {"stats", run_stats, FILES_MAX, false, false},
    {"json", run_json, 1, false, false},     {"merge", run_merge, FILES_MAX, true, false},
    {"split", run_split, 1, true, true},
};

static int wrong(const char *what, const char *word)
{
    fprintf(stderr, "splitring-rdb: %s%s\nTry splitring-rdb --help.\n", what, word);
    return EXIT_USAGE;
}

static bool read_number(const char *text, unsigned most, unsigned *out)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    *out = (unsigned)n;
    return *text && !*end && n >= 1 && n <= most;
}

/* The option at argv[i] with its value; false: it is none, or has no good value. */
static bool read_option(struct options *o, const char *word, const char *value, int *i)
{
    if (!strcmp(word, "-q") || !strcmp(word, "--quiet")) return o->quiet = true;
    if (!strcmp(word, "--for-7.0")) return o->plain_70 = true;
    if (!strcmp(word, "--set")) return o->set = true;
    if (!value) return false;
    ++*i;
    if (!strcmp(word, "-o") || !strcmp(word, "--output")) return (o->output = value) != NULL;
    if (!strcmp(word, "-n") || !strcmp(word, "--parts")) return read_number(value, 1024, &o->parts);
    return (!strcmp(word, "-t") || !strcmp(word, "--top")) && read_number(value, 1000000, &o->top);
}

int main(int argc, char **argv)
{
    struct options o = {.program = "splitring-rdb", .top = 20};
    const struct command *command = NULL;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!strcmp(word, "-h") || !strcmp(word, "--help")) return fputs(usage, stdout) < 0;
        if (!strcmp(word, "-v") || !strcmp(word, "--version"))
            return printf("splitring-rdb " SPLITRING_VERSION "\n") < 0;
        if (word[0] == '-') {
            if (!read_option(&o, word, i + 1 < argc ? argv[i + 1] : NULL, &i))
                return wrong("unknown option or bad value: ", word);
        } else if (!command) {
            for (size_t n = 0; n < ARRAY_COUNT(commands); n++)
                if (!strcmp(word, commands[n].name)) command = &commands[n];
            if (!command) return wrong("unknown command: ", word);
        } else if (o.file_count < command->files_max) {
            o.files[o.file_count++] = word;
        } else {
            return wrong("too many files: ", word);
        }
    }
    if (!command) return wrong("a command is missing", "");
    if (!o.file_count) return wrong("a file is missing", "");
    if (command->output != (o.output != NULL))
        return wrong(o.output ? "nothing is written by " : "-o is missing for ", command->name);
    if (command->parts != (o.parts != 0)) return wrong("-n belongs to split alone", "");
    if (o.set && !command->parts) return wrong("--set belongs to split alone", "");
    enum exit_code code = set_expand(&o);
    if (code == EXIT_FINE) code = command->run(&o);
    set_forget(&o);
    return (int)code;
}
