/* Users as values: made, copied, compared, counted.
 *
 *   user ── selectors[0] (root) ── commands (a bit each), key patterns, channel patterns,
 *        └─ selectors[1…]          first arguments, the rules of commands as text
 *
 * A command may run if one selector allows all of it. The bits decide; the text of the rules is
 * kept beside them, because it is what ACL LIST shows and the file holds (bits alone would forget
 * that a category was meant). A copy shares nothing with its original: rules are changed rarely.
 *
 * An account keeps its number through all changes; a user of the same name made after the first
 * one was deleted is another one, and its predecessor's connections do not become its own.
 * Thread: who makes it; references: any. */
#include "acl_impl.h"

#include "splitring/base/check.h"
#include "splitring/base/mem.h"

/* ---- patterns ---- */

static struct pattern *pattern_new(struct slice text, uint32_t rights)
{
    struct pattern *p = mem_try_alloc(sizeof *p + text.len + 1);
    if (!p) return NULL;
    p->rights = rights;
    p->len = text.len;
    if (text.len) memcpy(p->text, text.ptr, text.len);
    p->text[text.len] = '\0';
    return p;
}

static bool patterns_push(struct patterns *list, struct pattern *p)
{
    if (!p) return false;
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 4;
        struct pattern **more = mem_try_realloc(list->items, cap * sizeof(struct pattern *));
        if (!more) {
            mem_free(p);
            return false;
        }
        list->items = more;
        list->cap = cap;
    }
    list->items[list->count++] = p;
    return true;
}

struct pattern *patterns_add(struct patterns *list, struct slice text, uint32_t rights)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!slice_equal(pattern_text(list->items[i]), text)) continue;
        list->items[i]->rights |= rights;
        return list->items[i];
    }
    struct pattern *p = pattern_new(text, rights);
    return patterns_push(list, p) ? p : NULL;
}

void patterns_clear(struct patterns *list)
{
    for (size_t i = 0; i < list->count; i++) mem_free(list->items[i]);
    mem_free(list->items);
    *list = (struct patterns){0};
}

static bool patterns_copy(struct patterns *to, const struct patterns *from)
{
    for (size_t i = 0; i < from->count; i++)
        if (!patterns_push(to, pattern_new(pattern_text(from->items[i]), from->items[i]->rights)))
            return false;
    return true;
}

/* ---- selectors ---- */

struct selector *selector_new(bool all_channels)
{
    check(command_count() <= ACL_COMMANDS_MAX);
    struct selector *s = mem_try_zalloc(sizeof *s);
    if (s && all_channels) s->flags |= SELECTOR_ALL_CHANNELS;
    return s;
}

void selector_free(struct selector *s)
{
    if (!s) return;
    patterns_clear(&s->keys);
    patterns_clear(&s->channels);
    patterns_clear(&s->firsts);
    buf_deinit(&s->rules);
    mem_free(s);
}

static struct selector *selector_copy(const struct selector *from)
{
    struct selector *s = selector_new(false);
    if (!s) return NULL;
    s->flags = from->flags;
    memcpy(s->commands, from->commands, sizeof s->commands);
    buf_append_slice(&s->rules, buf_slice(&from->rules));
    if (!s->rules.failed && patterns_copy(&s->keys, &from->keys) &&
        patterns_copy(&s->channels, &from->channels) && patterns_copy(&s->firsts, &from->firsts))
        return s;
    selector_free(s);
    return NULL;
}

bool user_add_selector(struct acl_user *user, struct selector *s)
{
    size_t bytes = (user->selector_count + 1) * sizeof(struct selector *);
    struct selector **more = s ? mem_try_realloc(user->selectors, bytes) : NULL;
    if (!more) {
        selector_free(s);
        return false;
    }
    user->selectors = more;
    more[user->selector_count++] = s;
    return true;
}

void user_clear_selectors(struct acl_user *user)
{
    while (user->selector_count > 1) selector_free(user->selectors[--user->selector_count]);
}

/* ---- users ---- */

static struct acl_user *user_alloc(struct slice name)
{
    struct acl_user *user = mem_try_alloc(sizeof *user + name.len + 1);
    if (!user) return NULL;
    memset((void *)user, 0, sizeof *user);
    refs_init(&user->refs, 1);
    user->name_len = name.len;
    if (name.len) memcpy(user->name, name.ptr, name.len);
    user->name[name.len] = '\0';
    return user;
}

