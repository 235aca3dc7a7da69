/* Slots and segments of the table: the part that knows order inside an array and nothing of hashes'
 * leading bits or directories. Inner header of src/data.
 * Thread: holder of the shard. */
#ifndef SPLITRING_DATA_TABLE_SEGMENT_H
#define SPLITRING_DATA_TABLE_SEGMENT_H

#include "splitring/base/types.h"

/* A slot: inverted tag (16) | entry >> 3 (45) | spare (1) | bits of the caller (2). 0 is empty.
 * The tag is inverted so that slots in hash order fall and an empty one is smaller than all: one
 * comparison tells "go on" from "not here". */
#define SLOT_TAG_SHIFT 48
#define SLOT_LOW ((uint64_t)0x0000ffffffffffff)
#define SLOT_ENTRY ((uint64_t)0x0000fffffffffff8)
#define SLOT_BITS ((uint64_t)3)
#define TAG_MAX 0xffffu

#define SEGMENT_SLOTS_MIN 16u
#define SEGMENT_SLOTS_STEP 512u /* a page */
#define SEGMENT_SLOTS_MAX 4096u
#define SEGMENT_AREA_LEN (SEGMENT_SLOTS_MAX * sizeof(uint64_t))

/* Sizes: 16, 32 .. 256 in a block of its own, then 512, 1024, 1536 .. 4096 in place, in an area. */
struct segment {
    uint64_t *slots; /* 64-byte aligned; the last slot is always empty */
    char *area;      /* 32 KiB of address space, or NULL while small */
    uint32_t slots_count;
    uint32_t homes; /* home of a tag: tag * homes >> 16; the slots above it are slack */
    uint32_t count;
    uint32_t cap; /* entries before it should grow */
};

/* Address space for segments, one per table. */
struct arena_region;
struct arena {
    struct arena_region *regions; /* newest first */
    size_t region_at;             /* bytes of the newest region handed out */
    char **free_areas;            /* room for every area there is, so giving back never fails */
    size_t free_count, areas_count, areas_cap;
};

void arena_deinit(struct arena *arena);

static inline uint64_t slot_of_tag(unsigned tag)
{
    return (uint64_t)(TAG_MAX - tag) << SLOT_TAG_SHIFT;
}
static inline uint64_t slot_make(unsigned tag, const void *entry, unsigned bits)
{
    return slot_of_tag(tag) | (uintptr_t)entry | bits;
}
static inline unsigned slot_tag(uint64_t slot)
{
    return TAG_MAX - (unsigned)(slot >> SLOT_TAG_SHIFT);
}
static inline void *slot_entry(uint64_t slot) { return (void *)(uintptr_t)(slot & SLOT_ENTRY); }
static inline uint64_t slot_with_tag(uint64_t slot, unsigned tag)
{
    return (slot & SLOT_LOW) | slot_of_tag(tag);
}
static inline size_t slot_home(unsigned tag, uint32_t homes)
{
    return (size_t)(((uint64_t)tag * homes) >> 16);
}

/* The first slot from `slot` on that is not greater than last; the end of a long run is found by
 * doubling and halving the step, because behind it everything is empty or has a larger tag. */
#define SEEK_STEPS 32
uint64_t *segment_seek_far(uint64_t *slot, const uint64_t *end, uint64_t last);
/* The first slot whose tag is not below `tag`, or the empty slot that ends its run. */
static inline uint64_t *segment_seek(uint64_t *slots, uint32_t slots_count, uint32_t homes,
                                     unsigned tag)
{
    uint64_t *slot = slots + slot_home(tag, homes);
    uint64_t last = slot_of_tag(tag) | SLOT_LOW;
    for (int steps = 0; *slot > last; slot++) {
        if (unlikely(++steps == SEEK_STEPS))
            return segment_seek_far(slot, slots + slots_count, last);
    }
    return slot;
}

uint32_t segment_cap_of(uint32_t slots_count); /* entries that fit at the usual load */
uint32_t segment_size_for(uint32_t count);     /* slots for `count` entries and some more */
uint32_t segment_size_next(uint32_t slots_count);
size_t segment_bytes(const struct segment *seg); /* memory it takes */

struct segment *segment_new(void);                           /* no slots yet */
void segment_free(struct arena *arena, struct segment *seg); /* NULL is fine */

/* Copies the slots in use to `out` (room for SEGMENT_SLOTS_MAX), in order; returns their count. */
uint32_t segment_gather(const struct segment *seg, uint64_t *out);
/* Replaces the contents by `count` ordered slots in an array of slots_count. -ENOMEM: unchanged;
 * never for an array that is neither larger than before nor of another kind. */
int segment_fill(struct arena *arena, struct segment *seg, uint32_t slots_count,
                 const uint64_t *from, uint32_t count) WARN_UNUSED;
/* Same contents and size, half the homes: more slack at the end for tags that crowd there. */
void segment_relax(struct segment *seg);

bool segment_put(struct segment *seg, uint64_t slot) WARN_UNUSED; /* false: no slack left */
void segment_cut(struct segment *seg, uint64_t *slot);

#endif
