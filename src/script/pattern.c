/* A matcher without recursion.
 *
 * Lua's patterns have no alternatives and repeat single characters only, so each repeated item is
 * open at one place at a time: the ways not yet tried are a stack of at most one frame per '*',
 * '+', '-' and '?' of the pattern, whose room is known before. A frame remembers the captures that
 * had begun and ended; later ones are forgotten when it is tried again, and since a capture's
 * beginning never moves while it is open, two numbers are enough for that.
 *
 * Backtracking stays exponential in the worst case ("a-a-a-…b"), as in any implementation of these
 * patterns. Why not the recursive matcher of Lua's own library: it cannot be interrupted, neither
 * by time nor by SCRIPT KILL, and its depth is the C stack's.
 *
 * Invariant: between two steps, (at, item, frames, captures) is all there is.
 * Thread: any (pure). */
#include "pattern.h"

#define ESCAPE '%'

static bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }

static bool is_lower(unsigned char c) { return c >= 'a' && c <= 'z'; }

static bool is_upper(unsigned char c) { return c >= 'A' && c <= 'Z'; }

static bool is_space(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_hex(unsigned char c)
{
    unsigned char low = c | 0x20;
    return is_digit(c) || (low >= 'a' && low <= 'f');
}

static bool in_class(unsigned char c, unsigned char name)
{
    bool alpha = is_lower(c) || is_upper(c), in;
    switch (name | 0x20) {
    case 'a': in = alpha; break;
    case 'c': in = c < 32 || c == 127; break;
    case 'd': in = is_digit(c); break;
    case 'l': in = is_lower(c); break;
    case 'p': in = c > 32 && c < 127 && !alpha && !is_digit(c); break;
    case 's': in = is_space(c); break;
    case 'u': in = is_upper(c); break;
    case 'w': in = alpha || is_digit(c); break;
    case 'x': in = is_hex(c); break;
    case 'z': in = c == 0; break;
    default: return name == c;
    }
    return is_upper(name) ? !in : in;
}

/* set: at '['; end: after ']'. */
static bool in_set(unsigned char c, const char *set, const char *end)
{
    const char *p = set + 1, *last = end - 1;
    bool found = true;
    if (*p == '^') {
        found = false;
        p++;
    }
    while (p < last) {
        if (*p == ESCAPE) {
            if (in_class(c, (unsigned char)p[1])) return found;
            p += 2;
        } else if (p[1] == '-' && p + 2 < last) {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2]) return found;
            p += 3;
        } else {
            if ((unsigned char)*p == c) return found;
            p++;
        }
    }
    return !found;
}

static const char *fail_with(struct pattern_match *m, const char *error)
{
    m->error = error;
    return NULL;
}

/* Where a single character's item ends. NULL: malformed. */
static const char *item_end(struct pattern_match *m, const char *p)
{
    char first = *p++;
    if (first == ESCAPE)
        return *p ? p + 1 : fail_with(m, "malformed pattern (ends with '%')");
    if (first != '[') return p;
    if (*p == '^') p++;
    do { /* a ']' that comes first stands for itself */
        if (*p == '\0') return fail_with(m, "malformed pattern (missing ']')");
        if (*p++ == ESCAPE && *p) p++;
    } while (*p != ']');
    return p + 1;
}

static void spend(struct pattern_match *m, uint64_t steps)
{
    m->steps -= steps < m->steps ? steps : m->steps;
}

static bool takes(struct pattern_match *m, const char *at, const char *item, const char *end)
{
    if (at >= m->subject_end) return false;
    unsigned char c = (unsigned char)*at;
    switch (*item) {
    case '.': return true;
    case ESCAPE: return in_class(c, (unsigned char)item[1]);
    case '[':
        spend(m, (uint64_t)(end - item));
        return in_set(c, item, end);
    default: return (unsigned char)*item == c;
    }
}

static uint32_t closed_captures(const struct pattern_match *m)
{
    uint32_t closed = 0;
    for (unsigned i = 0; i < m->level; i++)
        if (m->captures[i].len != PATTERN_OPEN) closed |= 1u << i;
    return closed;
}

static void push(struct pattern_match *m, char kind, const char *item_stop)
{
    m->frames[m->frame_count++] = (struct pattern_frame){
        .at = m->at, .least = m->at, .item = m->item, .item_end = item_stop,
        .closed = closed_captures(m), .level = (uint8_t)m->level, .kind = kind};
}

/* The latest choice in another way. False: none is left. */
static bool retry(struct pattern_match *m)
{
    while (m->frame_count) {
        struct pattern_frame *f = &m->frames[m->frame_count - 1];
        m->level = f->level;
        for (unsigned i = 0; i < m->level; i++)
            if (!(f->closed >> i & 1)) m->captures[i].len = PATTERN_OPEN;
        m->item = f->item_end + 1;
        if (f->kind == '?') {
            m->at = f->at;
            m->frame_count--;
            return true;
        }
        if (f->kind == '*' && f->at > f->least) {
            m->at = --f->at;
            return true;
        }
        if (f->kind == '-' && takes(m, f->at, f->item, f->item_end)) {
            m->at = ++f->at;
            return true;
        }
        m->frame_count--;
    }
    return false;
}

