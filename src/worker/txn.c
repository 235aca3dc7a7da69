/* The coordinator of a command over several shards.
 *
 *        TRY to all shards at once ──▶ all granted? ── yes ──────────────┐
 *                                        │ no: keep what lies below the   │
 *                                        ▼ lowest refusal, release others │
 *        LOCK shard by shard, ascending, waiting in each queue ───────────┤
 *                                                                         ▼  lock point
 *        read-only: RELEASE all, answer          writes: WRITE (and release) to all, answer when
 * done
 *
 * Split commands (MGET, DEL, MSET …) run at each shard on that shard's keys: readers in the
 * granting hop, writers in the write hop. The others (COPY, RENAME, BITOP …) fetch images of all
 * their keys with the grants; the handler then runs on the coordinator's scratch shard, and the
 * keys it changed go home as images with the write hop. So every handler is written once, for one
 * shard.
 *
 * Who holds shard s waits only above s, and inside a shard only for what came earlier: no cycle.
 * The rules were explored in shared/model; each fault bit here leaves one out for the simulator.
 *
 * Thread: the connection's worker; parts belong to the shard's holder between request and
 * answer. */
#include "txn.h"

#include "conn.h"
#include "group.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "stats.h"

enum phase { PHASE_TRY, PHASE_ORDERED, PHASE_WRITE };

struct txn {
    struct conn *conn;
    struct worker *home;
    struct exec x; /* arguments copied */
    struct buf bytes;
    struct slice *argv;
    struct key_ref *refs;
    int ref_count;
    int copy_db;      /* COPY … DB n: where its destination lives; -1 */
    enum phase phase;
    unsigned pending; /* answers outstanding */
    unsigned part_count;
    struct txn_part *parts; /* ascending by shard */
    counter refs_left; /* releases on their way, and one for the coordinator */
    struct buf reply; /* of the handler on the scratch shard */
};

/* The handler runs on the scratch shard, on images of the keys. */
static bool on_copies(const struct command *cmd)
{
    return cmd->split == SPLIT_NONE || cmd->split >= SPLIT_FIRST;
}

/* ---- building ---- */

static void txn_drop(struct txn *t)
{
    if (!refs_drop_shared(&t->refs_left)) return;
    for (unsigned i = 0; i < t->part_count; i++) {
        struct txn_part *part = &t->parts[i];
        buf_deinit(&part->reply);
        buf_deinit(&part->images);
        buf_deinit(&part->writes);
        mem_free(part->lock.nodes);
        mem_free(part->sub_argv);
        mem_free(part->key_pos);
    }
    for (int a = 0; t->x.args && a < t->x.argc; a++) mem_free(t->x.args[a].blob);
    mem_free(t->x.args);
    mem_free(t->parts);
    mem_free(t->refs);
    mem_free(t->argv);
    buf_deinit(&t->bytes);
    buf_deinit(&t->reply);
    mem_free(t);
}

static bool copy_args(struct txn *t, const struct op *op)
{
    size_t len = 0;
    t->x.args = NULL; /* the parser's; from here on x is what txn_drop frees */
    for (int a = 0; a < op->argc; a++) len += op->argv[a].len;
    t->argv = mem_try_alloc((size_t)op->argc * sizeof *t->argv);
    t->refs = mem_try_alloc((size_t)op->argc * sizeof *t->refs);
    if (!t->argv || !t->refs || (len && !buf_reserve(&t->bytes, len))) return false;
    for (int a = 0; a < op->argc; a++) {
        t->argv[a] = slice_of(t->bytes.ptr + t->bytes.len, op->argv[a].len);
        buf_append_slice(&t->bytes, op->argv[a]);
    }
    t->x.argv = t->argv;
    t->x.hint = NULL;
    t->x.key = NULL;
    t->ref_count = op->cmd->route == ROUTE_KEYS
                       ? command_keys(op->cmd, t->argv, op->argc, t->refs) : 0;
    return true;
}

/* argv of a split command at one shard: the name, and its own keys with what belongs to each. */
static void part_sub_args(struct txn *t, struct txn_part *part)
{
    const struct command *cmd = t->x.cmd;
    part->sub = t->x;
    part->sub.out = &part->reply;
    part->sub.is_part = true;
    if (cmd->route == ROUTE_ALL || on_copies(cmd)) return;
    int step = cmd->key_step > 0 ? cmd->key_step : 1;
    part->sub_argv = mem_alloc(((size_t)part->key_count * (size_t)step + 1) * sizeof(struct slice));
    int n = 0;
    part->sub_argv[n++] = t->argv[0];
    for (int k = 0; k < part->key_count; k++)
        for (int i = 0; i < step; i++) part->sub_argv[n++] = t->argv[part->key_pos[k] + i];
    part->sub.argv = part->sub_argv;
    part->sub.argc = n;
}

