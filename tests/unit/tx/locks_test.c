/* The lock table, rule by rule: who is granted, who is refused, who waits for whom. */
#include <criterion/criterion.h>

#include "fixture.h"
#include "splitring/base/mem.h"

Test(locks, readers_share_writers_do_not)
{
    struct table t;
    struct ask *a, *b, *c;
    table_init(&t);
    cr_assert(!locks_active(t.locks));
    cr_assert(try(&t, "x", &a));
    cr_assert(try(&t, "x", &b));
    cr_assert(locks_active(t.locks));
    cr_assert(!try(&t, "x!", NULL));
    cr_assert(try(&t, "y!", &c));
    cr_assert(!try(&t, "y", NULL));
    cr_assert_str_eq(leave(&t, a), "");
    cr_assert(!try(&t, "x!", NULL), "the second reader is still there");
    cr_assert_str_eq(leave(&t, b), "");
    cr_assert(try(&t, "x!", &a));
    leave(&t, a);
    leave(&t, c);
    cr_assert(!locks_active(t.locks));
    table_deinit(&t);
}

Test(locks, whole_or_not_at_all)
{
    struct table t;
    struct ask *a, *b;
    table_init(&t);
    cr_assert(try(&t, "b!", &a));
    cr_assert(!try(&t, "a! b! c!", NULL));
    cr_assert(try(&t, "a! c!", &b), "a refused try has left nothing behind");
    leave(&t, b);
    cr_assert(!enter(&t, "a! b! c!", &b));
    cr_assert(!try(&t, "a", NULL), "it has a place on its free keys too");
    cr_assert_str_eq(leave(&t, a), b->name);
    leave(&t, b);
    table_deinit(&t);
}

Test(locks, no_overtaking_on_a_free_key)
{
    struct table t;
    struct ask *holder, *waiter, *later, *reader;
    table_init(&t);
    cr_assert(try(&t, "a!", &holder));
    cr_assert(!enter(&t, "a! b!", &waiter));
    cr_assert(!try(&t, "b", NULL), "b is free, but someone before wants it");
    cr_assert(!unit_may_run(&t, "b"));
    cr_assert(!unit_may_run(&t, "b!"));
    cr_assert(unit_may_run(&t, "c!"));
    cr_assert(!enter(&t, "b", &later));
    cr_assert(try(&t, "c", &reader));
    cr_assert_str_eq(leave(&t, holder), "B");
    cr_assert_eq(waiter->request.state, LOCK_HELD);
    cr_assert_eq(later->request.state, LOCK_WAITING);
    cr_assert_str_eq(leave(&t, waiter), later->name);
    leave(&t, later);
    leave(&t, reader);
    table_deinit(&t);
}

Test(locks, readers_wait_behind_a_waiting_writer)
{
    struct table t;
    struct ask *r1, *w, *r2, *r3;
    table_init(&t);
    cr_assert(enter(&t, "x", &r1));
    cr_assert(!enter(&t, "x!", &w));
    cr_assert(!enter(&t, "x", &r2), "else a stream of readers starves the writer");
    cr_assert(!enter(&t, "x", &r3));
    cr_assert_str_eq(leave(&t, r1), "B");
    cr_assert_str_eq(leave(&t, w), "CD", "both readers at once");
    leave(&t, r2);
    leave(&t, r3);
    table_deinit(&t);
}

Test(locks, a_waiter_leaves)
{
    struct table t;
    struct ask *a, *b, *c;
    table_init(&t);
    cr_assert(enter(&t, "x", &a));
    cr_assert(!enter(&t, "x! y", &b));
    cr_assert(!enter(&t, "x y!", &c));
    cr_assert_str_eq(leave(&t, b), "C", "what it stood in the way of goes on");
    leave(&t, a);
    leave(&t, c);
    table_deinit(&t);
}

/* Granted, its callback not yet run, and already given up. */
Test(locks, released_between_grant_and_callback)
{
    struct table t;
    struct ask *a, *b, *c;
    table_init(&t);
    cr_assert(enter(&t, "x!", &a));
    cr_assert(!enter(&t, "x!", &b));
    cr_assert(!enter(&t, "x!", &c));
    locks_release(t.locks, &a->request);
    cr_assert_eq(b->request.state, LOCK_HELD);
    cr_assert_str_eq(leave(&t, b), "C", "b is not called back");
    leave(&t, c);
    table_deinit(&t);
}

static void leave_at_once(struct table *t, struct ask *a)
{
    locks_release(t->locks, &a->request);
}

Test(locks, callbacks_may_release)
{
    struct table t;
    struct ask *a;
    table_init(&t);
    cr_assert(enter(&t, "x!", &a));
    for (int i = 0; i < 20; i++) cr_assert(!enter(&t, i % 3 ? "x!" : "x", NULL));
    t.on_granted = leave_at_once;
    cr_assert_str_eq(leave(&t, a), "BCDEFGHIJKLMNOPQRSTU");
    cr_assert(!locks_active(t.locks));
    table_deinit(&t);
}

