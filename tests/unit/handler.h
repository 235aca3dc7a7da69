/* Runs command handlers directly, without connections or workers: for unit tests of src/cmd.
 *
 *   struct handler_world w;
 *   handler_init(&w, 1, 42);
 *   cr_assert_str_eq(handler_run_line(&w, "SET key value"), "+OK\r\n");
 *   handler_deinit(&w);
 *
 * A world has 1..HANDLER_SHARDS_MAX shards. Commands see the view that the dispatcher would give
 * them: one shard, all shards, or, with `scratch` set, a scratch shard with copies of their keys
 * that are put back afterwards. Effects are collected as RESP (SELECT where the db changes).
 * Thread: the test's. */
#ifndef SPLITRING_TESTS_UNIT_HANDLER_H
#define SPLITRING_TESTS_UNIT_HANDLER_H

#include "splitring/cmd/call.h"

#define HANDLER_SHARDS_MAX 8u

struct handler_world {
    struct shard *shards[HANDLER_SHARDS_MAX];
    struct shard *scratch_shard;
    uint32_t shard_count;
    /* Set at will between runs. */
    instant_ms now; /* starts at 1,700,000,000,000 */
    db_id db;
    uint8_t proto;       /* 2 (default) or 3 */
    uint8_t ks_flags;    /* enum ks_flag */
    bool scratch;        /* SPLIT_NONE commands run on copies */
    bool expect_effects; /* default true: checks that effects and `dirty` agree */
    instant_ms replay_now; /* when handler_replay runs here; 1, the default: before all expiries */
    struct env env;
    struct rng rng;
    /* What the last run left. */
    struct buf out; /* its reply, with a terminator behind len */
    uint64_t dirty;
    struct buf effects; /* of all runs since handler_forget_effects */
    db_id effects_db;   /* of the last effect in there */
    bool effects_any;
    struct snapshot_watch *watch; /* NULL (default), or told of every command's end */
    bool *wrote; /* by command id: it has stated an effect; NULL (default): not noted */
};

void handler_init(struct handler_world *w, uint32_t shard_count, uint64_t seed);
void handler_deinit(struct handler_world *w);

/* The reply, valid until the next run. Unknown commands and wrong arity abort the test. */
const char *handler_run(struct handler_world *w, int argc, const struct slice *argv);
/* Arguments separated by blanks; '...' and "..." hold blanks, \n \r \t \\ \xHH inside "...". */
const char *handler_run_line(struct handler_world *w, const char *line);
/* printf first, then as a line. */
const char *handler_runf(struct handler_world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

void handler_forget_effects(struct handler_world *w);
/* Runs all effects of `from` in `to` (which may have another number of shards). */
void handler_replay(const struct handler_world *from, struct handler_world *to);
/* Every live key of every db with value and TTL, sorted: equal text means equal data. Appends. */
void handler_dump(struct handler_world *w, struct buf *out);
/* The parts of a dump, in handler_dump.c: a value of any type, and a text made printable. */
void handler_dump_value(struct buf *out, const struct entry *e);
void handler_dump_node(struct buf *out, struct slice bytes, bool plain); /* of a list */
void handler_dump_text(struct buf *out, struct slice text);

#endif
