/* Streams in RDB.
 *
 *   15  count of nodes, (master id as a text of 16 bytes, big endian; listpack)
 *       length, last id (ms, seq)
 *       count of groups, (name, last id,
 *           count of pending, (id as 16 bytes, delivered u64, deliveries),
 *           count of consumers, (name, seen u64, count of pending, (id as 16 bytes)))
 *   19  and after the last id: first id, greatest deleted id, entries added;
 *       after a group's last id: entries read
 *   21  and after a consumer's seen time: active time u64
 *
 * What is pending for a consumer must be pending in its group, and everything pending in a group
 * must be somebody's. Names come in order, as every server writes them: so duplicates are found and
 * no hostile order makes insertion slow.
 * Thread: holder of the shard. */
#include <errno.h>

#include "splitring/keyspace/snapshot.h"
#include "types.h"

#define ID_LEN 16u

/* ---- writing ---- */

static void id_bytes(char out[ID_LEN], struct stream_id id)
{
    uint64_t ms = __builtin_bswap64(id.ms), seq = __builtin_bswap64(id.seq);
    memcpy(out, &ms, sizeof(ms));
    memcpy(out + sizeof(ms), &seq, sizeof(seq));
}

static void put_raw_id(struct rdb_writer *w, struct stream_id id)
{
    char bytes[ID_LEN];
    id_bytes(bytes, id);
    rdb_put_raw(w, bytes, sizeof(bytes));
}

static void put_id(struct rdb_writer *w, struct stream_id id)
{
    rdb_put_len(w, id.ms);
    rdb_put_len(w, id.seq);
}

static void put_node(struct rdb_writer *w, struct stream_id master, struct slice listpack)
{
    char bytes[ID_LEN];
    id_bytes(bytes, master);
    rdb_put_text(w, slice_of(bytes, sizeof(bytes)));
    rdb_put_text(w, listpack);
}

static void put_nodes(struct rdb_writer *w, const struct stream *s)
{
    struct blocks_cursor c;
    rdb_put_len(w, s->nodes.blocks);
    for (blocks_first(&s->nodes, &c); c.block; blocks_next(&s->nodes, &c)) {
        put_node(w, (struct stream_id){c.block->key.high, c.block->key.low},
                 slice_of(c.block->bytes, lp_len(c.block->bytes)));
    }
}

static void put_nack(struct rdb_writer *w, const struct stream_nack *nack)
{
    put_raw_id(w, nack->id);
    rdb_put_u64(w, (uint64_t)nack->delivered);
    rdb_put_len(w, nack->deliveries);
}

static void put_consumer(struct rdb_writer *w, const struct stream_group *g,
                         const struct stream_consumer *consumer, bool active)
{
    struct stream_pending walk;
    const struct stream_id *id;
    rdb_put_text(w, stream_consumer_name(consumer));
    rdb_put_u64(w, (uint64_t)consumer->seen);
    if (active) rdb_put_u64(w, (uint64_t)consumer->active);
    rdb_put_len(w, consumer->pending.count);
    stream_pending_seek(&walk, g, consumer, STREAM_ID_MIN);
    while ((id = stream_pending_next(&walk)) != NULL) put_raw_id(w, *id);
}

static void put_group(struct rdb_writer *w, const struct stream_group *g, bool active)
{
    struct stream_pending walk;
    const struct stream_nack *nack;
    rdb_put_text(w, stream_group_name(g));
    put_id(w, g->last_id);
    rdb_put_len(w, (uint64_t)g->entries_read);
    rdb_put_len(w, stream_group_pending(g));
    stream_pending_seek(&walk, g, NULL, STREAM_ID_MIN);
    while ((nack = stream_pending_next(&walk)) != NULL) put_nack(w, nack);
    rdb_put_len(w, g->consumer_count);
    for (uint32_t i = 0; i < g->consumer_count; i++) put_consumer(w, g, g->consumers[i], active);
}

/* Consumers are all that version 11 tells more about: without any, 10 reads it, too. */
static bool has_consumers(const struct stream *s)
{
    for (uint32_t i = 0; i < s->group_count; i++) {
        if (s->groups[i]->consumer_count) return true;
    }
    return false;
}

static bool has_active(const struct rdb_writer *w, bool consumers)
{
    return (w->exact || w->version >= 11) && consumers;
}

static void put_type(struct rdb_writer *w, bool active)
{
    if (active) rdb_put_type(w, RDB_STREAM_LISTPACKS_3, 11);
    else rdb_put_type(w, RDB_STREAM_LISTPACKS_2, RDB_VERSION_LEAST);
}

