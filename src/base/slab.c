/* Small blocks in classes of 8 bytes.
 *
 *   chunk, 4 MiB, aligned to its size:
 *   | 4 KiB: 64 page headers | rest of page 0 | page 1, 64 KiB | ... | page 63 |
 *
 * A page holds blocks of one class. Its header is in the chunk's first 4 KiB, not in the page:
 * headers 64 KiB apart would all fall into the same few sets of the cache, and a page can go back
 * to the system without losing its header. A pointer finds its header by its own bits.
 *
 * Blocks of a page are first cut off in address order (`bump`), so memory is touched only when it
 * is needed; freed ones are linked through their first eight bytes and used again before anything
 * new is touched. Pages with room wait in their class' list, oldest first: the one being filled
 * stays in front until it is full, and those behind it may become empty meanwhile. A few empty
 * pages are kept for any class, more are discarded. Chunks are cut from larger regions, because
 * every mapping costs the kernel an entry and there is a limit of 65530.
 *
 * Evacuation: what deletes at random leave is a few blocks in every page, and none of them empty.
 * Two passes over the page headers (they lie together, 2 KiB for 4 MiB of blocks) choose what to
 * clear: the first counts pages of each class by sixteenths of fullness, the second keeps the
 * fullest ones that all of the class' blocks fit into, and takes the rest out of the class' list,
 * so that no new block comes into them. Which blocks lie there is known by the page alone; whoever
 * has pointers to them copies them when he comes past. The slab moves nothing itself: it does not
 * know its blocks' owners.
 *
 * Invariants: a page is in exactly one state: unused (bit in chunk's `unused`), empty (in
 * `empties`), with room (in classes[class]), leaving (in `leaving`), full (in no list). The lowest
 * unused page is taken first.
 *
 * Not mimalloc: it rounds small blocks to 16 bytes, and its heaps belong to threads, where a shard
 * is touched by whoever holds it.
 * Thread: holder of the shard. */
#include "splitring/base/slab.h"

#include <string.h>

#include "splitring/base/check.h"
#include "splitring/base/list.h"
#include "splitring/base/mem.h"

#ifndef SPLITRING_LIBC_MALLOC

#define CHUNK_LEN ((size_t)4 << 20)
#define PAGE_LEN ((size_t)64 << 10)
#define PAGE_COUNT 64u
#define HEADER_LEN ((size_t)4096)
#define SYSTEM_PAGE_LEN ((size_t)4096)
#define REGION_LEN_MAX ((size_t)256 << 20)
#define CLASS_COUNT SLAB_CLASSES /* class 0 is not used */
#define EMPTIES_MAX 8u
#define NO_BLOCK UINT16_MAX

/* Offsets inside a page count words of 8 bytes. */
struct page {
    struct list list;
    uint16_t free_first; /* first freed block, or NO_BLOCK; each holds the offset of the next */
    uint16_t bump;       /* where the next fresh block begins */
    uint16_t used;       /* live blocks */
    uint16_t class;      /* block length in words */
    uint16_t touched;    /* system pages that bump has reached, ever since the last discard */
    uint16_t leaving;    /* bool: it is being evacuated */
};

struct chunk {
    size_t index; /* in slab->chunks */
    struct page pages[PAGE_COUNT];
};

static_assert(sizeof(struct page) == 32, "two page headers in a cache line");
static_assert(sizeof(struct chunk) <= HEADER_LEN, "chunk header fits before page 0");
static_assert(PAGE_LEN / 8 < NO_BLOCK, "offsets of blocks fit");

struct chunk_ref {
    struct chunk *chunk;
    uint64_t unused; /* bit i: page i has no memory */
};

struct region {
    struct region *next;
    char *base;
    size_t len;
};

/* What an evacuation knows of each class while it chooses. */
#define FULLNESS 16u
struct evacuation {
    bool choosing; /* the second pass */
    size_t at;     /* the next chunk */
    struct {
        uint32_t pages[FULLNESS]; /* with room, by fullness; then: those that stay */
        size_t blocks;            /* in them */
    } classes[CLASS_COUNT];
};

