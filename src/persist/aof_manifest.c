/* The manifest of the append log: which files it is made of, in the words of Redis 7.
 *
 *   #CRC:6d3f…:118
 *   file appendonly.aof.3.base.rdb seq 3 type b
 *   file appendonly.aof.2.incr.aof seq 2 type h
 *   file appendonly.aof.3.incr.aof seq 3 type i
 *
 * Ours begin with a checksum: one flipped bit makes an 'i' an 'h', and so a log into history, which
 * is deleted. Redis takes that line for a comment. It stands first, so that a manifest that lost
 * its end is noticed as well. Manifests without it are Redis', and are read as there, save that a
 * number must be one ("seq 1x" is 1 for Redis).
 *
 * The list is short and changes once in a rewrite: an array in the order base, history, incr.
 * Thread: owner of the struct. */
#include "aof_line.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/resp/words.h"

#include <stdio.h>

#define LINE_MAX_REDIS 1024u

static const char bad_format[] = "Invalid AOF manifest file format";

void aof_manifest_deinit(struct aof_manifest *m)
{
    mem_free(m->files);
    *m = (struct aof_manifest){0};
}

static void make_room(struct aof_manifest *m)
{
    if (m->count < m->cap) return;
    m->cap = m->cap ? m->cap * 2 : 4;
    m->files = mem_realloc(m->files, m->cap * sizeof *m->files);
}

void aof_manifest_copy(struct aof_manifest *m, const struct aof_manifest *from)
{
    *m = (struct aof_manifest){0};
    for (unsigned i = 0; i < from->count; i++) {
        make_room(m);
        m->files[m->count++] = from->files[i];
    }
}

/* ---- the list ---- */

static unsigned rank(enum aof_type type)
{
    return type == AOF_BASE ? 0 : type == AOF_HISTORY ? 1 : 2;
}

static void insert(struct aof_manifest *m, const struct aof_file *file)
{
    unsigned at = m->count;
    make_room(m);
    while (at > 0 && rank(m->files[at - 1].type) > rank(file->type)) at--;
    memmove(m->files + at + 1, m->files + at, (m->count - at) * sizeof *m->files);
    m->files[at] = *file;
    m->count++;
}

void aof_manifest_add(struct aof_manifest *m, enum aof_type type, int64_t seq, struct slice name)
{
    struct aof_file file = {.seq = seq, .type = type};
    check(name.len <= AOF_NAME_MAX);
    memcpy(file.name, name.ptr, name.len);
    insert(m, &file);
}

void aof_manifest_forget(struct aof_manifest *m, unsigned index)
{
    check(index < m->count);
    m->count--;
    memmove(m->files + index, m->files + index + 1, (m->count - index) * sizeof *m->files);
}

const struct aof_file *aof_manifest_base(const struct aof_manifest *m)
{
    return m->count > 0 && m->files[0].type == AOF_BASE ? &m->files[0] : NULL;
}

const struct aof_file *aof_manifest_last_incr(const struct aof_manifest *m)
{
    return m->count > 0 && m->files[m->count - 1].type == AOF_INCR ? &m->files[m->count - 1] : NULL;
}

int64_t aof_manifest_seq(const struct aof_manifest *m, enum aof_type type)
{
    int64_t most = 0;
    for (unsigned i = 0; i < m->count; i++) {
        const struct aof_file *f = &m->files[i];
        if (rank(f->type) == rank(type) && f->seq > most) most = f->seq;
    }
    return most;
}

void aof_manifest_retire(struct aof_manifest *m, unsigned keep_incr)
{
    struct aof_manifest old = *m;
    unsigned incr = 0;
    *m = (struct aof_manifest){0};
    for (unsigned i = 0; i < old.count; i++) incr += old.files[i].type == AOF_INCR;
    for (unsigned i = 0; i < old.count; i++) {
        struct aof_file *f = &old.files[i];
        bool keep = f->type == AOF_INCR && incr <= keep_incr;
        incr -= f->type == AOF_INCR;
        if (!keep) f->type = AOF_HISTORY;
        insert(m, f);
    }
    aof_manifest_deinit(&old);
}

/* ---- names ---- */

bool aof_name(char out[AOF_NAME_MAX + 1], const char *appendfilename, int64_t seq,
              enum aof_type type, bool rdb)
{
    int len = snprintf(out, AOF_NAME_MAX + 1, "%s.%lld.%s.%s", appendfilename, (long long)seq,
                       type == AOF_BASE ? "base" : "incr", rdb ? "rdb" : "aof");
    return len > 0 && (unsigned)len <= AOF_NAME_MAX;
}

bool aof_name_manifest(char out[AOF_NAME_MAX + 1], const char *appendfilename)
{
    int len = snprintf(out, AOF_NAME_MAX + 1, "%s.manifest", appendfilename);
    return len > 0 && (unsigned)len <= AOF_NAME_MAX;
}

/* ---- text ---- */

static bool is_plain(unsigned char c)
{
    return c > ' ' && c < 127 && c != '"' && c != '\'' && c != '\\';
}

