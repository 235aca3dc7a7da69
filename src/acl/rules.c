/* The language of rules: `on >secret ~app:* +@read -keys (~tmp:* +set)`.
 *
 * Each rule is applied to a user that nobody else sees yet; a list of them is applied in order and
 * used only if every one was fine. Beside the bits of commands the rules are kept as text, with
 * those that a later one has made void taken out: what is shown can be read back and gives the same
 * bits. Texts of errors are Redis'.
 * Source: https://redis.io/docs/latest/commands/acl-setuser/
 * Thread: who makes the user. */
#include "acl_impl.h"
#include "splitring/base/mem.h"

/* One user may not make every later change walk through more than so many first arguments. */
#define FIRSTS_MAX 4096u

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool acl_name_ok(struct slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (is_space(name.ptr[i]) || name.ptr[i] == '\0') return false;
    return true;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

static struct slice behind(struct slice s, size_t n) { return slice_of(s.ptr + n, s.len - n); }

/* ---- the text of a selector's commands ---- */

/* The rule ends at a blank or at the end. */
static size_t rule_len(struct slice text, size_t at)
{
    const char *blank = memchr(text.ptr + at, ' ', text.len - at);
    return blank ? (size_t)(blank - text.ptr) - at : text.len - at;
}

/* `name` makes this older rule void: it is the same, or a subcommand of it. */
static bool is_covered(struct slice old, struct slice name)
{
    if (old.len < name.len || memcmp(old.ptr, name.ptr, name.len) != 0) return false;
    return old.len == name.len || old.ptr[name.len] == '|';
}

static bool note_rule(struct selector *s, struct slice name, bool allow)
{
    struct buf rules = {0}, word = {0};
    struct slice old = buf_slice(&s->rules);
    for (size_t i = 0; i < name.len; i++) buf_append_char(&word, lower(name.ptr[i]));
    for (size_t at = 0; at < old.len;) {
        size_t len = rule_len(old, at);
        struct slice rule = slice_of(old.ptr + at, len);
        at += len + 1;
        if (is_covered(behind(rule, 1), buf_slice(&word))) continue;
        if (rules.len) buf_append_char(&rules, ' ');
        buf_append_slice(&rules, rule);
    }
    if (rules.len) buf_append_char(&rules, ' ');
    buf_append_char(&rules, allow ? '+' : '-');
    buf_append_slice(&rules, buf_slice(&word));
    bool fine = !rules.failed && !word.failed;
    if (fine) {
        struct buf swap = s->rules;
        s->rules = rules;
        rules = swap;
    }
    buf_deinit(&rules);
    buf_deinit(&word);
    return fine;
}

/* ---- commands ---- */

static void forget_firsts(struct selector *s, uint32_t id)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->firsts.count; i++) {
        struct pattern *first = s->firsts.items[i];
        if (first->rights == id) mem_free(first);
        else s->firsts.items[kept++] = first;
    }
    s->firsts.count = kept;
}

static void set_bit(struct selector *s, const struct command *cmd, bool allow)
{
    uint64_t bit = (uint64_t)1 << (cmd->id % 64);
    if (allow) {
        s->commands[cmd->id / 64] |= bit;
    } else {
        s->commands[cmd->id / 64] &= ~bit;
        s->flags &= ~(uint32_t)SELECTOR_ALL_COMMANDS;
    }
}

/* The command with all its subcommands. */
static void set_command(struct selector *s, const struct command *cmd, bool allow)
{
    set_bit(s, cmd, allow);
    forget_firsts(s, cmd->id);
    for (const struct command *const *sub = cmd->subcommands; sub && *sub; sub++)
        set_bit(s, *sub, allow);
}

static void set_all(struct selector *s, bool allow)
{
    const uint32_t flags = SELECTOR_ALL_COMMANDS | SELECTOR_FROM_ALL;
    memset(s->commands, allow ? 0xff : 0, sizeof s->commands);
    s->flags = allow ? s->flags | flags : s->flags & ~flags;
    s->rules.len = 0;
    patterns_clear(&s->firsts);
}

static uint64_t category_of(struct slice name)
{
    for (int bit = 0; bit < ACL_CATEGORY_COUNT; bit++)
        if (slice_is_word(name, acl_category_name(bit))) return (uint64_t)1 << bit;
    return 0;
}

