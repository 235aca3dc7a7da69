/* Hashes below the commands: random operations against a plain model while time passes, fields
 * expire, keys are copied and swept; then the bounds of sweeping and freeing. */
#include <criterion/criterion.h>

#include "splitring/keyspace/events.h"
#include "splitring/keyspace/hash.h"
#include "world.h"

#define KEYS 4u
#define FIELDS 40u
#define VALUE_MAX 3000u

/* ---- the model ---- */

struct model_field {
    bool present;
    size_t len; /* of the value, which is made of one letter */
    char letter;
    instant_ms expire;
};

struct play {
    struct world w;
    struct rng rng;
    struct hash_limits limits;
    struct model_field model[KEYS][FIELDS];
    uint64_t told, deleted; /* fields that expired; events "del" */
    /* What a walk looks for. */
    unsigned key;
    size_t seen;
};

static unsigned pick(struct play *p, unsigned limit) { return (unsigned)rng_below(&p->rng, limit); }

static struct slice key_name(char *out, unsigned key)
{
    return slice_of(out, (size_t)sprintf(out, "key:%u", key));
}

/* Numbers, short and long names. */
static struct slice field_text(char *out, unsigned field)
{
    const char *form = field % 3 == 0 ? "%u000" : field % 7 == 1 ? "%0300u" : "field:%u";
    return slice_of(out, (size_t)sprintf(out, form, field));
}

static unsigned field_number(struct slice text)
{
    char name[320];
    for (unsigned i = 0; i < FIELDS; i++) {
        if (slice_equal(text, field_text(name, i))) return i;
    }
    cr_assert_fail("unknown field");
    return 0;
}

static bool live(const struct play *p, const struct model_field *f)
{
    return f->present && f->expire >= p->w.ks.now;
}

static void field_gone(void *ctx, struct shard *shard, db_id db, struct slice key,
                       struct slice field)
{
    (void)shard, (void)db;
    struct play *p = ctx;
    struct model_field *f = &p->model[key.ptr[4] - '0'][field_number(field)];
    cr_assert(f->present && f->expire < p->w.ks.now);
    f->present = false;
    p->told++;
}

static void heard(void *ctx, struct shard *shard, db_id db, uint32_t class, const char *event,
                  struct slice key)
{
    (void)shard, (void)db, (void)class;
    struct play *p = ctx;
    if (strcmp(event, "del") == 0) {
        for (unsigned i = 0; i < FIELDS; i++) cr_assert(!p->model[key.ptr[4] - '0'][i].present);
        p->deleted++;
    }
}

static struct hash open_hash(struct play *p, char *name, unsigned key)
{
    struct slice text = key_name(name, key);
    return hash_open(&p->w.ks, text, ks_edit(&p->w.ks, text), p->limits);
}

static void drop_if_empty(struct play *p, struct hash *h)
{
    if (h->entry && hash_count(h->entry) == 0) cr_assert(ks_delete(&p->w.ks, h->key, false));
}

static instant_ms some_expiry(struct play *p)
{
    return pick(p, 3) ? p->w.ks.now + 1 + pick(p, 2000) : EXPIRE_NONE;
}

static void do_set(struct play *p, unsigned key, unsigned field)
{
    static char bytes[VALUE_MAX];
    char name[16], text[320];
    struct hash h = open_hash(p, name, key);
    struct model_field *f = &p->model[key][field];
    size_t len = pick(p, 10) ? pick(p, 12) : pick(p, VALUE_MAX);
    char letter = (char)('0' + pick(p, 60));
    memset(bytes, letter, len);
    instant_ms expire = pick(p, 3) == 0 ? EXPIRE_KEEP : some_expiry(p);
    bool was = live(p, f);
    instant_ms kept = was ? f->expire : EXPIRE_NONE;
    int status = hash_set(&h, field_text(text, field), slice_of(bytes, len), expire);
    cr_assert_eq(status, was ? HASH_SET_UPDATED : HASH_SET_CREATED);
    *f = (struct model_field){
        true, len, letter, expire == EXPIRE_KEEP ? kept : expire};
}

