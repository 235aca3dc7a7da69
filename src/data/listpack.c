/* Listpack: strings and integers one after the other in one block, in Redis' layout to the byte.
 *
 *   | total u32 | count u16 | element | element | … | 0xFF |
 *   element:  | encoding and data | backlen |        (the encodings are in the face)
 *   backlen:  the length of what is before it, base 128, most significant group first, every byte
 *             but the first with its high bit set: read backwards it ends at the first clear bit
 *
 * Invariants: total is the block's length, the last byte is 0xFF and no other element begins with
 * it, count is the number of elements or 65535 ("many: count them"; it stays so, even when
 * elements go, until somebody builds the block anew). Every edit is one splice: the new elements'
 * length is known before anything moves, so the block is resized once and the tail moves once.
 *
 * Why Redis' layout and not one of our own: DUMP, RESTORE and RDB files carry these bytes, so a
 * small value is saved by copying it. Its one weakness, that elements have no index, is bounded by
 * the thresholds of the configuration.
 * Thread: owner. */
#include "splitring/data/listpack.h"

#include <errno.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they lie");

#define LEN_MAX ((size_t)1 << 30)
#define COUNT_UNKNOWN 65535u
#define NUMBER_DATA_MAX 9u

/* ---- header ---- */

static uint32_t header_count(const char *bytes)
{
    uint16_t count;
    memcpy(&count, bytes + 4, sizeof(count));
    return count;
}

static void set_header_count(char *bytes, uint32_t count)
{
    uint16_t stored = count < COUNT_UNKNOWN ? (uint16_t)count : COUNT_UNKNOWN;
    memcpy(bytes + 4, &stored, sizeof(stored));
}

static void set_header_len(char *bytes, size_t len)
{
    uint32_t stored = (uint32_t)len;
    memcpy(bytes, &stored, sizeof(stored));
}

/* ---- reading ---- */

static uint32_t count_elements(const char *bytes)
{
    uint32_t count = 0;
    for (size_t at = lp_first(bytes); at != LP_NONE; at = lp_next(bytes, at)) count++;
    return count;
}

uint32_t lp_count(const char *bytes)
{
    uint32_t count = header_count(bytes);
    return likely(count != COUNT_UNKNOWN) ? count : count_elements(bytes);
}

/* The offset of the element that ends before `end`. */
static size_t element_before(const char *bytes, size_t end)
{
    size_t data_len = 0;
    unsigned shift = 0, used = 0;
    uint8_t byte;
    do {
        byte = (uint8_t)bytes[end - ++used];
        data_len |= (size_t)(byte & 127) << shift;
        shift += 7;
    } while (byte & 128);
    return end - used - data_len;
}

size_t lp_prev(const char *bytes, size_t at)
{
    return at == LP_HEADER ? LP_NONE : element_before(bytes, at);
}

size_t lp_last(const char *bytes)
{
    return lp_prev(bytes, lp_len(bytes) - 1);
}

size_t lp_seek(const char *bytes, int64_t index)
{
    uint32_t known = header_count(bytes);
    if (known != COUNT_UNKNOWN) {
        int64_t count = (int64_t)known;
        if (index >= count || index < -count) return LP_NONE;
        if (index >= 0 && index > count / 2) index -= count;
        if (index < 0 && index < -(count / 2)) index += count;
    }
    size_t at;
    if (index >= 0) {
        for (at = lp_first(bytes); at != LP_NONE && index > 0; index--) at = lp_next(bytes, at);
    } else {
        for (at = lp_last(bytes); at != LP_NONE && index < -1; index++) at = lp_prev(bytes, at);
    }
    return at;
}

/* Little endian, two's complement, of 2, 3, 4 or 8 bytes. */
static int64_t read_signed(const char *p, unsigned len)
{
    uint64_t value = 0;
    memcpy(&value, p, len);
    unsigned unused = 64 - 8 * len;
    return (int64_t)(value << unused) >> unused;
}

