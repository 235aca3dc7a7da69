/* The hash table: finding, inserting, walking. How it grows is in table_grow.c; what a segment is,
 * in table_segment.c.
 *
 *   hash:  | directory index, `depth` bits | tag, 16 bits | ... |
 *   directory word: homes | slots | depth of the segment
 *   slot:           tag (inverted) | entry | two bits of the caller
 *
 * A search reads the directory word (cached: 24 bytes per 3000 entries), one or two lines of slots
 * and the entry: two misses that can both be prefetched, because the slot is at a computed place
 * and a tag that agrees is the wrong entry in 3 % of searches only.
 *
 * The order of slots is the order of hashes, in a segment and from segment to segment. A cursor is
 * the leading 48 bits of a hash, so it means the same before and after any split, merge or growth.
 * At depth d only d + 16 bits are known; entries that agree in these are visited together, and a
 * cursor that has become finer than that (by merging) is rounded down.
 *
 * Not chained: 20 bytes more per key and a miss per link. Not one flat array: it stalls for 0.3 s
 * when it grows at 10M keys. FIGURES section 4 has both.
 * Thread: holder of the shard. */
#include "splitring/data/table.h"

#include <errno.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "table_impl.h"

#define PREFETCH_AHEAD 8
#define SWEEP_WORDS_MAX 16384u /* looked at in one call, about 10 us */
#define TIDY_EVERY 32u         /* removals from a segment between looks at its size */

struct table *table_new(const struct table_ops *ops, uint64_t seed)
{
    struct table *t = mem_zalloc(sizeof(*t));
    t->ops = ops;
    t->seed = seed;
    int status = table_directory_init(t);
    check(status == 0);
    return t;
}

void table_free(struct table *t)
{
    if (t == NULL) return;
    for (size_t i = 0; i < table_words(t); i++) {
        if (table_first(t, i) == i) segment_free(&t->arena, t->segments[i]);
    }
    arena_deinit(&t->arena);
    mem_free(t->words);
    mem_free(t);
}

size_t table_count(const struct table *t) { return t->count; }

size_t table_bytes(const struct table *t)
{
    return sizeof(*t) + t->segments_bytes + table_words(t) * 3 * sizeof(uint64_t);
}

/* ---- finding ---- */

static inline bool key_is(const struct table *t, uint64_t slot, struct slice key)
{
    struct slice other = t->ops->key(slot_entry(slot));
    return other.len == key.len && (key.len == 0 || memcmp(other.ptr, key.ptr, key.len) == 0);
}

/* The first slot with this hash's tag, or one that is not. */
static inline uint64_t *seek(const struct table *t, uint64_t hash, uint64_t *tag_slot)
{
    size_t index = table_index(t, hash);
    uint64_t word = t->words[index];
    unsigned tag = word_tag(word, hash);
    *tag_slot = slot_of_tag(tag);
    uint64_t *slot = word_slots(word) + slot_home(tag, word_homes(word));
    uint64_t last = *tag_slot | SLOT_LOW;
    for (int steps = 0; *slot > last; slot++) {
        if (likely(++steps < SEEK_STEPS)) continue;
        const struct segment *seg = t->segments[index];
        return segment_seek_far(slot, seg->slots + seg->slots_count, last);
    }
    return slot;
}

void table_prefetch_slot(const struct table *t, uint64_t hash)
{
    uint64_t word = t->words[table_index(t, hash)];
    const uint64_t *home = word_slots(word) + slot_home(word_tag(word, hash), word_homes(word));
    __builtin_prefetch(home);
    /* A run that begins late in its line goes on in the next: 28 % of all slots are found there. */
    __builtin_prefetch(home + 4);
}

struct table_hint table_prefetch_entry(const struct table *t, uint64_t hash)
{
    uint64_t tag_slot;
    uint64_t *slot = seek(t, hash, &tag_slot);
    if (*slot <= tag_slot) return (struct table_hint){NULL, t->version};
    const char *entry = slot_entry(*slot);
    __builtin_prefetch(entry);
    /* A block of 56 bytes lies in two lines more often than not. */
    __builtin_prefetch(entry + 48);
    return (struct table_hint){slot, t->version};
}

uint64_t *table_find_slot(const struct table *t, uint64_t hash, struct slice key)
{
    uint64_t tag_slot;
    /* Greater than the tag's empty slot, and not greater than its last: the same tag. */
    for (uint64_t *slot = seek(t, hash, &tag_slot); *slot > tag_slot; slot++) {
        if (likely(key_is(t, *slot, key))) return slot;
    }
    return NULL;
}