static enum acl_rule_error apply_category(struct selector *s, struct slice name, bool allow)
{
    uint64_t category = category_of(behind(name, 1));
    if (!category) return ACL_RULE_UNKNOWN;
    /* A container that is in it brings its subcommands, which may then say otherwise. */
    for (size_t id = 0; id < command_count(); id++) {
        const struct command *cmd = command_at(id);
        if (cmd->parent || !(cmd->acl & category)) continue;
        set_command(s, cmd, allow);
    }
    for (size_t id = 0; id < command_count(); id++) {
        const struct command *cmd = command_at(id);
        if (cmd->parent && cmd->acl & category) set_command(s, cmd, allow);
    }
    return note_rule(s, name, allow) ? ACL_RULE_FINE : ACL_RULE_MEMORY;
}

/* +command|first-argument, of a command that has no subcommands. */
static enum acl_rule_error allow_first(struct selector *s, const struct command *cmd,
                                       struct slice first)
{
    for (size_t i = 0; i < s->firsts.count; i++)
        if (s->firsts.items[i]->rights == cmd->id && slice_is_word(first, s->firsts.items[i]->text))
            return ACL_RULE_FINE;
    if (s->firsts.count >= FIRSTS_MAX) return ACL_RULE_MEMORY;
    /* The list holds a word per command: no two entries are one. */
    struct patterns one = {0};
    struct pattern *p = patterns_add(&one, first, cmd->id);
    if (!p) return ACL_RULE_MEMORY;
    if (s->firsts.count == s->firsts.cap) {
        size_t cap = s->firsts.cap ? s->firsts.cap * 2 : 4;
        struct pattern **more = mem_try_realloc(s->firsts.items, cap * sizeof(struct pattern *));
        if (!more) {
            patterns_clear(&one);
            return ACL_RULE_MEMORY;
        }
        s->firsts.items = more;
        s->firsts.cap = cap;
    }
    s->firsts.items[s->firsts.count++] = p;
    mem_free(one.items);
    return ACL_RULE_FINE;
}

static enum acl_rule_error allow_sub(struct selector *s, struct slice name, size_t bar)
{
    const struct command *cmd = command_by_name(slice_of(name.ptr, bar));
    struct slice sub = behind(name, bar + 1);
    if (!cmd) return ACL_RULE_UNKNOWN;
    if (cmd->parent) return ACL_RULE_FIRST_OF_SUB;
    if (sub.len == 0) return ACL_RULE_SYNTAX;
    if (cmd->subcommands) {
        cmd = command_by_name(name);
        if (!cmd) return ACL_RULE_UNKNOWN;
        set_command(s, cmd, true);
    } else {
        enum acl_rule_error error = allow_first(s, cmd, sub);
        if (error) return error;
    }
    return note_rule(s, name, true) ? ACL_RULE_FINE : ACL_RULE_MEMORY;
}

static enum acl_rule_error apply_command(struct selector *s, struct slice name, bool allow)
{
    const char *bar = name.len && allow ? memrchr(name.ptr, '|', name.len) : NULL;
    if (memchr(name.ptr, '\0', name.len) || !acl_name_ok(name)) return ACL_RULE_UNKNOWN;
    if (bar) return allow_sub(s, name, (size_t)(bar - name.ptr));
    const struct command *cmd = command_by_name(name);
    if (!cmd) return ACL_RULE_UNKNOWN;
    set_command(s, cmd, allow);
    return note_rule(s, slice_str(cmd->name), allow) ? ACL_RULE_FINE : ACL_RULE_MEMORY;
}

/* ---- keys and channels ---- */

/* %R~, %W~, %RW~: the rights, and where the pattern begins; 0: it is none of them. */
static size_t read_rights(struct slice rule, uint32_t *rights)
{
    *rights = 0;
    for (size_t i = 1; i < rule.len; i++) {
        char c = lower(rule.ptr[i]);
        uint32_t right = c == 'r' ? RIGHT_READ : c == 'w' ? RIGHT_WRITE : 0;
        if (c == '~') return *rights ? i + 1 : 0;
        if (!right || *rights & right) return 0;
        *rights |= right;
    }
    return *rights ? rule.len : 0;
}