struct slab {
    struct list classes[CLASS_COUNT]; /* pages with room */
    struct list leaving;              /* pages that are being evacuated */
    struct evacuation *evacuation;    /* while it chooses */
    struct list empties;
    size_t empties_count;
    struct chunk_ref *chunks;
    size_t chunks_count, chunks_cap;
    size_t first_unused;    /* no chunk before it has an unused page */
    struct region *regions; /* newest first; its rest is cut into chunks */
    size_t region_at;       /* bytes of the newest region that are chunks already */
    size_t bytes_used, bytes_held;
    size_t evacuated;       /* bytes of pages */
};

struct slab *slab_new(void)
{
    struct slab *slab = mem_zalloc(sizeof(*slab));
    for (size_t i = 0; i < CLASS_COUNT; i++) list_init(&slab->classes[i]);
    list_init(&slab->empties);
    list_init(&slab->leaving);
    return slab;
}

void slab_free_all(struct slab *slab)
{
    if (slab == NULL) return;
    while (slab->regions) {
        struct region *region = slab->regions;
        slab->regions = region->next;
        mem_unreserve(region->base, region->len);
        mem_free(region);
    }
    mem_free(slab->chunks);
    mem_free(slab->evacuation);
    mem_free(slab);
}

static struct chunk *chunk_of(const void *ptr)
{
    return (struct chunk *)((uintptr_t)ptr & ~(uintptr_t)(CHUNK_LEN - 1));
}

static size_t page_index(const struct page *page) { return (size_t)(page - chunk_of(page)->pages); }

static char *page_base(const struct page *page)
{
    return (char *)chunk_of(page) + page_index(page) * PAGE_LEN;
}

/* Where blocks begin: behind the headers in page 0. */
static size_t page_first(const struct page *page)
{
    return page_index(page) == 0 ? HEADER_LEN / 8 : 0;
}

/* ---- chunks and pages ---- */

static bool add_region(struct slab *slab)
{
    size_t len = slab->regions ? slab->regions->len * 2 : CHUNK_LEN;
    if (len > REGION_LEN_MAX) len = REGION_LEN_MAX;
    struct region *region = mem_try_alloc(sizeof(*region));
    if (region == NULL) return false;
    char *base = mem_reserve(len, CHUNK_LEN);
    while (base == NULL && len > CHUNK_LEN) {
        len /= 2;
        base = mem_reserve(len, CHUNK_LEN);
    }
    if (base == NULL) {
        mem_free(region);
        return false;
    }
    *region = (struct region){.next = slab->regions, .base = base, .len = len};
    slab->regions = region;
    slab->region_at = 0;
    return true;
}

static bool add_chunk(struct slab *slab)
{
    if (slab->chunks_count == slab->chunks_cap) {
        size_t cap = slab->chunks_cap ? slab->chunks_cap * 2 : 4;
        struct chunk_ref *chunks = mem_try_realloc(slab->chunks, cap * sizeof(*chunks));
        if (chunks == NULL) return false;
        slab->chunks = chunks;
        slab->chunks_cap = cap;
    }
    bool full = slab->regions == NULL || slab->region_at == slab->regions->len;
    if (full && !add_region(slab)) return false;
    slab->chunks[slab->chunks_count++] = (struct chunk_ref){
        .chunk = (struct chunk *)(void *)(slab->regions->base + slab->region_at),
        .unused = UINT64_MAX,
    };
    slab->region_at += CHUNK_LEN;
    return true;
}

/* A page without blocks, in no list. */
static struct page *take_page(struct slab *slab)
{
    struct list *empty = list_pop_front(&slab->empties);
    if (empty) {
        slab->empties_count--;
        return CONTAINER_OF(empty, struct page, list);
    }
    size_t i = slab->first_unused;
    while (i < slab->chunks_count && slab->chunks[i].unused == 0) i++;
    slab->first_unused = i;
    if (i == slab->chunks_count && !add_chunk(slab)) return NULL;

