/* The dictionary of one collection: flat while it is small, a struct table beyond.
 *
 *   flat block: | slots ... in hash order, with gaps | lowest expiry |
 *   slot:       leading 16 bits of the hash (inverted) | entry | two bits of the caller
 *
 * The flat form is one segment of the table (table_segment.h has the order and its invariants) of
 * depth 0 in a block of its own, without directory, books and address space: what a set of 200
 * members cannot pay. It grows by about a fifth at a time, to sizes that fit the allocator's
 * classes, by spreading its slots out again: they are in hash order already, so no entry is looked
 * into, and the largest step (3000 members) takes some microseconds. A slot then costs 10.5 to 13
 * bytes per member.
 *
 * Beyond FLAT_SLOTS_MAX the same slots become the first segment of a table, and a table that has
 * shrunk to FLAT_AGAIN members becomes flat: its slots know all bits that the flat form wants.
 * Positions in hash order mean the same in both, so cursors survive.
 *
 * Why flat up to 3500 and not a table from 130 on: every table reserves address space (two system
 * calls, one mapping of which there are 65530), and 450 bytes for itself; with 3500 members neither
 * shows. Why not flat for ever: growing it would stall.
 * Thread: holder of the shard. */
#include "splitring/data/dict.h"

#include <errno.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "table_impl.h"

#define FLAT_SLOTS_MIN 7u
#define FLAT_SLOTS_MAX 4095u
#define FLAT_AGAIN 1024u
#define FLAT_TAG_SHIFT (POSITION_BITS - 16) /* a position's bits that the flat form does not know */

static_assert(FLAT_SLOTS_MAX < SEGMENT_SLOTS_MAX, "a flat block fits into a table's segment");

static inline struct table *table_of(const struct dict *d) { return d->body; }

static inline struct segment view_of(const struct dict *d)
{
    return (struct segment){
        .slots = d->body, .slots_count = d->slots, .homes = d->homes, .count = d->count};
}
static inline int64_t *flat_expiry(const struct dict *d) { return (int64_t *)d->body + d->slots; }
static inline uint64_t *flat_seek(const struct dict *d, unsigned tag)
{
    return segment_seek(d->body, d->slots, d->homes, tag);
}
static inline unsigned flat_tag(uint64_t hash) { return (unsigned)(hash >> 48); }

/* ---- sizes ---- */

static unsigned homes_of(unsigned slots)
{
    unsigned slack = slots / 8 + 1;
    return slots - (slack < 32 ? slack : 32);
}
static unsigned cap_of(unsigned slots) { return slots ? homes_of(slots) * 7 / 8 : 0; }

/* With the expiry behind the slots the block is 64, 80, 96, 112, 128, 160 … bytes: four sizes
 * to each doubling. */
static unsigned slots_next(unsigned slots)
{
    if (slots == 0) return FLAT_SLOTS_MIN;
    unsigned words = slots + 1;
    unsigned step = 1u << (31 - (unsigned)__builtin_clz(words)) >> 2;
    return (words / step + 1) * step - 1;
}
static unsigned slots_for(size_t count)
{
    unsigned slots = FLAT_SLOTS_MIN;
    while (slots < FLAT_SLOTS_MAX && cap_of(slots) < count) slots = slots_next(slots);
    return slots;
}

/* ---- the flat block ---- */

/* Spreads the slots in use out over zeroed ones. False: the end was reached. */
static bool spread(uint64_t *to, unsigned slots, unsigned homes, const uint64_t *from,
                   unsigned from_slots)
{
    size_t next = 0;
    for (unsigned i = 0; i < from_slots; i++) {
        if (from[i] == 0) continue;
        size_t at = slot_home(slot_tag(from[i]), homes);
        if (at < next) at = next;
        if (at + 1 >= slots) return false;
        to[at] = from[i];
        next = at + 1;
    }
    return true;
}

/* The block becomes one of so many slots, filled from `from`; more than the entries among them. */
static int flat_fill(struct dict *d, unsigned slots, unsigned homes, const uint64_t *from,
                     unsigned from_slots, int64_t expiry)
{
    size_t len = (slots + 1) * sizeof(uint64_t);
    uint64_t *to = mem_try_zalloc(len);
    if (to == NULL) return -ENOMEM;
    while (!spread(to, slots, homes, from, from_slots)) {
        check(homes > 1);
        homes /= 2;
        memset(to, 0, len);
    }
    d->body = to;
    d->slots = (uint16_t)slots;
    d->homes = (uint16_t)homes;
    *flat_expiry(d) = expiry;
    return 0;
}

