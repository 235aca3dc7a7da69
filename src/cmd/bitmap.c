/* Strings as rows of bits: GETBIT, SETBIT, BITCOUNT, BITPOS, BITOP. (BITFIELD: bitfield.c; the
 * arithmetic itself: bitops.c.)
 *
 * Bit 0 is the highest bit of byte 0, and a string goes on with zeros behind its end without limit.
 * That is why BITPOS looking for a 0 answers the first bit behind a string of ones, unless the
 * client named an end.
 *
 * Ranges come in bytes or in bits; they are made into one half-open range of bits, so everything
 * after the parsing is the same for both.
 * Thread: holder of the call's shards. */
#include <errno.h>

#include "cmd/bitmap_impl.h"
#include "cmd/bitops.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"

bool bit_offset(struct call *c, int i, unsigned width, uint64_t *out)
{
    struct slice text = c->argv[i];
    bool scaled = width > 0 && text.len > 0 && text.ptr[0] == '#';
    int64_t offset;
    if (scaled) text = slice_of(text.ptr + 1, text.len - 1);
    if (!num_parse_i64(text, &offset) ||
        (scaled && __builtin_mul_overflow(offset, (int64_t)width, &offset)) || offset < 0 ||
        offset >> 3 >= c->env->proto_max_bulk_len) {
        reply_error(&c->reply, ERR_BIT_OFFSET);
        return false;
    }
    *out = (uint64_t)offset;
    return true;
}

/* ---- one bit ---- */

void cmd_getbit(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    uint64_t at;
    if (!bit_offset(c, 2, 0, &at)) return;
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!string_type_ok(c, e)) return;
    reply_int(&c->reply, e ? (int64_t)bits_get(entry_string(e, scratch), at, 1) : 0);
}

void cmd_setbit(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    struct slice key = c->argv[1];
    uint64_t at;
    int64_t bit;
    if (!bit_offset(c, 2, 0, &at)) return;
    if (!call_int_or(c, 3, &bit, ERR_BIT_VALUE)) return;
    if (bit != 0 && bit != 1) {
        reply_error(&c->reply, ERR_BIT_VALUE);
        return;
    }
    const struct entry *e = ks_find(&c->ks, key);
    if (!string_type_ok(c, e)) return;
    struct slice value = e ? entry_string(e, scratch) : SLICE("");
    int64_t old = (int64_t)bits_get(value, at, 1);
    size_t len = (size_t)(at >> 3) + 1;
    if (value.len < len || old != bit) {
        char *bytes = ks_string_room_for(&c->ks, key, len, len - 1, 1);
        if (!bytes) {
            reply_error(&c->reply, ERR_NO_MEMORY);
            return;
        }
        bits_set(bytes, at, 1, (uint64_t)bit);
        c->dirty++;
        call_event(c, key, EVENT_STRING, "setbit");
        effect_verbatim(c);
    }
    reply_int(&c->reply, old);
}

/* ---- ranges ---- */

struct range {
    int64_t start, end; /* as given, both inclusive */
    bool in_bits;
};

/* BYTE or BIT at argument i. False: the error is written. */
static bool unit_parse(struct call *c, int i, bool *in_bits)
{
    *in_bits = call_is(c, i, "BIT");
    if (*in_bits || call_is(c, i, "BYTE")) return true;
    reply_error(&c->reply, ERR_SYNTAX);
    return false;
}

/* The range as bits [*from, *to) of a string; false: it is empty. */
static bool range_resolve(const struct range *r, size_t len, uint64_t *from, uint64_t *to)
{
    int64_t total = (int64_t)len * (r->in_bits ? 8 : 1);
    int64_t start = r->start < 0 ? r->start + total : r->start;
    int64_t end = r->end < 0 ? r->end + total : r->end;
    if (start < 0) start = 0;
    if (end < 0) end = 0;
    if (end >= total) end = total - 1;
    if (start > end) return false;
    uint64_t unit = r->in_bits ? 1 : 8;
    *from = (uint64_t)start * unit;
    *to = (uint64_t)(end + 1) * unit;
    return true;
}

void cmd_bitcount(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    struct range range = {.start = 0, .end = -1};
    if (c->argc != 2) {
        if (c->argc != 4 && c->argc != 5) {
            reply_error(&c->reply, ERR_SYNTAX);
            return;
        }
        if (!call_int(c, 2, &range.start) || !call_int(c, 3, &range.end)) return;
        if (c->argc == 5 && !unit_parse(c, 4, &range.in_bits)) return;
    }
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!string_type_ok(c, e)) return;
    struct slice value = e ? entry_string(e, scratch) : SLICE("");
    uint64_t from, to;
    bool empty = range.start < 0 && range.end < 0 && range.start > range.end;
    if (empty || !range_resolve(&range, value.len, &from, &to)) reply_int(&c->reply, 0);
    else reply_int(&c->reply, (int64_t)bits_count(value, from, to));
}

