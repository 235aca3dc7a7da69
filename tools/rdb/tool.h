/* Inside splitring-rdb and splitring-check: what they share.
 * Thread: main. */
#ifndef SPLITRING_TOOLS_RDB_H
#define SPLITRING_TOOLS_RDB_H

#include "splitring/persist/dumpset.h"

enum exit_code { EXIT_FINE, EXIT_DAMAGED, EXIT_USAGE, EXIT_ENVIRONMENT };

#define DATABASES_MAX 65535u
#define FILES_MAX 256u

struct options {
    const char *program; /* for messages */
    const char *files[FILES_MAX + DUMPSET_PARTS_MAX];
    unsigned file_count;
    char *owned[FILES_MAX + DUMPSET_PARTS_MAX]; /* of files: names of parts */
    unsigned owned_count;
    const char *output;
    unsigned parts; /* split */
    bool set;       /* … into one, with a manifest */
    unsigned top;   /* stats: how many lines of each list */
    bool plain_70;  /* merge, split: for redis-server 7.0, whatever it loses */
    bool quiet;
};

/* Puts parts in the place of each manifest of a set among the files; else it has been said why. */
enum exit_code set_expand(struct options *o);
void set_forget(struct options *o);
/* The path without ".manifest", to be freed; NULL: it does not end so. */
char *set_dump_of(const char *path);

/* A progress bar, on a terminal. */
struct bar {
    const char *path;
    uint64_t total, shown;
    bool on;
};
void bar_show(struct bar *bar, uint64_t done);
void bar_end(struct bar *bar);

/* A dump being read. */
struct input {
    const char *path, *program;
    int fd;
    uint64_t size;
    struct rdb_in *in;
    struct bar bar;
};
/* False: it has been said why. */
bool input_open(struct input *input, const char *path, const struct options *o);
/* The next item, or false: the end (*code stays), or damage (said, *code is set). */
bool input_next(struct input *input, struct rdb_item *item, enum exit_code *code);
/* A value's outcome: false if it ends the reading (said, *code is set). */
bool input_ok(struct input *input, int rc, enum exit_code *code);
void input_close(struct input *input);

/* One key at a time lives here. */
struct scratch {
    struct shard *shard;
    struct ks ks;
    struct rdb_limits limits;
};
void scratch_init(struct scratch *s);
void scratch_deinit(struct scratch *s);
/* The item's value under its key: its entry, or NULL (*rc: RDB_E_EMPTY or an error). */
const struct entry *scratch_take(struct scratch *s, struct input *input,
                                 const struct rdb_item *item, int *rc);
void scratch_drop(struct scratch *s, const struct rdb_item *item);

enum exit_code run_check(const struct options *o);
enum exit_code run_stats(const struct options *o);
enum exit_code run_json(const struct options *o);
enum exit_code run_merge(const struct options *o);
enum exit_code run_split(const struct options *o);

#endif