    struct chunk_ref *ref = &slab->chunks[i];
    if (ref->unused == UINT64_MAX) {
        ref->chunk->index = i;
        slab->bytes_held += HEADER_LEN;
    }
    unsigned bit = (unsigned)__builtin_ctzll(ref->unused);
    ref->unused &= ref->unused - 1;
    struct page *page = &ref->chunk->pages[bit];
    page->touched = bit == 0 ? HEADER_LEN / SYSTEM_PAGE_LEN : 0; /* headers count on their own */
    list_init(&page->list);
    return page;
}

static struct page *add_page(struct slab *slab, size_t class)
{
    struct page *page = take_page(slab);
    if (page == NULL) return NULL;
    page->free_first = NO_BLOCK;
    page->bump = (uint16_t)page_first(page);
    page->used = 0;
    page->leaving = 0;
    page->class = (uint16_t) class;
    list_push_back(&slab->classes[class], &page->list);
    return page;
}

static void discard_page(struct slab *slab, struct page *page)
{
    struct chunk *chunk = chunk_of(page);
    size_t index = page_index(page), first = page_first(page) * 8;
    struct chunk_ref *ref = &slab->chunks[chunk->index];
    slab->bytes_held -= page->touched * SYSTEM_PAGE_LEN - first;
    if (chunk->index < slab->first_unused) slab->first_unused = chunk->index;
    ref->unused |= (uint64_t)1 << index;
    if (page->touched * SYSTEM_PAGE_LEN > first) {
        mem_discard(page_base(page) + first, page->touched * SYSTEM_PAGE_LEN - first);
    }
    if (ref->unused == UINT64_MAX) {
        slab->bytes_held -= HEADER_LEN;
        mem_discard(chunk, HEADER_LEN);
    }
}

/* ---- blocks ---- */

static void *cut_block(struct slab *slab, struct page *page)
{
    void *block = page_base(page) + (size_t)page->bump * 8;
    page->bump = (uint16_t)(page->bump + page->class);
    size_t reached = ((size_t)page->bump * 8 + SYSTEM_PAGE_LEN - 1) / SYSTEM_PAGE_LEN;
    if (reached > page->touched) {
        slab->bytes_held += (reached - page->touched) * SYSTEM_PAGE_LEN;
        page->touched = (uint16_t)reached;
    }
    return block;
}

static bool page_full(const struct page *page)
{
    return page->free_first == NO_BLOCK && page->bump + page->class > PAGE_LEN / 8;
}

void *slab_alloc(struct slab *slab, size_t len)
{
    check(len >= 1 && len <= SLAB_BLOCK_MAX);
    size_t class = (len + 7) / 8;
    struct list *room = &slab->classes[class];
    struct page *page = CONTAINER_OF(room->next, struct page, list);
    if (unlikely(list_empty(room))) {
        page = add_page(slab, class);
        if (page == NULL) return NULL;
    }
    void *block;
    if (page->free_first != NO_BLOCK) {
        uint64_t next;
        block = page_base(page) + (size_t)page->free_first * 8;
        memcpy(&next, block, sizeof(next));
        page->free_first = (uint16_t)next;
    } else {
        block = cut_block(slab, page);
    }
    page->used++;
    slab->bytes_used += class * 8;
    if (unlikely(page_full(page))) list_remove(&page->list);
    return block;
}

void slab_free(struct slab *slab, void *ptr, size_t len)
{
    if (ptr == NULL) return;
    struct chunk *chunk = chunk_of(ptr);
    size_t offset = (size_t)((char *)ptr - (char *)chunk);
    struct page *page = &chunk->pages[offset / PAGE_LEN];
    check((len + 7) / 8 == page->class && page->used > 0);
    bool was_full = page_full(page);
    uint64_t next = page->free_first;
    memcpy(ptr, &next, sizeof(next));
    page->free_first = (uint16_t)(offset % PAGE_LEN / 8);
    page->used--;
    slab->bytes_used -= (size_t)page->class * 8;
    if (unlikely(page->used == 0)) {
        list_remove(&page->list);
        if (unlikely(page->leaving)) slab->evacuated += PAGE_LEN;
        page->leaving = 0;
        if (slab->empties_count < EMPTIES_MAX) {
            slab->empties_count++;
            list_push_back(&slab->empties, &page->list);
        } else {
            discard_page(slab, page);
        }
    } else if (was_full) {
        list_push_back(&slab->classes[page->class], &page->list);
    }
}

