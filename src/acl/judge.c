/* May this user run this command with these arguments?
 *
 * One selector must allow all of it: the command (its bit, or a first argument that was allowed by
 * itself), every key by what is done with it, every channel. Keys are found by the same extractors
 * that decide shards and locks, so what is judged is what will be touched; arguments in which no
 * keys can be found are let through, because their handler does nothing but say what is wrong.
 *
 * Of several selectors' refusals the greatest kind is told, and of that the last argument, as Redis
 * does.
 * Thread: any (pure). */
#include "acl_impl.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/handlers.h"

/* The keys of a call, found when the first selector asks for them. */
struct keys_found {
    struct key_ref local[32], *refs;
    int count; /* -1: not looked for yet */
};

static bool find_keys(struct keys_found *keys, const struct command *cmd,
                      const struct slice *argv, int argc)
{
    if (keys->count >= 0) return true;
    keys->refs = keys->local;
    if (!command_arity_ok(cmd, argc)) { /* redis.acl_check_cmd: extractors count on it */
        keys->count = 0;
        return true;
    }
    if (argc > (int)ARRAY_COUNT(keys->local))
        keys->refs = mem_try_alloc((size_t)argc * sizeof *keys->refs);
    if (!keys->refs) return false;
    int count = command_keys(cmd, argv, argc, keys->refs);
    keys->count = count > 0 ? count : 0;
    return true;
}

static void forget_keys(struct keys_found *keys)
{
    if (keys->count >= 0 && keys->refs != keys->local) mem_free(keys->refs);
}

static uint32_t rights_of(uint32_t flags)
{
    uint32_t rights = 0;
    if (flags & KEY_ACCESS) rights |= RIGHT_READ;
    if (flags & (KEY_INSERT | KEY_DELETE | KEY_UPDATE)) rights |= RIGHT_WRITE;
    return rights;
}

/* Reading for a group changes the group, so its key is locked for writing; by its key spec, and to
 * users, it is a read. */
static uint32_t rights_for(const struct command *cmd, uint32_t flags)
{
    return cmd->handler == cmd_xreadgroup ? RIGHT_READ : rights_of(flags);
}

static bool may_touch(const struct selector *s, struct slice key, uint32_t rights)
{
    for (size_t i = 0; i < s->keys.count; i++) {
        const struct pattern *p = s->keys.items[i];
        if ((p->rights & rights) == rights && slice_glob(pattern_text(p), key, false)) return true;
    }
    return false;
}

static bool may_hear(const struct selector *s, struct slice channel, bool pattern)
{
    if (s->flags & SELECTOR_ALL_CHANNELS) return true;
    for (size_t i = 0; i < s->channels.count; i++) {
        struct slice text = pattern_text(s->channels.items[i]);
        if (pattern ? slice_equal(text, channel) : slice_glob(text, channel, false)) return true;
    }
    return false;
}

static bool may_command(const struct selector *s, const struct command *cmd,
                        const struct slice *argv, int argc)
{
    if (s->flags & SELECTOR_ALL_COMMANDS || cmd->flags & CMD_NO_AUTH) return true;
    if (selector_has(s, cmd->id)) return true;
    for (size_t i = 0; argc >= 2 && i < s->firsts.count; i++) {
        const struct pattern *first = s->firsts.items[i];
        if (first->rights == cmd->id && slice_is_word(argv[1], first->text)) return true;
    }
    return false;
}

/* The channels of a call: argv[1] up to *last; false: it has none. */
static bool channels_of(const struct command *cmd, int argc, int *last, bool *pattern)
{
    *pattern = cmd->handler == cmd_psubscribe;
    *last = argc - 1;
    if (cmd->handler == cmd_publish || cmd->handler == cmd_spublish) {
        *last = 1;
        return true;
    }
    return *pattern || cmd->handler == cmd_subscribe || cmd->handler == cmd_ssubscribe;
}

