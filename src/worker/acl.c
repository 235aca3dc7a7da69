/* The users of the server, and which of them each connection is.
 *
 *   hub: store ── set (generation n) ── users           one pointer, exchanged as a whole
 *   worker: its own reference to a set, looked at again whenever the generation has moved
 *   connection: a reference to its user; CONN_FREE: that one may do everything
 *
 * As with functions (functions.c) a change makes a new set, puts it in the old one's place under a
 * spin lock and counts the generation up. A worker compares the generation before it collects a
 * group of commands; so every command that is received after a change was answered is judged by it.
 * Only then does the change go to all workers (acl_tell_all), because connections that sleep must
 * be closed as well; it is answered when all have looked.
 *
 * What has been admitted before runs. Who waits for a key is judged again before he is served
 * (block_home.c), what was queued by MULTI when it runs, a script at every call.
 *
 * Cost: a connection of a user who may do everything is told apart by the flag that says it has
 * signed in; nothing else is looked at.
 * Thread: as the face says. */
#include "acl.h"

#include <errno.h>

#include "conn.h"
#include "fanout.h"
#include "multi.h"
#include "pubsub.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"
#include "stats.h"
#include "watch.h"

#define FILE_MAX (64u << 20)

struct acl_store {
    claim_word locked;
    counter generation;
    struct acl_set *set;
    struct acl_log *log;
};

static void lock(struct hub *hub)
{
    unsigned spins = 0;
    while (!claim_try_shared(&hub->acl->locked, 0, 1)) hub->pause(spins++);
}

static void unlock(struct hub *hub) { (void)claim_try_shared(&hub->acl->locked, 1, 0); }

static bool new_say_channels(const struct config *config)
{
    return config->acl_pubsub_default == CONFIG_PUBSUB_ALLCHANNELS;
}

static struct acl_set *with_password(const struct acl_set *set, const char *password)
{
    struct acl_user *user = acl_user_copy(acl_set_default(set));
    check(user != NULL);
    acl_user_set_password(user, slice_str(password));
    struct acl_set *next = acl_set_with(set, user);
    check(next != NULL);
    return next;
}

struct acl_store *acl_store_new(const struct config *config)
{
    struct acl_store *store = mem_zalloc(sizeof *store);
    store->set = acl_set_new();
    store->log = acl_log_new();
    counter_set(&store->generation, 1); /* 0: a worker that knows nothing yet */
    if (config->requirepass[0]) {
        struct acl_set *plain = store->set;
        store->set = with_password(plain, config->requirepass);
        acl_set_unref(plain);
    }
    return store;
}

void acl_store_free(struct acl_store *store)
{
    acl_set_unref(store->set);
    acl_log_free(store->log);
    mem_free(store);
}

struct acl_log *acl_log_of(const struct hub *hub) { return hub->acl->log; }

/* ---- the set ---- */

uint64_t acl_generation(const struct hub *hub)
{
    return counter_get_acquire_shared(&hub->acl->generation);
}

struct acl_set *acl_take(struct hub *hub)
{
    lock(hub);
    struct acl_set *set = acl_set_ref(hub->acl->set);
    unlock(hub);
    return set;
}

bool acl_swap(struct hub *hub, const struct acl_set *seen, struct acl_set *next)
{
    struct acl_set *drop = next;
    struct acl_store *store = hub->acl;
    if (!next) return false;
    lock(hub);
    bool first = store->set == seen;
    if (first) {
        drop = store->set;
        store->set = next;
        counter_set_release(&store->generation, counter_get(&store->generation) + 1);
    }
    unlock(hub);
    acl_set_unref(drop);
    return first;
}

void acl_set_requirepass(struct hub *hub, const char *password)
{
    bool done = false;
    while (!done) {
        struct acl_set *seen = acl_take(hub);
        done = acl_swap(hub, seen, with_password(seen, password));
        acl_set_unref(seen);
    }
}

