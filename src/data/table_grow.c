/* How a table grows and shrinks.
 *
 * The directory is indexed by the hash's leading bits. A segment of depth d holds all entries that
 * share d leading bits, and is reached through 2^(depth - d) words:
 *
 *   depth 2:   00 ─┐   01 ─┘ both to A (depth 1)    10 ─ B (depth 2)    11 ─ C (depth 2)
 *
 * Growth is always local. A segment grows by pages (table_segment.c) until it is full at 4096
 * slots; then it splits in two of depth d + 1 by its next hash bit. Tags move one bit on, and the
 * bit that comes in is not in the slot: a split is the only step that looks into entries, at most
 * 3600 of them, with prefetch: about 0.1 ms. The directory doubles when a segment of its own depth
 * splits.
 *
 * Shrinking is the reverse, with room between the thresholds: a segment that loses entries gives
 * back pages at 3/4 of what would make it grow again, buddies merge when both together would fill
 * 2/5 of one, and the directory halves when no segment of its depth is left. Merging needs no keys.
 *
 * Hashes that agree in more bits than chance allows could drive the directory's depth up without
 * separating anything. So beyond WORDS_ALWAYS it may have no more than 16 words per segment; then a
 * segment is filled to its last slot, and only then an insert fails. Below that (786 KB) it may be
 * as sparse as it likes: entries that come in hash order need the depth of the whole table while
 * they fill its first segments.
 * Thread: holder of the shard. */
#include "table_impl.h"

#include <errno.h>

#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"

#define MERGE_MAX (SEGMENT_SLOTS_MAX * 7 / 8 * 2 / 5)
#define WORDS_PER_SEGMENT_MAX 16u
#define WORDS_ALWAYS 32768u
#define PREFETCH_AHEAD 16u

/* Where a search goes when there is no segment. */
static _Alignas(CACHE_LINE) const uint64_t empty_slots[CACHE_LINE / sizeof(uint64_t)];

/* ---- the directory ---- */

static uint64_t make_word(const struct segment *seg, unsigned depth)
{
    const uint64_t *slots = seg ? seg->slots : empty_slots;
    uint64_t homes = seg ? seg->homes : 1;
    return homes << WORD_HOMES_SHIFT | (uintptr_t)slots | depth;
}

/* Points all words of the part that begins at `first` to seg. */
static void set_part(struct table *t, size_t first, unsigned depth, struct segment *seg)
{
    size_t span = (size_t)1 << (t->depth - depth);
    uint64_t word = make_word(seg, depth);
    for (size_t i = first; i < first + span; i++) {
        t->words[i] = word;
        t->segments[i] = seg;
    }
}

/* Fails for want of memory only; the arrays are as they were then. */
static int directory_resize(struct table *t, unsigned depth)
{
    size_t count = (size_t)1 << depth;
    uint64_t *words = mem_try_alloc(count * 3 * sizeof(uint64_t));
    if (words == NULL) return -ENOMEM;
    struct segment **segments = (struct segment **)(void *)(words + count);
    int64_t *expiry = (int64_t *)(void *)(words + 2 * count);
    bool grow = depth > t->depth;
    for (size_t i = 0; i < count; i++) {
        size_t from = grow ? i / 2 : i * 2;
        words[i] = t->words[from];
        segments[i] = t->segments[from];
        expiry[i] = grow && i % 2 ? INT64_MAX : t->expiry[from];
    }
    mem_free(t->words);
    t->words = words;
    t->segments = segments;
    t->expiry = expiry;
    t->depth = depth;
    t->drained = 0;
    return 0;
}

int table_directory_init(struct table *t)
{
    t->words = mem_try_alloc(3 * sizeof(uint64_t));
    if (t->words == NULL) return -ENOMEM;
    t->segments = (struct segment **)(void *)(t->words + 1);
    t->expiry = (int64_t *)(void *)(t->words + 2);
    table_directory_reset(t);
    return 0;
}

