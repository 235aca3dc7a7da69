/* Three shapes of blocking commands, each cut down to one key:
 *
 *   BLPOP k1 k2 … timeout                      → BLPOP k timeout
 *   BLMPOP timeout n k1 … kn LEFT COUNT c      → BLMPOP timeout 1 k LEFT COUNT c
 *   XREAD … STREAMS k1 … kn id1 … idn          → XREAD … STREAMS k id
 *
 * BLMOVE and BRPOPLPUSH have one source and stay as they are. A waiter is served by the key that
 * became ready, whatever else it waits for: so the arguments, not the handler, say which key.
 * Thread: any (pure). */
#include "splitring/cmd/block_args.h"

#include "splitring/base/mem.h"

static struct slice *room(struct block_args *args, int argc)
{
    if (argc <= BLOCK_ARGS_LOCAL) return args->local;
    args->more = mem_alloc((size_t)argc * sizeof *args->more);
    return args->more;
}

int block_streams_at(const struct slice *argv, int argc, bool *block)
{
    int at = 1;
    *block = false;
    for (; at < argc && !slice_is_word(argv[at], "STREAMS"); at++) {
        if (slice_is_word(argv[at], "BLOCK") || slice_is_word(argv[at], "COUNT") ||
            slice_is_word(argv[at], "CLAIM")) {
            *block |= argv[at].ptr[0] == 'b' || argv[at].ptr[0] == 'B';
            at++;
        } else if (slice_is_word(argv[at], "GROUP")) {
            at += 2;
        } else if (!slice_is_word(argv[at], "NOACK")) {
            return argc;
        }
    }
    return at < argc ? at : argc;
}

/* Everything up to and with STREAMS, the key, its id. */
static void cut_streams(struct block_args *args, const struct slice *argv, int argc, int pos)
{
    bool block;
    int streams = block_streams_at(argv, argc, &block);
    int count = (argc - streams - 1) / 2, head = streams + 1;
    struct slice *out = room(args, head + 2);
    memcpy(out, argv, (size_t)head * sizeof *out);
    out[head] = argv[pos];
    out[head + 1] = argv[pos + count];
    args->argc = head + 2;
    args->argv = out;
}

/* command timeout numkeys key … rest */
static void cut_numkeys(struct block_args *args, const struct command *cmd,
                        const struct slice *argv, int argc, int pos)
{
    struct key_ref *refs = mem_alloc((size_t)argc * sizeof *refs);
    int count = command_keys(cmd, argv, argc, refs);
    int last = count > 0 ? refs[count - 1].pos : argc - 1;
    mem_free(refs);
    struct slice *out = room(args, 4 + argc - last - 1);
    out[0] = argv[0];
    out[1] = argv[1];
    out[2] = SLICE("1");
    out[3] = argv[pos];
    args->argc = 4;
    for (int i = last + 1; i < argc; i++) out[args->argc++] = argv[i];
    args->argv = out;
}

void block_args_init(struct block_args *args, const struct command *cmd, const struct slice *argv,
                     int argc, int pos)
{
    args->more = NULL;
    args->argv = argv;
    args->argc = argc;
    if (cmd->split == SPLIT_MOVE) return;
    if (cmd->acl & ACL_STREAM) {
        cut_streams(args, argv, argc, pos);
    } else if (cmd->flags & CMD_MOVABLE_KEYS) {
        cut_numkeys(args, cmd, argv, argc, pos);
    } else {
        args->local[0] = argv[0];
        args->local[1] = argv[pos];
        args->local[2] = argv[argc - 1];
        args->argv = args->local;
        args->argc = 3;
    }
}

void block_args_deinit(struct block_args *args) { mem_free(args->more); }
