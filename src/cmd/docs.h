/* The generated command table and what only COMMAND looks at: key specs, documentation, arguments.
 * Thread: any (constant). */
#ifndef SPLITRING_SRC_CMD_DOCS_H
#define SPLITRING_SRC_CMD_DOCS_H

#include <assert.h>

#include "splitring/cmd/command.h"

/* ---- key specs: where keys are, for clients ----
 * Source: https://redis.io/docs/latest/develop/reference/key-specs/ */

enum key_begin { KEYS_BEGIN_INDEX, KEYS_BEGIN_KEYWORD, KEYS_BEGIN_UNKNOWN };
enum key_find { KEYS_FIND_RANGE, KEYS_FIND_KEYNUM, KEYS_FIND_UNKNOWN };

struct key_spec {
    uint32_t flags;      /* key_flag */
    uint8_t begin;       /* enum key_begin */
    uint8_t find;        /* enum key_find */
    int16_t index;       /* begin index: argv position of the first key, or of numkeys */
    const char *keyword; /* begin keyword: the key follows this word … */
    int16_t from;        /* … searched from here on; negative: backwards from that end */
    int16_t last;        /* range: last key, from the first one; negative: from the end of argv */
    int16_t step;        /* range and keynum: from key to key */
    int16_t limit;       /* range with last -1: only the first 1/limit of the arguments */
    int16_t keynum;      /* keynum: where the number of keys is, from `index` */
    int16_t first;       /* keynum: where the first key is, from `index` */
    const char *notes;
};

/* ---- documentation ---- */

enum command_arg_type {
    ARG_STRING, ARG_INTEGER, ARG_DOUBLE, ARG_KEY, ARG_PATTERN, ARG_UNIX_TIME, ARG_PURE_TOKEN,
    ARG_ONEOF, ARG_BLOCK
};
enum command_arg_flag {
    ARG_OPTIONAL = 1u << 0,
    ARG_MULTIPLE = 1u << 1,
    ARG_MULTIPLE_TOKEN = 1u << 2
};

struct command_arg {
    const char *name;
    enum command_arg_type type;
    int spec;                       /* key arguments: index of the key spec, else -1 */
    uint32_t flags;                 /* command_arg_flag */
    const char *token, *summary, *since, *deprecated_since; /* or NULL */
    const struct command_arg *args; /* of oneof and block */
    int arg_count;
};

struct command_history {
    const char *since, *change;
};

enum command_doc_flag { DOC_DEPRECATED = 1u << 0, DOC_SYSCMD = 1u << 1 };

struct command_docs {
    const char *summary, *since, *group, *complexity, *deprecated_since, *replaced_by; /* or NULL */
    uint32_t flags; /* command_doc_flag */
    const struct command_history *history;
    int history_count;
    const char *const *tips;
    int tip_count;
    const struct command_arg *args;
    int arg_count;
};

/* ---- generated ---- */

extern const struct command commands_table[];
extern const size_t commands_table_count;

/* Open addressing, linear probing; subcommands are not in it. */
#define COMMAND_SLOTS 1024
struct command_slot {
    uint64_t head;   /* first eight bytes of the name, little endian, zero padded */
    uint16_t id_up;  /* id + 1; 0: empty */
    uint16_t len;
};
extern const struct command_slot command_slots[COMMAND_SLOTS];

/* ---- extractors that the table names (keyspec.c) ---- */

typedef int key_extractor(const struct command *cmd, const struct slice *argv, int argc,
                          struct key_ref *refs);
key_extractor keys_by_specs;   /* what the key specs say */
key_extractor keys_set;        /* SET: read as well with GET or a comparison */
key_extractor keys_bitfield;   /* BITFIELD: written only with SET or INCRBY */
key_extractor keys_georadius;  /* GEORADIUS and GEORADIUSBYMEMBER: the last STORE counts */
key_extractor keys_xread;      /* XREAD: half of what follows STREAMS */
key_extractor keys_xreadgroup; /* the same, written */
key_extractor keys_sort;       /* SORT: the last STORE */
key_extractor keys_sort_ro;    /* SORT_RO: just the first, whatever it says of BY and GET */
bool sort_reads_more(const struct slice *argv, int argc); /* a pattern names keys */
key_extractor keys_migrate;    /* MIGRATE: one key, or those behind KEYS */

#endif
