/* splitring-check: are the files whole that a server starts from? Dumps, sets of them, append logs
 * (of one file, or the manifest that names several), and the folders that hold them.
 *
 * A file that is fine here loads. What is wrong is said with its offset; --fix cuts a log where it
 * stops being whole, after what goes has been put aside, and closes a block that lacks its
 * checksum. A dump cannot be repaired: where it is damaged nobody knows what was there.
 * Thread: main. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/io/file.h"
#include "splitring/io/os.h"
#include "splitring/persist/aof_file.h"
#include "tool.h"

#define PATH_ROOM 4096u
#define MANIFEST_MAX ((size_t)16 << 20)

static const char usage[] =
    "Usage: splitring-check [OPTION]... PATH...\n"
    "\n"
    "A PATH is a dump, an append log, the manifest of one or of a snapshot of several files, or a\n"
    "folder with manifests (appendonlydir).\n"
    "\n"
    "      --fix               cut a damaged log where it stops being whole; what goes is kept in\n"
    "                          FILE.removed-OFFSET\n"
    "  -y, --yes               do not ask before that\n"
    "  -q, --quiet             no progress bar\n"
    "  -h, --help    -v, --version\n"
    "\n"
    "Exit status: 0 fine, or repaired; 1 damaged; 2 wrong usage; 3 a file cannot be read or\n"
    "written.\n";

struct task {
    struct options o;
    bool fix, yes;
};

static enum exit_code cannot(const char *path, int rc)
{
    fprintf(stderr, "splitring-check: %s: %s\n", path, os_error_text(rc));
    return EXIT_ENVIRONMENT;
}

static unsigned long long number(uint64_t n) { return (unsigned long long)n; }

/* ---- dumps ---- */

/* part: of a set, or NULL. *end: where it ends. */
static enum exit_code check_dump(const struct task *t, const char *path,
                                 const struct dumpset_part *part, uint64_t *end)
{
    struct input input;
    struct rdb_item item;
    struct scratch s;
    enum exit_code code = EXIT_FINE;
    uint64_t keys = 0;
    if (!input_open(&input, path, &t->o)) return EXIT_ENVIRONMENT;
    scratch_init(&s);
    while (input_next(&input, &item, &code)) {
        int rc;
        if (item.kind != RDB_ITEM_KEY) continue;
        if (scratch_take(&s, &input, &item, &rc)) scratch_drop(&s, &item);
        if (!input_ok(&input, rc, &code)) break;
        keys += rc == 0;
        uint16_t slot = hash_slot(item.key);
        if (!part || (part->slot_first <= slot && slot <= part->slot_last)) continue;
        (void)rdb_in_refuse(input.in, &item, "A key that does not belong into this part");
        (void)input_ok(&input, RDB_E_FORMAT, &code);
        break;
    }
    scratch_deinit(&s);
    *end = rdb_in_offset(input.in);
    unsigned version = rdb_in_version(input.in);
    input_close(&input);
    if (code == EXIT_FINE)
        printf("%s: dump of version %u, %llu keys, %llu bytes: fine\n", path, version, number(keys),
               number(*end));
    else if (code == EXIT_DAMAGED && t->fix)
        printf("%s: a dump cannot be repaired\n", path);
    return code;
}

/* ---- logs ---- */

static ssize_t read_log(void *fd, uint64_t offset, char *ptr, size_t len)
{
    return file_read_at(*(int *)fd, offset, ptr, len);
}

/* Copies [from, size) of the log into a file beside it. */
static int put_aside(const char *path, int fd, uint64_t from, uint64_t size)
{
    char aside[PATH_ROOM + 40], *block = mem_alloc(1 << 20);
    snprintf(aside, sizeof aside, "%s.removed-%llu", path, number(from));
    int out = file_create(aside), rc = out < 0 ? out : 0;
    for (uint64_t at = from; at < size && rc == 0;) {
        ssize_t got = file_read_at(fd, at, block, 1 << 20);
        if (got <= 0) rc = got < 0 ? (int)got : -EIO;
        else rc = file_write(out, block, (size_t)got);
        at += got > 0 ? (uint64_t)got : 0;
    }
    if (rc == 0) rc = file_sync(out);
    if (out >= 0) (void)file_close(out);
    mem_free(block);
    if (rc == 0) printf("%s: what goes is kept in %s\n", path, aside);
    return rc;
}

static bool confirmed(const struct task *t)
{
    if (t->yes) return true;
    printf("Continue? [y/N] ");
    fflush(stdout);
    int c = getchar();
    return c == 'y' || c == 'Y';
}

static int append_sum(const char *path, uint64_t at, struct aof_sum sum)
{
    char line[AOF_SUM_LINE_MAX];
    int fd = file_reopen(path);
    int rc = fd < 0 ? fd : file_write_at(fd, at, line, aof_sum_line(&sum, line));
    if (rc == 0) rc = file_sync(fd);
    if (fd >= 0) (void)file_close(fd);
    return rc;
}