struct lp_value lp_get_long(const char *p)
{
    uint8_t kind = (uint8_t)p[0];
    if (kind < LP_STR12) {
        uint32_t raw = (uint32_t)(kind & 31) << 8 | (uint8_t)p[1];
        return (struct lp_value){.number = raw < 4096 ? (int64_t)raw : (int64_t)raw - 8192};
    }
    if (kind < LP_STR32) {
        return (struct lp_value){.text = {p + 2, (size_t)(kind & 15) << 8 | (uint8_t)p[1]}};
    }
    switch (kind) {
    case LP_STR32: return (struct lp_value){.text = {p + 5, lp_read_u32(p + 1)}};
    case LP_INT16: return (struct lp_value){.number = read_signed(p + 1, 2)};
    case LP_INT24: return (struct lp_value){.number = read_signed(p + 1, 3)};
    case LP_INT32: return (struct lp_value){.number = read_signed(p + 1, 4)};
    default: dcheck(kind == LP_INT64); return (struct lp_value){.number = read_signed(p + 1, 8)};
    }
}

struct slice lp_text(const char *bytes, size_t at, char scratch[LP_NUMBER_LEN])
{
    struct lp_value value = lp_get(bytes, at);
    if (value.text.ptr) return value.text;
    return slice_of(scratch, num_format_i64(scratch, value.number));
}

bool lp_number(const char *bytes, size_t at, int64_t *number)
{
    struct lp_value value = lp_get(bytes, at);
    if (value.text.ptr) return num_parse_i64(value.text, number);
    *number = value.number;
    return true;
}

/* A text that is looked for, seen as the number it may be. An integer element is canonical, so it
 * equals a text only if that reads as an integer in the strict form. */
struct wanted {
    struct slice text;
    int64_t number;
    bool is_number;
};

static struct wanted wanted_of(struct slice text)
{
    struct wanted w = {.text = text};
    w.is_number = num_parse_i64(text, &w.number);
    return w;
}

static inline bool matches(const char *bytes, size_t at, const struct wanted *w)
{
    struct lp_value value = lp_get(bytes, at);
    if (!value.text.ptr) return w->is_number && value.number == w->number;
    return value.text.len == w->text.len &&
           (w->text.len == 0 || memcmp(value.text.ptr, w->text.ptr, w->text.len) == 0);
}

bool lp_equal(const char *bytes, size_t at, struct slice text)
{
    struct lp_value value = lp_get(bytes, at);
    int64_t number;
    if (value.text.ptr) return slice_equal(value.text, text);
    return num_parse_i64(text, &number) && number == value.number;
}

size_t lp_find(const char *bytes, size_t at, struct slice text, unsigned skip)
{
    struct wanted w = wanted_of(text);
    while (at != LP_NONE) {
        if (matches(bytes, at, &w)) return at;
        at = lp_next(bytes, at);
        for (unsigned i = 0; i < skip && at != LP_NONE; i++) at = lp_next(bytes, at);
    }
    return LP_NONE;
}

size_t lp_find_counted(const char *bytes, size_t at, struct slice text, uint64_t *passed)
{
    struct wanted w = wanted_of(text);
    uint64_t count = 0;
    while (at != LP_NONE && !matches(bytes, at, &w)) {
        at = lp_next(bytes, at);
        count++;
    }
    *passed += count;
    return at;
}

/* ---- encoding ---- */

/* What is to be written: encoding bytes, then the text's bytes (none for a number), then the
 * backlen. head_len + text.len is the data's length. */
struct coded {
    uint8_t head[NUMBER_DATA_MAX];
    uint8_t head_len;
    struct slice text;
    size_t len; /* with the backlen */
};

