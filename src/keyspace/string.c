/* String values: text inside the entry, numbers, and large texts in a block of their own.
 *
 *   int      a canonical 64-bit number, one to eight bytes at the entry's end
 *   embstr   text of at most 44 bytes inside the entry   (the names are what OBJECT ENCODING says)
 *   raw      longer text inside the entry, as long as it fits the slab's classes; or a struct blob
 *
 * A value that was written in place (APPEND, SETRANGE, SETBIT) is raw from then on, whatever its
 * length, as in Redis. Its block grows by the slab's classes while it is small; a blob that grows
 * gets room to spare (blob_cap_for), so that growing it byte by byte costs amortised constant time.
 * Thread: holder of the shard. */
#include "shard.h"
#include "splitring/base/num.h"

struct slice entry_string(const struct entry *e, char scratch[ENTRY_SCRATCH])
{
    dcheck(entry_type_of(e) == TYPE_STRING);
    if (likely(!(e->flags & ENTRY_WORD))) return slice_of(entry_text(e), e->value_len);
    if (e->flags & ENTRY_POINTER) {
        const struct blob *blob = entry_pointer(e);
        return slice_of(blob->data, blob->len);
    }
    return slice_of(scratch, num_format_i64(scratch, entry_word_get(e)));
}

bool entry_is_int(const struct entry *e, int64_t *value)
{
    if (e->kind != ENTRY_KIND(TYPE_STRING, STRING_INT)) return false;
    *value = entry_word_get(e);
    return true;
}

/* ---- whole values ---- */

struct blob *blob_new(struct shard *shard, size_t cap, bool zeroed)
{
    if (cap > SIZE_MAX / 2) return NULL;
    size_t len = sizeof(struct blob) + cap;
    struct blob *blob = zeroed ? mem_try_zalloc(len) : mem_try_alloc(len);
    if (!blob) return NULL;
    blob->len = 0;
    blob->cap = cap;
    shard->big_bytes += mem_usable(blob);
    return blob;
}

void blob_free(struct shard *shard, struct blob *blob)
{
    shard->big_bytes -= mem_usable(blob);
    mem_free(blob);
}

static int put_long(struct ks *ks, struct slice key, struct slice text, instant_ms expire)
{
    struct shard *shard = ks_shard_of(ks, key);
    struct blob *blob = blob_new(shard, text.len, false);
    if (!blob) return -ENOMEM;
    memcpy(blob->data, text.ptr, text.len);
    blob->len = text.len;
    struct value v = value_of_blob(blob);
    if (ks_put(ks, key, &v, expire)) return 0;
    blob_free(shard, blob);
    return -ENOMEM;
}

static inline bool text_is_number(struct slice text, int64_t *number)
{
    return num_may_parse(text) && num_parse_i64(text, number);
}

static int put_text(struct ks *ks, struct slice key, struct slice text, unsigned encoding,
                    instant_ms expire)
{
    /* Room is judged with a TTL, so that giving one later cannot push the value out. */
    if (unlikely(!entry_inline_fits(entry_head_for(key.len, true), text.len))) {
        return put_long(ks, key, text, expire);
    }
    struct value v = value_of_text(text, text.len > STRING_TEXT_MAX ? STRING_RAW : encoding);
    return ks_put(ks, key, &v, expire) ? 0 : -ENOMEM;
}

int ks_set_string(struct ks *ks, struct slice key, struct slice value, instant_ms expire)
{
    int64_t number;
    if (text_is_number(value, &number)) return ks_set_int(ks, key, number, expire);
    return put_text(ks, key, value, STRING_TEXT, expire);
}

int ks_set_text(struct ks *ks, struct slice key, struct slice value, instant_ms expire)
{
    return put_text(ks, key, value, STRING_TEXT, expire);
}

int ks_set_int(struct ks *ks, struct slice key, int64_t value, instant_ms expire)
{
    struct value v = value_of_int(value);
    return ks_put(ks, key, &v, expire) ? 0 : -ENOMEM;
}

int ks_set_blob(struct ks *ks, struct slice key, struct blob *value, instant_ms expire)
{
    if (entry_inline_fits(entry_head_for(key.len, true), value->len)) {
        int rc = put_text(ks, key, slice_of(value->data, value->len), STRING_RAW, expire);
        if (rc == 0) mem_free(value);
        return rc;
    }
    struct shard *shard = ks_shard_of(ks, key);
    struct value v = value_of_blob(value);
    if (!ks_put(ks, key, &v, expire)) return -ENOMEM;
    shard->big_bytes += mem_usable(value);
    return 0;
}

/* ---- writing in place ---- */

#define BLOB_DOUBLE_MAX (1024u * 1024u)

/* Far beyond the present end (SETBIT of a high bit): the rest is pages that nobody has touched, as
 * the system gives them, and 512 MiB of zeros cost no time. */
#define JUMP_MIN (64u * 1024u)
static bool is_jump(size_t old_len, size_t len) { return len > old_len + old_len / 2 + JUMP_MIN; }

