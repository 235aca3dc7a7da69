/* Values in the format of RDB: what DUMP gives and RESTORE takes, and what snapshots are made of.
 *
 * Versions: 10 is Redis 7.0, 11 is 7.2 (sets as listpacks, streams with active times), 12 is 7.4
 * and 8.0 (fields with a TTL), 80 is Valkey 9. A payload ends with its version and a CRC-64.
 * Thread: holder of the shard. */
#ifndef SPLITRING_PERSIST_RDB_H
#define SPLITRING_PERSIST_RDB_H

#include "splitring/keyspace/object.h"

#define RDB_E_FORMAT 1  /* no value of ours: damaged, hostile, of a module */
#define RDB_E_PAYLOAD 2 /* wrong checksum, or of a version that is not known */

/* What decides about encodings when a value is built: Redis' directives of these names. */
struct rdb_limits {
    uint64_t hash_max_listpack_entries, hash_max_listpack_value;
    uint64_t set_max_intset_entries, set_max_listpack_entries, set_max_listpack_value;
    uint64_t zset_max_listpack_entries, zset_max_listpack_value;
    int64_t list_max_listpack_size;
};

/* A value that was read, of no key yet. {0}: none. */
struct rdb_value {
    enum value_type type;
    enum form form;        /* not of strings */
    struct buf bytes;      /* of a string or a packed value */
    struct object *object; /* FORM_OBJECT */
};
void rdb_value_deinit(struct rdb_value *v, struct shard *shard);

/* Appends type byte and value. version: the newest that the reader knows, 10 or more; where a value
 * needs a newer one it is written in that. Returns the version needed. */
unsigned rdb_save(const struct entry *e, unsigned version, bool compress, struct buf *out);
/* Appends the payload of DUMP. */
void rdb_dump(const struct entry *e, bool compress, struct buf *out);

/* Reads a value for a key of this shard: 0, RDB_E_*, -ENOMEM. The bytes may be anything: time is
 * O(their length × LZF's ratio), and nothing is allocated for what is merely claimed. */
int rdb_restore(struct shard *shard, struct slice payload, const struct rdb_limits *limits,
                struct rdb_value *v) WARN_UNUSED;
/* Puts it under a key (replacing what is there); v is empty then. 0 or -ENOMEM (v stays). */
int rdb_value_put(struct ks *ks, struct slice key, struct rdb_value *v,
                  instant_ms expire) WARN_UNUSED;

#endif
