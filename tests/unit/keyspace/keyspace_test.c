/* Entries one by one: sizes, encodings, in-place writes, TTL, recency, views of several shards. */
#include <criterion/criterion.h>

#include "world.h"

static const char *encoding(struct world *w, const char *key)
{
    const struct entry *e = ks_peek(&w->ks, slice_str(key));
    return e ? entry_encoding(e) : "(nil)";
}

#define SLOT 8u
static size_t block_of(struct world *w, const char *key)
{
    return entry_bytes(ks_peek(&w->ks, slice_str(key))) - SLOT;
}

Test(keyspace, sizes)
{
    struct world w;
    world_init(&w, 1);
    world_set(&w, "0123456789abcdef", "0123456789abcdef0123456789abcdeX", EXPIRE_NONE);
    cr_assert_eq(block_of(&w, "0123456789abcdef"), 56);
    int rc = ks_set_expiry(&w.ks, SLICE("0123456789abcdef"), w.ks.now + 1000);
    cr_assert_eq(rc, 0);
    cr_assert_eq(block_of(&w, "0123456789abcdef"), 64);
    rc = ks_set_expiry(&w.ks, SLICE("0123456789abcdef"), EXPIRE_NONE);
    cr_assert_eq(rc, 0);
    cr_assert_eq(block_of(&w, "0123456789abcdef"), 56);
    world_set(&w, "0123456789abcdef", "9223372036854775807", EXPIRE_NONE);
    cr_assert_eq(block_of(&w, "0123456789abcdef"), 32);
    world_set(&w, "01234567890", "-30000", EXPIRE_NONE); /* 8 + 11 + 2 */
    cr_assert_eq(block_of(&w, "01234567890"), 24);
    world_deinit(&w);
}

