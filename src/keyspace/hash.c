/* Hashes, whatever their form: choosing it, finding, writing, expiring.
 *
 * The form goes one way, from pairs to triples to the object, when a limit is passed or a field
 * gets an expiry; it never comes back, because whoever has been large will be again.
 *
 * Expiry of fields has three parts. The slot of the key bears the table's TTL bit and the table
 * knows the lowest expiry, as if it were the key's own (keyspace.c notes it whenever such a value
 * is stored, hash_note_expiry here when a field gets one): so the sweep finds hashes that are due.
 * A command that names an expired field removes it (hash_find). Walks pass over what has expired.
 *
 * What is told when a field goes: the expire sink (effect HDEL), the counter, the modified hook,
 * "hexpired"; and "del" where the hash is empty then.
 * Thread: holder of the shard. */
#include "hash_impl.h"

/* ---- what there is ---- */

size_t hash_count(const struct entry *e)
{
    if (entry_form(e) == FORM_OBJECT) return dict_count(&hash_object_of(e)->dict);
    return lp_count(entry_packed(e).ptr) / packed_width(e);
}

instant_ms hash_next_expiry(const struct entry *e)
{
    if (likely(entry_form(e) == FORM_LISTPACK)) return EXPIRE_NONE;
    if (entry_form(e) == FORM_OBJECT) return dict_expiry_min(&hash_object_of(e)->dict);
    return hash_packed_next_expiry(e);
}

bool hash_has_expired(const struct hash *h)
{
    if (!h->entry) return false;
    instant_ms next = hash_next_expiry(h->entry);
    return unlikely(next != EXPIRE_NONE) && next < hash_now(h);
}

/* ---- expiring ---- */

static void tell_expired(const struct hash *h, const struct expire_sink *sink, struct slice field)
{
    struct shard *shard = ks_shard_of(h->ks, h->key);
    shard->stats.expired_fields++;
    if (sink && sink->field_expired)
        sink->field_expired(sink->ctx, shard, h->ks->db, h->key, field);
}

static const struct expire_sink *lazy_sink(const struct hash *h)
{
    const struct shard *shard = ks_shard_of(h->ks, h->key);
    return shard->lazy_sink_set ? &shard->lazy_sink : NULL;
}

static void after_expiry(struct hash *h)
{
    ks_touched(h->ks, h->key);
    ks_notify(h->ks, EVENT_HASH, "hexpired", h->key);
    if (hash_count(h->entry) > 0) return;
    ks_notify(h->ks, EVENT_GENERIC, "del", h->key);
    (void)ks_delete(h->ks, h->key, false);
    h->entry = NULL;
}

static bool remove_named(struct hash *h, struct slice field)
{
    if (entry_form(h->entry) != FORM_OBJECT) return hash_packed_remove(h, field);
    struct shard *shard = ks_shard_of(h->ks, h->key);
    return hash_object_remove(shard, hash_object_of(h->entry), field);
}

static size_t expire_triples(struct hash *h, const struct expire_sink *sink, size_t max)
{
    const char *bytes = entry_packed(h->entry).ptr;
    instant_ms now = hash_now(h);
    size_t count = 0;
    for (size_t at = lp_first(bytes); at != LP_NONE && count < max; count++) {
        struct hash_item item;
        at = hash_packed_item(h->entry, at, &item);
        if (item.expire >= now) break;
        tell_expired(h, sink, item.field);
    }
    if (count == 0) return 0;
    struct packed p;
    packed_open(&p, h->ks, h->key, h->entry);
    lp_delete(&p.lp, LP_HEADER, 3 * count);
    h->entry = p.entry;
    /* The key may have been the old block's. */
    h->key = entry_key(h->entry);
    return count;
}

static size_t expire_blocks(struct hash *h, const struct expire_sink *sink, size_t max,
                            size_t *work)
{
    struct shard *shard = ks_shard_of(h->ks, h->key);
    struct hash_object *ho = hash_object_of(h->entry);
    struct field *due[HASH_DUE_MAX];
    if (max > HASH_DUE_MAX) max = HASH_DUE_MAX;
    size_t count = hash_object_take_due(shard, ho, hash_now(h), max, due, work);
    for (size_t i = 0; i < count; i++) {
        tell_expired(h, sink, field_name(due[i]));
        field_free(shard, ho, due[i]);
    }
    return count;
}

