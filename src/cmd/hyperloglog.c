/* PFADD, PFCOUNT, PFMERGE and what tests of them need. A HyperLogLog is a string in Redis' format
 * (data/hll.h): GET, SET and APPEND see it as such, and any string may turn up here.
 *
 * A dense value is edited where it lies. A sparse one changes its length with nearly every add, so
 * it is edited in a block of its own, copied there by the first element that changes something, and
 * stored as a whole: adding what is known already costs no copy. Where a value turns out to be
 * corrupt, what was added before stays, as in Redis, and is what the effect says.
 *
 * PFCOUNT of one key keeps its estimate in the value: that is a write, and stated as one. Of
 * several keys it keeps none.
 * Thread: holder of the call's shards. */
#include <errno.h>
#include <math.h>

#include "cmd/string_impl.h"
#include "splitring/base/mem.h"
#include "splitring/data/hll.h"

/* The value, if it is a HyperLogLog. False: the error is written. */
static bool hll_of(struct call *c, const struct entry *e, char scratch[ENTRY_SCRATCH],
                   struct slice *value)
{
    if (!string_type_ok(c, e)) return false;
    *value = entry_string(e, scratch);
    if (hll_is_valid(*value)) return true;
    reply_error(&c->reply, ERR_HLL_WRONGTYPE);
    return false;
}

/* ---- editing ---- */

/* A value on its way to be changed. */
struct edit {
    struct hll h;       /* bytes NULL: nothing is copied yet */
    struct blob *room;  /* of a sparse or new value: HLL_ROOM; NULL: the bytes are the key's */
    bool failed;        /* no memory */
};

/* A copy with room to grow; NULL bytes make a new value. */
static bool edit_copy(struct edit *edit, struct slice value)
{
    edit->room = mem_try_alloc(sizeof(*edit->room) + HLL_ROOM);
    edit->failed = !edit->room;
    if (edit->failed) return false;
    edit->h = (struct hll){edit->room->data, value.len};
    if (value.ptr) memcpy(edit->h.bytes, value.ptr, value.len);
    else hll_make_empty(&edit->h);
    return true;
}

/* Makes `value` (of the key) one that can be changed. */
static bool edit_open(struct call *c, struct edit *edit, struct slice key, struct slice value)
{
    if (edit->h.bytes) return true;
    if (hll_is_sparse(value)) return edit_copy(edit, value);
    edit->h = (struct hll){ks_string_room(&c->ks, key, 0), value.len};
    edit->failed = !edit->h.bytes;
    return !edit->failed;
}

/* The edited value becomes the key's. False: no memory, nothing has changed. */
static bool edit_store(struct call *c, struct edit *edit, struct slice key)
{
    if (!edit->room) return true;
    struct blob *exact = mem_try_alloc(sizeof(*exact) + edit->h.len);
    if (!exact) return false;
    exact->len = exact->cap = edit->h.len;
    memcpy(exact->data, edit->h.bytes, edit->h.len);
    if (ks_set_blob(&c->ks, key, exact, EXPIRE_KEEP) == 0) return true;
    mem_free(exact);
    return false;
}

static void edit_close(struct edit *edit) { mem_free(edit->room); }

/* ---- PFADD ---- */

/* Adds elements up to the first that cannot be; its index, argc if there is none. *changed counts
 * those that raised a register. */
static int add_elements(struct call *c, struct edit *edit, struct slice value, uint64_t *changed)
{
    for (int i = 2; i < c->argc; i++) {
        struct hll_mark mark = hll_mark_of(c->argv[i]);
        enum hll_result result = HLL_SAME;
        if (!edit->h.bytes) {
            result = hll_check(value, mark);
            if (result == HLL_CHANGED && !edit_open(c, edit, c->argv[1], value)) return i;
        }
        if (edit->h.bytes) result = hll_set(&edit->h, mark, c->env->hll_sparse_max_bytes);
        if (result == HLL_CORRUPT) return i;
        *changed += result == HLL_CHANGED;
    }
    return c->argc;
}

/* The first `added` arguments have been worked in, and changed something. */
static bool finish_add(struct call *c, struct edit *edit, int added, uint64_t changed)
{
    hll_cache_drop(edit->h.bytes);
    if (!edit_store(c, edit, c->argv[1])) return false;
    ks_notify(&c->ks, EVENT_STRING, "pfadd", c->argv[1]);
    c->dirty += changed;
    effect_args(c, added, c->argv);
    return true;
}

