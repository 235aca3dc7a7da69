/* Inline commands: a line of words, as one types it into telnet.
 *
 * The rules are those of sdssplitargs() in Redis: words are parted by blanks; "..." knows \n \r \t
 * \b \a \xHH and \c for any other c; '...' knows \' only; a closing quote must be followed by a
 * blank or the end. Quotes may open in the middle of a word (foo"bar" is foobar). A word ends at
 * blank, tab, CR or LF, but between words vertical tab and form feed are skipped too: an oddity
 * that is kept.
 *
 * Unescaped text is never longer than its source, so a quoted line is rewritten in place.
 * Thread: any (pure). */
#include "partial.h"

static inline bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static inline bool ends_word(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

int inline_argc_max(struct slice line)
{
    int count = 1;
    for (size_t i = 0; i < line.len; i++) count += is_space(line.ptr[i]);
    return count;
}

bool inline_has_quotes(struct slice line)
{
    return line.len &&
           (memchr(line.ptr, '"', line.len) != NULL || memchr(line.ptr, '\'', line.len) != NULL);
}

int inline_split(struct slice line, struct arg *argv)
{
    const char *at = line.ptr, *end = line.ptr + line.len;
    int argc = 0;
    for (;;) {
        while (at < end && is_space(*at)) at++;
        if (at == end) return argc;
        const char *word = at;
        while (at < end && !ends_word(*at)) at++;
        argv[argc++] = (struct arg){word, (size_t)(at - word), NULL};
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The character that \c stands for in double quotes. */
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

/* at stands behind the opening quote. Appends to *out; returns the place behind the closing quote,
 * or NULL where there is none or where text follows it. */
static char *unquote(char *at, const char *end, char quote, char **out)
{
    char *to = *out;
    for (; at < end; at++) {
        if (*at == quote) {
            *out = to;
            return at + 1 < end && !is_space(at[1]) ? NULL : at + 1;
        }
        if (quote == '"' && *at == '\\' && end - at >= 4 && at[1] == 'x' && hex_digit(at[2]) >= 0 &&
            hex_digit(at[3]) >= 0) {
            *to++ = (char)(hex_digit(at[2]) * 16 + hex_digit(at[3]));
            at += 3;
        } else if (quote == '"' && *at == '\\' && end - at >= 2) {
            *to++ = unescape(*++at);
        } else if (quote == '\'' && *at == '\\' && end - at >= 2 && at[1] == '\'') {
            *to++ = *++at;
        } else {
            *to++ = *at;
        }
    }
    return NULL;
}

int inline_split_quoted(char *line, size_t len, struct arg *argv)
{
    char *at = line, *end = line + len;
    int argc = 0;
    for (;;) {
        while (at < end && is_space(*at)) at++;
        if (at == end) return argc;
        char *word = at, *to = at;
        while (at < end && !ends_word(*at)) {
            if (*at == '"' || *at == '\'') {
                at = unquote(at + 1, end, *at, &to);
                if (!at) return -1;
                break; /* a blank or the end follows */
            }
            *to++ = *at++;
        }
        argv[argc++] = (struct arg){word, (size_t)(to - word), NULL};
    }
}
