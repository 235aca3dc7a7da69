/* One segment: an array of 8-byte slots in hash order, with gaps.
 *
 *   home(tag) = tag * homes >> 16
 *   |..a.bb.cde......f..ghi.|.....|0|
 *    0                 homes  slack  always empty
 *
 * Invariants:
 *   - slots in use are ordered by tag;
 *   - a slot is at its home or behind it, and no slot between is empty (linear probing).
 * So a search begins at the home and ends at the first slot that is empty or has a larger tag: a
 * miss costs no more than a hit. The run at the end flows into the slack; the very last slot stays
 * empty and stops every loop. At load 7/8 the chance to overrun 31 slots of slack is 1e-4; then the
 * segment just grows or splits early.
 *
 * Because homes grow with the array in tag order, a segment is enlarged by spreading the same slots
 * out again, without looking into entries. It grows by pages of 512 slots inside 32 KiB of reserved
 * address space, so what is not used takes no memory. Below a page it is an ordinary block.
 *
 * Entries that come in hash order (a walk over another table) fill a segment from one side, in one
 * long run: searches then double their steps (segment_seek_far), and inserting is appending.
 *
 * Equal or crowded tags (bad luck, or somebody who can aim) do not fit where their home is near the
 * end. `homes` is then halved until they do; with homes = 1 the array is simply sorted. Slow, but
 * it works up to the last slot.
 * Thread: holder of the shard. */
#include "table_segment.h"

#include <errno.h>
#include <string.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"

#define SYSTEM_PAGE_LEN 4096u
#define SLACK_MAX 32u
#define REGION_LEN_MIN ((size_t)1 << 20)
#define REGION_LEN_MAX ((size_t)64 << 20)

static_assert(SEGMENT_SLOTS_STEP * sizeof(uint64_t) == SYSTEM_PAGE_LEN, "growth by whole pages");

struct arena_region {
    struct arena_region *next;
    char *base;
    size_t len;
};

/* ---- address space ---- */

void arena_deinit(struct arena *arena)
{
    while (arena->regions) {
        struct arena_region *region = arena->regions;
        arena->regions = region->next;
        mem_unreserve(region->base, region->len);
        mem_free(region);
    }
    mem_free(arena->free_areas);
    *arena = (struct arena){0};
}

static int arena_extend(struct arena *arena)
{
    size_t len = arena->regions ? arena->regions->len * 2 : REGION_LEN_MIN;
    if (len > REGION_LEN_MAX) len = REGION_LEN_MAX;
    struct arena_region *region = mem_try_alloc(sizeof(*region));
    if (region == NULL) return -ENOMEM;
    char *base = mem_reserve(len, SYSTEM_PAGE_LEN);
    while (base == NULL && len > REGION_LEN_MIN) {
        len /= 2;
        base = mem_reserve(len, SYSTEM_PAGE_LEN);
    }
    if (base == NULL) {
        mem_free(region);
        return -ENOMEM;
    }
    *region = (struct arena_region){.next = arena->regions, .base = base, .len = len};
    arena->regions = region;
    arena->region_at = 0;
    return 0;
}

/* All zeros, no memory behind it. */
static char *area_take(struct arena *arena)
{
    if (arena->free_count) return arena->free_areas[--arena->free_count];
    if (arena->areas_count == arena->areas_cap) {
        size_t cap = arena->areas_cap ? arena->areas_cap * 2 : 8;
        char **areas = mem_try_realloc(arena->free_areas, cap * sizeof(*areas));
        if (areas == NULL) return NULL;
        arena->free_areas = areas;
        arena->areas_cap = cap;
    }
    bool full = arena->regions == NULL || arena->region_at == arena->regions->len;
    if (full && arena_extend(arena) != 0) return NULL;
    char *area = arena->regions->base + arena->region_at;
    arena->region_at += SEGMENT_AREA_LEN;
    arena->areas_count++;
    return area;
}

static void area_give(struct arena *arena, char *area, size_t touched)
{
    if (touched) mem_discard(area, touched);
    arena->free_areas[arena->free_count++] = area;
}

/* ---- sizes ---- */

static uint32_t homes_of(uint32_t slots_count)
{
    uint32_t slack = slots_count / 8;
    return slots_count - (slack < SLACK_MAX ? slack : SLACK_MAX);
}

uint32_t segment_cap_of(uint32_t slots_count) { return homes_of(slots_count) * 7 / 8; }

uint32_t segment_size_next(uint32_t slots_count)
{
    if (slots_count < SEGMENT_SLOTS_STEP) return slots_count * 2;
    return slots_count + SEGMENT_SLOTS_STEP;
}

uint32_t segment_size_for(uint32_t count)
{
    uint32_t wanted = count + count / 16, size = SEGMENT_SLOTS_MIN;
    while (size < SEGMENT_SLOTS_MAX && segment_cap_of(size) < wanted) {
        size = segment_size_next(size);
    }
    return size;
}

size_t segment_bytes(const struct segment *seg)
{
    return sizeof(*seg) + (size_t)seg->slots_count * sizeof(uint64_t);
}

/* ---- storage ---- */