struct acl_user *acl_user_new(struct slice name, bool all_channels)
{
    struct acl_user *user = user_alloc(name);
    if (!user) return NULL;
    user->flags = USER_SANITIZE;
    if (user_add_selector(user, selector_new(all_channels))) return user;
    acl_user_unref(user);
    return NULL;
}

struct acl_user *acl_user_new_default(void)
{
    static const char *const rules[] = {"on", "nopass", "~*", "&*", "+@all"};
    struct acl_user *user = acl_user_new(SLICE("default"), false);
    check(user != NULL);
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++)
        check(acl_rule_apply(user, slice_str(rules[i]), false) == ACL_RULE_FINE);
    return user;
}

struct acl_user *acl_user_copy(const struct acl_user *from)
{
    struct acl_user *user = user_alloc(acl_user_name(from));
    bool fine = user != NULL;
    if (fine && from->hash_count) {
        user->hashes = mem_try_alloc(from->hash_count * SHA256_LEN);
        fine = user->hashes != NULL;
        if (fine) memcpy(user->hashes, from->hashes, from->hash_count * SHA256_LEN);
        user->hash_count = fine ? from->hash_count : 0;
    }
    for (size_t i = 0; fine && i < from->selector_count; i++)
        fine = user_add_selector(user, selector_copy(from->selectors[i]));
    if (!fine) {
        acl_user_unref(user);
        return NULL;
    }
    user->id = from->id;
    user->flags = from->flags;
    return user;
}

struct acl_user *acl_user_ref(struct acl_user *user)
{
    counter_next_shared(&user->refs);
    return user;
}

void acl_user_unref(struct acl_user *user)
{
    if (!user || !refs_drop_shared(&user->refs)) return;
    for (size_t i = 0; i < user->selector_count; i++) selector_free(user->selectors[i]);
    mem_free(user->selectors);
    mem_free(user->hashes);
    mem_free(user);
}

struct slice acl_user_name(const struct acl_user *user)
{
    return slice_of(user->name, user->name_len);
}

bool acl_user_is(const struct acl_user *a, const struct acl_user *b) { return a->id == b->id; }

bool acl_user_enabled(const struct acl_user *user) { return user->flags & USER_ON; }

bool acl_user_nopass(const struct acl_user *user) { return user->flags & USER_NOPASS; }

static bool selector_free_of_limits(const struct selector *s)
{
    const uint32_t all = SELECTOR_ALL_KEYS | SELECTOR_ALL_CHANNELS | SELECTOR_ALL_COMMANDS;
    return (s->flags & all) == all;
}

bool acl_user_free(const struct acl_user *user)
{
    for (size_t i = 0; i < user->selector_count; i++)
        if (selector_free_of_limits(user->selectors[i])) return true;
    return false;
}

bool acl_user_is_plain_default(const struct acl_user *user)
{
    const struct selector *root = user->selectors[0];
    return slice_equal(acl_user_name(user), SLICE("default")) && user->selector_count == 1 &&
           selector_free_of_limits(root) && root->rules.len == 0 &&
           (user->flags | USER_NOPASS) == (USER_ON | USER_NOPASS | USER_SANITIZE) &&
           user->hash_count == (user->flags & USER_NOPASS ? 0 : 1);
}

bool acl_user_login(const struct acl_user *user, struct slice password)
{
    uint8_t digest[SHA256_LEN];
    bool found = false;
    if (!(user->flags & USER_ON)) return false;
    if (user->flags & USER_NOPASS) return true;
    sha256(password, digest);
    for (size_t i = 0; i < user->hash_count; i++) found |= sha256_same(user->hashes[i], digest);
    return found;
}

void acl_user_set_password(struct acl_user *user, struct slice password)
{
    mem_free(user->hashes);
    user->hashes = NULL;
    user->hash_count = 0;
    if (password.len == 0) {
        user->flags |= USER_NOPASS;
        return;
    }
    user->flags &= ~(uint32_t)USER_NOPASS;
    user->hashes = mem_alloc(SHA256_LEN);
    sha256(password, user->hashes[user->hash_count++]);
}
