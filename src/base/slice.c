/* Comparing borrowed bytes, and the glob patterns of KEYS, SCAN MATCH, PSUBSCRIBE, ACL and CONFIG.
 *
 * The glob has the meaning of Redis' stringmatchlen(), oddities included:
 *   - an empty text matches the empty pattern only, not even "*";
 *   - a class that is not closed ends with the pattern: "[ab" is "[ab]";
 *   - bytes of a range are compared as signed characters (as unsigned ones where case does not
 *     matter), and "[z-a]" is "[a-z]";
 *   - an escaped byte inside a class is never folded, one outside is.
 * Redis tries the rest of the pattern at every place for every star, which is exponential without
 * its tricks and limits. One star is enough to remember: if the part after the last star can not be
 * matched from here on, moving an earlier star forward only shortens what is left for it.
 * Thread: any (pure). */
#include "splitring/base/slice.h"

int slice_compare(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;
    if (order != 0) return order;
    return (a.len > b.len) - (a.len < b.len);
}

/* tolower() of the C locale: what a process sees that never calls setlocale(). */
static inline char fold(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

bool slice_is_word(struct slice a, const char *word)
{
    for (size_t i = 0; i < a.len; i++) {
        if (word[i] == '\0' || fold(a.ptr[i]) != fold(word[i])) return false;
    }
    return word[a.len] == '\0';
}

static inline bool same(char a, char b, bool ignore_case)
{
    return a == b || (ignore_case && fold(a) == fold(b));
}

static bool in_range(char first, char last, char c, bool ignore_case)
{
    bool swap = (signed char)first > (signed char)last;
    char low = swap ? last : first, high = swap ? first : last;
    if (!ignore_case) {
        return (signed char)c >= (signed char)low && (signed char)c <= (signed char)high;
    }
    /* tolower() of libc also makes them unsigned. */
    unsigned char x = (unsigned char)fold(c);
    return x >= (unsigned char)fold(low) && x <= (unsigned char)fold(high);
}

/* p stands after '['. Says whether c is in the class and moves *at behind the class. */
static bool match_class(struct slice pattern, size_t *at, char c, bool ignore_case)
{
    size_t p = *at;
    bool inverted = p < pattern.len && pattern.ptr[p] == '^';
    bool found = false;
    if (inverted) p++;
    for (; p < pattern.len; p++) {
        size_t left = pattern.len - p;
        const char *here = pattern.ptr + p;
        if (here[0] == '\\' && left >= 2) {
            if (here[1] == c) found = true;
            p++;
        } else if (here[0] == ']') {
            p++;
            break;
        } else if (left >= 3 && here[1] == '-') {
            if (in_range(here[0], here[2], c, ignore_case)) found = true;
            p += 2;
        } else if (same(here[0], c, ignore_case)) {
            found = true;
        }
    }
    *at = p;
    return found != inverted;
}

/* Matches one character against the item at *at (no star) and moves *at behind the item. */
static bool match_one(struct slice pattern, size_t *at, char c, bool ignore_case)
{
    size_t p = *at;
    char kind = pattern.ptr[p++];
    bool matches;
    switch (kind) {
    case '?': matches = true; break;
    case '[': matches = match_class(pattern, &p, c, ignore_case); break;
    case '\\':
        if (p < pattern.len) kind = pattern.ptr[p++];
        matches = same(kind, c, ignore_case);
        break;
    default: matches = same(kind, c, ignore_case); break;
    }
    *at = p;
    return matches;
}

bool slice_glob(struct slice pattern, struct slice text, bool ignore_case)
{
    if (text.len == 0) return pattern.len == 0;
    size_t p = 0, t = 0;
    size_t star_p = SIZE_MAX; /* pattern after the last star seen */
    size_t star_t = 0;        /* text where its rest was tried last */
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star_p = ++p;
            star_t = t;
            if (p == pattern.len) return true;
            continue;
        }
        if (p < pattern.len && match_one(pattern, &p, text.ptr[t], ignore_case)) {
            t++;
            continue;
        }
        if (star_p == SIZE_MAX) return false;
        p = star_p;
        t = ++star_t;
    }
    while (p < pattern.len && pattern.ptr[p] == '*') p++;
    return p == pattern.len;
}
