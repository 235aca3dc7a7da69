/* Every kind of reply, in both protocol versions, to the byte. */
#include <criterion/criterion.h>

#include "splitring/resp/reply.h"

static struct buf out;

static struct reply reply_of(uint8_t proto)
{
    buf_deinit(&out);
    return (struct reply){.out = &out, .proto = proto};
}

static void expect(const char *text)
{
    cr_assert_eq(out.len, strlen(text));
    cr_assert_arr_eq(out.ptr, text, out.len, "%.*s", (int)out.len, out.ptr);
    out.len = 0;
}

Test(reply, common_to_both)
{
    for (uint8_t proto = 2; proto <= 3; proto++) {
        struct reply r = reply_of(proto);
        reply_ok(&r);
        reply_simple(&r, "PONG");
        expect("+OK\r\n+PONG\r\n");
        reply_int(&r, 0);
        reply_int(&r, 42);
        reply_int(&r, -1);
        reply_int(&r, INT64_MIN);
        reply_int(&r, INT64_MAX);
        expect(":0\r\n:42\r\n:-1\r\n:-9223372036854775808\r\n:9223372036854775807\r\n");
        reply_bulk(&r, "", 0);
        reply_bulk_str(&r, "0123456789");
        reply_bulk_slice(&r, SLICE("a\r\nb"));
        reply_bulk_int(&r, -7);
        expect("$0\r\n\r\n$10\r\n0123456789\r\n$4\r\na\r\nb\r\n$2\r\n-7\r\n");
        reply_array(&r, 0);
        reply_array(&r, 1234567);
        expect("*0\r\n*1234567\r\n");
        reply_raw(&r, "x", 1);
        expect("x");
        buf_deinit(&out);
    }
}

Test(reply, version_2)
{
    struct reply r = reply_of(2);
    reply_null(&r);
    reply_null_array(&r);
    reply_bool(&r, true);
    reply_bool(&r, false);
    expect("$-1\r\n*-1\r\n:1\r\n:0\r\n");
    reply_map(&r, 3);
    reply_set(&r, 3);
    reply_push(&r, 3);
    expect("*6\r\n*3\r\n*3\r\n");
    reply_double(&r, 1.5);
    reply_verbatim(&r, "txt", SLICE("hi"));
    expect("$3\r\n1.5\r\n$2\r\nhi\r\n");
    buf_deinit(&out);
}

Test(reply, version_3)
{
    struct reply r = reply_of(3);
    reply_null(&r);
    reply_null_array(&r);
    reply_bool(&r, true);
    reply_bool(&r, false);
    expect("_\r\n_\r\n#t\r\n#f\r\n");
    reply_map(&r, 3);
    reply_set(&r, 3);
    reply_push(&r, 3);
    expect("%3\r\n~3\r\n>3\r\n");
    reply_double(&r, 1.5);
    reply_verbatim(&r, "txt", SLICE("hi"));
    expect(",1.5\r\n=6\r\ntxt:hi\r\n");
    buf_deinit(&out);
}

Test(reply, deferred)
{
    struct reply r = reply_of(2);
    reply_ok(&r);
    size_t outer = reply_deferred_begin(&r);
    size_t inner = reply_deferred_begin(&r);
    reply_int(&r, 1);
    reply_deferred_set(&r, inner, 1);
    reply_deferred_map(&r, outer, 12);
    size_t empty = reply_deferred_begin(&r);
    reply_deferred_array(&r, empty, 0);
    expect("+OK\r\n*24\r\n*1\r\n:1\r\n*0\r\n");
    r.proto = 3;
    outer = reply_deferred_begin(&r);
    inner = reply_deferred_begin(&r);
    reply_deferred_set(&r, inner, 0);
    reply_deferred_map(&r, outer, 1);
    expect("%1\r\n~0\r\n");
    buf_deinit(&out);
}

Test(reply, errors)
{
    struct reply r = reply_of(2);
    reply_error(&r, ERR_SYNTAX);
    reply_errorf(&r, ERR_WRONG_ARITY, "config|get");
    reply_error_text(&r, "ERR x", 5);
    expect("-ERR syntax error\r\n-ERR wrong number of arguments for 'config|get' command\r\n"
           "-ERR x\r\n");
    cr_assert_eq(r.errors, 3);
    reply_errorf(&r, ERR_UNKNOWN_COMMAND, 4, "a\r\nb", "");
    expect("-ERR unknown command 'a  b', with args beginning with: \r\n");
    reply_error_text(&r, "\r\nERR \n y\r\n", 11);
    expect("-ERR   y\r\n");
    buf_deinit(&out);
}

/* Whoever fills in an error text needs no more than the texts announce. */
Test(reply, every_text_is_one_line)
{
    for (int id = 0; id < ERR_COUNT; id++) {
        const char *text = error_text((enum error_id)id);
        cr_assert_not_null(text);
        cr_assert_null(strpbrk(text, "\r\n"));
        /* Parts of longer ones: why an ACL forbids, which line of its file is wrong. */
        bool fragment = strncmp(text, "no permission", 13) == 0 || strstr(text, "%s:%u");
        cr_assert(fragment || (text[0] >= 'A' && text[0] <= 'Z'));
    }
}

/* A buffer that could not grow swallows the rest quietly. */
Test(reply, failed_buffer)
{
    struct reply r = reply_of(3);
    size_t mark = reply_deferred_begin(&r);
    reply_int(&r, 1);
    buf_deinit(&out);
    out.failed = true;
    reply_bulk_str(&r, "text");
    reply_deferred_array(&r, mark, 2);
    reply_error(&r, ERR_SYNTAX);
    cr_assert(out.failed);
    buf_deinit(&out);
}