Test(locks, whole_shard)
{
    struct table t;
    struct ask *reader, *writer, *all_read, *all_write, *late;
    table_init(&t);
    cr_assert(enter(&t, "a", &reader));
    cr_assert(enter(&t, "*", &all_read), "DBSIZE beside a reader");
    cr_assert(unit_may_run(&t, "b") && !unit_may_run(&t, "b!"));
    cr_assert(unit_may_run(&t, ""), "SCAN beside DBSIZE");
    cr_assert(!enter(&t, "b!", &writer), "any key is one of all keys");
    cr_assert(!enter(&t, "*!", &all_write));
    cr_assert(!unit_may_run(&t, "") && !unit_may_run(&t, "c"), "FLUSHALL is waiting");
    cr_assert(!enter(&t, "c", &late));
    cr_assert_str_eq(leave(&t, reader), "");
    cr_assert_str_eq(leave(&t, all_read), writer->name);
    cr_assert_str_eq(leave(&t, writer), all_write->name);
    cr_assert(!try(&t, "c", NULL) && !try(&t, "*", NULL));
    cr_assert_str_eq(leave(&t, all_write), late->name);
    leave(&t, late);
    cr_assert(try(&t, "*!", &all_write));
    leave(&t, all_write);
    table_deinit(&t);
}

Test(locks, doubles_become_one_in_the_stronger_mode)
{
    struct table t;
    struct ask *a, *b;
    table_init(&t);
    cr_assert(enter(&t, "x x! y x y", &a), "it does not wait for itself");
    cr_assert_eq(a->request.count, 3);
    cr_assert(!try(&t, "x", NULL));
    cr_assert(try(&t, "y", &b));
    leave(&t, b);
    cr_assert(!enter(&t, "y!", &b));
    cr_assert_str_eq(leave(&t, a), b->name);
    leave(&t, b);
    cr_assert(locks_try(t.locks, &a->request), "and it may come again");
    leave(&t, a);
    table_deinit(&t);
}

static struct lock_node *many(struct lock_request *r, uint64_t first, unsigned count,
                              unsigned doubled)
{
    struct lock_node *nodes = mem_alloc(lock_nodes_bytes(count * doubled));
    lock_request_init(r, nodes);
    for (unsigned d = 0; d < doubled; d++)
        for (unsigned i = 0; i < count; i++)
            lock_request_add(r, first + i * 0x10001ull, d == 1 ? LOCK_EXCLUSIVE : LOCK_SHARED);
    return nodes;
}

/* DEL of a hundred thousand keys twice over: neither quadratic nor a table of long chains. */
Test(locks, a_large_request, .timeout = 60)
{
    enum { KEYS = 100000 };
    struct locks *locks = locks_new();
    struct lock_request a = {0}, b = {0}, c = {0};
    uint64_t last = 1 + 0x10001ull * (KEYS - 1);
    struct lock_node *nodes[] = {many(&a, 1, KEYS, 2), many(&b, last, KEYS, 1),
                                 many(&c, last + 0x10001ull, KEYS, 1)};
    cr_assert(locks_try(locks, &a));
    cr_assert_eq(a.count, KEYS + 1);
    cr_assert(!locks_try(locks, &b), "the last of a is the first of b");
    cr_assert(locks_acquire(locks, &c));
    cr_assert(!locks_key_free(locks, 1 + 0x10001ull * 77777, LOCK_SHARED));
    cr_assert(locks_key_free(locks, 2, LOCK_EXCLUSIVE));
    locks_release(locks, &a);
    cr_assert(locks_try(locks, &b), "b and c are readers");
    locks_release(locks, &b);
    locks_release(locks, &c);
    cr_assert(!locks_active(locks));
    for (size_t i = 0; i < ARRAY_COUNT(nodes); i++) mem_free(nodes[i]);
    locks_free(locks);
}

Test(locks, statistics)
{
    struct table t;
    struct ask *a, *b;
    table_init(&t);
    cr_assert(try(&t, "x!", &a));
    cr_assert(!try(&t, "x", NULL));
    cr_assert(!enter(&t, "x", &b));
    const struct locks_stats *stats = locks_stats_of(t.locks);
    cr_assert_eq(stats->active, 2);
    leave(&t, a);
    leave(&t, b);
    cr_assert(stats->active == 0 && stats->granted == 2);
    cr_assert(stats->refused == 1 && stats->waited == 1);
    table_deinit(&t);
}

Test(locks, databases_have_their_own_keys)
{
    cr_assert_neq(lock_key_id(0, 42), lock_key_id(1, 42));
    cr_assert_neq(lock_key_id(0, 0x9E3779B97F4A7C15u), 0u, "0 is the shard itself");
}