static int flat_resize(struct dict *d, unsigned slots, unsigned homes)
{
    void *before = d->body;
    int64_t expiry = d->slots ? *flat_expiry(d) : INT64_MAX;
    int status = flat_fill(d, slots, homes, before, d->slots, expiry);
    if (status == 0) mem_free(before);
    return status;
}

static void forget(struct dict *d)
{
    d->body = NULL;
    d->count = d->slots = d->homes = 0;
    d->is_table = false;
}

static int become_table(struct dict *d)
{
    uint64_t slots[SEGMENT_SLOTS_MAX];
    struct segment view = view_of(d);
    uint32_t count = segment_gather(&view, slots);
    struct table *t = table_of_slots(d->ops, d->seed, slots, count, *flat_expiry(d));
    if (t == NULL) return -ENOMEM;
    mem_free(d->body);
    forget(d);
    d->body = t;
    d->is_table = true;
    return 0;
}

static void become_flat(struct dict *d)
{
    struct table *t = table_of(d);
    uint64_t from[FLAT_AGAIN];
    unsigned count = (unsigned)table_count(t), slots = slots_for(count + count / 4);
    check(count <= FLAT_AGAIN);
    table_gather(t, from);
    /* Without memory for it the table will do. */
    if (flat_fill(d, slots, homes_of(slots), from, count, table_expiry_min(t)) != 0) return;
    d->count = (uint16_t)count;
    d->is_table = false;
    table_free(t);
}

/* Called when there is no room: because there are too many, or because they crowd at the end. */
static int make_room(struct dict *d)
{
    bool crowded = d->slots && d->count < cap_of(d->slots);
    if (crowded && (d->slots < 64 || d->count < cap_of(d->slots) / 2) && d->homes > 1) {
        return flat_resize(d, d->slots, d->homes - (d->homes + 7u) / 8);
    }
    if (d->slots == FLAT_SLOTS_MAX) return become_table(d);
    unsigned slots = slots_next(d->slots);
    return flat_resize(d, slots, homes_of(slots));
}

/* ---- life ---- */

void dict_init(struct dict *d, const struct table_ops *ops, uint64_t seed)
{
    *d = (struct dict){.ops = ops, .seed = seed};
}

void dict_deinit(struct dict *d)
{
    if (d->is_table) {
        table_free(table_of(d));
    } else {
        mem_free(d->body);
    }
    forget(d);
}

size_t dict_count(const struct dict *d)
{
    return d->is_table ? table_count(table_of(d)) : d->count;
}

size_t dict_bytes(const struct dict *d)
{
    if (d->is_table) return table_bytes(table_of(d));
    return d->slots ? (d->slots + 1u) * sizeof(uint64_t) : 0;
}

void dict_reserve(struct dict *d, size_t count)
{
    if (d->is_table || count <= cap_of(d->slots)) return;
    unsigned slots = slots_for(count);
    /* A hint: where this fails the next insert will say so. */
    if (slots > d->slots) (void)flat_resize(d, slots, homes_of(slots));
}

/* ---- finding and changing ---- */

uint64_t *dict_find_slot(const struct dict *d, uint64_t hash, struct slice key)
{
    if (d->is_table) return table_find_slot(table_of(d), hash, key);
    if (d->slots == 0) return NULL;
    uint64_t tag_slot = slot_of_tag(flat_tag(hash));
    for (uint64_t *slot = flat_seek(d, flat_tag(hash)); *slot > tag_slot; slot++) {
        if (likely(slice_equal(d->ops->key(slot_entry(*slot)), key))) return slot;
    }
    return NULL;
}

void *dict_find(const struct dict *d, uint64_t hash, struct slice key)
{
    uint64_t *slot = dict_find_slot(d, hash, key);
    return slot ? slot_entry(*slot) : NULL;
}

