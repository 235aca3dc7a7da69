/* Intset: a sorted run of integers in one block of bytes, in the layout of Redis, so that DUMP and
 * snapshots copy it as it is.
 *
 *   width u32 (2, 4 or 8) | count u32 | count little-endian integers of that width, rising
 *
 * The width is that of the widest integer there ever was: it grows with an insertion and never
 * shrinks, as in Redis. An editable intset is a struct lp (listpack.h), whose resize makes room: it
 * can lie in an entry (packed_open) or on the heap.
 * Source: redis src/intset.c is the reference for the layout.
 * Thread: owner. */
#ifndef SPLITRING_DATA_INTSET_H
#define SPLITRING_DATA_INTSET_H

#include "splitring/data/listpack.h"

#define INTSET_HEADER 8u
#define INTSET_EMPTY_LEN 8u
#define INTSET_COUNT_MAX (1u << 27) /* a larger one counts as no memory */

/* ---- reading: bytes is a valid intset, or an empty one ---- */

size_t intset_len(const char *bytes); /* bytes of the whole */
uint32_t intset_count(const char *bytes);
int64_t intset_get(const char *bytes, uint32_t index); /* index < count; rising */
/* *index (if not NULL): where it is, or where it would be inserted. */
bool intset_find(const char *bytes, int64_t value, uint32_t *index);

/* ---- editing ---- */

void intset_init(char *bytes); /* writes an empty one into INTSET_EMPTY_LEN bytes */
/* 1: added. 0: it was there. -ENOMEM: nothing has changed. */
int intset_add(struct lp *block, int64_t value) WARN_UNUSED;
bool intset_remove(struct lp *block, int64_t value); /* false: it was not there. Never fails */
void intset_remove_at(struct lp *block, uint32_t index, uint32_t count); /* all must be there */

/* ---- outside data ---- */

/* True if the bytes are one valid intset with at least one member, from first to last byte. */
bool intset_valid(struct slice bytes);

#endif
