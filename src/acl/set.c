/* All users of a server at one moment, by name; and the file that holds them.
 *
 * Redis takes a file whole or not at all, and tells every mistake of it, by line. Lines are split
 * at single blanks, without quotes: `user name rule rule …`.
 * Thread: any (a set is constant). */
#include "acl_impl.h"

#include "splitring/base/check.h"
#include "splitring/base/mem.h"

struct acl_set {
    counter refs;
    uint64_t last_id; /* of accounts */
    size_t count, cap;
    struct acl_user *users[];
};

static struct acl_set *set_alloc(size_t cap, uint64_t last_id)
{
    struct acl_set *set = mem_try_alloc(sizeof *set + cap * sizeof(struct acl_user *));
    if (!set) return NULL;
    memset((void *)set, 0, sizeof *set);
    refs_init(&set->refs, 1);
    set->cap = cap;
    set->last_id = last_id;
    return set;
}

struct acl_set *acl_set_new(void)
{
    struct acl_set *set = set_alloc(1, 1);
    check(set != NULL);
    set->users[set->count++] = acl_user_new_default();
    set->users[0]->id = 1;
    return set;
}

struct acl_set *acl_set_ref(struct acl_set *set)
{
    counter_next_shared(&set->refs);
    return set;
}

void acl_set_unref(struct acl_set *set)
{
    if (!set || !refs_drop_shared(&set->refs)) return;
    for (size_t i = 0; i < set->count; i++) acl_user_unref(set->users[i]);
    mem_free(set);
}

size_t acl_set_count(const struct acl_set *set) { return set->count; }

struct acl_user *acl_set_at(const struct acl_set *set, size_t i) { return set->users[i]; }

/* Where the name is, or would be. */
static size_t place_of(const struct acl_set *set, struct slice name, bool *found)
{
    size_t low = 0, high = set->count;
    *found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = slice_compare(acl_user_name(set->users[mid]), name);
        if (order == 0) *found = true;
        if (order < 0) low = mid + 1;
        else high = mid;
    }
    return low;
}

struct acl_user *acl_set_find(const struct acl_set *set, struct slice name)
{
    bool found;
    size_t at = place_of(set, name, &found);
    return found ? set->users[at] : NULL;
}

struct acl_user *acl_set_default(const struct acl_set *set)
{
    return acl_set_find(set, SLICE("default"));
}

struct acl_user *acl_set_find_same(const struct acl_set *set, const struct acl_user *user)
{
    struct acl_user *found = acl_set_find(set, acl_user_name(user));
    return found && acl_user_is(found, user) ? found : NULL;
}

static void take_users(struct acl_set *to, const struct acl_set *from, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) to->users[to->count++] = acl_user_ref(from->users[i]);
}

struct acl_set *acl_set_with(const struct acl_set *set, struct acl_user *user)
{
    bool found;
    size_t at = place_of(set, acl_user_name(user), &found);
    struct acl_set *next = set_alloc(set->count + 1, set->last_id);
    if (!next) {
        acl_user_unref(user);
        return NULL;
    }
    user->id = found ? set->users[at]->id : ++next->last_id;
    take_users(next, set, 0, at);
    next->users[next->count++] = user;
    take_users(next, set, at + found, set->count);
    return next;
}

struct acl_set *acl_set_without(const struct acl_set *set, const struct acl_user *user)
{
    bool found;
    size_t at = place_of(set, acl_user_name(user), &found);
    struct acl_set *next = set_alloc(set->count, set->last_id);
    if (!next) return NULL;
    take_users(next, set, 0, at);
    take_users(next, set, at + found, set->count);
    return next;
}

/* ---- files ---- */

struct file {
    const char *name;
    unsigned line;
    bool all_channels, memory;
    struct buf *error;
};

static struct slice trim(struct slice s, const char *chars)
{
    while (s.len && s.ptr[0] && strchr(chars, s.ptr[0])) s = slice_of(s.ptr + 1, s.len - 1);
    while (s.len && s.ptr[s.len - 1] && strchr(chars, s.ptr[s.len - 1])) s.len--;
    return s;
}

static int shown(struct slice s) { return s.len < 1024 ? (int)s.len : 1024; }

static void complain(struct file *file, struct slice rule, enum acl_rule_error why)
{
    const char *text = error_text(acl_rule_error_text(why));
    if (why == ACL_RULE_UNKNOWN)
        buf_printf(file->error, error_text(ERR_ACL_FILE_RULE), file->name, file->line,
                   shown(rule), rule.ptr, text);
    else
        buf_printf(file->error, error_text(ERR_ACL_FILE_LINE), file->name, file->line, text);
}

