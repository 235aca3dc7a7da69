/* LCS: the longest common subsequence of two strings, its length, or where its runs lie.
 *
 * The classic table: cell (i, j) is the length for the first i bytes of a and the first j of b.
 * Walking it back from the last corner gives the sequence, from its end to its start. Which of
 * several equally long ones is found depends on the walk, and clients see it: on a mismatch it goes
 * up only if that is strictly better, else left, as Redis does.
 *
 * Runs (IDX) are stretches where both strings go on together. They are reported as the walk closes
 * them, the last one first; MINMATCHLEN hides short ones.
 *
 * LEN alone needs two rows of the table. The limit on the table's size holds for it all the same:
 * whether a command is refused should not depend on how it is computed here.
 * Source: https://redis.io/docs/latest/commands/lcs/
 * Thread: holder of the call's shards. */
#include "cmd/string_impl.h"
#include "splitring/base/mem.h"

struct lcs_options {
    bool len, idx, with_len;
    int64_t len_min; /* MINMATCHLEN */
};

struct lcs {
    struct slice a, b;
    uint32_t *table; /* (a.len + 1) rows of (b.len + 1) */
    size_t row;
};

static bool options_parse(struct call *c, struct lcs_options *out)
{
    *out = (struct lcs_options){0};
    for (int i = 3; i < c->argc; i++) {
        if (call_is(c, i, "IDX")) {
            out->idx = true;
        } else if (call_is(c, i, "LEN")) {
            out->len = true;
        } else if (call_is(c, i, "WITHMATCHLEN")) {
            out->with_len = true;
        } else if (call_is(c, i, "MINMATCHLEN") && i + 1 < c->argc) {
            if (!call_int(c, ++i, &out->len_min)) return false;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    if (out->len && out->idx) {
        reply_error(&c->reply, ERR_LCS_LEN_AND_IDX);
        return false;
    }
    return true;
}

/* One row from the one above it; both begin with a zero. */
static void fill_row(uint32_t *row, const uint32_t *above, char byte, struct slice b)
{
    for (size_t j = 1; j <= b.len; j++) {
        if (byte == b.ptr[j - 1]) row[j] = above[j - 1] + 1;
        else row[j] = above[j] > row[j - 1] ? above[j] : row[j - 1];
    }
}

/* A whole table, or two rows used in turn; returns the last row. */
static const uint32_t *fill(const struct lcs *l, size_t rows)
{
    memset(l->table, 0, l->row * sizeof(uint32_t));
    for (size_t i = 1; i <= l->a.len; i++) {
        uint32_t *row = l->table + i % rows * l->row;
        row[0] = 0;
        fill_row(row, l->table + (i - 1) % rows * l->row, l->a.ptr[i - 1], l->b);
    }
    return l->table + l->a.len % rows * l->row;
}

/* One step of the walk from (*i, *j), both at least 1. True: both bytes belong to the sequence. */
static bool walk(const struct lcs *l, size_t *i, size_t *j)
{
    if (l->a.ptr[*i - 1] == l->b.ptr[*j - 1]) {
        --*i;
        --*j;
        return true;
    }
    const uint32_t *cell = l->table + *i * l->row + *j;
    if (*(cell - l->row) > *(cell - 1)) --*i;
    else --*j;
    return false;
}

static void reply_sequence(struct call *c, const struct lcs *l, uint32_t len)
{
    char *text = mem_try_alloc(len ? len : 1);
    if (!text) {
        reply_error(&c->reply, ERR_LCS_FAILED);
        return;
    }
    size_t i = l->a.len, j = l->b.len, left = len;
    while (left) {
        if (walk(l, &i, &j)) text[--left] = l->a.ptr[i];
    }
    reply_bulk(&c->reply, text, len);
    mem_free(text);
}

static bool reply_run(struct call *c, size_t a, size_t b, size_t len, const struct lcs_options *o)
{
    if ((int64_t)len < o->len_min) return false;
    reply_array(&c->reply, o->with_len ? 3 : 2);
    reply_array(&c->reply, 2);
    reply_int(&c->reply, (int64_t)a);
    reply_int(&c->reply, (int64_t)(a + len - 1));
    reply_array(&c->reply, 2);
    reply_int(&c->reply, (int64_t)b);
    reply_int(&c->reply, (int64_t)(b + len - 1));
    if (o->with_len) reply_int(&c->reply, (int64_t)len);
    return true;
}

static void reply_runs(struct call *c, const struct lcs *l, uint32_t total,
                       const struct lcs_options *o)
{
    reply_map(&c->reply, 2);
    reply_bulk_str(&c->reply, "matches");
    size_t mark = reply_deferred_begin(&c->reply);
    size_t i = l->a.len, j = l->b.len, count = 0;
    size_t run = 0; /* length of the open run, which begins at (i, j) */
    while (i && j) {
        size_t a = i, b = j;
        if (walk(l, &i, &j)) {
            run++;
        } else if (run) {
            count += reply_run(c, a, b, run, o);
            run = 0;
        }
    }
    if (run) count += reply_run(c, i, j, run, o);
    reply_deferred_array(&c->reply, mark, count);
    reply_bulk_str(&c->reply, "len");
    reply_int(&c->reply, total);
}

/* Bytes of the table, or 0: refused, the error is written. */
static size_t table_len(struct call *c, const struct lcs *l)
{
    if (l->a.len >= UINT32_MAX - 1 || l->b.len >= UINT32_MAX - 1) {
        reply_error(&c->reply, ERR_LCS_TOO_LONG);
        return 0;
    }
    size_t len;
    if (__builtin_mul_overflow((l->a.len + 1) * sizeof(uint32_t), l->b.len + 1, &len)) {
        reply_error(&c->reply, ERR_LCS_FAILED);
        return 0;
    }
    if (len > (size_t)c->env->proto_max_bulk_len) {
        reply_error(&c->reply, ERR_LCS_MEMORY);
        return 0;
    }
    return len;
}

void cmd_lcs(struct call *c)
{
    char scratch_a[ENTRY_SCRATCH], scratch_b[ENTRY_SCRATCH];
    const struct entry *a = ks_read(&c->ks, c->argv[1]);
    const struct entry *b = ks_read(&c->ks, c->argv[2]);
    if ((a && entry_type(a) != TYPE_STRING) || (b && entry_type(b) != TYPE_STRING)) {
        reply_error(&c->reply, ERR_LCS_WRONGTYPE);
        return;
    }
    struct lcs_options options;
    if (!options_parse(c, &options)) return;
    struct lcs l = {.a = a ? entry_string(a, scratch_a) : SLICE(""),
                    .b = b ? entry_string(b, scratch_b) : SLICE("")};
    l.row = l.b.len + 1;
    size_t len = table_len(c, &l), rows = options.len ? 2 : l.a.len + 1;
    if (!len) return;
    l.table = mem_try_alloc(rows * l.row * sizeof(uint32_t));
    if (!l.table) {
        reply_error(&c->reply, ERR_LCS_FAILED);
        return;
    }
    uint32_t total = fill(&l, rows)[l.b.len];
    if (options.idx) reply_runs(c, &l, total, &options);
    else if (options.len) reply_int(&c->reply, total);
    else reply_sequence(c, &l, total);
    mem_free(l.table);
}
