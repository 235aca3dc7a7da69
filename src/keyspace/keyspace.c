/* Finding, writing and deleting keys in a view of one or many shards.
 *
 * Every command ends up here, so the way is short: the shard (given, or from the slot), the hash
 * (known by pointer identity from the prefetch stage, or computed), one table lookup, one look at
 * the TTL. A write that finds its key with a value of the same size class overwrites in place; it
 * neither allocates nor touches the table.
 *
 * Time: a TTL is judged by the later of the call's `now` and the shard's clock, and the clock then
 * stands at that time. Only judgements move it, so a key without TTL costs nothing, and no two
 * commands can disagree about the order in which a key was there and gone.
 * Thread: holder of the shard. */
#include "shard.h"
#include "splitring/keyspace/hash.h"

struct shard *ks_shard_of(const struct ks *ks, struct slice key)
{
    if (likely(ks->shard != NULL)) return ks->shard;
    return ks->shards[shard_of_slot(hash_slot(key), ks->shard_count)];
}

/* ---- places ---- */

struct entry *place_unlink(struct place *p)
{
    struct entry *e = p->entry;
    db_expiry_removed(p->db, entry_expiry_of(e));
    if (unlikely(p->shard->attention)) {
        snapshot_before_write(p);
        if (p->shard->waiters && entry_type_of(e) == TYPE_STREAM)
            shard_wake_waiters(p->shard, (db_id)(p->db - p->shard->dbs), e);
    }
    table_slot_remove(p->table, p->hash, p->slot);
    p->slot = NULL;
    p->entry = NULL;
    return e;
}

void place_expire(struct place *p, db_id db, const struct expire_sink *sink)
{
    struct shard *shard = p->shard;
    struct slice key = entry_key(p->entry);
    if (sink && sink->expired) sink->expired(sink->ctx, shard, db, key);
    shard->stats.expired++;
    shard_event(shard, db, EVENT_EXPIRED, "expired", key);
    shard->expiring = true;
    shard_touched(shard, db, key);
    shard->expiring = false;
    entry_free(shard, place_unlink(p), true);
}

/* An expired entry was met: it goes, or it is hidden. True: it is still there. */
static __attribute__((noinline)) bool met_expired(const struct ks *ks, struct place *p)
{
    if (ks->flags & KS_LOGICAL) return true;
    place_expire(p, ks->db, p->shard->lazy_sink_set ? &p->shard->lazy_sink : NULL);
    return false;
}

static inline __attribute__((always_inline)) struct place place_of(struct ks *ks, struct slice key,
                                                                   bool *stale)
{
    struct place p;
    p.shard = ks_shard_of(ks, key);
    p.db = shard_db(p.shard, ks->db);
    p.table = p.db->table;
    if (likely(p.table != NULL)) {
        p.slot = ks_slot(ks, p.shard, p.table, key, &p.hash);
    } else {
        p.slot = NULL;
        p.hash = hash_key(key, p.shard->options.seed);
    }
    p.entry = p.slot ? table_slot_entry(p.slot) : NULL;
    *stale = false;
    if (p.entry && entry_expired(p.shard, p.entry, ks->now)) *stale = met_expired(ks, &p);
    return p;
}

struct place ks_place(struct ks *ks, struct slice key, bool *stale)
{
    return place_of(ks, key, stale);
}

/* ---- finding ---- */

static inline struct entry *find_in(struct ks *ks, struct shard *shard, struct slice key)
{
    struct table *table = shard_db(shard, ks->db)->table;
    if (unlikely(!table)) return NULL;
    uint64_t hash;
    const uint64_t *slot = ks_slot(ks, shard, table, key, &hash);
    if (!slot) return NULL;
    struct entry *e = table_slot_entry(slot);
    if (likely(!entry_expired(shard, e, ks->now))) return e;
    bool stale;
    (void)ks_place(ks, key, &stale);
    return NULL;
}

struct entry *ks_find(struct ks *ks, struct slice key)
{
    return find_in(ks, ks_shard_of(ks, key), key);
}

struct entry *ks_peek(struct ks *ks, struct slice key)
{
    return find_in(ks, ks_shard_of(ks, key), key);
}

struct entry *ks_read(struct ks *ks, struct slice key)
{
    struct shard *shard = ks_shard_of(ks, key);
    struct entry *e = find_in(ks, shard, key);
    if (!e) {
        if (!(ks->flags & KS_NO_STATS)) shard->stats.misses++;
        if (!(ks->flags & KS_SILENT)) shard_event(shard, ks->db, EVENT_MISS, "keymiss", key);
        return NULL;
    }
    if (!(ks->flags & KS_NO_STATS)) shard->stats.hits++;
    entry_touch(shard, ks, e);
    return e;
}

/* ---- writing ---- */

/* The first instant at which the sweep has work here: the key's own expiry, or a field's. */
static inline instant_ms entry_due(const struct entry *e)
{
    instant_ms due = entry_expiry_of(e);
    if (likely(!kind_has_fields(e->kind))) return due;
    instant_ms fields = hash_next_expiry(e);
    return fields < due ? fields : due;
}

