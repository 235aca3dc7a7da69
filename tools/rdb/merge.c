/* splitring-rdb merge and split: dumps of dumps.
 *
 * Values are made and written anew, so the result has one version and one way of encoding, whatever
 * the sources were. A key in two files would make a dump that no server loads: it is found by 64
 * bits of hash of database and name (two different keys would be taken for one with a chance of
 * n^2 / 2^65), and ends the merge. Nothing takes the output's name before all of it is on the disk.
 * Thread: main. */
#include <errno.h>
#include <stdio.h>

#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/io/os.h"
#include "tool.h"

/* ---- keys that were seen ---- */

struct seen {
    uint64_t *slots;
    size_t mask, count;
};

static void seen_put(struct seen *s, uint64_t hash)
{
    size_t i = hash & s->mask;
    while (s->slots[i]) i = (i + 1) & s->mask;
    s->slots[i] = hash;
    s->count++;
}

/* False: it was there. */
static bool seen_add(struct seen *s, uint64_t hash)
{
    hash |= 1;
    if (s->count * 2 >= (s->slots ? s->mask + 1 : 0)) {
        struct seen old = *s;
        size_t cap = old.slots ? (old.mask + 1) * 2 : 1024;
        *s = (struct seen){.slots = mem_zalloc(cap * sizeof(uint64_t)), .mask = cap - 1};
        for (size_t i = 0; old.slots && i <= old.mask; i++)
            if (old.slots[i]) seen_put(s, old.slots[i]);
        mem_free(old.slots);
    }
    for (size_t i = hash & s->mask; s->slots[i]; i = (i + 1) & s->mask)
        if (s->slots[i] == hash) return false;
    seen_put(s, hash);
    return true;
}

/* ---- outputs ---- */

struct output {
    char path[4096], aside[4110];
    struct rdb_disk disk;
    struct rdb_out *out;
    int64_t db; /* of the last key; -1: none yet */
    uint64_t keys;
};

static void complain(const char *path, int rc)
{
    fprintf(stderr, "splitring-rdb: %s: %s\n", path, os_error_text(rc));
}

static bool output_open(struct output *to, const struct options *o)
{
    char now[24];
    if (strlen(to->path) + 5 > sizeof to->path) {
        complain(to->path, -ENAMETOOLONG);
        return false;
    }
    snprintf(to->aside, sizeof to->aside, "%s.part", to->path);
    int rc = rdb_disk_create(&to->disk, to->aside);
    if (rc < 0) {
        complain(to->aside, rc);
        return false;
    }
    struct rdb_out_options options = {.write = rdb_disk_write, .ctx = &to->disk, .version = 10,
                                      .exact = !o->plain_70, .compress = true, .checksum = true};
    to->out = rdb_out_new(&options);
    to->db = -1;
    rdb_out_aux(to->out, "redis-ver", SLICE("7.2.4"));
    rdb_out_aux(to->out, "redis-bits", SLICE("64"));
    size_t len = num_format_i64(now, os_unix_us() / 1000000);
    rdb_out_aux(to->out, "ctime", slice_of(now, len));
    return true;
}

static void output_key(struct output *to, const struct rdb_item *item, const struct entry *e)
{
    if (to->db != item->db) rdb_out_db(to->out, item->db, 0, 0);
    to->db = item->db;
    to->keys++;
    (void)rdb_out_key_as(to->out, e, item->expire, item->idle_s, item->freq);
}

static enum exit_code output_end(struct output *to, enum exit_code code)
{
    if (!to->out) return code;
    if (code == EXIT_FINE) {
        int rc = rdb_disk_finish(&to->disk, to->out, to->path);
        if (rc < 0) {
            complain(to->path, rc);
            code = EXIT_ENVIRONMENT;
        } else {
            printf("%s: %llu keys\n", to->path, (unsigned long long)to->keys);
        }
    }
    rdb_disk_cancel(&to->disk);
    rdb_out_free(to->out);
    return code;
}

/* ---- the copy ---- */

static enum exit_code copy_file(const char *path, const struct options *o, struct output *to,
                                unsigned count, struct seen *seen)
{
    struct input input;
    struct rdb_item item;
    struct scratch s;
    enum exit_code code = EXIT_FINE;
    if (!input_open(&input, path, o)) return EXIT_ENVIRONMENT;
    scratch_init(&s);
    while (code == EXIT_FINE && input_next(&input, &item, &code)) {
        int rc;
        for (unsigned i = 0; item.kind == RDB_ITEM_FUNCTION && i < count; i++)
            rdb_out_function(to[i].out, item.value);
        if (item.kind != RDB_ITEM_KEY) continue;
        bool first = seen_add(seen, hash_key(item.key, 0x5eed + item.db));
        const struct entry *e = scratch_take(&s, &input, &item, &rc);
        if (!input_ok(&input, rc, &code)) break;
        if (!e) continue;
        if (!first) {
            (void)rdb_in_refuse(input.in, &item, "A key that was there before");
            (void)input_ok(&input, RDB_E_FORMAT, &code);
        } else {
            output_key(&to[shard_of_slot(hash_slot(item.key), count)], &item, e);
        }
        scratch_drop(&s, &item);
    }
    scratch_deinit(&s);
    input_close(&input);
    return code;
}

static enum exit_code copy_all(const struct options *o, struct output *to, unsigned count)
{
    struct seen seen = {0};
    enum exit_code code = EXIT_FINE;
    for (unsigned i = 0; i < count && code == EXIT_FINE; i++)
        if (!output_open(&to[i], o)) code = EXIT_ENVIRONMENT;
    for (unsigned i = 0; i < o->file_count && code == EXIT_FINE; i++)
        code = copy_file(o->files[i], o, to, count, &seen);
    for (unsigned i = 0; i < count; i++) {
        enum exit_code one = output_end(&to[i], code);
        if (one > code) code = one;
    }
    mem_free(seen.slots);
    mem_free(to);
    return code;
}

enum exit_code run_merge(const struct options *o)
{
    struct output *to = mem_zalloc(sizeof *to);
    to->disk.fd = -1;
    snprintf(to->path, sizeof to->path, "%s", o->output);
    return copy_all(o, to, 1);
}

enum exit_code run_split(const struct options *o)
{
    struct output *to = mem_zalloc(o->parts * sizeof *to);
    for (unsigned i = 0; i < o->parts; i++) {
        to[i].disk.fd = -1;
        snprintf(to[i].path, sizeof to[i].path, "%s.%u", o->output, i);
    }
    return copy_all(o, to, o->parts);
}