int dict_insert(struct dict *d, uint64_t hash, void *entry, unsigned bits)
{
    check(((uintptr_t)entry & ~SLOT_ENTRY) == 0 && entry != NULL && bits <= SLOT_BITS);
    bits |= d->saved_bit;
    while (!d->is_table) {
        if (d->count < cap_of(d->slots)) {
            struct segment view = view_of(d);
            if (likely(segment_put(&view, slot_make(flat_tag(hash), entry, bits)))) {
                d->count++;
                return 0;
            }
        }
        int status = make_room(d);
        if (status != 0) return status;
    }
    return table_insert(table_of(d), hash, entry, bits);
}

static void shrink(struct dict *d)
{
    if (d->is_table) {
        if (table_count(table_of(d)) <= FLAT_AGAIN) become_flat(d);
    } else if (d->count == 0) {
        dict_deinit(d);
    } else if (d->slots > FLAT_SLOTS_MIN && d->count < d->slots / 4u) {
        unsigned slots = slots_for(d->count + d->count / 2u);
        /* Without memory for it the larger block will do. */
        if (slots < d->slots) (void)flat_resize(d, slots, homes_of(slots));
    }
}

void *dict_remove(struct dict *d, uint64_t hash, struct slice key)
{
    uint64_t *slot = dict_find_slot(d, hash, key);
    if (slot == NULL) return NULL;
    void *entry = slot_entry(*slot);
    if (d->is_table) {
        table_slot_remove(table_of(d), hash, slot);
    } else {
        struct segment view = view_of(d);
        segment_cut(&view, slot);
        d->count--;
    }
    shrink(d);
    return entry;
}

/* ---- walking ---- */

static uint64_t flat_scan(const struct dict *d, uint64_t cursor, size_t count, table_visit *visit,
                          void *ctx)
{
    if (cursor >= POSITION_END || d->slots == 0) return 0;
    const uint64_t *end = (const uint64_t *)d->body + d->slots;
    size_t visited = 0;
    const uint64_t *slot = flat_seek(d, (unsigned)(cursor >> FLAT_TAG_SHIFT));
    while (slot < end) {
        if (*slot == 0) {
            slot++;
            continue;
        }
        uint64_t seen = *slot++;
        visit(ctx, slot_entry(seen), (unsigned)(seen & SLOT_BITS));
        visited++;
        if (visited < count) continue;
        /* A position stands before or behind all of one tag. */
        while (slot < end && *slot == 0) slot++;
        if (slot == end) return 0;
        if (slot_tag(*slot) != slot_tag(seen)) {
            return (uint64_t)(slot_tag(seen) + 1) << FLAT_TAG_SHIFT;
        }
    }
    return 0;
}

uint64_t dict_scan(const struct dict *d, uint64_t cursor, size_t count, table_visit *visit,
                   void *ctx)
{
    if (!d->is_table) return flat_scan(d, cursor, count, visit, ctx);
    size_t slots_max = count < SIZE_MAX / 32 ? count * 16 + 64 : SIZE_MAX;
    return table_scan(table_of(d), cursor, count, slots_max, visit, ctx);
}

void dict_cut(struct dict *d) { d->saved_bit ^= TABLE_BIT_SAVED; }

static uint64_t flat_mark(struct dict *d, uint64_t cursor, size_t slots_max,
                          table_mark_visit *visit, void *ctx, size_t *looked)
{
    *looked = 1;
    if (cursor >= POSITION_END || d->slots == 0) return 0;
    uint64_t *end = (uint64_t *)d->body + d->slots;
    bool more = true;
    for (uint64_t *slot = flat_seek(d, (unsigned)(cursor >> FLAT_TAG_SHIFT)); slot < end; slot++) {
        ++*looked;
        if (*slot == 0) continue;
        /* A position stands before or behind all of one tag. */
        if ((!more || *looked > slots_max) && (uint64_t)slot_tag(*slot) << FLAT_TAG_SHIFT > cursor)
            return (uint64_t)slot_tag(*slot) << FLAT_TAG_SHIFT;
        if (!dict_is_saved(d, slot)) {
            table_slot_set_bits(slot, table_slot_bits(slot) ^ TABLE_BIT_SAVED);
            if (!visit(ctx, slot_entry(*slot))) more = false;
        }
        cursor = (uint64_t)slot_tag(*slot) << FLAT_TAG_SHIFT;
    }
    return 0;
}