uint64_t *table_find_slot_hinted(const struct table *t, uint64_t hash, struct slice key,
                                 struct table_hint hint)
{
    if (likely(hint.version == t->version)) {
        if (hint.slot == NULL) return NULL;
        if (likely(key_is(t, *hint.slot, key))) return hint.slot;
    }
    return table_find_slot(t, hash, key);
}

void *table_find(const struct table *t, uint64_t hash, struct slice key)
{
    uint64_t *slot = table_find_slot(t, hash, key);
    return slot ? slot_entry(*slot) : NULL;
}

uint64_t *table_slot_of(const struct table *t, uint64_t hash, const void *entry)
{
    uint64_t tag_slot;
    for (uint64_t *slot = seek(t, hash, &tag_slot); *slot > tag_slot; slot++) {
        if (slot_entry(*slot) == entry) return slot;
    }
    return NULL;
}

void *table_slot_entry(const uint64_t *slot) { return slot_entry(*slot); }

unsigned table_slot_bits(const uint64_t *slot) { return (unsigned)(*slot & SLOT_BITS); }

void table_slot_set_bits(uint64_t *slot, unsigned bits)
{
    *slot = (*slot & ~SLOT_BITS) | (bits & SLOT_BITS);
}

void table_slot_replace(uint64_t *slot, void *entry)
{
    dcheck(((uintptr_t)entry & ~SLOT_ENTRY) == 0);
    *slot = (*slot & ~SLOT_ENTRY) | (uintptr_t)entry;
}

/* ---- changing ---- */

int table_insert(struct table *t, uint64_t hash, void *entry, unsigned bits)
{
    check(((uintptr_t)entry & ~SLOT_ENTRY) == 0 && entry != NULL && bits <= SLOT_BITS);
    for (;;) {
        size_t index = table_index(t, hash);
        struct segment *seg = t->segments[index];
        if (likely(seg && seg->count < seg->cap)) {
            uint64_t slot = slot_make(word_tag(t->words[index], hash), entry, bits);
            if (likely(segment_put(seg, slot))) break;
        }
        t->version++;
        int status = table_make_room(t, hash);
        if (status != 0) return status;
    }
    t->version++;
    t->count++;
    return 0;
}

void table_slot_remove(struct table *t, uint64_t hash, uint64_t *slot)
{
    struct segment *seg = t->segments[table_index(t, hash)];
    check(slot >= seg->slots && slot < seg->slots + seg->slots_count && *slot != 0);
    segment_cut(seg, slot);
    t->version++;
    t->count--;
    if (unlikely(seg->count % TIDY_EVERY == 0)) table_tidy(t, hash);
}

/* ---- walking ---- */

/* The first position behind the segment at `index`. */
static uint64_t position_behind(const struct table *t, size_t index)
{
    unsigned depth = word_depth(t->words[index]);
    uint64_t prefix = (uint64_t)table_first(t, index) >> (t->depth - depth);
    return (prefix + 1) << (POSITION_BITS - depth);
}

uint64_t table_scan(const struct table *t, uint64_t cursor, size_t count, size_t slots_max,
                    table_visit *visit, void *ctx)
{
    size_t visited = 0, looked = 0;
    uint64_t position = cursor;
    while (position < POSITION_END) {
        size_t index = table_index(t, position << 16);
        const struct segment *seg = t->segments[index];
        uint64_t behind = position_behind(t, index);
        unsigned depth = word_depth(t->words[index]);
        looked++;
        if (seg == NULL) {
            position = behind;
            if (looked >= slots_max) break;
            continue;
        }
        const uint64_t *end = seg->slots + seg->slots_count;
        unsigned tag = word_tag(t->words[index], position << 16);
        const uint64_t *slot = segment_seek(seg->slots, seg->slots_count, seg->homes, tag);
        for (; slot < end; slot++) {
            looked++;
            if (slot + PREFETCH_AHEAD < end) __builtin_prefetch(slot_entry(slot[PREFETCH_AHEAD]));
            if (*slot == 0) continue;
            visit(ctx, slot_entry(*slot), (unsigned)(*slot & SLOT_BITS));
            visited++;
            if (visited < count && looked < slots_max) continue;
            if (slot_tag(slot[1]) == slot_tag(*slot) && slot[1] != 0) continue;
            uint64_t known = (position >> (POSITION_BITS - depth) << 16) | slot_tag(*slot);
            position = (known + 1) << (POSITION_BITS - 16 - depth);
            return position >= POSITION_END ? 0 : position;
        }
        position = behind;
        if (visited >= count || looked >= slots_max) break;
    }
    return position >= POSITION_END ? 0 : position;
}