static void code_number(struct coded *c, int64_t number)
{
    if (number >= 0 && number <= LP_UINT7_MAX) {
        c->head[0] = (uint8_t)number;
        c->head_len = 1;
    } else if (number >= -4096 && number <= 4095) {
        c->head[0] = (uint8_t)(LP_INT13 | ((uint64_t)number >> 8 & 31));
        c->head[1] = (uint8_t)number;
        c->head_len = 2;
    } else {
        static const struct {
            int64_t max;
            uint8_t kind, len;
        } kinds[] = {{INT16_MAX, LP_INT16, 2}, {(1 << 23) - 1, LP_INT24, 3},
                     {INT32_MAX, LP_INT32, 4}, {INT64_MAX, LP_INT64, 8}};
        unsigned i = 0;
        while (number > kinds[i].max || number < -kinds[i].max - 1) i++;
        c->head[0] = kinds[i].kind;
        memcpy(c->head + 1, &number, kinds[i].len);
        c->head_len = (uint8_t)(1 + kinds[i].len);
    }
    c->text = (struct slice){NULL, 0};
    c->len = c->head_len + 1u;
}

static void code_text(struct coded *c, struct slice text)
{
    int64_t number;
    if (num_may_parse(text) && num_parse_i64(text, &number)) {
        code_number(c, number);
        return;
    }
    c->text = text;
    if (text.len < 64) {
        c->head[0] = (uint8_t)(LP_STR6 | text.len);
        c->head_len = 1;
    } else if (text.len < 4096) {
        c->head[0] = (uint8_t)(LP_STR12 | text.len >> 8);
        c->head[1] = (uint8_t)text.len;
        c->head_len = 2;
    } else {
        uint32_t len = (uint32_t)text.len;
        c->head[0] = LP_STR32;
        memcpy(c->head + 1, &len, sizeof(len));
        c->head_len = 5;
    }
    size_t data_len = c->head_len + text.len;
    c->len = data_len + lp_backlen_len(data_len);
}

size_t lp_encoded_len(struct slice text)
{
    struct coded c;
    code_text(&c, text);
    return c.len;
}

static char *write_coded(char *out, const struct coded *c)
{
    memcpy(out, c->head, c->head_len);
    if (c->text.len) memcpy(out + c->head_len, c->text.ptr, c->text.len);
    size_t data_len = c->head_len + c->text.len;
    out += data_len;
    size_t groups = lp_backlen_len(data_len);
    for (size_t i = 0; i < groups; i++) {
        uint8_t group = (uint8_t)(data_len >> 7 * (groups - 1 - i) & 127);
        out[i] = (char)(i == 0 ? group : group | 128);
    }
    return out + groups;
}

/* ---- editing ---- */

char *lp_resize_heap(struct lp *lp, size_t len)
{
    char *bytes = mem_try_realloc(lp->bytes, len);
    if (bytes) lp->bytes = bytes;
    return bytes;
}

void lp_init(char *bytes)
{
    set_header_len(bytes, LP_EMPTY_LEN);
    set_header_count(bytes, 0);
    bytes[LP_HEADER] = (char)LP_END;
}

/* Makes room for `in` bytes at `at`, where `out` bytes go. The gap is then to be filled. */
static int splice(struct lp *lp, size_t at, size_t out, size_t in)
{
    size_t old_len = lp_len(lp->bytes);
    dcheck(at >= LP_HEADER && at + out < old_len);
    size_t new_len = old_len - out + in, tail = old_len - at - out;
    if (in > out) {
        if (new_len > LEN_MAX || !lp->resize(lp, new_len)) return -ENOMEM;
        memmove(lp->bytes + at + in, lp->bytes + at + out, tail);
    } else if (in < out) {
        memmove(lp->bytes + at + in, lp->bytes + at + out, tail);
        /* A refusal leaves a block that is longer than the listpack, which does no harm. */
        (void)lp->resize(lp, new_len);
    }
    set_header_len(lp->bytes, new_len);
    return 0;
}

static void add_count(char *bytes, size_t added, size_t removed)
{
    uint32_t count = header_count(bytes);
    if (count == COUNT_UNKNOWN) return;
    size_t now = count + added - removed;
    set_header_count(bytes, now < COUNT_UNKNOWN ? (uint32_t)now : COUNT_UNKNOWN);
}

static int insert_coded(struct lp *lp, size_t at, const struct coded *c)
{
    if (at == LP_NONE) at = lp_len(lp->bytes) - 1;
    int error = splice(lp, at, 0, c->len);
    if (error) return error;
    write_coded(lp->bytes + at, c);
    add_count(lp->bytes, 1, 0);
    return 0;
}