/* An item that stands for one character, and what follows it. False: it does not fit. */
static bool step_single(struct pattern_match *m)
{
    const char *end = item_end(m, m->item);
    if (end == NULL) return false;
    bool fits = takes(m, m->at, m->item, end);
    switch (*end) {
    case '?':
        if (fits) push(m, '?', end);
        m->at += fits;
        m->item = end + 1;
        return true;
    case '+':
        if (!fits) return false;
        m->at++;
        push(m, '+', end);
        return true;
    case '*': push(m, '+', end); return true;
    case '-':
        push(m, '-', end);
        m->item = end + 1;
        return true;
    default:
        m->at += fits;
        m->item = end;
        return fits;
    }
}

/* The top frame, of kind '+', still takes: as many as it can. */
static void grow(struct pattern_match *m)
{
    struct pattern_frame *f = &m->frames[m->frame_count - 1];
    while (m->steps && takes(m, f->at, f->item, f->item_end)) {
        f->at++;
        spend(m, 1);
    }
    if (!m->steps) return;
    f->kind = '*';
    m->at = f->at;
    m->item = f->item_end + 1;
}

static bool begin_capture(struct pattern_match *m)
{
    bool position = m->item[1] == ')';
    if (m->level >= PATTERN_CAPTURES) {
        m->error = "too many captures";
        return false;
    }
    m->captures[m->level++] =
        (struct pattern_capture){m->at, position ? PATTERN_POSITION : PATTERN_OPEN};
    m->item += position ? 2 : 1;
    return true;
}

static bool end_capture(struct pattern_match *m)
{
    for (unsigned i = m->level; i-- > 0;) {
        struct pattern_capture *c = &m->captures[i];
        if (c->len != PATTERN_OPEN) continue;
        c->len = m->at - c->at;
        m->item++;
        return true;
    }
    m->error = "invalid pattern capture";
    return false;
}

/* %bxy */
static bool step_balanced(struct pattern_match *m)
{
    const char *p = m->item + 2;
    if (!p[0] || !p[1]) {
        m->error = "unbalanced pattern";
        return false;
    }
    if (m->at >= m->subject_end || *m->at != p[0]) return false;
    const char *s = m->at;
    for (size_t depth = 1; ++s < m->subject_end;) {
        if (*s == p[1]) {
            if (--depth == 0) break;
        } else if (*s == p[0]) {
            depth++;
        }
    }
    spend(m, (uint64_t)(s - m->at));
    if (s >= m->subject_end) return false;
    m->at = s + 1;
    m->item += 4;
    return true;
}

/* %f[set]: between a character outside the set and one in it; NUL stands beyond both ends. */
static bool step_frontier(struct pattern_match *m)
{
    const char *set = m->item + 2;
    if (*set != '[') {
        m->error = "missing '[' after '%f' in pattern";
        return false;
    }
    const char *end = item_end(m, set);
    if (end == NULL) return false;
    unsigned char before = m->at > m->subject ? (unsigned char)m->at[-1] : 0;
    unsigned char here = m->at < m->subject_end ? (unsigned char)*m->at : 0;
    if (in_set(before, set, end) || !in_set(here, set, end)) return false;
    m->item = end;
    return true;
}

/* %1 … %9 */
static bool step_again(struct pattern_match *m)
{
    unsigned i = (unsigned)(m->item[1] - '1');
    if (m->item[1] == '0' || i >= m->level || m->captures[i].len == PATTERN_OPEN) {
        m->error = "invalid capture index";
        return false;
    }
    const struct pattern_capture *c = &m->captures[i];
    if (c->len == PATTERN_POSITION || m->subject_end - m->at < c->len) return false;
    if (memcmp(m->at, c->at, (size_t)c->len) != 0) return false;
    spend(m, (uint64_t)c->len / 16);
    m->at += c->len;
    m->item += 2;
    return true;
}

/* One item. False: it does not fit, or m->error is set. */
static bool step(struct pattern_match *m)
{
    switch (m->item[0]) {
    case '(': return begin_capture(m);
    case ')': return end_capture(m);
    case ESCAPE:
        if (m->item[1] == 'b') return step_balanced(m);
        if (m->item[1] == 'f') return step_frontier(m);
        if (is_digit((unsigned char)m->item[1])) return step_again(m);
        return step_single(m);
    case '$':
        if (m->item[1]) return step_single(m);
        m->item++;
        return m->at == m->subject_end;
    default: return step_single(m);
    }
}

size_t pattern_frames(const char *pattern)
{
    size_t count = 0;
    for (; *pattern; pattern++)
        count += *pattern == '*' || *pattern == '+' || *pattern == '-' || *pattern == '?';
    return count;
}

void pattern_init(struct pattern_match *m, struct slice subject, const char *pattern,
                  struct pattern_frame *frames)
{
    m->subject = subject.ptr;
    m->subject_end = subject.ptr + subject.len;
    m->pattern = pattern;
    m->frames = frames;
    m->steps = 0;
    m->error = NULL;
    pattern_begin(m, subject.ptr);
}

void pattern_begin(struct pattern_match *m, const char *at)
{
    m->at = at;
    m->item = m->pattern;
    m->frame_count = 0;
    m->level = 0;
}

enum pattern_result pattern_step(struct pattern_match *m)
{
    while (m->steps) {
        m->steps--;
        if (m->frame_count && m->frames[m->frame_count - 1].kind == '+') {
            grow(m);
            continue;
        }
        if (*m->item == '\0') return PATTERN_MATCHED;
        if (step(m)) continue;
        if (m->error) return PATTERN_ERROR;
        if (!retry(m)) return PATTERN_FAILED;
    }
    return PATTERN_MORE;
}
