/* SORT's arguments: options, patterns, and which keys they name.
 *
 * The keys that BY and GET lead to cannot be named before the elements have been read. A call with
 * such a pattern takes a shared lock on everything (an exclusive one if it may store), and runs
 * when all shards are held: sort_reads_more tells so from the arguments alone. It has to understand
 * them exactly as sort_parse does, or a handler would read what is not held; so both walk with
 * option_at.
 * Thread: any (pure). */
#include "cmd/docs.h"
#include "cmd/sort_impl.h"
#include "splitring/base/num.h"

enum option { OPT_NONE, OPT_ASC, OPT_DESC, OPT_ALPHA, OPT_LIMIT, OPT_STORE, OPT_BY, OPT_GET };

static const struct {
    const char *word;
    int values;
} words[] = {
    [OPT_ASC] = {"ASC", 0},     [OPT_DESC] = {"DESC", 0}, [OPT_ALPHA] = {"ALPHA", 0},
    [OPT_LIMIT] = {"LIMIT", 2}, [OPT_STORE] = {"STORE", 1}, [OPT_BY] = {"BY", 1},
    [OPT_GET] = {"GET", 1},
};

/* The option at argument *at, which goes on behind its values. */
static enum option option_at(const struct slice *argv, int argc, int *at)
{
    int i = (*at)++;
    for (enum option o = OPT_ASC; o <= OPT_GET; o++) {
        if (!slice_is_word(argv[i], words[o].word) || argc - i - 1 < words[o].values) continue;
        *at += words[o].values;
        return o;
    }
    return OPT_NONE;
}

static const char *find_arrow(const char *ptr, size_t len)
{
    return len >= 2 ? memmem(ptr, len, "->", 2) : NULL;
}

struct sort_pattern sort_pattern_of(struct slice text)
{
    struct sort_pattern p = {.before = text};
    size_t seen = text.len ? strnlen(text.ptr, text.len) : 0;
    const char *star = seen ? memchr(text.ptr, '*', seen) : NULL;
    p.itself = seen == 1 && text.ptr[0] == '#';
    p.constant = !star;
    if (!star) return p;
    const char *rest = star + 1, *end = text.ptr + text.len;
    const char *arrow = find_arrow(rest, seen - (size_t)(rest - text.ptr));
    p.before = slice_of(text.ptr, (size_t)(star - text.ptr));
    p.has_field = arrow && arrow + 2 < text.ptr + seen;
    p.after = slice_of(rest, (size_t)((p.has_field ? arrow : end) - rest));
    if (p.has_field) p.field = slice_of(arrow + 2, (size_t)(end - arrow - 2));
    return p;
}

static bool refuse(struct call *c, enum error_id error)
{
    reply_error(&c->reply, error);
    return false;
}

bool sort_parse(struct call *c, bool readonly, struct sort_options *out)
{
    *out = (struct sort_options){.count = -1};
    for (int i = 2; i < c->argc;) {
        int at = i;
        switch (option_at(c->argv, c->argc, &i)) {
        case OPT_ASC: out->desc = false; continue;
        case OPT_DESC: out->desc = true; continue;
        case OPT_ALPHA: out->alpha = true; continue;
        case OPT_LIMIT:
            if (!call_int(c, at + 1, &out->offset) || !call_int(c, at + 2, &out->count))
                return false;
            continue;
        case OPT_STORE:
            if (readonly) break;
            out->store = at + 1;
            continue;
        case OPT_BY:
            out->by = at + 1;
            if (sort_pattern_of(c->argv[out->by]).constant) out->unsorted = true;
            else if (c->keys_limited) return refuse(c, ERR_ACL_SORT_BY);
            continue;
        case OPT_GET:
            if (c->keys_limited) return refuse(c, ERR_ACL_SORT_GET);
            out->gets++;
            continue;
        case OPT_NONE: break;
        }
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    return true;
}

int sort_next_get(const struct call *c, int at)
{
    for (int i = at + 1; i < c->argc;) {
        int here = i;
        if (option_at(c->argv, c->argc, &i) == OPT_GET) return here + 1;
    }
    return 0;
}

/* ---- before the call runs ---- */

bool sort_reads_more(const struct slice *argv, int argc)
{
    for (int i = 2; i < argc;) {
        int at = i;
        enum option option = option_at(argv, argc, &i);
        if (option == OPT_NONE) return false; /* a mistake: nothing will be read */
        if ((option == OPT_BY || option == OPT_GET) && !sort_pattern_of(argv[at + 1]).constant)
            return true;
    }
    return false;
}

/* As Redis' sortGetKeys: the options' values are skipped, the last STORE counts. */
int keys_sort(const struct command *cmd, const struct slice *argv, int argc, struct key_ref *refs)
{
    (void)cmd;
    int count = 1;
    refs[0] = (struct key_ref){1, KEY_RO | KEY_ACCESS};
    for (int i = 2; i < argc; i++) {
        if (slice_is_word(argv[i], "LIMIT")) {
            i += 2;
        } else if (slice_is_word(argv[i], "GET") || slice_is_word(argv[i], "BY")) {
            i++;
        } else if (slice_is_word(argv[i], "STORE") && i + 1 < argc) {
            refs[1] = (struct key_ref){i + 1, KEY_OW | KEY_UPDATE};
            count = 2;
        }
    }
    return count;
}

int keys_sort_ro(const struct command *cmd, const struct slice *argv, int argc,
                 struct key_ref *refs)
{
    (void)cmd;
    (void)argv;
    (void)argc;
    refs[0] = (struct key_ref){1, KEY_RO | KEY_ACCESS};
    return 1;
}
