/* Logs: read whatever pieces they come in; every truncation keeps a prefix of whole units; every
 * flipped bit of a log with checksums is noticed; zeros count as torn at the end alone. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "splitring/persist/aof_file.h"

struct memory {
    const char *ptr;
    size_t len, piece;
};

static ssize_t read_memory(void *ctx, uint64_t offset, char *ptr, size_t len)
{
    struct memory *m = ctx;
    if (offset >= m->len) return 0;
    size_t left = m->len - (size_t)offset, got = len < left ? len : left;
    if (m->piece && got > m->piece) got = m->piece;
    memcpy(ptr, m->ptr + offset, got);
    return (ssize_t)got;
}

static struct aof_scan scan_of(const char *ptr, size_t len, size_t piece)
{
    char *exact = malloc(len ? len : 1); /* so that ASan sees a byte too many */
    memcpy(exact, ptr, len);
    struct memory m = {exact, len, piece};
    struct aof_in_options options = {.read = read_memory, .ctx = &m, .size = len};
    struct aof_scan scan;
    int rc;
    aof_scan_begin(&scan, &options);
    while ((rc = aof_scan_step(&scan, 100)) == 0) continue;
    cr_assert_eq(rc, 1);
    aof_scan_end(&scan);
    free(exact);
    return scan;
}

static void command(struct buf *out, const char *a, const char *b, const char *c)
{
    const char *argv[] = {a, b, c};
    int argc = b ? c ? 3 : 2 : 1;
    buf_printf(out, "*%d\r\n", argc);
    for (int i = 0; i < argc; i++) buf_printf(out, "$%zu\r\n%s\r\n", strlen(argv[i]), argv[i]);
}

static void close_block(struct buf *log, size_t *from)
{
    char line[AOF_SUM_LINE_MAX];
    struct aof_sum sum = {0};
    aof_sum_add(&sum, log->ptr + *from, log->len - *from);
    buf_append(log, line, aof_sum_line(&sum, line));
    cr_assert_eq(sum.bytes, 0);
    *from = log->len;
}

#define UNITS_MAX 64
/* Fifteen commands. Ends of whole units; lines between them count as such. */
static size_t make_log(struct buf *log, bool sums, size_t *ends)
{
    size_t from, count = 0;
    char big[1000];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    if (sums) buf_append_slice(log, SLICE(AOF_MARK));
    from = log->len;
    ends[count++] = log->len;
    for (int block = 0; block < 3; block++) {
        command(log, "SET", "a", block == 1 ? big : "1");
        ends[count++] = log->len;
        buf_append_slice(log, SLICE("#TS:1700000000\r\n"));
        ends[count++] = log->len;
        command(log, "MULTI", NULL, NULL);
        command(log, "INCR", "b", NULL);
        if (block == 1 && sums) close_block(log, &from);
        command(log, "DEL", "", NULL);
        command(log, "EXEC", NULL, NULL);
        ends[count++] = log->len;
        if (sums) {
            close_block(log, &from);
            ends[count++] = log->len;
        }
    }
    return count;
}

Test(aof_scan, whole)
{
    size_t ends[UNITS_MAX];
    for (int sums = 0; sums < 2; sums++) {
        struct buf log = {0};
        make_log(&log, sums, ends);
        for (size_t piece = 0; piece < 40; piece++) {
            struct aof_scan s = scan_of(log.ptr, log.len, piece);
            cr_assert_eq(s.verdict, AOF_WHOLE);
            cr_assert_eq(s.valid, log.len);
            cr_assert_eq(s.commands, 15);
            cr_assert_eq(s.marked, sums);
            cr_assert_eq(s.valid_sum.bytes, 0);
        }
        buf_deinit(&log);
    }
}

