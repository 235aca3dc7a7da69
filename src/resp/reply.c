/* RESP2 and RESP3 into a growing buffer.
 *
 * Every piece of a reply is at most one reservation: header, payload and CRLF are sized together
 * and written behind one room check. A buffer that could not grow drops what follows (buf.h), so
 * nothing here looks at failures; its owner closes the client.
 *
 * Lengths that are known only afterwards (SCAN, COMMAND DOCS) are inserted in front of what was
 * written since reply_deferred_begin(). That moves the bytes once, which costs less than keeping
 * the output as a list of pieces would for everybody else.
 * Thread: owner of the buffer. */
#include "splitring/resp/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "splitring/base/num.h"

#define HEADER_MAX (1u + NUM_I64_LEN_MAX + 2u) /* ":-9223372036854775808\r\n" */

/* Types that RESP3 added: their RESP2 stand-in. */
static inline char prefix(const struct reply *r, char resp2, char resp3)
{
    return r->proto >= 3 ? resp3 : resp2;
}

static inline size_t write_header(char *out, char type, uint64_t value)
{
    out[0] = type;
    size_t len = 1;
    if (value < 10) {
        out[len++] = (char)('0' + value);
    } else if (value < 100) {
        out[len++] = (char)('0' + value / 10);
        out[len++] = (char)('0' + value % 10);
    } else {
        len += num_format_u64(out + len, value);
    }
    out[len++] = '\r';
    out[len++] = '\n';
    return len;
}

static void append_header(struct reply *r, char type, uint64_t value)
{
    if (!buf_reserve(r->out, HEADER_MAX)) return;
    r->out->len += write_header(r->out->ptr + r->out->len, type, value);
}

void reply_raw(struct reply *r, const char *ptr, size_t len) { buf_append(r->out, ptr, len); }

void reply_ok(struct reply *r) { buf_append(r->out, "+OK\r\n", 5); }

void reply_simple(struct reply *r, const char *text)
{
    size_t len = strlen(text);
    if (!buf_reserve(r->out, len + 3)) return;
    char *out = r->out->ptr + r->out->len;
    out[0] = '+';
    memcpy(out + 1, text, len);
    memcpy(out + 1 + len, "\r\n", 2);
    r->out->len += len + 3;
}

void reply_int(struct reply *r, int64_t value)
{
    if (likely(value >= 0)) {
        append_header(r, ':', (uint64_t)value);
        return;
    }
    if (!buf_reserve(r->out, HEADER_MAX)) return;
    char *out = r->out->ptr + r->out->len;
    out[0] = ':';
    size_t len = 1 + num_format_i64(out + 1, value);
    memcpy(out + len, "\r\n", 2);
    r->out->len += len + 2;
}