/* Cuts it behind what is whole. */
static enum exit_code fix_log(const struct task *t, const char *path, int fd, uint64_t size,
                              const struct aof_scan *s)
{
    int rc = 0;
    if (s->valid < size) {
        printf("%s: this will shrink it from %llu bytes, with %llu bytes, to %llu bytes\n", path,
               number(size), number(size - s->valid), number(s->valid));
        if (!confirmed(t)) {
            printf("Aborting...\n");
            return EXIT_DAMAGED;
        }
        rc = put_aside(path, fd, s->valid, size);
        if (rc == 0) rc = file_cut(path, s->valid);
    }
    if (rc == 0 && s->marked && s->valid_sum.bytes)
        rc = append_sum(path, s->valid, s->valid_sum);
    if (rc < 0) return cannot(path, rc);
    printf("%s: repaired, %llu commands are left\n", path, number(s->commands));
    return EXIT_FINE;
}

static enum exit_code judge_log(const struct task *t, const char *path, int fd, uint64_t size,
                                bool last, const struct aof_scan *s)
{
    bool open = s->marked && s->valid_sum.bytes;
    if (s->verdict == AOF_WHOLE && !(open && !last)) {
        printf("%s: log, %llu commands, %llu bytes, %s: fine\n", path, number(s->commands),
               number(size), !s->marked ? "no checksums" : open ? "checksums but for its end"
                                                                : "checksums");
        return EXIT_FINE;
    }
    printf("%s: %s at offset %llu (%s); %llu of %llu bytes are whole, with %llu commands\n", path,
           s->verdict == AOF_DAMAGED ? "damaged"
           : s->verdict == AOF_WHOLE ? "no checksum"
                                     : "torn",
           number(s->verdict == AOF_WHOLE ? s->valid : s->bad),
           s->why ? s->why : "it is not the last file, and must end with one", number(s->valid),
           number(size), number(s->commands));
    if (!t->fix) return EXIT_DAMAGED;
    if (!last && s->valid < size) {
        printf("%s: it is not repaired, for it is not the last file: what follows in others would "
               "not fit\n", path);
        return EXIT_DAMAGED;
    }
    return fix_log(t, path, fd, size, s);
}

/* Commands from an offset on. */
static enum exit_code check_log(const struct task *t, const char *path, uint64_t from, bool last)
{
    struct aof_scan scan;
    uint64_t size;
    int fd = file_open(path, &size), rc;
    if (fd < 0) return cannot(path, fd);
    struct bar bar = {.path = path, .total = size, .on = !t->o.quiet && file_is_terminal(2)};
    struct aof_in_options options = {.read = read_log, .ctx = &fd, .offset = from, .size = size};
    aof_scan_begin(&scan, &options);
    while ((rc = aof_scan_step(&scan, 1 << 20)) == 0) bar_show(&bar, aof_in_offset(scan.in));
    bar_end(&bar);
    aof_scan_end(&scan);
    enum exit_code code = rc < 0 ? cannot(path, rc) : judge_log(t, path, fd, size, last, &scan);
    (void)file_close(fd);
    return code;
}

/* A dump, a log, or one behind the other. */
static enum exit_code check_file(const struct task *t, const char *path, bool last)
{
    uint64_t size, end;
    char sign[5];
    int fd = file_open(path, &size);
    if (fd < 0) return cannot(path, fd);
    ssize_t got = file_read_at(fd, 0, sign, sizeof sign);
    (void)file_close(fd);
    if (got < 0) return cannot(path, (int)got);
    if (got < (ssize_t)sizeof sign || memcmp(sign, "REDIS", sizeof sign) != 0)
        return check_log(t, path, 0, last);
    enum exit_code code = check_dump(t, path, NULL, &end);
    return code == EXIT_FINE && end < size ? check_log(t, path, end, last) : code;
}

/* ---- manifests ---- */

static uint64_t size_of(const char *path)
{
    uint64_t size = 0;
    int fd = file_open(path, &size);
    if (fd >= 0) (void)file_close(fd);
    return size;
}

static void beside(const char *path, const char *name, char out[PATH_ROOM])
{
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash - path) + 1 : 0;
    snprintf(out, PATH_ROOM, "%.*s%s", folder, path, name);
}

/* Nothing but empty files follow. */
static bool is_last(const char *path, const struct aof_manifest *m, unsigned i)
{
    char other[PATH_ROOM];
    for (i++; i < m->count; i++) {
        beside(path, m->files[i].name, other);
        if (m->files[i].type == AOF_INCR && size_of(other) >= sizeof AOF_MARK) return false;
    }
    return true;
}

