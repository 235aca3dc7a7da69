/* Append logs and manifests of any bytes: the scan ends, in bounded memory, and what it calls whole
 * reads back, unit by unit; a cut at `valid`, closed with its sum, is whole.
 * Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "splitring/base/check.h"
#include "splitring/persist/aof_file.h"

struct memory {
    const char *ptr;
    size_t len, piece;
};

static ssize_t read_memory(void *ctx, uint64_t offset, char *ptr, size_t len)
{
    const struct memory *m = ctx;
    if (offset >= m->len) return 0;
    size_t left = m->len - (size_t)offset, got = len < left ? len : left;
    if (m->piece && got > m->piece) got = m->piece;
    memcpy(ptr, m->ptr + offset, got);
    return (ssize_t)got;
}

static struct aof_scan scan_of(const struct memory *m)
{
    struct aof_in_options options = {.read = read_memory, .ctx = (void *)m, .size = m->len};
    struct aof_scan scan;
    int rc;
    aof_scan_begin(&scan, &options);
    while ((rc = aof_scan_step(&scan, 64)) == 0) continue;
    check(rc == 1 || rc == -12);
    aof_scan_end(&scan);
    check(scan.valid <= m->len && (scan.verdict != AOF_WHOLE || scan.valid == m->len));
    return scan;
}

/* As far as it is valid it reads as commands and lines. */
static void read_valid(const struct memory *m, const struct aof_scan *scan)
{
    struct aof_in_options options = {.read = read_memory, .ctx = (void *)m, .size = scan->valid};
    struct aof_in *in = aof_in_new(&options);
    struct aof_item item;
    uint64_t commands = 0;
    do {
        check(aof_in_next(in, &item) == 0);
        commands += item.kind == AOF_ITEM_COMMAND;
        for (int i = 0; item.kind == AOF_ITEM_COMMAND && i < item.argc; i++)
            check(item.argv[i].ptr >= item.bytes.ptr &&
                  item.argv[i].ptr + item.argv[i].len <= item.bytes.ptr + item.bytes.len);
    } while (item.kind != AOF_ITEM_END);
    check(commands == scan->commands);
    aof_in_free(in);
}

static void go_on(const struct memory *m, struct aof_scan scan)
{
    struct buf more = {0};
    char line[AOF_SUM_LINE_MAX];
    buf_append(&more, m->ptr, (size_t)scan.valid);
    if (scan.marked && scan.valid_sum.bytes)
        buf_append(&more, line, aof_sum_line(&scan.valid_sum, line));
    struct memory again = {more.ptr, more.len, 0};
    scan = scan_of(&again);
    check(scan.verdict == AOF_WHOLE && (!scan.marked || scan.valid_sum.bytes == 0));
    buf_deinit(&more);
}

static void read_manifest(const char *ptr, size_t len)
{
    struct aof_manifest m, back;
    struct buf text = {0};
    unsigned line;
    size_t at;
    if (aof_manifest_parse(&m, slice_of(ptr, len), &line, &at)) return;
    aof_manifest_format(&m, &text);
    check(aof_manifest_parse(&back, buf_slice(&text), &line, &at) == NULL);
    check(back.count == m.count);
    for (unsigned i = 0; i < m.count; i++)
        check(strcmp(m.files[i].name, back.files[i].name) == 0);
    aof_manifest_deinit(&m);
    aof_manifest_deinit(&back);
    buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2) return 0;
    size_t size = len - 1;
    char *exact = malloc(size); /* so that ASan sees a byte too many */
    memcpy(exact, data + 1, size);
    struct memory m = {exact, size, data[0] % 16};
    struct aof_scan scan = scan_of(&m);
    read_valid(&m, &scan);
    go_on(&m, scan);
    read_manifest(exact, size);
    free(exact);
    return 0;
}
