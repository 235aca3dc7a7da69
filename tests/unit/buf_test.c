/* Growing buffers: contents, growth by halves and quarters, and the failed state. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "splitring/base/buf.h"
#include "splitring/base/mem.h"

Test(buf, appends)
{
    struct buf b = {0};
    buf_append(&b, NULL, 0);
    buf_append(&b, "hello", 5);
    buf_append_char(&b, ' ');
    buf_append_slice(&b, SLICE("world"));
    buf_printf(&b, " %d", 42);
    cr_assert(slice_equal(buf_slice(&b), SLICE("hello world 42")));
    buf_insert(&b, 5, ",", 1);
    buf_insert(&b, b.len, "!", 1);
    buf_insert(&b, 0, ">", 1);
    cr_assert(slice_equal(buf_slice(&b), SLICE(">hello, world 42!")));
    buf_consume(&b, 1);
    buf_consume(&b, 0);
    cr_assert(slice_equal(buf_slice(&b), SLICE("hello, world 42!")));
    buf_consume(&b, b.len);
    cr_assert_eq(b.len, 0);
    buf_deinit(&b);
    cr_assert_null(b.ptr);
}

Test(buf, prints_long_lines)
{
    struct buf b = {0};
    static char text[5000];
    memset(text, 'x', sizeof(text) - 1);
    buf_append(&b, "abc", 3);
    buf_printf(&b, "%s|", text);
    cr_assert_eq(b.len, 3 + sizeof(text));
    cr_assert_eq(b.ptr[b.len - 1], '|');
    buf_deinit(&b);
}

Test(buf, grows_in_bounds)
{
    struct buf b = {0};
    for (size_t i = 0; i < (20u << 20); i += 100) {
        char bytes[100];
        memset(bytes, (int)(i % 251), sizeof(bytes));
        buf_append(&b, bytes, sizeof(bytes));
        cr_assert(b.cap <= 2 * b.len + 128);
        if (b.len > (3u << 20)) cr_assert(b.cap <= b.len + b.len / 4 + 200);
    }
    for (size_t i = 0; i < b.len; i += 100) cr_assert_eq((unsigned char)b.ptr[i], i % 251);
    buf_shrink(&b, 1024);
    cr_assert_neq(b.cap, 0, "not while it holds something");
    b.len = 0;
    buf_shrink(&b, b.cap);
    cr_assert_neq(b.cap, 0);
    buf_shrink(&b, 1024);
    cr_assert_eq(b.cap, 0);
    buf_append(&b, "again", 5);
    cr_assert_eq(b.len, 5);
    buf_deinit(&b);
}

Test(buf, fails_once_and_stays_failed)
{
    struct buf b = {0};
    buf_append(&b, "abc", 3);
    cr_assert_not(buf_reserve(&b, SIZE_MAX - 1));
    cr_assert(b.failed);
    cr_assert_eq(b.len, 0);
    buf_append(&b, "abc", 3);
    buf_append_char(&b, 'x');
    buf_printf(&b, "%d", 1);
    buf_insert(&b, 0, "x", 1);
    cr_assert_eq(b.len, 0);
    cr_assert_null(b.ptr);
    buf_deinit(&b);
    cr_assert_not(b.failed);

    struct buf huge = {0};
    cr_assert_not(buf_reserve(&huge, SIZE_MAX / 2));
    cr_assert(huge.failed);
}

Test(mem, blocks_and_address_space)
{
    char *block = mem_zalloc(100);
    for (size_t i = 0; i < 100; i++) cr_assert_eq(block[i], 0);
    cr_assert_geq(mem_usable(block), 100);
    block = mem_realloc(block, 1000);
    mem_free(block);
    mem_free(NULL);
    cr_assert_eq(mem_usable(NULL), 0);
    cr_assert_null(mem_try_alloc(SIZE_MAX));
    char *aligned = mem_alloc_aligned(128, 64);
    cr_assert_eq((uintptr_t)aligned % 64, 0);
    mem_free(aligned);

    size_t len = 3u << 20, align = 1u << 20;
    char *space = mem_reserve(len, align);
    cr_assert_eq((uintptr_t)space % align, 0);
    cr_assert_eq(space[len - 1], 0);
    memset(space, 1, 8192);
    mem_discard(space, 4096);
    cr_assert_eq(space[0], 0);
    cr_assert_eq(space[4096], 1);
    mem_unreserve(space, len);
    cr_assert_null(mem_reserve((size_t)1 << 62, 4096));
}