struct mark {
    unsigned mask, bits;
    size_t slots_max, looked;
    table_mark_visit *visit;
    table_move_visit *move; /* instead of marking */
    void *ctx;
};

/* What happens to one slot; false: enough. */
static inline bool mark_slot(uint64_t *slot, const struct mark *m)
{
    if (m->move) {
        void *entry = slot_entry(*slot), *moved = m->move(m->ctx, entry);
        if (moved != entry) table_slot_replace(slot, moved);
        return true;
    }
    if ((*slot & m->mask) == m->bits) return true;
    *slot = (*slot & ~(uint64_t)m->mask) | m->bits;
    return m->visit(m->ctx, slot_entry(*slot));
}

/* The slots of one segment from the cursor on. True: stopped before its end, *position is there. */
static bool mark_segment(struct table *t, size_t index, uint64_t *position, struct mark *m)
{
    struct segment *seg = t->segments[index];
    unsigned depth = word_depth(t->words[index]);
    unsigned tag = word_tag(t->words[index], *position << 16);
    uint64_t *end = seg->slots + seg->slots_count;
    uint64_t *slot = segment_seek(seg->slots, seg->slots_count, seg->homes, tag);
    for (bool more = true; slot < end; slot++) {
        m->looked++;
        if (*slot == 0) continue;
        if (slot + PREFETCH_AHEAD < end) __builtin_prefetch(slot_entry(slot[PREFETCH_AHEAD]));
        if (!mark_slot(slot, m)) more = false;
        if (more && m->looked < m->slots_max) continue;
        if (slot_tag(slot[1]) == slot_tag(*slot) && slot[1] != 0) continue;
        uint64_t known = (*position >> (POSITION_BITS - depth) << 16) | slot_tag(*slot);
        *position = (known + 1) << (POSITION_BITS - 16 - depth);
        return true;
    }
    return false;
}

static uint64_t mark_from(struct table *t, uint64_t cursor, struct mark *m)
{
    uint64_t position = cursor;
    while (position < POSITION_END) {
        size_t index = table_index(t, position << 16);
        m->looked++;
        if (t->segments[index] && mark_segment(t, index, &position, m)) break;
        position = position_behind(t, index);
        if (m->looked >= m->slots_max) break;
    }
    return position >= POSITION_END ? 0 : position;
}

uint64_t table_mark(struct table *t, uint64_t cursor, unsigned mask, unsigned bits,
                    size_t slots_max, table_mark_visit *visit, void *ctx, size_t *looked)
{
    struct mark m = {
        .mask = mask, .bits = bits, .slots_max = slots_max, .visit = visit, .ctx = ctx};
    cursor = mark_from(t, cursor, &m);
    *looked = m.looked;
    return cursor;
}

uint64_t table_move(struct table *t, uint64_t cursor, size_t slots_max, table_move_visit *move,
                    void *ctx, size_t *looked)
{
    struct mark m = {.slots_max = slots_max, .move = move, .ctx = ctx};
    cursor = mark_from(t, cursor, &m);
    *looked = m.looked;
    return cursor;
}

#define RANDOM_TRIES 256

static inline uint64_t draw_next(uint64_t random)
{
    random = random * 6364136223846793005u + 1442695040888963407u;
    return random ^ random >> 29;
}

void *table_random(const struct table *t, uint64_t random)
{
    if (t->count == 0) return NULL;
    /* Places are drawn until one is in use, so that no gap favours what is behind it. Segments
     * differ in size and in the number of words that lead to them: all are drawn as if each word
     * had the largest size, and what lies beyond the real one is drawn again. So every slot of the
     * table is equally likely; half of the draws hit, or a quarter. */
    for (int tries = 0; tries < RANDOM_TRIES; tries++) {
        size_t index = table_index(t, random);
        const struct segment *seg = t->segments[index];
        random = draw_next(random);
        uint64_t draw = random;
        random = draw_next(random); /* the next word owes nothing to this place */
        if (seg == NULL) continue;
        unsigned span = t->depth - word_depth(t->words[index]);
        uint64_t room = t->depth ? (uint64_t)SEGMENT_SLOTS_MAX << span : seg->slots_count;
        uint64_t at = ((draw >> 32) * room) >> 32;
        if (at < seg->slots_count && seg->slots[at] != 0) return slot_entry(seg->slots[at]);
    }
    /* Sparse: take whatever comes next in hash order. */
    size_t start = table_index(t, random);
    for (size_t i = 0; i < table_words(t); i++) {
        const struct segment *seg = t->segments[(start + i) & (table_words(t) - 1)];
        if (seg == NULL || seg->count == 0) continue;
        size_t at = (size_t)(random % seg->slots_count);
        while (seg->slots[at] == 0) at = at + 1 == seg->slots_count ? 0 : at + 1;
        return slot_entry(seg->slots[at]);
    }
    return NULL;
}

