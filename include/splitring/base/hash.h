/* Hashes: CRC16 of Redis Cluster for the slot, seeded XXH3 (libxxhash) for tables.
 * Thread: any (pure). */
#ifndef SPLITRING_BASE_HASH_H
#define SPLITRING_BASE_HASH_H

#include "splitring/base/slice.h"

/* CRC16-CCITT (XMODEM), slicing by 8. Source: Redis Cluster specification, appendix A. */
uint16_t hash_crc16(const char *ptr, size_t len);
/* Slot of a key: CRC16 of its hash tag mod 16384; "{}" rules of the specification. */
uint16_t hash_slot(struct slice key);
/* 64-bit, seeded from rng at start so that clients cannot aim at one bucket. */
uint64_t hash_key(struct slice key, uint64_t seed);

#endif