/* Headers of short strings, each written as one word. */
struct bulk_head {
    char text[7];
    uint8_t len;
};
#define HEAD(n) {"$" #n "\r\n", sizeof("$" #n "\r\n") - 1}
#define HEADS(tens) \
    HEAD(tens##0), HEAD(tens##1), HEAD(tens##2), HEAD(tens##3), HEAD(tens##4), HEAD(tens##5), \
        HEAD(tens##6), HEAD(tens##7), HEAD(tens##8), HEAD(tens##9)
static const struct bulk_head bulk_heads[] = {HEADS(), HEADS(1), HEADS(2), HEADS(3), HEADS(4),
                                              HEADS(5), HEADS(6), HEADS(7), HEADS(8), HEADS(9)};
static_assert(sizeof(struct bulk_head) == 8 && HEADER_MAX >= 8, "room for a word");

/* Most texts are short, and a call of memcpy costs more than their bytes. */
static inline void copy_text(char *to, const char *from, size_t len)
{
    char head[16], tail[16];
    if (len >= 8 && len <= 16) {
        memcpy(head, from, 8);
        memcpy(tail, from + len - 8, 8);
        memcpy(to, head, 8);
        memcpy(to + len - 8, tail, 8);
    } else if (len > 16 && len <= 32) {
        memcpy(head, from, 16);
        memcpy(tail, from + len - 16, 16);
        memcpy(to, head, 16);
        memcpy(to + len - 16, tail, 16);
    } else if (len) {
        memcpy(to, from, len);
    }
}

void reply_bulk(struct reply *r, const char *ptr, size_t len)
{
    if (!buf_reserve(r->out, HEADER_MAX + len + 2)) return;
    char *out = r->out->ptr + r->out->len;
    size_t header;
    if (likely(len < ARRAY_COUNT(bulk_heads))) {
        memcpy(out, &bulk_heads[len], sizeof(bulk_heads[len]));
        header = bulk_heads[len].len;
    } else {
        header = write_header(out, '$', len);
    }
    copy_text(out + header, ptr, len);
    memcpy(out + header + len, "\r\n", 2);
    r->out->len += header + len + 2;
}

void reply_bulk_slice(struct reply *r, struct slice s) { reply_bulk(r, s.ptr, s.len); }

void reply_bulk_str(struct reply *r, const char *text) { reply_bulk(r, text, strlen(text)); }

void reply_bulk_int(struct reply *r, int64_t value)
{
    char text[NUM_I64_LEN_MAX];
    reply_bulk(r, text, num_format_i64(text, value));
}

void reply_null(struct reply *r)
{
    if (r->proto >= 3) {
        buf_append(r->out, "_\r\n", 3);
    } else {
        buf_append(r->out, "$-1\r\n", 5);
    }
}

void reply_null_array(struct reply *r)
{
    if (r->proto >= 3) {
        buf_append(r->out, "_\r\n", 3);
    } else {
        buf_append(r->out, "*-1\r\n", 5);
    }
}

void reply_bool(struct reply *r, bool value)
{
    if (r->proto >= 3) {
        buf_append(r->out, value ? "#t\r\n" : "#f\r\n", 4);
    } else {
        buf_append(r->out, value ? ":1\r\n" : ":0\r\n", 4);
    }
}

void reply_double(struct reply *r, double value)
{
    char text[NUM_DOUBLE_LEN_MAX];
    size_t len = num_format_double(text, value);
    if (r->proto < 3) {
        reply_bulk(r, text, len);
        return;
    }
    buf_append_char(r->out, ',');
    buf_append(r->out, text, len);
    buf_append(r->out, "\r\n", 2);
}

void reply_verbatim(struct reply *r, const char ext[3], struct slice text)
{
    if (r->proto < 3) {
        reply_bulk_slice(r, text);
        return;
    }
    append_header(r, '=', text.len + 4);
    buf_append(r->out, ext, 3);
    buf_append_char(r->out, ':');
    buf_append_slice(r->out, text);
    buf_append(r->out, "\r\n", 2);
}

void reply_array(struct reply *r, size_t count) { append_header(r, '*', count); }

void reply_map(struct reply *r, size_t pairs)
{
    append_header(r, prefix(r, '*', '%'), r->proto >= 3 ? pairs : 2 * pairs);
}

void reply_set(struct reply *r, size_t count) { append_header(r, prefix(r, '*', '~'), count); }

void reply_push(struct reply *r, size_t count) { append_header(r, prefix(r, '*', '>'), count); }

size_t reply_deferred_begin(struct reply *r) { return r->out->len; }

static void insert_header(struct reply *r, size_t mark, char type, size_t count)
{
    char header[HEADER_MAX];
    if (r->out->failed) return;
    buf_insert(r->out, mark, header, write_header(header, type, count));
}

void reply_deferred_array(struct reply *r, size_t mark, size_t count)
{
    insert_header(r, mark, '*', count);
}

void reply_deferred_map(struct reply *r, size_t mark, size_t pairs)
{
    insert_header(r, mark, prefix(r, '*', '%'), r->proto >= 3 ? pairs : 2 * pairs);
}

void reply_deferred_set(struct reply *r, size_t mark, size_t count)
{
    insert_header(r, mark, prefix(r, '*', '~'), count);
}

void reply_error_text(struct reply *r, const char *ptr, size_t len)
{
    r->errors++;
    /* Line ends around the text go, those inside become blanks: an error is one line. */
    while (len > 0 && (ptr[len - 1] == '\r' || ptr[len - 1] == '\n')) len--;
    while (len > 0 && (*ptr == '\r' || *ptr == '\n')) ptr++, len--;
    if (!buf_reserve(r->out, len + 3)) return;
    char *out = r->out->ptr + r->out->len;
    *out++ = '-';
    for (size_t i = 0; i < len; i++) {
        *out++ = ptr[i] == '\r' || ptr[i] == '\n' ? ' ' : ptr[i];
    }
    memcpy(out, "\r\n", 2);
    r->out->len += len + 3;
}

void reply_error(struct reply *r, enum error_id id)
{
    const char *text = error_text(id);
    reply_error_text(r, text, strlen(text));
}

void reply_errorf(struct reply *r, enum error_id id, ...)
{
    /* Client bytes in error texts are cut to 128 (unknown command) or are names; a text that does
     * not fit all the same is cut, which harms nobody. */
    char text[1024];
    va_list args;
    va_start(args, id);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int len = vsnprintf(text, sizeof(text), error_text(id), args);
#pragma GCC diagnostic pop
    va_end(args);
    if (len < 0) len = 0;
    if ((size_t)len >= sizeof(text)) len = (int)sizeof(text) - 1;
    reply_error_text(r, text, (size_t)len);
}
