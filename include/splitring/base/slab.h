/* Small blocks of one shard, in size classes of 8 bytes (mimalloc rounds to 16: FIGURES section 4).
 * A slab hangs on a shard, not on a thread: whoever holds the shard allocates and frees. Pages of
 * 64 KiB that become empty go back to the system.
 * Thread: holder of the shard. */
#ifndef SPLITRING_BASE_SLAB_H
#define SPLITRING_BASE_SLAB_H

#include "splitring/base/types.h"

#define SLAB_BLOCK_MAX 1024u /* larger blocks: mem_try_alloc */

struct slab;

struct slab *slab_new(void);
void slab_free_all(struct slab *slab);            /* the slab and every block in it */
void *slab_alloc(struct slab *slab, size_t len) WARN_UNUSED; /* 1..SLAB_BLOCK_MAX; 8-byte aligned */
/* len: as asked for, or any len of the same class. NULL is fine. */
void slab_free(struct slab *slab, void *ptr, size_t len);
static inline size_t slab_class_len(size_t len) { return (len + 7u) & ~(size_t)7u; }
size_t slab_bytes_used(const struct slab *slab);  /* sum of class sizes of live blocks */
size_t slab_bytes_held(const struct slab *slab);  /* memory taken from the system */
void slab_trim(struct slab *slab); /* empty pages kept for later go back to the system */

/* Evacuation: pages with few blocks are chosen, so many that the others of their class have room
 * for what is in them, and get no new blocks. Their blocks go elsewhere as their owners copy them
 * (slab_alloc, memcpy, slab_free); a page whose last block has gone is empty as any other.
 *   start ─▶ choose, in slices ─▶ … slab_evacuates() ? copy ─▶ end, in slices */
bool slab_evacuate_start(struct slab *slab);                 /* false: no memory */
bool slab_evacuate_choose(struct slab *slab, size_t chunks); /* of 4 MiB; false: it is over */
bool slab_evacuate_any(const struct slab *slab);             /* some chosen page has blocks still */
bool slab_evacuates(const struct slab *slab, const void *block);
/* What could not be moved stays: its pages are as others again. False: that was all. */
bool slab_evacuate_end(struct slab *slab, size_t pages);
size_t slab_evacuated(const struct slab *slab); /* bytes of chosen pages that became empty */

/* What pages hold, by length of their blocks. classes: SLAB_CLASSES of them; the n-th is of blocks
 * of 8 * n bytes, the first one of pages without blocks. O(pages). */
#define SLAB_CLASSES (SLAB_BLOCK_MAX / 8u + 1u)
struct slab_class {
    size_t pages, pages_with_room;
    size_t used, held; /* bytes */
};
void slab_look(const struct slab *slab, struct slab_class *classes);

#endif
