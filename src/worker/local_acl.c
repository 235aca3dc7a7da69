/* ACL and its subcommands. Rules are src/acl's; who is told of a change is acl.c's.
 *
 * SETUSER, DELUSER and LOAD make a new set of users from the one they have seen and put it in place
 * if nobody was faster, else they look again. Then every worker looks at it, and the reply comes
 * after the last one. The others are answered from this worker's own look, at once.
 * Source: https://redis.io/docs/latest/commands/?group=server
 * Thread: the connection's worker. */
#include "acl.h"
#include "conn.h"
#include "local.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/handlers.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"

#define GENPASS_BITS_MAX 4096
#define WORD_SHOWN_MAX 128

static int shown(struct slice s, size_t max) { return (int)(s.len < max ? s.len : max); }

static bool all_channels(const struct call *c)
{
    return c->conn->worker->config->acl_pubsub_default == CONFIG_PUBSUB_ALLCHANNELS;
}

static bool syntax_ok(struct call *c, bool ok)
{
    if (!ok)
        reply_errorf(&c->reply, ERR_SUBCOMMAND_SYNTAX, shown(c->argv[1], WORD_SHOWN_MAX),
                     c->argv[1].ptr, "ACL");
    return ok;
}

/* ---- changes ---- */

void cmd_acl_setuser(struct call *c)
{
    struct hub *hub = c->conn->worker->hub;
    struct slice name = c->argv[2];
    struct buf error = {0};
    if (!acl_name_ok(name)) {
        reply_error(&c->reply, ERR_ACL_NAME);
        return;
    }
    for (bool done = false; !done;) {
        struct acl_set *seen = acl_take(hub), *next = NULL;
        const struct acl_user *old = acl_set_find(seen, name);
        struct acl_user *user = old ? acl_user_copy(old) : acl_user_new(name, all_channels(c));
        bool ok = user && acl_rules_apply(user, c->argv + 3, c->argc - 3, all_channels(c), &error);
        if (ok) next = acl_set_with(seen, user);
        else acl_user_unref(user);
        ok = next != NULL;
        done = acl_swap(hub, seen, next) || !ok;
        acl_set_unref(seen);
        if (ok) continue;
        if (error.failed || error.len == 0) reply_error(&c->reply, ERR_NO_MEMORY);
        else reply_error_text(&c->reply, error.ptr, error.len);
        buf_deinit(&error);
        return;
    }
    acl_tell_all(c, ERR_COUNT, -1);
}

/* Takes the user away; false: there is none. */
static bool delete_user(struct hub *hub, struct slice name)
{
    for (;;) {
        struct acl_set *seen = acl_take(hub);
        const struct acl_user *user = acl_set_find(seen, name);
        bool done = user && acl_swap(hub, seen, acl_set_without(seen, user));
        acl_set_unref(seen);
        if (!user || done) return user != NULL;
    }
}

/* As in Redis those named before `default` are gone even though it ends with an error. */
void cmd_acl_deluser(struct call *c)
{
    int64_t count = 0;
    enum error_id error = ERR_COUNT;
    for (int i = 2; i < c->argc && error == ERR_COUNT; i++) {
        if (slice_equal(c->argv[i], SLICE("default"))) error = ERR_ACL_DEFAULT_STAYS;
        else count += delete_user(c->conn->worker->hub, c->argv[i]);
    }
    acl_tell_all(c, error, count);
}

static bool has_file(struct call *c)
{
    if (c->conn->worker->config->aclfile[0]) return true;
    reply_error(&c->reply, ERR_ACL_NO_FILE);
    return false;
}

void cmd_acl_load(struct call *c)
{
    struct worker *w = c->conn->worker;
    struct buf error = {0};
    if (!has_file(c)) return;
    buf_append_slice(&error, SLICE("ERR "));
    struct buf why = {0};
    if (acl_load_file(w->hub, w->config, &why)) {
        acl_tell_all(c, ERR_COUNT, -1);
    } else {
        buf_append_slice(&error, buf_slice(&why));
        reply_error_text(&c->reply, error.ptr, error.len);
    }
    buf_deinit(&why);
    buf_deinit(&error);
}

void cmd_acl_save(struct call *c)
{
    struct worker *w = c->conn->worker;
    struct buf text = {0};
    if (!has_file(c)) return;
    struct acl_set *set = acl_take(w->hub);
    acl_set_write(set, &text);
    acl_set_unref(set);
    int rc = text.failed ? -1 : os_file_replace(w->config->aclfile, buf_slice(&text));
    if (rc == 0) {
        reply_ok(&c->reply);
    } else {
        log_line(LOG_LEVEL_WARNING, "Writing the ACL file %s: %s", w->config->aclfile,
                 os_error_text(rc));
        reply_error(&c->reply, ERR_ACL_SAVE);
    }
    buf_deinit(&text);
}

/* ---- looking ---- */

void cmd_acl_whoami(struct call *c)
{
    reply_bulk_slice(&c->reply, acl_user_name(c->conn->user));
}

void cmd_acl_getuser(struct call *c)
{
    const struct acl_user *user = acl_set_find(c->conn->worker->acl, c->argv[2]);
    if (user) acl_user_reply(user, &c->reply);
    else reply_null(&c->reply);
}

void cmd_acl_users(struct call *c)
{
    const struct acl_set *set = c->conn->worker->acl;
    reply_array(&c->reply, acl_set_count(set));
    for (size_t i = 0; i < acl_set_count(set); i++)
        reply_bulk_slice(&c->reply, acl_user_name(acl_set_at(set, i)));
}

