/* Effects are kept as RESP, one after the other; call.h states them with or without a consumer. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "splitring/base/mem.h"
#include "splitring/cmd/call.h"
#include "splitring/cmd/effects.h"

static void expect(struct slice s, const char *text)
{
    cr_assert(slice_equal(s, slice_str(text)), "%.*s", (int)s.len, s.ptr);
}

Test(effects, list)
{
    struct effects e;
    effects_init(&e);
    cr_assert_eq(effects_count(&e), 0);
    struct slice set[] = {SLICE("SET"), SLICE("k"), SLICE("")};
    for (int i = 0; i < 100; i++) effects_add(&e, 3, set);
    struct slice del[] = {SLICE("DEL"), SLICE("0123456789")};
    effects_add(&e, 2, del);
    cr_assert_eq(effects_count(&e), 101);
    expect(effects_at(&e, 0), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    expect(effects_at(&e, 99), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    expect(effects_at(&e, 100), "*2\r\n$3\r\nDEL\r\n$10\r\n0123456789\r\n");
    effects_clear(&e);
    cr_assert_eq(effects_count(&e), 0);
    effects_add(&e, 1, del);
    expect(effects_at(&e, 0), "*1\r\n$3\r\nDEL\r\n");
    cr_assert_not(effects_failed(&e));
    effects_deinit(&e);
}

Test(effects, stated_by_a_call)
{
    struct effects e;
    effects_init(&e);
    struct slice argv[] = {SLICE("INCRBY"), SLICE("k"), SLICE("5")};
    struct call c = {.argv = argv, .argc = 3, .effects = &e};
    effect_verbatim(&c);
    char number[21];
    EFFECT(&c, SLICE("SET"), argv[1], effect_int(number, INT64_MIN));
    expect(effects_at(&e, 0), "*3\r\n$6\r\nINCRBY\r\n$1\r\nk\r\n$1\r\n5\r\n");
    expect(effects_at(&e, 1), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20\r\n-9223372036854775808\r\n");
    c.effects = NULL;
    effect_verbatim(&c);
    cr_assert_eq(effects_count(&e), 2);
    effects_deinit(&e);
}

Test(call, numbers)
{
    struct buf out = {0};
    struct slice argv[] = {SLICE("x"), SLICE("12"), SLICE("1x")};
    struct call c = {.argv = argv, .argc = 3, .reply = {.out = &out, .proto = 2}};
    int64_t value;
    cr_assert(call_int(&c, 1, &value));
    cr_assert_eq(value, 12);
    cr_assert(call_int_range(&c, 1, 0, 12, &value, ERR_SYNTAX));
    cr_assert_eq(out.len, 0);
    cr_assert_not(call_int(&c, 2, &value));
    expect(buf_slice(&out), "-ERR value is not an integer or out of range\r\n");
    out.len = 0;
    cr_assert_not(call_int_range(&c, 1, 0, 11, &value, ERR_SYNTAX));
    cr_assert_not(call_int_or(&c, 2, &value, ERR_SYNTAX));
    expect(buf_slice(&out), "-ERR syntax error\r\n-ERR syntax error\r\n");
    buf_deinit(&out);
}

Test(call, blobs)
{
    struct blob *blob = mem_alloc(sizeof(*blob) + 1);
    *blob = (struct blob){.len = 1, .cap = 1};
    struct arg args[] = {{"x", 1, NULL}, {blob->data, 1, blob}};
    struct call c = {.argc = 2, .args = args};
    cr_assert_null(call_take_blob(&c, 0));
    cr_assert_eq(call_take_blob(&c, 1), blob);
    cr_assert_null(call_take_blob(&c, 1));
    c.args = NULL;
    cr_assert_null(call_take_blob(&c, 1));
    mem_free(blob);
}