void table_directory_reset(struct table *t)
{
    check(t->segments_count == 0);
    if (t->depth) {
        uint64_t *words = mem_try_realloc(t->words, 3 * sizeof(uint64_t));
        if (words) t->words = words;
        t->segments = (struct segment **)(void *)(t->words + 1);
        t->expiry = (int64_t *)(void *)(t->words + 2);
    }
    t->depth = 0;
    memset(t->depths, 0, sizeof(t->depths));
    t->depths[0] = 1;
    t->expiry[0] = INT64_MAX;
    t->expiry_min = INT64_MAX;
    t->sweep_min = INT64_MAX;
    t->sweep_next = 0;
    t->drained = 0;
    set_part(t, 0, 0, NULL);
}

/* ---- segments of the table ---- */

/* segment_fill with the books kept; the words still have to be set. */
static int fill(struct table *t, struct segment *seg, uint32_t slots_count, const uint64_t *from,
                uint32_t count)
{
    size_t before = segment_bytes(seg);
    int status = segment_fill(&t->arena, seg, slots_count, from, count);
    t->segments_bytes += segment_bytes(seg) - before;
    return status;
}

static struct segment *add_segment(struct table *t)
{
    struct segment *seg = segment_new();
    t->segments_count++;
    t->segments_bytes += segment_bytes(seg);
    t->drained = 0;
    return seg;
}

static void remove_segment(struct table *t, struct segment *seg)
{
    if (seg == NULL) return;
    t->segments_count--;
    t->segments_bytes -= segment_bytes(seg);
    segment_free(&t->arena, seg);
}

void table_drop_segment(struct table *t, size_t index)
{
    size_t first = table_first(t, index);
    remove_segment(t, t->segments[index]);
    t->expiry[first] = INT64_MAX;
    set_part(t, first, word_depth(t->words[index]), NULL);
}

static int resize(struct table *t, size_t index, uint32_t slots_count)
{
    struct segment *seg = t->segments[index];
    uint64_t slots[SEGMENT_SLOTS_MAX];
    uint32_t count = segment_gather(seg, slots);
    int status = fill(t, seg, slots_count, slots, count);
    set_part(t, table_first(t, index), word_depth(t->words[index]), seg);
    return status;
}

/* ---- splitting ---- */

/* The slots of `from`, in order, with tags one bit further on; returns how many belong to the
 * lower half. */
static uint32_t advance_tags(const struct table *t, unsigned depth, const uint64_t *from,
                             uint64_t *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i + PREFETCH_AHEAD < count) {
            const char *ahead = slot_entry(from[i + PREFETCH_AHEAD]);
            __builtin_prefetch(ahead);
            __builtin_prefetch(ahead + 24); /* the end of a short key */
        }
        uint64_t hash = hash_key(t->ops->key(slot_entry(from[i])), t->seed);
        out[i] = slot_with_tag(from[i], (unsigned)((hash << (depth + 1)) >> 48));
    }
    uint32_t lower = 0;
    while (lower < count && slot_tag(from[lower]) <= TAG_MAX / 2) lower++;

    /* Equal tags may differ in the new bit, which is now the lowest. */
    uint64_t group[SEGMENT_SLOTS_MAX];
    for (uint32_t i = 0, end; i < count; i = end) {
        end = i + 1;
        while (end < count && slot_tag(from[end]) == slot_tag(from[i])) end++;
        if (end == i + 1) continue;
        memcpy(group, out + i, (end - i) * sizeof(*group));
        uint32_t at = i;
        for (unsigned bit = 0; bit < 2; bit++) {
            for (uint32_t k = 0; k < end - i; k++) {
                if ((slot_tag(group[k]) & 1) == bit) out[at++] = group[k];
            }
        }
    }
    return lower;
}

static bool may_double(const struct table *t)
{
    size_t words = table_words(t) * 2;
    return words <= WORDS_ALWAYS || words / WORDS_PER_SEGMENT_MAX <= t->segments_count;
}

