/* A reader's bytes in blocks of a file.
 *
 *   file    ......|summed....at....end|..................
 *                 block ^ offset
 *
 * One block is in memory; what lies before `at` has been used. When more bytes are needed at once
 * than are left, the rest moves to the block's front and the block is filled again, whatever small
 * pieces the callback gives. Long texts do not pass through the block but go straight to where they
 * are wanted, in steps: a length that is a lie costs no more memory than bytes came. Each byte used
 * is added to the checksum once, a block's worth at a time.
 *
 * Why not map the file? A page that cannot be read would end the process with SIGBUS, and a pipe or
 * a replica's socket cannot be mapped.
 * Thread: owner of the reader. */
#include "source.h"

#include <errno.h>

#include "crc64.h"
#include "splitring/base/mem.h"

#define TAKE_FIRST (1u << 20) /* memory given to a text before any of it has come */

void rdb_source_init(struct rdb_source *src, struct rdb_reader *r)
{
    src->block = mem_alloc(RDB_BLOCK);
    src->summed = src->block;
    *r = (struct rdb_reader){.at = src->block, .end = src->block, .source = src};
}

void rdb_source_deinit(struct rdb_source *src)
{
    mem_free(src->block);
    mem_free(src->packed);
    src->block = src->packed = NULL;
}

uint64_t rdb_offset(const struct rdb_reader *r)
{
    return r->source->offset + (uint64_t)(r->at - r->source->block);
}

uint64_t rdb_crc(struct rdb_reader *r)
{
    struct rdb_source *src = r->source;
    src->crc = crc64(src->crc, src->summed, (size_t)(r->at - src->summed));
    src->summed = r->at;
    return src->crc;
}

size_t rdb_source_left(const struct rdb_reader *r)
{
    const struct rdb_source *src = r->source;
    uint64_t at = rdb_offset(r), here = (uint64_t)(r->end - r->at);
    if (src->ended) return here;
    if (src->size == UINT64_MAX) return SIZE_MAX;
    return src->size - at > here && src->size > at ? src->size - at : here;
}

/* Up to len bytes; 0: the end, or an error that has been noted. */
static size_t read_some(struct rdb_reader *r, char *to, size_t len)
{
    struct rdb_source *src = r->source;
    if (src->ended) return 0;
    ssize_t got = src->read(src->ctx, to, len);
    if (got <= 0) src->ended = true;
    if (got < 0 && !r->error) r->error = (int)got;
    return got > 0 ? (size_t)got : 0;
}

bool rdb_source_need(struct rdb_reader *r, size_t len)
{
    struct rdb_source *src = r->source;
    if (len > RDB_BLOCK) return false;
    (void)rdb_crc(r);
    size_t have = (size_t)(r->end - r->at), got;
    src->offset += (uint64_t)(r->at - src->block);
    if (have && r->at != src->block) memmove(src->block, r->at, have);
    while (have < RDB_BLOCK && (got = read_some(r, src->block + have, RDB_BLOCK - have)) > 0) {
        have += got;
    }
    r->at = src->summed = src->block;
    r->end = src->block + have;
    if (have >= len && !r->error) return true;
    src->cut_short = true;
    return false;
}

/* The next len bytes, copied: from the block while it lasts, then past it. */
static bool read_exactly(struct rdb_reader *r, char *to, size_t len)
{
    struct rdb_source *src = r->source;
    while (len > 0) {
        size_t here = (size_t)(r->end - r->at), got = here < len ? here : len;
        if (got == 0 && len < RDB_BLOCK) {
            if (!rdb_source_need(r, 1)) return rdb_bad(r);
            continue;
        }
        if (got > 0) {
            memcpy(to, r->at, got);
            r->at += got;
        } else {
            (void)rdb_crc(r);
            got = read_some(r, to, len);
            src->cut_short |= got == 0;
            if (got == 0) return rdb_bad(r);
            src->crc = crc64(src->crc, to, got);
            src->offset += (uint64_t)(r->at - src->block) + got;
            r->at = r->end = src->summed = src->block;
        }
        to += got;
        len -= got;
    }
    return true;
}

bool rdb_source_take(struct rdb_reader *r, char **room, size_t *room_len, uint64_t len)
{
    if (r->error) return false;
    if (len > rdb_left(r)) {
        r->source->cut_short = true;
        return rdb_bad(r);
    }
    bool sure = r->source->size != UINT64_MAX;
    for (size_t have = 0; have < len;) {
        size_t until = sure ? len : have * 2 < TAKE_FIRST ? TAKE_FIRST : have * 2;
        if (until > len) until = len;
        if (until > *room_len) {
            char *more = mem_try_realloc(*room, until);
            if (!more) return rdb_no_memory(r);
            *room = more;
            *room_len = until;
        }
        if (!read_exactly(r, *room + have, until - have)) return false;
        have = until;
    }
    return true;
}

bool rdb_skip_raw(struct rdb_reader *r, uint64_t len)
{
    if (r->error) return false;
    for (;;) {
        size_t here = (size_t)(r->end - r->at);
        if (here >= len) break;
        r->at = r->end;
        len -= here;
        if (!r->source || !rdb_source_need(r, 1)) return rdb_bad(r);
    }
    r->at += len;
    return true;
}
