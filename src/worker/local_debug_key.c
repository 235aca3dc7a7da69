/* DEBUG subcommands that are no matter of one connection: SLEEP and SET-ACTIVE-EXPIRE concern every
 * worker, OBJECT and SDSLEN the owner of a key, POPULATE every shard.
 *
 * All are fan-outs. A worker touches its own shard only, which it holds for its part: POPULATE's
 * parts each go through all numbers and add the keys that are theirs, which needs no agreement
 * between shards (the keys do not appear at one instant, as they would in Redis).
 *
 * SLEEP stops the worker that sends the messages too, so it lets everything go before: shards,
 * and what lies in its outgoing mailboxes, among it the order to sleep for the others.
 * Source: redis src/debug.c
 * Thread: parts: each worker; the rest: the connection's worker. */
#include "local_debug.h"

#include <stdio.h>

#include "conn.h"
#include "fanout.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/io/os.h"

#define SLEEP_S_MAX 1e9
#define KEY_LEN_MAX 127 /* Redis' buffer for the names */

static void ok_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)w;
    (void)f;
    (void)c;
    if (reply) reply_ok(reply);
}

/* ---- SLEEP, SET-ACTIVE-EXPIRE ---- */

static void sleep_part(struct worker *w, struct fanout *f)
{
    const int64_t *us = f->arg;
    worker_unhold_all(w);
    worker_publish_mail(w);
    os_sleep_us(*us);
}

void debug_sleep(struct call *c)
{
    double seconds;
    if (!num_parse_double(c->argv[2], &seconds)) {
        reply_error(&c->reply, ERR_NOT_FLOAT);
        return;
    }
    if (seconds > SLEEP_S_MAX) seconds = SLEEP_S_MAX;
    int64_t *us = mem_alloc(sizeof *us);
    *us = seconds > 0 ? (int64_t)(seconds * 1e6) : 0;
    fanout_start(fanout_new(c->conn->worker, c->conn, sleep_part, ok_done, us), true);
}

static void expire_part(struct worker *w, struct fanout *f)
{
    const bool *on = f->arg;
    w->active_expire = *on;
    w->quiet = false;
}

void debug_set_active_expire(struct call *c)
{
    int64_t value;
    bool *on = mem_alloc(sizeof *on);
    *on = num_parse_i64(c->argv[2], &value) && value != 0;
    fanout_start(fanout_new(c->conn->worker, c->conn, expire_part, ok_done, on), true);
}

static void cron_part(struct worker *w, struct fanout *f)
{
    const bool *paused = f->arg;
    w->cron_paused = *paused;
    w->quiet = false;
}

void debug_pause_cron(struct call *c)
{
    int64_t value;
    bool *paused = mem_alloc(sizeof *paused);
    *paused = num_parse_i64(c->argv[2], &value) && value != 0;
    fanout_start(fanout_new(c->conn->worker, c->conn, cron_part, ok_done, paused), true);
}

/* ---- OBJECT, SDSLEN ---- */

struct key_request {
    void (*show)(const struct ks *ks, const struct entry *e, struct reply *reply);
    struct buf key;
    shard_id shard;
    db_id db;
};

static void key_request_free(void *arg)
{
    struct key_request *r = arg;
    buf_deinit(&r->key);
    mem_free(r);
}

struct ks debug_own_view(const struct worker *w, db_id db)
{
    return (struct ks){.shard = w->shard, .shards = w->hub->shards, .shard_count = w->hub->count,
                       .db = db, .now = w->now, .flags = KS_NO_TOUCH | KS_NO_STATS | KS_LOGICAL};
}

static void key_part(struct worker *w, struct fanout *f)
{
    const struct key_request *r = f->arg;
    if (r->shard != w->id) return;
    worker_hold(w, w->id);
    struct ks ks = debug_own_view(w, r->db);
    const struct entry *e = ks_peek(&ks, buf_slice(&r->key));
    struct reply reply = {.out = &f->out[w->id], .proto = f->proto};
    if (e) r->show(&ks, e, &reply);
}

static void key_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    const struct key_request *r = f->arg;
    const struct buf *line = &f->out[r->shard];
    (void)w;
    (void)c;
    if (!reply) return;
    if (line->len == 0) {
        reply_error(reply, ERR_NO_SUCH_KEY);
    } else {
        reply_raw(reply, line->ptr, line->len);
        reply->errors += line->ptr[0] == '-';
    }
}

