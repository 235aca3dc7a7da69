/* Filters of CLIENT LIST and CLIENT KILL: those of Redis 7 and 8 and those of Valkey 9, which may
 * be combined and negated (NOT-ID, NOT-TYPE, …).
 *
 * A filter is two sets of terms: a client must match all terms of `want` and none of `not`. Texts
 * are copied, since the command's arguments are gone when the other workers look at their clients.
 *
 * Where Redis and Valkey differ, Redis' answer is given: CLIENT LIST ID with what is no number is
 * "Invalid client ID", and an ID below one is merely nobody's.
 * Sources: https://redis.io/docs/latest/commands/client-kill/,
 * https://valkey.io/commands/client-list/
 * Thread: parsed by the connection's worker, then read by all. */
#include "client_filter.h"

#include "acl.h"
#include "conn.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/io/net.h"
#include "tracking.h"

enum term {
    TERM_ADDR, TERM_LADDR, TERM_IP, TERM_NAME, TERM_LIB_NAME, TERM_LIB_VER, TERM_FLAGS, TERM_CAPA,
    TERM_TEXTS, /* those before it are texts */
    TERM_ID = TERM_TEXTS, TERM_TYPE, TERM_USER, TERM_DB, TERM_COUNT
};

static const char *const term_names[TERM_COUNT] = {
    [TERM_ADDR] = "addr", [TERM_LADDR] = "laddr", [TERM_IP] = "ip", [TERM_NAME] = "name",
    [TERM_LIB_NAME] = "lib-name", [TERM_LIB_VER] = "lib-ver", [TERM_FLAGS] = "flags",
    [TERM_CAPA] = "capa", [TERM_ID] = "id", [TERM_TYPE] = "type", [TERM_USER] = "user",
    [TERM_DB] = "db",
};

enum client_type { CLIENT_NORMAL, CLIENT_PUBSUB, CLIENT_PRIMARY, CLIENT_REPLICA };

struct terms {
    uint32_t given; /* by enum term */
    char *texts[TERM_TEXTS];
    uint64_t *ids;
    size_t id_count;
    enum client_type type;
    struct acl_user *user; /* a reference */
    uint64_t db;
};

struct client_filter {
    struct terms want, not;
    uint64_t self;
    bool skip_me;
    int64_t max_age_s, idle_s; /* 0: any */
};

void client_flags(const struct conn *c, char flags[CLIENT_FLAGS_MAX])
{
    size_t n = 0;
    if (c->flags & CONN_MONITOR) flags[n++] = 'O';
    if (conn_subscribed(c)) flags[n++] = 'P';
    if (c->flags & CONN_MULTI) flags[n++] = 'x';
    if (c->flags & (CONN_BLOCKED | CONN_PAUSED)) flags[n++] = 'b';
    const struct conn_track *t = c->track && c->track->state.on ? c->track : NULL;
    if (t) flags[n++] = 't';
    if (t && t->broken) flags[n++] = 'R';
    if (t && t->state.broadcast) flags[n++] = 'B';
    if (c->flags & CONN_CLOSE_AFTER) flags[n++] = 'c';
    if (c->flags & CONN_UNIX) flags[n++] = 'U';
    if (c->flags & CONN_NO_EVICT) flags[n++] = 'e';
    if (c->flags & CONN_NO_TOUCH) flags[n++] = 'T';
    if (n == 0) flags[n++] = 'N';
    flags[n] = '\0';
}

/* ---- matching ---- */

static bool has_id(const struct terms *t, const struct conn *c)
{
    for (size_t i = 0; i < t->id_count; i++)
        if (t->ids[i] == c->id) return true;
    return false;
}

static bool has_flags(const char *wanted, const struct conn *c)
{
    char flags[CLIENT_FLAGS_MAX];
    client_flags(c, flags);
    for (; *wanted; wanted++)
        if (!strchr(flags, *wanted)) return false;
    return true;
}

static bool has_address(enum term term, const char *wanted, const struct conn *c)
{
    char name[128];
    if (term == TERM_LADDR)
        net_local_name(c->sock.fd, name, sizeof name);
    else
        net_peer_name(c->sock.fd, name, sizeof name);
    char *port = strrchr(name, ':');
    if (term == TERM_IP && port) *port = '\0';
    return strcmp(name, wanted) == 0;
}

static bool same_text(const char *wanted, const char *text)
{
    return text && strcmp(wanted, text) == 0;
}

