/* Strict serializability, black box (Wing and Gong 1993, Lowe 2017): a depth-first search for an
 * order of all commands that a sequential keyspace explains.
 *
 * A state of the search is how far each client has come and the keyspace's contents; visited states
 * are remembered. The next command of a client may come now unless some other client's next command
 * was answered before this one was sent (real time). A client's own commands keep their order, also
 * those it pipelined: that is Redis' promise.
 * Thread: one. */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

#define ABSENT SIM_ABSENT
#define VISITED_START (1u << 12)
#define VISITED_MAX (1u << 24) /* beyond: undecided, which counts as explained */

struct state {
    uint8_t at[SIM_CLIENTS_MAX + 1];
    uint8_t crashed; /* what was found is the state of a moment before this one */
    uint8_t lens[SIM_LISTS];
    uint8_t lists[SIM_LISTS][SIM_LIST_LEN_MAX];
    int64_t values[SIM_KEYS];
};

struct search {
    const struct sim *sim;
    uint64_t *visited; /* open addressing */
    size_t count, cap;
    bool undecided;
    const struct sim_crash *crash; /* sim_crash_explained */
    const struct sim_state *found;
};

/* ---- the plain keyspace ---- */

static size_t put_int(char *out, int64_t n)
{
    return (size_t)sprintf(out, ":%lld\r\n", (long long)n);
}

static size_t put_bulk(char *out, int64_t value)
{
    char text[24];
    if (value == ABSENT) return (size_t)sprintf(out, "$-1\r\n");
    int len = sprintf(text, "%lld", (long long)value);
    return (size_t)sprintf(out, "$%d\r\n%s\r\n", len, text);
}

static int64_t count_present(const struct state *s, const struct sim_op *op, bool remove,
                             struct state *to)
{
    int64_t n = 0;
    for (int i = 0; i < op->key_count; i++) {
        if (remove) {
            n += to->values[op->keys[i]] != ABSENT;
            to->values[op->keys[i]] = ABSENT;
        } else {
            n += s->values[op->keys[i]] != ABSENT;
        }
    }
    return n;
}

static size_t move_key(struct state *s, const struct sim_op *op, char *out)
{
    int from = op->keys[0], to = op->keys[1];
    if (s->values[from] == ABSENT)
        return op->kind == SIM_RENAME ? (size_t)sprintf(out, "-ERR no such key\r\n")
                                      : put_int(out, 0);
    int64_t value = s->values[from];
    if (op->kind == SIM_RENAME) s->values[from] = ABSENT;
    s->values[to] = value;
    return op->kind == SIM_RENAME ? (size_t)sprintf(out, "+OK\r\n") : put_int(out, 1);
}

/* A look at several keys: MGET's reply, or that of GETs. */
static size_t look(const struct state *s, const struct sim_op *op, char *out)
{
    size_t len = (size_t)sprintf(out, "*%d\r\n", op->key_count);
    for (int i = 0; i < op->key_count; i++) len += put_bulk(out + len, s->values[op->keys[i]]);
    return len;
}

static size_t many_values(struct state *s, const struct sim_op *op, char *out)
{
    if (op->kind == SIM_MGET) return look(s, op, out);
    bool blocked = op->kind == SIM_MSETNX && count_present(s, op, false, NULL) > 0;
    for (int i = 0; i < op->key_count && !blocked; i++) s->values[op->keys[i]] = op->values[i];
    if (op->kind == SIM_MSET) return (size_t)sprintf(out, "+OK\r\n");
    return put_int(out, !blocked);
}

/* ---- lists ---- */

static uint8_t list_pop(struct state *s, int list)
{
    uint8_t first = s->lists[list][0];
    memmove(s->lists[list], s->lists[list] + 1, --s->lens[list]);
    s->lists[list][s->lens[list]] = 0; /* equal lists have equal bytes */
    return first;
}

static void list_push(struct state *s, int list, int64_t value)
{
    if (s->lens[list] < SIM_LIST_LEN_MAX) s->lists[list][s->lens[list]++] = (uint8_t)value;
}

/* There is nothing for it. 0: it would wait; one whose time was over says so. */
static size_t nothing(const struct sim_op *op, const char *at_once, char *out)
{
    if (sim_op_blocks(op) && !op->timeout_ms) return 0;
    return (size_t)sprintf(out, "%s", sim_op_blocks(op) ? "*-1\r\n" : at_once);
}

