/* CRC-64 of RDB files and DUMP payloads: "Jones", reflected, no inversion; 0 to begin with.
 * Thread: any (pure). */
#ifndef SPLITRING_PERSIST_CRC64_INNER_H
#define SPLITRING_PERSIST_CRC64_INNER_H

#include "splitring/base/slice.h"

uint64_t crc64(uint64_t crc, const char *ptr, size_t len);
/* What crc becomes when `len` zero bytes follow; O(log len). */
uint64_t crc64_zeros(uint64_t crc, uint64_t len);

#endif