size_t hash_sweep(struct hash *h, size_t max, const struct expire_sink *sink, size_t *work)
{
    *work = 1;
    if (!hash_has_expired(h) || (h->ks->flags & KS_LOGICAL)) return 0;
    snapshot_tell_key(h->ks, h->key);
    size_t count = entry_form(h->entry) == FORM_OBJECT ? expire_blocks(h, sink, max, work)
                                                       : expire_triples(h, sink, max);
    *work += count;
    if (count) after_expiry(h);
    return count;
}

size_t hash_expire_due(struct hash *h, size_t max)
{
    size_t work;
    return hash_sweep(h, max, lazy_sink(h), &work);
}

void hash_note_expiry(struct hash *h, instant_ms expire)
{
    bool stale;
    struct place p = ks_place(h->ks, h->key, &stale);
    dcheck(p.entry == h->entry);
    table_slot_set_bits(p.slot, table_slot_bits(p.slot) | TABLE_BIT_TTL);
    table_note_expiry(p.table, p.hash, expire);
}

/* ---- reading ---- */

bool hash_find(struct hash *h, struct slice field, struct hash_item *item)
{
    if (unlikely(!h->entry)) return false;
    if (entry_form(h->entry) == FORM_OBJECT) {
        const struct field *f = hash_object_find(hash_object_of(h->entry), field);
        if (!f) return false;
        field_item(f, item);
    } else {
        size_t at = hash_packed_find(h->entry, field);
        if (at == LP_NONE) return false;
        (void)hash_packed_item(h->entry, at, item);
    }
    if (likely(item->expire == EXPIRE_NONE) || item->expire >= hash_now(h)) return true;
    if (h->ks->flags & KS_LOGICAL) return false;
    snapshot_tell_key(h->ks, h->key);
    tell_expired(h, lazy_sink(h), field);
    (void)remove_named(h, field);
    after_expiry(h);
    return false;
}

struct walk {
    instant_ms now; /* what expires before is passed over */
    hash_visit *visit;
    void *ctx;
};

static void walk_field(void *ctx, void *entry, unsigned bits)
{
    const struct walk *walk = ctx;
    struct hash_item item;
    if ((bits & TABLE_BIT_TTL) && field_expiry(entry) < walk->now) return;
    field_item(entry, &item);
    walk->visit(walk->ctx, &item);
}

static void walk_all(const struct entry *e, struct walk *walk)
{
    if (entry_form(e) == FORM_OBJECT) {
        dict_each(&hash_object_of(e)->dict, walk_field, walk);
        return;
    }
    for (size_t at = lp_first(entry_packed(e).ptr); at != LP_NONE;) {
        struct hash_item item;
        at = hash_packed_item(e, at, &item);
        if (item.expire >= walk->now) walk->visit(walk->ctx, &item);
    }
}

void hash_each(const struct entry *e, hash_visit *visit, void *ctx)
{
    struct walk walk = {.now = INT64_MIN, .visit = visit, .ctx = ctx};
    walk_all(e, &walk);
}

static struct walk walk_live(const struct hash *h, hash_visit *visit, void *ctx)
{
    instant_ms now = hash_has_expired(h) ? hash_now(h) : INT64_MIN;
    return (struct walk){.now = now, .visit = visit, .ctx = ctx};
}

void hash_each_live(const struct hash *h, hash_visit *visit, void *ctx)
{
    struct walk walk = walk_live(h, visit, ctx);
    if (h->entry) walk_all(h->entry, &walk);
}

static void count_one(void *ctx, const struct hash_item *item)
{
    (void)item;
    ++*(size_t *)ctx;
}

size_t hash_count_live(const struct hash *h)
{
    if (!h->entry) return 0;
    if (likely(!hash_has_expired(h))) return hash_count(h->entry);
    size_t count = 0;
    hash_each_live(h, count_one, &count);
    return count;
}

