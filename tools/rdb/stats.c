/* splitring-rdb stats: where the bytes of a dump are. Values are passed over, not made: sizes are
 * those in the file. Prefixes go up to the first ':'; only so many are told apart, the rest is
 * summed up as one.
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "tool.h"

#define PREFIX_SLOTS 65536u /* a power of two; half of them are used */
#define NAME_MAX_SHOWN 80u

struct line {
    char name[NAME_MAX_SHOWN + 4];
    uint64_t hash, keys, expires, bytes;
};

struct stats {
    struct line types[7]; /* by enum value_type */
    struct line *prefixes, others;
    size_t prefix_count;
    struct line *biggest; /* falling */
    unsigned biggest_count;
    uint64_t keys, bytes, functions;
};

static void name_line(struct line *line, struct slice name, const char *tail)
{
    size_t len = name.len < NAME_MAX_SHOWN ? name.len : NAME_MAX_SHOWN;
    for (size_t i = 0; i < len; i++)
        line->name[i] = name.ptr[i] >= ' ' && name.ptr[i] <= '~' ? name.ptr[i] : '?';
    snprintf(line->name + len, sizeof(line->name) - len, "%s", name.len > len ? "..." : tail);
}

static void add(struct line *line, const struct rdb_item *item, uint64_t bytes)
{
    line->keys++;
    line->expires += item->expire != EXPIRE_NONE;
    line->bytes += bytes;
}

static struct line *prefix_of(struct stats *st, struct slice key)
{
    const char *colon = key.len ? memchr(key.ptr, ':', key.len) : NULL;
    struct slice prefix = colon ? slice_of(key.ptr, (size_t)(colon - key.ptr) + 1) : SLICE("");
    uint64_t hash = hash_key(prefix, 1) | 1;
    size_t i = hash & (PREFIX_SLOTS - 1);
    for (; st->prefixes[i].hash; i = (i + 1) & (PREFIX_SLOTS - 1))
        if (st->prefixes[i].hash == hash) return &st->prefixes[i];
    if (st->prefix_count == PREFIX_SLOTS / 2) return &st->others;
    st->prefix_count++;
    st->prefixes[i].hash = hash;
    name_line(&st->prefixes[i], colon ? prefix : SLICE("(none)"), colon ? "*" : "");
    return &st->prefixes[i];
}

static void note_size(struct stats *st, const struct rdb_item *item, uint64_t bytes, unsigned top)
{
    if (st->biggest_count == top && bytes <= st->biggest[top - 1].bytes) return;
    unsigned at = st->biggest_count < top ? st->biggest_count++ : top - 1;
    for (; at > 0 && st->biggest[at - 1].bytes < bytes; at--) st->biggest[at] = st->biggest[at - 1];
    st->biggest[at] = (struct line){.bytes = bytes, .keys = item->db, .hash = item->type};
    name_line(&st->biggest[at], item->key, "");
}

static int by_bytes(const void *left, const void *right)
{
    const struct line *a = left, *b = right;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    return strcmp(a->name, b->name);
}

static enum exit_code read_file(struct stats *st, const char *path, const struct options *o)
{
    struct input input;
    struct rdb_item item;
    enum exit_code code = EXIT_FINE;
    if (!input_open(&input, path, o)) return EXIT_ENVIRONMENT;
    while (input_next(&input, &item, &code)) {
        st->functions += item.kind == RDB_ITEM_FUNCTION;
        if (item.kind != RDB_ITEM_KEY) continue;
        if (!input_ok(&input, rdb_in_skip(input.in), &code)) break;
        uint64_t bytes = rdb_in_offset(input.in) - item.offset;
        st->keys++;
        st->bytes += bytes;
        add(&st->types[item.type], &item, bytes);
        add(prefix_of(st, item.key), &item, bytes);
        note_size(st, &item, bytes, o->top);
    }
    input_close(&input);
    return code;
}

static void show_line(const struct line *line, uint64_t total)
{
    printf("  %-40s %12llu %12llu %14llu %6.1f %%\n", line->name, (unsigned long long)line->keys,
           (unsigned long long)line->expires, (unsigned long long)line->bytes,
           total ? (double)line->bytes * 100 / (double)total : 0);
}

static void show(struct stats *st, const struct options *o)
{
    static const char head[] = "  %-40s %12s %12s %14s\n";
    printf("%llu keys, %llu bytes, %llu function libraries\n\n", (unsigned long long)st->keys,
           (unsigned long long)st->bytes, (unsigned long long)st->functions);
    printf(head, "type", "keys", "with TTL", "bytes");
    for (unsigned i = 0; i < ARRAY_COUNT(st->types); i++) {
        if (!st->types[i].keys) continue;
        name_line(&st->types[i], slice_str(type_name((enum value_type)i)), "");
        show_line(&st->types[i], st->bytes);
    }
    printf("\n");
    printf(head, "prefix", "keys", "with TTL", "bytes");
    qsort(st->prefixes, PREFIX_SLOTS, sizeof(struct line), by_bytes);
    for (unsigned i = 0; i < o->top && i < PREFIX_SLOTS && st->prefixes[i].keys; i++)
        show_line(&st->prefixes[i], st->bytes);
    if (st->prefix_count > o->top) printf("  ... %zu prefixes in all\n", st->prefix_count);
    if (st->others.keys) show_line(&st->others, st->bytes);
    printf("\n  %-40s %12s %12s %14s\n", "biggest keys", "type", "db", "bytes");
    for (unsigned i = 0; i < st->biggest_count; i++) {
        const struct line *line = &st->biggest[i];
        printf("  %-40s %12s %12llu %14llu\n", line->name, type_name((enum value_type)line->hash),
               (unsigned long long)line->keys, (unsigned long long)line->bytes);
    }
}

enum exit_code run_stats(const struct options *o)
{
    struct stats st = {.prefixes = mem_zalloc(PREFIX_SLOTS * sizeof(struct line)),
                       .biggest = mem_zalloc(o->top * sizeof(struct line))};
    enum exit_code code = EXIT_FINE;
    name_line(&st.others, SLICE("(all other prefixes)"), "");
    for (unsigned i = 0; i < o->file_count && code == EXIT_FINE; i++)
        code = read_file(&st, o->files[i], o);
    if (code == EXIT_FINE) show(&st, o);
    mem_free(st.prefixes);
    mem_free(st.biggest);
    return code;
}
