/* Sets: what they are, and reading them. (How they change is in set_edit.c.)
 *
 * A large set is a dict of member blocks, | length | bytes |, in the slab's classes of 8 bytes. The
 * length takes one byte up to 253, else 254 and two bytes, or 255 and eight, so that a member of 16
 * bytes costs a block of 24 and a slot.
 *
 * The object counts the bytes of its blocks; the dict's own memory is told to the shard whenever it
 * has changed (set_object_changed), because the dict does not know its shard.
 *
 * Random members: of packed forms every one has the same chance; of a dict see dict_random.
 * Thread: holder of the shard. */
#include "set_impl.h"

#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/keyspace/snapshot.h"

/* ---- blocks ---- */

#define LEN_SHORT_MAX 253u
#define LEN_TWO 254u
#define LEN_EIGHT 255u

static size_t head_len(size_t len)
{
    if (likely(len <= LEN_SHORT_MAX)) return 1;
    return len <= UINT16_MAX ? 3 : 9;
}

struct slice set_block_text(const void *block)
{
    const char *at = block;
    uint8_t first = (uint8_t)at[0];
    if (likely(first <= LEN_SHORT_MAX)) return slice_of(at + 1, first);
    if (first == LEN_TWO) {
        uint16_t len;
        memcpy(&len, at + 1, sizeof(len));
        return slice_of(at + 3, len);
    }
    uint64_t len;
    memcpy(&len, at + 1, sizeof(len));
    return slice_of(at + 9, len);
}

static size_t block_len(size_t text_len) { return head_len(text_len) + text_len; }

const struct table_ops set_table_ops = {.key = set_block_text};

static char *block_new(struct shard *shard, struct slice text)
{
    char *block = shard_alloc(shard, block_len(text.len));
    if (unlikely(!block)) return NULL;
    size_t head = head_len(text.len);
    if (head == 1) {
        block[0] = (char)text.len;
    } else if (head == 3) {
        uint16_t len = (uint16_t)text.len;
        block[0] = (char)LEN_TWO;
        memcpy(block + 1, &len, sizeof(len));
    } else {
        uint64_t len = text.len;
        block[0] = (char)LEN_EIGHT;
        memcpy(block + 1, &len, sizeof(len));
    }
    if (text.len) memcpy(block + head, text.ptr, text.len);
    return block;
}

/* ---- the object ---- */

struct set_object *set_object_new(struct shard *shard, size_t hint)
{
    struct set_object *set = shard_alloc(shard, sizeof(*set));
    if (!set) return NULL;
    *set = (struct set_object){.base.ops = &set_object_ops};
    dict_init(&set->dict, &set_table_ops, shard_seed(shard));
    if (hint) dict_reserve(&set->dict, hint);
    set_object_changed(shard, set);
    return set;
}

void set_object_changed(struct shard *shard, struct set_object *set)
{
    size_t now = dict_bytes(&set->dict);
    if (likely(now == set->dict_bytes)) return;
    shard_count_bytes(shard, (ptrdiff_t)(now - set->dict_bytes));
    set->dict_bytes = now;
}

int set_object_add(struct shard *shard, struct set_object *set, struct slice text, uint64_t hash)
{
    char *block = block_new(shard, text);
    if (unlikely(!block)) return -ENOMEM;
    if (unlikely(dict_insert(&set->dict, hash, block, 0) != 0)) {
        shard_release(shard, block, block_len(text.len));
        return -ENOMEM;
    }
    set->blocks_bytes += slab_class_len(block_len(text.len));
    set_object_changed(shard, set);
    return 0;
}

static void release_block(struct shard *shard, struct set_object *set, void *block)
{
    size_t len = block_len(set_block_text(block).len);
    set->blocks_bytes -= slab_class_len(len);
    shard_release(shard, block, len);
}

bool set_object_remove(struct shard *shard, struct set_object *set, struct slice text,
                       uint64_t hash)
{
    if (unlikely(set->base.duty != NULL))
        object_before_write(shard, &set->base, dict_find_slot(&set->dict, hash, text));
    void *block = dict_remove(&set->dict, hash, text);
    if (!block) return false;
    release_block(shard, set, block);
    set_object_changed(shard, set);
    return true;
}

