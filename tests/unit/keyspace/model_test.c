/* Random writes on few keys against a model that is too simple to be wrong; one shard and several;
 * values of every form (numbers, short and long text, blobs), TTLs, moves, images, sweeps. At the
 * end memory is back to nothing. */
#include <criterion/criterion.h>

#include "world.h"

#define KEYS 60
#define LEN_MAX 3000u

struct model_key {
    bool present;
    instant_ms expire;
    size_t len;
    char text[LEN_MAX];
};

struct model {
    struct world w;
    struct world scratch;
    struct rng rng;
    struct model_key keys[2][KEYS];
};

/* Lengths of names vary: the value's place depends on them. */
static struct slice name_of(int key, char name[1200])
{
    size_t len = (size_t)snprintf(name, 16, "k%d", key);
    static const size_t pad[] = {0, 3, 9, 14, 40, 270, 1100};
    size_t more = pad[key % 7];
    memset(name + len, '.', more);
    return slice_of(name, len + more);
}

static bool live(const struct model *m, const struct model_key *k)
{
    return k->present && k->expire >= m->w.ks.now;
}

static size_t random_len(struct model *m)
{
    switch (rng_below(&m->rng, 4)) {
    case 0: return (size_t)rng_below(&m->rng, 50);
    case 1: return (size_t)rng_below(&m->rng, 300);
    case 2: return 850 + (size_t)rng_below(&m->rng, 250);
    default: return (size_t)rng_below(&m->rng, LEN_MAX - 100);
    }
}

static void random_text(struct model *m, struct model_key *k)
{
    if (rng_below(&m->rng, 3) == 0) {
        int64_t number = (int64_t)rng_next(&m->rng) >> rng_below(&m->rng, 64);
        k->len = num_format_i64(k->text, number);
        return;
    }
    k->len = random_len(m);
    memset(k->text, (int)('a' + rng_below(&m->rng, 26)), k->len);
}

static instant_ms random_expire(struct model *m)
{
    return m->w.ks.now + 1 + (instant_ms)rng_below(&m->rng, 3000);
}

static void op_set(struct model *m, struct model_key *k, struct slice name)
{
    bool was = live(m, k);
    instant_ms expire = EXPIRE_NONE;
    uint64_t kind = rng_below(&m->rng, 3);
    if (kind == 1) expire = random_expire(m);
    if (kind == 2) expire = EXPIRE_KEEP;
    random_text(m, k);
    int rc;
    int64_t number;
    struct slice text = slice_of(k->text, k->len);
    if (rng_below(&m->rng, 4) == 0) {
        struct blob *blob = world_blob(k->len, 0);
        memcpy(blob->data, k->text, k->len);
        rc = ks_set_blob(&m->w.ks, name, blob, expire);
    } else if (num_parse_i64(text, &number)) {
        rc = ks_set_int(&m->w.ks, name, number, expire);
    } else {
        rc = ks_set_string(&m->w.ks, name, text, expire);
    }
    cr_assert_eq(rc, 0);
    k->present = true;
    if (expire != EXPIRE_KEEP) k->expire = expire;
    else if (!was) k->expire = EXPIRE_NONE;
}

static void op_room(struct model *m, struct model_key *k, struct slice name)
{
    if (!live(m, k)) {
        k->len = 0;
        k->expire = EXPIRE_NONE;
    }
    size_t len = k->len + rng_below(&m->rng, 40);
    if (rng_below(&m->rng, 8) == 0) len = random_len(m);
    if (len > LEN_MAX) len = LEN_MAX;
    char *text = ks_string_room(&m->w.ks, name, len);
    cr_assert_not_null(text);
    if (len > k->len) {
        for (size_t i = k->len; i < len; i++) cr_assert_eq(text[i], '\0');
        memset(k->text + k->len, 0, len - k->len);
        k->len = len;
    }
    k->present = true;
    if (k->len == 0) return;
    size_t at = (size_t)rng_below(&m->rng, k->len);
    text[at] = k->text[at] = 'R';
}

static void op_expiry(struct model *m, struct model_key *k, struct slice name)
{
    if (!live(m, k)) return;
    k->expire = rng_below(&m->rng, 2) ? EXPIRE_NONE : random_expire(m);
    int rc = ks_set_expiry(&m->w.ks, name, k->expire);
    cr_assert_eq(rc, 0);
}

static void op_move(struct model *m, struct model_key *k, struct slice name, bool copy)
{
    db_id to_db = (db_id)rng_below(&m->rng, 2);
    int to = (int)rng_below(&m->rng, KEYS);
    struct model_key *target = &m->keys[to_db][to];
    if (!live(m, k) || target == k) return;
    char to_name[1200];
    struct slice other = name_of(to, to_name);
    int rc = copy ? ks_copy(&m->w.ks, name, to_db, other) : ks_move(&m->w.ks, name, to_db, other);
    cr_assert_eq(rc, 0);
    *target = *k;
    if (!copy) k->present = false;
}

