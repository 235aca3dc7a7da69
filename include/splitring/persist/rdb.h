/* Values in the format of RDB: what DUMP gives and RESTORE takes, and what snapshots are made of.
 *
 * Versions: 10 is Redis 7.0, 11 is 7.2 (sets as listpacks, streams with active times), 12 is 7.4
 * and 8.0 (fields with a TTL), 80 is Valkey 9. A payload ends with its version and a CRC-64.
 * Thread: holder of the shard. */
#ifndef SPLITRING_PERSIST_RDB_H
#define SPLITRING_PERSIST_RDB_H

#include "splitring/keyspace/hash.h"
#include "splitring/keyspace/list.h"
#include "splitring/keyspace/set.h"
#include "splitring/keyspace/stream.h"
#include "splitring/keyspace/zset.h"
#include "splitring/persist/functions.h"

/* What decides about encodings when a value is built. */
struct rdb_limits {
    struct hash_limits hash;
    struct set_limits set;
    struct zset_limits zset;
    int32_t list_fill;
};

/* A value that was read and is under no key yet. It must not be moved. */
struct rdb_value {
    enum value_type type;
    enum {
        RDB_NOTHING,
        RDB_BYTES,  /* of a string, or packed in `form` */
        RDB_OBJECT,
        RDB_SET_EDIT,
        RDB_ZSET_TREE,
        RDB_LIST_BUILD
    } held;
    enum form form;
    struct buf bytes;
    union {
        struct object *object;
        struct set_edit set;
        struct zset *zset;
        struct list_build list;
    };
    const struct rdb_limits *limits;
};

/* Appends type byte and value. version: the newest that the reader knows, 10 or more; where a value
 * needs a newer one it is written in that. Returns the version of what was written: 10 at least. */
unsigned rdb_save(const struct entry *e, unsigned version, bool compress, struct buf *out);
/* Appends the payload of DUMP. */
void rdb_dump(const struct entry *e, bool compress, struct buf *out);

/* Reads a value that is to live under this key: 0, RDB_E_*, -ENOMEM (nothing is held then). The
 * bytes may be anything: time is O(their length × LZF's ratio), and nothing is allocated for what
 * is merely claimed. limits must stay as long as the value does. */
int rdb_restore(struct ks *ks, struct slice key, struct slice payload,
                const struct rdb_limits *limits, struct rdb_value *v) WARN_UNUSED;
/* Puts it under that key, replacing what is there. 0 or -ENOMEM (the key is as it was). The value
 * is spent in any case. */
int rdb_value_put(struct rdb_value *v, struct ks *ks, struct slice key,
                  instant_ms expire) WARN_UNUSED;
void rdb_value_drop(struct rdb_value *v, struct ks *ks, struct slice key);

#endif