struct drain {
    struct shard *shard;
    struct set_object *set;
    size_t count;
};

static void drain_block(void *ctx, void *block)
{
    struct drain *drain = ctx;
    release_block(drain->shard, drain->set, block);
    drain->count++;
}

static bool free_step(struct shard *shard, struct object *object, size_t budget, size_t *done)
{
    struct set_object *set = (struct set_object *)object;
    struct drain drain = {.shard = shard, .set = set};
    bool more = dict_drain(&set->dict, budget, drain_block, &drain);
    *done = drain.count;
    set_object_changed(shard, set);
    if (more) return false;
    shard_count_bytes(shard, -(ptrdiff_t)set->dict_bytes);
    dict_deinit(&set->dict);
    shard_release(shard, set, sizeof(*set));
    return true;
}

void set_object_free(struct shard *shard, struct set_object *set)
{
    size_t done;
    bool all = free_step(shard, &set->base, SIZE_MAX, &done);
    check(all);
}

static size_t object_count(const struct object *object)
{
    return dict_count(&((const struct set_object *)object)->dict);
}

static size_t object_bytes(const struct object *object)
{
    const struct set_object *set = (const struct set_object *)object;
    return sizeof(*set) + set->dict_bytes + set->blocks_bytes;
}

/* ---- images: count u64, then length u64 and bytes of each ---- */

static void save_block(void *ctx, void *block, unsigned bits)
{
    (void)bits;
    struct buf *out = ctx;
    struct slice text = set_block_text(block);
    uint64_t len = text.len;
    buf_append(out, &len, sizeof(len));
    buf_append_slice(out, text);
}

static void save(const struct object *object, struct buf *out)
{
    const struct set_object *set = (const struct set_object *)object;
    uint64_t count = dict_count(&set->dict);
    buf_append(out, &count, sizeof(count));
    dict_each(&set->dict, save_block, out);
}

static struct object *load(struct shard *shard, struct slice image)
{
    const char *at = image.ptr, *end = at + image.len;
    uint64_t count, len;
    check(image.len >= sizeof(count));
    memcpy(&count, at, sizeof(count));
    at += sizeof(count);
    struct set_object *set = set_object_new(shard, count);
    if (!set) return NULL;
    for (uint64_t i = 0; i < count; i++) {
        check((size_t)(end - at) >= sizeof(len));
        memcpy(&len, at, sizeof(len));
        at += sizeof(len);
        check((size_t)(end - at) >= len);
        struct slice text = slice_of(at, len);
        at += len;
        if (set_object_add(shard, set, text, hash_key(text, set->dict.seed)) == 0) continue;
        set_object_free(shard, set);
        return NULL;
    }
    return &set->base;
}

static struct dict *members(struct object *object) { return &((struct set_object *)object)->dict; }

static void part(const void *piece, struct snapshot_part *part)
{
    part->text = set_block_text(piece);
}

static void *move_block(void *ctx, void *block)
{
    return shard_moved(ctx, block, block_len(set_block_text(block).len));
}

static uint64_t evacuate(struct shard *shard, struct object *object, uint64_t cursor,
                         size_t slots_max, size_t *looked)
{
    return dict_move(members(object), cursor, slots_max, move_block, shard, looked);
}

const struct object_ops set_object_ops = {.type = TYPE_SET,
                                          .encoding = "hashtable",
                                          .free_step = free_step,
                                          .count = object_count,
                                          .bytes = object_bytes,
                                          .save = save,
                                          .load = load,
                                          .members = members,
                                          .part = part,
                                          .evacuate = evacuate};

/* ---- members ---- */

struct slice set_member_get(struct set_member *m)
{
    if (!m->text.ptr) m->text = slice_of(m->scratch, num_format_i64(m->scratch, m->number));
    return m->text;
}

bool set_member_is_number(struct set_member *m)
{
    if (m->kind == MEMBER_UNKNOWN) {
        bool number = num_may_parse(m->text) && num_parse_i64(m->text, &m->number);
        m->kind = number ? MEMBER_NUMBER : MEMBER_TEXT;
    }
    return m->kind == MEMBER_NUMBER;
}