static void do_find(struct play *p, unsigned key, unsigned field)
{
    char name[16], text[320];
    struct hash h = open_hash(p, name, key);
    struct hash_item item;
    const struct model_field *f = &p->model[key][field];
    bool was = live(p, f);
    cr_assert_eq(hash_find(&h, field_text(text, field), &item), was);
    if (!was) return;
    cr_assert_eq(item.expire, f->expire);
    cr_assert_eq(item.value.len, f->len);
    if (f->len) cr_assert_eq(item.value.ptr[f->len - 1], f->letter);
}

static void do_remove(struct play *p, unsigned key, unsigned field)
{
    char name[16], text[320];
    struct hash h = open_hash(p, name, key);
    bool was = live(p, &p->model[key][field]);
    cr_assert_eq(hash_remove(&h, field_text(text, field)), was);
    p->model[key][field].present = false;
    drop_if_empty(p, &h);
}

static void do_expiry(struct play *p, unsigned key, unsigned field)
{
    char name[16], text[320];
    struct hash h = open_hash(p, name, key);
    struct hash_item item;
    if (!hash_find(&h, field_text(text, field), &item)) return;
    instant_ms expire = some_expiry(p);
    cr_assert_eq(hash_set_expiry(&h, field_text(text, field), expire), 0);
    p->model[key][field].expire = expire;
}

static void do_copy(struct play *p, unsigned key, unsigned other)
{
    char name[16], to[16];
    struct slice from = key_name(name, key);
    if (key == other || !ks_peek(&p->w.ks, from)) return;
    if (pick(p, 2)) {
        cr_assert_eq(ks_copy(&p->w.ks, from, 0, key_name(to, other)), 0);
        memcpy(p->model[other], p->model[key], sizeof(p->model[key]));
    } else {
        cr_assert_eq(ks_move(&p->w.ks, from, 0, key_name(to, other)), 0);
        memcpy(p->model[other], p->model[key], sizeof(p->model[key]));
        memset(p->model[key], 0, sizeof(p->model[key]));
    }
}

static void do_image(struct play *p, unsigned key)
{
    char name[16];
    struct slice text = key_name(name, key);
    struct buf image = {0};
    ks_image_write(&p->w.ks, text, &image);
    (void)ks_delete(&p->w.ks, text, true);
    cr_assert_eq(ks_image_put(&p->w.ks, text, buf_slice(&image)), 0);
    buf_deinit(&image);
}

static void sweep(struct play *p, size_t budget)
{
    struct expire_sink sink = {.field_expired = field_gone, .ctx = p};
    for (uint32_t i = 0; i < p->w.count; i++)
        (void)shard_sweep(p->w.shards[i], p->w.ks.now, budget, &sink);
}

/* ---- comparing ---- */

static void compare_field(void *ctx, const struct hash_item *item)
{
    struct play *p = ctx;
    const struct model_field *f = &p->model[p->key][field_number(item->field)];
    cr_assert(live(p, f));
    cr_assert_eq(item->expire, f->expire);
    cr_assert_eq(item->value.len, f->len);
    for (size_t i = 0; i < f->len; i++) cr_assert_eq(item->value.ptr[i], f->letter);
    p->seen++;
}

static bool compare_drawn(void *ctx, const struct hash_item *item)
{
    compare_field(ctx, item);
    return true;
}

