/* Handlers without a server: see handler.h.
 *
 * Keys are found through the command table, so a wrong key spec shows here as well. Effects are
 * taken from the expire sink (DEL of expired keys) and from the call, in order.
 * Thread: the test's. */
#include "handler.h"
#include "handler_watch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/cmd/effects.h"
#include "splitring/cmd/route.h"

#define ARGS_MAX 64

/* ---- effects ---- */

static void append_command(struct buf *out, int argc, const struct slice *argv)
{
    buf_printf(out, "*%d\r\n", argc);
    for (int i = 0; i < argc; i++) {
        buf_printf(out, "$%zu\r\n", argv[i].len);
        buf_append_slice(out, argv[i]);
        buf_append(out, "\r\n", 2);
    }
}

static void select_db(struct handler_world *w, db_id db)
{
    if (w->effects_any && w->effects_db == db) return;
    char text[8];
    struct slice argv[] = {SLICE("SELECT"), slice_of(text, num_format_i64(text, db))};
    append_command(&w->effects, 2, argv);
    w->effects_db = db;
    w->effects_any = true;
}

static void key_expired(void *ctx, struct shard *shard, db_id db, struct slice key)
{
    (void)shard;
    struct handler_world *w = ctx;
    select_db(w, db);
    struct slice argv[] = {SLICE("DEL"), key};
    append_command(&w->effects, 2, argv);
}

static void field_expired(void *ctx, struct shard *shard, db_id db, struct slice key,
                          struct slice field)
{
    (void)shard;
    struct handler_world *w = ctx;
    select_db(w, db);
    struct slice argv[] = {SLICE("HDEL"), key, field};
    append_command(&w->effects, 3, argv);
}

void handler_forget_effects(struct handler_world *w)
{
    w->effects.len = 0;
    w->effects_any = false;
}

/* ---- a world ---- */

void handler_init(struct handler_world *w, uint32_t shard_count, uint64_t seed)
{
    check(shard_count > 0 && shard_count <= HANDLER_SHARDS_MAX);
    *w = (struct handler_world){.shard_count = shard_count, .proto = 2, .expect_effects = true};
    w->now = 1700000000000;
    w->replay_now = 1;
    w->env = (struct env){
        .proto_max_bulk_len = 512 * 1024 * 1024, .databases = 16, .shard_count = shard_count,
        .hash_max_listpack_entries = 512, .hash_max_listpack_value = 64,
        .set_max_intset_entries = 512, .set_max_listpack_entries = 128,
        .set_max_listpack_value = 64, .zset_max_listpack_entries = 128,
        .zset_max_listpack_value = 64, .list_max_listpack_size = -2,
        .hll_sparse_max_bytes = 3000, .stream_node_max_bytes = 4096,
        .stream_node_max_entries = 100};
    rng_seed(&w->rng, seed);
    struct shard_options options = {
        .databases = 16, .seed = seed, .lfu_log_factor = 10, .lfu_decay_time = 1};
    struct expire_sink sink = {.expired = key_expired, .field_expired = field_expired, .ctx = w};
    for (uint32_t i = 0; i < shard_count; i++) {
        options.id = (shard_id)i;
        w->shards[i] = shard_new(&options);
        shard_set_expire_sink(w->shards[i], &sink);
    }
    w->scratch_shard = shard_new(&options);
    shard_set_expire_sink(w->scratch_shard, &sink);
}

void handler_deinit(struct handler_world *w)
{
    for (uint32_t i = 0; i < w->shard_count; i++) shard_free(w->shards[i]);
    shard_free(w->scratch_shard);
    buf_deinit(&w->out);
    buf_deinit(&w->effects);
}

static struct ks world_view(const struct handler_world *w)
{
    struct ks ks = {.shards = w->shards,
                    .shard_count = w->shard_count,
                    .db = w->db,
                    .flags = w->ks_flags,
                    .now = w->now};
    if (w->shard_count == 1) ks.shard = w->shards[0];
    return ks;
}

/* ---- running ---- */