/* The slot's bit, and what the table knows. */
static void note_due(struct place *p)
{
    instant_ms due = entry_due(p->entry);
    unsigned bits = table_slot_bits(p->slot) & ~TABLE_BIT_TTL;
    table_slot_set_bits(p->slot, due != EXPIRE_NONE ? bits | TABLE_BIT_TTL : bits);
    if (due != EXPIRE_NONE) table_note_expiry(p->table, p->hash, due);
}

static struct entry *put_new(const struct ks *ks, const struct place *p, struct slice key,
                             const struct value *v, instant_ms expire)
{
    struct table *table = shard_table(p->shard, ks->db);
    if (unlikely(!table)) return NULL;
    struct entry *e = entry_new(p->shard, key, expire, v->len);
    if (unlikely(!e)) return NULL;
    entry_value_store(e, v);
    e->access = entry_access_new(p->shard, ks) & 0xffffffu;
    instant_ms due = entry_due(e);
    unsigned bits = p->shard->saved_bit | (due != EXPIRE_NONE ? TABLE_BIT_TTL : 0);
    if (unlikely(table_insert(table, p->hash, e, bits) < 0)) {
        entry_free_shell(p->shard, e);
        return NULL;
    }
    if (due != EXPIRE_NONE) table_note_expiry(table, p->hash, due);
    db_expiry_added(p->db, expire);
    if (!(ks->flags & KS_SILENT)) shard_event(p->shard, ks->db, EVENT_NEW, "new", key);
    return e;
}

/* Another expiry in the same block. */
static void overwrite_expiry(struct place *p, instant_ms expire)
{
    struct entry *e = p->entry;
    if ((instant_ms)e->body[0] == expire) return;
    db_expiry_removed(p->db, (instant_ms)e->body[0]);
    e->body[0] = (uint64_t)expire;
    db_expiry_added(p->db, expire);
    table_note_expiry(p->table, p->hash, expire);
}

/* A copy with another header or another length takes the entry's slot. The old block is gone, its
 * value is not. */
static struct entry *replace_block(struct place *p, const struct value *v, instant_ms expire)
{
    struct entry *old = p->entry;
    struct entry *e = entry_new(p->shard, entry_key(old), expire, v->len);
    if (unlikely(!e)) return NULL;
    entry_value_store(e, v);
    e->access = old->access;
    db_expiry_removed(p->db, entry_expiry_of(old));
    db_expiry_added(p->db, expire);
    table_slot_replace(p->slot, e);
    p->entry = e;
    if (!v->moved) note_due(p);
    return e;
}

static struct entry *put_over(const struct ks *ks, struct place *p, const struct value *v,
                              instant_ms expire)
{
    struct entry *e = p->entry;
    if (likely((expire != EXPIRE_NONE) == entry_has_ttl(e) && entry_value_fits(e, v))) {
        /* The new value may be a part of the old one, so that goes last. */
        struct value old = {0};
        if (unlikely(e->flags & ENTRY_POINTER)) old = entry_value(e);
        entry_value_store(e, v);
        if (entry_has_ttl(e)) overwrite_expiry(p, expire);
        if (unlikely(kind_has_fields(v->kind)) && !v->moved) note_due(p);
        value_free(p->shard, &old, true);
    } else {
        struct entry *old = e;
        e = replace_block(p, v, expire);
        if (unlikely(!e)) return NULL;
        entry_free(p->shard, old, true);
    }
    if (unlikely(p->shard->options.lfu)) entry_touch(p->shard, ks, e);
    else e->access = entry_access_new(p->shard, ks) & 0xffffffu;
    return e;
}

struct entry *ks_put(struct ks *ks, struct slice key, const struct value *v, instant_ms expire)
{
    bool stale;
    struct place p = place_of(ks, key, &stale);
    if (expire == EXPIRE_KEEP) {
        expire = p.entry && !stale ? entry_expiry_of(p.entry) : EXPIRE_NONE;
    }
    /* One that is written over has gone: who reads it for a group is told, as in place_unlink. */
    bool had_stream = false;
    if (unlikely(p.shard->attention) && p.entry) {
        snapshot_before_write(&p);
        had_stream = p.shard->waiters && entry_type_of(p.entry) == TYPE_STREAM;
    }
    struct entry *e = p.entry ? put_over(ks, &p, v, expire) : put_new(ks, &p, key, v, expire);
    if (unlikely(!e)) return NULL;
    /* The caller's key may have been the old block's. */
    shard_touched(p.shard, ks->db, entry_key(e));
    if (unlikely(had_stream)) ks_ready(ks, entry_key(e));
    else if (unlikely(p.shard->waiters)) shard_wake_waiters(p.shard, ks->db, e);
    return e;
}

