/* BITFIELD and BITFIELD_RO: a string as an array of integers of any width.
 *
 * A command is a list of operations, GET, SET and INCRBY, with OVERFLOW switching what the
 * following ones do when a number does not fit. All of them are checked before the first one runs,
 * so the arguments are read twice: once for errors and the furthest bit to be written, once to
 * execute. That needs no list of parsed operations, and no memory.
 *
 * Arithmetic is done in 128 bits, where neither a 64-bit field plus a 64-bit increment overflows
 * nor anything is a special case: wrapping takes the lower bits, saturating the nearest limit.
 * Source: https://redis.io/docs/latest/commands/bitfield/
 * Thread: holder of the call's shards. */
#include "cmd/bitmap_impl.h"
#include "cmd/bitops.h"
#include "splitring/base/num.h"

__extension__ typedef __int128 wide;

enum field_op { FIELD_GET, FIELD_SET, FIELD_INCRBY };
enum field_overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };

struct field {
    enum field_op op;
    enum field_overflow overflow;
    bool is_signed;
    unsigned width;
    uint64_t at;
    int64_t number; /* of SET and INCRBY */
};

/* ---- reading the arguments ---- */

static bool type_parse(struct call *c, int i, struct field *f)
{
    struct slice text = c->argv[i];
    int64_t width = 0;
    f->is_signed = text.len && text.ptr[0] == 'i';
    bool known = f->is_signed || (text.len && text.ptr[0] == 'u');
    if (!known || !num_parse_i64(slice_of(text.ptr + 1, text.len - 1), &width) || width < 1 ||
        width > (f->is_signed ? 64 : 63)) {
        reply_error(&c->reply, ERR_BITFIELD_TYPE);
        return false;
    }
    f->width = (unsigned)width;
    return true;
}

static bool overflow_parse(struct call *c, int i, struct field *f)
{
    if (call_is(c, i, "WRAP")) {
        f->overflow = OVERFLOW_WRAP;
    } else if (call_is(c, i, "SAT")) {
        f->overflow = OVERFLOW_SAT;
    } else if (call_is(c, i, "FAIL")) {
        f->overflow = OVERFLOW_FAIL;
    } else {
        reply_error(&c->reply, ERR_BITFIELD_OVERFLOW);
        return false;
    }
    return true;
}

enum next { NEXT_FIELD, NEXT_END, NEXT_ERROR /* the reply is written */ };

/* The operation at *i, which moves behind it; `f` carries OVERFLOW from one to the next. */
static enum next field_next(struct call *c, int *i, struct field *f)
{
    while (*i < c->argc) {
        int left = c->argc - *i - 1;
        if (call_is(c, *i, "OVERFLOW") && left >= 1) {
            if (!overflow_parse(c, *i + 1, f)) return NEXT_ERROR;
            *i += 2;
            continue;
        }
        if (call_is(c, *i, "GET") && left >= 2) {
            f->op = FIELD_GET;
        } else if (call_is(c, *i, "SET") && left >= 3) {
            f->op = FIELD_SET;
        } else if (call_is(c, *i, "INCRBY") && left >= 3) {
            f->op = FIELD_INCRBY;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return NEXT_ERROR;
        }
        if (!type_parse(c, *i + 1, f) || !bit_offset(c, *i + 2, f->width, &f->at)) {
            return NEXT_ERROR;
        }
        if (f->op != FIELD_GET && !call_int(c, *i + 3, &f->number)) return NEXT_ERROR;
        *i += f->op == FIELD_GET ? 3 : 4;
        return NEXT_FIELD;
    }
    return NEXT_END;
}

struct plan {
    size_t count;
    uint64_t write_begin; /* the first bit written */
    uint64_t write_end;   /* behind the furthest; 0: all are GETs */
};

/* False: an error is written. */
static bool plan_make(struct call *c, struct plan *out)
{
    struct field f = {.overflow = OVERFLOW_WRAP};
    enum next next;
    *out = (struct plan){.write_begin = UINT64_MAX};
    for (int i = 2; (next = field_next(c, &i, &f)) == NEXT_FIELD;) {
        out->count++;
        if (f.op == FIELD_GET) continue;
        if (f.at < out->write_begin) out->write_begin = f.at;
        if (f.at + f.width > out->write_end) out->write_end = f.at + f.width;
    }
    return next == NEXT_END;
}

/* ---- running ---- */

