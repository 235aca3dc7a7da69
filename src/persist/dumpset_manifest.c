/* The manifest of a set of dumps, written and read (the format: dumpset.h).
 *
 * It begins with a checksum over the rest: a flipped bit in a size or in the range of slots must
 * not load as something else, and a manifest that has lost its end is noticed as well. There is one
 * way to write it and only that is accepted, so nothing of a line is ever guessed. The ranges of
 * the parts share out all slots, or it is refused: a part that is not named would be keys that are
 * not missed.
 * Thread: owner of the struct. */
#include "splitring/persist/dumpset.h"

#include "aof_line.h"
#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"

#define HEX_DIGITS 16u

static const char first_word[] = "splitring-snapshot ";
static const char bad_line[] = "The line is none of a snapshot's manifest";

void dumpset_manifest_deinit(struct dumpset_manifest *m)
{
    mem_free(m->parts);
    *m = (struct dumpset_manifest){0};
}

void dumpset_slots(unsigned part, unsigned count, uint32_t *first, uint32_t *last)
{
    *first = (part * SLOT_COUNT + count - 1) / count;
    *last = ((part + 1) * SLOT_COUNT + count - 1) / count - 1;
}

/* ---- writing ---- */

static void put_mark(struct buf *out, const char *word, struct dumpset_mark mark)
{
    if (mark.known)
        buf_printf(out, "%s size %llu crc %016llx\n", word, (unsigned long long)mark.size,
                   (unsigned long long)mark.crc);
}

void dumpset_manifest_format(const struct dumpset_manifest *m, struct buf *out)
{
    struct buf text = {0};
    buf_printf(&text, "%s1\nseq %llu\ntime %lld\n", first_word, (unsigned long long)m->seq,
               (long long)m->time_s);
    for (unsigned i = 0; i < m->count; i++) {
        const struct dumpset_part *p = &m->parts[i];
        buf_printf(&text, "part %u slots %u-%u size %llu crc %016llx\n", i, p->slot_first,
                   p->slot_last, (unsigned long long)p->size, (unsigned long long)p->crc);
    }
    put_mark(&text, "older", m->older);
    put_mark(&text, "newer", m->newer);
    char line[AOF_SUM_LINE_MAX];
    struct aof_sum sum = {0};
    if (text.ptr) aof_sum_add(&sum, text.ptr, text.len);
    buf_append(out, line, aof_line_format(sum, line));
    buf_append_char(out, '\n');
    buf_append_slice(out, buf_slice(&text));
    out->failed |= text.failed;
    buf_deinit(&text);
}

/* ---- reading ---- */

static bool take(struct slice *s, const char *word)
{
    size_t len = strlen(word);
    if (s->len < len || memcmp(s->ptr, word, len) != 0) return false;
    *s = slice_of(s->ptr + len, s->len - len);
    return true;
}

static bool take_number(struct slice *s, uint64_t *number)
{
    size_t len = 0;
    while (len < s->len && s->ptr[len] >= '0' && s->ptr[len] <= '9') len++;
    if (!num_parse_u64(slice_of(s->ptr, len), number)) return false;
    *s = slice_of(s->ptr + len, s->len - len);
    return true;
}

static bool take_hex(struct slice *s, uint64_t *number)
{
    if (s->len < HEX_DIGITS) return false;
    *number = 0;
    for (unsigned i = 0; i < HEX_DIGITS; i++) {
        char c = s->ptr[i];
        bool letter = c >= 'a' && c <= 'f';
        if (!letter && (c < '0' || c > '9')) return false;
        *number = *number << 4 | (uint64_t)(letter ? c - 'a' + 10 : c - '0');
    }
    *s = slice_of(s->ptr + HEX_DIGITS, s->len - HEX_DIGITS);
    return true;
}

static bool take_size_and_crc(struct slice *s, uint64_t *size, uint64_t *crc)
{
    return take(s, " size ") && take_number(s, size) && take(s, " crc ") && take_hex(s, crc) &&
           s->len == 0;
}

