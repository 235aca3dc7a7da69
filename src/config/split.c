/* Lines and words of a configuration file.
 *
 * A line is words apart by blanks. A word may hold quoted parts: "…" knows \n \r \t \b \a \xHH and
 * takes any other escaped character as it is; '…' knows \' only. What follows a closing quote must
 * be a blank or the end. These are the rules that Redis has for inline commands too; the `resp`
 * layer has its own reader for those, because it works on a socket's buffer and config may know
 * nothing but base.
 *
 * Thread: any. All memory is the caller's or returned. */
#include "directive.h"
#include "splitring/base/mem.h"

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static char unescape(char c)
{
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return c;
    }
}

/* One character inside "…", at s[*at]; moves *at behind it. */
static char take_quoted(struct slice s, size_t *at)
{
    size_t i = *at;
    if (s.ptr[i] != '\\' || i + 1 == s.len) {
        *at = i + 1;
        return s.ptr[i];
    }
    if (s.ptr[i + 1] == 'x' && i + 3 < s.len) {
        int high = hex_digit(s.ptr[i + 2]), low = hex_digit(s.ptr[i + 3]);
        if (high >= 0 && low >= 0) {
            *at = i + 4;
            return (char)(unsigned char)(high * 16 + low);
        }
    }
    *at = i + 2;
    return unescape(s.ptr[i + 1]);
}

/* Reads one word at s[*at] to *out; false: a quote is not closed, or closed amid the word. */
static bool take_word(struct slice s, size_t *at, char **out)
{
    size_t i = *at;
    char quote = 0;
    while (i < s.len) {
        char c = s.ptr[i];
        if (quote == 0) {
            if (is_blank(c)) break;
            i++;
            if (c == '"' || c == '\'') quote = c;
            else *(*out)++ = c;
        } else if (c == quote) {
            i++;
            if (i < s.len && !is_blank(s.ptr[i])) return false;
            quote = 0;
            break;
        } else if (quote == '"') {
            *(*out)++ = take_quoted(s, &i);
        } else {
            if (c == '\\' && i + 1 < s.len && s.ptr[i + 1] == '\'') c = s.ptr[++i];
            *(*out)++ = c;
            i++;
        }
    }
    *at = i;
    return quote == 0;
}

bool line_split(struct line_args *out, struct slice line)
{
    /* A word and the blank behind it take at least two bytes, and no word grows by unquoting. */
    out->args = mem_alloc((line.len / 2 + 1) * sizeof *out->args);
    out->bytes = mem_alloc(line.len + 1);
    out->count = 0;
    char *to = out->bytes;
    size_t at = 0;
    for (;;) {
        while (at < line.len && is_blank(line.ptr[at])) at++;
        if (at == line.len) return true;
        char *from = to;
        if (!take_word(line, &at, &to)) break;
        out->args[out->count++] = slice_of(from, (size_t)(to - from));
    }
    line_args_deinit(out);
    return false;
}

void line_args_deinit(struct line_args *args)
{
    mem_free(args->args);
    mem_free(args->bytes);
    *args = (struct line_args){0};
}

struct slice line_trim(struct slice line)
{
    while (line.len && is_blank(line.ptr[0])) line = slice_of(line.ptr + 1, line.len - 1);
    while (line.len && is_blank(line.ptr[line.len - 1])) line.len--;
    return line;
}

struct slice line_next(struct slice *rest)
{
    struct slice line = *rest;
    const char *end = line.len ? memchr(line.ptr, '\n', line.len) : NULL;
    if (end) {
        line.len = (size_t)(end - line.ptr);
        *rest = slice_of(end + 1, rest->len - line.len - 1);
    } else {
        rest->len = 0;
    }
    return line;
}

void line_append_quoted(struct buf *out, struct slice text)
{
    static const char special[] = "\\\"\n\r\t\a\b", escaped[] = "\\\"nrtab";
    buf_append_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        const char *found = c ? strchr(special, c) : NULL;
        if (found) {
            buf_append_char(out, '\\');
            buf_append_char(out, escaped[found - special]);
        } else if (c >= ' ' && c <= '~') {
            buf_append_char(out, c);
        } else {
            buf_printf(out, "\\x%02x", (unsigned)(unsigned char)c);
        }
    }
    buf_append_char(out, '"');
}
