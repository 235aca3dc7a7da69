/* From a value to RDB.
 *
 * The types are those of version 10 (Redis 7.0) wherever they tell the whole value: every server
 * since then reads them, and a payload is the one that redis-server 7.0 would have made. Newer ones
 * are used where the reader knows them, or where there is no older one: fields with a TTL.
 * Thread: holder of the shard. */
#include "crc64.h"
#include "types.h"

static void save_string(struct rdb_writer *w, const struct entry *e)
{
    int64_t number;
    char scratch[ENTRY_SCRATCH];
    rdb_put_type(w, RDB_STRING, RDB_VERSION_LEAST);
    if (entry_is_int(e, &number)) {
        rdb_put_int(w, number);
    } else {
        rdb_put_text(w, entry_string(e, scratch));
    }
}

void save_value(struct rdb_writer *w, const struct entry *e)
{
    switch (entry_type(e)) {
    case TYPE_STRING: save_string(w, e); break;
    case TYPE_LIST: save_list(w, e); break;
    case TYPE_SET: save_set(w, e); break;
    case TYPE_ZSET: save_zset(w, e); break;
    case TYPE_HASH: save_hash(w, e); break;
    case TYPE_STREAM: save_stream(w, e); break;
    }
}

unsigned rdb_save(const struct entry *e, unsigned version, bool compress, struct buf *out)
{
    struct rdb_writer w;
    rdb_writer_init(&w, out, version, compress);
    save_value(&w, e);
    rdb_writer_deinit(&w);
    return w.version_used;
}

void rdb_put_footer(struct buf *out, size_t begin, unsigned version)
{
    uint16_t number = (uint16_t)version;
    buf_append(out, &number, sizeof(number));
    if (out->failed) return;
    uint64_t crc = crc64(0, out->ptr + begin, out->len - begin);
    buf_append(out, &crc, sizeof(crc));
}

void rdb_dump(const struct entry *e, bool compress, struct buf *out)
{
    size_t begin = out->len;
    unsigned version = rdb_save(e, RDB_VERSION_LEAST, compress, out);
    rdb_put_footer(out, begin, version);
}