/* COPY is the one command whose second key may live in another database. */
static int find_copy_db(const struct txn *t)
{
    int64_t db;
    if (strcmp(t->x.cmd->name, "copy") != 0) return -1;
    for (int i = 3; i + 1 < t->x.argc; i++)
        if (slice_is_word(t->argv[i], "db") && num_parse_i64(t->argv[i + 1], &db) && db >= 0 &&
            db < (int64_t)t->home->hub->databases)
            return (int)db;
    return -1;
}

static void part_init(struct worker *w, struct txn *t, struct txn_part *part, shard_id s)
{
    part->txn = t;
    part->shard = s;
    list_init(&part->link);
    list_init(&part->release_link);
    int count = 0;
    for (int i = 0; i < t->ref_count; i++)
        count += hub_shard_of(w->hub, t->argv[t->refs[i].pos]) == s;
    part->key_pos = mem_alloc(((size_t)count + 1) * sizeof(int));
    for (int i = 0; i < t->ref_count; i++)
        if (hub_shard_of(w->hub, t->argv[t->refs[i].pos]) == s)
            part->key_pos[part->key_count++] = t->refs[i].pos;
    struct lock_node *nodes = mem_alloc(lock_nodes_bytes((size_t)count));
    lock_request_init(&part->lock, nodes);
    exec_lock_keys(w, &t->x, s, &part->lock);
    part_sub_args(t, part);
}

static struct txn *txn_new(struct worker *w, const struct op *op)
{
    struct txn *t = mem_zalloc(sizeof *t);
    t->conn = op->conn;
    t->home = w;
    refs_init(&t->refs_left, 1);
    group_exec_of(w, op, &t->x);
    if (!copy_args(t, op)) {
        txn_drop(t);
        return NULL;
    }
    t->copy_db = find_copy_db(t);
    t->part_count = (unsigned)__builtin_popcount(op->mask);
    t->parts = mem_zalloc(t->part_count * sizeof *t->parts);
    unsigned n = 0;
    for (uint32_t m = op->mask; m; m &= m - 1)
        part_init(w, t, &t->parts[n++], (shard_id)__builtin_ctz(m));
    return t;
}

/* ---- sending ---- */

static void part_send(struct txn *t, struct txn_part *part, uint32_t kind)
{
    struct worker *w = t->home;
    if (kind == MSG_TXN_RELEASE)
        counter_next_shared(&t->refs_left);
    else
        t->pending++;
    if (part->shard == w->id && kind == MSG_TXN_RELEASE) {
        list_push_back(&w->local_releases, &part->release_link);
    } else if (part->shard == w->id) {
        part->kind = kind;
        list_push_back(&w->local_hops, &part->link);
    } else {
        worker_send(w, part->shard, kind, part);
    }
}

static void release_granted(struct txn *t, unsigned from)
{
    for (unsigned i = from; i < t->part_count; i++) {
        if (!t->parts[i].granted) continue;
        t->parts[i].granted = false;
        part_send(t, &t->parts[i], MSG_TXN_RELEASE);
    }
}

static void try_all(struct txn *t)
{
    t->phase = PHASE_TRY;
    for (unsigned i = 0; i < t->part_count; i++) part_send(t, &t->parts[i], MSG_TXN_TRY);
}

void txn_start(struct worker *w, const struct op *op)
{
    struct txn *t = txn_new(w, op);
    if (!t) {
        conn_close(op->conn);
        return;
    }
    struct conn *c = op->conn;
    if (c->flags & CONN_REPLY_SKIP_NEXT)
        c->flags = (c->flags & ~(uint32_t)CONN_REPLY_SKIP_NEXT) | CONN_REPLY_SKIP;
    c->flags |= CONN_WAITING;
    c->in_flight = t;
    counter_add(&w->pub->txns, 1);
    try_all(t);
}

/* ---- the lock point and after ---- */

/* The parts were not counted: the command is, once. */
static void count_call(struct txn *t, const struct buf *out)
{
    struct worker_published *pub = t->home->pub;
    counter_add(&pub->calls[t->x.cmd->id], 1);
    counter_add(&pub->commands, 1);
    if (!out->len || out->ptr[0] != '-') return;
    counter_add(&pub->calls_failed[t->x.cmd->id], 1);
    counter_add(&pub->error_replies, 1);
    stats_note_error(t->home, out);
}

