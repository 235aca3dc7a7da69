/* HSETEX, HGETEX, HGETDEL: values and expiries in one command (Redis 8.0, Valkey 9).
 *
 * HSETEX reads its options in any order before FIELDS, which ends them; the conditions FNX and FXX
 * look at all fields before the first is written. NX and XX, on the key, are Valkey's. An expiry
 * that has passed leaves none of the fields behind: the events say "hset" and then "hdel", as if
 * they had been there.
 *
 * Values are replied before the field is changed, because slices end with the next write.
 *
 * Effects are absolute and without conditions: HSETEX … PXAT or KEEPTTL or neither, HPEXPIREAT,
 * HPERSIST, HDEL.
 * Source: https://redis.io/docs/latest/commands/hsetex/ , hgetex, hgetdel;
 * https://valkey.io/commands/hsetex/
 * Thread: holder of the call's shards. */
#include "cmd/hash_impl.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/cmd/effects.h"

enum setex_option {
    SETEX_EX = 1u << 0,
    SETEX_PX = 1u << 1,
    SETEX_EXAT = 1u << 2,
    SETEX_PXAT = 1u << 3,
    SETEX_KEEPTTL = 1u << 4,
    SETEX_FNX = 1u << 5,
    SETEX_FXX = 1u << 6,
    SETEX_NX = 1u << 7,
    SETEX_XX = 1u << 8,
    SETEX_PERSIST = 1u << 9
};
#define SETEX_TIMES (SETEX_EX | SETEX_PX | SETEX_EXAT | SETEX_PXAT)
#define SETEX_EXPIRIES (SETEX_TIMES | SETEX_KEEPTTL)

static bool time_argument(struct call *c, int i, unsigned option, instant_ms *when)
{
    return hash_when(c, i, option & (SETEX_EX | SETEX_EXAT), option & (SETEX_EX | SETEX_PX), when);
}

/* ---- HSETEX ---- */

struct setex {
    unsigned given;    /* setex_option */
    instant_ms expire; /* EXPIRE_NONE, EXPIRE_KEEP or an instant */
    const struct slice *pairs;
    size_t count;
};

struct setex_word {
    const char *word;
    unsigned option, group;
    enum error_id conflict;
};

static const struct setex_word setex_words[] = {
    {"ex", SETEX_EX, SETEX_EXPIRIES, ERR_FIELDS_EXPIRATION},
    {"px", SETEX_PX, SETEX_EXPIRIES, ERR_FIELDS_EXPIRATION},
    {"exat", SETEX_EXAT, SETEX_EXPIRIES, ERR_FIELDS_EXPIRATION},
    {"pxat", SETEX_PXAT, SETEX_EXPIRIES, ERR_FIELDS_EXPIRATION},
    {"keepttl", SETEX_KEEPTTL, SETEX_EXPIRIES, ERR_FIELDS_EXPIRATION},
    {"fnx", SETEX_FNX, SETEX_FNX | SETEX_FXX, ERR_FIELDS_CONDITION},
    {"fxx", SETEX_FXX, SETEX_FNX | SETEX_FXX, ERR_FIELDS_CONDITION},
    {"nx", SETEX_NX, SETEX_NX | SETEX_XX, ERR_FIELDS_KEY_CONDITION},
    {"xx", SETEX_XX, SETEX_NX | SETEX_XX, ERR_FIELDS_KEY_CONDITION},
};

/* FIELDS numfields field value …, which end the command. False: the error is written. */
static bool parse_pairs(struct call *c, int at, struct setex *s)
{
    int64_t count;
    int rest = c->argc - at - 2;
    if (rest >= 2) {
        if (!call_int_range(c, at + 1, 1, INT32_MAX, &count, ERR_FIELDS_NUMBER)) return false;
        if (rest % 2 == 0 && count == rest / 2) {
            s->pairs = c->argv + at + 2;
            s->count = (size_t)count;
            return true;
        }
    }
    reply_errorf(&c->reply, ERR_WRONG_ARITY, c->cmd->name);
    return false;
}