/* From the head of one list to the tail of another, or nil. 0: it would wait. */
static size_t move_element(struct state *s, const struct sim_op *op, char *out)
{
    int from = op->keys[0] - SIM_KEYS, to = op->keys[1] - SIM_KEYS;
    if (!s->lens[from]) return nothing(op, "$-1\r\n", out);
    uint8_t value = list_pop(s, from);
    list_push(s, to, value);
    return put_bulk(out, value);
}

/* The first list of the keys that has something. 0: it would wait. A client that waited may also
 * have been served by a later key, while an element of an earlier one was on its way to another
 * client's BLMOVE: which one is read from its reply. */
static size_t pop_first(const struct sim *sim, struct state *s, const struct sim_op *op, char *out)
{
    for (int i = 0; i < op->key_count; i++) {
        int list = op->keys[i] - SIM_KEYS;
        if (!s->lens[list]) continue;
        const char *name = sim->keys[op->keys[i]];
        char line[24];
        sprintf(line, "\n%s\r", name);
        if (sim_op_blocks(op) && !memmem(op->reply.ptr, op->reply.len, line, strlen(line)))
            continue;
        size_t len = (size_t)sprintf(out, "*2\r\n$%zu\r\n%s\r\n", strlen(name), name);
        if (op->kind != SIM_BLPOP) len += (size_t)sprintf(out + len, "*1\r\n");
        return len + put_bulk(out + len, list_pop(s, list));
    }
    for (int i = 0; i < op->key_count; i++) /* it was told of another one */
        if (s->lens[op->keys[i] - SIM_KEYS]) return 0;
    return nothing(op, "*-1\r\n", out);
}