void save_stream(struct rdb_writer *w, const struct entry *e)
{
    const struct stream *s = stream_of(e);
    bool active = has_active(w, has_consumers(s));
    put_type(w, active);
    put_nodes(w, s);
    rdb_put_len(w, stream_len(s));
    put_id(w, s->last_id);
    put_id(w, s->first_id);
    put_id(w, s->max_deleted_id);
    rdb_put_len(w, s->entries_added);
    rdb_put_len(w, s->group_count);
    for (uint32_t i = 0; i < s->group_count; i++) put_group(w, s->groups[i], active);
}

/* ---- writing in pieces ---- */

static void put_records(struct rdb_writer *w, const struct stream_piece *piece)
{
    const char *at = piece->text.ptr;
    for (uint64_t i = 0; i < piece->count; i++) {
        struct stream_nack nack;
        struct stream_id id;
        if (piece->kind == STREAM_PIECE_PENDING) {
            memcpy(&nack, at + i * sizeof(nack), sizeof(nack));
            put_nack(w, &nack);
        } else {
            memcpy(&id, at + i * sizeof(id), sizeof(id));
            put_raw_id(w, id);
        }
    }
}

static void put_piece_head(struct rdb_writer *w, const struct stream_piece *piece)
{
    rdb_put_len(w, piece->len);
    put_id(w, piece->id);
    put_id(w, piece->first_id);
    put_id(w, piece->max_deleted_id);
    rdb_put_len(w, piece->entries_added);
    rdb_put_len(w, piece->count);
}

/* As in pieces.c: not compressed. */
static void put_long_node(struct rdb_writer *w, const struct stream_piece *piece)
{
    char bytes[ID_LEN];
    id_bytes(bytes, piece->id);
    rdb_put_text(w, slice_of(bytes, sizeof(bytes)));
    rdb_put_text_plain(w, piece->text);
}

void put_stream_piece(struct rdb_writer *w, const struct stream_piece *piece)
{
    bool active = has_active(w, piece->consumers);
    switch (piece->kind) {
    case STREAM_PIECE_BEGIN:
        put_type(w, active);
        rdb_put_len(w, piece->count);
        break;
    case STREAM_PIECE_NODE:
        if (piece->text.len <= SNAPSHOT_BIG) put_node(w, piece->id, piece->text);
        else put_long_node(w, piece);
        break;
    case STREAM_PIECE_HEAD: put_piece_head(w, piece); break;
    case STREAM_PIECE_GROUP:
        rdb_put_text(w, piece->text);
        put_id(w, piece->id);
        rdb_put_len(w, (uint64_t)piece->entries_read);
        rdb_put_len(w, piece->count);
        break;
    case STREAM_PIECE_CONSUMERS: rdb_put_len(w, piece->count); break;
    case STREAM_PIECE_CONSUMER:
        rdb_put_text(w, piece->text);
        rdb_put_u64(w, (uint64_t)piece->seen);
        if (active) rdb_put_u64(w, (uint64_t)piece->active);
        rdb_put_len(w, piece->count);
        break;
    case STREAM_PIECE_PENDING:
    case STREAM_PIECE_OWNED: put_records(w, piece); break;
    }
}

/* ---- reading ---- */

struct stream_loading {
    struct loading *l;
    struct rdb_reader *r;
    struct stream *s;
    bool offsets, active; /* types 19, 21 */
};

static bool check_rc(struct rdb_reader *r, int rc)
{
    if (rc == 0) return true;
    return rc == -ENOMEM ? rdb_no_memory(r) : rdb_bad(r);
}

static struct stream_id id_of(const char *bytes)
{
    uint64_t ms, seq;
    memcpy(&ms, bytes, sizeof(ms));
    memcpy(&seq, bytes + sizeof(ms), sizeof(seq));
    return (struct stream_id){__builtin_bswap64(ms), __builtin_bswap64(seq)};
}

static bool get_raw_id(struct rdb_reader *r, struct stream_id *id)
{
    const char *bytes;
    if (!rdb_get_raw(r, ID_LEN, &bytes)) return false;
    *id = id_of(bytes);
    return true;
}

static bool get_id(struct rdb_reader *r, struct stream_id *id)
{
    return rdb_get_len(r, &id->ms) && rdb_get_len(r, &id->seq);
}

static bool get_nodes(struct stream_loading *sl)
{
    struct rdb_reader *r = sl->r;
    struct rdb_text master = {0}, node = {0};
    uint64_t count;
    bool ok = rdb_get_count(r, 2, &count);
    while (ok && count-- > 0) {
        ok = rdb_get_text(r, &master) && rdb_get_text(r, &node);
        if (ok && master.s.len != ID_LEN) ok = rdb_bad(r);
        ok = ok && check_rc(r, stream_build_node(sl->s, id_of(master.s.ptr), node.s));
    }
    rdb_text_deinit(&master);
    rdb_text_deinit(&node);
    return ok;
}