static void read_rules(struct file *file, struct acl_user *user, const struct slice *argv,
                       int argc)
{
    struct slice *rules;
    struct buf bytes = {0};
    bool told = false;
    int open, count = acl_rules_merge(argv, argc, &rules, &bytes, &open);
    if (count == -1)
        buf_printf(file->error, error_text(ERR_ACL_FILE_UNMATCHED), file->name, file->line);
    file->memory |= count == -2;
    for (int i = 0; i < count; i++) {
        struct slice rule = trim(rules[i], "\t\r\n");
        enum acl_rule_error why = acl_rule_apply(user, rule, file->all_channels);
        if (why == ACL_RULE_FINE || (told && why != ACL_RULE_UNKNOWN)) continue;
        complain(file, rule, why);
        told |= why != ACL_RULE_UNKNOWN;
    }
    if (count >= 0) mem_free(rules);
    buf_deinit(&bytes);
}

/* *set is replaced by one with the line's user. */
static void read_user(struct file *file, struct acl_set **set, const struct acl_set *before,
                      const struct slice *argv, int argc)
{
    struct slice name = argc > 1 ? argv[1] : SLICE("");
    if (!slice_equal(argv[0], SLICE("user")) || argc < 2) {
        buf_printf(file->error, error_text(ERR_ACL_FILE_USER), file->name, file->line);
    } else if (!acl_name_ok(name)) {
        buf_printf(file->error, error_text(ERR_ACL_FILE_NAME), file->name, file->line,
                   shown(name), name.ptr);
    } else if (acl_set_find(*set, name)) {
        buf_printf(file->error, error_text(ERR_ACL_FILE_TWICE), shown(name), name.ptr,
                   file->line);
    } else {
        struct acl_user *user = acl_user_new(name, file->all_channels);
        const struct acl_user *known = before ? acl_set_find(before, name) : NULL;
        if (user) read_rules(file, user, argv + 2, argc - 2);
        struct acl_set *next = user ? acl_set_with(*set, user) : NULL;
        if (next && known) user->id = known->id;
        file->memory |= !next;
        if (!next) return;
        acl_set_unref(*set);
        *set = next;
    }
}

static void read_line(struct file *file, struct acl_set **set, const struct acl_set *before,
                      struct slice line)
{
    int argc = 1, n = 0;
    line = trim(line, " \t\r\n");
    if (line.len == 0) return;
    for (size_t i = 0; i < line.len; i++) argc += line.ptr[i] == ' ';
    struct slice *argv = mem_try_alloc((size_t)argc * sizeof *argv);
    if (!argv) {
        file->memory = true;
        return;
    }
    struct slice word = slice_of(line.ptr, 0);
    for (size_t i = 0; i < line.len; i++) {
        word.len++;
        if (line.ptr[i] != ' ') continue;
        argv[n++] = slice_of(word.ptr, word.len - 1);
        word = slice_of(line.ptr + i + 1, 0);
    }
    argv[n++] = word;
    read_user(file, set, before, argv, n);
    mem_free(argv);
}

struct acl_set *acl_set_parse(const struct acl_set *before, struct slice text, const char *name,
                              bool all_channels, struct buf *error)
{
    struct file file = {.name = name, .line = 1, .all_channels = all_channels, .error = error};
    struct acl_set *set = set_alloc(0, before ? before->last_id : 1);
    struct slice rest = text;
    for (; set && rest.len && !file.memory; file.line++) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
        read_line(&file, &set, before, slice_of(rest.ptr, len));
        rest = end ? slice_of(end + 1, rest.len - len - 1) : SLICE("");
    }
    if (error->len) buf_printf(error, "%s", error_text(ERR_ACL_FILE_UNCHANGED));
    if (!set || file.memory || error->failed) {
        error->len = 0;
        buf_printf(error, "%s", error_text(ERR_ACL_WHY_MEMORY));
    }
    if (!error->len && !acl_set_default(set)) {
        struct acl_set *next = acl_set_with(set, acl_user_new_default());
        check(next != NULL);
        acl_set_default(next)->id = 1;
        acl_set_unref(set);
        set = next;
    }
    if (!error->len) {
        acl_set_default(set)->id = 1;
        return set;
    }
    acl_set_unref(set);
    return NULL;
}

void acl_set_write(const struct acl_set *set, struct buf *out)
{
    for (size_t i = 0; i < set->count; i++) {
        buf_append_slice(out, SLICE("user "));
        buf_append_slice(out, acl_user_name(set->users[i]));
        buf_append_char(out, ' ');
        acl_user_describe(set->users[i], out);
        buf_append_char(out, '\n');
    }
}
