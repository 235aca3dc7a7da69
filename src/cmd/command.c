/* Finding commands in the generated table.
 *
 * The table itself (commands_table.c, made by tools/gen_commands.py) is constant data. Names are
 * found by open addressing in 1024 slots of 16 bytes: the first eight bytes of a name, folded to
 * lower case with a few bit operations, and its length are compared in the slot, so GET, SET or
 * EXPIREAT are found with one load; only longer names are compared byte by byte. Hash and slots
 * come from the generator, which knows the same function.
 *
 * Subcommands are not in there: containers have a short list that is searched in order.
 * Thread: any. */
#include "splitring/cmd/command.h"

#include "docs.h"
#include "splitring/resp/reply.h"

#define UNKNOWN_SHOWN_MAX 128 /* bytes of a client's command that error texts repeat */

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "name_hash() as in tools/gen_commands.py");
static_assert((COMMAND_SLOTS & (COMMAND_SLOTS - 1)) == 0, "a mask is used");

/* ASCII upper case to lower in eight bytes at once: a byte is a capital when it is below 0x80,
 * adding 0x3f reaches 0x80 (>= 'A') and adding 0x25 does not (<= 'Z'). */
static inline uint64_t fold8(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low = x & (ones * 0x7f);
    uint64_t from_a = low + ones * (0x80 - 'A');
    uint64_t past_z = low + ones * (0x7f - 'Z');
    uint64_t capital = ~x & (from_a ^ past_z) & (ones * 0x80);
    return x | (capital >> 2);
}

/* Up to eight bytes, little endian, padded with zeros. */
static inline uint64_t load8(const char *ptr, size_t len)
{
    uint64_t x = 0;
    if (len >= 8) {
        memcpy(&x, ptr, 8);
    } else if (len >= 4) {
        uint32_t head, tail;
        memcpy(&head, ptr, 4);
        memcpy(&tail, ptr + len - 4, 4);
        x = head | (uint64_t)tail << (8 * (len - 4));
    } else if (len > 0) {
        x = (uint64_t)(unsigned char)ptr[0];
        x |= (uint64_t)(unsigned char)ptr[len / 2] << (8 * (len / 2));
        x |= (uint64_t)(unsigned char)ptr[len - 1] << (8 * (len - 1));
    }
    return x;
}

static inline uint32_t name_hash(uint64_t head, uint64_t tail, size_t len)
{
    uint64_t mixed = head ^ (tail * 0x9E3779B97F4A7C15u) ^ len;
    return (uint32_t)((mixed * 0xD6E8FEB86659FD93u) >> 32) & (COMMAND_SLOTS - 1);
}

static const struct command *find_name(struct slice name)
{
    uint64_t head = fold8(load8(name.ptr, name.len));
    uint64_t tail = name.len > 8 ? fold8(load8(name.ptr + name.len - 8, 8)) : 0;
    for (uint32_t at = name_hash(head, tail, name.len);; at = (at + 1) & (COMMAND_SLOTS - 1)) {
        const struct command_slot *slot = &command_slots[at];
        if (slot->id_up == 0) return NULL;
        if (slot->head != head || slot->len != name.len) continue;
        const struct command *cmd = &commands_table[slot->id_up - 1];
        if (name.len <= 8 || slice_is_word(name, cmd->name)) return cmd;
    }
}

static const struct command *find_sub(const struct command *container, struct slice name)
{
    size_t prefix = strlen(container->name) + 1; /* "config|" */
    for (const struct command *const *sub = container->subcommands; *sub; sub++) {
        if (slice_is_word(name, (*sub)->name + prefix)) return *sub;
    }
    return NULL;
}

const struct command *command_find(const struct slice *argv, int argc, bool *sub_missing)
{
    *sub_missing = false;
    const struct command *cmd = find_name(argv[0]);
    if (!cmd || likely(!cmd->subcommands) || argc == 1) return cmd;
    cmd = find_sub(cmd, argv[1]);
    *sub_missing = cmd == NULL;
    return cmd;
}

const struct command *command_find_again(struct command_memo *memo, const struct slice *argv,
                                         int argc, bool *sub_missing)
{
    struct slice name = argv[0];
    *sub_missing = false;
    if (unlikely(name.len > 8)) return command_find(argv, argc, sub_missing);
    uint64_t text = load8(name.ptr, name.len);
    unsigned at = (unsigned)((text * 0x9E3779B97F4A7C15u) >> 61);
    static_assert(COMMAND_MEMO == 8, "three bits");
    if (likely(text == memo->at[at].name && name.len == memo->at[at].len)) return memo->at[at].cmd;
    const struct command *cmd = command_find(argv, argc, sub_missing);
    if (cmd && !cmd->subcommands && !cmd->parent) {
        memo->at[at].name = text;
        memo->at[at].len = name.len;
        memo->at[at].cmd = cmd;
    }
    return cmd;
}

const struct command *command_by_name(struct slice name)
{
    const char *bar = name.len ? memchr(name.ptr, '|', name.len) : NULL;
    if (!bar) return find_name(name);
    size_t len = (size_t)(bar - name.ptr);
    const struct command *container = find_name(slice_of(name.ptr, len));
    if (!container || !container->subcommands) return NULL;
    return find_sub(container, slice_of(bar + 1, name.len - len - 1));
}

size_t command_count(void) { return commands_table_count; }

const struct command *command_at(size_t id) { return &commands_table[id]; }

void command_reply_unknown(struct reply *r, const struct slice *argv, int argc, bool sub_missing)
{
    if (sub_missing) {
        const struct command *container = find_name(argv[0]);
        char upper[32];
        size_t len = 0;
        for (; container->name[len] && len < sizeof(upper) - 1; len++) {
            char c = container->name[len];
            upper[len] = c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
        }
        upper[len] = '\0';
        int shown = argv[1].len < UNKNOWN_SHOWN_MAX ? (int)argv[1].len : UNKNOWN_SHOWN_MAX;
        reply_errorf(r, ERR_UNKNOWN_SUBCOMMAND, shown, argv[1].ptr, upper);
        return;
    }
    /* "'arg1' 'arg2' " until 128 bytes are there; the last one is cut to what is left. */
    char args[2 * UNKNOWN_SHOWN_MAX];
    size_t len = 0;
    for (int i = 1; i < argc && len < UNKNOWN_SHOWN_MAX; i++) {
        size_t left = UNKNOWN_SHOWN_MAX - len;
        size_t take = argv[i].len < left ? argv[i].len : left;
        args[len++] = '\'';
        for (size_t at = 0; at < take && argv[i].ptr[at]; at++) args[len++] = argv[i].ptr[at];
        args[len++] = '\'';
        args[len++] = ' ';
    }
    args[len] = '\0';
    int shown = argv[0].len < UNKNOWN_SHOWN_MAX ? (int)argv[0].len : UNKNOWN_SHOWN_MAX;
    reply_errorf(r, ERR_UNKNOWN_COMMAND, shown, argv[0].ptr, args);
}

const char *acl_category_name(int bit)
{
    static const char *const names[ACL_CATEGORY_COUNT] = {
        "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
        "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
        "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
    };
    return names[bit];
}
