/* LZF, the compression inside RDB strings.
 * Thread: any (pure). */
#ifndef SPLITRING_PERSIST_LZF_INNER_H
#define SPLITRING_PERSIST_LZF_INNER_H

#include "splitring/base/slice.h"

#define LZF_TABLE_SLOTS ((size_t)1 << 16)
#define LZF_TABLE_LEN (LZF_TABLE_SLOTS * sizeof(uint32_t))
#define LZF_RATIO_MAX 88u /* no input makes more than 88 times its length: 264 bytes from 3 */

/* Compresses `in` into at most `room` bytes; 0: they do not suffice. The bytes are those that
 * liblzf 3.6 (and with it Redis) writes. table: LZF_TABLE_LEN bytes of scratch, contents free. */
size_t lzf_compress(struct slice in, char *out, size_t room, uint32_t *table);
/* True if `in` is sound and makes exactly len bytes. */
bool lzf_decompress(struct slice in, char *out, size_t len);

#endif
