/* Commands about the connection itself: PING, ECHO, AUTH, HELLO, SELECT, RESET, QUIT, and the small
 * half of CLIENT. They act when their turn in the pipeline comes; the group parser stops behind
 * each of them (but PING and ECHO), so what follows sees their effect.
 * Source: https://redis.io/docs/latest/commands/?group=connection
 * Thread: owner. */
#include "acl.h"
#include "conn.h"
#include "fanout.h"
#include "local.h"
#include "monitor.h"
#include "pubsub.h"
#include "multi.h"
#include "tracking.h"
#include "watch.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/cmd/handlers.h"

void cmd_ping(struct call *c)
{
    if (c->argc > 2) {
        reply_errorf(&c->reply, ERR_WRONG_ARITY, c->cmd->name);
        return;
    }
    bool subscribed = conn_subscribed(c->conn) && c->conn->proto == 2;
    if (subscribed) {
        reply_array(&c->reply, 2);
        reply_bulk_str(&c->reply, "pong");
        reply_bulk_slice(&c->reply, c->argc == 2 ? c->argv[1] : SLICE(""));
    } else if (c->argc == 2) {
        reply_bulk_slice(&c->reply, c->argv[1]);
    } else {
        reply_simple(&c->reply, "PONG");
    }
}

void cmd_echo(struct call *c)
{
    reply_bulk_slice(&c->reply, c->argv[1]);
}

void cmd_quit(struct call *c)
{
    reply_ok(&c->reply);
    c->conn->flags |= CONN_CLOSE_AFTER;
}

void cmd_select(struct call *c)
{
    int64_t db;
    if (!call_int_or(c, 1, &db, ERR_NOT_INT)) return;
    if (db < INT32_MIN || db > INT32_MAX) {
        reply_errorf(&c->reply, ERR_OUT_OF_RANGE_BETWEEN, (long long)INT32_MIN,
                     (long long)INT32_MAX);
        return;
    }
    if (db < 0 || db >= (int64_t)c->conn->worker->hub->databases) {
        reply_error(&c->reply, ERR_DB_INDEX);
        return;
    }
    c->conn->db = (db_id)db;
    reply_ok(&c->reply);
}

/* ---- who it is ---- */

static bool authenticate(struct call *c, struct slice user, struct slice password)
{
    if (acl_conn_login(c->conn, c->argv, user, password)) return true;
    reply_error(&c->reply, ERR_WRONGPASS);
    return false;
}

void cmd_auth(struct call *c)
{
    if (c->argc > 3) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (c->argc == 2 && acl_user_nopass(acl_set_default(c->conn->worker->acl))) {
        reply_error(&c->reply, ERR_AUTH_WITHOUT_PASSWORD);
        return;
    }
    struct slice user = c->argc == 3 ? c->argv[1] : SLICE("default");
    if (authenticate(c, user, c->argv[c->argc - 1])) reply_ok(&c->reply);
}

/* ---- HELLO ---- */

static bool printable(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '!' || s.ptr[i] > '~') return false;
    return true;
}

static void set_text(char **field, struct slice text)
{
    mem_free(*field);
    *field = NULL;
    if (text.len == 0) return;
    char *copy = mem_try_alloc(text.len + 1);
    if (!copy) return;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *field = copy;
}

static void hello_reply(struct call *c)
{
    struct reply *r = &c->reply;
    r->proto = c->conn->proto;
    reply_map(r, 7);
    reply_bulk_str(r, "server");
    reply_bulk_str(r, "redis");
    reply_bulk_str(r, "version");
    reply_bulk_str(r, REDIS_VERSION_SHOWN);
    reply_bulk_str(r, "proto");
    reply_int(r, c->conn->proto);
    reply_bulk_str(r, "id");
    reply_int(r, (int64_t)c->conn->id);
    reply_bulk_str(r, "mode");
    reply_bulk_str(r, "standalone");
    reply_bulk_str(r, "role");
    reply_bulk_str(r, "master");
    reply_bulk_str(r, "modules");
    reply_array(r, 0);
}

void cmd_hello(struct call *c)
{
    int64_t version = c->conn->proto;
    int i = 1;
    struct slice name = {0}, user = {0}, password = {0};
    bool set_name = false, sign_in = false;
    if (c->argc >= 2) {
        if (!call_int_or(c, 1, &version, ERR_PROTOCOL_VERSION_INT)) return;
        if (version < 2 || version > 3) {
            reply_error(&c->reply, ERR_NOPROTO);
            return;
        }
        i = 2;
    }
    for (; i < c->argc; i++) {
        int left = c->argc - i - 1;
        if (call_is(c, i, "auth") && left >= 2) {
            user = c->argv[i + 1];
            password = c->argv[i + 2];
            sign_in = true;
            i += 2;
        } else if (call_is(c, i, "setname") && left >= 1) {
            name = c->argv[++i];
            set_name = true;
            if (!printable(name)) {
                reply_error(&c->reply, ERR_CLIENT_NAME);
                return;
            }
        } else {
            reply_errorf(&c->reply, ERR_HELLO_SYNTAX, (int)c->argv[i].len, c->argv[i].ptr);
            return;
        }
    }
    if (sign_in && !authenticate(c, user, password)) return;
    if (!conn_is_in(c->conn)) {
        reply_error(&c->reply, ERR_HELLO_NOAUTH);
        return;
    }
    if (set_name) set_text(&c->conn->name, name);
    c->conn->proto = (uint8_t)version;
    hello_reply(c);
}

