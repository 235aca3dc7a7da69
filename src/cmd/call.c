/* What handlers share: numbers out of arguments, with the error reply already written, owned blocks
 * of large arguments, and stating effects.
 *
 * A handler that gets `false` returns at once:
 *     if (!call_int(c, 2, &count)) return;
 * Effects cost one branch while nobody consumes them.
 * Thread: holder of the call's shards. */
#include "splitring/cmd/call.h"

#include "splitring/base/mem.h"
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

void call_changed(struct call *c, struct slice key, enum event_class class, const char *event)
{
    ks_touched(&c->ks, key);
    ks_notify(&c->ks, class, event, key);
}

void call_emptied(struct call *c, struct slice key)
{
    if (ks_delete(&c->ks, key, false)) ks_notify(&c->ks, EVENT_GENERIC, "del", key);
}

/* ---- blocking ---- */

bool call_block(struct call *c, int64_t timeout_ms)
{
    if (!c->may_block) return false;
    c->block->wanted = true;
    c->block->timeout_ms = timeout_ms;
    c->block->retry_at = 0;
    return true;
}

void call_block_until(struct call *c, instant_ms retry_at)
{
    if (c->may_block) c->block->retry_at = retry_at;
}

void call_block_arg(struct call *c, int i, struct slice text)
{
    struct call_block *b = c->block;
    if (!c->may_block) return;
    struct call_block_arg *more =
        mem_try_realloc(b->replaced, ((size_t)b->replaced_count + 1) * sizeof(*more));
    if (!more) {
        b->args.failed = true;
        return;
    }
    b->replaced = more;
    more[b->replaced_count++] =
        (struct call_block_arg){.index = i, .begin = b->args.len, .len = text.len};
    buf_append_slice(&b->args, text);
}

bool call_timeout(struct call *c, int i, int64_t *timeout_ms)
{
    long double seconds;
    enum error_id wrong = ERR_TIMEOUT_NOT_FLOAT;
    if (num_parse_ldouble(c->argv[i], &seconds)) {
        long double ms = seconds * 1000;
        bool fits = ms < (long double)(INT64_MAX - c->ks.now);
        *timeout_ms = fits && ms > -1e18L ? (int64_t)ms : -1;
        if (fits && ms > 0 && (long double)*timeout_ms < ms) ++*timeout_ms;
        if (fits && ms >= 0) return true;
        wrong = fits ? ERR_TIMEOUT_NEGATIVE : ERR_TIMEOUT_RANGE;
    }
    reply_error(&c->reply, wrong);
    return false;
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
