/* Where the keys of a call are, and what it does with each.
 *
 * Most commands have their keys in a plain range of arguments, used in one way: command_keys()
 * reads that from the table row. The others name an extractor: keys_by_specs() follows the key
 * specs that clients see as well (numkeys; commands that read one key and write another), the rest
 * look at options. An extractor answers for exactly these arguments: what it calls read-only is
 * taken with a shared lock.
 *
 * Malformed arguments (numkeys beyond the arguments) give -1: the handler is run without keys and
 * finds the words for it.
 * Thread: any (pure). */
#include <limits.h>

#include "docs.h"
#include "splitring/base/num.h"
#include "splitring/cmd/block_args.h"

/* Appends the keys from first to last (inclusive, absolute). Returns how many, -1: out of argv. */
static int add_range(int first, int last, int step, uint32_t flags, int argc, struct key_ref *refs)
{
    int count = 0;
    for (int64_t at = first; at <= last; at += step) {
        if (at >= argc || at < 1) return -1;
        refs[count++] = (struct key_ref){(int)at, flags};
    }
    return count;
}

int command_keys(const struct command *cmd, const struct slice *argv, int argc,
                 struct key_ref *refs)
{
    if (cmd->keys) return cmd->keys(cmd, argv, argc, refs);
    if (cmd->key_first == 0) return 0;
    int last = cmd->key_last < 0 ? argc + cmd->key_last : cmd->key_last;
    return add_range(cmd->key_first, last, cmd->key_step, cmd->key_flags, argc, refs);
}

/* The argument that a spec counts from; 0: there is none, which is no mistake. */
static int spec_begin(const struct key_spec *spec, const struct slice *argv, int argc)
{
    if (spec->begin == KEYS_BEGIN_INDEX) return spec->index;
    if (spec->begin != KEYS_BEGIN_KEYWORD) return 0;
    int step = spec->from < 0 ? -1 : 1;
    int at = spec->from < 0 ? argc + spec->from : spec->from;
    for (; at >= 1 && at < argc - 1; at += step) {
        if (slice_is_word(argv[at], spec->keyword)) return at + 1;
    }
    return 0;
}

static int spec_keys(const struct key_spec *spec, const struct slice *argv, int argc,
                     struct key_ref *refs)
{
    int begin = spec_begin(spec, argv, argc);
    if (begin == 0 || spec->find == KEYS_FIND_UNKNOWN) return 0;
    if (spec->find == KEYS_FIND_RANGE) {
        int last = begin + spec->last;
        if (spec->last < 0) {
            last = argc + spec->last;
            if (spec->limit > 1) last = begin + (argc - begin) / spec->limit + spec->last;
        }
        return add_range(begin, last, spec->step, spec->flags, argc, refs);
    }
    int64_t count;
    int at = begin + spec->keynum;
    if (at >= argc || !num_parse_i64(argv[at], &count) || count < 0 || count > INT_MAX) return -1;
    int64_t first = begin + spec->first, last = first + (count - 1) * spec->step;
    if (count > 0 && last >= argc) return -1;
    return add_range((int)first, (int)last, spec->step, spec->flags, argc, refs);
}

int keys_by_specs(const struct command *cmd, const struct slice *argv, int argc,
                  struct key_ref *refs)
{
    int count = 0;
    for (int i = 0; i < cmd->key_spec_count; i++) {
        const struct key_spec *spec = &cmd->key_specs[i];
        if (spec->flags & KEY_NOT_KEY) continue;
        int found = spec_keys(spec, argv, argc, refs + count);
        if (found < 0) return -1;
        count += found;
    }
    return count;
}

int keys_set(const struct command *cmd, const struct slice *argv, int argc, struct key_ref *refs)
{
    (void)cmd;
    refs[0] = (struct key_ref){1, KEY_OW | KEY_UPDATE};
    for (int i = 3; i < argc; i++) {
        bool compares = argv[i].len >= 4 && (argv[i].ptr[0] == 'I' || argv[i].ptr[0] == 'i') &&
                        (slice_is_word(argv[i], "IFEQ") || slice_is_word(argv[i], "IFNE") ||
                         slice_is_word(argv[i], "IFDEQ") || slice_is_word(argv[i], "IFDNE"));
        if (compares || slice_is_word(argv[i], "GET")) {
            refs[0].flags = KEY_RW | KEY_ACCESS | KEY_UPDATE;
        }
    }
    return 1;
}

int keys_bitfield(const struct command *cmd, const struct slice *argv, int argc,
                  struct key_ref *refs)
{
    (void)cmd;
    refs[0] = (struct key_ref){1, KEY_RO | KEY_ACCESS};
    for (int i = 2; i < argc;) {
        int left = argc - i - 1;
        if (slice_is_word(argv[i], "GET") && left >= 2) {
            i += 3;
        } else if (slice_is_word(argv[i], "OVERFLOW") && left >= 1) {
            i += 2;
        } else {
            /* SET, INCRBY, or a mistake that the handler will find: the careful answer */
            refs[0].flags = KEY_RW | KEY_ACCESS | KEY_UPDATE;
            break;
        }
    }
    return 1;
}

int keys_georadius(const struct command *cmd, const struct slice *argv, int argc,
                   struct key_ref *refs)
{
    (void)cmd;
    refs[0] = (struct key_ref){1, KEY_RO | KEY_ACCESS};
    int count = 1;
    for (int i = 5; i + 1 < argc; i++) {
        if (!slice_is_word(argv[i], "STORE") && !slice_is_word(argv[i], "STOREDIST")) continue;
        refs[1] = (struct key_ref){++i, KEY_OW | KEY_UPDATE};
        count = 2;
    }
    return count;
}

/* The keys between STREAMS and the ids: half of what follows it. */
static int keys_of_streams(const struct slice *argv, int argc, uint32_t flags,
                           struct key_ref *refs)
{
    bool block;
    int at = block_streams_at(argv, argc, &block);
    int count = argc - at - 1;
    if (count <= 0 || count % 2) return -1;
    return add_range(at + 1, at + count / 2, 1, flags, argc, refs);
}

int keys_xread(const struct command *cmd, const struct slice *argv, int argc, struct key_ref *refs)
{
    (void)cmd;
    return keys_of_streams(argv, argc, KEY_RO | KEY_ACCESS, refs);
}

/* Redis calls the keys read-only, but reading for a group changes the group. */
int keys_xreadgroup(const struct command *cmd, const struct slice *argv, int argc,
                    struct key_ref *refs)
{
    (void)cmd;
    return keys_of_streams(argv, argc, KEY_RW | KEY_ACCESS | KEY_UPDATE, refs);
}

/* MIGRATE: the third argument, or what follows KEYS. Passwords may read KEYS. */
int keys_migrate(const struct command *cmd, const struct slice *argv, int argc,
                 struct key_ref *refs)
{
    const uint32_t flags = KEY_RW | KEY_ACCESS | KEY_DELETE;
    (void)cmd;
    for (int i = 6; i < argc; i++) {
        if (slice_is_word(argv[i], "AUTH")) {
            i++;
        } else if (slice_is_word(argv[i], "AUTH2")) {
            i += 2;
        } else if (slice_is_word(argv[i], "KEYS")) {
            return argv[3].len > 0 ? -1 : add_range(i + 1, argc - 1, 1, flags, argc, refs);
        }
    }
    refs[0] = (struct key_ref){3, flags};
    return 1;
}
