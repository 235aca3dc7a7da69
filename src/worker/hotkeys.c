/* Hot keys, by sampling.
 *
 * Always (hot-keys yes): one command in METER_SAMPLE, drawn at random within each such stretch so
 * that no pattern of a pipeline hides from it, gives its key to a table of 64 counters kept by the
 * Space-Saving rule: a key that has none takes over the smallest, with its count. What is counted
 * more often than 1/64 of all samples is surely in the table, and no count is too low. Two tables
 * of WINDOW_MS each, so what is told is about the last ten to twenty seconds.
 *
 * The hot path pays nothing: the draw is the one that stages already need (meter.h). A sample costs
 * a scan of 64 hashes, shared by METER_SAMPLE commands.
 *
 * HOTKEYS START makes a session: tables of its own, weighted by execution time and by bytes, to
 * which every command (or one in SAMPLE) is given with all its keys. For its time meter.look_ns is
 * 0, so that every command takes the slow branch there is anyway.
 *
 * Tables belong to the worker that runs a command, not to the shard: who reads them adds up all.
 * Source: A. Metwally, D. Agrawal, A. El Abbadi: Efficient Computation of Frequent and Top-k
 * Elements in Data Streams, ICDT 2005.
 * Thread: the worker. */
#include "hotkeys.h"

#include "commandlog.h"
#include "conn.h"
#include "meter.h"
#include "observe.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"
#include "stats.h"

#define SAMPLE_SLOTS 64u
#define SESSION_SLOTS 256u
#define WINDOW_MS 10000
#define KEYS_MAX 64 /* of one command */
#define TOLD_MAX 16u
#define SHARE_MIN 0.005 /* of all samples: what is less hot is not told */

struct hot_table {
    uint64_t total;
    unsigned count, cap;
    struct hot_slot *slots;
};

struct hotkeys {
    struct hot_table now, before;
    instant_ms since; /* of now */
    instant_ms before_ms; /* how long `before` lasted; 0: there is none */
    struct hot_session session;
    struct hot_table tables[HOT_METRICS];
    int64_t skip; /* commands until the session's next sample */
};

struct hotkeys *hotkeys_new(void) { return mem_zalloc(sizeof(struct hotkeys)); }

static void hot_table_free(struct hot_table *t)
{
    mem_free(t->slots);
    *t = (struct hot_table){0};
}

void hotkeys_free(struct hotkeys *h)
{
    hot_table_free(&h->now);
    hot_table_free(&h->before);
    for (unsigned m = 0; m < HOT_METRICS; m++) hot_table_free(&h->tables[m]);
    mem_free(h);
}

/* ---- Space-Saving ---- */

static void slot_take(struct hot_slot *slot, struct slice key, db_id db, uint64_t hash)
{
    slot->hash = hash;
    slot->db = db;
    slot->len = (uint32_t)key.len;
    memcpy(slot->key, key.ptr, key.len < HOT_KEY_LEN_MAX ? key.len : HOT_KEY_LEN_MAX);
}

static void hot_table_add(struct hot_table *t, struct slice key, db_id db, uint64_t hash,
                          uint64_t weight)
{
    struct hot_slot *least = NULL;
    hash += db * 0x9e3779b97f4a7c15u;
    t->total += weight;
    for (unsigned i = 0; i < t->count; i++) {
        struct hot_slot *slot = &t->slots[i];
        if (slot->hash == hash) {
            slot->weight += weight;
            return;
        }
        if (!least || slot->weight < least->weight) least = slot;
    }
    if (t->count < t->cap) {
        least = &t->slots[t->count++];
        least->weight = 0;
    }
    if (!least) return;
    slot_take(least, key, db, hash);
    least->weight += weight;
}

static bool hot_table_ready(struct hot_table *t, unsigned cap)
{
    if (!t->slots) t->slots = mem_try_zalloc(cap * sizeof *t->slots);
    t->cap = t->slots ? cap : 0;
    return t->slots != NULL;
}

/* ---- keys of a command ---- */

/* The handler may have taken large arguments; a key that may be gone is not looked at. */
static bool still_there(const struct exec *x, int pos)
{
    return pos < x->argc && !(x->args && x->argv[pos].len >= PARSE_BIG_LEN);
}

static int keys_of(const struct exec *x, struct key_ref refs[KEYS_MAX])
{
    const struct command *cmd = x->cmd;
    if (cmd->keys && x->argc > KEYS_MAX) return 0;
    if (cmd->keys) return command_keys(cmd, x->argv, x->argc, refs);
    int n = 0, last = cmd->key_last < 0 ? x->argc + cmd->key_last : cmd->key_last;
    if (!cmd->key_first) return 0;
    for (int i = cmd->key_first; i <= last && i < x->argc && n < KEYS_MAX; i += cmd->key_step)
        refs[n++].pos = i;
    return n;
}

static void add_keys(struct worker *w, struct hot_table *t, const struct exec *x, uint64_t weight)
{
    struct key_ref refs[KEYS_MAX];
    int n = keys_of(x, refs);
    for (int i = 0; i < n; i++)
        if (still_there(x, refs[i].pos)) {
            struct slice key = x->argv[refs[i].pos];
            hot_table_add(t, key, x->db, hash_key(key, w->hub->seed), weight);
        }
}

/* ---- always ---- */

static void turn_window(struct hotkeys *h, instant_ms now)
{
    if (now - h->since < WINDOW_MS) return;
    bool gap = now - h->since >= 2 * WINDOW_MS;
    struct hot_table old = h->before;
    h->before = h->now;
    h->before_ms = gap ? 0 : now - h->since;
    if (gap) h->before.count = 0, h->before.total = 0;
    h->now = old;
    h->now.count = 0;
    h->now.total = 0;
    h->since = now;
}