static bool get_head(struct stream_loading *sl)
{
    struct stream *s = sl->s;
    uint64_t len;
    if (!rdb_get_len(sl->r, &len) || !get_id(sl->r, &s->last_id)) return false;
    if (len != stream_len(s)) return rdb_bad(sl->r);
    s->entries_added = len;
    if (!sl->offsets) return true;
    return get_id(sl->r, &s->first_id) && get_id(sl->r, &s->max_deleted_id) &&
           rdb_get_len(sl->r, &s->entries_added);
}

static bool get_pending(struct stream_loading *sl, struct stream_group *g)
{
    uint64_t count, delivered, deliveries;
    struct stream_id id;
    if (!rdb_get_count(sl->r, ID_LEN + 9, &count)) return false;
    while (count-- > 0) {
        if (!get_raw_id(sl->r, &id) || !rdb_get_u64(sl->r, &delivered) ||
            !rdb_get_len(sl->r, &deliveries)) {
            return false;
        }
        int rc = stream_build_nack(sl->s, g, id, (instant_ms)delivered, deliveries);
        if (!check_rc(sl->r, rc)) return false;
    }
    return true;
}

static bool get_owned(struct stream_loading *sl, struct stream_group *g,
                      struct stream_consumer *consumer)
{
    uint64_t count;
    struct stream_id id;
    if (!rdb_get_count(sl->r, ID_LEN, &count)) return false;
    while (count-- > 0) {
        if (!get_raw_id(sl->r, &id)) return false;
        if (!check_rc(sl->r, stream_build_owner(sl->s, g, id, consumer))) return false;
    }
    return true;
}

static bool get_consumer(struct stream_loading *sl, struct stream_group *g, struct rdb_text *name)
{
    uint64_t seen, active;
    if (!rdb_get_text(sl->r, name) || !rdb_get_u64(sl->r, &seen)) return false;
    active = seen;
    if (sl->active && !rdb_get_u64(sl->r, &active)) return false;
    if (g->consumer_count > 0) {
        const struct stream_consumer *last = g->consumers[g->consumer_count - 1];
        if (slice_compare(name->s, stream_consumer_name(last)) <= 0) return rdb_bad(sl->r);
    }
    struct stream_consumer *consumer = stream_consumer_add(sl->s, g, name->s, (instant_ms)seen);
    if (!consumer) return rdb_no_memory(sl->r);
    consumer->active = (instant_ms)active;
    return get_owned(sl, g, consumer);
}

static bool get_group(struct stream_loading *sl, struct rdb_text *name)
{
    struct stream_id last_id;
    uint64_t read = 0, consumers;
    if (!rdb_get_text(sl->r, name) || !get_id(sl->r, &last_id)) return false;
    if (sl->offsets && !rdb_get_len(sl->r, &read)) return false;
    int64_t entries_read = (int64_t)read;
    if (!sl->offsets) entries_read = stream_entries_up_to(sl->s, last_id);
    if (entries_read < STREAM_ENTRIES_READ_UNKNOWN) return rdb_bad(sl->r);
    if (sl->s->group_count > 0) {
        const struct stream_group *last = sl->s->groups[sl->s->group_count - 1];
        if (slice_compare(name->s, stream_group_name(last)) <= 0) return rdb_bad(sl->r);
    }
    struct stream_group *g = stream_group_add(sl->s, name->s, last_id, entries_read);
    if (!g) return rdb_no_memory(sl->r);
    if (!get_pending(sl, g) || !rdb_get_count(sl->r, 10, &consumers)) return false;
    while (consumers-- > 0) {
        if (!get_consumer(sl, g, name)) return false;
    }
    return true;
}

static bool get_groups(struct stream_loading *sl)
{
    uint64_t count;
    struct rdb_text name = {0};
    bool ok = rdb_get_count(sl->r, 5, &count);
    while (ok && count-- > 0) ok = get_group(sl, &name);
    rdb_text_deinit(&name);
    return ok;
}

bool load_stream(struct loading *l, unsigned type)
{
    struct stream_loading sl = {
        .l = l,
        .r = &l->r,
        .s = stream_new(l->shard),
        .offsets = type != RDB_STREAM_LISTPACKS,
        .active = type == RDB_STREAM_LISTPACKS_3,
    };
    if (!sl.s) return rdb_no_memory(&l->r);
    l->value->type = TYPE_STREAM;
    l->value->held = RDB_OBJECT;
    l->value->object = &sl.s->object;
    if (!get_nodes(&sl) || !get_head(&sl)) return false;
    /* What groups are told about entries read needs the first id. */
    if (!sl.offsets && !stream_build_finish(sl.s, true)) return rdb_bad(&l->r);
    if (!get_groups(&sl)) return false;
    stream_account(l->shard, sl.s);
    return stream_build_finish(sl.s, false) ? true : rdb_bad(&l->r);
}