static enum acl_rule_error apply_keys(struct selector *s, struct slice rule)
{
    uint32_t rights = RIGHT_BOTH;
    size_t from = 1;
    if (s->flags & SELECTOR_ALL_KEYS) return ACL_RULE_KEYS;
    if (rule.ptr[0] == '%') from = read_rights(rule, &rights);
    if (from == 0 || !acl_name_ok(behind(rule, from))) return ACL_RULE_SYNTAX;
    return patterns_add(&s->keys, behind(rule, from), rights) ? ACL_RULE_FINE : ACL_RULE_MEMORY;
}

static enum acl_rule_error apply_channels(struct selector *s, struct slice rule)
{
    if (s->flags & SELECTOR_ALL_CHANNELS) return ACL_RULE_CHANNELS;
    if (!acl_name_ok(behind(rule, 1))) return ACL_RULE_SYNTAX;
    return patterns_add(&s->channels, behind(rule, 1), 0) ? ACL_RULE_FINE : ACL_RULE_MEMORY;
}

static void set_keys(struct selector *s, bool all)
{
    patterns_clear(&s->keys);
    s->flags = all ? s->flags | SELECTOR_ALL_KEYS : s->flags & ~(uint32_t)SELECTOR_ALL_KEYS;
}

static void set_channels(struct selector *s, bool all)
{
    patterns_clear(&s->channels);
    s->flags = all ? s->flags | SELECTOR_ALL_CHANNELS
                   : s->flags & ~(uint32_t)SELECTOR_ALL_CHANNELS;
}

static bool is(struct slice rule, const char *word, const char *sign)
{
    return slice_is_word(rule, word) || slice_is_word(rule, sign);
}

enum acl_rule_error selector_apply(struct selector *s, struct slice rule)
{
    char sign = rule.len ? rule.ptr[0] : '\0';
    if (is(rule, "allkeys", "~*")) set_keys(s, true);
    else if (slice_is_word(rule, "resetkeys")) set_keys(s, false);
    else if (is(rule, "allchannels", "&*")) set_channels(s, true);
    else if (slice_is_word(rule, "resetchannels")) set_channels(s, false);
    else if (is(rule, "allcommands", "+@all")) set_all(s, true);
    else if (is(rule, "nocommands", "-@all")) set_all(s, false);
    else if (sign == '~' || sign == '%') return apply_keys(s, rule);
    else if (sign == '&') return apply_channels(s, rule);
    else if (sign != '+' && sign != '-') return ACL_RULE_SYNTAX;
    else if (rule.len > 1 && rule.ptr[1] == '@')
        return apply_category(s, behind(rule, 1), sign == '+');
    else
        return apply_command(s, behind(rule, 1), sign == '+');
    return ACL_RULE_FINE;
}

/* ---- selectors in parentheses ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character inside "…". */
static char take_escaped(struct slice s, size_t *at)
{
    static const char letters[] = "nrtba", meant[] = "\n\r\t\b\a";
    size_t i = *at;
    *at = i + 1;
    if (s.ptr[i] != '\\' || i + 1 >= s.len) return s.ptr[i];
    *at = i + 2;
    if (s.ptr[i + 1] == 'x' && i + 3 < s.len && hex(s.ptr[i + 2]) >= 0 && hex(s.ptr[i + 3]) >= 0) {
        *at = i + 4;
        return (char)(unsigned char)(hex(s.ptr[i + 2]) * 16 + hex(s.ptr[i + 3]));
    }
    const char *letter = s.ptr[i + 1] ? strchr(letters, s.ptr[i + 1]) : NULL;
    return letter ? meant[letter - letters] : s.ptr[i + 1];
}

/* The next word, with the quotes of inline commands; false: a quote is not closed. */
static bool take_word(struct slice s, size_t *at, struct buf *word)
{
    char quote = 0;
    size_t i = *at;
    word->len = 0;
    while (i < s.len && (quote || !is_space(s.ptr[i]))) {
        char c = s.ptr[i];
        if (!quote && (c == '"' || c == '\'')) {
            quote = c;
            i++;
        } else if (quote && c == quote) {
            *at = i + 1;
            return i + 1 == s.len || is_space(s.ptr[i + 1]);
        } else if (quote == '"') {
            buf_append_char(word, take_escaped(s, &i));
        } else {
            if (quote && c == '\\' && i + 1 < s.len && s.ptr[i + 1] == '\'') c = s.ptr[++i];
            buf_append_char(word, c);
            i++;
        }
    }
    *at = i;
    return !quote;
}