bool acl_load_file(struct hub *hub, const struct config *config, struct buf *error)
{
    struct buf text = {0};
    bool done = false;
    int rc = os_file_read(config->aclfile, FILE_MAX, &text);
    if (rc != 0)
        buf_printf(error, error_text(ERR_ACL_FILE_OPEN), config->aclfile, os_error_text(rc));
    while (rc == 0 && !done) {
        struct acl_set *seen = acl_take(hub);
        struct acl_set *next = acl_set_parse(seen, buf_slice(&text), config->aclfile,
                                             new_say_channels(config), error);
        if (!next) rc = -EINVAL;
        done = acl_swap(hub, seen, next);
        acl_set_unref(seen);
    }
    buf_deinit(&text);
    return done;
}

void acl_config_lines(struct hub *hub, const struct config *config, struct buf *out)
{
    if (config->aclfile[0]) return;
    struct acl_set *set = acl_take(hub);
    const struct acl_user *user = acl_set_default(set);
    bool needs_none = config->requirepass[0] == '\0';
    bool said = acl_set_count(set) == 1 && acl_user_is_plain_default(user) &&
                acl_user_nopass(user) == needs_none &&
                acl_user_login(user, slice_str(config->requirepass));
    if (!said) acl_set_write(set, out);
    acl_set_unref(set);
}

/* ---- at start ---- */

/* A user line of the configuration: words up to the empty one. */
static bool add_configured(struct hub *hub, const struct config *config, char *const *words,
                           size_t count)
{
    struct slice *argv = mem_alloc((count + 1) * sizeof *argv);
    struct buf error = {0};
    struct slice name = slice_str(words[0]);
    bool all_channels = new_say_channels(config);
    for (size_t i = 0; i < count; i++) argv[i] = slice_str(words[i]);
    struct acl_user *user = acl_user_new(name, all_channels);
    if (!acl_name_ok(name)) buf_printf(&error, "%s", error_text(ERR_ACL_NAME));
    bool ok = user && !error.len &&
              acl_rules_apply(user, argv + 1, (int)count - 1, all_channels, &error);
    if (ok) {
        struct acl_set *seen = acl_take(hub);
        ok = acl_swap(hub, seen, acl_set_with(seen, user));
        acl_set_unref(seen);
    } else {
        log_line(LOG_LEVEL_WARNING, "Error in user declaration '%s': %.*s", words[0],
                 (int)error.len, error.len ? error.ptr : "");
        acl_user_unref(user);
    }
    buf_deinit(&error);
    mem_free(argv);
    return ok;
}

int hub_load_users(struct hub *hub)
{
    const struct config *config = hub->config_start;
    struct buf error = {0};
    bool ok = true;
    if (config->aclfile[0] && config->users.count) {
        log_line(LOG_LEVEL_WARNING,
                 "Configuring users in the configuration file and setting `aclfile` at the same "
                 "time is invalid: define either an ACL file or users, but not both.");
        return -EINVAL;
    }
    for (size_t i = 0, end; ok && i < config->users.count; i = end + 1) {
        for (end = i; config->users.words[end][0]; end++) continue;
        ok = add_configured(hub, config, config->users.words + i, end - i);
    }
    if (ok && config->aclfile[0]) {
        ok = acl_load_file(hub, config, &error);
        if (!ok)
            log_line(LOG_LEVEL_WARNING, "Aborting startup because of ACL errors: %.*s",
                     (int)(error.len < 2048 ? error.len : 2048), error.ptr);
    }
    buf_deinit(&error);
    return ok ? 0 : -EINVAL;
}

/* ---- connections ---- */

static void settle(struct conn *c)
{
    bool in = c->flags & CONN_AUTHED || c->worker->acl_open;
    c->flags &= ~(uint32_t)CONN_FREE;
    if (in && acl_user_free(c->user)) c->flags |= CONN_FREE;
}

/* The reference is spent. */
static void become(struct conn *c, struct acl_user *user)
{
    acl_user_unref(c->user);
    c->user = user;
}