Test(aof_scan, every_truncation_keeps_whole_units)
{
    size_t ends[UNITS_MAX];
    for (int sums = 0; sums < 2; sums++) {
        struct buf log = {0};
        size_t count = make_log(&log, sums, ends), whole = 0;
        for (size_t len = sums ? sizeof AOF_MARK - 1 : 0; len <= log.len; len++) {
            while (whole + 1 < count && ends[whole + 1] <= len) whole++;
            struct aof_scan s = scan_of(log.ptr, len, 0);
            cr_assert_eq(s.valid, ends[whole], "cut at %zu: %zu", len, (size_t)s.valid);
            cr_assert_eq(s.verdict == AOF_WHOLE, len == ends[whole], "cut at %zu", len);
            cr_assert_neq(s.verdict, AOF_DAMAGED, "cut at %zu: %s", len, s.why);
            /* Who goes on behind the cut closes a block that fits. */
            struct buf more = {0};
            char line[AOF_SUM_LINE_MAX];
            buf_append(&more, log.ptr, (size_t)s.valid);
            if (sums && s.valid_sum.bytes) {
                buf_append(&more, line, aof_sum_line(&s.valid_sum, line));
                s = scan_of(more.ptr, more.len, 0);
                cr_assert_eq(s.verdict, AOF_WHOLE);
                cr_assert_eq(s.valid, more.len);
            }
            buf_deinit(&more);
        }
        buf_deinit(&log);
    }
}