static int split(struct table *t, uint64_t hash)
{
    size_t index = table_index(t, hash);
    unsigned depth = word_depth(t->words[index]);
    if (depth == DEPTH_MAX) return -ENOMEM;
    if (depth == t->depth) {
        if (!may_double(t)) return -ENOMEM;
        int status = directory_resize(t, depth + 1);
        if (status != 0) return status;
        index = table_index(t, hash);
    }
    struct segment *lower = t->segments[index], *upper = NULL;
    uint64_t from[SEGMENT_SLOTS_MAX], slots[SEGMENT_SLOTS_MAX];
    uint32_t count = segment_gather(lower, from);
    uint32_t lower_count = advance_tags(t, depth, from, slots, count);
    uint32_t upper_count = count - lower_count;
    if (lower_count == 0) {
        upper = lower;
        lower = NULL;
    } else if (upper_count) {
        upper = add_segment(t);
    }
    /* The new one first: only this can fail. */
    if (upper) {
        int status =
            fill(t, upper, segment_size_for(upper_count), slots + lower_count, upper_count);
        if (status != 0) {
            remove_segment(t, upper);
            return status;
        }
    }
    if (lower) {
        int status = fill(t, lower, segment_size_for(lower_count), slots, lower_count);
        check(status == 0);
    }
    size_t first = table_first(t, index);
    size_t half = (size_t)1 << (t->depth - depth - 1);
    set_part(t, first, depth + 1, lower);
    set_part(t, first + half, depth + 1, upper);
    t->depths[depth]--;
    t->depths[depth + 1] += 2;
    int64_t expiry = t->expiry[first];
    t->expiry[first] = lower ? expiry : INT64_MAX;
    t->expiry[first + half] = upper ? expiry : INT64_MAX;
    return 0;
}

int table_make_room(struct table *t, uint64_t hash)
{
    size_t index = table_index(t, hash);
    struct segment *seg = t->segments[index];
    if (seg == NULL) {
        seg = add_segment(t);
        int status = fill(t, seg, SEGMENT_SLOTS_MIN, NULL, 0);
        if (status != 0) {
            remove_segment(t, seg);
            return status;
        }
        set_part(t, table_first(t, index), word_depth(t->words[index]), seg);
        return 0;
    }
    bool crowded = seg->count < seg->cap; /* full at the end only */
    if (seg->slots_count < SEGMENT_SLOTS_MAX) {
        if (resize(t, index, segment_size_next(seg->slots_count)) == 0) return 0;
    } else if (!crowded || seg->count > seg->cap / 2) {
        if (split(t, hash) == 0) return 0;
        index = table_index(t, hash);
    }
    /* No way to grow: use what there is. */
    if (crowded && seg->homes > 1) {
        segment_relax(seg);
        set_part(t, table_first(t, index), word_depth(t->words[index]), seg);
        return 0;
    }
    if (seg->cap < seg->slots_count - 1) {
        seg->cap = seg->slots_count - 1;
        return 0;
    }
    return -ENOMEM;
}

/* ---- before it grows ---- */

#define RESERVE_MAX (SEGMENT_SLOTS_MAX * 3 / 4) /* entries of a segment; it holds a ninth more */

/* Chance spreads them: 1 segment in 30,000 gets more than four deviations above the mean. */
static uint32_t with_spread(uint32_t mean)
{
    uint32_t root = 1;
    while (root * root < mean) root++;
    return mean + 4 * root;
}

/* Makes every word of the directory a part of its own, of this depth. */
static int part_all(struct table *t, unsigned depth)
{
    while (t->depth < depth) {
        int status = directory_resize(t, t->depth + 1);
        if (status != 0) return status;
    }
    for (size_t i = 0; i < table_words(t); i++) set_part(t, i, depth, NULL);
    t->depths[0] = 0;
    t->depths[depth] = table_words(t);
    return 0;
}

void table_reserve(struct table *t, size_t count)
{
    unsigned depth = 0;
    if (t->segments_count || t->depth) return;
    while (count >> depth > RESERVE_MAX && depth < DEPTH_MAX) depth++;
    if (depth && part_all(t, depth) != 0) {
        /* Without memory for all of it, what there is of a directory leads to nothing. */
        table_directory_reset(t);
        return;
    }
    uint32_t size = segment_size_for(with_spread((uint32_t)(count >> depth)));
    for (size_t i = 0; i < table_words(t); i++) {
        struct segment *seg = add_segment(t);
        if (fill(t, seg, size, NULL, 0) != 0) {
            remove_segment(t, seg);
            return;
        }
        set_part(t, i, depth, seg);
    }
}