/* ---- expiry ---- */

void table_note_expiry(struct table *t, uint64_t hash, int64_t expire_ms)
{
    int64_t *lowest = &t->expiry[table_first(t, table_index(t, hash))];
    if (expire_ms < *lowest) *lowest = expire_ms;
    if (expire_ms < t->expiry_min) t->expiry_min = expire_ms;
    if (expire_ms < t->sweep_min) t->sweep_min = expire_ms;
}

static int64_t sweep_segment(const struct segment *seg, table_visit_ttl *visit, void *ctx)
{
    int64_t lowest = INT64_MAX;
    const uint64_t *end = seg->slots + seg->slots_count;
    for (const uint64_t *slot = seg->slots; slot < end; slot++) {
        if (slot + PREFETCH_AHEAD < end && slot[PREFETCH_AHEAD] & TABLE_BIT_TTL) {
            __builtin_prefetch(slot_entry(slot[PREFETCH_AHEAD]));
        }
        if (!(*slot & TABLE_BIT_TTL)) continue;
        int64_t expiry = visit(ctx, slot_entry(*slot));
        if (expiry < lowest) lowest = expiry;
    }
    return lowest;
}

/* expiry_min can only be raised by a pass over all segments. sweep_min gathers what the pass leaves
 * behind it, and whatever is noted meanwhile; a pass that is not continued where it stopped, or
 * that did not begin at 0, does not count. */
uint64_t table_sweep(struct table *t, uint64_t cursor, int64_t now, size_t segments_max,
                     table_visit_ttl *visit, void *ctx, size_t *visited)
{
    *visited = 0;
    if (now <= 0 || t->expiry_min > now) return 0;
    if (cursor == 0) t->sweep_min = INT64_MAX;
    bool counts = cursor == 0 || cursor == t->sweep_next;
    size_t words = 0, segments = 0;
    uint64_t position = cursor;
    while (position < POSITION_END && segments < segments_max && words++ < SWEEP_WORDS_MAX) {
        size_t index = table_index(t, position << 16), first = table_first(t, index);
        if (t->expiry[first] <= now) {
            const struct segment *seg = t->segments[first];
            *visited += seg ? seg->slots_count : 0;
            t->expiry[first] = seg ? sweep_segment(seg, visit, ctx) : INT64_MAX;
            segments++;
        }
        if (t->expiry[first] < t->sweep_min) t->sweep_min = t->expiry[first];
        position = position_behind(t, index);
    }
    if (position < POSITION_END) {
        t->sweep_next = counts ? position : 0;
        return position;
    }
    if (counts) t->expiry_min = t->sweep_min;
    t->sweep_next = 0;
    return 0;
}

int64_t table_expiry_min(const struct table *t) { return t->expiry_min; }

/* ---- the end ---- */

bool table_drain(struct table *t, size_t count, table_take *take, void *ctx)
{
    t->version++;
    while (t->count) {
        size_t index = table_words(t) - 1 - t->drained;
        struct segment *seg = t->segments[index];
        /* From the end of the order: what remains stays a valid segment. */
        for (size_t at = seg ? seg->slots_count : 0; at-- > 0 && seg->count;) {
            if (seg->slots[at] == 0) continue;
            if (count-- == 0) return true;
            void *entry = slot_entry(seg->slots[at]);
            seg->slots[at] = 0;
            seg->count--;
            t->count--;
            take(ctx, entry);
        }
        size_t first = table_first(t, index);
        if (seg) table_drop_segment(t, index);
        t->drained = table_words(t) - first;
    }
    /* Segments without entries may be left. */
    for (size_t i = 0; t->segments_count && i < table_words(t); i++) {
        if (t->segments[i]) table_drop_segment(t, i);
    }
    table_directory_reset(t);
    return false;
}
