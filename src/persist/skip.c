/* Passing over a value without making it: what a worker does with the keys of other shards, and a
 * tool with what it only counts.
 *
 * The form is followed as far as lengths go; what lies inside packed blocks and compressed texts is
 * not looked at. Whoever takes the value judges it.
 * Thread: owner of the reader. */
#include "types.h"

#define ID_LEN 16u
#define U64_LEN 8u

static bool skip_len(struct rdb_reader *r)
{
    uint64_t len;
    return rdb_get_len(r, &len);
}

static bool skip_lens(struct rdb_reader *r, unsigned count)
{
    while (count > 0 && skip_len(r)) count--;
    return count == 0;
}

/* count times: `texts` strings, then `more` bytes. */
static bool skip_items(struct rdb_reader *r, uint64_t count, unsigned texts, size_t more)
{
    for (; count > 0; count--) {
        for (unsigned i = 0; i < texts; i++) {
            if (!rdb_skip_text(r)) return false;
        }
        if (more && !rdb_skip_raw(r, more)) return false;
    }
    return true;
}

static bool skip_counted(struct rdb_reader *r, unsigned texts, size_t more)
{
    uint64_t count;
    return rdb_get_count(r, texts + more, &count) && skip_items(r, count, texts, more);
}

static bool skip_old_scores(struct rdb_reader *r)
{
    enum { OLD_NAN = 253 };
    uint64_t count;
    uint8_t len;
    if (!rdb_get_count(r, 2, &count)) return false;
    for (; count > 0; count--) {
        if (!rdb_skip_text(r) || !rdb_get_byte(r, &len)) return false;
        if (len < OLD_NAN && !rdb_skip_raw(r, len)) return false;
    }
    return true;
}

/* Each begins with a length: a list's nodes, a hash's fields with TTL. */
static bool skip_marked(struct rdb_reader *r, unsigned texts)
{
    uint64_t count;
    if (!rdb_get_count(r, texts + 1, &count)) return false;
    for (; count > 0; count--) {
        if (!skip_len(r) || !skip_items(r, 1, texts, 0)) return false;
    }
    return true;
}

static bool skip_group(struct rdb_reader *r, unsigned type)
{
    uint64_t count;
    if (!rdb_skip_text(r) || !skip_lens(r, type == RDB_STREAM_LISTPACKS ? 2 : 3)) return false;
    if (!rdb_get_count(r, ID_LEN + U64_LEN + 1, &count)) return false;
    for (; count > 0; count--) {
        if (!rdb_skip_raw(r, ID_LEN + U64_LEN) || !skip_len(r)) return false;
    }
    if (!rdb_get_count(r, U64_LEN + 2, &count)) return false;
    for (; count > 0; count--) {
        size_t times = type == RDB_STREAM_LISTPACKS_3 ? 2 * U64_LEN : U64_LEN;
        if (!rdb_skip_text(r) || !rdb_skip_raw(r, times)) return false;
        if (!skip_counted(r, 0, ID_LEN)) return false;
    }
    return true;
}

static bool skip_stream(struct rdb_reader *r, unsigned type)
{
    uint64_t count;
    if (!skip_counted(r, 2, 0)) return false;
    if (!skip_lens(r, type == RDB_STREAM_LISTPACKS ? 3 : 8)) return false;
    if (!rdb_get_count(r, 5, &count)) return false;
    while (count > 0 && skip_group(r, type)) count--;
    return count == 0;
}

bool skip_value(struct rdb_reader *r, unsigned type)
{
    switch (type) {
    case RDB_STRING:
    case RDB_HASH_ZIPMAP:
    case RDB_LIST_ZIPLIST:
    case RDB_SET_INTSET:
    case RDB_ZSET_ZIPLIST:
    case RDB_HASH_ZIPLIST:
    case RDB_HASH_LISTPACK:
    case RDB_ZSET_LISTPACK:
    case RDB_SET_LISTPACK:
    case RDB_HASH_LISTPACK_EX_PRE_GA: return rdb_skip_text(r);
    case RDB_HASH_LISTPACK_EX: return rdb_skip_raw(r, U64_LEN) && rdb_skip_text(r);
    case RDB_LIST:
    case RDB_SET:
    case RDB_LIST_QUICKLIST: return skip_counted(r, 1, 0);
    case RDB_HASH: return skip_counted(r, 2, 0);
    case RDB_ZSET: return skip_old_scores(r);
    case RDB_ZSET_2: return skip_counted(r, 1, U64_LEN);
    case RDB_LIST_QUICKLIST_2: return skip_marked(r, 1);
    case RDB_HASH_METADATA: return rdb_skip_raw(r, U64_LEN) && skip_marked(r, 2);
    case RDB_HASH_METADATA_PRE_GA: return skip_marked(r, 2);
    case RDB_HASH_2: return skip_counted(r, 2, U64_LEN);
    case RDB_STREAM_LISTPACKS:
    case RDB_STREAM_LISTPACKS_2:
    case RDB_STREAM_LISTPACKS_3: return skip_stream(r, type);
    default: return rdb_bad(r);
    }
}
