/* What the files of the bitmap group share.
 * Thread: holder of the call's shards. */
#ifndef SPLITRING_CMD_BITMAP_IMPL_H
#define SPLITRING_CMD_BITMAP_IMPL_H

#include "cmd/string_impl.h"

/* A bit offset within proto-max-bulk-len. width > 0: "#n" is taken as n * width (BITFIELD).
 * False: the error is written. */
bool bit_offset(struct call *c, int i, unsigned width, uint64_t *out);

#endif