static enum acl_verdict judge_selector(const struct selector *s, const struct command *cmd,
                                       const struct slice *argv, int argc,
                                       struct keys_found *keys, int *at)
{
    int last;
    bool pattern;
    if (!may_command(s, cmd, argv, argc)) return ACL_DENIED_COMMAND;
    if (!(s->flags & SELECTOR_ALL_KEYS) && (cmd->keys || cmd->key_first)) {
        if (!find_keys(keys, cmd, argv, argc)) return ACL_DENIED_COMMAND;
        for (int i = 0; i < keys->count; i++) {
            const struct key_ref *ref = &keys->refs[i];
            if (ref->flags & KEY_NOT_KEY) continue;
            if (may_touch(s, argv[ref->pos], rights_for(cmd, ref->flags))) continue;
            *at = ref->pos;
            return ACL_DENIED_KEY;
        }
    }
    if (!(s->flags & SELECTOR_ALL_CHANNELS) && channels_of(cmd, argc, &last, &pattern)) {
        for (int i = 1; i <= last && i < argc; i++) {
            if (may_hear(s, argv[i], pattern)) continue;
            *at = i;
            return ACL_DENIED_CHANNEL;
        }
    }
    return ACL_ALLOWED;
}

enum acl_verdict acl_judge(const struct acl_user *user, const struct command *cmd,
                           const struct slice *argv, int argc, int *at)
{
    struct keys_found keys = {.count = -1};
    enum acl_verdict worst = ACL_DENIED_COMMAND;
    int here = 0;
    *at = 0;
    for (size_t i = 0; i < user->selector_count && worst != ACL_ALLOWED; i++) {
        enum acl_verdict v = judge_selector(user->selectors[i], cmd, argv, argc, &keys, &here);
        if (v != ACL_ALLOWED && (v < worst || (v == worst && here <= *at))) continue;
        worst = v;
        *at = here;
    }
    forget_keys(&keys);
    return worst;
}

/* All keys, or a pattern that is `*` alone. */
static bool reads_all(const struct selector *s)
{
    if (s->flags & SELECTOR_ALL_KEYS) return true;
    for (size_t i = 0; i < s->keys.count; i++) {
        const struct pattern *p = s->keys.items[i];
        if (p->rights & RIGHT_READ && slice_equal(pattern_text(p), SLICE("*"))) return true;
    }
    return false;
}

bool acl_reads_any_key(const struct acl_user *user, const struct command *cmd,
                       const struct slice *argv, int argc)
{
    struct keys_found keys = {.count = -1};
    bool may = false;
    int at = 0;
    for (size_t i = 0; i < user->selector_count && !may; i++) {
        const struct selector *s = user->selectors[i];
        may = reads_all(s) && judge_selector(s, cmd, argv, argc, &keys, &at) == ACL_ALLOWED;
    }
    forget_keys(&keys);
    return may;
}

static bool hears_all(const struct acl_user *user)
{
    for (size_t i = 0; i < user->selector_count; i++)
        if (user->selectors[i]->flags & SELECTOR_ALL_CHANNELS) return true;
    return false;
}

static bool has_pattern(const struct acl_user *user, struct slice text)
{
    for (size_t i = 0; i < user->selector_count; i++)
        for (size_t k = 0; k < user->selectors[i]->channels.count; k++)
            if (slice_equal(pattern_text(user->selectors[i]->channels.items[k]), text)) return true;
    return false;
}

bool acl_channels_lost(const struct acl_user *before, const struct acl_user *after)
{
    if (hears_all(after)) return false;
    if (hears_all(before)) return true;
    for (size_t i = 0; i < before->selector_count; i++)
        for (size_t k = 0; k < before->selectors[i]->channels.count; k++)
            if (!has_pattern(after, pattern_text(before->selectors[i]->channels.items[k])))
                return true;
    return false;
}

bool acl_may_hear(const struct acl_user *user, struct slice channel, bool pattern)
{
    for (size_t i = 0; i < user->selector_count; i++)
        if (may_hear(user->selectors[i], channel, pattern)) return true;
    return false;
}
