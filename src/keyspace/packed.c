/* Collections in an entry: packed bytes, inside the entry or in a blob, and pointers to objects.
 *
 *   inline   header | expiry? | key | packed bytes       as long as the block stays in the slab
 *   blob     header | expiry? | key | pointer → struct blob   the same bytes, longer
 *   object   header | expiry? | key | pointer → struct object
 *
 * Resizing inline bytes within their size class costs nothing; beyond it the entry gets another
 * block and its slot another pointer. A blob takes what the allocator rounds up to, so that
 * appending to it reallocates once per size class.
 *
 * Why not always a pointer? A hash of five small fields would pay 16 bytes and a cache miss more.
 * Thread: holder of the shard. */
#include "shard.h"

#define INLINE_AGAIN_MAX 512u /* a blob that has shrunk to this comes back inside */

enum form entry_form(const struct entry *e) { return (enum form)entry_encoding_of(e); }

struct slice entry_packed(const struct entry *e)
{
    dcheck(!kind_is_object(e->kind));
    if (likely(!(e->flags & ENTRY_POINTER))) return slice_of(entry_text(e), e->value_len);
    const struct blob *blob = entry_pointer(e);
    return slice_of(blob->data, blob->len);
}

struct object *entry_object(const struct entry *e)
{
    return entry_object_of(e);
}

struct entry *ks_edit(struct ks *ks, struct slice key)
{
    struct entry *e = ks_find(ks, key);
    if (!e) return NULL;
    struct shard *shard = ks_shard_of(ks, key);
    if (unlikely(shard->snapshot_on)) snapshot_tell_key(ks, key);
    entry_touch(shard, ks, e);
    return e;
}

static struct value value_of_pointer(uint8_t kind, void *what)
{
    return (struct value){.kind = kind,
                          .flags = ENTRY_WORD | ENTRY_POINTER,
                          .len = sizeof(what),
                          .word = (int64_t)(uintptr_t)what};
}

/* A blob of this length; the allocator's rounding is room to grow. */
static struct blob *packed_blob(struct shard *shard, struct slice bytes, size_t len)
{
    struct blob *blob = blob_new(shard, len, false);
    if (!blob) return NULL;
    size_t usable = mem_usable(blob);
    if (usable > sizeof(*blob) + len) blob->cap = usable - sizeof(*blob);
    memcpy(blob->data, bytes.ptr, bytes.len < len ? bytes.len : len);
    blob->len = len;
    return blob;
}

struct entry *ks_put_packed(struct ks *ks, struct slice key, enum value_type type, enum form form,
                            struct slice bytes, instant_ms expire)
{
    uint8_t kind = ENTRY_KIND(type, form);
    if (likely(entry_inline_fits(entry_head_for(key.len, true), bytes.len))) {
        struct value v = {.kind = kind, .len = bytes.len, .text = bytes.ptr};
        return ks_put(ks, key, &v, expire);
    }
    struct shard *shard = ks_shard_of(ks, key);
    struct blob *blob = packed_blob(shard, bytes, bytes.len);
    if (!blob) return NULL;
    struct value v = value_of_pointer(kind, blob);
    struct entry *e = ks_put(ks, key, &v, expire);
    if (!e) blob_free(shard, blob);
    return e;
}

struct entry *ks_put_object(struct ks *ks, struct slice key, struct object *object,
                            instant_ms expire)
{
    struct value v = value_of_pointer(ENTRY_KIND(object->ops->type, FORM_OBJECT), object);
    return ks_put(ks, key, &v, expire);
}

/* ---- resizing ---- */

/* The same entry in a block for `len` bytes. */
static char *inline_resize(struct ks *ks, struct slice key, struct entry **at, size_t len)
{
    struct entry *old = *at;
    struct value v = {.len = len};
    if (entry_value_fits(old, &v)) {
        old->value_len = (uint16_t)len;
        return entry_text(old);
    }
    bool stale;
    struct place p = ks_place(ks, key, &stale);
    check(p.entry == old);
    struct entry *e = entry_new(p.shard, entry_key(old), entry_expiry_of(old), len);
    if (unlikely(!e)) return NULL;
    e->kind = old->kind;
    e->access = old->access;
    e->value_len = (uint16_t)len;
    memcpy(entry_text(e), entry_text(old), len < old->value_len ? len : old->value_len);
    table_slot_replace(p.slot, e);
    entry_free_shell(p.shard, old);
    *at = e;
    return entry_text(e);
}

/* Inline bytes become a blob: the entry keeps its TTL and recency. */
static char *move_out(struct ks *ks, struct slice key, struct entry **at, size_t len)
{
    struct entry *old = *at;
    struct shard *shard = ks_shard_of(ks, key);
    struct blob *blob = packed_blob(shard, entry_packed(old), len);
    if (!blob) return NULL;
    struct value v = value_of_pointer(old->kind, blob);
    v.moved = true;
    struct entry *e = ks_put(ks, key, &v, EXPIRE_KEEP);
    if (!e) {
        blob_free(shard, blob);
        return NULL;
    }
    *at = e;
    return blob->data;
}

static char *blob_resize(struct ks *ks, struct slice key, struct entry **at, size_t len)
{
    struct entry *e = *at;
    struct blob *blob = entry_pointer(e);
    if (len <= INLINE_AGAIN_MAX && entry_inline_fits(entry_head_for(key.len, true), len)) {
        struct value v = {.kind = e->kind, .moved = true, .len = len, .text = blob->data};
        e = ks_put(ks, key, &v, EXPIRE_KEEP);
        if (!e) return NULL;
        *at = e;
        return entry_text(e);
    }
    if (len > blob->cap || len < blob->cap / 2) {
        struct shard *shard = ks_shard_of(ks, key);
        size_t before = mem_usable(blob);
        const struct blob *was = blob; /* only compared */
        struct blob *moved = mem_try_realloc(blob, sizeof(*blob) + len);
        if (!moved) return NULL;
        if (unlikely(shard->snapshot_on)) snapshot_blob_moved(shard, was, moved);
        shard->big_bytes += mem_usable(moved) - before;
        moved->cap = mem_usable(moved) - sizeof(*moved);
        struct value v = value_of_pointer(e->kind, moved);
        entry_value_store(e, &v);
        blob = moved;
    }
    blob->len = len;
    return blob->data;
}

char *ks_packed_resize(struct ks *ks, struct slice key, struct entry **e, size_t len)
{
    dcheck(!kind_is_object((*e)->kind));
    if ((*e)->flags & ENTRY_POINTER) return blob_resize(ks, key, e, len);
    if (likely(entry_inline_fits(entry_head_for(key.len, true), len)))
        return inline_resize(ks, key, e, len);
    return move_out(ks, key, e, len);
}

static char *packed_resize(struct lp *lp, size_t len)
{
    struct packed *p = CONTAINER_OF(lp, struct packed, lp);
    char *bytes = ks_packed_resize(p->ks, p->key, &p->entry, len);
    if (bytes) lp->bytes = bytes;
    return bytes;
}

void packed_open(struct packed *p, struct ks *ks, struct slice key, struct entry *e)
{
    *p = (struct packed){.ks = ks, .key = key, .entry = e};
    p->lp.resize = packed_resize;
    p->lp.bytes = (char *)(uintptr_t)entry_packed(e).ptr;
}