Test(keyspace, encodings_as_redis)
{
    struct world w;
    world_init(&w, 1);
    char text[2001];
    memset(text, 'x', sizeof(text));
    const struct {
        size_t len;
        const char *name;
    } cases[] = {{0, "embstr"}, {1, "embstr"}, {44, "embstr"}, {45, "raw"}, {2000, "raw"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int rc = ks_set_string(&w.ks, SLICE("k"), slice_of(text, cases[i].len), EXPIRE_NONE);
        cr_assert_eq(rc, 0);
        cr_assert_str_eq(encoding(&w, "k"), cases[i].name);
        cr_assert_eq(strlen(world_get(&w, "k")), cases[i].len);
    }
    world_set(&w, "k", "123", EXPIRE_NONE);
    cr_assert_str_eq(encoding(&w, "k"), "int");
    world_set(&w, "k", "0123", EXPIRE_NONE);
    cr_assert_str_eq(encoding(&w, "k"), "embstr");
    int rc = ks_set_text(&w.ks, SLICE("k"), SLICE("123"), EXPIRE_NONE);
    cr_assert_eq(rc, 0);
    cr_assert_str_eq(encoding(&w, "k"), "embstr");
    rc = ks_set_blob(&w.ks, SLICE("k"), world_blob(3, 'b'), EXPIRE_NONE);
    cr_assert_eq(rc, 0);
    cr_assert_str_eq(encoding(&w, "k"), "raw");
    cr_assert_str_eq(world_get(&w, "k"), "bbb");
    world_deinit(&w);
}

Test(keyspace, integers_of_all_widths)
{
    struct world w;
    world_init(&w, 1);
    for (size_t key_len = 0; key_len < 20; key_len++) {
        char key[21] = "kkkkkkkkkkkkkkkkkkkk";
        key[key_len] = '\0';
        for (unsigned bit = 0; bit < 64; bit++) {
            for (int step = -2; step <= 2; step++) {
                int64_t value = (int64_t)((uint64_t)1 << bit) + (bit == 63 && step < 0 ? 0 : step);
                for (int sign = 0; sign < 2; sign++, value = (int64_t)(0 - (uint64_t)value)) {
                    int64_t read = 0;
                    int rc = ks_set_int(&w.ks, slice_str(key), value, EXPIRE_NONE);
                    cr_assert_eq(rc, 0);
                    cr_assert(entry_is_int(ks_peek(&w.ks, slice_str(key)), &read));
                    cr_assert_eq(read, value);
                    struct slice k = entry_key(ks_peek(&w.ks, slice_str(key)));
                    cr_assert(slice_equal(k, slice_str(key)));
                }
            }
        }
    }
    world_deinit(&w);
}

Test(keyspace, room_grows_and_zeroes)
{
    struct world w;
    world_init(&w, 1);
    world_set(&w, "k", "12", w.ks.now + 500);
    char *text = ks_string_room(&w.ks, SLICE("k"), 4);
    cr_assert_eq(memcmp(text, "12\0\0", 4), 0);
    cr_assert_str_eq(encoding(&w, "k"), "raw");
    cr_assert_eq(entry_expiry(ks_peek(&w.ks, SLICE("k"))), w.ks.now + 500);
    size_t len = 4;
    for (int i = 0; i < 3000; i++) {
        text = ks_string_room(&w.ks, SLICE("k"), len + 1);
        cr_assert_eq(text[len], '\0');
        text[len++] = (char)('a' + i % 26);
    }
    char scratch[ENTRY_SCRATCH];
    struct slice s = entry_string(ks_peek(&w.ks, SLICE("k")), scratch);
    cr_assert_eq(s.len, len);
    for (int i = 0; i < 3000; i++) cr_assert_eq(s.ptr[4 + i], (char)('a' + i % 26));
    text = ks_string_room(&w.ks, SLICE("k"), 1); /* never shorter */
    cr_assert_eq(text[2999], 'a' + 2995 % 26);
    text = ks_string_room(&w.ks, SLICE("new"), 0);
    cr_assert_not_null(text);
    cr_assert_str_eq(world_get(&w, "new"), "");
    world_deinit(&w);
}

Test(keyspace, room_far_ahead)
{
    struct world w;
    world_init(&w, 1);
    static const size_t lens[] = {10, 900, 100000, 100001, 700000, 64u << 20, (64u << 20) + 1};
    for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
        char *text = ks_string_room(&w.ks, SLICE("k"), lens[i]);
        cr_assert_not_null(text);
        for (size_t k = 0; k < i; k++) cr_assert_eq(text[lens[k] - 1], (char)('a' + k));
        if (i) cr_assert_eq(text[lens[i - 1]], '\0');
        cr_assert_eq(text[lens[i] - 1], '\0');
        text[lens[i] - 1] = (char)('a' + i);
    }
    cr_assert(ks_delete(&w.ks, SLICE("k"), true));
    world_free_pending(&w);
    cr_assert_eq(ks_flush_db(&w.ks, 0, false), 0);
    cr_assert_eq(world_bytes(&w), 0);
    world_deinit(&w);
}

Test(keyspace, lazy_expiry)
{
    struct world w;
    world_init(&w, 1);
    world_set(&w, "k", "v", w.ks.now + 10);
    cr_assert_eq(shard_db_expires(w.shards[0], 0), 1);
    w.ks.now += 10;
    cr_assert_str_eq(world_get(&w, "k"), "v", "at its very instant a key is still there");
    w.ks.now += 1;
    w.ks.flags = KS_LOGICAL;
    cr_assert_str_eq(world_get(&w, "k"), "(nil)");
    cr_assert_eq(ks_db_keys(&w.ks, 0), 1);
    w.ks.flags = 0;
    cr_assert_str_eq(world_get(&w, "k"), "(nil)");
    cr_assert_eq(ks_db_keys(&w.ks, 0), 0);
    cr_assert_eq(shard_db_expires(w.shards[0], 0), 0);
    cr_assert_eq(w.expired_told, 1);
    const struct shard_stats *stats = shard_stats_of(w.shards[0]);
    cr_assert_eq(stats->expired, 1);
    cr_assert_eq(stats->hits, 1);
    cr_assert_eq(stats->misses, 2);
    world_deinit(&w);
}