void cmd_pfadd(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    struct slice key = c->argv[1], value = {NULL, 0};
    struct edit edit = {0};
    uint64_t changed = 0;
    const struct entry *e = ks_find(&c->ks, key);
    if (e && !hll_of(c, e, scratch, &value)) return;
    if (!e && edit_copy(&edit, value)) changed = 1;
    int added = edit.failed ? 0 : add_elements(c, &edit, value, &changed);
    if (changed > 0 && !finish_add(c, &edit, added, changed)) edit.failed = true;
    if (edit.failed) reply_error(&c->reply, ERR_NO_MEMORY);
    else if (added < c->argc) reply_error(&c->reply, ERR_HLL_CORRUPT);
    else reply_int(&c->reply, changed > 0);
    edit_close(&edit);
}

/* ---- PFCOUNT ---- */

/* The registers of all keys from argument `from` on. False: the error is written. */
static bool merge_keys(struct call *c, int from, uint8_t registers[HLL_REGISTERS], bool *dense)
{
    char scratch[ENTRY_SCRATCH];
    memset(registers, 0, HLL_REGISTERS);
    *dense = false;
    for (int i = from; i < c->argc; i++) {
        struct slice value;
        const struct entry *e = ks_read(&c->ks, c->argv[i]);
        if (!e) continue;
        if (!hll_of(c, e, scratch, &value)) return false;
        if (!hll_is_sparse(value)) *dense = true;
        if (hll_merge(value, registers)) continue;
        reply_error(&c->reply, ERR_HLL_CORRUPT);
        return false;
    }
    return true;
}

static void count_one(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    struct slice value;
    uint64_t count;
    const struct entry *e = ks_read(&c->ks, c->argv[1]);
    if (!e) {
        reply_int(&c->reply, 0);
        return;
    }
    if (!hll_of(c, e, scratch, &value)) return;
    if (!hll_cached(value, &count)) {
        if (!hll_count(value, &count)) {
            reply_error(&c->reply, ERR_HLL_CORRUPT);
            return;
        }
        char *bytes = ks_string_room(&c->ks, c->argv[1], 0);
        if (!bytes) {
            reply_error(&c->reply, ERR_NO_MEMORY);
            return;
        }
        hll_cache_set(bytes, count);
        c->dirty++;
        effect_verbatim(c);
    }
    reply_int(&c->reply, (int64_t)count);
}

void cmd_pfcount(struct call *c)
{
    uint8_t registers[HLL_REGISTERS];
    bool dense;
    if (c->argc == 2) count_one(c);
    else if (merge_keys(c, 1, registers, &dense))
        reply_int(&c->reply, (int64_t)hll_count_registers(registers));
}

/* ---- PFMERGE ---- */

/* Raises the target's registers. False: no memory. */
static bool merge_into(struct call *c, struct edit *edit, const uint8_t registers[HLL_REGISTERS],
                       bool dense)
{
    char scratch[ENTRY_SCRATCH];
    struct slice key = c->argv[1];
    const struct entry *e = ks_find(&c->ks, key);
    bool open = e ? edit_open(c, edit, key, entry_string(e, scratch))
                  : edit_copy(edit, slice_of(NULL, 0));
    if (!open) return false;
    /* The target was among what was merged: it is sound. */
    if (dense) hll_make_dense(&edit->h);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        struct hll_mark mark = {(uint16_t)i, registers[i]};
        if (registers[i]) (void)hll_set(&edit->h, mark, c->env->hll_sparse_max_bytes);
    }
    hll_cache_drop(edit->h.bytes);
    return edit_store(c, edit, key);
}

void cmd_pfmerge(struct call *c)
{
    uint8_t registers[HLL_REGISTERS];
    bool dense;
    struct edit edit = {0};
    if (!merge_keys(c, 1, registers, &dense)) return;
    if (merge_into(c, &edit, registers, dense)) {
        ks_notify(&c->ks, EVENT_STRING, "pfadd", c->argv[1]);
        c->dirty++;
        effect_verbatim(c);
        reply_ok(&c->reply);
    } else {
        reply_error(&c->reply, ERR_NO_MEMORY);
    }
    edit_close(&edit);
}

/* ---- PFDEBUG ---- */

/* A sparse value becomes dense; *converted tells. False: the error is written. */
static bool make_dense(struct call *c, struct slice value, bool *converted)
{
    struct edit edit = {0};
    *converted = hll_is_sparse(value);
    if (!*converted) return true;
    bool sound = value.len <= HLL_SPARSE_LEN_MAX, stored = false;
    if (sound && edit_copy(&edit, value)) {
        sound = hll_make_dense(&edit.h);
        stored = sound && edit_store(c, &edit, c->argv[2]);
    }
    edit_close(&edit);
    if (!stored) {
        reply_error(&c->reply, sound ? ERR_NO_MEMORY : ERR_HLL_CORRUPT);
        return false;
    }
    c->dirty++;
    effect_verbatim(c);
    return true;
}