size_t slab_bytes_used(const struct slab *slab) { return slab->bytes_used; }

size_t slab_bytes_held(const struct slab *slab) { return slab->bytes_held; }

/* ---- evacuation ---- */

static size_t page_cap(const struct page *page)
{
    return (PAGE_LEN / 8 - page_first(page)) / page->class;
}

bool slab_evacuate_start(struct slab *slab)
{
    check(slab->evacuation == NULL && list_empty(&slab->leaving));
    slab->evacuation = mem_try_zalloc(sizeof(*slab->evacuation));
    return slab->evacuation != NULL;
}

static bool may_leave(const struct page *page)
{
    return page->used > 0 && !page->leaving && !page_full(page);
}

static unsigned fullness(const struct page *page)
{
    size_t sixteenths = page->used * (size_t)FULLNESS / page_cap(page);
    return sixteenths < FULLNESS ? (unsigned)sixteenths : FULLNESS - 1;
}

/* From counts to quotas: how many pages of each fullness stay. */
static void decide(struct evacuation *ev)
{
    for (size_t class = 1; class < CLASS_COUNT; class++) {
        size_t cap = PAGE_LEN / 8 / class;
        size_t stay = ev->classes[class].blocks / cap + 2; /* one to fill, one for rounding */
        for (unsigned i = FULLNESS; i-- > 0;) {
            uint32_t *pages = &ev->classes[class].pages[i];
            if (*pages > stay && i < FULLNESS - 1) *pages = (uint32_t)stay;
            stay -= *pages < stay ? *pages : stay;
        }
    }
}

static void look_at_chunk(struct slab *slab, const struct chunk_ref *ref)
{
    struct evacuation *ev = slab->evacuation;
    for (uint64_t m = ~ref->unused; m; m &= m - 1) {
        struct page *page = &ref->chunk->pages[__builtin_ctzll(m)];
        if (!may_leave(page)) continue;
        uint32_t *pages = &ev->classes[page->class].pages[fullness(page)];
        if (!ev->choosing) {
            ++*pages;
            ev->classes[page->class].blocks += page->used;
        } else if (*pages) {
            --*pages;
        } else {
            list_remove(&page->list);
            page->leaving = 1;
            list_push_back(&slab->leaving, &page->list);
        }
    }
}

bool slab_evacuate_choose(struct slab *slab, size_t chunks)
{
    struct evacuation *ev = slab->evacuation;
    for (; chunks > 0 && ev->at < slab->chunks_count; chunks--)
        look_at_chunk(slab, &slab->chunks[ev->at++]);
    if (ev->at < slab->chunks_count) return true;
    if (!ev->choosing) {
        decide(ev);
        ev->choosing = true;
        ev->at = 0;
        return true;
    }
    mem_free(ev);
    slab->evacuation = NULL;
    return false;
}

bool slab_evacuate_any(const struct slab *slab) { return !list_empty(&slab->leaving); }

bool slab_evacuates(const struct slab *slab, const void *block)
{
    const struct chunk *chunk = chunk_of(block);
    (void)slab;
    return chunk->pages[(size_t)((const char *)block - (const char *)chunk) / PAGE_LEN].leaving;
}

bool slab_evacuate_end(struct slab *slab, size_t pages)
{
    mem_free(slab->evacuation); /* it was given up while it chose */
    slab->evacuation = NULL;
    struct list *link = NULL;
    while (pages-- > 0 && (link = list_pop_front(&slab->leaving)) != NULL) {
        struct page *page = CONTAINER_OF(link, struct page, list);
        page->leaving = 0;
        list_push_back(&slab->classes[page->class], &page->list);
    }
    return !list_empty(&slab->leaving);
}

size_t slab_evacuated(const struct slab *slab) { return slab->evacuated; }

/* ---- looking ---- */

void slab_trim(struct slab *slab)
{
    struct list *link;
    while ((link = list_pop_front(&slab->empties)) != NULL)
        discard_page(slab, CONTAINER_OF(link, struct page, list));
    slab->empties_count = 0;
}