static int replace_coded(struct lp *lp, size_t at, const struct coded *c)
{
    int error = splice(lp, at, lp_element_len(lp->bytes, at), c->len);
    if (error) return error;
    write_coded(lp->bytes + at, c);
    return 0;
}

/* A text that cannot fit is refused before its length meets 32 bits. */
static bool too_long(struct slice text) { return text.len > LEN_MAX; }

int lp_insert(struct lp *lp, size_t at, struct slice text)
{
    if (too_long(text)) return -ENOMEM;
    struct coded c;
    code_text(&c, text);
    return insert_coded(lp, at, &c);
}

int lp_append(struct lp *lp, struct slice text) { return lp_insert(lp, LP_NONE, text); }

int lp_prepend(struct lp *lp, struct slice text) { return lp_insert(lp, LP_HEADER, text); }

int lp_append_number(struct lp *lp, int64_t number)
{
    struct coded c;
    code_number(&c, number);
    return insert_coded(lp, LP_NONE, &c);
}

int lp_insert_many(struct lp *lp, size_t at, const struct slice *texts, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += too_long(texts[i]) ? LEN_MAX : lp_encoded_len(texts[i]);
        if (total > LEN_MAX) return -ENOMEM;
    }
    if (at == LP_NONE) at = lp_len(lp->bytes) - 1;
    int error = splice(lp, at, 0, total);
    if (error) return error;
    char *out = lp->bytes + at;
    for (size_t i = 0; i < count; i++) {
        struct coded c;
        code_text(&c, texts[i]);
        out = write_coded(out, &c);
    }
    add_count(lp->bytes, count, 0);
    return 0;
}

int lp_replace(struct lp *lp, size_t at, struct slice text)
{
    if (too_long(text)) return -ENOMEM;
    struct coded c;
    code_text(&c, text);
    return replace_coded(lp, at, &c);
}

int lp_replace_number(struct lp *lp, size_t at, int64_t number)
{
    struct coded c;
    code_number(&c, number);
    return replace_coded(lp, at, &c);
}

void lp_delete(struct lp *lp, size_t at, size_t count)
{
    size_t end = at, removed = 0;
    while (removed < count && (uint8_t)lp->bytes[end] != LP_END) {
        end += lp_element_len(lp->bytes, end);
        removed++;
    }
    if (removed == 0) return;
    int error = splice(lp, at, end - at, 0);
    dcheck(error == 0);
    (void)error;
    add_count(lp->bytes, 0, removed);
}

void lp_push_front(char *bytes, size_t len, struct slice text)
{
    char header[LP_HEADER];
    struct coded c;
    code_text(&c, text);
    dcheck(c.len == len);
    memcpy(header, bytes + len, sizeof(header));
    (void)write_coded(bytes + LP_HEADER, &c);
    memcpy(bytes, header, sizeof(header));
    set_header_len(bytes, lp_len(bytes) + len);
    add_count(bytes, 1, 0);
}

char *lp_pop_front(char *bytes)
{
    size_t len = lp_element_len(bytes, LP_HEADER);
    memmove(bytes + len, bytes, LP_HEADER);
    set_header_len(bytes + len, lp_len(bytes + len) - len);
    add_count(bytes + len, 0, 1);
    return bytes + len;
}

int lp_join_front(struct lp *lp, const char *other)
{
    size_t len = lp_len(other) - LP_EMPTY_LEN;
    uint32_t count = lp_count(other);
    int error = splice(lp, LP_HEADER, 0, len);
    if (error) return error;
    memcpy(lp->bytes + LP_HEADER, other + LP_HEADER, len);
    add_count(lp->bytes, count, 0);
    return 0;
}

void lp_copy_range(const char *bytes, size_t from, size_t to, uint32_t count, char *out)
{
    set_header_len(out, LP_EMPTY_LEN + to - from);
    set_header_count(out, count < COUNT_UNKNOWN ? count : COUNT_UNKNOWN);
    memcpy(out + LP_HEADER, bytes + from, to - from);
    out[LP_HEADER + to - from] = (char)LP_END;
}