/* To another shard and back, through bytes. */
static void op_image(struct model *m, struct slice name)
{
    struct buf out = {0}, back = {0};
    struct ks *there = &m->scratch.ks;
    there->now = m->w.ks.now;
    there->db = m->w.ks.db;
    ks_image_write(&m->w.ks, name, &out);
    int rc = ks_image_put(there, name, buf_slice(&out));
    cr_assert_eq(rc, 0);
    ks_image_write(there, name, &back);
    cr_assert(slice_equal(buf_slice(&out), buf_slice(&back)));
    rc = ks_image_put(&m->w.ks, name, buf_slice(&back));
    cr_assert_eq(rc, 0);
    (void)ks_delete(there, name, true);
    buf_deinit(&out);
    buf_deinit(&back);
}

static void compare(struct model *m, int db, int key)
{
    char name[1200], scratch[ENTRY_SCRATCH];
    struct slice s = name_of(key, name);
    struct ks ks = ks_in_db(&m->w.ks, (db_id)db);
    const struct model_key *k = &m->keys[db][key];
    const struct entry *e = ks_read(&ks, s);
    cr_assert_eq(e != NULL, live(m, k), "db %d key %d", db, key);
    if (!e) return;
    cr_assert(slice_equal(entry_key(e), s));
    cr_assert_eq(entry_expiry(e), k->expire, "db %d key %d", db, key);
    struct slice text = entry_string(e, scratch);
    cr_assert(slice_equal(text, slice_of(k->text, k->len)), "db %d key %d", db, key);
}

static void sweep(struct model *m)
{
    for (uint32_t i = 0; i < m->w.count; i++) {
        (void)shard_sweep(m->w.shards[i], m->w.ks.now, 10000, NULL);
        (void)shard_free_step(m->w.shards[i], 100);
    }
}

static void step(struct model *m)
{
    char name[1200];
    int key = (int)rng_below(&m->rng, KEYS);
    m->w.ks.db = (db_id)rng_below(&m->rng, 2);
    struct model_key *k = &m->keys[m->w.ks.db][key];
    struct slice s = name_of(key, name);
    switch (rng_below(&m->rng, 12)) {
    case 0:
        cr_assert_eq(ks_delete(&m->w.ks, s, rng_below(&m->rng, 2) != 0), live(m, k));
        k->present = false;
        break;
    case 1: op_expiry(m, k, s); break;
    case 2: op_move(m, k, s, false); break;
    case 3: op_move(m, k, s, true); break;
    case 4:
    case 5: op_room(m, k, s); break;
    case 6: m->w.ks.now += (instant_ms)rng_below(&m->rng, 200); break;
    case 7: op_image(m, s); break;
    case 8: sweep(m); break;
    default: op_set(m, k, s); break;
    }
    compare(m, m->w.ks.db, key);
}

static void check_counts(struct model *m)
{
    struct world *w = &m->w;
    for (int db = 0; db < 2; db++) {
        size_t keys = 0, with_ttl = 0, expires = 0;
        for (int key = 0; key < KEYS; key++) {
            compare(m, db, key);
            const struct model_key *k = &m->keys[db][key];
            keys += live(m, k);
            with_ttl += live(m, k) && k->expire != EXPIRE_NONE;
        }
        for (uint32_t i = 0; i < w->count; i++)
            expires += shard_db_expires(w->shards[i], (db_id)db);
        cr_assert_eq(ks_db_keys(&w->ks, (db_id)db), keys);
        cr_assert_eq(expires, with_ttl);
    }
}

static void run(uint32_t shards, uint64_t seed, int steps)
{
    struct model *m = mem_zalloc(sizeof(*m));
    world_init(&m->w, shards);
    world_init(&m->scratch, 1);
    rng_seed(&m->rng, seed);
    for (int i = 0; i < steps; i++) {
        step(m);
        if (i % 1000 == 0) check_counts(m);
    }
    check_counts(m);
    for (int db = 0; db < 2; db++) {
        char name[1200];
        m->w.ks.db = (db_id)db;
        for (int key = 0; key < KEYS; key++) (void)ks_delete(&m->w.ks, name_of(key, name), true);
        (void)ks_flush_db(&m->w.ks, (db_id)db, false);
    }
    world_free_pending(&m->w);
    cr_assert_eq(world_bytes(&m->w), 0);
    world_deinit(&m->w);
    world_deinit(&m->scratch);
    mem_free(m);
}

Test(model, one_shard)
{
    for (uint64_t seed = 1; seed <= 10; seed++) run(1, seed, 10000);
}

Test(model, five_shards)
{
    for (uint64_t seed = 11; seed <= 20; seed++) run(5, seed, 10000);
}