/* A transaction: who waits for one of its lists sees what is left at its end. */
static size_t push_pop_push(struct state *s, const struct sim_op *op, char *out)
{
    int first = op->keys[0] - SIM_KEYS, second = op->keys[1] - SIM_KEYS,
        third = op->keys[2] - SIM_KEYS;
    size_t len = (size_t)sprintf(out, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n");
    list_push(s, first, op->values[0]);
    len += put_int(out + len, s->lens[first]);
    len += put_bulk(out + len, s->lens[second] ? list_pop(s, second) : ABSENT);
    list_push(s, third, op->values[1]);
    return len + put_int(out + len, s->lens[third]);
}

static size_t apply_list(const struct sim *sim, struct state *s, const struct sim_op *op, char *out)
{
    int list = op->keys[0] - SIM_KEYS;
    switch (op->kind) {
    case SIM_MLIST: return push_pop_push(s, op, out);
    case SIM_RPUSH:
        for (int i = 0; i < op->value_count; i++) list_push(s, list, op->values[i]);
        return put_int(out, s->lens[list]);
    case SIM_LPOP: return put_bulk(out, s->lens[list] ? list_pop(s, list) : ABSENT);
    case SIM_LLEN: return put_int(out, s->lens[list]);
    case SIM_LMOVE:
    case SIM_BLMOVE: return move_element(s, op, out);
    default: return pop_first(sim, s, op, out);
    }
}

/* ---- transactions ---- */

static size_t apply_multi(struct state *s, const struct sim_op *op, char *out)
{
    size_t len = (size_t)sprintf(out, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n");
    int64_t *count = &s->values[op->keys[0]];
    *count = *count == ABSENT ? 1 : *count + 1;
    len += put_int(out + len, *count);
    len += put_bulk(out + len, s->values[op->keys[1]]);
    s->values[op->keys[2]] = op->values[2];
    return len + (size_t)sprintf(out + len, "+OK\r\n");
}

static int64_t add(struct state *s, int key, int64_t n)
{
    int64_t *value = &s->values[key];
    return *value = (*value == ABSENT ? 0 : *value) + n;
}

static size_t apply_bank(struct state *s, const struct sim_op *op, char *out)
{
    size_t len = (size_t)sprintf(out, "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    if (op->kind == SIM_LOOK) {
        len += (size_t)sprintf(out + len, "+QUEUED\r\n");
        return len + look(s, op, out + len);
    }
    len += (size_t)sprintf(out + len, "*2\r\n");
    len += put_int(out + len, add(s, op->keys[0], -op->values[0]));
    return len + put_int(out + len, add(s, op->keys[1], op->values[0]));
}

/* One that succeeded is one step: nothing has touched its keys between its look and its EXEC. One
 * that did not is its look alone. Which one is read from the reply. */
static size_t apply_cas(struct state *s, const struct sim_op *op, char *out)
{
    size_t len = (size_t)sprintf(out, "+OK\r\n");
    len += put_bulk(out + len, s->values[op->keys[0]]);
    len += (size_t)sprintf(out + len, "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    if (memmem(op->reply.ptr, op->reply.len, "*-1", 3))
        return len + (size_t)sprintf(out + len, "*-1\r\n");
    s->values[op->keys[0]] = op->values[0];
    int64_t *count = &s->values[op->keys[1]];
    *count = *count == ABSENT ? 1 : *count + 1;
    len += (size_t)sprintf(out + len, "*2\r\n+OK\r\n");
    return len + put_int(out + len, *count);
}

/* Applies op to *s and writes the reply it must have had if it is no script. */
static size_t apply_plain(const struct sim *sim, struct state *s, const struct sim_op *op,
                          char *out)
{
    if (op->kind >= SIM_MLIST) return apply_list(sim, s, op, out);
    int64_t *value = &s->values[op->keys[0]], old = *value;
    switch (op->kind) {
    case SIM_GET: return put_bulk(out, *value);
    case SIM_SET: *value = op->values[0]; return (size_t)sprintf(out, "+OK\r\n");
    case SIM_SETGET: *value = op->values[0]; return put_bulk(out, old);
    case SIM_INCR: *value = old == ABSENT ? 1 : old + 1; return put_int(out, *value);
    case SIM_DEL: {
        int64_t n = count_present(s, op, true, s);
        return put_int(out, n);
    }
    case SIM_EXISTS: return put_int(out, count_present(s, op, false, NULL));
    case SIM_MGET:
    case SIM_MSET:
    case SIM_MSETNX: return many_values(s, op, out);
    case SIM_RENAME:
    case SIM_COPY: return move_key(s, op, out);
    case SIM_DBSIZE: {
        int64_t n = 0;
        for (int i = 0; i < SIM_KEYS; i++) n += s->values[i] != ABSENT;
        for (int i = 0; i < SIM_LISTS; i++) n += s->lens[i] != 0;
        return put_int(out, n);
    }
    case SIM_FLUSHALL:
        for (int i = 0; i < SIM_KEYS; i++) s->values[i] = ABSENT;
        memset(s->lens, 0, sizeof s->lens);
        memset(s->lists, 0, sizeof s->lists);
        return (size_t)sprintf(out, "+OK\r\n");
    case SIM_PING: return (size_t)sprintf(out, "+PONG\r\n");
    case SIM_MULTI: return apply_multi(s, op, out);
    case SIM_CAS: return apply_cas(s, op, out);
    case SIM_TRANSFER:
    case SIM_LOOK: return apply_bank(s, op, out);
    default: break;
    }
    return 0;
}

/* A script's reply is what EXEC would have said; of one command, what that says. */
static size_t apply(const struct sim *sim, struct state *s, const struct sim_op *op, char *out)
{
    size_t len = apply_plain(sim, s, op, out);
    if (op->wrap == WRAP_MULTI || !len) return len;
    if (op->kind >= SIM_MULTI && op->kind <= SIM_MLIST) {
        const char *all = memchr(out, '*', len);
        len -= (size_t)(all - out);
        memmove(out, all, len);
    }
    if (op->wrap == WRAP_SCRIPT) return len;
    static const char head[] = "+OK\r\n+QUEUED\r\n*1\r\n";
    memmove(out + sizeof head - 1, out, len);
    memcpy(out, head, sizeof head - 1);
    return len + sizeof head - 1;
}

/* ---- the search ---- */

static uint64_t state_hash(const struct state *s)
{
    uint64_t h = 0x9E3779B97F4A7C15u;
    const unsigned char *p = (const unsigned char *)s;
    for (size_t i = 0; i < sizeof *s; i++) h = (h ^ p[i]) * 0x100000001B3u, h ^= h >> 29;
    return h ? h : 1;
}

static bool visited_add(struct search *search, uint64_t h)
{
    size_t at = h % search->cap;
    while (search->visited[at]) {
        if (search->visited[at] == h) return false;
        at = (at + 1) % search->cap;
    }
    search->visited[at] = h;
    search->count++;
    return true;
}

static void visited_grow(struct search *search)
{
    struct search old = *search;
    search->cap *= 4;
    search->count = 0;
    search->visited = calloc(search->cap, sizeof(uint64_t));
    for (size_t i = 0; i < old.cap; i++)
        if (old.visited[i]) visited_add(search, old.visited[i]);
    free(old.visited);
}

static bool seen_before(struct search *search, const struct state *s)
{
    if (search->count * 2 > search->cap) {
        if (search->cap >= VISITED_MAX) search->undecided = true;
        else visited_grow(search);
    }
    return !visited_add(search, state_hash(s));
}

static bool may_come_now(const struct sim *sim, const struct state *s, unsigned c)
{
    const struct sim_op *op = &sim->clients[c].ops[s->at[c]];
    for (unsigned other = 0; other < sim->client_count; other++) {
        const struct sim_client *client = &sim->clients[other];
        if (other == c || s->at[other] >= client->op_count) continue;
        uint64_t completed = client->ops[s->at[other]].completed;
        if (completed && completed < op->invoked) return false;
    }
    return true;
}

/* It has done nothing, whatever it said: it was refused for the disk's sake, stopped with the
 * server, or concerns the disk alone. */
static bool has_no_part(const struct sim_op *op)
{
    static const char *const refusals[] = {"-MISCONF", "-EXECABORT", "Script killed"};
    if (op->kind >= SIM_WAITAOF) return true;
    for (unsigned i = 0; op->reply.len && i < ARRAY_COUNT(refusals); i++)
        if (memmem(op->reply.ptr, op->reply.len, refusals[i], strlen(refusals[i]))) return true;
    return false;
}

/* It has its reply: can it have been given now? */
static bool apply_answered(const struct sim *sim, struct state *s, const struct sim_op *op)
{
    char reply[256];
    if (has_no_part(op)) return true;
    size_t len = apply(sim, s, op, reply);
    return len == op->reply.len && memcmp(reply, op->reply.ptr, len) == 0;
}

static bool explore(struct search *search, const struct state *s)
{
    const struct sim *sim = search->sim;
    bool all = true;
    if (search->undecided) return true;
    if (seen_before(search, s)) return false;
    for (unsigned c = 0; c < sim->client_count; c++) {
        if (s->at[c] >= sim->clients[c].op_count) continue;
        all = false;
        if (!may_come_now(sim, s, c)) continue;
        const struct sim_op *op = &sim->clients[c].ops[s->at[c]];
        struct state next = *s;
        if (!apply_answered(sim, &next, op)) continue;
        next.at[c]++;
        if (explore(search, &next)) return true;
    }
    return all;
}

bool sim_serializable(const struct sim *sim)
{
    struct search search = {.sim = sim, .cap = VISITED_START};
    search.visited = calloc(search.cap, sizeof(uint64_t));
    struct state start;
    memset(&start, 0, sizeof start);
    for (int i = 0; i < SIM_KEYS; i++) start.values[i] = ABSENT;
    bool found = explore(&search, &start);
    free(search.visited);
    return found;
}

/* ---- after a crash ----
 *
 * Commands that had no reply when it came may have happened or not: of each client the first ones.
 * What was found is the state at some moment of the order; if replies are not held for the disk,
 * commands that were answered may come after that moment. */

static bool is_found(const struct search *search, const struct state *s)
{
    const struct sim_state *found = search->found;
    for (unsigned c = 0; c < search->sim->client_count; c++)
        if (s->at[c] < search->crash->durable[c]) return false;
    return !memcmp(s->values, found->values, sizeof s->values) &&
           !memcmp(s->lens, found->lens, sizeof s->lens) &&
           !memcmp(s->lists, found->lists, sizeof s->lists);
}

static bool all_explained(const struct search *search, const struct state *s)
{
    for (unsigned c = 0; c < search->sim->client_count; c++)
        if (s->at[c] < search->crash->answered[c]) return false;
    return s->crashed;
}

static bool may_come_before_crash(const struct search *search, const struct state *s, unsigned c)
{
    const struct sim_op *op = &search->sim->clients[c].ops[s->at[c]];
    if (s->at[c] >= search->crash->sent[c]) return false;
    for (unsigned other = 0; other < search->sim->client_count; other++) {
        if (other == c || s->at[other] >= search->crash->answered[other]) continue;
        const struct sim_op *first = &search->sim->clients[other].ops[s->at[other]];
        if (first->completed < op->invoked) return false;
    }
    return true;
}

static bool explore_crash(struct search *search, const struct state *s);

/* One without a reply, as it may have gone; which of them is a number. False: there is no such. */
static bool explore_unanswered(struct search *search, const struct state *s, unsigned c,
                               int which, bool *explained)
{
    const struct sim *sim = search->sim;
    struct sim_op op = sim->clients[c].ops[s->at[c]];
    bool may_do_nothing = sim_op_blocks(&op) || op.kind == SIM_CAS || op.kind >= SIM_WAITAOF ||
                          sim->mode == SIM_DISK_FAILS;
    bool many = sim_op_blocks(&op) && op.kind != SIM_BLMOVE;
    struct state next = *s;
    char reply[256], line[24] = "";
    next.at[c]++;
    if (which == 0) { /* nothing */
        *explained = may_do_nothing && explore_crash(search, &next);
        return true;
    }
    if (which > (many ? op.key_count : 1) || op.kind >= SIM_WAITAOF) return false;
    if (many) snprintf(line, sizeof line, "\n%s\r", sim->keys[op.keys[which - 1]]);
    op.reply = slice_str(line);
    *explained = apply(sim, &next, &op, reply) > 0 && explore_crash(search, &next);
    return true;
}

static bool explore_crash(struct search *search, const struct state *s)
{
    const struct sim *sim = search->sim;
    if (search->undecided || all_explained(search, s)) return true;
    if (seen_before(search, s)) return false;
    if (!s->crashed && is_found(search, s)) {
        struct state next = *s;
        next.crashed = 1;
        if (explore_crash(search, &next)) return true;
    }
    for (unsigned c = 0; c < sim->client_count; c++) {
        if (!may_come_before_crash(search, s, c)) continue;
        bool explained = false;
        if (s->at[c] < search->crash->answered[c]) {
            struct state next = *s;
            if (!apply_answered(sim, &next, &sim->clients[c].ops[s->at[c]])) continue;
            next.at[c]++;
            explained = explore_crash(search, &next);
        }
        for (int which = 0; s->at[c] >= search->crash->answered[c] && !explained; which++)
            if (!explore_unanswered(search, s, c, which, &explained)) break;
        if (explained) return true;
    }
    return false;
}

bool sim_crash_explained(const struct sim *sim, const struct sim_crash *crash,
                         const struct sim_state *found)
{
    struct search search = {.sim = sim, .cap = VISITED_START, .crash = crash, .found = found};
    search.visited = calloc(search.cap, sizeof(uint64_t));
    struct state start;
    memset(&start, 0, sizeof start);
    for (int i = 0; i < SIM_KEYS; i++) start.values[i] = ABSENT;
    bool explained = explore_crash(&search, &start);
    free(search.visited);
    return explained;
}

/* ---- the bank ---- */

/* Serializable includes this; told apart because it says more. Keys are absent before the first
 * transfer, so all amounts together are 0. */
static bool sum_right(struct slice reply)
{
    const char *at = memchr(reply.ptr, '*', reply.len), *end = reply.ptr + reply.len;
    int64_t sum = 0;
    while (at && (at = memchr(at, '$', (size_t)(end - at))) != NULL) {
        if (at[1] != '-') sum += strtoll(strchr(at, '\n'), NULL, 10);
        at++;
    }
    return sum == 0;
}

bool sim_sums_right(const struct sim *sim)
{
    for (unsigned c = 0; c < sim->client_count; c++)
        for (int i = 0; i < sim->clients[c].op_count; i++) {
            const struct sim_op *op = &sim->clients[c].ops[i];
            bool looks = op->kind == SIM_LOOK || op->kind == SIM_MGET;
            if (looks && !sum_right(op->reply)) return false;
        }
    return true;
}
