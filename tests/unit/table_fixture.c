/* The table's invariants, as written at the top of src/data/table_segment.c and table_grow.c, are
 * checked from outside by reading its inner headers. */
#include "table_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "table_impl.h"

static struct slice key_of(const void *entry)
{
    const struct item *item = entry;
    return slice_of((const char *)&item->key, sizeof(item->key));
}

const struct table_ops item_ops = {key_of};

struct slice item_slice(const uint64_t *key) { return slice_of((const char *)key, sizeof(*key)); }

uint64_t item_hash(uint64_t key) { return hash_key(item_slice(&key), SEED); }

struct item *items_new(size_t count)
{
    struct item *items = calloc(count, sizeof(*items));
    for (size_t i = 0; i < count; i++) items[i] = (struct item){.key = i, .expiry = INT64_MAX};
    return items;
}

void item_add(struct table *t, struct item *item)
{
    unsigned bits = item->expiry == INT64_MAX ? 0 : TABLE_BIT_TTL;
    cr_assert_eq(table_insert(t, item_hash(item->key), item, bits), 0);
    if (bits) table_note_expiry(t, item_hash(item->key), item->expiry);
    item->present = true;
}

void item_remove(struct table *t, struct item *item)
{
    uint64_t *slot = table_find_slot(t, item_hash(item->key), item_slice(&item->key));
    cr_assert_not_null(slot);
    cr_assert_eq(table_slot_entry(slot), item);
    table_slot_remove(t, item_hash(item->key), slot);
    item->present = false;
}

static void verify_segment(const struct table *t, size_t first)
{
    const struct segment *seg = t->segments[first];
    unsigned depth = word_depth(t->words[first]);
    uint64_t prefix = first >> (t->depth - depth);
    uint32_t count = 0;
    int64_t expiry = INT64_MAX;
    size_t gap = 0; /* behind the last empty slot */
    unsigned tag_before = 0;
    for (uint32_t i = 0; i < seg->slots_count; i++) {
        uint64_t slot = seg->slots[i];
        if (slot == 0) {
            gap = i + 1;
            continue;
        }
        const struct item *item = slot_entry(slot);
        uint64_t hash = item_hash(item->key);
        unsigned tag = slot_tag(slot);
        cr_assert(tag == (unsigned)((hash << depth) >> 48), "tag of the hash");
        cr_assert(depth == 0 || hash >> (64 - depth) == prefix, "the right segment");
        cr_assert(tag >= tag_before, "hash order");
        cr_assert(slot_home(tag, seg->homes) <= i && slot_home(tag, seg->homes) >= gap, "home");
        if (slot & TABLE_BIT_TTL && item->expiry < expiry) expiry = item->expiry;
        tag_before = tag;
        count++;
    }
    cr_assert(seg->slots[seg->slots_count - 1] == 0, "the last slot is empty");
    cr_assert_eq(count, seg->count);
    cr_assert(expiry >= t->expiry[first], "lowest expiry");
    cr_assert((seg->area == NULL) == (seg->slots_count < SEGMENT_SLOTS_STEP));
}

void table_verify(const struct table *t)
{
    size_t total = 0, segments = 0, bytes = 0, depths[DEPTH_MAX + 1] = {0};
    int64_t expiry = INT64_MAX;
    for (size_t i = 0; i < table_words(t); i++) {
        size_t first = table_first(t, i);
        uint64_t word = t->words[i];
        const struct segment *seg = t->segments[i];
        cr_assert_eq(word, t->words[first]);
        cr_assert_eq(seg, t->segments[first]);
        if (seg) {
            cr_assert_eq(word_slots(word), seg->slots);
            cr_assert_eq(word_homes(word), seg->homes);
        }
        if (i != first) {
            cr_assert_eq(t->expiry[i], INT64_MAX);
            continue;
        }
        depths[word_depth(word)]++;
        if (t->expiry[i] < expiry) expiry = t->expiry[i];
        if (seg == NULL) continue;
        verify_segment(t, i);
        total += seg->count;
        bytes += segment_bytes(seg);
        segments++;
    }
    cr_assert_eq(total, t->count);
    cr_assert_eq(segments, t->segments_count);
    cr_assert_eq(bytes, t->segments_bytes);
    cr_assert_arr_eq(depths, t->depths, sizeof(depths));
    cr_assert(t->expiry_min <= expiry, "never higher than the truth");
}

void items_verify(const struct table *t, struct item *items, size_t count)
{
    size_t present = 0;
    for (size_t i = 0; i < count; i++) {
        void *found = table_find(t, item_hash(items[i].key), item_slice(&items[i].key));
        cr_assert_eq(found, items[i].present ? &items[i] : NULL);
        present += items[i].present;
    }
    cr_assert_eq(table_count(t), present);
}
