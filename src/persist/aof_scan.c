/* What of a log can be loaded: said before any of it is run.
 *
 * A crash may take the end of a log: the last write came through in part, or a power loss left
 * sectors of it unwritten, which read as zeros. That end was never acknowledged under `always`, and
 * may be cut. Anything else that is wrong is damage: it is not for us to decide what may be lost.
 * In a file with checksums the two are told apart:
 *
 *   a #CRC line further on is right   damage: a later write is whole, so this one was; unless it
 *     says that this one was not synced yet
 *   the write's own #CRC line stands there, but is wrong    torn if a sector is zero, else damage
 *   no #CRC line follows              torn where the file just ends, if a sector is zero, or what
 *                                     is left of one behind a whole command
 *
 * Whole commands behind the last #CRC line count: another server may have appended them. Files
 * without checksums are Redis', and are judged as there: what ends early is torn, what has no form
 * is damage. A unit is a command, or MULTI up to EXEC; only whole units count.
 * Thread: owner of the scan. */
#include "aof_line.h"
#include "splitring/base/mem.h"

#define SECTOR 512u
#define WINDOW ((size_t)64 * 1024)

void aof_scan_begin(struct aof_scan *scan, const struct aof_in_options *options)
{
    *scan = (struct aof_scan){.options = *options, .in = aof_in_new(options),
                              .valid = options->offset, .sure = options->offset,
                              .summed = options->offset};
}

void aof_scan_end(struct aof_scan *scan)
{
    aof_in_free(scan->in);
    scan->in = NULL;
}

static int ends(struct aof_scan *scan, enum aof_verdict verdict, uint64_t at, const char *why)
{
    scan->verdict = verdict;
    scan->bad = at;
    scan->why = why;
    return 1;
}

/* ---- behind what is wrong ---- */

struct look {
    bool line;        /* a #CRC line over whole bytes of ours */
    bool right;       /* one that fits, written when what is wrong here had been synced */
    bool zeros;       /* a sector of zeros */
    uint64_t line_at;
};