void slab_look(const struct slab *slab, struct slab_class *classes)
{
    memset(classes, 0, SLAB_CLASSES * sizeof(*classes));
    for (size_t i = 0; i < slab->chunks_count; i++) {
        const struct chunk_ref *ref = &slab->chunks[i];
        for (uint64_t m = ~ref->unused; m; m &= m - 1) {
            const struct page *page = &ref->chunk->pages[__builtin_ctzll(m)];
            struct slab_class *class = &classes[page->used ? page->class : 0];
            class->pages++;
            class->pages_with_room += !page_full(page);
            class->used += (size_t)page->used * page->class * 8;
            class->held += page->touched * SYSTEM_PAGE_LEN;
        }
    }
}

#else /* SPLITRING_LIBC_MALLOC */

/* One libc block each, so that ASan sees a byte too far; a list for slab_free_all. */
struct block {
    struct list list;
    uint32_t class, made; /* made: by slab.evacuations */
    uint64_t bytes[];
};

/* An evacuation is of every block that is older than itself: more is moved than in earnest. */
struct slab {
    struct list blocks;
    size_t bytes_used, blocks_count;
    uint32_t evacuations;
    bool evacuating;
};

struct slab *slab_new(void)
{
    struct slab *slab = mem_zalloc(sizeof(*slab));
    list_init(&slab->blocks);
    return slab;
}

void slab_free_all(struct slab *slab)
{
    if (slab == NULL) return;
    LIST_FOREACH_SAFE(it, next, &slab->blocks) mem_free(CONTAINER_OF(it, struct block, list));
    mem_free(slab);
}

void *slab_alloc(struct slab *slab, size_t len)
{
    check(len >= 1 && len <= SLAB_BLOCK_MAX);
    struct block *block = mem_try_alloc(sizeof(*block) + len);
    if (block == NULL) return NULL;
    block->class = (uint32_t)((len + 7) / 8);
    block->made = slab->evacuations;
    list_push_back(&slab->blocks, &block->list);
    slab->blocks_count++;
    slab->bytes_used += block->class * 8;
    return block->bytes;
}

void slab_free(struct slab *slab, void *ptr, size_t len)
{
    if (ptr == NULL) return;
    struct block *block = CONTAINER_OF(ptr, struct block, bytes);
    check((len + 7) / 8 == block->class);
    list_remove(&block->list);
    slab->blocks_count--;
    slab->bytes_used -= block->class * 8;
    mem_free(block);
}

size_t slab_bytes_used(const struct slab *slab) { return slab->bytes_used; }

/* With what each block has beside its bytes, so that there is always something to mend. */
size_t slab_bytes_held(const struct slab *slab)
{
    return slab->bytes_used + slab->blocks_count * sizeof(struct block);
}

void slab_trim(struct slab *slab) { (void)slab; }

bool slab_evacuate_start(struct slab *slab)
{
    slab->evacuations++;
    return true;
}

bool slab_evacuate_choose(struct slab *slab, size_t chunks)
{
    (void)chunks;
    slab->evacuating = true;
    return false;
}

bool slab_evacuate_any(const struct slab *slab) { return slab->evacuating; }

bool slab_evacuates(const struct slab *slab, const void *block)
{
    return slab->evacuating &&
           CONTAINER_OF(block, const struct block, bytes)->made != slab->evacuations;
}

bool slab_evacuate_end(struct slab *slab, size_t pages)
{
    (void)pages;
    slab->evacuating = false;
    return false;
}

size_t slab_evacuated(const struct slab *slab)
{
    (void)slab;
    return 0;
}

void slab_look(const struct slab *slab, struct slab_class *classes)
{
    memset(classes, 0, SLAB_CLASSES * sizeof(*classes));
    for (const struct list *l = slab->blocks.next; l != &slab->blocks; l = l->next) {
        struct slab_class *class = &classes[CONTAINER_OF(l, struct block, list)->class];
        class->pages++;
        class->used += (size_t)CONTAINER_OF(l, struct block, list)->class * 8;
        class->held = class->used;
    }
}

#endif