static bool wants_scratch(const struct handler_world *w, const struct call *c)
{
    return w->scratch && command_route(c->cmd, c->argv, c->argc) == ROUTE_KEYS &&
           c->cmd->split == SPLIT_NONE;
}

/* Copies the call's keys into the scratch shard, or back. COPY and MOVE name a second database that
 * the key list does not: every database is taken. */
static void move_keys(struct handler_world *w, struct call *c, bool back)
{
    struct key_ref refs[ARGS_MAX];
    int count = command_keys(c->cmd, c->argv, c->argc, refs);
    struct ks world = world_view(w), scratch = world;
    world.flags |= KS_NO_STATS;
    scratch.shard = w->scratch_shard;
    scratch.flags = world.flags;
    for (int i = 0; i < count; i++) {
        for (db_id db = 0; db < w->env.databases; db++) {
            struct slice key = c->argv[refs[i].pos];
            struct buf image = {0};
            struct ks from = ks_in_db(back ? &scratch : &world, db);
            struct ks to = ks_in_db(back ? &world : &scratch, db);
            ks_image_write(&from, key, &image);
            check(ks_image_put(&to, key, buf_slice(&image)) == 0);
            buf_deinit(&image);
        }
    }
}

/* Appends what the call has stated, behind the DELs of keys it found expired and before those of
 * keys that it wrote already expired. */
static void take_effects(struct handler_world *w, const struct call *c)
{
    const struct effects *e = c->effects;
    check(!effects_failed(e));
    if (effects_count(e) == 0) return;
    select_db(w, c->ks.db);
    for (size_t i = 0; i < effects_count(e); i++) {
        buf_append_slice(&w->effects, effects_at(e, i));
    }
    if (!w->expect_effects) return;
    check(c->dirty > 0);
    check(c->reply.errors == 0);
}

static void run_handler(struct handler_world *w, struct call *c)
{
    const struct command *cmd = c->cmd;
    if (cmd->route == ROUTE_SHARD && c->argc > 1) {
        int shard = cmd_scan_shard(c->argv, c->argc, w->shard_count);
        c->ks.shard = w->shards[shard < 0 ? 0 : shard];
    }
    if (!wants_scratch(w, c)) {
        cmd->handler(c);
        take_effects(w, c);
        return;
    }
    for (db_id db = 0; db < w->env.databases; db++) {
        struct ks scratch = {.shard = w->scratch_shard, .db = db};
        (void)ks_flush_db(&scratch, db, false);
    }
    move_keys(w, c, false);
    c->ks.shard = w->scratch_shard;
    cmd->handler(c);
    take_effects(w, c);
    move_keys(w, c, true);
}

const char *handler_run(struct handler_world *w, int argc, const struct slice *argv)
{
    bool missing = false;
    const struct command *cmd = command_find(argv, argc, &missing);
    if (!cmd || !command_arity_ok(cmd, argc)) {
        fprintf(stderr, "handler_run: %.*s: %s\n", (int)argv[0].len, argv[0].ptr,
                cmd ? "wrong arity" : "unknown command");
        abort();
    }
    struct effects effects;
    effects_init(&effects);
    w->out.len = 0;
    struct call c = {.cmd = cmd,
                     .argv = argv,
                     .argc = argc,
                     .ks = world_view(w),
                     .reply = {.out = &w->out, .proto = w->proto},
                     .rng = &w->rng,
                     .env = &w->env,
                     .effects = &effects};
    run_handler(w, &c);
    if (w->watch) snapshot_watch_tick(w->watch);
    w->dirty = c.dirty;
    if (w->wrote && effects_count(&effects) > 0) w->wrote[c.cmd->id] = true;
    if (w->expect_effects && effects_count(&effects) == 0) check(c.dirty == 0);
    effects_deinit(&effects);
    buf_append_char(&w->out, '\0');
    check(!w->out.failed && !w->effects.failed);
    w->out.len--;
    return w->out.ptr;
}

/* ---- commands as text ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return (c | 32) - 'a' + 10;
}

/* One character of a "..." argument; *at stands behind it afterwards. */
static char unescape(const char **at)
{
    char c = *(*at)++;
    if (c != '\\') return c;
    c = *(*at)++;
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'x': *at += 2; return (char)(hex_digit((*at)[-2]) << 4 | hex_digit((*at)[-1]));
    default: return c;
    }
}

