/* splitring-rdb merge and split: dumps of dumps.
 *
 * Values are made and written anew, so the result has one version and one way of encoding, whatever
 * the sources were. A key in two files would make a dump that no server loads: it is found by 64
 * bits of hash of database and name (two different keys would be taken for one with a chance of
 * n^2 / 2^65), and ends the merge. Nothing takes the output's name before all of it is on the disk.
 * A library of functions that several files have (a split puts it into each) is written once.
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
    struct rdb_disk own, *disk; /* of a set: the set's */
    struct rdb_out *out;
    int64_t db; /* of the last key; -1: none yet */
    uint64_t keys;
};

static void complain(const char *path, int rc)
{
    fprintf(stderr, "splitring-rdb: %s: %s\n", path, os_error_text(rc));
}

static bool create(struct output *to)
{
    if (strlen(to->path) + 5 > sizeof to->path) {
        complain(to->path, -ENAMETOOLONG);
        return false;
    }
    snprintf(to->aside, sizeof to->aside, "%s.part", to->path);
    int rc = rdb_disk_create(&to->own, to->aside);
    if (rc < 0) complain(to->aside, rc);
    to->disk = &to->own;
    return rc >= 0;
}

static bool output_open(struct output *to, const struct options *o)
{
    char now[24];
    if (!to->disk && !create(to)) return false;
    struct rdb_out_options options = {.write = rdb_disk_write, .ctx = to->disk, .version = 10,
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

static enum exit_code outcome(const struct output *to, int rc)
{
    if (rc < 0) complain(to->path, rc);
    else printf("%s: %llu keys\n", to->path, (unsigned long long)to->keys);
    return rc < 0 ? EXIT_ENVIRONMENT : EXIT_FINE;
}

static enum exit_code output_end(struct output *to, enum exit_code code)
{
    if (!to->out) return code;
    if (code == EXIT_FINE)
        code = outcome(to, dumpset_finish_dump(to->disk, to->out, to->path, true));
    rdb_disk_cancel(to->disk);
    rdb_out_free(to->out);
    return code;
}

/* All parts of a set. */
static enum exit_code set_end(struct dumpset *set, struct output *to, unsigned count,
                              enum exit_code code)
{
    struct rdb_out *outs[DUMPSET_PARTS_MAX];
    for (unsigned i = 0; i < count; i++) outs[i] = to[i].out;
    int rc = code == EXIT_FINE ? dumpset_commit(set, outs, os_unix_us() / 1000000, true) : 0;
    for (unsigned i = 0; i < count && code == EXIT_FINE; i++) {
        enum exit_code one = outcome(&to[i], rc);
        if (one != EXIT_FINE) code = one;
    }
    for (unsigned i = 0; i < count; i++) rdb_out_free(outs[i]);
    dumpset_cancel(set);
    return code;
}

/* ---- the copy ---- */

#define LIBRARY_SEED 0xf00u /* below those of databases */

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
        if (item.kind == RDB_ITEM_FUNCTION && seen_add(seen, hash_key(item.value, LIBRARY_SEED)))
            for (unsigned i = 0; i < (o->set ? 1 : count); i++)
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

/* set: NULL, each output is a file of its own. */
static enum exit_code copy_all(const struct options *o, struct output *to, unsigned count,
                               struct dumpset *set)
{
    struct seen seen = {0};
    enum exit_code code = EXIT_FINE;
    for (unsigned i = 0; i < count && code == EXIT_FINE; i++)
        if (!output_open(&to[i], o)) code = EXIT_ENVIRONMENT;
    for (unsigned i = 0; i < o->file_count && code == EXIT_FINE; i++)
        code = copy_file(o->files[i], o, to, count, &seen);
    if (set) code = set_end(set, to, count, code);
    for (unsigned i = 0; i < count && !set; i++) {
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
    to->own.fd = -1;
    snprintf(to->path, sizeof to->path, "%s", o->output);
    return copy_all(o, to, 1, NULL);
}

enum exit_code run_split(const struct options *o)
{
    struct output *to = mem_zalloc(o->parts * sizeof *to);
    struct dumpset set;
    int rc = o->set ? dumpset_create(&set, o->output, o->parts) : 0;
    if (rc < 0) {
        complain(o->output, rc);
        mem_free(to);
        return EXIT_ENVIRONMENT;
    }
    for (unsigned i = 0; i < o->parts; i++) {
        to[i].own.fd = -1;
        if (o->set) to[i].disk = &set.files[i].disk;
        if (o->set) snprintf(to[i].path, sizeof to[i].path, "%s", set.files[i].path);
        else snprintf(to[i].path, sizeof to[i].path, "%s.%u", o->output, i);
    }
    return copy_all(o, to, o->parts, o->set ? &set : NULL);
}