uint64_t dict_mark(struct dict *d, uint64_t cursor, size_t slots_max, table_mark_visit *visit,
                   void *ctx, size_t *looked)
{
    if (!d->is_table) return flat_mark(d, cursor, slots_max, visit, ctx, looked);
    return table_mark(table_of(d), cursor, TABLE_BIT_SAVED, d->saved_bit, slots_max, visit, ctx,
                      looked);
}

uint64_t dict_move(struct dict *d, uint64_t cursor, size_t slots_max, table_move_visit *move,
                   void *ctx, size_t *looked)
{
    if (d->is_table) return table_move(table_of(d), cursor, slots_max, move, ctx, looked);
    *looked = 1;
    if (cursor >= POSITION_END || d->slots == 0) return 0;
    uint64_t *end = (uint64_t *)d->body + d->slots;
    for (uint64_t *slot = flat_seek(d, (unsigned)(cursor >> FLAT_TAG_SHIFT)); slot < end; slot++) {
        ++*looked;
        if (*slot == 0) continue;
        uint64_t position = (uint64_t)slot_tag(*slot) << FLAT_TAG_SHIFT;
        if (*looked > slots_max && position > cursor) return position;
        void *entry = slot_entry(*slot), *moved = move(ctx, entry);
        if (moved != entry) table_slot_replace(slot, moved);
        cursor = position;
    }
    return 0;
}

void dict_each(const struct dict *d, table_visit *visit, void *ctx)
{
    (void)dict_scan(d, 0, SIZE_MAX, visit, ctx);
}

void *dict_random(const struct dict *d, uint64_t random)
{
    if (d->is_table) return table_random(table_of(d), random);
    if (d->count == 0) return NULL;
    const uint64_t *slots = d->body;
    /* Places are drawn until one is in use: nobody is favoured by the gap before it. A quarter of
     * them is, at least, so the loop practically always finds one. */
    size_t at = 0;
    for (int tries = 0; tries < 256; tries++) {
        at = (size_t)(((random >> 32) * d->slots) >> 32);
        if (slots[at] != 0) return slot_entry(slots[at]);
        random = random * 6364136223846793005u + 1442695040888963407u;
        random ^= random >> 29;
    }
    while (slots[at] == 0) at = at + 1 == d->slots ? 0 : at + 1;
    return slot_entry(slots[at]);
}

/* ---- expiry ---- */

void dict_note_expiry(struct dict *d, uint64_t hash, int64_t expire_ms)
{
    if (d->is_table) {
        table_note_expiry(table_of(d), hash, expire_ms);
    } else if (d->slots && expire_ms < *flat_expiry(d)) {
        *flat_expiry(d) = expire_ms;
    }
}

int64_t dict_expiry_min(const struct dict *d)
{
    if (d->is_table) return table_expiry_min(table_of(d));
    return d->slots ? *flat_expiry(d) : INT64_MAX;
}

uint64_t dict_sweep(struct dict *d, uint64_t cursor, int64_t now, size_t segments_max,
                    table_visit_ttl *visit, void *ctx, size_t *visited)
{
    if (d->is_table) {
        return table_sweep(table_of(d), cursor, now, segments_max, visit, ctx, visited);
    }
    *visited = 0;
    if (now <= 0 || segments_max == 0 || dict_expiry_min(d) > now) return 0;
    int64_t lowest = INT64_MAX;
    const uint64_t *slots = d->body;
    for (unsigned i = 0; i < d->slots; i++) {
        if (!(slots[i] & TABLE_BIT_TTL)) continue;
        int64_t expiry = visit(ctx, slot_entry(slots[i]));
        if (expiry < lowest) lowest = expiry;
    }
    *visited = d->slots;
    *flat_expiry(d) = lowest;
    return 0;
}

/* ---- the end ---- */

bool dict_drain(struct dict *d, size_t count, table_take *take, void *ctx)
{
    if (d->is_table) return table_drain(table_of(d), count, take, ctx);
    uint64_t *slots = d->body;
    /* From the end of the order: what remains stays a valid block. */
    for (size_t at = d->slots; at-- > 0 && d->count;) {
        if (slots[at] == 0) continue;
        if (count-- == 0) return true;
        void *entry = slot_entry(slots[at]);
        slots[at] = 0;
        d->count--;
        take(ctx, entry);
    }
    dict_deinit(d);
    return false;
}
