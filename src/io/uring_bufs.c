/* Receive buffers for multishot receives.
 *
 *   base ─▶ [ 16 KiB ] × count      address space, not memory
 *   ring ─▶ ids of the buffers that the kernel may fill, first in, first out
 *   used[]  ids handed out since the last recycle      idle[] ids that the ring has not
 *
 * The kernel walks the ring in order, so a full ring of 1024 buffers would sooner or later touch
 * all 16 MiB. Hence only as many circulate as a pass needs: 32 at first, doubled when a pass used
 * more than half or found none (which ends the multishot receive with ENOBUFS and costs a re-arm),
 * halved after a long time in which a quarter was enough; what leaves gives its pages back.
 *
 * Starting every buffer at another cache line, because the first lines of all of them fall into the
 * same few sets, was measured and gains nothing.
 *
 * liburing 2.3 can register such a ring but not set it up: that is done here.
 * Thread: owner. */
#include "uring_bufs.h"

#include <errno.h>

#include "engine.h"
#include "splitring/base/mem.h"

#define CIRCULATING_MIN 32u
#define WINDOW_PASSES 4096u

static char *buf_at(const struct uring_bufs *bufs, unsigned id)
{
    return bufs->base + (size_t)id * IO_BUF_LEN;
}

static size_t ring_len(unsigned count)
{
    return (count * sizeof(struct io_uring_buf) + 4095u) & ~(size_t)4095u;
}

/* Writes an entry behind the ring's tail; visible with the next publish. */
static void put(struct uring_bufs *bufs, unsigned at, uint16_t id)
{
    struct io_uring_buf *entry = &bufs->ring->bufs[(bufs->ring->tail + at) & (bufs->count - 1)];
    entry->addr = (uint64_t)(uintptr_t)buf_at(bufs, id);
    entry->len = IO_BUF_LEN;
    entry->bid = id;
}

static void publish(struct uring_bufs *bufs, unsigned count)
{
    uint16_t tail = (uint16_t)(bufs->ring->tail + count);
    __atomic_store_n(&bufs->ring->tail, tail, __ATOMIC_RELEASE);
}

static unsigned grow(struct uring_bufs *bufs, unsigned at, unsigned by)
{
    for (; by > 0 && bufs->idle_count > 0; by--) {
        put(bufs, at++, bufs->idle[--bufs->idle_count]);
        bufs->circulating++;
    }
    return at;
}

int uring_bufs_init(struct uring_bufs *bufs, struct io_uring *ring, unsigned count)
{
    *bufs = (struct uring_bufs){.count = count};
    bufs->base = mem_reserve((size_t)count * IO_BUF_LEN, 4096);
    if (!bufs->base) return -ENOMEM;
    bufs->ring = mem_reserve(ring_len(count), 4096);
    if (!bufs->ring) {
        uring_bufs_deinit(bufs);
        return -ENOMEM;
    }
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)bufs->ring,
        .ring_entries = count,
        .bgid = URING_BUF_GROUP,
    };
    int rc = io_uring_register_buf_ring(ring, &reg, 0);
    if (rc < 0) {
        uring_bufs_deinit(bufs);
        return rc;
    }
    bufs->used = mem_alloc(count * sizeof *bufs->used);
    bufs->idle = mem_alloc(count * sizeof *bufs->idle);
    for (unsigned i = count; i-- > 0;) bufs->idle[bufs->idle_count++] = (uint16_t)i;
    publish(bufs, grow(bufs, 0, CIRCULATING_MIN));
    return 0;
}

void uring_bufs_deinit(struct uring_bufs *bufs)
{
    if (bufs->base) mem_unreserve(bufs->base, (size_t)bufs->count * IO_BUF_LEN);
    if (bufs->ring) mem_unreserve(bufs->ring, ring_len(bufs->count));
    mem_free(bufs->used);
    mem_free(bufs->idle);
    *bufs = (struct uring_bufs){0};
}

const char *uring_bufs_take(struct uring_bufs *bufs, uint16_t id)
{
    check(id < bufs->count && bufs->used_count < bufs->circulating);
    bufs->used[bufs->used_count++] = id;
    return buf_at(bufs, id);
}

/* Once per window: does a quarter suffice? */
static void look_back(struct uring_bufs *bufs)
{
    if (++bufs->passes < WINDOW_PASSES) return;
    if (bufs->circulating > CIRCULATING_MIN && bufs->peak < bufs->circulating / 4)
        bufs->withhold = bufs->circulating / 2;
    bufs->passes = 0;
    bufs->peak = 0;
}

void uring_bufs_recycle(struct uring_bufs *bufs)
{
    unsigned put_count = 0;
    bool wanting = bufs->starved || bufs->used_count > bufs->circulating / 2;
    look_back(bufs);
    if (bufs->used_count == 0 && !wanting) return;
    if (bufs->used_count > bufs->peak) bufs->peak = bufs->used_count;
    if (wanting) bufs->withhold = 0;
    while (bufs->used_count > 0) {
        uint16_t id = bufs->used[--bufs->used_count];
        if (unlikely(bufs->withhold > 0)) {
            bufs->withhold--;
            bufs->circulating--;
            bufs->idle[bufs->idle_count++] = id;
            mem_discard(buf_at(bufs, id), IO_BUF_LEN);
        } else {
            put(bufs, put_count++, id);
        }
    }
    if (wanting) put_count = grow(bufs, put_count, bufs->circulating);
    bufs->starved = 0;
    publish(bufs, put_count);
}