static void finish(struct txn *t)
{
    struct conn *c = t->conn;
    struct buf out = {0};
    if (on_copies(t->x.cmd)) {
        out = t->reply;
        t->reply = (struct buf){0};
    } else {
        txn_combine(t->x.cmd, t->ref_count, t->parts, t->part_count, &t->home->rng, t->x.proto,
                    &out);
        count_call(t, &out);
    }
    conn_append_reply(c, &out);
    buf_deinit(&out);
    txn_drop(t);
    conn_resume(c);
}

/* ---- images: values on their way to the scratch shard and back ---- */

#define IMAGE_UNCHANGED UINT64_MAX

static struct ks key_view(struct txn *t, struct shard *shard, int pos)
{
    bool second = t->copy_db >= 0 && pos == 2;
    return (struct ks){.shard = shard, .shard_count = 1, .now = t->x.now,
                       .db = second ? (db_id)t->copy_db : t->x.db,
                       .flags = KS_NO_STATS | KS_NO_TOUCH |
                                (t->x.cmd->flags & CMD_WRITE ? 0 : KS_LOGICAL)};
}

/* Appends a length and the key's image. */
static void image_fetch(struct txn *t, struct shard *shard, int pos, struct buf *list)
{
    struct ks ks = key_view(t, shard, pos);
    uint64_t len = 0;
    size_t at = list->len;
    buf_append(list, &len, sizeof len);
    ks_image_write(&ks, t->argv[pos], list);
    if (list->failed) return;
    len = list->len - at - sizeof len;
    memcpy(list->ptr + at, &len, sizeof len);
}

/* The next image of a list; false: unchanged. */
static bool image_next(const struct buf *list, size_t *at, struct slice *image)
{
    uint64_t len;
    memcpy(&len, list->ptr + *at, sizeof len);
    *at += sizeof len;
    if (len == IMAGE_UNCHANGED) return false;
    *image = slice_of(list->ptr + *at, (size_t)len);
    *at += (size_t)len;
    return true;
}

static bool scratch_fill(struct txn *t)
{
    for (unsigned i = 0; i < t->part_count; i++) {
        struct txn_part *part = &t->parts[i];
        size_t at = 0;
        if (part->images.failed) return false;
        for (int k = 0; k < part->key_count; k++) {
            struct slice image;
            struct ks ks = key_view(t, t->home->scratch, part->key_pos[k]);
            if (image_next(&part->images, &at, &image) &&
                ks_image_put(&ks, t->argv[part->key_pos[k]], image) != 0)
                return false;
        }
    }
    return true;
}

static bool key_is_written(const struct txn *t, int pos)
{
    for (int i = 0; i < t->ref_count; i++)
        if (t->refs[i].pos == pos) return t->refs[i].flags & KEY_WRITES;
    return false;
}

/* Which of the part's keys the handler changed; false: none. */
static bool part_collect_writes(struct txn *t, struct txn_part *part)
{
    bool any = false;
    size_t at = 0;
    for (int k = 0; k < part->key_count; k++) {
        int pos = part->key_pos[k];
        struct slice before = {0};
        image_next(&part->images, &at, &before);
        size_t mark = part->writes.len;
        if (key_is_written(t, pos)) {
            image_fetch(t, t->home->scratch, pos, &part->writes);
            struct slice after = slice_of(part->writes.ptr + mark + 8, part->writes.len - mark - 8);
            if (part->writes.failed || !slice_equal(before, after)) {
                any = true;
                continue;
            }
        }
        uint64_t unchanged = IMAGE_UNCHANGED;
        part->writes.len = mark;
        buf_append(&part->writes, &unchanged, sizeof unchanged);
    }
    return any;
}

static void scratch_empty(struct txn *t)
{
    for (unsigned i = 0; i < t->part_count; i++)
        for (int k = 0; k < t->parts[i].key_count; k++) {
            struct ks ks = key_view(t, t->home->scratch, t->parts[i].key_pos[k]);
            ks_delete(&ks, t->argv[t->parts[i].key_pos[k]], false);
        }
    while (shard_free_step(t->home->scratch, 1000)) continue;
}

/* The handler on copies; afterwards each part knows what it has to write. Out of memory on the way:
 * an error reply and no writes. */
