/* Payloads of FUNCTION DUMP: one of redis-server 7.0.15 to the byte, and what is none. */
#include <criterion/criterion.h>
#include <string.h>

#include "codec.h"
#include "splitring/base/mem.h"
#include "splitring/persist/functions.h"

#define TEXT "#!lua name=a\nredis.register_function('f',function() return 'a' end)"
#define PAYLOAD "\xf5\x40\x43" TEXT "\n\x00\x91\xc3\xb8p^VB)"
#define EMPTY "\n\x00]\x9b\\@\x0f\x7f\xa2\xda"

struct seen {
    struct slice expected[3];
    size_t count, stop_at;
};

static bool each(void *ctx, struct slice text)
{
    struct seen *seen = ctx;
    cr_assert_lt(seen->count, 3);
    cr_expect(slice_equal(text, seen->expected[seen->count]));
    return ++seen->count != seen->stop_at;
}

Test(functions, as_redis_writes_it)
{
    struct buf out = {0};
    struct slice text = SLICE(TEXT);
    struct seen seen = {.expected = {text}};
    rdb_dump_functions(&text, 1, true, &out);
    cr_expect(slice_equal(buf_slice(&out), SLICE(PAYLOAD)));
    cr_expect_eq(rdb_each_function(buf_slice(&out), each, &seen), 0);
    cr_expect_eq(seen.count, 1);
    out.len = 0;
    rdb_dump_functions(NULL, 0, true, &out);
    cr_expect(slice_equal(buf_slice(&out), SLICE(EMPTY)));
    cr_expect_eq(rdb_each_function(buf_slice(&out), each, &seen), 0);
    cr_expect_eq(seen.count, 1);
    buf_deinit(&out);
}

Test(functions, several_come_back)
{
    char large[5000];
    for (size_t i = 0; i < sizeof(large); i++) large[i] = (char)('a' + i % 7);
    struct slice texts[] = {SLICE(""), SLICE("12345"), {large, sizeof(large)}};
    for (int compress = 0; compress <= 1; compress++) {
        struct buf out = {0};
        struct seen seen = {.expected = {texts[0], texts[1], texts[2]}};
        rdb_dump_functions(texts, 3, compress, &out);
        cr_expect_eq(out.len > sizeof(large), !compress);
        cr_expect_eq(rdb_each_function(buf_slice(&out), each, &seen), 0);
        cr_expect_eq(seen.count, 3);
        seen = (struct seen){.expected = {texts[0], texts[1]}, .stop_at = 2};
        cr_expect_eq(rdb_each_function(buf_slice(&out), each, &seen), RDB_E_STOPPED);
        buf_deinit(&out);
    }
}

static int judge(const char *content, size_t len)
{
    struct buf out = {0};
    struct seen seen = {.expected = {SLICE("a")}};
    buf_append(&out, content, len);
    rdb_put_footer(&out, 0, 10);
    /* Behind the last byte is nothing that may be read. */
    char *exact = mem_alloc(out.len);
    memcpy(exact, out.ptr, out.len);
    int rc = rdb_each_function(slice_of(exact, out.len), each, &seen);
    mem_free(exact);
    buf_deinit(&out);
    return rc;
}

Test(functions, damaged)
{
    struct seen seen = {0};
    char payload[] = PAYLOAD;
    for (size_t len = 0; len < sizeof(payload) - 1; len++) {
        cr_expect_eq(rdb_each_function(slice_of(payload, len), each, &seen), RDB_E_PAYLOAD);
    }
    payload[10] ^= 1;
    struct slice changed = slice_of(payload, sizeof(payload) - 1);
    cr_expect_eq(rdb_each_function(changed, each, &seen), RDB_E_PAYLOAD);
    cr_expect_eq(judge("\xf5\x01" "a", 3), 0);
    cr_expect_eq(judge("\xf5", 1), RDB_E_FORMAT);
    cr_expect_eq(judge("\xf5\x05" "a", 3), RDB_E_FORMAT);
    cr_expect_eq(judge("\xf5\x01" "a\xf5", 4), RDB_E_FORMAT);
    cr_expect_eq(judge("\xf5\xc3\x02\x40\xff", 5), RDB_E_FORMAT);
    cr_expect_eq(judge("\x00\x01" "a", 3), RDB_E_NO_FUNCTION);
    cr_expect_eq(judge("\xf6\x01" "a", 3), RDB_E_NO_FUNCTION);
}