int ks_set_expiry(struct ks *ks, struct slice key, instant_ms expire)
{
    bool stale;
    struct place p = ks_place(ks, key, &stale);
    dcheck(p.entry && !stale);
    if (!p.entry) return 0;
    snapshot_before_write(&p);
    entry_touch(p.shard, ks, p.entry);
    if ((expire != EXPIRE_NONE) == entry_has_ttl(p.entry)) {
        if (expire != EXPIRE_NONE) overwrite_expiry(&p, expire);
    } else {
        struct entry *old = p.entry;
        struct value v = entry_value(old);
        if (!replace_block(&p, &v, expire)) return -ENOMEM;
        entry_free_shell(p.shard, old);
    }
    shard_touched(p.shard, ks->db, entry_key(p.entry));
    return 0;
}

bool ks_delete(struct ks *ks, struct slice key, bool async)
{
    bool stale;
    struct place p = ks_place(ks, key, &stale);
    if (!p.entry) return false;
    shard_touched(p.shard, ks->db, key);
    entry_free(p.shard, place_unlink(&p), async);
    return !stale;
}

/* ---- moving and copying ---- */

/* A blob's twin; NULL: no memory. */
static struct blob *blob_copy(struct shard *to, const struct blob *blob)
{
    struct blob *copy = mem_try_alloc(sizeof(*copy) + blob->len);
    if (!copy) return NULL;
    copy->len = copy->cap = blob->len;
    memcpy(copy->data, blob->data, blob->len);
    to->big_bytes += mem_usable(copy);
    return copy;
}

/* The entry's value once more, for the shard `to`; v->word is 0 where memory is out. */
static struct value value_copy(struct shard *to, const struct entry *e)
{
    struct value v = entry_value(e);
    if (!(v.flags & ENTRY_POINTER)) return v;
    void *copy = NULL;
    if (!kind_is_object(e->kind)) {
        copy = blob_copy(to, entry_pointer(e));
    } else {
        const struct object *object = entry_pointer(e);
        struct buf image = {0};
        object->ops->save(object, &image);
        if (!image.failed) copy = object->ops->load(to, buf_slice(&image));
        buf_deinit(&image);
    }
    v.word = (int64_t)(uintptr_t)copy;
    return v;
}

/* Puts the value under its new name, with the TTL and recency of the old entry. */
static struct entry *put_twin(struct ks *ks, struct slice to, const struct value *v,
                              instant_ms expire, uint32_t access)
{
    bool over = ks_peek(ks, to) != NULL;
    struct entry *e = ks_put(ks, to, v, expire);
    if (!e) return NULL;
    e->access = access & 0xffffffu;
    /* Redis deletes what it replaces, so the name is new to it all the same. */
    if (over) shard_event(ks_shard_of(ks, to), ks->db, EVENT_NEW, "new", to);
    return e;
}

int ks_copy(struct ks *ks, struct slice from, db_id to_db, struct slice to)
{
    struct entry *e = ks_peek(ks, from);
    if (!e) return 0;
    struct ks target = ks_in_db(ks, to_db);
    struct shard *shard = ks_shard_of(&target, to);
    struct value v = value_copy(shard, e);
    if ((v.flags & ENTRY_POINTER) && v.word == 0) return -ENOMEM;
    if (put_twin(&target, to, &v, entry_expiry_of(e), e->access)) return 0;
    value_free(shard, &v, true);
    return -ENOMEM;
}

int ks_move(struct ks *ks, struct slice from, db_id to_db, struct slice to)
{
    struct entry *e = ks_peek(ks, from);
    if (!e) return 0;
    struct ks target = ks_in_db(ks, to_db);
    struct shard *source = ks_shard_of(ks, from), *shard = ks_shard_of(&target, to);
    /* Blobs belong to nobody's slab and go as they are; objects may not, nor what a snapshot of the
     * source still has to tell. */
    bool as_is = source == shard || !kind_is_object(e->kind);
    if (unlikely(source->snapshot_on) && source != shard && (e->flags & ENTRY_POINTER)) {
        snapshot_tell_key(ks, from);
        if (snapshot_needs_blob(source, entry_pointer(e))) as_is = false;
    }
    struct value v = as_is ? entry_value(e) : value_copy(shard, e);
    if ((v.flags & ENTRY_POINTER) && v.word == 0) return -ENOMEM;
    if (!put_twin(&target, to, &v, entry_expiry_of(e), e->access)) {
        if (!as_is) value_free(shard, &v, true);
        return -ENOMEM;
    }
    bool stale;
    struct place p = ks_place(ks, from, &stale);
    shard_touched(source, ks->db, from);
    e = place_unlink(&p);
    if (!as_is) {
        entry_free(source, e, true);
        return 0;
    }
    if ((v.flags & ENTRY_POINTER) && source != shard) {
        size_t bytes = mem_usable(entry_pointer(e));
        source->big_bytes -= bytes;
        shard->big_bytes += bytes;
    }
    entry_free_shell(source, e);
    return 0;
}