Test(keyspace, a_shards_clock_never_goes_back)
{
    struct world w;
    world_init(&w, 1);
    world_set(&w, "a", "1", w.ks.now + 10);
    world_set(&w, "b", "1", w.ks.now + 10);
    w.ks.now += 20;
    cr_assert_str_eq(world_get(&w, "a"), "(nil)");
    w.ks.now -= 20;
    cr_assert_str_eq(world_get(&w, "b"), "(nil)", "whoever saw a gone cannot see b there");
    world_deinit(&w);
}

Test(keyspace, overwriting_expired_keys)
{
    struct world w;
    world_init(&w, 1);
    world_set(&w, "k", "old", w.ks.now + 10);
    w.ks.now += 11;
    world_set(&w, "k", "new", EXPIRE_KEEP);
    cr_assert_eq(w.expired_told, 1);
    cr_assert_eq(entry_expiry(ks_peek(&w.ks, SLICE("k"))), EXPIRE_NONE);
    world_set(&w, "k", "old", w.ks.now + 10);
    w.ks.now += 11;
    w.ks.flags = KS_LOGICAL;
    world_set(&w, "k", "newer", EXPIRE_KEEP);
    cr_assert_eq(w.expired_told, 1);
    cr_assert_eq(entry_expiry(ks_peek(&w.ks, SLICE("k"))), EXPIRE_NONE);
    cr_assert_str_eq(world_get(&w, "k"), "newer");
    cr_assert_eq(shard_db_expires(w.shards[0], 0), 0);
    world_deinit(&w);
}

Test(keyspace, recency)
{
    struct world w;
    world_init(&w, 1);
    world_set(&w, "k", "v", EXPIRE_NONE);
    w.ks.now += 90000;
    cr_assert_eq(entry_idle_s(&w.ks, ks_peek(&w.ks, SLICE("k"))), 90);
    w.ks.flags = KS_NO_TOUCH;
    (void)ks_read(&w.ks, SLICE("k"));
    cr_assert_eq(entry_idle_s(&w.ks, ks_peek(&w.ks, SLICE("k"))), 90);
    w.ks.flags = 0;
    (void)ks_read(&w.ks, SLICE("k"));
    cr_assert_eq(entry_idle_s(&w.ks, ks_peek(&w.ks, SLICE("k"))), 0);

    shard_set_policy(w.shards[0], true, 10, 1);
    cr_assert(ks_lfu(&w.ks));
    world_set(&w, "f", "v", EXPIRE_NONE);
    cr_assert_eq(entry_freq(&w.ks, ks_peek(&w.ks, SLICE("f"))), 5);
    for (int i = 0; i < 1000; i++) (void)ks_read(&w.ks, SLICE("f"));
    uint8_t freq = entry_freq(&w.ks, ks_peek(&w.ks, SLICE("f")));
    cr_assert(freq > 10 && freq < 30, "%d after 1000 hits", freq);
    w.ks.now += 3 * 60000;
    cr_assert_eq(entry_freq(&w.ks, ks_peek(&w.ks, SLICE("f"))), freq - 3);
    world_deinit(&w);
}