static void run_on_scratch(struct txn *t)
{
    t->x.out = &t->reply;
    bool ok = scratch_fill(t);
    if (ok) exec_scratch(t->home, &t->x);
    for (unsigned i = 0; i < t->part_count && ok; i++) {
        struct txn_part *part = &t->parts[i];
        if (!(t->x.cmd->flags & CMD_WRITE) || !part_collect_writes(t, part))
            buf_deinit(&part->writes);
        ok = !part->writes.failed;
    }
    if (!ok) {
        struct reply reply = {.out = &t->reply, .proto = t->x.proto};
        for (unsigned i = 0; i < t->part_count; i++) buf_deinit(&t->parts[i].writes);
        t->reply.len = 0;
        reply_error(&reply, ERR_OOM);
    }
    scratch_empty(t);
}

/* ---- the lock point ---- */

/* Shards' clocks differ by a pass or so: a key judged alive by one may be past its time by
 * another's. Then everything is judged again at the later time. It ends: each round lets an expiry
 * pass. */
static bool judged_at_one_time(struct txn *t)
{
    instant_ms latest = t->x.now;
    bool same = true;
    for (unsigned i = 0; i < t->part_count; i++)
        if (t->parts[i].clock > latest) latest = t->parts[i].clock;
    for (unsigned i = 0; i < t->part_count; i++) same &= t->parts[i].next_expiry >= latest;
    if (same) return true;
    release_granted(t, 0);
    t->x.now = latest;
    for (unsigned i = 0; i < t->part_count; i++) t->parts[i].sub.now = latest;
    try_all(t);
    return false;
}

/* All locks are held: here the transaction happens. */
static void lock_point(struct txn *t)
{
    if (!judged_at_one_time(t)) return;
    bool writes = t->x.cmd->flags & CMD_WRITE;
    t->phase = PHASE_WRITE;
    if (on_copies(t->x.cmd)) run_on_scratch(t);
    for (unsigned i = 0; i < t->part_count; i++) {
        struct txn_part *part = &t->parts[i];
        bool has_write = writes && (!on_copies(t->x.cmd) || part->writes.len);
        part->granted = false;
        part_send(t, part, has_write ? MSG_TXN_WRITE : MSG_TXN_RELEASE);
    }
    if (t->pending == 0) finish(t);
}

static void lock_next(struct txn *t)
{
    t->phase = PHASE_ORDERED;
    bool unsorted = t->home->hub->faults & FAULT_ORDERED_UNSORTED;
    for (unsigned n = 0; n < t->part_count; n++) {
        /* argument order: by the first key of the command */
        unsigned i = n;
        if (unsorted && t->ref_count &&
            hub_shard_of(t->home->hub, t->argv[t->refs[0].pos]) != t->parts[0].shard)
            i = t->part_count - 1 - n;
        if (t->parts[i].granted) continue;
        part_send(t, &t->parts[i], MSG_TXN_LOCK);
        return;
    }
    lock_point(t);
}

/* Every try has been answered. */
static void tries_answered(struct txn *t)
{
    unsigned refused = t->part_count;
    for (unsigned i = t->part_count; i-- > 0;)
        if (!t->parts[i].granted) refused = i;
    if (refused == t->part_count) {
        lock_point(t);
        return;
    }
    counter_add(&t->home->pub->txns_refused, 1);
    uint32_t faults = t->home->hub->faults;
    if (faults & FAULT_RETRY_TRY) {
        release_granted(t, 0);
        try_all(t);
        return;
    }
    if (!(faults & FAULT_KEEP_HIGHER)) release_granted(t, refused + 1);
    lock_next(t);
}

void txn_answered(struct worker *w, struct txn_part *part)
{
    struct txn *t = part->txn;
    (void)w;
    t->pending--;
    if (part->answer == TXN_GRANTED) part->granted = true;
    switch (t->phase) {
    case PHASE_TRY:
        if (t->pending == 0) tries_answered(t);
        break;
    case PHASE_ORDERED: lock_next(t); break;
    case PHASE_WRITE:
        if (t->pending == 0) finish(t);
        break;
    }
}

/* ---- at the shard ---- */

static void answer(struct worker *w, struct txn_part *part, enum txn_answer what)
{
    struct worker *home = part->txn->home;
    part->answer = (uint8_t)what;
    if (home == w)
        list_push_back(&w->local_answers, &part->link);
    else
        worker_send(w, home->id, MSG_TXN_ANSWER, part);
}

