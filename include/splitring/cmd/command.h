/* The command table: one truth in src/cmd/(group).toml, made into C by tools/gen_commands.py.
 * Thread: any (constant after start). */
#ifndef SPLITRING_CMD_COMMAND_H
#define SPLITRING_CMD_COMMAND_H

#include "splitring/base/slice.h"

struct call;
struct command_docs;
struct key_spec;
struct reply;

/* How a command finds its shard (DESIGN section 3). */
enum route {
    ROUTE_HERE,  /* no keys: a handler of the connection's worker (see worker/local.h) */
    ROUTE_KEYS,  /* the shards of its keys: one or several */
    ROUTE_SHARD, /* one shard drawn by the command itself (SCAN: cursor, RANDOMKEY) */
    ROUTE_CHANNEL, /* the shard of argument 1, which is a channel and no key: PUBLISH */
    ROUTE_ALL    /* every key of every shard (FLUSHALL, DBSIZE, KEYS, SWAPDB) */
};

/* What a command over several shards does where its keys live, when not all shards can be held at
 * once (DESIGN section 4). */
enum split {
    SPLIT_NONE,  /* values are fetched under locks, the handler runs at the coordinator on copies,
                    changed keys are written back (COPY, RENAME, BITOP, LCS, MSETNX) */
    SPLIT_SUM,   /* runs at each shard with its own keys; integer replies are added (DEL, EXISTS) */
    SPLIT_ARRAY, /* as SUM, one reply element per key, put in argument order (MGET) */
    SPLIT_OK,    /* as SUM, +OK once (MSET, FLUSHALL, SWAPDB) */
    SPLIT_CONCAT, /* as SUM, array replies are concatenated (KEYS) */
    SPLIT_PICK,  /* as SUM, one of the replies that are not nil (RANDOMKEY) */
    SPLIT_FIRST, /* runs where the first of its keys lives that exists, in argument order; keys of
                    other shards read as absent there (LMPOP, BLPOP, ZMPOP, BZPOPMIN) */
    SPLIT_MOVE,  /* as NONE; who waits, waits for the first key only (LMOVE, SMOVE) */
    SPLIT_AWAY   /* as NONE, always on copies: it asks another server meanwhile (MIGRATE) */
};

enum command_flag {
    CMD_WRITE = 1u << 0,
    CMD_READONLY = 1u << 1,
    CMD_DENYOOM = 1u << 2,
    CMD_ADMIN = 1u << 3,
    CMD_PUBSUB = 1u << 4,
    CMD_NOSCRIPT = 1u << 5,
    CMD_BLOCKING = 1u << 6,
    CMD_LOADING = 1u << 7,
    CMD_STALE = 1u << 8,
    CMD_SKIP_MONITOR = 1u << 9,
    CMD_SKIP_SLOWLOG = 1u << 10,
    CMD_ASKING = 1u << 11,
    CMD_FAST = 1u << 12,
    CMD_NO_AUTH = 1u << 13,
    CMD_MAY_REPLICATE = 1u << 14,
    CMD_NO_ASYNC_LOADING = 1u << 15,
    CMD_NO_MULTI = 1u << 16,
    CMD_MOVABLE_KEYS = 1u << 17,
    CMD_ALLOW_BUSY = 1u << 18,
    CMD_NO_MANDATORY_KEYS = 1u << 19,
    CMD_PROTECTED = 1u << 20,
    /* ours */
    CMD_SLOW = 1u << 24, /* may take long: never on a borrowed shard, ends a batch */
    CMD_SCRIPT = 1u << 25 /* runs a script (worker/script.h) */
};

/* What a key argument is used for (COMMAND GETKEYSANDFLAGS; locks). Bits of a mask. */
enum key_flag {
    KEY_RO = 1u << 0,
    KEY_RW = 1u << 1,
    KEY_OW = 1u << 2,
    KEY_RM = 1u << 3,
    KEY_ACCESS = 1u << 4,
    KEY_UPDATE = 1u << 5,
    KEY_INSERT = 1u << 6,
    KEY_DELETE = 1u << 7,
    KEY_NOT_KEY = 1u << 8,
    KEY_INCOMPLETE = 1u << 9,
    KEY_VARIABLE = 1u << 10
};
#define KEY_WRITES (KEY_RW | KEY_OW | KEY_RM)

/* ACL categories, a mask; names by acl_category_name(). */
enum acl_category {
    ACL_KEYSPACE = 1u << 0,
    ACL_READ = 1u << 1,
    ACL_WRITE = 1u << 2,
    ACL_SET = 1u << 3,
    ACL_SORTEDSET = 1u << 4,
    ACL_LIST = 1u << 5,
    ACL_HASH = 1u << 6,
    ACL_STRING = 1u << 7,
    ACL_BITMAP = 1u << 8,
    ACL_HYPERLOGLOG = 1u << 9,
    ACL_GEO = 1u << 10,
    ACL_STREAM = 1u << 11,
    ACL_PUBSUB = 1u << 12,
    ACL_ADMIN = 1u << 13,
    ACL_FAST = 1u << 14,
    ACL_SLOW = 1u << 15,
    ACL_BLOCKING = 1u << 16,
    ACL_DANGEROUS = 1u << 17,
    ACL_CONNECTION = 1u << 18,
    ACL_TRANSACTION = 1u << 19,
    ACL_SCRIPTING = 1u << 20
};
#define ACL_CATEGORY_COUNT 21
const char *acl_category_name(int bit); /* without '@' */