Test(aof_scan, every_flipped_bit_is_noticed)
{
    size_t ends[UNITS_MAX];
    struct buf log = {0};
    make_log(&log, true, ends);
    for (size_t bit = 0; bit < log.len * 8; bit++) {
        log.ptr[bit / 8] ^= (char)(1 << bit % 8);
        struct aof_scan s = scan_of(log.ptr, log.len, 0);
        if (bit / 8 == log.len - 1) /* the last line just lacks its end */
            cr_assert(s.verdict == AOF_TORN && s.commands == 15);
        else cr_assert_eq(s.verdict, AOF_DAMAGED, "bit %zu of byte %zu", bit % 8, bit / 8);
        if (s.verdict == AOF_DAMAGED && s.marked) /* to be cut at: nothing that was changed */
            cr_assert(s.valid <= bit / 8 || s.valid == 0);
        log.ptr[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t at = 0; at + 3 <= log.len; at++) { /* bytes that are lost in the middle */
        struct buf less = {0};
        buf_append(&less, log.ptr, at);
        buf_append(&less, log.ptr + at + 2, log.len - at - 2);
        struct aof_scan s = scan_of(less.ptr, less.len, 0);
        if (at + 2 < log.len) cr_assert_eq(s.verdict, AOF_DAMAGED, "lost at %zu", at);
        buf_deinit(&less);
    }
    buf_deinit(&log);
}

Test(aof_scan, sectors_that_were_never_written)
{
    struct buf log = {0};
    size_t from, sure = 0;
    char value[400];
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    buf_append_slice(&log, SLICE(AOF_MARK));
    from = log.len;
    for (int block = 0; block < 4; block++) {
        sure = log.len;
        for (int i = 0; i < 5; i++) command(&log, "SET", "key", value);
        close_block(&log, &from);
    }
    for (size_t sector = 0; sector * 512 < log.len; sector++) {
        struct buf torn = {0};
        size_t begin = sector * 512, end = begin + 512 < log.len ? begin + 512 : log.len;
        buf_append_slice(&torn, buf_slice(&log));
        memset(torn.ptr + begin, 0, end - begin);
        struct aof_scan s = scan_of(torn.ptr, torn.len, 0);
        bool last = end > sure; /* from there on nothing is whole */
        cr_assert_eq(s.verdict, last ? AOF_TORN : AOF_DAMAGED, "sector %zu", sector);
        if (last) cr_assert(s.valid <= begin && (s.valid >= sure || begin < sure));
        buf_deinit(&torn);
    }
    /* The file grew, nothing came. */
    for (int i = 0; i < 5000; i++) buf_append_char(&log, '\0');
    struct aof_scan s = scan_of(log.ptr, log.len, 0);
    cr_assert_eq(s.verdict, AOF_TORN);
    cr_assert_eq(s.valid, log.len - 5000);
    buf_deinit(&log);
}

Test(aof_scan, form)
{
    static const struct {
        const char *text;
        enum aof_verdict verdict;
    } rows[] = {
        {"", AOF_WHOLE},
        {"*1\r\n$4\r\nPING\r\n", AOF_WHOLE},
        {"*0\r\n", AOF_DAMAGED},
        {"*1\n$4\nPING\r\n", AOF_DAMAGED},
        {"*01\r\n$4\r\nPING\r\n", AOF_DAMAGED},
        {"*1\r\n$-1\r\n", AOF_DAMAGED},
        {"*1\r\n$4\r\nPING\r", AOF_TORN},
        {"*1\r\n$4\r\nPINGxx", AOF_DAMAGED},
        {"*1\r\n$99999999999999\r\nPING\r\n", AOF_TORN},
        {"*1\r\n$99999999999999999999\r\nPING\r\n", AOF_DAMAGED},
        {"*99999999999\r\n$4\r\nPING\r\n", AOF_DAMAGED},
        {"*1000000000\r\n$4\r\nPING\r\n", AOF_TORN},
        {"PING\r\n", AOF_DAMAGED},
        {"# any line\r\n*1\r\n$4\r\nPING\r\n", AOF_WHOLE},
        {"*1\r\n$5\r\nMULTI\r\n", AOF_TORN_MULTI},
        {"*1\r\n$5\r\nMULTI\r\n*1\r\n$7\r\nDISCARD\r\n", AOF_WHOLE},
        {"#CRC:0000000000000000:0\r\n", AOF_WHOLE},
        {"#CRC:0000000000000000:0\r\n# any line\r\n", AOF_DAMAGED},
        {"*1\r\n$4\r\nPING\r\n#CRC:0000000000000000:0\r\n", AOF_DAMAGED},
        {"#CRC:0000000000000000:0\r\n*1\r\n$4\r\nPING\r\n", AOF_WHOLE},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct aof_scan s = scan_of(rows[i].text, strlen(rows[i].text), 0);
        cr_expect_eq(s.verdict, rows[i].verdict, "%s: %d %s", rows[i].text, s.verdict,
                     s.why ? s.why : "");
    }
}

Test(aof_scan, long_arguments_and_many)
{
    enum { LEN = 3 << 20, COUNT = 100000 };
    struct buf log = {0};
    buf_append_slice(&log, SLICE("*2\r\n$4\r\nECHO\r\n$3145728\r\n"));
    cr_assert(buf_reserve(&log, LEN));
    memset(log.ptr + log.len, 'e', LEN);
    log.len += LEN;
    buf_append_slice(&log, SLICE("\r\n"));
    size_t whole = log.len;
    buf_printf(&log, "*%d\r\n", COUNT);
    for (int i = 0; i < COUNT; i++) buf_append_slice(&log, SLICE("$1\r\nz\r\n"));
    struct memory m = {log.ptr, log.len, 5000};
    struct aof_in_options options = {.read = read_memory, .ctx = &m, .size = log.len};
    struct aof_in *in = aof_in_new(&options);
    struct aof_item item;
    cr_assert_eq(aof_in_next(in, &item), 0);
    cr_assert_eq(item.argv[1].len, LEN);
    cr_assert_eq(item.end, whole);
    cr_assert_eq(aof_in_next(in, &item), 0);
    cr_assert_eq(item.argc, COUNT);
    cr_assert_eq(item.argv[COUNT - 1].ptr[0], 'z');
    cr_assert_eq(aof_in_next(in, &item), 0);
    cr_assert_eq(item.kind, AOF_ITEM_END);
    aof_in_free(in);
    /* A length that is a lie is seen before so much is read. */
    log.ptr[whole - LEN - 4] = '0'; /* 3145720 */
    struct aof_scan s = scan_of(log.ptr, log.len, 0);
    cr_assert_eq(s.verdict, AOF_DAMAGED);
    cr_assert_eq(s.valid, 0);
    buf_deinit(&log);
}