/* When the part's keys were judged, and until when that judgement holds. */
static void note_times(struct worker *w, struct txn_part *part)
{
    struct txn *t = part->txn;
    struct shard *shard = w->hub->shards[part->shard];
    part->next_expiry = EXPIRE_NONE;
    for (int k = 0; k < part->key_count; k++) {
        struct ks ks = key_view(t, shard, part->key_pos[k]);
        ks.flags |= KS_LOGICAL;
        const struct entry *e = ks_peek(&ks, t->argv[part->key_pos[k]]);
        if (e && entry_expiry(e) < part->next_expiry) part->next_expiry = entry_expiry(e);
    }
    part->clock = shard_clock(shard) > t->x.now ? shard_clock(shard) : t->x.now;
}

/* The granting hop: readers read here, under the locks they will hold to the lock point. */
static void grant(struct worker *w, struct txn_part *part)
{
    struct txn *t = part->txn;
    part->reply.len = part->images.len = 0;
    note_times(w, part);
    if (on_copies(t->x.cmd)) {
        for (int k = 0; k < part->key_count; k++)
            image_fetch(t, w->hub->shards[part->shard], part->key_pos[k], &part->images);
    } else if (!(t->x.cmd->flags & CMD_WRITE)) {
        exec_one(w, &part->sub, part->shard);
    }
    if (w->hub->faults & FAULT_READS_RELEASE && !(t->x.cmd->flags & CMD_WRITE) &&
        part->lock.state == LOCK_HELD)
        locks_release(w->hub->locks[part->shard], &part->lock);
    answer(w, part, TXN_GRANTED);
}

static void lock_granted(void *ctx, struct lock_request *request)
{
    grant(ctx, CONTAINER_OF(request, struct txn_part, lock));
}

static void write_part(struct worker *w, struct txn_part *part)
{
    struct txn *t = part->txn;
    if (!on_copies(t->x.cmd)) {
        exec_one(w, &part->sub, part->shard);
        return;
    }
    size_t at = 0;
    for (int k = 0; k < part->key_count; k++) {
        struct slice image;
        struct ks ks = key_view(t, w->hub->shards[part->shard], part->key_pos[k]);
        ks.flags = KS_NO_STATS;
        if (image_next(&part->writes, &at, &image) &&
            ks_image_put(&ks, t->argv[part->key_pos[k]], image) != 0)
            check(
                false); /* the image exists in memory: a copy of it did not fit. No half writes. */
    }
    worker_touched(w, part->shard, DBS_ALL);
}

static bool read_no_lock(const struct worker *w, const struct txn_part *part)
{
    return w->hub->faults & FAULT_READ_NO_LOCK && !(part->txn->x.cmd->flags & CMD_WRITE);
}

void txn_hop(struct worker *w, uint32_t kind, struct txn_part *part)
{
    struct locks *locks = w->hub->locks[part->shard];
    check(worker_holds(w, part->shard));
    part->lock.on_granted = lock_granted;
    switch (kind) {
    case MSG_TXN_TRY:
        if (read_no_lock(w, part) || locks_try(locks, &part->lock))
            grant(w, part);
        else
            answer(w, part, TXN_REFUSED);
        break;
    case MSG_TXN_LOCK:
        if (locks_acquire(locks, &part->lock)) grant(w, part);
        break;
    case MSG_TXN_WRITE:
        write_part(w, part);
        locks_release(locks, &part->lock);
        answer(w, part, TXN_DONE);
        break;
    case MSG_TXN_RELEASE:
        if (part->lock.state != LOCK_IDLE) locks_release(locks, &part->lock);
        txn_drop(part->txn);
        break;
    default: check(false);
    }
}

bool txn_run_local(struct worker *w)
{
    bool any = false;
    struct list *link;
    for (;;) {
        if ((link = list_pop_front(&w->local_releases)) != NULL) {
            worker_hold(w, w->id);
            txn_hop(w, MSG_TXN_RELEASE, CONTAINER_OF(link, struct txn_part, release_link));
        } else if ((link = list_pop_front(&w->local_hops)) != NULL) {
            struct txn_part *part = CONTAINER_OF(link, struct txn_part, link);
            worker_hold(w, w->id);
            txn_hop(w, part->kind, part);
        } else if ((link = list_pop_front(&w->local_answers)) != NULL) {
            txn_answered(w, CONTAINER_OF(link, struct txn_part, link));
        } else if (w->held) {
            worker_unhold_all(w); /* may grant, and so answer, what waited here */
            continue;
        } else {
            return any;
        }
        any = true;
    }
}