/* Capacity for a text that has outgrown its block: the double, a quarter more beyond 1 MiB. */
static size_t blob_cap_for(size_t old_len, size_t len)
{
    if (is_jump(old_len, len)) return len;
    return len < BLOB_DOUBLE_MAX ? len * 2 : len + len / 4;
}

/* The blob with more capacity, in another place perhaps. NULL: no memory. */
static struct blob *blob_grow(struct shard *shard, struct blob *blob, size_t len)
{
    size_t cap = blob_cap_for(blob->len, len);
    if (is_jump(blob->len, len)) {
        struct blob *grown = blob_new(shard, cap, true);
        if (!grown) return NULL;
        memcpy(grown->data, blob->data, blob->len);
        grown->len = len;
        if (unlikely(shard->snapshot_on)) snapshot_blob_moved(shard, blob, grown);
        blob_free(shard, blob);
        return grown;
    }
    size_t before = mem_usable(blob);
    const struct blob *was = blob;
    struct blob *grown = mem_try_realloc(blob, sizeof(*blob) + cap);
    if (!grown) return NULL;
    if (unlikely(shard->snapshot_on)) snapshot_blob_moved(shard, was, grown);
    grown->cap = cap;
    shard->big_bytes += mem_usable(grown) - before;
    return grown;
}

static char *blob_room(struct shard *shard, struct entry *e, size_t len)
{
    struct blob *blob = entry_pointer(e);
    if (len > blob->cap) {
        if (len > SIZE_MAX / 4) return NULL;
        blob = blob_grow(shard, blob, len);
        if (!blob) return NULL;
        struct value v = value_of_blob(blob);
        entry_value_store(e, &v);
    }
    if (len > blob->len) {
        memset(blob->data + blob->len, 0, len - blob->len);
        blob->len = len;
    }
    return blob->data;
}

/* The text, `len` long, in a form that can be written: first what it was, then zeros. */
static char *text_room(struct ks *ks, struct slice key, struct slice old, size_t len)
{
    if (entry_inline_fits(entry_head_for(key.len, true), len)) {
        char text[SLAB_BLOCK_MAX];
        if (old.len) memcpy(text, old.ptr, old.len);
        memset(text + old.len, 0, len - old.len);
        struct value v = value_of_text(slice_of(text, len), STRING_RAW);
        struct entry *e = ks_put(ks, key, &v, EXPIRE_KEEP);
        return e ? entry_text(e) : NULL;
    }
    if (len > SIZE_MAX / 4) return NULL;
    struct shard *shard = ks_shard_of(ks, key);
    size_t cap = old.len ? blob_cap_for(old.len, len) : len;
    struct blob *blob = blob_new(shard, cap, is_jump(old.len, len));
    if (!blob) return NULL;
    if (old.len) memcpy(blob->data, old.ptr, old.len);
    if (!is_jump(old.len, len)) memset(blob->data + old.len, 0, len - old.len);
    blob->len = len;
    struct value v = value_of_blob(blob);
    if (ks_put(ks, key, &v, EXPIRE_KEEP)) return blob->data;
    blob_free(shard, blob);
    return NULL;
}

/* The entry has the room already: same block, same place. NULL: it has not. */
static char *inline_room(struct entry *e, size_t len)
{
    if (e->flags & ENTRY_WORD) return NULL;
    struct value v = value_of_text(slice_of(NULL, len), STRING_RAW);
    char *text = entry_text(e);
    if (len > e->value_len) {
        if (!entry_value_fits(e, &v)) return NULL;
        memset(text + e->value_len, 0, len - e->value_len);
        e->value_len = (uint16_t)len;
    }
    e->kind = v.kind;
    return text;
}

char *ks_string_room(struct ks *ks, struct slice key, size_t len)
{
    return ks_string_room_for(ks, key, len, 0, SIZE_MAX);
}

char *ks_string_room_for(struct ks *ks, struct slice key, size_t len, size_t from, size_t count)
{
    bool stale;
    struct place p = ks_place(ks, key, &stale);
    if (!p.entry || stale) return text_room(ks, key, slice_of(NULL, 0), len);
    struct entry *e = p.entry;
    dcheck(entry_type_of(e) == TYPE_STRING);
    if (unlikely(p.shard->snapshot_on)) {
        snapshot_tell(&p);
        if (e->flags & ENTRY_POINTER) snapshot_tell_text(p.shard, entry_pointer(e), from, count);
    }
    char *text = e->flags & ENTRY_POINTER ? blob_room(p.shard, e, len) : inline_room(e, len);
    if (text) {
        entry_touch(p.shard, ks, e);
        shard_touched(p.shard, ks->db, key);
        return text;
    }
    if (e->flags & ENTRY_POINTER) return NULL;
    char scratch[ENTRY_SCRATCH];
    struct slice old = entry_string(e, scratch);
    return text_room(ks, key, old, len > old.len ? len : old.len);
}