void cmd_acl_list(struct call *c)
{
    const struct acl_set *set = c->conn->worker->acl;
    reply_array(&c->reply, acl_set_count(set));
    for (size_t i = 0; i < acl_set_count(set); i++) {
        struct buf line = {0};
        buf_append_slice(&line, SLICE("user "));
        buf_append_slice(&line, acl_user_name(acl_set_at(set, i)));
        buf_append_char(&line, ' ');
        acl_user_describe(acl_set_at(set, i), &line);
        reply_bulk_slice(&c->reply, buf_slice(&line));
        c->reply.out->failed |= line.failed;
        buf_deinit(&line);
    }
}

void cmd_acl_cat(struct call *c)
{
    int category = -1;
    size_t count = 0;
    if (!syntax_ok(c, c->argc <= 3)) return;
    if (c->argc == 2) {
        reply_array(&c->reply, ACL_CATEGORY_COUNT);
        for (int bit = 0; bit < ACL_CATEGORY_COUNT; bit++)
            reply_bulk_str(&c->reply, acl_category_name(bit));
        return;
    }
    for (int bit = 0; bit < ACL_CATEGORY_COUNT; bit++)
        if (call_is(c, 2, acl_category_name(bit))) category = bit;
    if (category < 0) {
        reply_errorf(&c->reply, ERR_ACL_UNKNOWN_CATEGORY, shown(c->argv[2], WORD_SHOWN_MAX),
                     c->argv[2].ptr);
        return;
    }
    size_t mark = reply_deferred_begin(&c->reply);
    for (size_t id = 0; id < command_count(); id++) {
        if (!(command_at(id)->acl >> category & 1)) continue;
        reply_bulk_str(&c->reply, command_at(id)->name);
        count++;
    }
    reply_deferred_array(&c->reply, mark, count);
}

void cmd_acl_genpass(struct call *c)
{
    unsigned char bytes[GENPASS_BITS_MAX / 8];
    char text[GENPASS_BITS_MAX / 4];
    int64_t bits = 256;
    if (!syntax_ok(c, c->argc <= 3)) return;
    if (c->argc == 3 && !call_int(c, 2, &bits)) return;
    if (bits <= 0 || bits > GENPASS_BITS_MAX) {
        reply_error(&c->reply, ERR_ACL_GENPASS);
        return;
    }
    size_t len = ((size_t)bits + 3) / 4;
    os_entropy(bytes, (len + 1) / 2);
    for (size_t i = 0; i < len; i++)
        text[i] = "0123456789abcdef"[i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4];
    reply_bulk(&c->reply, text, len);
}

void cmd_acl_log(struct call *c)
{
    struct worker *w = c->conn->worker;
    int64_t count = 10;
    if (!syntax_ok(c, c->argc <= 3)) return;
    if (c->argc == 3 && call_is(c, 2, "reset")) {
        acl_log_clear(w->hub);
        reply_ok(&c->reply);
        return;
    }
    if (c->argc == 3 && !call_int(c, 2, &count)) return;
    acl_log_reply(w->hub, count < 0 ? 0 : (size_t)count, w->now, &c->reply);
}

void cmd_acl_dryrun(struct call *c)
{
    const struct slice *argv = c->argv + 3;
    int argc = c->argc - 3, at;
    bool sub_missing;
    const struct acl_user *user = acl_set_find(c->conn->worker->acl, c->argv[2]);
    const struct command_names *names = c->conn->worker->hub->names;
    const struct command *cmd =
        names ? command_find_named_slow(names, argv, argc, &sub_missing)
              : command_find(argv, argc, &sub_missing);
    if (!user) {
        reply_errorf(&c->reply, ERR_ACL_USER_NOT_FOUND, shown(c->argv[2], 1024), c->argv[2].ptr);
        return;
    }
    if (!cmd) {
        reply_errorf(&c->reply, ERR_ACL_COMMAND_NOT_FOUND, shown(argv[0], 1024), argv[0].ptr);
        return;
    }
    if (!command_arity_ok(cmd, argc)) {
        reply_errorf(&c->reply, ERR_WRONG_ARITY, cmd->name);
        return;
    }
    enum acl_verdict verdict = acl_judge(user, cmd, argv, argc, &at);
    if (verdict == ACL_ALLOWED) {
        reply_ok(&c->reply);
        return;
    }
    struct buf why = {0};
    acl_refusal_text(verdict, user, cmd, argv[at], true, &why);
    reply_bulk_slice(&c->reply, buf_slice(&why));
    buf_deinit(&why);
}

void cmd_acl_help(struct call *c)
{
    static const char *const lines[] = {
        "CAT [<category>]",
        "    List all commands that belong to <category>, or all command categories",
        "    when no category is specified.",
        "DELUSER <username> [<username> ...]",
        "    Delete a list of users.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Returns whether the user can execute the given command without executing the command.",
        "GETUSER <username>",
        "    Get the user's details.",
        "GENPASS [<bits>]",
        "    Generate a secure 256-bit user password. The optional `bits` argument can",
        "    be used to specify a different size.",
        "LIST",
        "    Show users details in config file format.",
        "LOAD",
        "    Reload users from the ACL file.",
        "LOG [<count> | RESET]",
        "    Show the ACL log entries.",
        "SAVE",
        "    Save the current config to the ACL file.",
        "SETUSER <username> <attribute> [<attribute> ...]",
        "    Create or modify a user with the specified attributes.",
        "USERS",
        "    List all the registered usernames.",
        "WHOAMI",
        "    Return the current connection username.",
        NULL};
    call_help(c, lines);
}