struct key_ref {
    int pos;          /* index into argv */
    uint32_t flags;   /* key_flag; where the access depends on options, the true one */
};

struct command {
    const char *name;       /* lower case; subcommands as "config|get" */
    int16_t arity;          /* as Redis: negative = at least */
    uint8_t route;          /* enum route */
    uint8_t split;          /* enum split */
    uint32_t flags;         /* command_flag */
    uint64_t acl;           /* ACL category bits (generated enum) */
    /* first/last/step as COMMAND INFO shows them, 0 if there are none: argv[key_first],
     * argv[key_first + key_step], … up to key_last (negative: from the end, -1 is the last). Unless
     * CMD_MOVABLE_KEYS is set these are all keys. */
    int16_t key_first, key_last, key_step;
    uint32_t key_flags;     /* of all keys together */
    /* NULL: the range above, every key with key_flags. Else the function knows better: which keys
     * there are (CMD_MOVABLE_KEYS), or just what is done with each. Returns the number of keys, -1:
     * arguments are malformed (the handler runs anyway and says why). refs has room for argc
     * entries. */
    int (*keys)(const struct command *cmd, const struct slice *argv, int argc,
                struct key_ref *refs);
    /* NULL, or: does this call read keys that no argument names (SORT BY w_*)? Then its route is
     * ROUTE_ALL, and it runs when all shards are held. */
    bool (*whole)(const struct slice *argv, int argc);
    void (*handler)(struct call *call);       /* NULL: a container, which only has subcommands */
    const struct command *parent;         /* of a subcommand */
    const struct command *const *subcommands; /* NULL-terminated, or NULL */
    uint16_t id;            /* dense, for statistics: 0..command_count()-1 (subcommands too) */
    uint16_t key_spec_count;
    const struct key_spec *key_specs;     /* src/cmd/docs.h */
    const struct command_docs *docs;      /* src/cmd/docs.h */
};

static inline enum route command_route(const struct command *cmd, const struct slice *argv,
                                       int argc)
{
    bool whole = unlikely(cmd->whole != NULL) && cmd->whole(argv, argc);
    return whole ? ROUTE_ALL : (enum route)cmd->route;
}
/* argv[0] (and argv[1] for containers). Sets *sub_missing when the container is known but the
 * subcommand is not (its error text differs). NULL: unknown command. Case-insensitive. */
const struct command *command_find(const struct slice *argv, int argc, bool *sub_missing);
/* Names that were found last: clients give the same commands again and again. {0}: none. */
#define COMMAND_MEMO 8u
struct command_memo {
    struct {
        uint64_t name;
        size_t len;
        const struct command *cmd;
    } at[COMMAND_MEMO];
};
/* As command_find(); much cheaper for a name that is in the memo, to the letter. */
const struct command *command_find_again(struct command_memo *memo, const struct slice *argv,
                                         int argc, bool *sub_missing);
const struct command *command_by_name(struct slice name); /* "get", "config|get" */

/* rename-command: what clients and scripts call commands here. NULL: what the table does. */
struct command_names;
/* words: from, to, from, to, …, kept by the caller; to "": it has no name any more. NULL, or why
 * not: words[*bad] cannot become words[*bad + 1]. */
const char *command_names_new(struct command_names **out, char *const *words, size_t count,
                              size_t *bad) WARN_UNUSED;
void command_names_free(struct command_names *names); /* NULL is fine */
const struct command *command_find_named_slow(const struct command_names *names,
                                              const struct slice *argv, int argc,
                                              bool *sub_missing);
/* command_find by these names. From here on argv[0] is what the table calls the command. */
static inline const struct command *command_find_named(const struct command_names *names,
                                                       struct slice *argv, int argc,
                                                       bool *sub_missing)
{
    if (likely(!names)) return command_find(argv, argc, sub_missing);
    const struct command *cmd = command_find_named_slow(names, argv, argc, sub_missing);
    if (cmd) argv[0] = slice_str(cmd->parent ? cmd->parent->name : cmd->name);
    return cmd;
}
/* "xget", "xconfig|get": command_by_name by these names. */
const struct command *command_by_given_name(const struct command_names *names, struct slice name);
bool command_has_name(const struct command_names *names, const struct command *cmd);

size_t command_count(void);
const struct command *command_at(size_t id);
static inline bool command_arity_ok(const struct command *cmd, int argc)
{
    return cmd->arity >= 0 ? argc == cmd->arity : argc >= -cmd->arity;
}
/* The error reply where command_find gave NULL: unknown command, or unknown subcommand. */
void command_reply_unknown(struct reply *r, const struct slice *argv, int argc, bool sub_missing);
/* Keys of a call, through cmd->keys or the simple range; -1 malformed. */
int command_keys(const struct command *cmd, const struct slice *argv, int argc,
                 struct key_ref *refs);

#endif
