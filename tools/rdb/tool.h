/* Inside splitring-rdb and splitring-check: what they share.
 * Thread: main. */
#ifndef SPLITRING_TOOLS_RDB_H
#define SPLITRING_TOOLS_RDB_H

#include "splitring/persist/rdb_file.h"

enum exit_code { EXIT_FINE, EXIT_DAMAGED, EXIT_USAGE, EXIT_ENVIRONMENT };

#define DATABASES_MAX 65535u

struct options {
    const char *program; /* for messages */
    const char *files[256];
    unsigned file_count;
    const char *output;
    unsigned parts; /* split */
    unsigned top;   /* stats: how many lines of each list */
    bool plain_70;  /* merge, split: for redis-server 7.0, whatever it loses */
    bool quiet;
};

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
