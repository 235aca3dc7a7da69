/* DEBUG subcommands that look into values: DIGEST and DIGEST-VALUE, LISTPACK, QUICKLIST and
 * HTSTATS-KEY.
 *
 * The digest of a data set is put together from each worker's share, a digest for each database,
 * which they make of their own shards: it is that of one moment only while nobody writes, which is
 * how tests use it.
 * Source: redis src/debug.c
 * Thread: parts: each worker; the rest: the connection's worker. */
#include "local_debug.h"

#include "conn.h"
#include "fanout.h"
#include "splitring/base/mem.h"
#include "splitring/cmd/digest.h"
#include "splitring/keyspace/object.h"

static void reply_digest(struct reply *reply, const struct digest *d)
{
    char text[2 * SHA1_LEN + 1] = {0};
    sha1_hex(d->bytes, text);
    reply_simple(reply, text);
}

/* ---- DIGEST ---- */

/* A worker's share of one database. */
struct db_share {
    struct digest bag;
    uint64_t keys;
};

static void add_key(void *ctx, const struct entry *e)
{
    struct db_share *share = ctx;
    share->keys++;
    digest_add_key(&share->bag, e);
}

static void digest_part(struct worker *w, struct fanout *f)
{
    worker_hold(w, w->id);
    for (unsigned db = 0; db < w->hub->databases; db++) {
        struct db_share share = {.keys = 0};
        struct ks ks = debug_own_view(w, (db_id)db);
        ks_each(&ks, add_key, &share);
        buf_append(&f->out[w->id], &share, sizeof(share));
    }
}

static void digest_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    struct digest all = {{0}};
    (void)c;
    if (!reply) return;
    for (unsigned db = 0; db < w->hub->databases; db++) {
        struct db_share sum = {.keys = 0}, share;
        for (unsigned s = 0; s < w->hub->count; s++) {
            if (f->out[s].failed) {
                reply_error(reply, ERR_NO_MEMORY);
                return;
            }
            memcpy(&share, f->out[s].ptr + db * sizeof(share), sizeof(share));
            digest_xor(&sum.bag, &share.bag);
            sum.keys += share.keys;
        }
        if (sum.keys) digest_mix_db(&all, (db_id)db, &sum.bag);
    }
    reply_digest(reply, &all);
}

void debug_digest(struct call *c)
{
    fanout_start(fanout_new(c->conn->worker, c->conn, digest_part, digest_done, NULL), false);
}

/* ---- DIGEST-VALUE ---- */

struct digest_values {
    db_id db;
    size_t count;
    struct slice *keys;
    struct digest *digests; /* each written by its key's owner */
    struct buf text;        /* the keys' bytes */
};

static void digest_values_free(void *arg)
{
    struct digest_values *v = arg;
    buf_deinit(&v->text);
    mem_free(v->keys);
    mem_free(v->digests);
    mem_free(v);
}

static void values_part(struct worker *w, struct fanout *f)
{
    const struct digest_values *v = f->arg;
    worker_hold(w, w->id);
    struct ks ks = debug_own_view(w, v->db);
    for (size_t i = 0; i < v->count; i++) {
        if (hub_shard_of(w->hub, v->keys[i]) != w->id) continue;
        const struct entry *e = ks_peek(&ks, v->keys[i]);
        if (e) digest_value(&v->digests[i], e);
    }
}

static void values_done(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    const struct digest_values *v = f->arg;
    (void)w;
    (void)c;
    if (!reply) return;
    reply_array(reply, v->count);
    for (size_t i = 0; i < v->count; i++) reply_digest(reply, &v->digests[i]);
}

void debug_digest_value(struct call *c)
{
    struct digest_values *v = mem_zalloc(sizeof *v);
    size_t len = 0;
    v->db = c->conn->db;
    v->count = (size_t)c->argc - 2;
    v->keys = mem_try_alloc(v->count * sizeof(*v->keys) + 1);
    v->digests = mem_try_zalloc(v->count * sizeof(*v->digests) + 1);
    for (size_t i = 0; i < v->count; i++) len += c->argv[i + 2].len;
    if (!v->keys || !v->digests || !buf_reserve(&v->text, len + 1)) {
        digest_values_free(v);
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    for (size_t i = 0; i < v->count; i++) {
        v->keys[i] = slice_of(v->text.ptr + v->text.len, c->argv[i + 2].len);
        buf_append_slice(&v->text, c->argv[i + 2]);
    }
    struct fanout *f = fanout_new(c->conn->worker, c->conn, values_part, values_done, v);
    f->free_arg = digest_values_free;
    fanout_start(f, false);
}

/* ---- LISTPACK, QUICKLIST, HTSTATS-KEY ---- */

static bool is_object(const struct entry *e)
{
    return entry_type(e) != TYPE_STRING && entry_form(e) == FORM_OBJECT;
}

static void show_listpack(const struct ks *ks, const struct entry *e, struct reply *reply)
{
    (void)ks;
    bool packed = entry_type(e) != TYPE_STRING && entry_form(e) != FORM_OBJECT &&
                  entry_form(e) != FORM_INTSET;
    if (packed) reply_simple(reply, "Listpack structure printed on stdout");
    else reply_error(reply, ERR_NOT_LISTPACK);
}

static void show_quicklist(const struct ks *ks, const struct entry *e, struct reply *reply)
{
    (void)ks;
    bool list = entry_type(e) == TYPE_LIST && is_object(e);
    if (list) reply_simple(reply, "Quicklist structure printed on stdout");
    else reply_error(reply, ERR_NOT_QUICKLIST);
}

/* Tables are not chained here, so there are no chain lengths to show. */
static void show_table(const struct ks *ks, const struct entry *e, struct reply *reply)
{
    struct buf text = {0};
    (void)ks;
    bool table = is_object(e) && (entry_type(e) == TYPE_SET || entry_type(e) == TYPE_HASH ||
                                  entry_type(e) == TYPE_ZSET);
    if (!table) {
        reply_error(reply, ERR_NOT_TABLE);
        return;
    }
    const struct object *object = entry_object(e);
    buf_printf(&text, "Hash table 0 stats (main hash table):\n number of elements: %zu\n",
               object->ops->count(object));
    reply_verbatim(reply, "txt", buf_slice(&text));
    buf_deinit(&text);
}

void debug_listpack(struct call *c) { debug_ask_owner(c, show_listpack); }
void debug_quicklist(struct call *c) { debug_ask_owner(c, show_quicklist); }
void debug_htstats_key(struct call *c) { debug_ask_owner(c, show_table); }
