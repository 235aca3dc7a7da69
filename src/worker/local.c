/* What every connection meets before any command: admission (maxclients, protected mode, which
 * worker), and the refusals that Redis' processCommand makes before a command runs. Admission
 * writes to a socket that has no connection yet; everything else goes through the connection's
 * output.
 * Thread: owner. */
#include "local.h"

#include <stdio.h>

#include "acl.h"
#include "conn.h"
#include "splitring/io/os.h"
#include "splitring/cmd/handlers.h"
#include "multi.h"
#include "splitring/io/net.h"
#include "splitring/io/tls.h"
#include "splitring/resp/errors.h"
#include "stats.h"
#include "watch.h"

bool local_is_stateless(const struct command *cmd)
{
    return cmd->handler == cmd_ping || cmd->handler == cmd_echo || cmd->handler == cmd_time;
}

bool local_is_quick(const struct command *cmd)
{
    return local_is_stateless(cmd) || cmd->handler == cmd_multi;
}

bool local_at_once(const struct command *cmd)
{
    static void (*const handlers[])(struct call *) = {
        cmd_script_load,     cmd_script_exists,  cmd_script_flush,  cmd_script_show,
        cmd_function_delete, cmd_function_dump,  cmd_function_flush, cmd_function_list,
        cmd_function_load,   cmd_function_restore, cmd_auth, cmd_acl_cat, cmd_acl_dryrun,
        cmd_acl_genpass,     cmd_acl_getuser,    cmd_acl_help,      cmd_acl_list,
        cmd_acl_log,         cmd_acl_users,      cmd_acl_whoami};
    for (size_t i = 0; i < ARRAY_COUNT(handlers); i++)
        if (cmd->handler == handlers[i]) return true;
    return local_is_stateless(cmd);
}

bool local_in_scripts(const struct command *cmd)
{
    const struct command *c = cmd->parent ? cmd->parent : cmd;
    return local_is_stateless(cmd) || cmd->handler == cmd_select || cmd->handler == cmd_lolwut ||
           strcmp(c->name, "command") == 0;
}

