/* Entries: blocks that hold a key, its expiry and its value (layout: entry.h).
 *
 * What an entry is can be read from its first eight bytes, and so can its length: size classes,
 * accounting and freeing need no further record. Numbers and pointers lie at the block's end, where
 * one aligned load finds them whatever the key's length; a number takes as many bytes as the size
 * class has to spare, so that counters grow in place.
 *
 * Why not a key object and a value object, as Redis has? Two blocks, two headers and a pointer pair
 * cost more memory than a 16-byte key with its 32-byte value, and one more cache miss per lookup.
 *
 * LRU and LFU share 24 bits of the header, as in Redis: seconds, or minutes (16) and a logarithmic
 * counter (8) that is incremented with falling probability and decays with time.
 * Thread: holder of the shard. */
#include "shard.h"

static struct slice table_key(const void *entry)
{
    const struct entry *e = entry;
    return slice_of(entry_key_ptr(e), entry_key_len(e));
}
const struct table_ops entry_table_ops = {.key = table_key};

/* ---- blocks ---- */

struct entry *entry_new(struct shard *shard, struct slice key, instant_ms expire, size_t value_len)
{
    bool ttl = expire != EXPIRE_NONE;
    size_t len = slab_class_len(entry_head_for(key.len, ttl) + value_len);
    struct entry *e = shard_alloc(shard, len);
    if (unlikely(!e)) return NULL;
    bool long_key = key.len > ENTRY_KEY_SHORT;
    e->flags = (uint8_t)((ttl ? ENTRY_TTL : 0u) | (long_key ? ENTRY_LONG_KEY : 0u));
    e->key_len = long_key ? 0 : (uint8_t)key.len;
    if (ttl) e->body[0] = (uint64_t)expire;
    if (long_key) e->body[ttl ? 1 : 0] = key.len;
    if (key.len) memcpy(entry_key_ptr(e), key.ptr, key.len);
    return e;
}

void entry_free_shell(struct shard *shard, struct entry *e)
{
    shard_release(shard, e, entry_len(e));
}

/* Giving a block of many pages back takes the kernel a while (64 KiB: a few µs; 512 MiB: tens of
 * ms), freeing elements too: from these sizes on it happens in slices. */
#define BLOB_FREE_MAX (1024u * 1024u)
#define OBJECT_FREE_MAX 1024u
#define OBJECT_FREE_MAX_ASYNC 64u

void value_free(struct shard *shard, const struct value *v, bool async)
{
    if (likely(!(v->flags & ENTRY_POINTER))) return;
    void *what = (void *)(uintptr_t)v->word;
    if (!kind_is_object(v->kind)) {
        struct blob *blob = what;
        if (unlikely(shard->snapshot_on) && snapshot_takes_blob(shard, blob)) return;
        if (blob->cap >= BLOB_FREE_MAX) {
            shard_doom(shard, DOOMED_BLOB, blob, sizeof(*blob) + blob->cap);
            return;
        }
        shard->big_bytes -= mem_usable(blob);
        mem_free(blob);
        return;
    }
    struct object *object = what;
    if (unlikely(object->duty != NULL) && snapshot_takes_object(shard, object)) return;
    size_t count = object->ops->count(object);
    if (count > (async ? OBJECT_FREE_MAX_ASYNC : OBJECT_FREE_MAX)) {
        shard_doom(shard, DOOMED_OBJECT, object, count);
        return;
    }
    size_t done = 0;
    bool all = object->ops->free_step(shard, object, SIZE_MAX, &done);
    check(all);
}

void entry_free(struct shard *shard, struct entry *e, bool async)
{
    if (unlikely(e->flags & ENTRY_POINTER)) {
        struct value v = entry_value(e);
        value_free(shard, &v, async);
    }
    entry_free_shell(shard, e);
}

/* ---- values ---- */

struct value value_of_int(int64_t number)
{
    return (struct value){.kind = ENTRY_KIND(TYPE_STRING, STRING_INT),
                          .flags = ENTRY_WORD,
                          .len = entry_int_width(number),
                          .word = number};
}

struct value value_of_text(struct slice text, unsigned encoding)
{
    return (struct value){
        .kind = ENTRY_KIND(TYPE_STRING, encoding), .len = text.len, .text = text.ptr};
}

struct value value_of_blob(struct blob *blob)
{
    return (struct value){.kind = ENTRY_KIND(TYPE_STRING, STRING_RAW),
                          .flags = ENTRY_WORD | ENTRY_POINTER,
                          .len = sizeof(blob),
                          .word = (int64_t)(uintptr_t)blob};
}