static void compare(struct play *p, unsigned key)
{
    char name[16];
    struct hash h = open_hash(p, name, key);
    size_t lives = 0, present = 0;
    instant_ms lowest = EXPIRE_NONE;
    for (unsigned i = 0; i < FIELDS; i++) {
        const struct model_field *f = &p->model[key][i];
        lives += live(p, f);
        present += f->present;
        if (f->present && f->expire < lowest) lowest = f->expire;
    }
    p->key = key;
    p->seen = 0;
    hash_each_live(&h, compare_field, p);
    cr_assert_eq(p->seen, lives);
    cr_assert_eq(hash_count_live(&h), lives);
    cr_assert_eq(h.entry ? hash_count(h.entry) : 0, present);
    if (!h.entry) return;
    cr_assert_leq(hash_next_expiry(h.entry), lowest);
    if (lowest != EXPIRE_NONE)
        cr_assert_leq(shard_expiry_min(ks_shard_of(&p->w.ks, h.key)), lowest + 1);
    p->seen = 0;
    cr_assert(hash_random_distinct(&h, 5, &p->rng, compare_drawn, p));
    cr_assert_eq(p->seen, lives < 5 ? lives : 5);
    p->seen = 0;
    cr_assert(hash_random_repeat(&h, 7, &p->rng, compare_drawn, p));
    cr_assert_eq(p->seen, lives ? 7 : 0);
}

static void step(struct play *p)
{
    unsigned key = pick(p, KEYS), field = pick(p, FIELDS), what = pick(p, 100);
    if (pick(p, 20) == 0) p->w.ks.now += pick(p, 300);
    if (what < 40) do_set(p, key, field);
    else if (what < 60) do_find(p, key, field);
    else if (what < 75) do_remove(p, key, field);
    else if (what < 90) do_expiry(p, key, field);
    else if (what < 92) do_copy(p, key, pick(p, KEYS));
    else if (what < 94) do_image(p, key);
    else if (what < 97) sweep(p, pick(p, 2000));
    else compare(p, key);
}

static void play(uint64_t seed)
{
    static const uint64_t entries[] = {0, 3, 16, 512}, values[] = {4, 64, 10000};
    struct play *p = mem_zalloc(sizeof(*p));
    world_init(&p->w, 1 + (uint32_t)(seed % 2) * 2);
    struct expire_sink sink = {.field_expired = field_gone, .ctx = p};
    struct event_sink events = {.event = heard, .ctx = p};
    uint64_t empty = world_bytes(&p->w);
    for (uint32_t i = 0; i < p->w.count; i++) {
        shard_set_expire_sink(p->w.shards[i], &sink);
        shard_set_events(p->w.shards[i], EVENT_GENERIC | EVENT_HASH, &events);
    }
    rng_seed(&p->rng, seed);
    p->limits = (struct hash_limits){entries[seed % 4], values[seed / 4 % 3]};
    for (int i = 0; i < 3000; i++) step(p);
    for (unsigned key = 0; key < KEYS; key++) compare(p, key);
    /* Everything that ever expires is swept; what remains has no expiry. */
    p->w.ks.now += 10000;
    for (int i = 0; i < 100; i++) sweep(p, 100000);
    for (unsigned key = 0; key < KEYS; key++) compare(p, key);
    for (unsigned i = 0; i < KEYS * FIELDS; i++) {
        const struct model_field *f = &p->model[i / FIELDS][i % FIELDS];
        cr_assert(!f->present || f->expire == EXPIRE_NONE);
    }
    (void)ks_flush_db(&p->w.ks, 0, false);
    world_free_pending(&p->w);
    cr_assert_eq(world_bytes(&p->w), empty);
    world_deinit(&p->w);
    mem_free(p);
}

Test(hash, agrees_with_a_model, .timeout = 200)
{
    for (uint64_t seed = 1; seed <= 120; seed++) play(seed);
}

/* ---- bounds ---- */

static void fill(struct hash *h, unsigned count, instant_ms expire)
{
    char name[24];
    for (unsigned i = 0; i < count; i++) {
        struct slice field = slice_of(name, (size_t)sprintf(name, "field:%u", i));
        cr_assert_geq(hash_set(h, field, SLICE("value"), expire), 0);
    }
}

static struct hash big_hash(struct world *w, const char *key, unsigned count, instant_ms expire)
{
    struct hash h = hash_open(&w->ks, slice_str(key), NULL, (struct hash_limits){512, 64});
    fill(&h, count, expire);
    return h;
}

