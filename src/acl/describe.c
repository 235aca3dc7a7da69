/* A user as text: the line of ACL LIST and of files, ACL GETUSER's map, and why it may not.
 *
 * What is written can be read back by rules.c and makes an equal user.
 * Thread: any (pure). */
#include "acl_impl.h"

static const struct {
    uint32_t flag;
    bool wanted;
    const char *name;
} flags[] = {
    {USER_ON, true, "on"},
    {USER_ON, false, "off"},
    {USER_NOPASS, true, "nopass"},
    {USER_SKIP_SANITIZE, true, "skip-sanitize-payload"},
    {USER_SANITIZE, true, "sanitize-payload"},
};

static bool has_flag(const struct acl_user *user, size_t i)
{
    return ((user->flags & flags[i].flag) != 0) == flags[i].wanted;
}

static void put_hex(const uint8_t hash[SHA256_LEN], struct buf *out)
{
    for (unsigned i = 0; i < SHA256_LEN; i++) {
        buf_append_char(out, "0123456789abcdef"[hash[i] >> 4]);
        buf_append_char(out, "0123456789abcdef"[hash[i] & 15]);
    }
}

static void put_commands(const struct selector *s, struct buf *out)
{
    buf_append_slice(out, s->flags & SELECTOR_FROM_ALL ? SLICE("+@all") : SLICE("-@all"));
    if (s->rules.len) buf_append_char(out, ' ');
    buf_append_slice(out, buf_slice(&s->rules));
}

static void put_key(const struct pattern *p, struct buf *out)
{
    if (p->rights == RIGHT_READ) buf_append_slice(out, SLICE("%R"));
    if (p->rights == RIGHT_WRITE) buf_append_slice(out, SLICE("%W"));
    buf_append_char(out, '~');
    buf_append_slice(out, pattern_text(p));
}

static void put_keys(const struct selector *s, struct buf *out)
{
    if (s->flags & SELECTOR_ALL_KEYS) buf_append_slice(out, SLICE("~*"));
    for (size_t i = 0; i < s->keys.count; i++) {
        if (i) buf_append_char(out, ' ');
        put_key(s->keys.items[i], out);
    }
}

static void put_channels(const struct selector *s, struct buf *out)
{
    if (s->flags & SELECTOR_ALL_CHANNELS) buf_append_slice(out, SLICE("&*"));
    for (size_t i = 0; i < s->channels.count; i++) {
        if (i) buf_append_char(out, ' ');
        buf_append_char(out, '&');
        buf_append_slice(out, pattern_text(s->channels.items[i]));
    }
}

static void put_selector(const struct selector *s, struct buf *out)
{
    put_keys(s, out);
    if (s->flags & SELECTOR_ALL_KEYS || s->keys.count) buf_append_char(out, ' ');
    if (!(s->flags & SELECTOR_ALL_CHANNELS)) buf_append_slice(out, SLICE("resetchannels "));
    put_channels(s, out);
    if (s->flags & SELECTOR_ALL_CHANNELS || s->channels.count) buf_append_char(out, ' ');
    put_commands(s, out);
}

void acl_user_describe(const struct acl_user *user, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
        if (has_flag(user, i)) buf_printf(out, "%s ", flags[i].name);
    for (size_t i = 0; i < user->hash_count; i++) {
        buf_append_char(out, '#');
        put_hex(user->hashes[i], out);
        buf_append_char(out, ' ');
    }
    put_selector(user->selectors[0], out);
    for (size_t i = 1; i < user->selector_count; i++) {
        buf_append_slice(out, SLICE(" ("));
        put_selector(user->selectors[i], out);
        buf_append_char(out, ')');
    }
}

static void reply_text(struct reply *reply, const struct selector *s,
                       void (*put)(const struct selector *s, struct buf *out))
{
    struct buf text = {0};
    put(s, &text);
    reply_bulk_slice(reply, buf_slice(&text));
    reply->out->failed |= text.failed;
    buf_deinit(&text);
}

static void reply_selector(struct reply *reply, const struct selector *s)
{
    reply_bulk_str(reply, "commands");
    reply_text(reply, s, put_commands);
    reply_bulk_str(reply, "keys");
    reply_text(reply, s, put_keys);
    reply_bulk_str(reply, "channels");
    reply_text(reply, s, put_channels);
}

void acl_user_reply(const struct acl_user *user, struct reply *reply)
{
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) count += has_flag(user, i);
    reply_map(reply, 6);
    reply_bulk_str(reply, "flags");
    reply_set(reply, count);
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
        if (has_flag(user, i)) reply_bulk_str(reply, flags[i].name);
    reply_bulk_str(reply, "passwords");
    reply_array(reply, user->hash_count);
    for (size_t i = 0; i < user->hash_count; i++) {
        struct buf text = {0};
        put_hex(user->hashes[i], &text);
        reply_bulk_slice(reply, buf_slice(&text));
        buf_deinit(&text);
    }
    reply_selector(reply, user->selectors[0]);
    reply_bulk_str(reply, "selectors");
    reply_array(reply, user->selector_count - 1);
    for (size_t i = 1; i < user->selector_count; i++) {
        reply_map(reply, 3);
        reply_selector(reply, user->selectors[i]);
    }
}

void acl_refusal_text(enum acl_verdict verdict, const struct acl_user *user,
                      const struct command *cmd, struct slice object, bool verbose,
                      struct buf *out)
{
    bool key = verdict == ACL_DENIED_KEY;
    if (verdict != ACL_DENIED_KEY && verdict != ACL_DENIED_CHANNEL) {
        buf_printf(out, error_text(ERR_ACL_NO_COMMAND), (int)user->name_len, user->name,
                   cmd->name);
    } else if (!verbose) {
        buf_printf(out, "%s", error_text(key ? ERR_ACL_NO_KEY : ERR_ACL_NO_CHANNEL));
    } else {
        buf_printf(out, error_text(ERR_ACL_NO_OBJECT), (int)user->name_len, user->name);
        buf_append_slice(out, object);
        buf_append_slice(out, key ? SLICE("' key") : SLICE("' channel"));
    }
}