void debug_ask_owner(struct call *c,
                     void (*show)(const struct ks *ks, const struct entry *e, struct reply *reply))
{
    struct worker *w = c->conn->worker;
    struct key_request *r = mem_zalloc(sizeof *r);
    r->show = show;
    r->db = c->conn->db;
    r->shard = hub_shard_of(w->hub, c->argv[2]);
    buf_append_slice(&r->key, c->argv[2]);
    if (r->key.failed) {
        key_request_free(r);
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    struct fanout *f = fanout_new(w, c->conn, key_part, key_done, r);
    f->free_arg = key_request_free;
    fanout_start(f, false);
}

/* Length of a string value in an RDB file, without compression. */
static size_t string_saved_len(const struct entry *e)
{
    char scratch[ENTRY_SCRATCH];
    int64_t number;
    if (entry_is_int(e, &number)) {
        if (number >= INT8_MIN && number <= INT8_MAX) return 2;
        if (number >= INT16_MIN && number <= INT16_MAX) return 3;
        if (number >= INT32_MIN && number <= INT32_MAX) return 5;
    }
    size_t len = entry_string(e, scratch).len;
    return len + (len < 64 ? 1 : len < 16384 ? 2 : len <= UINT32_MAX ? 5 : 9);
}

/* Redis shares the numbers below 10000 between keys and shows their count so. */
static int shown_refcount(const struct entry *e)
{
    int64_t number;
    bool string = entry_type(e) == TYPE_STRING;
    return string && entry_is_int(e, &number) && number >= 0 && number < 10000 ? INT32_MAX : 1;
}

static void show_object(const struct ks *ks, const struct entry *e, struct reply *reply)
{
    uint32_t idle_s = entry_idle_s(ks, e);
    size_t saved = entry_type(e) == TYPE_STRING ? string_saved_len(e) : entry_bytes(e);
    buf_printf(reply->out, "+Value at:%p refcount:%d encoding:%s serializedlength:%zu lru:%u "
                    "lru_seconds_idle:%u\r\n",
               (const void *)e, shown_refcount(e), entry_encoding(e), saved,
               ((unsigned)(ks->now / 1000) - idle_s) & 0xffffffu, idle_s);
}

void debug_object(struct call *c) { debug_ask_owner(c, show_object); }

/* Key and value lie in one block, which is shown as the key's. */
static void show_sdslen(const struct ks *ks, const struct entry *e, struct reply *reply)
{
    char scratch[ENTRY_SCRATCH];
    int64_t number;
    (void)ks;
    if (entry_type(e) != TYPE_STRING || entry_is_int(e, &number)) {
        reply_error(reply, ERR_NOT_SDS);
        return;
    }
    size_t len = entry_string(e, scratch).len;
    buf_printf(reply->out, "+key_sds_len:%zu, key_sds_avail:0, key_zmalloc: %zu, val_sds_len:%zu, "
                    "val_sds_avail:0, val_zmalloc: %zu\r\n",
               entry_key(e).len, entry_bytes(e), len, len);
}

void debug_sdslen(struct call *c) { debug_ask_owner(c, show_sdslen); }

/* ---- POPULATE ---- */

struct populate {
    struct buf prefix;
    uint64_t count;
    size_t size; /* 0: as long as the text */
    db_id db;
};

static void populate_free(void *arg)
{
    struct populate *p = arg;
    buf_deinit(&p->prefix);
    mem_free(p);
}

/* "value:N", cut or padded with zeros where a size is asked for; in `room` of that size. */
static struct slice value_text(const struct populate *p, uint64_t n, char *room, char *scratch)
{
    int len = snprintf(scratch, 32, "value:%llu", (unsigned long long)n);
    if (!p->size) return slice_of(scratch, (size_t)len);
    memcpy(room, scratch, p->size < (size_t)len ? p->size : (size_t)len);
    return slice_of(room, p->size);
}

/* f->number: 0 or -ENOMEM. */
static void populate_part(struct worker *w, struct fanout *f)
{
    const struct populate *p = f->arg;
    char key[KEY_LEN_MAX + 1], scratch[32];
    char *room = mem_try_zalloc(p->size + 32);
    worker_hold(w, w->id);
    struct ks ks = debug_own_view(w, p->db);
    ks.flags = KS_NO_STATS | KS_NO_TOUCH;
    struct slice prefix = p->prefix.len ? buf_slice(&p->prefix) : SLICE("");
    int rc = room ? 0 : -1;
    for (uint64_t n = 0; n < p->count && rc == 0; n++) {
        int len = snprintf(key, sizeof key, "%.*s:%llu", (int)prefix.len, prefix.ptr,
                           (unsigned long long)n);
        struct slice name = slice_of(key, len < KEY_LEN_MAX ? (size_t)len : KEY_LEN_MAX);
        if (hub_shard_of(w->hub, name) != w->id || ks_find(&ks, name)) continue;
        rc = ks_set_string(&ks, name, value_text(p, n, room, scratch), EXPIRE_NONE);
    }
    worker_touched(w, w->id, DBS_ALL);
    f->number[w->id] = rc;
    mem_free(room);
}

static void populate_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    (void)c;
    if (!reply) return;
    for (unsigned i = 0; i < w->hub->count; i++) {
        if (f->number[i] == 0) continue;
        reply_error(reply, ERR_NO_MEMORY);
        return;
    }
    reply_ok(reply);
}

void debug_populate(struct call *c)
{
    struct worker *w = c->conn->worker;
    int64_t count, size = 0;
    if (!call_int_range(c, 2, 0, INT64_MAX, &count, ERR_OUT_OF_RANGE_POSITIVE)) return;
    if (c->argc == 5 &&
        !call_int_range(c, 4, 0, w->config->proto_max_bulk_len, &size, ERR_OUT_OF_RANGE_POSITIVE))
        return;
    struct populate *p = mem_zalloc(sizeof *p);
    p->count = (uint64_t)count;
    p->size = (size_t)size;
    p->db = c->conn->db;
    struct slice prefix = c->argc > 3 ? c->argv[3] : SLICE("key");
    if (prefix.len > KEY_LEN_MAX) prefix.len = KEY_LEN_MAX;
    buf_append_slice(&p->prefix, prefix);
    struct fanout *f = fanout_new(w, c->conn, populate_part, populate_done, p);
    f->free_arg = populate_free;
    fanout_start(f, true);
}