static bool locked_k(void *ctx, struct shard *shard, db_id db, struct slice key, uint64_t hash)
{
    (void)shard, (void)db, (void)hash;
    return *(bool *)ctx && slice_equal(key, SLICE("k"));
}

Test(hash, fields_are_swept_in_bounded_steps)
{
    struct world w;
    world_init(&w, 1);
    struct hash h = big_hash(&w, "k", 100000, w.ks.now + 50);
    struct hash small = hash_open(&w.ks, SLICE("s"), NULL, (struct hash_limits){512, 64});
    fill(&small, 300, w.ks.now + 50);
    cr_assert_geq(hash_set(&small, SLICE("stays"), SLICE("1"), EXPIRE_NONE), 0);
    cr_assert_eq(shard_db_expires(w.shards[0], 0), 0);
    bool locked = true;
    struct expire_sink sink = {.locked = locked_k, .ctx = &locked};
    w.ks.now += 51;
    for (int i = 0; i < 100; i++) (void)shard_sweep(w.shards[0], w.ks.now, 1000, &sink);
    cr_assert_eq(hash_count(h.entry), 100000);
    cr_assert_eq(hash_count(ks_peek(&w.ks, SLICE("s"))), 1);
    locked = false;
    size_t left = 100000, largest = 0, steps = 0;
    while (shard_sweep(w.shards[0], w.ks.now, 1000, &sink) > 0 && steps++ < 100000) {
        const struct entry *e = ks_peek(&w.ks, SLICE("k"));
        size_t now = e ? hash_count(e) : 0;
        if (left - now > largest) largest = left - now;
        left = now;
    }
    cr_assert_eq(left, 0);
    cr_assert_leq(largest, 2048);
    cr_assert_eq(ks_db_keys(&w.ks, 0), 1);
    cr_assert_eq(shard_stats_of(w.shards[0])->expired_fields, 100300);
    cr_assert_eq(shard_expiry_min(w.shards[0]), EXPIRE_NONE);
    world_deinit(&w);
}

Test(hash, large_ones_are_freed_in_slices)
{
    struct world w;
    world_init(&w, 1);
    uint64_t empty = world_bytes(&w);
    (void)big_hash(&w, "k", 200000, EXPIRE_NONE);
    cr_assert(ks_delete(&w.ks, SLICE("k"), false));
    size_t steps = 0, done;
    while ((done = shard_free_step(w.shards[0], 500)) > 0) {
        cr_assert_leq(done, 600);
        steps++;
    }
    cr_assert_geq(steps, 300);
    cr_assert_leq(world_bytes(&w), empty + 4096); /* the database's own table */
    world_deinit(&w);
}

/* A scan during which the hash grows and shrinks sees what was there all the time. */
static void mark(void *ctx, const struct hash_item *item)
{
    int64_t number;
    if (num_parse_i64(item->field, &number)) ((bool *)ctx)[number] = true;
}

Test(hash, scan_sees_what_stays)
{
    struct world w;
    world_init(&w, 1);
    struct hash h = hash_open(&w.ks, SLICE("k"), NULL, (struct hash_limits){16, 64});
    char name[24];
    bool seen[2000] = {false};
    for (int i = 0; i < 2000; i++)
        cr_assert_geq(hash_set(&h, slice_of(name, (size_t)sprintf(name, "%d", i)), SLICE("v"),
                               EXPIRE_NONE), 0);
    uint64_t cursor = 0;
    unsigned round = 0;
    do {
        cursor = hash_scan(&h, cursor, 10, mark, seen);
        if (round < 60) fill(&h, 200 * ++round, EXPIRE_NONE);
        for (unsigned i = 0; round == 60 && i < 12000; i++)
            (void)hash_remove(&h, slice_of(name, (size_t)sprintf(name, "field:%u", i)));
        if (round == 60) round++;
    } while (cursor != 0);
    for (int i = 0; i < 2000; i++) cr_assert(seen[i]);
    world_deinit(&w);
}