const char *handler_run_line(struct handler_world *w, const char *line)
{
    struct slice argv[ARGS_MAX];
    int argc = 0;
    char *text = mem_alloc(strlen(line) + 1), *out = text;
    for (const char *at = line; *at;) {
        if (*at == ' ') {
            at++;
            continue;
        }
        check(argc < ARGS_MAX);
        char quote = *at == '\'' || *at == '"' ? *at++ : '\0', *begin = out;
        while (*at && *at != (quote ? quote : ' ')) *out++ = quote == '"' ? unescape(&at) : *at++;
        if (quote) at++;
        argv[argc++] = slice_of(begin, (size_t)(out - begin));
    }
    const char *reply = handler_run(w, argc, argv);
    mem_free(text);
    return reply;
}

const char *handler_runf(struct handler_world *w, const char *fmt, ...)
{
    char line[4096];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    check(len >= 0 && (size_t)len < sizeof(line));
    return handler_run_line(w, line);
}

/* ---- replay and comparison ---- */

static size_t read_len(const char **at, char type)
{
    check(*(*at)++ == type);
    char *end;
    size_t len = strtoul(*at, &end, 10);
    *at = end + 2;
    return len;
}

/* Time stands still before all expiries: a log is replayed without judging TTLs, because a later
 * effect may take them back (PERSIST). */
void handler_replay(const struct handler_world *from, struct handler_world *to)
{
    instant_ms now = to->now;
    db_id db = to->db;
    to->now = to->replay_now;
    const char *at = from->effects.ptr, *end = at + from->effects.len;
    while (at < end) {
        size_t argc = read_len(&at, '*');
        struct slice *argv = mem_alloc(argc * sizeof(*argv));
        for (size_t i = 0; i < argc; i++) {
            size_t len = read_len(&at, '$');
            argv[i] = slice_of(at, len);
            at += len + 2;
        }
        int64_t number;
        if (slice_is_word(argv[0], "select")) {
            check(num_parse_i64(argv[1], &number));
            to->db = (db_id)number;
        } else {
            const char *reply = handler_run(to, (int)argc, argv);
            if (reply[0] == '-') fprintf(stderr, "replay: %s", reply);
            check(reply[0] != '-');
        }
        mem_free(argv);
    }
    to->now = now;
    to->db = db;
}

struct dump {
    struct buf *lines; /* one per key */
    size_t count, cap;
    db_id db;
};

static void dump_entry(void *ctx, const struct entry *e)
{
    struct dump *dump = ctx;
    if (dump->count == dump->cap) {
        dump->cap = dump->cap ? dump->cap * 2 : 64;
        dump->lines = mem_realloc(dump->lines, dump->cap * sizeof(*dump->lines));
    }
    struct buf *line = &dump->lines[dump->count++];
    *line = (struct buf){0};
    struct slice key = entry_key(e);
    instant_ms expire = entry_expiry(e);
    buf_printf(line, "%u \"", dump->db);
    handler_dump_text(line, key);
    buf_printf(line, "\" %s ", type_name(entry_type(e)));
    if (expire != EXPIRE_NONE) buf_printf(line, "until %lld ", (long long)expire);
    handler_dump_value(line, e);
    buf_append_char(line, '\n');
}

static int compare_lines(const void *a, const void *b)
{
    return slice_compare(buf_slice(a), buf_slice(b));
}

void handler_dump(struct handler_world *w, struct buf *out)
{
    struct dump dump = {0};
    struct ks ks = world_view(w);
    for (; dump.db < w->env.databases; dump.db++) {
        ks.db = dump.db;
        ks_each(&ks, dump_entry, &dump);
    }
    if (dump.count) qsort(dump.lines, dump.count, sizeof(*dump.lines), compare_lines);
    for (size_t i = 0; i < dump.count; i++) {
        buf_append_slice(out, buf_slice(&dump.lines[i]));
        buf_deinit(&dump.lines[i]);
    }
    mem_free(dump.lines);
}