/* One option. False: the error is written. */
static bool parse_word(struct call *c, int *i, struct setex *s)
{
    const struct setex_word *w = setex_words, *end = w + ARRAY_COUNT(setex_words);
    while (w < end && !call_is(c, *i, w->word)) w++;
    if (w == end) {
        struct slice text = c->argv[*i];
        reply_errorf(&c->reply, ERR_UNKNOWN_ARGUMENT, (int)text.len, text.ptr);
        return false;
    }
    if (s->given & w->group) {
        reply_error(&c->reply, w->conflict);
        return false;
    }
    s->given |= w->option;
    if (w->option == SETEX_KEEPTTL) s->expire = EXPIRE_KEEP;
    if (!(w->option & SETEX_TIMES)) return true;
    if (*i + 1 >= c->argc) {
        reply_error(&c->reply, ERR_FIELDS_TIME_MISSING);
        return false;
    }
    ++*i;
    return time_argument(c, *i, w->option, &s->expire);
}

static bool parse_setex(struct call *c, struct setex *s)
{
    *s = (struct setex){.expire = EXPIRE_NONE};
    for (int i = 2; i < c->argc; i++) {
        if (call_is(c, i, "fields")) return parse_pairs(c, i, s);
        if (!parse_word(c, &i, s)) return false;
    }
    reply_error(&c->reply, ERR_FIELDS_MISSING);
    return false;
}

static bool conditions_hold(const struct setex *s, struct hash *h)
{
    struct hash_item item;
    if ((s->given & SETEX_NX) && h->entry) return false;
    if ((s->given & (SETEX_XX | SETEX_FXX)) && !h->entry) return false;
    if (!(s->given & (SETEX_FNX | SETEX_FXX))) return true;
    bool wanted = s->given & SETEX_FXX;
    for (size_t i = 0; i < s->count; i++) {
        if (hash_find(h, s->pairs[2 * i], &item) != wanted) return false;
    }
    return true;
}

/* HSETEX key [PXAT ms | KEEPTTL] FIELDS n field value … of the first `count` pairs. */
static void state_setex(struct call *c, const struct setex *s, size_t count)
{
    if (!c->effects) return;
    char digits[NUM_I64_LEN_MAX + 1], number[NUM_I64_LEN_MAX + 1];
    struct slice *argv = mem_try_alloc((6 + 2 * count) * sizeof(*argv));
    if (!argv) {
        c->effects->failed = true;
        return;
    }
    size_t argc = 0;
    argv[argc++] = SLICE("HSETEX");
    argv[argc++] = c->argv[1];
    if (s->expire == EXPIRE_KEEP) {
        argv[argc++] = SLICE("KEEPTTL");
    } else if (s->expire != EXPIRE_NONE) {
        argv[argc++] = SLICE("PXAT");
        argv[argc++] = effect_int(digits, s->expire);
    }
    argv[argc++] = SLICE("FIELDS");
    argv[argc++] = effect_int(number, (int64_t)count);
    memcpy(argv + argc, s->pairs, 2 * count * sizeof(*argv));
    effect_args(c, (int)(argc + 2 * count), argv);
    mem_free(argv);
}

/* The expiry has passed already. */
static void set_expired(struct call *c, const struct setex *s, struct hash *h)
{
    struct field_list removed;
    bool was_there = h->entry != NULL;
    field_list_init(&removed, c, s->count);
    for (size_t i = 0; i < s->count && h->entry; i++) {
        if (hash_remove(h, s->pairs[2 * i])) field_list_add(&removed, s->pairs[2 * i]);
    }
    c->dirty += removed.count;
    field_list_deleted(&removed, c);
    ks_notify(&c->ks, EVENT_HASH, "hset", c->argv[1]);
    if (removed.count) hash_changed(c, h, "hdel");
    else ks_notify(&c->ks, EVENT_HASH, "hdel", c->argv[1]);
    if (!was_there) ks_notify(&c->ks, EVENT_GENERIC, "del", c->argv[1]);
    field_list_deinit(&removed);
    reply_int(&c->reply, 1);
}

static void set_pairs(struct call *c, const struct setex *s, struct hash *h)
{
    size_t created, stored = 0;
    int status = 0;
    /* A new hash takes plain pairs at once; expiries go field by field. */
    bool plain = !(s->given & SETEX_TIMES);
    if (plain || h->entry) status = hash_prepare(h, s->pairs, s->count, &created);
    if (status > 0) stored = (size_t)status;
    while (status >= 0 && stored < s->count) {
        status = hash_set(h, s->pairs[2 * stored], s->pairs[2 * stored + 1], s->expire);
        if (status >= 0) stored++;
    }
    if (stored) {
        c->dirty += stored;
        state_setex(c, s, stored);
        call_changed(c, c->argv[1], EVENT_HASH, "hset");
        if (s->given & SETEX_TIMES) ks_notify(&c->ks, EVENT_HASH, "hexpire", c->argv[1]);
    }
    if (stored == s->count) {
        reply_int(&c->reply, 1);
        return;
    }
    if (h->entry && hash_count(h->entry) == 0) call_emptied(c, c->argv[1]);
    reply_error(&c->reply, ERR_NO_MEMORY);
}