/* len bytes of the file, or as many as there are. */
static ssize_t read_at(struct aof_scan *scan, uint64_t from, char *ptr, size_t len)
{
    size_t have = 0;
    while (have < len) {
        ssize_t got = scan->options.read(scan->options.ctx, from + have, ptr + have, len - have);
        if (got < 0) return got;
        if (got == 0) break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

static int sum_range(struct aof_scan *scan, uint64_t from, uint64_t until, struct aof_sum *sum)
{
    char *window = mem_alloc(WINDOW);
    int rc = 0;
    *sum = (struct aof_sum){0};
    while (from < until && rc == 0) {
        size_t want = until - from < WINDOW ? (size_t)(until - from) : WINDOW;
        ssize_t got = read_at(scan, from, window, want);
        if (got <= 0) rc = got < 0 ? (int)got : 1;
        else aof_sum_add(sum, window, (size_t)got);
        from += want;
    }
    mem_free(window);
    return rc;
}

static int try_line(struct aof_scan *scan, uint64_t at, struct slice rest, struct look *look)
{
    struct aof_sum said, sum;
    const char *end = memchr(rest.ptr, '\r', rest.len);
    if (!end || (size_t)(end - rest.ptr) + 1 >= rest.len || end[1] != '\n') return 0;
    if (!aof_line_parse(slice_of(rest.ptr, (size_t)(end - rest.ptr)), &said)) return 0;
    if (said.bytes == 0 || said.bytes > at - scan->summed) return 0;
    if (!look->line) look->line_at = at;
    look->line = true;
    int rc = sum_range(scan, at - said.bytes, at, &sum);
    sum.lag = said.lag;
    uint64_t from = at - said.bytes;
    if (rc == 0 && aof_sum_final(sum) == said.crc)
        look->right |= said.lag <= from && from - said.lag > scan->summed;
    return rc < 0 ? rc : 0;
}

static bool is_zero(const char *ptr, size_t len)
{
    return len > 0 && ptr[0] == 0 && memcmp(ptr, ptr + 1, len - 1) == 0;
}

/* Looks through [summed, size). The windows overlap by a line's length, so that none is missed. */
static int look_behind(struct aof_scan *scan, struct look *look)
{
    char *window = mem_alloc(WINDOW + AOF_SUM_LINE_MAX);
    uint64_t at = scan->summed / SECTOR * SECTOR;
    int rc = 0;
    for (; at < scan->options.size && rc == 0 && !look->right; at += WINDOW) {
        ssize_t got = read_at(scan, at, window, WINDOW + AOF_SUM_LINE_MAX);
        if (got <= 0) {
            rc = (int)got;
            break;
        }
        size_t len = (size_t)got, body = len < WINDOW ? len : WINDOW;
        for (size_t i = 0; i < body; i += SECTOR) {
            size_t piece = body - i < SECTOR ? body - i : SECTOR;
            size_t skip = at + i < scan->summed ? (size_t)(scan->summed - at - i) : 0;
            /* A piece of a sector counts, if it is long enough to be no accident. */
            if (skip + 8 <= piece) look->zeros |= is_zero(window + i + skip, piece - skip);
        }
        for (size_t i = 0; i < body && rc == 0; i++) {
            const char *p = memchr(window + i, '#', body - i);
            if (!p) break;
            i = (size_t)(p - window);
            if (at + i >= scan->summed)
                rc = try_line(scan, at + i, slice_of(p, len - i), look);
        }
    }
    mem_free(window);
    return rc;
}

/* The file ended here once, and grew by a length alone; or it was cut here, and that came to the
 * disk in part: the rest of the sector is zero. */
static bool ended_here(struct aof_scan *scan, uint64_t at)
{
    char rest[SECTOR];
    uint64_t len = SECTOR - at % SECTOR;
    if (len > scan->options.size - at) len = scan->options.size - at;
    return read_at(scan, at, rest, (size_t)len) == (ssize_t)len && is_zero(rest, (size_t)len);
}

/* Nothing behind the last checksum that was right can be trusted. */
static void trust_sums_only(struct aof_scan *scan)
{
    scan->valid = scan->sure;
    scan->valid_sum = scan->sure_sum;
    scan->commands = scan->sure_commands;
}

static int damaged(struct aof_scan *scan, uint64_t at, const char *why)
{
    trust_sums_only(scan);
    return ends(scan, AOF_DAMAGED, at, why);
}

/* rc: AOF_E_TORN or AOF_E_FORMAT at `at`; or a sum that does not fit (rc 0). */
static int judge(struct aof_scan *scan, int rc, uint64_t at, const char *why)
{
    if (!scan->marked) {
        if (rc != AOF_E_TORN) return ends(scan, AOF_DAMAGED, at, why);
        return ends(scan, scan->in_multi ? AOF_TORN_MULTI : AOF_TORN, at, why);
    }
    struct look look = {0};
    int failed = look_behind(scan, &look);
    if (failed < 0) return failed;
    look.zeros |= ended_here(scan, at);
    if (look.right) return damaged(scan, at, why);
    if (look.line || rc == 0) {
        if (!look.zeros) return damaged(scan, at, why);
        trust_sums_only(scan);
        return ends(scan, AOF_TORN, scan->summed, "a sector was never written");
    }
    if (rc == AOF_E_FORMAT && !look.zeros) return damaged(scan, at, why);
    if (look.zeros) trust_sums_only(scan); /* they may lie within values, too */
    return ends(scan, scan->in_multi ? AOF_TORN_MULTI : AOF_TORN, at, why);
}

/* ---- item by item ---- */

static void take_command(struct aof_scan *scan, const struct aof_item *item)
{
    struct slice name = slice_of(item->argv[0].ptr, item->argv[0].len);
    if (slice_is_word(name, "multi")) {
        if (!scan->in_multi) scan->multi_at = item->offset;
        scan->in_multi = true;
    } else if (slice_is_word(name, "exec") || slice_is_word(name, "discard")) {
        scan->in_multi = false;
    }
    scan->seen++;
}

static int take_sum(struct aof_scan *scan, const struct aof_item *item)
{
    bool mark = item->sum.bytes == 0 && item->sum.crc == 0 && !item->sum.lag;
    if (item->offset == 0 && mark) {
        scan->marked = true;
    } else if (!scan->marked) {
        return ends(scan, AOF_DAMAGED, item->offset,
                    "a checksum in a file that does not begin with one");
    } else {
        struct aof_sum found = scan->sum;
        found.lag = item->sum.lag;
        if (mark || item->sum.crc != aof_sum_final(found) || item->sum.bytes != found.bytes)
            return judge(scan, 0, scan->summed, "bytes do not fit their checksum");
    }
    scan->sum = (struct aof_sum){0};
    scan->summed = item->end;
    return 0;
}

static int take_item(struct aof_scan *scan, const struct aof_item *item)
{
    if (item->kind == AOF_ITEM_SUM) {
        int rc = take_sum(scan, item);
        if (rc != 0) return rc;
    } else {
        if (item->kind == AOF_ITEM_COMMAND) take_command(scan, item);
        if (item->kind == AOF_ITEM_NOTE && scan->marked)
            return judge(scan, AOF_E_FORMAT, item->offset, "an unknown line");
        if (scan->marked) aof_sum_add(&scan->sum, item->bytes.ptr, item->bytes.len);
    }
    if (!scan->in_multi) {
        scan->valid = item->end;
        scan->valid_sum = scan->sum;
        scan->commands = scan->seen;
    }
    if (item->kind == AOF_ITEM_SUM) {
        scan->sure = scan->valid;
        scan->sure_sum = scan->valid_sum;
        scan->sure_commands = scan->commands;
    }
    return 0;
}

int aof_scan_step(struct aof_scan *scan, uint64_t bytes)
{
    uint64_t until = aof_in_offset(scan->in) + bytes;
    while (aof_in_offset(scan->in) < until) {
        struct aof_item item;
        int rc = aof_in_next(scan->in, &item);
        if (rc < 0) return rc;
        if (rc == AOF_E_TORN) return judge(scan, rc, item.offset, "the file ends within it");
        if (rc != 0) return judge(scan, rc, item.offset, "not the form of a command");
        if (item.kind == AOF_ITEM_END) {
            if (!scan->in_multi) return ends(scan, AOF_WHOLE, item.offset, NULL);
            return judge(scan, AOF_E_TORN, scan->multi_at, "MULTI without EXEC");
        }
        rc = take_item(scan, &item);
        if (rc != 0) return rc;
    }
    return 0;
}