/* A snapshot of several files: what a server would say, and then all that is in it. */
static enum exit_code check_set(const struct task *t, const char *path)
{
    char *dump = set_dump_of(path);
    struct dumpset_found found;
    enum exit_code worst = EXIT_FINE;
    int rc = dumpset_find(dump, &found);
    if (rc < 0) printf("%s: %s\n", path, found.why);
    else if (!found.set && found.other) printf("%s: %s is newer, and counts\n", path, dump);
    else if (!found.set) printf("%s: it names no snapshot\n", path);
    if (rc < 0) worst = rc == -EACCES ? EXIT_ENVIRONMENT : EXIT_DAMAGED;
    for (unsigned i = 0; rc == 0 && i < found.manifest.count; i++) {
        const struct dumpset_part *part = &found.manifest.parts[i];
        char *file = dumpset_part_path(dump, found.manifest.seq, i);
        uint64_t end;
        enum exit_code code = check_dump(t, file, part, &end);
        if (code == EXIT_FINE && end != part->size) {
            printf("%s: it ends at offset %llu of %llu\n", file, number(end), number(part->size));
            code = EXIT_DAMAGED;
        }
        if (code > worst) worst = code;
        mem_free(file);
    }
    if (worst == EXIT_FINE && found.set)
        printf("%s: manifest of a snapshot of %u files: fine\n", path, found.manifest.count);
    dumpset_found_deinit(&found);
    mem_free(dump);
    return worst;
}

static enum exit_code check_manifest(const struct task *t, const char *path, struct slice text)
{
    struct aof_manifest m;
    unsigned line;
    size_t at;
    enum exit_code worst = EXIT_FINE;
    const char *why = aof_manifest_parse(&m, text, &line, &at);
    if (why) {
        printf("%s: damaged in line %u: %s\n", path, line, why);
        return EXIT_DAMAGED;
    }
    for (unsigned i = 0; i < m.count; i++) {
        char file[PATH_ROOM];
        if (m.files[i].type == AOF_HISTORY) continue;
        beside(path, m.files[i].name, file);
        enum exit_code code = check_file(t, file, is_last(path, &m, i));
        if (code > worst) worst = code;
    }
    if (worst == EXIT_FINE) printf("%s: manifest of %u files: fine\n", path, m.count);
    aof_manifest_deinit(&m);
    return worst;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), tail = strlen(end);
    return len >= tail && strcmp(text + len - tail, end) == 0;
}

static enum exit_code check_path(const struct task *t, const char *path)
{
    struct buf text = {0};
    if (!ends_with(path, ".manifest")) return check_file(t, path, true);
    int rc = os_file_read(path, MANIFEST_MAX, &text);
    enum exit_code code = rc < 0                                  ? cannot(path, rc)
                          : dumpset_manifest_is(buf_slice(&text)) ? check_set(t, path)
                                                     : check_manifest(t, path, buf_slice(&text));
    buf_deinit(&text);
    return code;
}

/* A folder: the manifests in it. */
static enum exit_code check_folder(const struct task *t, const char *path)
{
    enum exit_code worst = EXIT_FINE;
    unsigned found = 0;
    struct file_list list;
    int rc = file_list_open(&list, path);
    if (rc < 0) return cannot(path, rc);
    for (const char *name; (name = file_list_next(&list)) != NULL;) {
        char file[PATH_ROOM];
        if (!ends_with(name, ".manifest")) continue;
        snprintf(file, sizeof file, "%s/%s", path, name);
        enum exit_code code = check_path(t, file);
        if (code > worst) worst = code;
        found++;
    }
    file_list_close(&list);
    if (!found) fprintf(stderr, "splitring-check: %s: no manifest in this folder\n", path);
    return found ? worst : EXIT_ENVIRONMENT;
}

/* ---- arguments ---- */

static int wrong(const char *what, const char *word)
{
    fprintf(stderr, "splitring-check: %s%s\nTry splitring-check --help.\n", what, word);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct task t = {.o = {.program = "splitring-check"}};
    int worst = EXIT_FINE;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!strcmp(word, "-h") || !strcmp(word, "--help")) return fputs(usage, stdout) < 0;
        if (!strcmp(word, "-v") || !strcmp(word, "--version"))
            return printf("splitring-check " SPLITRING_VERSION "\n") < 0;
        if (!strcmp(word, "--fix")) t.fix = true;
        else if (!strcmp(word, "-y") || !strcmp(word, "--yes")) t.yes = true;
        else if (!strcmp(word, "-q") || !strcmp(word, "--quiet")) t.o.quiet = true;
        else if (word[0] == '-') return wrong("unknown option: ", word);
        else if (t.o.file_count == ARRAY_COUNT(t.o.files)) return wrong("too many files: ", word);
        else if (strlen(word) > PATH_ROOM - AOF_NAME_MAX - 2) return wrong("too long: ", word);
        else t.o.files[t.o.file_count++] = word;
    }
    if (!t.o.file_count) return wrong("a file is missing", "");
    for (unsigned i = 0; i < t.o.file_count; i++) {
        uint64_t size;
        int fd = file_open(t.o.files[i], &size);
        if (fd >= 0) (void)file_close(fd);
        int code = (int)(fd == -EISDIR ? check_folder(&t, t.o.files[i])
                                       : check_path(&t, t.o.files[i]));
        if (code > worst) worst = code;
    }
    return worst;
}