Test(keyspace, long_keys)
{
    struct world w;
    world_init(&w, 1);
    uint64_t before = world_bytes(&w);
    for (size_t len = 250; len < 2500; len += 7) {
        char key[2500], value[1200];
        memset(key, 'k', sizeof(key));
        memset(value, 'v', sizeof(value));
        struct slice k = slice_of(key, len), v = slice_of(value, len / 3);
        int rc = ks_set_string(&w.ks, k, v, EXPIRE_NONE);
        cr_assert_eq(rc, 0);
        rc = ks_set_expiry(&w.ks, k, w.ks.now + (instant_ms)len);
        cr_assert_eq(rc, 0);
        char scratch[ENTRY_SCRATCH];
        const struct entry *e = ks_read(&w.ks, k);
        cr_assert(slice_equal(entry_key(e), k));
        cr_assert(slice_equal(entry_string(e, scratch), v));
        cr_assert_eq(entry_expiry(e), w.ks.now + (instant_ms)len);
        rc = ks_set_int(&w.ks, k, -5, EXPIRE_KEEP);
        cr_assert_eq(rc, 0);
        int64_t number;
        cr_assert(entry_is_int(ks_read(&w.ks, k), &number) && number == -5);
        if (len % 2) cr_assert(ks_delete(&w.ks, k, false));
    }
    cr_assert_gt(ks_flush_db(&w.ks, 0, false), 0);
    world_free_pending(&w);
    cr_assert_eq(world_bytes(&w), before);
    world_deinit(&w);
}

static void move_and_copy(uint32_t shards)
{
    struct world w;
    world_init(&w, shards);
    for (int big = 0; big < 2; big++) {
        int rc =
            ks_set_blob(&w.ks, SLICE("from"), world_blob(big ? 70000 : 30, 'x'), w.ks.now + 99);
        cr_assert_eq(rc, 0);
        world_set(&w, "to", "overwritten", EXPIRE_NONE);
        rc = ks_copy(&w.ks, SLICE("from"), 3, SLICE("copy"));
        cr_assert_eq(rc, 0);
        rc = ks_move(&w.ks, SLICE("from"), 0, SLICE("to"));
        cr_assert_eq(rc, 0);
        cr_assert_null(ks_peek(&w.ks, SLICE("from")));
        struct ks other = ks_in_db(&w.ks, 3);
        struct entry *moved = ks_peek(&w.ks, SLICE("to")), *copy = ks_peek(&other, SLICE("copy"));
        cr_assert(moved && copy && moved != copy);
        cr_assert_eq(entry_expiry(moved), w.ks.now + 99);
        cr_assert_eq(entry_expiry(copy), w.ks.now + 99);
        char scratch[ENTRY_SCRATCH];
        cr_assert(slice_equal(entry_string(moved, scratch), entry_string(copy, scratch)));
        cr_assert_eq(entry_string(moved, scratch).len, big ? 70000 : 30);
        cr_assert_str_eq(entry_encoding(copy), "raw");
    }
    cr_assert_eq(ks_flush_db(&w.ks, 0, true) + ks_flush_db(&w.ks, 3, true), 2);
    world_free_pending(&w);
    cr_assert_eq(world_bytes(&w), 0);
    world_deinit(&w);
}

Test(keyspace, move_and_copy_in_one_shard) { move_and_copy(1); }

Test(keyspace, move_and_copy_across_shards) { move_and_copy(8); }

Test(keyspace, hints_are_safe)
{
    struct world w;
    world_init(&w, 1);
    world_set(&w, "k", "one", EXPIRE_NONE);
    struct slice key = SLICE("k");
    w.ks.hash_key = key.ptr;
    w.ks.hash = hash_key(key, shard_seed(w.shards[0]));
    w.ks.hint = shard_prefetch_entry(w.shards[0], 0, w.ks.hash);
    cr_assert_not_null(ks_read(&w.ks, key));
    cr_assert_eq(ks_flush_db(&w.ks, 0, false), 1);
    cr_assert_null(ks_read(&w.ks, key));
    int rc = ks_set_string(&w.ks, key, SLICE("two"), EXPIRE_NONE);
    cr_assert_eq(rc, 0);
    char scratch[ENTRY_SCRATCH];
    cr_assert(slice_equal(entry_string(ks_read(&w.ks, key), scratch), SLICE("two")));
    struct ks other = ks_in_db(&w.ks, 1);
    cr_assert_null(ks_read(&other, key));
    world_deinit(&w);
}