/* Its user as the worker's set has it now. */
static void follow(struct conn *c, const struct conn *actor)
{
    struct worker *w = c->worker;
    struct acl_user *now = acl_set_find_same(w->acl, c->user);
    bool lost = !now || (now != c->user && conn_subscribed(c) &&
                         acl_channels_lost(c->user, now) && !pubsub_allowed(c, now));
    if (lost || now != c->user)
        become(c, acl_user_ref(lost ? acl_set_default(w->acl) : now));
    if (lost) c->flags &= ~(uint32_t)CONN_AUTHED;
    settle(c);
    if (!lost) return;
    if (c == actor)
        c->flags |= CONN_CLOSE_AFTER;
    else
        conn_close(c);
}

void acl_refresh_slow(struct worker *w, struct conn *actor)
{
    struct acl_set *old = w->acl;
    lock(w->hub);
    w->acl = acl_set_ref(w->hub->acl->set);
    w->acl_generation = counter_get(&w->hub->acl->generation);
    unlock(w->hub);
    const struct acl_user *user = acl_set_default(w->acl);
    w->acl_open = acl_user_nopass(user) && acl_user_enabled(user);
    LIST_FOREACH_SAFE(link, next, &w->conns)
        follow(CONTAINER_OF(link, struct conn, link), actor);
    acl_set_unref(old);
}

void acl_free(struct worker *w)
{
    acl_set_unref(w->acl);
    w->acl = NULL;
}

void acl_conn_reset(struct conn *c)
{
    struct worker *w = c->worker;
    become(c, acl_user_ref(acl_set_default(w->acl)));
    c->flags &= ~(uint32_t)CONN_AUTHED;
    if (w->acl_open) c->flags |= CONN_AUTHED;
    settle(c);
}

void acl_conn_init(struct conn *c)
{
    acl_refresh(c->worker);
    acl_conn_reset(c);
}

void acl_conn_deinit(struct conn *c)
{
    acl_user_unref(c->user);
    c->user = NULL;
}

void acl_conn_adopted(struct conn *c)
{
    acl_refresh(c->worker); /* what the other worker knew is known here, too */
    follow(c, NULL);
}

bool acl_conn_login(struct conn *c, const struct slice *argv, struct slice name,
                    struct slice password)
{
    struct acl_user *user = acl_set_find(c->worker->acl, name);
    if (!user || !acl_user_login(user, password)) {
        acl_log_note(c, ACL_DENIED_AUTH, c->multi ? ACL_MULTI : ACL_TOPLEVEL, argv[0], name);
        return false;
    }
    become(c, acl_user_ref(user));
    c->flags |= CONN_AUTHED;
    settle(c);
    return true;
}

/* ---- judging ---- */

bool acl_refuses(struct worker *w, struct op *op)
{
    const struct conn *c = op->conn;
    int at;
    if (!(c->flags & CONN_AUTHED || w->acl_open) && !(op->cmd->flags & CMD_NO_AUTH)) {
        op->error = OP_NOAUTH;
        return true;
    }
    if (c->flags & CONN_MULTI && op->cmd->flags & CMD_NO_MULTI) return false; /* told first */
    if (acl_judge(c->user, op->cmd, op->argv, op->argc, &at) != ACL_ALLOWED) {
        op->error = OP_NOPERM;
        return true;
    }
    op->keys_limited = acl_keys_limited(c, op->cmd, op->argv, op->argc);
    return false;
}

bool acl_keys_limited(const struct conn *c, const struct command *cmd, const struct slice *argv,
                      int argc)
{
    return cmd->whole && !acl_reads_any_key(c->user, cmd, argv, argc);
}