static void show_registers(struct call *c, struct slice value)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    bool converted;
    /* Before the write that ends the value; one that is corrupt is refused there. */
    (void)hll_merge(value, registers);
    if (!make_dense(c, value, &converted)) return;
    reply_array(&c->reply, HLL_REGISTERS);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) reply_int(&c->reply, registers[i]);
}

static void show_runs(struct call *c, struct slice value)
{
    if (!hll_is_sparse(value)) {
        reply_error(&c->reply, ERR_HLL_NOT_SPARSE);
        return;
    }
    struct buf text = {0};
    struct hll_run run;
    for (size_t at = HLL_HEADER_LEN; hll_next_run(value, &at, &run);) {
        if (text.len) buf_append_char(&text, ' ');
        if (run.rank) buf_printf(&text, "v:%u,%u", (unsigned)run.rank, (unsigned)run.len);
        else buf_printf(&text, "%c:%u", run.bytes > 1 ? 'Z' : 'z', (unsigned)run.len);
    }
    if (text.failed) reply_error(&c->reply, ERR_NO_MEMORY);
    else reply_bulk(&c->reply, text.ptr ? text.ptr : "", text.len);
    buf_deinit(&text);
}

void cmd_pfdebug(struct call *c)
{
    char scratch[ENTRY_SCRATCH];
    struct slice value, name = c->argv[1];
    const struct entry *e = ks_find(&c->ks, c->argv[2]);
    if (!e) {
        reply_error(&c->reply, ERR_HLL_NO_KEY);
        return;
    }
    if (!hll_of(c, e, scratch, &value)) return;
    if (call_is(c, 1, "GETREG")) {
        show_registers(c, value);
    } else if (call_is(c, 1, "DECODE")) {
        show_runs(c, value);
    } else if (call_is(c, 1, "ENCODING")) {
        reply_simple(&c->reply, hll_is_sparse(value) ? "sparse" : "dense");
    } else if (call_is(c, 1, "TODENSE")) {
        bool converted;
        if (make_dense(c, value, &converted)) reply_int(&c->reply, converted);
    } else {
        reply_errorf(&c->reply, ERR_HLL_SUBCOMMAND, (int)(name.len < 128 ? name.len : 128),
                     name.ptr);
    }
}

/* ---- PFSELFTEST ---- */

#define TEST_ELEMENTS 1000000u

/* What is wrong after `count` different elements, or NULL. */
static const char *judge(const struct hll *dense, const struct hll *sparse, uint32_t count)
{
    uint64_t a, b;
    if (!hll_count(slice_of(dense->bytes, dense->len), &a) ||
        !hll_count(slice_of(sparse->bytes, sparse->len), &b)) {
        return "corrupt value";
    }
    if (a != b) return "dense/sparse disagree";
    double most = count == 10 ? 1 : ceil(1.04 / sqrt(HLL_REGISTERS) * 6 * count);
    return fabs((double)a - count) > most ? "Too big error" : NULL;
}

/* Random elements go into a dense and a sparse value, which must agree, and be near the truth. */
void cmd_pfselftest(struct call *c)
{
    struct hll dense, sparse;
    char *room = mem_alloc(2 * HLL_ROOM);
    dense.bytes = room;
    sparse.bytes = room + HLL_ROOM;
    hll_make_empty(&dense);
    hll_make_empty(&sparse);
    const char *wrong = hll_make_dense(&dense) ? NULL : "corrupt value";
    uint64_t seed = rng_next(c->rng);
    uint32_t checkpoint = 1;
    for (uint32_t n = 1; n <= TEST_ELEMENTS && !wrong; n++) {
        uint64_t element = n ^ seed;
        struct hll_mark mark = hll_mark_of(slice_of((const char *)&element, sizeof(element)));
        if (hll_set(&dense, mark, 0) != hll_set(&sparse, mark, 3000)) wrong = "dense/sparse differ";
        if (n != checkpoint) continue;
        if (!wrong) wrong = judge(&dense, &sparse, n);
        if (n < 1000 && !hll_is_sparse(slice_of(sparse.bytes, sparse.len)))
            wrong = "sparse encoding not used";
        checkpoint *= 10;
    }
    if (wrong) reply_errorf(&c->reply, ERR_HLL_TEST_FAILED, wrong);
    else reply_ok(&c->reply);
    mem_free(room);
}