void cmd_bitpos(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    struct range range = {.start = 0, .end = -1};
    int64_t bit;
    if (!call_int(c, 2, &bit)) return;
    if (bit != 0 && bit != 1) {
        reply_error(&c->reply, ERR_BIT_ONE_OR_ZERO);
        return;
    }
    if (c->argc > 6) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (c->argc > 3 && !call_int(c, 3, &range.start)) return;
    if (c->argc > 5 && !unit_parse(c, 5, &range.in_bits)) return;
    if (c->argc > 4 && !call_int(c, 4, &range.end)) return;
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!string_type_ok(c, e)) return;
    if (!e) {
        reply_int(&c->reply, bit ? -1 : 0);
        return;
    }
    struct slice value = entry_string(e, scratch);
    uint64_t from, to;
    int64_t found = -1;
    if (range_resolve(&range, value.len, &from, &to)) {
        found = bits_find(value, from, to, bit);
        if (found < 0 && bit == 0 && c->argc < 5) found = (int64_t)to;
    }
    reply_int(&c->reply, found);
}

/* ---- BITOP ---- */

/* The operation's name. False: the error is written, also where it has too few sources. */
static bool bitop_parse(struct call *c, enum bits_op *out)
{
    static const struct {
        const char *name;
        enum error_id two_sources; /* error if there are fewer */
        bool two;
    } ops[] = {[BITS_AND] = {"AND", 0, false},
               [BITS_OR] = {"OR", 0, false},
               [BITS_XOR] = {"XOR", 0, false},
               [BITS_NOT] = {"NOT", 0, false},
               [BITS_DIFF] = {"DIFF", ERR_BITOP_DIFF, true},
               [BITS_DIFF1] = {"DIFF1", ERR_BITOP_DIFF1, true},
               [BITS_ANDOR] = {"ANDOR", ERR_BITOP_ANDOR, true},
               [BITS_ONE] = {"ONE", 0, false}};
    size_t op = 0;
    while (op < ARRAY_COUNT(ops) && !call_is(c, 1, ops[op].name)) op++;
    if (op == ARRAY_COUNT(ops)) {
        reply_error(&c->reply, ERR_SYNTAX);
    } else if (op == BITS_NOT && c->argc != 4) {
        reply_error(&c->reply, ERR_BITOP_NOT_ONE_SOURCE);
    } else if (ops[op].two && c->argc < 5) {
        reply_error(&c->reply, ops[op].two_sources);
    } else {
        *out = (enum bits_op)op;
        return true;
    }
    return false;
}

/* Stores the result under the target. 0 or -ENOMEM. */
static int bitop_store(struct call *c, enum bits_op op, size_t len, const struct slice *sources,
                       size_t count)
{
    struct slice target = c->argv[2];
    struct blob *blob = mem_try_alloc(sizeof(*blob) + len);
    if (!blob) return -ENOMEM;
    blob->len = blob->cap = len;
    bits_combine(op, blob->data, len, sources, count);
    int error = ks_set_blob(&c->ks, target, blob, EXPIRE_NONE);
    if (error) mem_free(blob);
    return error;
}

/* Reads the sources (absent: empty). The longest one's length, or -1: the error is written. */
static int64_t bitop_sources(struct call *c, struct slice *values, char (*scratch)[ENTRY_SCRATCH])
{
    size_t len = 0;
    for (int i = 3; i < c->argc; i++) {
        const struct entry *e = ks_read(&c->ks, c->argv[i]);
        if (!string_type_ok(c, e)) return -1;
        struct slice value = e ? entry_string(e, scratch[i - 3]) : SLICE("");
        values[i - 3] = value;
        if (value.len > len) len = value.len;
    }
    return (int64_t)len;
}

void cmd_bitop(struct call *c)
{
    enum bits_op op;
    if (!bitop_parse(c, &op)) return;
    size_t count = (size_t)(c->argc - 3);
    struct slice *values = mem_try_alloc(count * (sizeof(*values) + ENTRY_SCRATCH));
    if (!values) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    int64_t len = bitop_sources(c, values, (char(*)[ENTRY_SCRATCH])(void *)(values + count));
    bool changed = false;
    if (len == 0) {
        changed = ks_delete(&c->ks, c->argv[2], false);
    } else if (len > 0) {
        changed = bitop_store(c, op, (size_t)len, values, count) == 0;
        if (!changed) reply_error(&c->reply, ERR_NO_MEMORY);
    }
    if (changed) {
        c->dirty++;
        if (len) call_event(c, c->argv[2], EVENT_STRING, "set");
        else call_event(c, c->argv[2], EVENT_GENERIC, "del");
        effect_verbatim(c);
    }
    if (changed || len == 0) reply_int(&c->reply, len);
    mem_free(values);
}