/* In the log, and as words: false: it may after all. */
static bool refuse(struct conn *c, const struct command *cmd, const struct slice *argv, int argc,
                   enum acl_context context, enum acl_verdict *verdict, struct buf *why)
{
    int at;
    *verdict = acl_judge(c->user, cmd, argv, argc, &at);
    if (*verdict == ACL_ALLOWED) return false;
    struct slice object = *verdict == ACL_DENIED_COMMAND ? slice_str(cmd->name) : argv[at];
    acl_log_note(c, *verdict, context, object, acl_user_name(c->user));
    acl_refusal_text(*verdict, c->user, cmd, object, false, why);
    buf_append_char(why, '\0');
    return true;
}

void acl_reply_refusal(struct worker *w, const struct op *op, struct reply *reply)
{
    struct conn *c = op->conn;
    struct buf why = {0};
    enum acl_verdict verdict;
    bool in_multi = c->flags & CONN_MULTI;
    (void)w;
    c->last_cmd = op->cmd; /* the log shows it */
    refuse(c, op->cmd, op->argv, op->argc, in_multi ? ACL_MULTI : ACL_TOPLEVEL, &verdict, &why);
    if (in_multi && op->cmd->handler == cmd_exec) {
        struct buf text = {0};
        buf_printf(&text, error_text(ERR_NOPERM), why.len ? why.ptr : "");
        buf_append_char(&text, '\0');
        reply_errorf(reply, ERR_EXECABORT_TEXT, text.len ? text.ptr : "");
        buf_deinit(&text);
        multi_end(c);
        watch_end(c);
    } else {
        reply_errorf(reply, ERR_NOPERM, why.len ? why.ptr : "");
    }
    buf_deinit(&why);
}

bool acl_refuses_now(struct conn *c, const struct command *cmd, const struct slice *argv, int argc,
                     struct reply *reply)
{
    struct buf why = {0};
    enum acl_verdict verdict;
    if (likely(c->flags & CONN_FREE)) return false;
    bool queued = c->multi;
    bool refused = refuse(c, cmd, argv, argc, queued ? ACL_MULTI : ACL_TOPLEVEL, &verdict, &why);
    if (refused && queued)
        reply_errorf(reply, ERR_ACL_CHANGED,
                     error_text(verdict == ACL_DENIED_COMMAND ? ERR_ACL_CHANGED_COMMAND
                                : verdict == ACL_DENIED_KEY   ? ERR_ACL_CHANGED_KEY
                                                              : ERR_ACL_CHANGED_CHANNEL));
    else if (refused)
        reply_errorf(reply, ERR_NOPERM, why.len ? why.ptr : "");
    buf_deinit(&why);
    return refused;
}

bool acl_refuses_script(struct conn *c, const struct command *cmd, const struct slice *argv,
                        int argc, struct reply *reply)
{
    struct buf why = {0};
    enum acl_verdict verdict;
    bool refused = refuse(c, cmd, argv, argc, ACL_LUA, &verdict, &why);
    if (refused) reply_errorf(reply, ERR_ACL_SCRIPT, why.len ? why.ptr : "");
    buf_deinit(&why);
    return refused;
}

/* ---- telling all workers ---- */

struct telling {
    enum error_id error; /* ERR_COUNT: none */
    int64_t number;      /* < 0: +OK */
};

static void refresh_part(struct worker *w, struct fanout *f)
{
    acl_refresh_slow(w, w == f->home ? f->conn : NULL);
}

static void telling_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    const struct telling *telling = f->arg;
    (void)w;
    (void)c;
    if (!reply) return;
    if (telling->error != ERR_COUNT)
        reply_error(reply, telling->error);
    else if (telling->number < 0)
        reply_ok(reply);
    else
        reply_int(reply, telling->number);
}

/* Not by way of worker 0: the order is the set's, and this worker must look at once, so that
 * nobody else closes the connection that asked for it. */
void acl_tell_all(struct call *c, enum error_id error, int64_t number)
{
    struct telling *telling = mem_alloc(sizeof *telling);
    *telling = (struct telling){error, number};
    fanout_start(fanout_new(c->conn->worker, c->conn, refresh_part, telling_done, telling), false);
}
