/* Big keys: while somebody looks at the page, each worker walks over its own shard, STEP_US of
 * every tenth of a second, and remembers the largest values of each type. A walk that has been
 * round shows what it found until the next one has; the first shows what it has so far.
 *
 * A walk costs nothing while nobody looks, and at most half a percent of a worker while somebody
 * does. Why not note sizes where values grow? Every write would pay for what is asked once a month.
 * Thread: the worker. */
#include "hotkeys.h"
#include "observe.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"
#include "splitring/keyspace/keyspace.h"

#define STEP_US 500
#define STEP_KEYS 64u
#define LOOKED_AT_MS 5000 /* so long after the last look the walk goes on */
#define TOP 4u            /* per type */
#define BYTES_MIN 4096u
#define TYPES 7u          /* enum value_type: below */

struct big {
    size_t bytes;
    uint32_t len;
    db_id db;
    uint8_t type;
    char key[HOT_KEY_LEN_MAX];
};

struct bigkeys {
    instant_ms looked_at;
    uint64_t cursor;
    db_id db;
    bool been_round;
    struct big found[TYPES][TOP], last[TYPES][TOP]; /* of this round; of the one before */
};

struct step {
    struct bigkeys *b;
    db_id db;
};

static void visit(void *ctx, const struct entry *e)
{
    struct step *step = ctx;
    enum value_type type = entry_type(e);
    size_t bytes = entry_bytes(e);
    if (bytes < BYTES_MIN || (unsigned)type >= TYPES) return;
    struct big *least = step->b->found[type];
    struct slice key = entry_key(e);
    for (unsigned i = 0; i < TOP; i++) {
        struct big *at = &step->b->found[type][i];
        size_t shown = key.len < HOT_KEY_LEN_MAX ? key.len : HOT_KEY_LEN_MAX;
        if (at->bytes && at->db == step->db && at->len == key.len &&
            memcmp(at->key, key.ptr, shown) == 0) {
            at->bytes = bytes; /* a walk may meet a key twice */
            return;
        }
        if (at->bytes < least->bytes) least = at;
    }
    if (bytes <= least->bytes) return;
    *least = (struct big){.bytes = bytes, .len = (uint32_t)key.len, .db = step->db,
                          .type = (uint8_t)type};
    memcpy(least->key, key.ptr, key.len < HOT_KEY_LEN_MAX ? key.len : HOT_KEY_LEN_MAX);
}

static void next_database(struct worker *w, struct bigkeys *b)
{
    if (++b->db < w->hub->databases) return;
    b->db = 0;
    b->been_round = true;
    memcpy(b->last, b->found, sizeof b->last);
    memset(b->found, 0, sizeof b->found);
}

void bigkeys_step(struct worker *w)
{
    struct bigkeys *b = w->bigkeys;
    if (!b || w->loading || w->now - b->looked_at > LOOKED_AT_MS) return;
    int64_t until_us = os_mono_us() + STEP_US;
    unsigned dbs = 0;
    worker_hold(w, w->id);
    while (dbs <= w->hub->databases && os_mono_us() < until_us) {
        struct step step = {b, b->db};
        struct ks ks = {.shard = w->shard, .shard_count = 1, .db = b->db, .now = w->now,
                        .flags = KS_LOGICAL | KS_NO_TOUCH | KS_NO_STATS};
        if (ks_db_keys(&ks, b->db))
            b->cursor = ks_scan(&ks, b->cursor, STEP_KEYS, visit, &step);
        else
            b->cursor = 0;
        if (b->cursor) continue;
        next_database(w, b);
        dbs++; /* a small keyspace is not walked round and round */
    }
}

void bigkeys_tell(struct worker *w, struct buf *out)
{
    if (!w->bigkeys) w->bigkeys = mem_zalloc(sizeof *w->bigkeys);
    struct bigkeys *b = w->bigkeys;
    b->looked_at = w->now;
    json_name(out, "big");
    buf_append_char(out, '[');
    for (unsigned i = 0; i < TYPES * TOP; i++) {
        const struct big *at = b->been_round ? &b->last[i / TOP][i % TOP]
                                             : &b->found[i / TOP][i % TOP];
        if (!at->bytes) continue;
        buf_append_char(out, '{');
        json_name(out, "key");
        json_text(out, slice_of(at->key, at->len < HOT_KEY_LEN_MAX ? at->len : HOT_KEY_LEN_MAX));
        buf_printf(out, ",\"db\":%u,\"type\":\"%s\",\"bytes\":%zu},", at->db,
                   type_name((enum value_type)at->type), at->bytes);
    }
    json_end(out, ']');
}