bool local_while_subscribed(const struct command *cmd)
{
    static const char *const names[] = {"ping", "subscribe", "unsubscribe", "psubscribe",
                                        "punsubscribe", "ssubscribe", "sunsubscribe", "quit",
                                        "reset"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (strcmp(cmd->name, names[i]) == 0) return true;
    return false;
}

/* "unknown command 'x', with args beginning with: 'a' 'b' ": each argument and the whole are cut as
 * Redis does (128 bytes). */
static void refuse_unknown(struct reply *reply, const struct op *op)
{
    char args[160];
    int used = 0;
    args[0] = '\0';
    for (int i = 1; i < op->argc && used < 128; i++) {
        int room = 128 - used;
        int len = (int)(op->argv[i].len < (size_t)room ? op->argv[i].len : (size_t)room);
        used += snprintf(args + used, sizeof args - (size_t)used, "'%.*s' ", len, op->argv[i].ptr);
    }
    int name_len = (int)(op->argv[0].len < 128 ? op->argv[0].len : 128);
    reply_errorf(reply, ERR_UNKNOWN_COMMAND, name_len, op->argv[0].ptr, args);
}

static void refuse_sub(struct reply *reply, const struct op *op)
{
    char name[129];
    size_t sub_len = op->argv[1].len < 128 ? op->argv[1].len : 128;
    size_t name_len = op->argv[0].len < 128 ? op->argv[0].len : 128;
    for (size_t i = 0; i < name_len; i++) {
        char ch = op->argv[0].ptr[i];
        name[i] = (char)(ch >= 'a' && ch <= 'z' ? ch - 32 : ch);
    }
    name[name_len] = '\0';
    reply_errorf(reply, ERR_UNKNOWN_SUBCOMMAND, (int)sub_len, op->argv[1].ptr, name);
}

/* Of EXEC: nothing of it runs. */
static void refuse_with(struct conn *c, bool is_exec, enum error_id error, struct reply *reply)
{
    if (!is_exec) {
        reply_error(reply, error);
        return;
    }
    reply_errorf(reply, ERR_EXECABORT_TEXT, error_text(error));
    multi_end(c);
    watch_end(c);
}

static void local_refuse_by_log(const struct op *op, struct reply *reply)
{
    char why[192];
    const char *error = os_error_text(-(int)counter_get(&op->conn->worker->hub->log_failed));
    if (op->cmd->handler != cmd_exec) {
        reply_errorf(reply, ERR_MISCONF_WRITE, error);
        return;
    }
    snprintf(why, sizeof why, "MISCONF Errors writing to the AOF file: %.120s", error);
    reply_errorf(reply, ERR_EXECABORT_TEXT, why);
    multi_end(op->conn);
    watch_end(op->conn);
}

void local_reply_busy(struct conn *c, bool is_exec, struct reply *reply)
{
    refuse_with(c, is_exec, ERR_BUSY, reply);
}

void local_refuse(struct worker *w, const struct op *op)
{
    struct reply reply = conn_reply(op->conn);
    switch ((enum op_error)op->error) {
    case OP_UNKNOWN: refuse_unknown(&reply, op); break;
    case OP_UNKNOWN_SUB: refuse_sub(&reply, op); break;
    case OP_ARITY: reply_errorf(&reply, ERR_WRONG_ARITY, op->cmd->name); break;
    case OP_NOAUTH: reply_error(&reply, ERR_NOAUTH); break;
    case OP_SUBSCRIBED: reply_errorf(&reply, ERR_SUBSCRIBED_CONTEXT, op->cmd->name); break;
    case OP_NO_MULTI: reply_error(&reply, ERR_NO_MULTI); break;
    case OP_BUSY: local_reply_busy(op->conn, op->shard == OP_EXEC, &reply); break;
    case OP_OOM:
        refuse_with(op->conn, op->shard == OP_EXEC, ERR_OOM, &reply);
        break;
    case OP_WATCH_IN_MULTI: reply_error(&reply, ERR_WATCH_INSIDE_MULTI); break;
    case OP_MONITORS: reply_error(&reply, ERR_REPLICA_KEYSPACE); break;
    case OP_MISCONF:
        refuse_with(op->conn, op->cmd->handler == cmd_exec, ERR_MISCONF_SNAPSHOT, &reply);
        break;
    case OP_LOADING: reply_error(&reply, ERR_LOADING); break;
    case OP_NOPERM: acl_reply_refusal(w, op, &reply); break;
    case OP_LOG_FAILED: local_refuse_by_log(op, &reply); break;
    }
    if (op->error != OP_WATCH_IN_MULTI) multi_break(op->conn);
    stats_note_refusal(w, op->cmd, reply.out);
}

void conn_protocol_error(struct conn *c)
{
    if (!c->out.ptr) worker_take_buf(c->worker, &c->out);
    struct reply reply = conn_reply(c);
    parse_reply_error(&c->parser, &reply);
    counter_add(&c->worker->pub->protocol_errors, 1);
    c->flags = (c->flags & ~(uint32_t)CONN_HAS_INPUT) | CONN_CLOSE_AFTER;
    c->data = NULL;
    c->in.len = c->in_used = 0;
    conn_dirty(c);
}

/* Protected mode: without a password only this machine is served. */
static void refuse_stranger(int fd)
{
    struct buf text = {0};
    struct reply reply = {.out = &text, .proto = 2};
    reply_error(&reply, ERR_PROTECTED_MODE);
    net_refuse(fd, buf_slice(&text));
    buf_deinit(&text);
}

/* Over TLS it can be told after the handshake only: as the last words of a connection that runs
 * nothing. */
static void refuse_stranger_tls(struct conn *c)
{
    if (!c) return;
    worker_take_buf(c->worker, &c->out);
    struct reply reply = conn_reply(c);
    reply_error(&reply, ERR_PROTECTED_MODE);
    c->flags |= CONN_CLOSE_AFTER;
    conn_dirty(c);
}

static void drop(struct worker *w, int fd)
{
    counter_drop_shared(&w->hub->clients);
    net_close(fd);
}

static void accept_tls(struct worker *w, int fd, bool stranger)
{
    struct tls *tls = w->tls ? tls_new(w->tls, fd) : NULL;
    worker_id to = stranger ? w->id : balance_place(w);
    if (!tls) {
        drop(w, fd);
    } else if (to != w->id) {
        worker_send(w, to, MSG_SOCKET_TLS, tls);
    } else {
        struct conn *c = local_adopt_tls(w, tls);
        if (stranger) refuse_stranger_tls(c);
    }
}

void local_accept(struct worker *w, int fd, enum listen_kind kind)
{
    const struct config *config = w->config;
    acl_refresh(w);
    bool open = acl_user_nopass(acl_set_default(w->acl));
    if (counter_next_shared(&w->hub->clients) > (uint64_t)config->maxclients) {
        counter_drop_shared(&w->hub->clients);
        counter_add(&w->pub->rejected, 1);
        if (kind == LISTEN_TLS) /* which has no words yet */
            net_close(fd);
        else
            net_refuse(fd, SLICE("-ERR max number of clients reached\r\n"));
        return;
    }
    bool stranger = config->protected_mode && open && kind != LISTEN_UNIX &&
                    !net_peer_is_loopback(fd);
    if (stranger) {
        counter_add(&w->pub->rejected, 1);
        if (kind != LISTEN_TLS) {
            counter_drop_shared(&w->hub->clients);
            refuse_stranger(fd);
            return;
        }
    }
    if (net_prepare(fd, (unsigned)config->tcp_keepalive_s) != 0) {
        drop(w, fd);
        return;
    }
    counter_add(&w->pub->connections, !stranger);
    if (kind == LISTEN_TLS) {
        accept_tls(w, fd, stranger);
        return;
    }
    worker_id to = balance_place(w);
    uintptr_t socket = (uintptr_t)fd << 1 | (kind == LISTEN_UNIX);
    if (to == w->id)
        local_adopt_socket(w, socket);
    else
        worker_send(w, to, MSG_SOCKET, (void *)socket);
}

void local_adopt_socket(struct worker *w, uintptr_t socket)
{
    int fd = (int)(socket >> 1);
    if (w->config->timeout_s) w->quiet = false; /* it may never say anything */
    if (!conn_new(w, fd, socket & 1, NULL)) drop(w, fd);
}

struct conn *local_adopt_tls(struct worker *w, struct tls *tls)
{
    int fd = tls_fd(tls);
    w->quiet = false; /* the handshake has a time limit */
    w->quiet_ticks = 0;
    struct conn *c = conn_new(w, fd, false, tls);
    if (c) return c;
    tls_free(tls);
    drop(w, fd);
    return NULL;
}
