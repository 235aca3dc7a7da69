/* Receive buffers that the kernel picks from (io_uring provided buffer ring).
 * Thread: owner. */
#ifndef SPLITRING_SRC_IO_URING_BUFS_H
#define SPLITRING_SRC_IO_URING_BUFS_H

#include <liburing.h>

#include "splitring/base/check.h"

#define URING_BUF_GROUP 1

struct uring_bufs {
    /* constant after start */
    struct io_uring_buf_ring *ring;
    char *base;
    unsigned count;
    /* owner only */
    unsigned circulating; /* in the ring, in the kernel's hands or in used[] */
    unsigned used_count;  /* handed out since the last recycle */
    unsigned idle_count;
    unsigned starved;     /* the kernel found the ring empty since the last recycle */
    unsigned peak;        /* most used in one pass of this window */
    unsigned passes;      /* of this window */
    unsigned withhold;    /* buffers to take out of circulation as they come home */
    uint16_t *used;
    uint16_t *idle;
};

int uring_bufs_init(struct uring_bufs *bufs, struct io_uring *ring, unsigned count) WARN_UNUSED;
void uring_bufs_deinit(struct uring_bufs *bufs); /* after the ring is gone */
/* The bytes of buffer id, which comes home at the next recycle. */
const char *uring_bufs_take(struct uring_bufs *bufs, uint16_t id);
void uring_bufs_recycle(struct uring_bufs *bufs);

#endif