/* ---- shrinking ---- */

/* Joins the part at `hash` with its buddy if both are small. */
static bool merge(struct table *t, uint64_t hash)
{
    size_t index = table_index(t, hash);
    unsigned depth = word_depth(t->words[index]);
    if (depth == 0) return false;
    size_t half = (size_t)1 << (t->depth - depth);
    size_t first = table_first(t, index) & ~half;
    if (word_depth(t->words[first]) != depth || word_depth(t->words[first + half]) != depth) {
        return false;
    }
    struct segment *lower = t->segments[first], *upper = t->segments[first + half];
    uint32_t lower_count = lower ? lower->count : 0, upper_count = upper ? upper->count : 0;
    if (lower_count + upper_count > MERGE_MAX) return false;

    uint64_t slots[MERGE_MAX];
    if (lower) segment_gather(lower, slots);
    if (upper) segment_gather(upper, slots + lower_count);
    for (uint32_t i = 0; i < lower_count + upper_count; i++) {
        unsigned bit = i < lower_count ? 0 : TAG_MAX / 2 + 1;
        slots[i] = slot_with_tag(slots[i], bit | slot_tag(slots[i]) >> 1);
    }
    struct segment *kept = lower ? lower : upper;
    if (kept) {
        uint32_t size = segment_size_for(lower_count + upper_count);
        if (fill(t, kept, size, slots, lower_count + upper_count) != 0) return false;
    }
    if (lower && upper) remove_segment(t, upper);
    int64_t expiry = t->expiry[first + half];
    if (expiry < t->expiry[first]) t->expiry[first] = expiry;
    t->expiry[first + half] = INT64_MAX;
    set_part(t, first, depth - 1, kept);
    t->depths[depth] -= 2;
    t->depths[depth - 1]++;
    /* Without memory for a smaller directory the larger one will do. */
    while (t->depth > 0 && t->depths[t->depth] == 0 && directory_resize(t, t->depth - 1) == 0) {}
    return true;
}

void table_tidy(struct table *t, uint64_t hash)
{
    struct segment *seg = t->segments[table_index(t, hash)];
    if (seg->count <= MERGE_MAX) {
        while (merge(t, hash)) {}
        seg = t->segments[table_index(t, hash)];
    }
    uint32_t wanted = segment_size_for(seg->count + seg->count / 4);
    if (wanted < seg->slots_count) {
        /* Shrinking to a block of its own is the only case that could want memory. */
        (void)resize(t, table_index(t, hash), wanted);
    }
}

/* ---- from and to one array ---- */

struct table *table_of_slots(const struct table_ops *ops, uint64_t seed, const uint64_t *slots,
                             uint32_t count, int64_t expiry)
{
    struct table *t = table_new(ops, seed);
    struct segment *seg = add_segment(t);
    if (fill(t, seg, SEGMENT_SLOTS_MAX, slots, count) != 0) {
        remove_segment(t, seg);
        table_free(t);
        return NULL;
    }
    set_part(t, 0, 0, seg);
    t->count = count;
    table_note_expiry(t, 0, expiry);
    return t;
}

void table_gather(const struct table *t, uint64_t *out)
{
    for (size_t i = 0; i < table_words(t); i++) {
        const struct segment *seg = t->segments[i];
        if (seg == NULL || table_first(t, i) != i) continue;
        unsigned depth = word_depth(t->words[i]);
        uint64_t prefix = (uint64_t)i >> (t->depth - depth);
        uint32_t count = segment_gather(seg, out);
        for (uint32_t k = 0; k < count; k++) {
            uint64_t known = prefix << 16 | slot_tag(out[k]);
            out[k] = slot_with_tag(out[k], (unsigned)(known >> depth));
        }
        out += count;
    }
}