static const char *take_part(struct dumpset_manifest *m, struct slice s)
{
    struct dumpset_part p;
    uint64_t number, first, last;
    if (!take_number(&s, &number) || number != m->count || !take(&s, " slots ") ||
        !take_number(&s, &first) || !take(&s, "-") || !take_number(&s, &last) ||
        !take_size_and_crc(&s, &p.size, &p.crc))
        return bad_line;
    if (m->count == DUMPSET_PARTS_MAX) return "There are too many parts";
    uint32_t due = m->count ? m->parts[m->count - 1].slot_last + 1 : 0;
    if (first != due || last < first || last >= SLOT_COUNT)
        return "The parts do not share out the slots";
    p.slot_first = (uint32_t)first;
    p.slot_last = (uint32_t)last;
    if ((m->count & (m->count - 1)) == 0) /* 0, 1, 2, 4, … */
        m->parts = mem_realloc(m->parts, (m->count ? m->count * 2 : 1) * sizeof *m->parts);
    m->parts[m->count++] = p;
    return NULL;
}

static const char *take_mark(struct dumpset_mark *mark, struct slice s)
{
    if (mark->known || !take_size_and_crc(&s, &mark->size, &mark->crc)) return bad_line;
    mark->known = true;
    return NULL;
}

/* Line 1 is the checksum's. */
static const char *take_line(struct dumpset_manifest *m, struct slice s, unsigned line)
{
    uint64_t number;
    if (line == 2) {
        if (!take(&s, first_word)) return bad_line;
        return slice_equal(s, SLICE("1")) ? NULL
                                          : "It is of a newer version of Splitring than this one";
    }
    if (line == 3 || line == 4) {
        if (!take(&s, line == 3 ? "seq " : "time ") || !take_number(&s, &number) || s.len ||
            number > INT64_MAX)
            return bad_line;
        if (line == 3) m->seq = number;
        else m->time_s = (int64_t)number;
        return NULL;
    }
    if (take(&s, "part ")) return m->older.known || m->newer.known ? bad_line : take_part(m, s);
    if (take(&s, "older")) return m->newer.known ? bad_line : take_mark(&m->older, s);
    return take(&s, "newer") ? take_mark(&m->newer, s) : bad_line;
}

static bool sum_fits(struct slice line, struct slice rest)
{
    struct aof_sum said, sum = {0};
    if (!aof_line_parse(line, &said)) return false;
    aof_sum_add(&sum, rest.ptr, rest.len);
    return sum.crc == said.crc && sum.bytes == said.bytes;
}

static const char *take_end(const struct dumpset_manifest *m, unsigned lines)
{
    if (lines < 4) return "It has lost its end";
    if (m->count && m->parts[m->count - 1].slot_last != SLOT_COUNT - 1)
        return "The parts do not share out the slots";
    return NULL;
}

const char *dumpset_manifest_parse(struct dumpset_manifest *m, struct slice text, unsigned *line)
{
    const char *why = text.len ? NULL : "It is empty";
    *m = (struct dumpset_manifest){0};
    *line = 0;
    for (size_t at = 0; at < text.len && !why;) {
        const char *begin = text.ptr + at, *end = memchr(begin, '\n', text.len - at);
        ++*line;
        if (!end) {
            why = "It has lost its end";
            break;
        }
        struct slice one = slice_of(begin, (size_t)(end - begin));
        at += one.len + 1;
        if (*line > 1)
            why = take_line(m, one, *line);
        else if (!sum_fits(one, slice_of(text.ptr + at, text.len - at)))
            why = "It does not fit its checksum: it is damaged";
    }
    if (!why) why = take_end(m, *line);
    if (why) dumpset_manifest_deinit(m);
    return why;
}

bool dumpset_manifest_is(struct slice text)
{
    const char *end = text.len ? memchr(text.ptr, '\n', text.len) : NULL;
    if (!end) return false;
    struct slice second = slice_of(end + 1, text.len - (size_t)(end + 1 - text.ptr));
    return take(&second, first_word);
}