/* A quote that is not closed makes the whole selector empty, as in Redis: it allows nothing. */
static bool quotes_closed(struct slice s)
{
    struct buf word = {0};
    bool fine = true;
    for (size_t at = 0; fine && at < s.len;) {
        while (at < s.len && is_space(s.ptr[at])) at++;
        fine = at == s.len || take_word(s, &at, &word);
    }
    buf_deinit(&word);
    return fine;
}

static enum acl_rule_error apply_selector(struct acl_user *user, struct slice inside,
                                          bool all_channels)
{
    struct selector *s = selector_new(all_channels);
    struct buf word = {0};
    enum acl_rule_error error = s ? ACL_RULE_FINE : ACL_RULE_MEMORY;
    bool any = s && quotes_closed(inside);
    for (size_t at = 0; any && !error;) {
        while (at < inside.len && is_space(inside.ptr[at])) at++;
        if (at == inside.len) break;
        (void)take_word(inside, &at, &word);
        error = word.failed ? ACL_RULE_MEMORY : selector_apply(s, buf_slice(&word));
    }
    buf_deinit(&word);
    if (error) {
        selector_free(s);
        return error;
    }
    return user_add_selector(user, s) ? ACL_RULE_FINE : ACL_RULE_MEMORY;
}

/* ---- passwords ---- */

static bool read_hash(struct slice text, uint8_t out[SHA256_LEN])
{
    if (text.len != ACL_HEX_LEN) return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] >= 'A' && text.ptr[i] <= 'F') return false;
        if (hex(text.ptr[i]) < 0) return false;
    }
    for (size_t i = 0; i < SHA256_LEN; i++)
        out[i] = (uint8_t)(hex(text.ptr[2 * i]) * 16 + hex(text.ptr[2 * i + 1]));
    return true;
}

static void clear_passwords(struct acl_user *user)
{
    mem_free(user->hashes);
    user->hashes = NULL;
    user->hash_count = 0;
}

static enum acl_rule_error apply_password(struct acl_user *user, struct slice rule)
{
    uint8_t digest[SHA256_LEN];
    bool adds = rule.ptr[0] == '>' || rule.ptr[0] == '#';
    if (rule.ptr[0] == '>' || rule.ptr[0] == '<') sha256(behind(rule, 1), digest);
    else if (!read_hash(behind(rule, 1), digest)) return ACL_RULE_HASH;
    size_t at = 0;
    while (at < user->hash_count && !sha256_same(user->hashes[at], digest)) at++;
    bool there = at < user->hash_count;
    if (!adds) {
        if (!there) return ACL_RULE_NO_PASSWORD;
        user->hash_count--;
        memmove(user->hashes[at], user->hashes[at + 1], (user->hash_count - at) * SHA256_LEN);
        return ACL_RULE_FINE;
    }
    if (!there) {
        void *more = mem_try_realloc(user->hashes, (user->hash_count + 1) * SHA256_LEN);
        if (!more) return ACL_RULE_MEMORY;
        user->hashes = more;
        memcpy(user->hashes[user->hash_count++], digest, SHA256_LEN);
    }
    user->flags &= ~(uint32_t)USER_NOPASS;
    return ACL_RULE_FINE;
}

/* ---- users ---- */

static void apply_reset(struct acl_user *user, bool all_channels)
{
    user_clear_selectors(user);
    clear_passwords(user);
    user->flags = USER_SANITIZE;
    set_keys(user->selectors[0], false);
    set_channels(user->selectors[0], all_channels);
    set_all(user->selectors[0], false);
}