struct segment *segment_new(void) { return mem_zalloc(sizeof(struct segment)); }

static void drop_slots(struct arena *arena, struct segment *seg)
{
    if (seg->area) {
        area_give(arena, seg->area, (size_t)seg->slots_count * sizeof(uint64_t));
    } else {
        mem_free(seg->slots);
    }
    seg->slots = NULL;
    seg->area = NULL;
    seg->slots_count = 0;
}

void segment_free(struct arena *arena, struct segment *seg)
{
    if (seg == NULL) return;
    drop_slots(arena, seg);
    mem_free(seg);
}

/* Leaves an array of slots_count empty slots. */
static int renew_slots(struct arena *arena, struct segment *seg, uint32_t slots_count)
{
    size_t len = (size_t)slots_count * sizeof(uint64_t);
    if (seg->area && slots_count >= SEGMENT_SLOTS_STEP) {
        size_t len_before = (size_t)seg->slots_count * sizeof(uint64_t);
        if (len < len_before) mem_discard(seg->area + len, len_before - len);
        memset(seg->area, 0, len < len_before ? len : len_before);
    } else if (slots_count == seg->slots_count) {
        memset(seg->slots, 0, len);
    } else {
        bool small = slots_count < SEGMENT_SLOTS_STEP;
        char *block = small ? mem_alloc_aligned(len, CACHE_LINE) : area_take(arena);
        if (block == NULL) return -ENOMEM;
        if (small) memset(block, 0, len);
        drop_slots(arena, seg);
        seg->slots = (uint64_t *)(void *)block;
        seg->area = small ? NULL : block;
    }
    seg->slots_count = slots_count;
    return 0;
}

/* ---- contents ---- */

uint32_t segment_gather(const struct segment *seg, uint64_t *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; count < seg->count; i++) {
        out[count] = seg->slots[i];
        count += seg->slots[i] != 0;
    }
    return count;
}

/* Into empty slots. False: the end was reached, and some have been written. */
static bool spread(struct segment *seg, const uint64_t *from, uint32_t count)
{
    size_t next = 0;
    if (count >= seg->slots_count) return false;
    for (uint32_t i = 0; i < count; i++) {
        size_t at = slot_home(slot_tag(from[i]), seg->homes);
        if (at < next) at = next;
        if (at + 1 >= seg->slots_count) return false;
        seg->slots[at] = from[i];
        next = at + 1;
    }
    return true;
}

static void spread_somehow(struct segment *seg, const uint64_t *from, uint32_t count)
{
    while (!spread(seg, from, count)) {
        check(seg->homes > 1);
        seg->homes /= 2;
        memset(seg->slots, 0, (size_t)seg->slots_count * sizeof(uint64_t));
    }
    seg->count = count;
}

int segment_fill(struct arena *arena, struct segment *seg, uint32_t slots_count,
                 const uint64_t *from, uint32_t count)
{
    int status = renew_slots(arena, seg, slots_count);
    if (status != 0) return status;
    seg->homes = homes_of(slots_count);
    seg->cap = segment_cap_of(slots_count);
    spread_somehow(seg, from, count);
    return 0;
}

void segment_relax(struct segment *seg)
{
    uint64_t slots[SEGMENT_SLOTS_MAX];
    uint32_t count = segment_gather(seg, slots);
    memset(seg->slots, 0, (size_t)seg->slots_count * sizeof(uint64_t));
    seg->homes = seg->homes > 1 ? seg->homes / 2 : 1;
    spread_somehow(seg, slots, count);
}

uint64_t *segment_seek_far(uint64_t *slot, const uint64_t *end, uint64_t last)
{
    size_t step = SEEK_STEPS, room = (size_t)(end - slot);
    size_t low = 0, high = room; /* slot[low] is greater than last, slot[high] is not, or the end */
    while (step < room && slot[step] > last) {
        low = step;
        step *= 2;
    }
    if (step < room) high = step;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (slot[middle] > last) low = middle;
        else high = middle;
    }
    return slot + high;
}

bool segment_put(struct segment *seg, uint64_t slot)
{
    unsigned tag = slot_tag(slot);
    uint64_t *at = seg->slots + slot_home(tag, seg->homes), *end = seg->slots + seg->slots_count;
    /* Behind all equal tags. */
    for (int steps = 0; *at > slot_of_tag(tag); at++) {
        if (likely(++steps < SEEK_STEPS)) continue;
        at = segment_seek_far(at, end, slot_of_tag(tag));
        break;
    }
    uint64_t *gap = at;
    while (*gap) gap++;
    if (gap == end - 1) return false;
    memmove(at + 1, at, (size_t)((char *)gap - (char *)at));
    *at = slot;
    seg->count++;
    return true;
}

void segment_cut(struct segment *seg, uint64_t *slot)
{
    /* Those behind move up one, as far as they are not at home already. */
    uint64_t *end = slot + 1;
    while (*end && slot_home(slot_tag(*end), seg->homes) != (size_t)(end - seg->slots)) end++;
    memmove(slot, slot + 1, (size_t)((char *)end - (char *)(slot + 1)));
    end[-1] = 0;
    seg->count--;
}