static bool has(const struct terms *t, enum term term, const struct conn *c)
{
    switch (term) {
    case TERM_ADDR:
    case TERM_LADDR:
    case TERM_IP: return has_address(term, t->texts[term], c);
    case TERM_NAME: return same_text(t->texts[term], c->name);
    case TERM_LIB_NAME: return same_text(t->texts[term], c->lib_name);
    case TERM_LIB_VER: return same_text(t->texts[term], c->lib_ver);
    case TERM_FLAGS: return has_flags(t->texts[term], c);
    case TERM_CAPA: return t->texts[term][0] == '\0'; /* clients claim none */
    case TERM_ID: return has_id(t, c);
    case TERM_TYPE: return t->type == (conn_subscribed(c) ? CLIENT_PUBSUB : CLIENT_NORMAL);
    case TERM_USER: return acl_user_is(t->user, c->user);
    case TERM_DB: return t->db == c->db;
    case TERM_COUNT: break;
    }
    return false;
}

bool client_filter_matches(const struct client_filter *f, const struct conn *c)
{
    instant_ms now = c->worker->now;
    if (c->flags & CONN_CLOSING || (f->skip_me && c->id == f->self)) return false;
    if (f->max_age_s && (now - c->created_ms) / 1000 < f->max_age_s) return false;
    if (f->idle_s && (now - c->active_ms) / 1000 < f->idle_s) return false;
    for (uint32_t given = f->want.given; given; given &= given - 1)
        if (!has(&f->want, (enum term)__builtin_ctz(given), c)) return false;
    for (uint32_t given = f->not.given; given; given &= given - 1)
        if (has(&f->not, (enum term)__builtin_ctz(given), c)) return false;
    return true;
}

bool client_filter_is_self(const struct client_filter *f, const struct conn *c)
{
    return c->id == f->self;
}

/* ---- reading ---- */

struct client_filter *client_filter_new(const struct conn *self, bool skip_me)
{
    struct client_filter *f = mem_zalloc(sizeof *f);
    f->self = self->id;
    f->skip_me = skip_me;
    return f;
}

static void terms_deinit(struct terms *t)
{
    for (unsigned i = 0; i < TERM_TEXTS; i++) mem_free(t->texts[i]);
    mem_free(t->ids);
    acl_user_unref(t->user);
}

void client_filter_free(void *filter)
{
    struct client_filter *f = filter;
    terms_deinit(&f->want);
    terms_deinit(&f->not);
    mem_free(f);
}

static void set_text(struct terms *t, enum term term, struct slice value)
{
    mem_free(t->texts[term]);
    t->texts[term] = mem_alloc(value.len + 1);
    memcpy(t->texts[term], value.ptr, value.len);
    t->texts[term][value.len] = '\0';
    t->given |= 1u << term;
}

void client_filter_by_address(struct client_filter *f, struct slice address)
{
    set_text(&f->want, TERM_ADDR, address);
}

/* All numbers from argv[i] on. Returns where they end, 0 for an error. */
static int parse_ids(struct terms *t, struct call *c, int i, bool listing)
{
    int64_t id;
    int first = i;
    if (!t->ids) t->ids = mem_alloc((size_t)c->argc * sizeof *t->ids);
    for (; i < c->argc && num_parse_i64(c->argv[i], &id); i++) {
        if (id <= 0 && !listing) break;
        t->ids[t->id_count++] = id > 0 ? (uint64_t)id : 0; /* nobody has 0 */
    }
    t->given |= 1u << TERM_ID;
    if (i > first && (i == c->argc || !num_parse_i64(c->argv[i], &id))) return i;
    reply_error(&c->reply, listing ? ERR_CLIENT_ID : ERR_CLIENT_ID_POSITIVE);
    return 0;
}

static bool parse_type(struct terms *t, struct call *c, int i)
{
    static const struct {
        const char *name;
        enum client_type type;
    } types[] = {{"normal", CLIENT_NORMAL}, {"pubsub", CLIENT_PUBSUB}, {"master", CLIENT_PRIMARY},
                 {"primary", CLIENT_PRIMARY}, {"replica", CLIENT_REPLICA},
                 {"slave", CLIENT_REPLICA}};
    for (size_t k = 0; k < ARRAY_COUNT(types); k++) {
        if (!call_is(c, i, types[k].name)) continue;
        t->type = types[k].type;
        t->given |= 1u << TERM_TYPE;
        return true;
    }
    reply_errorf(&c->reply, ERR_CLIENT_TYPE, (int)c->argv[i].len, c->argv[i].ptr);
    return false;
}