/* Words about the user itself; false: it is none of them. */
static bool apply_word(struct acl_user *user, struct slice rule, bool all_channels)
{
    static const struct {
        const char *word;
        uint32_t set, clear;
        bool forgets_passwords;
    } words[] = {
        {"on", USER_ON, 0, false},
        {"off", 0, USER_ON, false},
        {"nopass", USER_NOPASS, 0, true},
        {"resetpass", 0, USER_NOPASS, true},
        {"sanitize-payload", USER_SANITIZE, USER_SKIP_SANITIZE, false},
        {"skip-sanitize-payload", USER_SKIP_SANITIZE, USER_SANITIZE, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (!slice_is_word(rule, words[i].word)) continue;
        user->flags = (user->flags & ~words[i].clear) | words[i].set;
        if (words[i].forgets_passwords) clear_passwords(user);
        return true;
    }
    if (slice_is_word(rule, "clearselectors")) user_clear_selectors(user);
    else if (slice_is_word(rule, "reset")) apply_reset(user, all_channels);
    else return false;
    return true;
}

enum acl_rule_error acl_rule_apply(struct acl_user *user, struct slice rule, bool all_channels)
{
    if (rule.len == 0 || apply_word(user, rule, all_channels)) return ACL_RULE_FINE;
    if (memchr("><#!", rule.ptr[0], 4)) return apply_password(user, rule);
    if (rule.len > 1 && rule.ptr[0] == '(' && rule.ptr[rule.len - 1] == ')')
        return apply_selector(user, slice_of(rule.ptr + 1, rule.len - 2), all_channels);
    return selector_apply(user->selectors[0], rule);
}

enum error_id acl_rule_error_text(enum acl_rule_error error)
{
    switch (error) {
    case ACL_RULE_UNKNOWN: return ERR_ACL_WHY_UNKNOWN;
    case ACL_RULE_KEYS: return ERR_ACL_WHY_KEYS;
    case ACL_RULE_CHANNELS: return ERR_ACL_WHY_CHANNELS;
    case ACL_RULE_NO_PASSWORD: return ERR_ACL_WHY_NO_PASSWORD;
    case ACL_RULE_HASH: return ERR_ACL_WHY_HASH;
    case ACL_RULE_FIRST_OF_SUB: return ERR_ACL_WHY_FIRST_OF_SUB;
    case ACL_RULE_MEMORY: return ERR_ACL_WHY_MEMORY;
    case ACL_RULE_FINE:
    case ACL_RULE_SYNTAX: break;
    }
    return ERR_ACL_WHY_SYNTAX;
}

/* ---- lists of rules ---- */

static char first_of(struct slice s) { return s.len ? s.ptr[0] : '\0'; }
static char last_of(struct slice s) { return s.len ? s.ptr[s.len - 1] : '\0'; }

int acl_rules_merge(const struct slice *argv, int argc, struct slice **merged, struct buf *bytes,
                    int *open)
{
    int count = 0;
    size_t len = 1;
    for (int i = 0; i < argc; i++) len += argv[i].len + 1;
    struct slice *rules = mem_try_alloc(((size_t)argc + 1) * sizeof *rules);
    *merged = NULL;
    *open = -1;
    if (!rules || !buf_reserve(bytes, len)) { /* reserved as a whole: slices into it stay */
        mem_free(rules);
        return -2;
    }
    for (int i = 0; i < argc; i++) {
        if (*open < 0 && (first_of(argv[i]) != '(' || last_of(argv[i]) == ')')) {
            rules[count++] = argv[i];
            continue;
        }
        if (*open < 0) {
            *open = i;
            rules[count] = slice_of(bytes->ptr + bytes->len, 0);
        } else {
            buf_append_char(bytes, ' ');
        }
        buf_append_slice(bytes, argv[i]);
        rules[count].len = (size_t)(bytes->ptr + bytes->len - rules[count].ptr);
        if (*open == i || last_of(argv[i]) != ')') continue;
        *open = -1;
        count++;
    }
    if (*open >= 0) {
        mem_free(rules);
        return -1;
    }
    *merged = rules;
    return count;
}

/* printf with a client's own bytes in it: bounded. */
static int shown(struct slice s) { return s.len < 4096 ? (int)s.len : 4096; }

bool acl_rules_apply(struct acl_user *user, const struct slice *argv, int argc, bool all_channels,
                     struct buf *error)
{
    struct slice *rules;
    struct buf bytes = {0};
    int open, count = acl_rules_merge(argv, argc, &rules, &bytes, &open);
    bool fine = count >= 0;
    if (count == -1)
        buf_printf(error, error_text(ERR_ACL_UNMATCHED), shown(argv[open]), argv[open].ptr);
    else if (count < 0)
        buf_printf(error, "%s", error_text(ERR_NO_MEMORY));
    for (int i = 0; fine && i < count; i++) {
        enum acl_rule_error why = acl_rule_apply(user, rules[i], all_channels);
        fine = why == ACL_RULE_FINE;
        if (!fine)
            buf_printf(error, error_text(ERR_ACL_RULE), shown(rules[i]), rules[i].ptr,
                       error_text(acl_rule_error_text(why)));
    }
    if (count >= 0) mem_free(rules);
    buf_deinit(&bytes);
    return fine;
}
