/* splitring-rdb: the manifest of a snapshot stands for its parts, once these are what it says.
 * Thread: main. */
#include <stdio.h>

#include "splitring/base/mem.h"
#include "splitring/io/os.h"
#include "tool.h"

#define MANIFEST_MAX ((size_t)16 << 20)

static const char tail[] = ".manifest";

char *set_dump_of(const char *path)
{
    size_t len = strlen(path), end = sizeof tail - 1;
    if (len <= end || strcmp(path + len - end, tail) != 0) return NULL;
    char *dump = mem_alloc(len - end + 1);
    snprintf(dump, len - end + 1, "%s", path);
    return dump;
}

static enum exit_code read_set(const struct options *o, const char *path, const char *dump,
                               struct dumpset_manifest *m)
{
    struct buf text = {0};
    char why[1000] = "";
    unsigned line = 0;
    uint64_t bytes;
    *m = (struct dumpset_manifest){0};
    int rc = os_file_read(path, MANIFEST_MAX, &text);
    const char *bad = rc < 0 ? NULL : dumpset_manifest_parse(m, buf_slice(&text), &line);
    if (bad)
        fprintf(stderr, "%s: %s: line %u: %s\n", o->program, path, line, bad);
    else if (rc < 0)
        fprintf(stderr, "%s: %s: %s\n", o->program, path, os_error_text(rc));
    else if (dumpset_check_parts(dump, m, &bytes, why, sizeof why) < 0)
        fprintf(stderr, "%s: %s: %s\n", o->program, path, why);
    else if (m->count == 0)
        fprintf(stderr, "%s: %s: it names no snapshot\n", o->program, path);
    buf_deinit(&text);
    if (rc < 0) return EXIT_ENVIRONMENT;
    return bad || *why || m->count == 0 ? EXIT_DAMAGED : EXIT_FINE;
}

static enum exit_code add_parts(struct options *all, const char *path, const char *dump)
{
    struct dumpset_manifest m;
    enum exit_code code = read_set(all, path, dump, &m);
    for (unsigned i = 0; code == EXIT_FINE && i < m.count; i++) {
        if (all->file_count == ARRAY_COUNT(all->files)) {
            fprintf(stderr, "%s: %s: too many files\n", all->program, path);
            code = EXIT_USAGE;
            break;
        }
        char *part = dumpset_part_path(dump, m.seq, i);
        all->owned[all->owned_count++] = part;
        all->files[all->file_count++] = part;
    }
    dumpset_manifest_deinit(&m);
    return code;
}

enum exit_code set_expand(struct options *o)
{
    struct options *all = mem_alloc(sizeof *all);
    enum exit_code code = EXIT_FINE;
    *all = *o;
    all->file_count = 0;
    for (unsigned i = 0; i < o->file_count && code == EXIT_FINE; i++) {
        char *dump = set_dump_of(o->files[i]);
        if (dump)
            code = add_parts(all, o->files[i], dump);
        else if (all->file_count < ARRAY_COUNT(all->files))
            all->files[all->file_count++] = o->files[i];
        mem_free(dump);
    }
    *o = *all;
    mem_free(all);
    return code;
}

void set_forget(struct options *o)
{
    for (unsigned i = 0; i < o->owned_count; i++) mem_free(o->owned[i]);
}