uint64_t hash_scan(const struct hash *h, uint64_t cursor, size_t count, hash_visit *visit,
                   void *ctx)
{
    struct walk walk = walk_live(h, visit, ctx);
    return dict_scan(&hash_object_of(h->entry)->dict, cursor, count, walk_field, &walk);
}

/* ---- writing ---- */

static bool too_long(const struct hash *h, struct slice text) { return text.len > h->limits.value; }

int hash_prepare(struct hash *h, const struct slice *pairs, size_t count, size_t *created)
{
    if (h->entry && entry_form(h->entry) == FORM_OBJECT) return 0;
    bool large = count > h->limits.entries;
    for (size_t i = 0; i < 2 * count && !large; i++) large = too_long(h, pairs[i]);
    if (large) return hash_to_object(h, count);
    if (h->entry) return 0;
    int error = hash_packed_create(h, pairs, count, created);
    return error ? error : (int)count;
}

static bool is_instant(instant_ms expire) { return expire != EXPIRE_NONE && expire != EXPIRE_KEEP; }

/* The form that this pair asks for, before it is stored. */
static int make_form(struct hash *h, struct slice field, struct slice value, instant_ms expire)
{
    if (!h->entry || entry_form(h->entry) != FORM_OBJECT) {
        if (unlikely(too_long(h, field) || too_long(h, value))) return hash_to_object(h, 1);
    }
    if (h->entry && entry_form(h->entry) == FORM_LISTPACK && is_instant(expire))
        return hash_packed_widen(h);
    return 0;
}

static int create_with(struct hash *h, struct slice field, struct slice value, instant_ms expire)
{
    size_t created;
    int error = hash_packed_create(h, (struct slice[]){field, value}, 1, &created);
    if (!error && is_instant(expire) && hash_set_expiry(h, field, expire) < 0) {
        (void)ks_delete(h->ks, h->key, false);
        h->entry = NULL;
        error = -ENOMEM;
    }
    return error;
}

int hash_set(struct hash *h, struct slice field, struct slice value, instant_ms expire)
{
    struct hash_item item;
    if (unlikely(hash_has_expired(h))) (void)hash_find(h, field, &item);
    int status = make_form(h, field, value, expire);
    if (unlikely(status < 0)) return status;
    if (!h->entry) {
        status = create_with(h, field, value, expire);
    } else if (entry_form(h->entry) == FORM_OBJECT) {
        struct shard *shard = ks_shard_of(h->ks, h->key);
        status = hash_object_set(shard, hash_object_of(h->entry), field, value, expire);
    } else {
        status = hash_packed_set(h, field, value, expire);
    }
    if (unlikely(status < 0)) return status;
    /* Without memory for the large form the small one will do. */
    if (entry_form(h->entry) != FORM_OBJECT && hash_count(h->entry) > h->limits.entries &&
        hash_to_object(h, 1) < 0) {
        dcheck(entry_form(h->entry) != FORM_OBJECT);
    }
    if (is_instant(expire)) hash_note_expiry(h, expire);
    return status;
}

bool hash_remove(struct hash *h, struct slice field)
{
    struct hash_item item;
    if (!h->entry) return false;
    if (unlikely(hash_has_expired(h)) && !hash_find(h, field, &item)) return false;
    return remove_named(h, field);
}

int hash_set_expiry(struct hash *h, struct slice field, instant_ms expire)
{
    int error = 0;
    if (entry_form(h->entry) == FORM_OBJECT) {
        struct shard *shard = ks_shard_of(h->ks, h->key);
        error = hash_object_set_expiry(shard, hash_object_of(h->entry), field, expire);
    } else {
        if (entry_form(h->entry) == FORM_LISTPACK) {
            if (expire == EXPIRE_NONE) return 0;
            error = hash_packed_widen(h);
        }
        size_t at = error ? LP_NONE : hash_packed_find(h->entry, field);
        if (at != LP_NONE) error = hash_packed_set_expiry(h, at, expire);
    }
    if (!error && expire != EXPIRE_NONE) hash_note_expiry(h, expire);
    return error;
}