void cmd_hsetex(struct call *c)
{
    struct hash h;
    struct setex s;
    if (!parse_setex(c, &s) || !hash_for_writing(c, &h)) return;
    if (!conditions_hold(&s, &h)) reply_int(&c->reply, 0);
    else if ((s.given & SETEX_TIMES) && call_is_past(c, s.expire)) set_expired(c, &s, &h);
    else set_pairs(c, &s, &h);
}

/* ---- HGETEX ---- */

static unsigned getex_option(const struct call *c)
{
    static const char *const words[] = {"ex", "px", "exat", "pxat"};
    for (unsigned i = 0; i < ARRAY_COUNT(words); i++) {
        if (call_is(c, 2, words[i])) return 1u << i;
    }
    return call_is(c, 2, "persist") ? SETEX_PERSIST : 0;
}

/* What becomes of one field that is there; it has been replied. False: no memory. */
static bool getex_field(struct call *c, struct hash *h, struct slice field, bool expires,
                        instant_ms when, struct field_list *set, struct field_list *removed)
{
    if (when == EXPIRE_NONE && !expires) return true;
    if (call_is_past(c, when)) {
        (void)hash_remove(h, field);
        field_list_add(removed, field);
        return true;
    }
    if (hash_set_expiry(h, field, when) < 0) return false;
    field_list_add(set, field);
    return true;
}

static void getex(struct call *c, struct hash *h, int first, unsigned option, instant_ms when)
{
    struct field_list set, removed;
    size_t fields = (size_t)(c->argc - first), mark = c->reply.out->len;
    bool memory = true;
    field_list_init(&set, c, fields);
    field_list_init(&removed, c, fields);
    reply_array(&c->reply, fields);
    for (int i = first; i < c->argc && memory; i++) {
        struct hash_item item;
        if (!hash_find(h, c->argv[i], &item)) {
            reply_null(&c->reply);
            continue;
        }
        reply_bulk_slice(&c->reply, item.value);
        bool expires = item.expire != EXPIRE_NONE;
        if (option) memory = getex_field(c, h, c->argv[i], expires, when, &set, &removed);
    }
    c->dirty += set.count + removed.count;
    field_list_expires(&set, c, when);
    field_list_deleted(&removed, c);
    const char *event = removed.count ? "hdel" : option == SETEX_PERSIST ? "hpersist" : "hexpire";
    if (set.count + removed.count) hash_changed(c, h, event);
    field_list_deinit(&set);
    field_list_deinit(&removed);
    if (memory) return;
    c->reply.out->len = mark;
    reply_error(&c->reply, ERR_NO_MEMORY);
}

void cmd_hgetex(struct call *c)
{
    struct hash h;
    instant_ms when = EXPIRE_NONE;
    if (!hash_for_writing(c, &h)) return;
    unsigned option = getex_option(c);
    int at = option & SETEX_TIMES ? 4 : option ? 3 : 2;
    if ((option & SETEX_TIMES) && !time_argument(c, 3, option, &when)) return;
    if (!hash_fields(c, at, ERR_FIELDS_POSITIVE)) return;
    getex(c, &h, at + 2, option, when);
}

/* ---- HGETDEL ---- */

void cmd_hgetdel(struct call *c)
{
    struct hash h;
    struct field_list removed;
    if (!hash_for_writing(c, &h) || !hash_fields(c, 2, ERR_FIELDS_POSITIVE)) return;
    field_list_init(&removed, c, (size_t)(c->argc - 4));
    reply_array(&c->reply, (size_t)(c->argc - 4));
    for (int i = 4; i < c->argc; i++) {
        struct hash_item item;
        if (!hash_find(&h, c->argv[i], &item)) {
            reply_null(&c->reply);
            continue;
        }
        reply_bulk_slice(&c->reply, item.value);
        (void)hash_remove(&h, c->argv[i]);
        field_list_add(&removed, c->argv[i]);
    }
    if (removed.count) {
        c->dirty += removed.count;
        field_list_deleted(&removed, c);
        hash_changed(c, &h, "hdel");
    }
    field_list_deinit(&removed);
}
