/* The process' memory: the one place that names an allocator.
 *
 * Release builds use mimalloc under its own names, so that libraries that call malloc (Lua,
 * OpenSSL, libc itself) are not changed behind their back. Sanitizer builds define
 * SPLITRING_LIBC_MALLOC and use libc, whose blocks ASan and LSan understand.
 *
 * Reserved address space is mapped readable and writable without swap accounting; the kernel puts
 * zeroed pages behind it on first touch. Transparent huge pages are refused there: they would put
 * 2 MiB behind a table of ten keys, and take pages back that mem_discard has just given away.
 * Thread: any. */
#include "splitring/base/mem.h"

#include <sys/mman.h>

#include "splitring/base/check.h"

#ifdef SPLITRING_LIBC_MALLOC
#include <malloc.h>
#include <stdlib.h>
#else
#include <mimalloc.h>
#endif

#define PAGE_LEN 4096u
#define TEXT(x) #x
#define TEXT_OF(macro) TEXT(macro)

#ifdef SPLITRING_LIBC_MALLOC
static void *raw_alloc(size_t len) { return malloc(len); }
static void *raw_zalloc(size_t len) { return calloc(1, len); }
static void *raw_realloc(void *ptr, size_t len) { return realloc(ptr, len); }
static void raw_free(void *ptr) { free(ptr); }
static size_t raw_usable(const void *ptr) { return malloc_usable_size((void *)(uintptr_t)ptr); }
static void *raw_alloc_aligned(size_t len, size_t align)
{
    void *ptr = NULL;
    return posix_memalign(&ptr, align < sizeof(void *) ? sizeof(void *) : align, len) ? NULL : ptr;
}
#else
static void *raw_alloc(size_t len) { return mi_malloc(len); }
static void *raw_zalloc(size_t len) { return mi_zalloc(len); }
static void *raw_realloc(void *ptr, size_t len) { return mi_realloc(ptr, len); }
static void raw_free(void *ptr) { mi_free(ptr); }
static size_t raw_usable(const void *ptr) { return mi_usable_size(ptr); }
static void *raw_alloc_aligned(size_t len, size_t align) { return mi_malloc_aligned(len, align); }
#endif

void mem_purge(void)
{
#ifndef SPLITRING_LIBC_MALLOC
    mi_collect(true);
#else
    (void)malloc_trim(0);
#endif
}

#ifdef SPLITRING_LIBC_MALLOC
bool mem_look(struct mem_class classes[MEM_CLASSES])
{
    (void)classes;
    return false;
}
#else
static bool look_at_area(const mi_heap_t *heap, const mi_heap_area_t *area, void *block, size_t len,
                         void *ctx)
{
    struct mem_class *classes = ctx;
    unsigned class = 4; /* 2^4 bytes */
    (void)heap, (void)block;
    if (len == 0) return true;
    while (class + 1 < MEM_CLASSES && ((size_t)1 << class) < len) class++;
    classes[class].pages++;
    classes[class].blocks += area->used;
    classes[class].used += area->used * len;
    classes[class].held += area->committed;
    return true;
}

bool mem_look(struct mem_class classes[MEM_CLASSES])
{
    for (unsigned i = 0; i < MEM_CLASSES; i++) classes[i] = (struct mem_class){0};
    return mi_heap_visit_blocks(mi_heap_get_default(), false, look_at_area, classes);
}
#endif

/* A zero length gets a block of one byte: a returned NULL then always means "no memory". */
static size_t at_least_one(size_t len) { return len ? len : 1; }

static void *or_abort(void *ptr)
{
    if (unlikely(ptr == NULL)) check_failed(__FILE__, __LINE__, "out of memory");
    return ptr;
}

void *mem_alloc(size_t len) { return or_abort(raw_alloc(at_least_one(len))); }

void *mem_zalloc(size_t len) { return or_abort(raw_zalloc(at_least_one(len))); }

void *mem_realloc(void *ptr, size_t len) { return or_abort(raw_realloc(ptr, at_least_one(len))); }

void *mem_alloc_aligned(size_t len, size_t align)
{
    return or_abort(raw_alloc_aligned(at_least_one(len), align));
}

void *mem_try_alloc(size_t len)
{
    /* Lengths above this are a bug or an attack; sanitizers and libc warn about them loudly. */
    if (len > PTRDIFF_MAX / 2) return NULL;
    return raw_alloc(at_least_one(len));
}

void *mem_try_zalloc(size_t len)
{
    if (len > PTRDIFF_MAX / 2) return NULL;
    return raw_zalloc(at_least_one(len));
}

void *mem_try_realloc(void *ptr, size_t len)
{
    if (len > PTRDIFF_MAX / 2) return NULL;
    return raw_realloc(ptr, at_least_one(len));
}

void mem_free(void *ptr) { raw_free(ptr); }

const char *mem_allocator(void)
{
#ifdef SPLITRING_LIBC_MALLOC
    return "libc";
#else
    return "mimalloc-" TEXT_OF(MI_MALLOC_VERSION);
#endif
}

size_t mem_usable(const void *ptr) { return ptr ? raw_usable(ptr) : 0; }

void *mem_reserve(size_t len, size_t align)
{
    check(len % PAGE_LEN == 0 && align >= PAGE_LEN && (align & (align - 1)) == 0);
    size_t span = len + align - PAGE_LEN;
    if (span < len) return NULL;
    char *base = mmap(NULL, span, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return NULL;

    /* Cut the map down to the aligned part. */
    size_t head = (align - ((uintptr_t)base & (align - 1))) & (align - 1);
    size_t tail = span - head - len;
    if (head) mem_unreserve(base, head);
    if (tail) mem_unreserve(base + head + len, tail);
    /* Refused where the kernel has no huge pages at all, which is as good. */
    (void)madvise(base + head, len, MADV_NOHUGEPAGE);
    return base + head;
}

void mem_unreserve(void *ptr, size_t len)
{
    if (ptr == NULL) return;
    int status = munmap(ptr, len);
    /* Cutting a hole needs one more map entry, and the kernel may have none left. */
    if (status != 0) mem_discard(ptr, len);
}

void mem_discard(void *ptr, size_t len)
{
    int status = madvise(ptr, len, MADV_DONTNEED);
    check(status == 0);
}