static bool parse_user(struct terms *t, struct call *c, struct slice name)
{
    struct acl_user *user = acl_set_find(c->conn->worker->acl, name);
    if (!user) {
        reply_errorf(&c->reply, ERR_CLIENT_NO_USER, (int)name.len, name.ptr);
        return false;
    }
    acl_user_unref(t->user);
    t->user = acl_user_ref(user);
    t->given |= 1u << TERM_USER;
    return true;
}

static bool parse_db(struct terms *t, struct call *c, struct slice text, bool negated)
{
    int64_t db;
    const char *name = negated ? "NOT-DB" : "DB";
    int last = (int)c->conn->worker->hub->databases - 1;
    if (!num_parse_i64(text, &db)) {
        reply_errorf(&c->reply, ERR_CLIENT_NOT_NUMBER, name);
        return false;
    }
    if (db < 0 || db > last) {
        reply_errorf(&c->reply, ERR_CLIENT_DB, name, last);
        return false;
    }
    t->db = (uint64_t)db;
    t->given |= 1u << TERM_DB;
    return true;
}

/* The value has only letters that are known. */
static bool check_letters(struct call *c, const char *known, const char *what, const char *filter,
                          struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] && strchr(known, value.ptr[i])) continue;
        reply_errorf(&c->reply, ERR_CLIENT_LETTERS, what, filter, (int)value.len, value.ptr);
        return false;
    }
    return true;
}

/* A term with its one value. */
static bool parse_term(struct terms *t, enum term term, struct call *c, struct slice value,
                       bool negated)
{
    const char *flags = negated ? "NOT-FLAGS" : "provided";
    const char *capa = negated ? "NOT-CAPA" : "provided";
    if (term == TERM_USER) return parse_user(t, c, value);
    if (term == TERM_DB) return parse_db(t, c, value, negated);
    if (term == TERM_FLAGS && !check_letters(c, "bcdeirtuxABEIMNOPRSTU", "flags", flags, value))
        return false;
    if (term == TERM_CAPA && !check_letters(c, "r", "capa", capa, value)) return false;
    set_text(t, term, value);
    return true;
}

static bool parse_seconds(struct call *c, int i, const char *name, int64_t *seconds)
{
    if (!num_parse_i64(c->argv[i], seconds))
        reply_errorf(&c->reply, ERR_CLIENT_NOT_NUMBER, name);
    else if (*seconds <= 0)
        reply_errorf(&c->reply, ERR_CLIENT_NOT_POSITIVE, name);
    else
        return true;
    return false;
}

static bool parse_skipme(struct client_filter *f, struct call *c, int i)
{
    f->skip_me = call_is(c, i, "yes");
    if (f->skip_me || call_is(c, i, "no")) return true;
    reply_error(&c->reply, ERR_SYNTAX);
    return false;
}

/* Where the option at argv[i] ends; 0: the error is written. */
static int parse_option(struct client_filter *f, struct call *c, int i, bool listing)
{
    struct slice name = c->argv[i];
    bool negated = name.len > 4 && slice_is_word(slice_of(name.ptr, 4), "not-");
    struct terms *t = negated ? &f->not : &f->want;
    if (negated) name = slice_of(name.ptr + 4, name.len - 4);
    bool more = i + 1 < c->argc;
    for (unsigned term = 0; more && term < TERM_COUNT; term++) {
        if (!slice_is_word(name, term_names[term])) continue;
        if (term == TERM_ID) return parse_ids(t, c, i + 1, listing);
        bool ok = term == TERM_TYPE ? parse_type(t, c, i + 1)
                                    : parse_term(t, (enum term)term, c, c->argv[i + 1], negated);
        return ok ? i + 2 : 0;
    }
    if (more && call_is(c, i, "skipme")) return parse_skipme(f, c, i + 1) ? i + 2 : 0;
    if (more && call_is(c, i, "maxage"))
        return parse_seconds(c, i + 1, "maxage", &f->max_age_s) ? i + 2 : 0;
    if (more && call_is(c, i, "idle"))
        return parse_seconds(c, i + 1, "idle", &f->idle_s) ? i + 2 : 0;
    bool after_ids = listing && i > 2 && f->want.given == 1u << TERM_ID;
    reply_error(&c->reply, after_ids ? ERR_CLIENT_ID : ERR_SYNTAX);
    return 0;
}

bool client_filter_parse(struct client_filter *f, struct call *c, int first, bool listing)
{
    for (int i = first; i < c->argc;) {
        i = parse_option(f, c, i, listing);
        if (i == 0) return false;
    }
    return true;
}