void hotkeys_sample(struct worker *w, const struct exec *x)
{
    struct hotkeys *h = w->hotkeys;
    turn_window(h, w->now);
    if (hot_table_ready(&h->now, SAMPLE_SLOTS)) add_keys(w, &h->now, x, 1);
}

static uint64_t weight_in(const struct hot_table *t, uint64_t hash)
{
    for (unsigned i = 0; i < t->count; i++)
        if (t->slots[i].hash == hash) return t->slots[i].weight;
    return 0;
}

void hotkeys_tell(struct worker *w, struct buf *out)
{
    struct hotkeys *h = w->hotkeys;
    turn_window(h, w->now);
    double total = (double)(h->now.total + h->before.total);
    double seconds = (double)(w->now - h->since + h->before_ms) / 1000;
    unsigned told = 0;
    json_name(out, "hot");
    buf_append_char(out, '[');
    for (unsigned t = 0; t < 2 && seconds > 0; t++) {
        const struct hot_table *table = t ? &h->before : &h->now;
        for (unsigned i = 0; i < table->count && told < 2 * TOLD_MAX; i++) {
            const struct hot_slot *s = &table->slots[i];
            uint64_t also = t ? 0 : weight_in(&h->before, s->hash);
            if (t && weight_in(&h->now, s->hash)) continue;
            double share = (double)(s->weight + also) / total;
            if (s->weight + also < 3 || share < SHARE_MIN) continue;
            told++;
            buf_append_char(out, '{');
            json_name(out, "key");
            json_text(out, slice_of(s->key, s->len < HOT_KEY_LEN_MAX ? s->len : HOT_KEY_LEN_MAX));
            buf_printf(out, ",\"db\":%u,\"ops\":%.1f,\"samples\":%llu},", s->db,
                       (double)(s->weight + also) * METER_SAMPLE / seconds,
                       (unsigned long long)(s->weight + also));
        }
    }
    json_end(out, ']');
    json_number(out, "samples", h->now.total + h->before.total);
}

/* ---- sessions ---- */

bool hotkeys_session_active(const struct worker *w) { return w->hotkeys->session.active; }

static void totals(const struct worker *w, struct hot_session *s)
{
    struct os_usage usage;
    os_thread_usage_get(&usage);
    s->ns = 0;
    for (size_t id = 0; id < command_count(); id++) s->ns += counter_get(&w->pub->nsec[id]);
    s->net = counter_get(&w->pub->bytes_in) + counter_get(&w->pub->bytes_out);
    s->cpu_user_us = (uint64_t)(usage.user_s * 1e6);
    s->cpu_system_us = (uint64_t)(usage.system_s * 1e6);
}

/* What has grown since the start stands where what was at the start stood. */
static void settle(const struct worker *w, struct hot_session *s)
{
    struct hot_session now;
    totals(w, &now);
    s->ns = now.ns > s->ns ? now.ns - s->ns : 0; /* else CONFIG RESETSTAT */
    s->net = now.net > s->net ? now.net - s->net : 0;
    s->cpu_user_us = now.cpu_user_us - s->cpu_user_us;
    s->cpu_system_us = now.cpu_system_us - s->cpu_system_us;
}

void hotkeys_session_stop(struct worker *w)
{
    struct hot_session *s = &w->hotkeys->session;
    if (!s->active) return;
    s->active = false;
    if (w->now < s->end_ms) s->end_ms = w->now;
    settle(w, s);
    meter_config(w);
}

void hotkeys_session_reset(struct worker *w)
{
    struct hotkeys *h = w->hotkeys;
    hotkeys_session_stop(w);
    h->session = (struct hot_session){0};
    for (unsigned m = 0; m < HOT_METRICS; m++) hot_table_free(&h->tables[m]);
}

void hotkeys_session_start(struct worker *w, const struct hot_session *s)
{
    struct hotkeys *h = w->hotkeys;
    hotkeys_session_reset(w);
    h->session = *s;
    h->session.known = h->session.active = true;
    h->skip = s->sample;
    for (unsigned m = 0; m < HOT_METRICS; m++)
        if (s->wants[m] && !hot_table_ready(&h->tables[m], SESSION_SLOTS))
            h->session.active = false;
    totals(w, &h->session);
    meter_config(w);
}

struct hot_session hotkeys_session(struct worker *w)
{
    struct hot_session *s = &w->hotkeys->session;
    if (s->active && w->now >= s->end_ms) hotkeys_session_stop(w);
    struct hot_session now = *s;
    if (now.active) settle(w, &now);
    return now;
}

void hotkeys_count(struct worker *w, const struct exec *x, uint64_t ns, size_t reply_len)
{
    struct hotkeys *h = w->hotkeys;
    if (h->session.end_ms <= w->now) {
        hotkeys_session_stop(w);
        return;
    }
    if (--h->skip > 0) return;
    h->skip = h->session.sample;
    size_t bytes = commandlog_request_len(x->argv, x->argc) + reply_len;
    if (h->session.wants[HOT_CPU]) add_keys(w, &h->tables[HOT_CPU], x, ns);
    if (h->session.wants[HOT_NET]) add_keys(w, &h->tables[HOT_NET], x, bytes);
}

void hotkeys_session_slots(const struct worker *w, enum hot_metric metric, struct buf *out)
{
    const struct hot_table *t = &w->hotkeys->tables[metric];
    if (t->count) buf_append(out, t->slots, t->count * sizeof *t->slots);
}
