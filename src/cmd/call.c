/* What handlers share: numbers out of arguments, with the error reply already written, owned blocks
 * of large arguments, and stating effects.
 *
 * A handler that gets `false` returns at once:
 *     if (!call_int(c, 2, &count)) return;
 * Effects cost one branch while nobody consumes them.
 * Thread: holder of the call's shards. */
#include "splitring/cmd/call.h"

#include "splitring/base/num.h"
#include "splitring/cmd/effects.h"

bool call_int_or(struct call *c, int i, int64_t *out, enum error_id err)
{
    if (likely(num_parse_i64(c->argv[i], out))) return true;
    reply_error(&c->reply, err);
    return false;
}

bool call_int(struct call *c, int i, int64_t *out) { return call_int_or(c, i, out, ERR_NOT_INT); }

bool call_int_range(struct call *c, int i, int64_t lo, int64_t hi, int64_t *out, enum error_id err)
{
    if (likely(num_parse_i64(c->argv[i], out) && *out >= lo && *out <= hi)) return true;
    reply_error(&c->reply, err);
    return false;
}

struct blob *call_take_blob(struct call *c, int i)
{
    if (likely(!c->args || !c->args[i].blob)) return NULL;
    struct blob *blob = c->args[i].blob;
    c->args[i].blob = NULL;
    return blob;
}

void call_help(struct call *c, const char *const *lines)
{
    const struct command *container = c->cmd->parent ? c->cmd->parent : c->cmd;
    char title[96];
    size_t len = 0, count = 0;
    for (; container->name[len] && len < 32; len++) {
        char low = container->name[len];
        title[len] = low >= 'a' && low <= 'z' ? (char)(low - ('a' - 'A')) : low;
    }
    const char *rest = " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
    memcpy(title + len, rest, strlen(rest) + 1);
    while (lines[count]) count++;
    reply_array(&c->reply, count + 3);
    reply_simple(&c->reply, title);
    for (size_t i = 0; i < count; i++) reply_simple(&c->reply, lines[i]);
    reply_simple(&c->reply, "HELP");
    reply_simple(&c->reply, "    Print this help.");
}

void effect_args(struct call *c, int argc, const struct slice *argv)
{
    if (c->effects) effects_add(c->effects, (size_t)argc, argv);
}

void effect_verbatim(struct call *c) { effect_args(c, c->argc, c->argv); }

struct slice effect_int(char *out, int64_t value)
{
    return slice_of(out, num_format_i64(out, value));
}