static void put_name(struct buf *out, const char *name)
{
    bool plain = *name != '\0';
    for (const char *p = name; *p; p++) plain &= is_plain((unsigned char)*p);
    if (plain) {
        buf_append_slice(out, slice_str(name));
        return;
    }
    buf_append_char(out, '"');
    for (const char *p = name; *p; p++) {
        static const char escapes[] = "\nn\rr\tt\aa\bb\"\"\\\\";
        const char *escape = strchr(escapes, *p);
        if (escape && (escape - escapes) % 2 == 0) buf_printf(out, "\\%c", escape[1]);
        else if (*p >= ' ' && *p < 127) buf_append_char(out, *p);
        else buf_printf(out, "\\x%02x", (unsigned char)*p);
    }
    buf_append_char(out, '"');
}

void aof_manifest_format(const struct aof_manifest *m, struct buf *out)
{
    struct buf text = {0};
    for (unsigned i = 0; i < m->count; i++) {
        const struct aof_file *f = &m->files[i];
        buf_append_slice(&text, SLICE("file "));
        put_name(&text, f->name);
        buf_printf(&text, " seq %lld type %c\n", (long long)f->seq, (char)f->type);
    }
    char line[AOF_SUM_LINE_MAX];
    struct aof_sum sum = {0};
    aof_sum_add(&sum, text.ptr, text.len);
    buf_append(out, line, aof_line_format(sum, line));
    buf_append_char(out, '\n');
    buf_append_slice(out, buf_slice(&text));
    out->failed |= text.failed;
    buf_deinit(&text);
}

static const char *take_word(struct aof_file *file, struct slice key, struct slice value)
{
    if (slice_is_word(key, "file")) {
        if (memchr(value.ptr, '/', value.len) || slice_equal(value, SLICE(".")) ||
            slice_equal(value, SLICE("..")))
            return "File can't be a path, just a filename";
        if (value.len > AOF_NAME_MAX || memchr(value.ptr, 0, value.len)) return bad_format;
        memcpy(file->name, value.ptr, value.len);
        file->name[value.len] = '\0';
    } else if (slice_is_word(key, "seq")) {
        if (!num_parse_i64(value, &file->seq)) return bad_format;
    } else if (slice_is_word(key, "type")) {
        file->type = value.len ? (enum aof_type)value.ptr[0] : 0;
    }
    return NULL;
}

static const char *take_file(struct aof_manifest *m, const struct aof_file *file)
{
    if (!file->name[0] || !file->seq || !file->type) return bad_format;
    if (file->type == AOF_BASE) {
        if (aof_manifest_base(m)) return "Found duplicate base file information";
    } else if (file->type == AOF_INCR) {
        const struct aof_file *last = aof_manifest_last_incr(m);
        if (file->seq <= (last ? last->seq : 0)) return "Found a non-monotonic sequence number";
    } else if (file->type != AOF_HISTORY) {
        return "Unknown AOF file type";
    }
    insert(m, file);
    return NULL;
}

/* A line without its end, which is written over. */
static const char *take_line(struct aof_manifest *m, char *line, size_t len)
{
    struct arg argv[LINE_MAX_REDIS];
    struct aof_file file = {0};
    const char *why = NULL;
    while (len && strchr(" \t\r\n", line[len - 1])) len--;
    if (len == 0 || memchr(line, 0, len)) return bad_format;
    int argc = inline_split_quoted(line, len, argv);
    if (argc < 6 || argc % 2) return bad_format;
    for (int i = 0; i < argc && !why; i += 2)
        why = take_word(&file, slice_of(argv[i].ptr, argv[i].len),
                        slice_of(argv[i + 1].ptr, argv[i + 1].len));
    return why ? why : take_file(m, &file);
}

/* A comment that is none: what was a checksum may have lost its end, and hide the next line. */
static bool sum_is_wrong(struct slice line, struct slice rest)
{
    struct aof_sum said, sum = {0};
    if (!aof_line_parse(line, &said)) return line.len > 1 && line.ptr[1] != ' ';
    aof_sum_add(&sum, rest.ptr, rest.len);
    return sum.crc != said.crc || sum.bytes != said.bytes || said.lag;
}

const char *aof_manifest_parse(struct aof_manifest *m, struct slice text, unsigned *line,
                               size_t *at)
{
    char copy[LINE_MAX_REDIS];
    const char *why = text.len ? NULL : "Found an empty AOF manifest";
    *m = (struct aof_manifest){0};
    *line = 0;
    *at = 0;
    for (size_t next = 0; next < text.len && !why; ++*line) {
        const char *begin = text.ptr + (*at = next), *end = memchr(begin, '\n', text.len - next);
        size_t len = end ? (size_t)(end - begin) : text.len - next;
        next += len + (end != NULL);
        if (*begin == '#' && *line == 0 &&
            sum_is_wrong(slice_of(begin, len), slice_of(text.ptr + next, text.len - next)))
            why = "The manifest does not fit its checksum: it is damaged";
        if (*begin == '#') continue;
        if (!end || len >= LINE_MAX_REDIS) {
            why = "The AOF manifest file contains too long line";
            continue;
        }
        memcpy(copy, begin, len);
        why = take_line(m, copy, len);
    }
    if (!why && m->count == 0) why = "Found an empty AOF manifest";
    if (why) aof_manifest_deinit(m);
    return why;
}