struct value entry_value(const struct entry *e)
{
    struct value v = {.kind = e->kind, .flags = e->flags & (ENTRY_WORD | ENTRY_POINTER)};
    v.len = e->value_len;
    if (!(v.flags & ENTRY_WORD)) {
        v.text = entry_text(e);
        return v;
    }
    v.word = entry_word_get(e);
    if (!(v.flags & ENTRY_POINTER)) v.len = entry_int_width(v.word);
    return v;
}

/* ---- access ---- */

#define LFU_INIT 5u
static uint32_t lfu_minutes(instant_ms now) { return (uint32_t)(now / 60000) & 0xffffu; }

/* The counter as of now: one less for every decay period that has passed. */
static uint32_t lfu_decayed(const struct shard *shard, uint32_t access, instant_ms now)
{
    uint32_t counter = access & 0xffu, elapsed = (lfu_minutes(now) - (access >> 8)) & 0xffffu;
    uint32_t period = shard->options.lfu_decay_time;
    uint32_t periods = period ? elapsed / period : 0;
    return periods > counter ? 0 : counter - periods;
}

uint32_t lfu_access_touched(struct shard *shard, uint32_t access, instant_ms now)
{
    uint32_t counter = lfu_decayed(shard, access, now);
    if (counter < 255) {
        uint64_t base = counter > LFU_INIT ? counter - LFU_INIT : 0;
        if (rng_below(&shard->rng, base * shard->options.lfu_log_factor + 1) == 0) counter++;
    }
    return lfu_minutes(now) << 8 | counter;
}

uint32_t lfu_access_new(instant_ms now) { return lfu_minutes(now) << 8 | LFU_INIT; }

static const struct shard *view_shard(const struct ks *ks)
{
    return ks->shard ? ks->shard : ks->shards[0];
}

bool ks_lfu(const struct ks *ks) { return view_shard(ks)->options.lfu; }

uint32_t entry_idle_s(const struct ks *ks, const struct entry *e)
{
    return ((uint32_t)(ks->now / 1000) - e->access) & 0xffffffu;
}

uint8_t entry_freq(const struct ks *ks, const struct entry *e)
{
    return (uint8_t)lfu_decayed(view_shard(ks), e->access, ks->now);
}

void ks_set_idle(struct ks *ks, struct slice key, uint32_t idle_s)
{
    struct entry *e = ks_peek(ks, key);
    if (e) e->access = ((uint32_t)(ks->now / 1000) - idle_s) & 0xffffffu;
}

void ks_set_freq(struct ks *ks, struct slice key, uint8_t freq)
{
    struct entry *e = ks_peek(ks, key);
    if (e) e->access = (lfu_minutes(ks->now) << 8 | freq) & 0xffffffu;
}

/* ---- what an entry is ---- */

enum value_type entry_type(const struct entry *e) { return (enum value_type)entry_type_of(e); }

const char *type_name(enum value_type type)
{
    switch (type) {
    case TYPE_STRING: return "string";
    case TYPE_LIST: return "list";
    case TYPE_SET: return "set";
    case TYPE_ZSET: return "zset";
    case TYPE_HASH: return "hash";
    case TYPE_STREAM: return "stream";
    }
    return "unknown";
}

struct slice entry_key(const struct entry *e) { return table_key(e); }

instant_ms entry_expiry(const struct entry *e) { return entry_expiry_of(e); }

const char *entry_encoding(const struct entry *e)
{
    if (entry_type_of(e) != TYPE_STRING) {
        switch (entry_form(e)) {
        case FORM_LISTPACK: return "listpack";
        case FORM_INTSET: return "intset";
        case FORM_LISTPACK_EX: return "listpackex";
        case FORM_OBJECT: return entry_object(e)->ops->encoding;
        }
    }
    switch (entry_encoding_of(e)) {
    case STRING_INT: return "int";
    case STRING_TEXT: return "embstr";
    default: return "raw";
    }
}

#define SLOT_BYTES 8u /* the table's part */
size_t entry_bytes(const struct entry *e)
{
    size_t len = entry_len(e);
    size_t bytes = SLOT_BYTES + (len <= SLAB_BLOCK_MAX ? len : mem_usable(e));
    if (!(e->flags & ENTRY_POINTER)) return bytes;
    if (!kind_is_object(e->kind)) return bytes + mem_usable(entry_pointer(e));
    const struct object *object = entry_pointer(e);
    return bytes + object->ops->bytes(object);
}