/* ---- building ---- */

void lp_build_begin(struct buf *out)
{
    char header[LP_HEADER] = {0};
    buf_append(out, header, sizeof(header));
}

static void build_coded(struct buf *out, const struct coded *c)
{
    if (!buf_reserve(out, c->len)) return;
    write_coded(out->ptr + out->len, c);
    out->len += c->len;
}

static void build_fail(struct buf *out)
{
    buf_deinit(out);
    out->failed = true;
}

void lp_build_add(struct buf *out, struct slice text)
{
    if (out->failed) return;
    if (too_long(text)) {
        build_fail(out);
        return;
    }
    struct coded c;
    code_text(&c, text);
    build_coded(out, &c);
}

void lp_build_add_number(struct buf *out, int64_t number)
{
    if (out->failed) return;
    struct coded c;
    code_number(&c, number);
    build_coded(out, &c);
}

void lp_build_end(struct buf *out, size_t begin)
{
    buf_append_char(out, (char)LP_END);
    if (out->failed) return;
    if (out->len - begin > LEN_MAX) {
        build_fail(out);
        return;
    }
    char *bytes = out->ptr + begin;
    set_header_len(bytes, out->len - begin);
    set_header_count(bytes, count_elements(bytes));
}

/* ---- outside data ---- */

/* Length of the data of the element at p, 0 if it does not lie before end as a whole. Reads no
 * byte at or past end. */
static size_t outside_data_len(const char *p, const char *end)
{
    size_t left = (size_t)(end - p);
    uint8_t kind = (uint8_t)p[0];
    if (kind > LP_INT64) return 0;
    if (kind >= LP_STR12 && kind < LP_STR32 && left < 2) return 0;
    if (kind == LP_STR32 && left < 5) return 0;
    size_t len = lp_data_len(p);
    return len < left ? len : 0; /* a byte of backlen, at least, follows */
}

static bool outside_backlen_ok(const char *p, size_t groups, size_t data_len)
{
    for (size_t i = 0; i < groups; i++) {
        uint8_t group = (uint8_t)(data_len >> 7 * (groups - 1 - i) & 127);
        if ((uint8_t)p[i] != (i == 0 ? group : group | 128)) return false;
    }
    return true;
}

bool lp_valid(struct slice bytes, uint32_t *count)
{
    if (bytes.len < LP_EMPTY_LEN || bytes.len > LEN_MAX || lp_len(bytes.ptr) != bytes.len) {
        return false;
    }
    const char *p = bytes.ptr + LP_HEADER, *end = bytes.ptr + bytes.len - 1;
    if ((uint8_t)*end != LP_END) return false;
    uint32_t found = 0;
    while (p < end) {
        size_t data_len = outside_data_len(p, end);
        if (data_len == 0) return false;
        size_t groups = lp_backlen_len(data_len);
        if ((size_t)(end - p) < data_len + groups) return false;
        if (!outside_backlen_ok(p + data_len, groups, data_len)) return false;
        p += data_len + groups;
        found++;
    }
    uint32_t claimed = header_count(bytes.ptr);
    if (claimed != COUNT_UNKNOWN && claimed != found) return false;
    if (count) *count = found;
    return true;
}

/* No encoding of a text or a number is as long as another one of the same; but digits may stand
 * there as a text, where a number would do. */
static bool element_is_canonical(const char *bytes, size_t at, size_t len)
{
    struct lp_value value = lp_get(bytes, at);
    struct coded c;
    if (!value.text.ptr) {
        code_number(&c, value.number);
    } else {
        code_text(&c, value.text);
        if (!c.text.ptr) return false;
    }
    return c.len == len;
}

bool lp_is_canonical(const char *bytes)
{
    uint32_t count = 0;
    for (size_t at = LP_HEADER; (uint8_t)bytes[at] != LP_END; count++) {
        size_t len = lp_element_len(bytes, at);
        if (!element_is_canonical(bytes, at, len)) return false;
        at += len;
    }
    return header_count(bytes) == (count < COUNT_UNKNOWN ? count : COUNT_UNKNOWN);
}
