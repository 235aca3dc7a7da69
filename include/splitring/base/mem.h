/* Memory of the process: mimalloc in release builds, libc under sanitizers. Blocks may be freed by
 * any thread. Client-sized requests go through mem_try_*, which may return NULL; the others end the
 * process when memory is out, and are for small sizes that no client chooses.
 * Thread: any. */
#ifndef SPLITRING_BASE_MEM_H
#define SPLITRING_BASE_MEM_H

#include "splitring/base/types.h"

void *mem_alloc(size_t len) WARN_UNUSED;
void *mem_zalloc(size_t len) WARN_UNUSED;                       /* zeroed */
void *mem_realloc(void *ptr, size_t len) WARN_UNUSED;
void *mem_alloc_aligned(size_t len, size_t align) WARN_UNUSED;  /* free with mem_free */
void *mem_try_alloc(size_t len) WARN_UNUSED;                    /* NULL: no memory */
void *mem_try_zalloc(size_t len) WARN_UNUSED; /* zeroed; large ones by untouched pages */
void *mem_try_realloc(void *ptr, size_t len) WARN_UNUSED;       /* NULL: ptr is still valid */
void mem_free(void *ptr);                                       /* NULL is fine */
size_t mem_usable(const void *ptr);                             /* bytes really taken; NULL: 0 */
const char *mem_allocator(void);                                /* "mimalloc-209", "libc" */
void mem_purge(void); /* what this thread's part of the allocator keeps for later goes back */

/* The blocks of the calling thread's part of the allocator, by length (rounded up to powers of
 * two from 16). False: it cannot tell. */
#define MEM_CLASSES 40u
struct mem_class {
    size_t pages, blocks, used, held; /* bytes of blocks in use; of their pages */
};
bool mem_look(struct mem_class classes[MEM_CLASSES]);

/* Address space without memory behind it, page by page on first touch. len is a multiple of 4096,
 * align a power of two >= 4096. mem_reserve returns NULL when the address space is out. */
void *mem_reserve(size_t len, size_t align) WARN_UNUSED;
void mem_unreserve(void *ptr, size_t len);
void mem_discard(void *ptr, size_t len); /* gives pages back; they read as zeros afterwards */

#endif
