/* The numbers of RDB's opcodes and value types, and what the readers and writers of each type
 * share.
 * Thread: holder of the shard. */
#ifndef SPLITRING_PERSIST_TYPES_INNER_H
#define SPLITRING_PERSIST_TYPES_INNER_H

#include "elements.h"

/* What stands before the records of a dump. */
enum rdb_opcode {
    OP_SLOT_IMPORT = 243, /* Valkey 9: a move of slots between nodes that was under way */
    OP_SLOT_INFO = 244,
    OP_FUNCTION = 245,
    OP_FUNCTION_PRE_GA = 246,
    OP_MODULE_AUX = 247,
    OP_IDLE = 248,
    OP_FREQ = 249,
    OP_AUX = 250,
    OP_SIZES = 251,
    OP_EXPIRE_MS = 252,
    OP_EXPIRE_S = 253,
    OP_DB = 254,
    OP_END = 255
};

enum rdb_type {
    RDB_STRING = 0,
    RDB_LIST = 1,
    RDB_SET = 2,
    RDB_ZSET = 3,   /* scores as text */
    RDB_HASH = 4,
    RDB_ZSET_2 = 5, /* scores as 8 bytes */
    RDB_HASH_ZIPMAP = 9,
    RDB_LIST_ZIPLIST = 10,
    RDB_SET_INTSET = 11,
    RDB_ZSET_ZIPLIST = 12,
    RDB_HASH_ZIPLIST = 13,
    RDB_LIST_QUICKLIST = 14, /* of ziplists */
    RDB_STREAM_LISTPACKS = 15,
    RDB_HASH_LISTPACK = 16,
    RDB_ZSET_LISTPACK = 17,
    RDB_LIST_QUICKLIST_2 = 18,
    RDB_STREAM_LISTPACKS_2 = 19, /* entries-added, first id, entries-read */
    RDB_SET_LISTPACK = 20,
    RDB_STREAM_LISTPACKS_3 = 21, /* active time of consumers */
    RDB_HASH_METADATA_PRE_GA = 22, /* field TTLs, absolute; Valkey: RDB_HASH_2 */
    RDB_HASH_LISTPACK_EX_PRE_GA = 23,
    RDB_HASH_METADATA = 24, /* field TTLs, from the lowest on */
    RDB_HASH_LISTPACK_EX = 25,
    RDB_HASH_2 = 22 + 256, /* Valkey's 22: told from Redis' by the version */
};

/* A value being read. */
struct loading {
    struct rdb_reader r;
    struct ks *ks;
    struct slice key; /* the value is made in its shard */
    struct shard *shard;
    const struct rdb_limits *limits;
    struct rdb_value *value;
};

/* Texts that were seen before, by a hash of 64 bits: never misses one, and takes a stranger for one
 * with a chance of n² / 2^65. For packed values; objects find duplicates by themselves. */
struct seen {
    uint64_t *slots; /* `few`, then a block; NULL: none yet */
    size_t mask, count;
    uint64_t seed;
    uint64_t few[64];
};
void seen_deinit(struct seen *seen);
/* True if it is new; otherwise an error is noted in r. */
bool seen_add(struct seen *seen, struct rdb_reader *r, struct slice text);

/* The type that a byte means in a file or payload of this version; UINT32_MAX: none. */
unsigned type_of_byte(unsigned version, unsigned byte);
bool version_known(unsigned version);
/* Of a stream that is told in pieces; the first one writes the type and the key. */
struct stream_piece;
void put_stream_piece(struct rdb_writer *w, const struct stream_piece *piece);
/* Whatever its type; as below. */
bool load_value(struct loading *l, unsigned type);
/* The same value is passed over. */
bool skip_value(struct rdb_reader *r, unsigned type);
/* Whatever its type: type byte (then w->key, if it is due) and value. */
void save_value(struct rdb_writer *w, const struct entry *e);

/* A value in pieces (keyspace/snapshot.h): type byte and count, then each piece. */
struct snapshot_part;
void put_pieces_head(struct rdb_writer *w, const struct entry *e, uint64_t count,
                     instant_ms lowest);
void put_piece(struct rdb_writer *w, enum value_type type, instant_ms lowest,
               const struct snapshot_part *part);

/* Readers: false: l->r.error says why; what was built so far is freed or hangs on l->value. */
bool load_list(struct loading *l, unsigned type);
bool load_set(struct loading *l, unsigned type);
bool load_zset(struct loading *l, unsigned type);
bool load_hash(struct loading *l, unsigned type);
bool load_stream(struct loading *l, unsigned type);

/* Writers: type byte and value. */
void save_list(struct rdb_writer *w, const struct entry *e);
void save_set(struct rdb_writer *w, const struct entry *e);
void save_zset(struct rdb_writer *w, const struct entry *e);
void save_hash(struct rdb_writer *w, const struct entry *e);
void save_stream(struct rdb_writer *w, const struct entry *e);

#endif
