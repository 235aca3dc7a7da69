/* Digests of values and data sets: equal data gives equal digests, whatever its order in memory,
 * its encoding or its shards; and the same that Redis' DEBUG DIGEST shows.
 * Source: redis src/debug.c, xorObjectDigest and computeDatasetDigest
 * Thread: holder of the shard(s). */
#ifndef SPLITRING_CMD_DIGEST_H
#define SPLITRING_CMD_DIGEST_H

#include "splitring/base/sha1.h"
#include "splitring/keyspace/keyspace.h"

struct digest {
    uint8_t bytes[SHA1_LEN];
};

/* In any order: adds something to a bag. */
void digest_add(struct digest *d, struct slice text);
/* In order: what came before matters. */
void digest_mix(struct digest *d, struct slice text);
/* The value and whether it has a TTL, mixed into d. */
void digest_value(struct digest *d, const struct entry *e);
/* A key and its value, added to the bag of its database (as it lies in this shard). */
void digest_add_key(struct digest *d, const struct entry *e);
/* Databases one after the other: those with keys; bag: all shards' bags of it, xored. */
void digest_mix_db(struct digest *d, db_id db, const struct digest *bag);
static inline void digest_xor(struct digest *d, const struct digest *other)
{
    for (unsigned i = 0; i < SHA1_LEN; i++) d->bytes[i] ^= other->bytes[i];
}

#endif