/* A field's bits as the number they stand for. */
static int64_t field_number(const struct field *f, uint64_t bits)
{
    unsigned unused = 64 - f->width;
    if (f->is_signed) return (int64_t)(bits << unused) >> unused;
    return (int64_t)bits; /* at most 63 bits */
}

/* The number to be stored; false: it does not fit and OVERFLOW is FAIL. */
static bool field_fit(const struct field *f, wide number, int64_t *out)
{
    wide one = 1;
    wide max = f->is_signed ? (one << (f->width - 1)) - 1 : (one << f->width) - 1;
    wide min = f->is_signed ? -max - 1 : 0;
    if (number < min || number > max) {
        if (f->overflow == OVERFLOW_FAIL) return false;
        if (f->overflow == OVERFLOW_SAT) {
            number = number < min ? min : max;
        } else {
            number = field_number(f, (uint64_t)number & (UINT64_MAX >> (64 - f->width)));
        }
    }
    *out = (int64_t)number;
    return true;
}

/* SET or INCRBY. 1: bits have changed, 0: they are as they were, -1: OVERFLOW FAIL refused it. */
static int field_write(struct call *c, const struct field *f, char *bytes, size_t len)
{
    int64_t old = field_number(f, bits_get(slice_of(bytes, len), f->at, f->width));
    int64_t now;
    wide wanted = f->op == FIELD_SET ? (wide)f->number : (wide)old + f->number;
    /* SET takes its argument for an unsigned field as unsigned: -1 is above every limit. */
    if (f->op == FIELD_SET && !f->is_signed) wanted = (uint64_t)f->number;
    if (!field_fit(f, wanted, &now)) {
        reply_null(&c->reply);
        return -1;
    }
    bits_set(bytes, f->at, f->width, (uint64_t)now);
    reply_int(&c->reply, f->op == FIELD_SET ? old : now);
    return old != now;
}

static void run_reads(struct call *c, const struct plan *plan)
{
    char scratch[ENTRY_SCRATCH];
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!string_type_ok(c, e)) return;
    struct slice value = e ? entry_string(e, scratch) : SLICE("");
    struct field f = {.overflow = OVERFLOW_WRAP};
    reply_array(&c->reply, plan->count);
    for (int i = 2; field_next(c, &i, &f) == NEXT_FIELD;) {
        reply_int(&c->reply, field_number(&f, bits_get(value, f.at, f.width)));
    }
}

static void run_writes(struct call *c, const struct plan *plan)
{
    char scratch[ENTRY_SCRATCH];
    const struct entry *e = ks_find(&c->ks, c->argv[1]);
    if (!string_type_ok(c, e)) return;
    size_t old_len = e ? entry_string(e, scratch).len : 0;
    size_t len = (size_t)((plan->write_end + 7) >> 3);
    bool grows = len > old_len;
    if (!grows) len = old_len;
    size_t begin = (size_t)(plan->write_begin >> 3);
    char *bytes = ks_string_room_for(&c->ks, c->argv[1], len, begin,
                                     (size_t)((plan->write_end + 7) >> 3) - begin);
    if (!bytes) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    struct field f = {.overflow = OVERFLOW_WRAP};
    uint64_t changes = 0;
    bool written = false;
    reply_array(&c->reply, plan->count);
    for (int i = 2; field_next(c, &i, &f) == NEXT_FIELD;) {
        if (f.op == FIELD_GET) {
            struct slice value = slice_of(bytes, len);
            reply_int(&c->reply, field_number(&f, bits_get(value, f.at, f.width)));
        } else {
            int wrote = field_write(c, &f, bytes, len);
            written |= wrote > 0 || (wrote == 0 && grows);
            changes += wrote > 0 || grows;
        }
    }
    /* Where OVERFLOW FAIL refused every write, the string has still grown: that is a change, though
     * none that Redis would tell of. */
    if (changes) {
        c->dirty += changes;
        if (written) call_event(c, c->argv[1], EVENT_STRING, "setbit");
        effect_verbatim(c);
    }
}

void cmd_bitfield(struct call *c)
{
    struct plan plan;
    if (!plan_make(c, &plan)) return;
    if (plan.write_end) run_writes(c, &plan);
    else run_reads(c, &plan);
}

void cmd_bitfield_ro(struct call *c)
{
    struct plan plan;
    if (!plan_make(c, &plan)) return;
    if (plan.write_end) reply_error(&c->reply, ERR_BITFIELD_RO_GET);
    else run_reads(c, &plan);
}
