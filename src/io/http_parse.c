/* One HTTP/1.x request, judged as strictly as RFC 9112 allows a server to be.
 *
 * There is nothing here that a proxy in front could read differently (request smuggling): lines end
 * with CR LF and nothing else, no line is folded, a header's name is a token with its colon right
 * behind it, and a request with a body, announced in either way, is refused and its connection
 * closed. Whatever is wrong, the answer is one status and the end of the connection.
 * Source: RFC 9110, RFC 9112.
 * Thread: any (pure). */
#include <string.h>

#include "splitring/io/http.h"

#define TARGET_LEN_MAX 1024u
#define HEADERS_MAX 64u

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token_char(s.ptr[i])) return false;
    return s.len != 0;
}

static struct slice trim(struct slice s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) s.ptr++, s.len--;
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) s.len--;
    return s;
}

/* Cuts the text before the first c off; false: there is none. */
static bool cut(struct slice *rest, char c, struct slice *out)
{
    const char *at = rest->len ? memchr(rest->ptr, c, rest->len) : NULL;
    if (!at) return false;
    *out = slice_of(rest->ptr, (size_t)(at - rest->ptr));
    *rest = slice_of(at + 1, rest->len - out->len - 1);
    return true;
}

/* The next line, without its CR LF. *bad: it ends or contains something else. False: not there. */
static bool next_line(struct slice *rest, struct slice *line, bool *bad)
{
    if (!cut(rest, '\n', line)) {
        *bad = rest->len && memchr(rest->ptr, 0, rest->len);
        return false;
    }
    *bad = line->len == 0 || line->ptr[line->len - 1] != '\r';
    if (!*bad) line->len--;
    for (size_t i = 0; i < line->len; i++) {
        unsigned char c = (unsigned char)line->ptr[i];
        if ((c < ' ' && c != '\t') || c == 127) *bad = true;
    }
    return true;
}

/* Method, target, version. Returns a status; *old: HTTP/1.0. */
static unsigned request_line(struct slice line, struct http_request *out, bool *old)
{
    struct slice method, target, version = line, query;
    if (!cut(&version, ' ', &method) || !cut(&version, ' ', &target) || !is_token(method))
        return 400;
    if (version.len != 8 || memcmp(version.ptr, "HTTP/", 5) != 0) return 400;
    *old = memcmp(version.ptr, "HTTP/1.0", 8) == 0;
    if (!*old && memcmp(version.ptr, "HTTP/1.1", 8) != 0) return 505;
    out->head_only = slice_equal(method, SLICE("HEAD"));
    if (!out->head_only && !slice_equal(method, SLICE("GET"))) return 405;
    if (target.len == 0 || target.ptr[0] != '/') return 400;
    if (target.len > TARGET_LEN_MAX) return 414;
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.ptr[i] > 126) return 400;
    out->path = target;
    if (cut(&target, '?', &query)) out->path = query; /* what is before it */
    return 200;
}

struct headers {
    unsigned hosts, count;
    bool close, keep, body;
};

static unsigned header_line(struct slice line, struct headers *h)
{
    struct slice name, value = line, word;
    if (++h->count > HEADERS_MAX) return 431;
    if (!cut(&value, ':', &name) || !is_token(name)) return 400; /* a folded line, too */
    value = trim(value);
    if (slice_is_word(name, "host")) h->hosts++;
    if (slice_is_word(name, "transfer-encoding")) h->body = true;
    if (slice_is_word(name, "content-length") && !slice_equal(value, SLICE("0"))) h->body = true;
    if (!slice_is_word(name, "connection")) return 200;
    for (bool more = true; more;) {
        more = cut(&value, ',', &word);
        if (!more) word = value;
        word = trim(word);
        if (slice_is_word(word, "close")) h->close = true;
        if (slice_is_word(word, "keep-alive")) h->keep = true;
    }
    return 200;
}

int http_parse(struct slice input, struct http_request *out)
{
    struct slice rest = input, line;
    struct headers h = {0};
    bool bad, old = false;
    *out = (struct http_request){.status = 200};
    /* Everything is judged once it is whole; a line that can become nothing good, at once. */
    if (!next_line(&rest, &line, &bad)) {
        if (bad || input.len > HTTP_HEAD_LEN_MAX) out->status = bad ? 400 : 431;
        return out->status == 200 ? HTTP_MORE : HTTP_CLOSE;
    }
    out->status = bad ? 400 : request_line(line, out, &old);
    while (out->status == 200) {
        if (!next_line(&rest, &line, &bad)) {
            if (bad) out->status = 400;
            else if (input.len > HTTP_HEAD_LEN_MAX) out->status = 431;
            else return HTTP_MORE;
            break;
        }
        if (bad) out->status = 400;
        else if (line.len == 0) break;
        else out->status = header_line(line, &h);
    }
    out->len = input.len - rest.len;
    if (out->status == 200 && out->len > HTTP_HEAD_LEN_MAX) out->status = 431;
    if (out->status == 200 && (h.hosts > 1 || (!h.hosts && !old))) out->status = 400;
    if (out->status == 200 && h.body) out->status = 413;
    if (out->status != 200 || h.close || (old && !h.keep)) return HTTP_CLOSE;
    return HTTP_KEEP;
}
