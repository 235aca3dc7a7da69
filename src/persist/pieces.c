/* A big value written piece by piece, as a snapshot tells it (keyspace/snapshot.h): type and number
 * of pieces first, then the pieces.
 *
 * The types are those that list their elements one by one, in any order where order means nothing:
 *
 *   0   a string      length, bytes as they are
 *   2   a set         count, members
 *   4   a hash        count, (field, value);  24 where a field has a TTL: lowest expiry, count,
 *                     (ttl, field, value). The lowest need not be exact, all TTLs are told from it
 *   5   a sorted set  count, (member, score as 8 bytes)
 *   18  a list        count of nodes, (kind, bytes)
 *   19, 21  a stream  in the order of its pieces (rdb_stream.c)
 *
 *   11, 16, 17, 20, 25  what is packed: length, bytes as they lie (after 25 the lowest expiry)
 *
 * Texts above 64 KiB are not compressed: nobody waits for that in the middle of a slice.
 * All readers sort and hash what they read, so a value comes out as it was at the cut.
 * Thread: owner of the writer; holder of the shard. */
#include "splitring/base/check.h"
#include "splitring/keyspace/snapshot.h"
#include "types.h"

enum { NODE_PLAIN = 1, NODE_PACKED = 2 };

/* A packed collection comes like a string, whatever its form; true: it is one. */
static bool put_packed_type(struct rdb_writer *w, enum value_type type, enum form form,
                            instant_ms lowest)
{
    if (form == FORM_OBJECT) return false;
    if (type == TYPE_ZSET) {
        rdb_put_type(w, RDB_ZSET_LISTPACK, RDB_VERSION_LEAST);
    } else if (type == TYPE_SET) {
        if (form == FORM_INTSET) rdb_put_type(w, RDB_SET_INTSET, RDB_VERSION_LEAST);
        else rdb_put_type(w, RDB_SET_LISTPACK, 11);
    } else if (form == FORM_LISTPACK) {
        rdb_put_type(w, RDB_HASH_LISTPACK, RDB_VERSION_LEAST);
    } else {
        rdb_put_type(w, RDB_HASH_LISTPACK_EX, 12);
        rdb_put_u64(w, lowest == EXPIRE_NONE ? 0 : (uint64_t)lowest);
    }
    return true;
}

void put_pieces_head(struct rdb_writer *w, const struct entry *e, uint64_t count,
                     instant_ms lowest)
{
    enum value_type type = entry_type(e);
    if (type != TYPE_STRING && put_packed_type(w, type, entry_form(e), lowest)) {
        rdb_put_len(w, count);
        return;
    }
    switch (type) {
    case TYPE_STRING: rdb_put_type(w, RDB_STRING, RDB_VERSION_LEAST); break;
    case TYPE_SET: rdb_put_type(w, RDB_SET, RDB_VERSION_LEAST); break;
    case TYPE_ZSET: rdb_put_type(w, RDB_ZSET_2, RDB_VERSION_LEAST); break;
    case TYPE_LIST: rdb_put_type(w, RDB_LIST_QUICKLIST_2, RDB_VERSION_LEAST); break;
    case TYPE_HASH:
        if (lowest == EXPIRE_NONE) {
            rdb_put_type(w, RDB_HASH, RDB_VERSION_LEAST);
        } else {
            rdb_put_type(w, RDB_HASH_METADATA, 12);
            rdb_put_u64(w, (uint64_t)lowest);
        }
        break;
    case TYPE_STREAM: return; /* its first piece has what the type depends on */
    default: check(false);    /* there are no more */
    }
    rdb_put_len(w, count);
}

/* A slice does not wait for the compression of a long one (some ms per MiB). */
static void put_text(struct rdb_writer *w, struct slice text)
{
    if (text.len <= SNAPSHOT_BIG) rdb_put_text(w, text);
    else rdb_put_text_plain(w, text);
}

static void put_field(struct rdb_writer *w, instant_ms lowest, const struct snapshot_part *part)
{
    if (lowest != EXPIRE_NONE) {
        bool lives = part->expire == EXPIRE_NONE;
        rdb_put_len(w, lives ? 0 : (uint64_t)(part->expire - lowest) + 1);
    }
    put_text(w, part->text);
    put_text(w, part->value);
}

static void put_member(struct rdb_writer *w, struct slice text)
{
    struct set_member m;
    set_member_text(&m, text);
    if (set_member_is_number(&m)) rdb_put_int(w, m.number);
    else put_text(w, text);
}

void put_piece(struct rdb_writer *w, enum value_type type, instant_ms lowest,
               const struct snapshot_part *part)
{
    uint64_t bits;
    if (part->packed) {
        rdb_put_raw(w, part->text.ptr, part->text.len);
        return;
    }
    switch (type) {
    case TYPE_STRING: rdb_put_raw(w, part->text.ptr, part->text.len); break;
    case TYPE_SET: put_member(w, part->text); break;
    case TYPE_HASH: put_field(w, lowest, part); break;
    case TYPE_LIST:
        rdb_put_len(w, part->plain ? NODE_PLAIN : NODE_PACKED);
        put_text(w, part->text);
        break;
    case TYPE_ZSET:
        memcpy(&bits, &part->score, sizeof(bits));
        put_text(w, part->text);
        rdb_put_u64(w, bits);
        break;
    case TYPE_STREAM: put_stream_piece(w, part->stream); break;
    default: check(false); /* there are no more */
    }
}