void cmd_reset(struct call *c)
{
    struct conn *conn = c->conn;
    multi_end(conn);
    watch_end(conn);
    monitor_leave(conn);
    tracking_off(conn);
    conn->db = 0;
    conn->proto = 2;
    conn->flags &= ~(uint32_t)(CONN_REPLY_OFF | CONN_NO_TOUCH | CONN_NO_EVICT);
    acl_conn_reset(conn);
    set_text(&conn->name, (struct slice){0});
    if (!pubsub_reset(conn->worker, conn, SLICE("+RESET\r\n"))) reply_simple(&c->reply, "RESET");
}

/* ---- CLIENT, the small half ---- */

void cmd_client_id(struct call *c)
{
    reply_int(&c->reply, (int64_t)c->conn->id);
}

void cmd_client_getname(struct call *c)
{
    if (c->conn->name)
        reply_bulk_str(&c->reply, c->conn->name);
    else
        reply_null(&c->reply);
}

void cmd_client_setname(struct call *c)
{
    if (!printable(c->argv[2])) {
        reply_error(&c->reply, ERR_CLIENT_NAME);
        return;
    }
    set_text(&c->conn->name, c->argv[2]);
    reply_ok(&c->reply);
}

void cmd_client_setinfo(struct call *c)
{
    bool is_name = call_is(c, 2, "lib-name");
    if (!is_name && !call_is(c, 2, "lib-ver")) {
        reply_errorf(&c->reply, ERR_CLIENT_LIB_OPTION, (int)c->argv[2].len, c->argv[2].ptr);
        return;
    }
    if (!printable(c->argv[3])) {
        reply_errorf(&c->reply, ERR_CLIENT_LIB, 8 - (is_name ? 0 : 1),
                     is_name ? "lib-name" : "lib-ver");
        return;
    }
    set_text(is_name ? &c->conn->lib_name : &c->conn->lib_ver, c->argv[3]);
    reply_ok(&c->reply);
}

/* ON / OFF switches of the connection. */
static void set_flag(struct call *c, uint32_t flag)
{
    if (call_is(c, 2, "on"))
        c->conn->flags |= flag;
    else if (call_is(c, 2, "off"))
        c->conn->flags &= ~flag;
    else {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    reply_ok(&c->reply);
}

void cmd_client_no_evict(struct call *c)
{
    set_flag(c, CONN_NO_EVICT);
    client_memory_count(c->conn);
}

void cmd_client_no_touch(struct call *c)
{
    set_flag(c, CONN_NO_TOUCH);
}

void cmd_client_reply(struct call *c)
{
    struct conn *conn = c->conn;
    if (call_is(c, 2, "on")) {
        conn->flags &= ~(uint32_t)(CONN_REPLY_OFF | CONN_REPLY_SKIP);
        reply_ok(&c->reply);
    } else if (call_is(c, 2, "off")) {
        conn->flags |= CONN_REPLY_OFF;
    } else if (call_is(c, 2, "skip")) {
        if (!(conn->flags & CONN_REPLY_OFF)) conn->flags |= CONN_REPLY_SKIP_NEXT;
    } else {
        reply_error(&c->reply, ERR_SYNTAX);
    }
}

void cmd_client_help(struct call *c)
{
    static const char *const lines[] = {
        "CACHING (YES|NO)",
        "    Say if the keys of the next command are tracked (OPTIN, OPTOUT).",
        "GETREDIR",
        "    Return the id of the client that hears of invalidations.",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options are ID, TYPE, USER, ADDR, LADDR, IP, NAME, FLAGS,",
        "    LIB-NAME, LIB-VER, DB, CAPA, each of them also as NOT-ID and so on, SKIPME,",
        "    MAXAGE, IDLE.",
        "LIST [options ...]",
        "    Return information about client connections. Options as of KILL.",
        "UNPAUSE",
        "    Stop the current client pause, resuming traffic.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Suspend all, or just write, clients for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "SETINFO <option> <value>",
        "    Set client meta attr (LIB-NAME, LIB-VER).",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
        "         [OPTIN] [OPTOUT] [NOLOOP]",
        "    Control the tracking of keys that this client caches.",
        "TRACKINGINFO",
        "    Return what TRACKING has set for this connection.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Unblock the specified blocked client.",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Will not touch LRU/LFU stats when this mode is on.",
        NULL};
    call_help(c, lines);
}