uint64_t set_member_hash(struct set_member *m, const struct set_object *set)
{
    if (!m->hashed) {
        m->hash = hash_key(set_member_get(m), set->dict.seed);
        m->hashed = true;
    }
    return m->hash;
}

/* ---- reading, of whatever form ---- */

uint64_t set_view_count(const struct set_view *v)
{
    switch (v->form) {
    case FORM_INTSET: return intset_count(v->bytes);
    case FORM_OBJECT: return dict_count(&v->object->dict);
    default: return lp_count(v->bytes);
    }
}

bool set_view_contains(const struct set_view *v, struct set_member *m)
{
    switch (v->form) {
    case FORM_INTSET: return set_member_is_number(m) && intset_find(v->bytes, m->number, NULL);
    case FORM_OBJECT:
        return dict_find_slot(&v->object->dict, set_member_hash(m, v->object), set_member_get(m)) !=
               NULL;
    default: return lp_find(v->bytes, lp_first(v->bytes), set_member_get(m), 0) != LP_NONE;
    }
}

void set_member_of_element(struct set_member *m, const char *bytes, size_t at)
{
    struct lp_value value = lp_get(bytes, at);
    if (value.text.ptr) set_member_text(m, value.text);
    else set_member_number(m, value.number);
}

struct walk {
    set_visit *visit;
    void *ctx;
    bool stopped;
};

static void walk_block(void *ctx, void *block, unsigned bits)
{
    (void)bits;
    struct walk *walk = ctx;
    if (walk->stopped) return;
    struct set_member m;
    set_member_text(&m, set_block_text(block));
    walk->stopped = !walk->visit(walk->ctx, &m);
}

#define WALK_STEP 256u

bool set_view_each(const struct set_view *v, set_visit *visit, void *ctx)
{
    struct set_member m;
    if (v->form == FORM_OBJECT) {
        struct walk walk = {visit, ctx, false};
        uint64_t cursor = 0;
        do {
            cursor = dict_scan(&v->object->dict, cursor, WALK_STEP, walk_block, &walk);
        } while (cursor && !walk.stopped);
        return !walk.stopped;
    }
    if (v->form == FORM_INTSET) {
        uint32_t count = intset_count(v->bytes);
        for (uint32_t i = 0; i < count; i++) {
            set_member_number(&m, intset_get(v->bytes, i));
            if (!visit(ctx, &m)) return false;
        }
        return true;
    }
    for (size_t at = lp_first(v->bytes); at != LP_NONE; at = lp_next(v->bytes, at)) {
        set_member_of_element(&m, v->bytes, at);
        if (!visit(ctx, &m)) return false;
    }
    return true;
}

struct set_view set_view_of(const struct entry *e)
{
    struct set_view v = {.form = entry_form(e)};
    if (v.form == FORM_OBJECT) v.object = (struct set_object *)entry_object(e);
    else v.bytes = entry_packed(e).ptr;
    return v;
}

uint64_t set_count(const struct entry *e)
{
    struct set_view v = set_view_of(e);
    return set_view_count(&v);
}

bool set_contains(const struct entry *e, struct set_member *m)
{
    struct set_view v = set_view_of(e);
    return set_view_contains(&v, m);
}

bool set_each(const struct entry *e, set_visit *visit, void *ctx)
{
    struct set_view v = set_view_of(e);
    return set_view_each(&v, visit, ctx);
}

uint64_t set_scan(const struct entry *e, uint64_t cursor, size_t count, table_visit *visit,
                  void *ctx)
{
    struct set_view v = set_view_of(e);
    check(v.form == FORM_OBJECT);
    return dict_scan(&v.object->dict, cursor, count, visit, ctx);
}

void set_random(const struct entry *e, struct rng *rng, struct set_member *m)
{
    struct set_view v = set_view_of(e);
    if (v.form == FORM_OBJECT) {
        set_member_text(m, set_block_text(dict_random(&v.object->dict, rng_next(rng))));
    } else if (v.form == FORM_INTSET) {
        uint32_t index = (uint32_t)rng_below(rng, intset_count(v.bytes));
        set_member_number(m, intset_get(v.bytes, index));
    } else {
        int64_t index = (int64_t)rng_below(rng, lp_count(v.bytes));
        set_member_of_element(m, v.bytes, lp_seek(v.bytes, index));
    }
}
