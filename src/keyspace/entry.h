/* One key with its value: a single block of the shard's slab (private to the keyspace).
 *
 *   header 8 B | expiry 8 B ? | key length 8 B ? | key | value
 *              | ENTRY_TTL    | ENTRY_LONG_KEY   |
 *
 * The value is text that follows the key, or one word (an integer or a pointer) that ends with the
 * block's last byte. Blocks end on 8-byte boundaries, so the word's aligned container can be loaded
 * whole; an integer of w bytes is its upper w bytes, and the rest belongs to whatever lies before
 * (key, header). A key of 16 bytes and a value of 32 take 56 bytes, 64 with a TTL.
 *
 * A block's length follows from its header alone; nothing else remembers it.
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_ENTRY_H
#define SPLITRING_KEYSPACE_ENTRY_H

#include <errno.h>

#include "splitring/base/check.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/keyspace/keyspace.h"
#include "splitring/keyspace/object.h"
#include "splitring/resp/parse.h"

enum entry_flag {
    ENTRY_POINTER = 1u << 0, /* the word is a pointer: struct blob, or struct object */
    ENTRY_WORD = 1u << 1,    /* the value is one word at the block's end */
    ENTRY_TTL = 1u << 3,     /* an expiry follows the header; the value 8 is its size */
    ENTRY_LONG_KEY = 1u << 4 /* the key's length is a word of its own; twice the word's size */
};

/* How a string is held; shares the kind byte with the type. Other types bring their own numbers. */
enum string_encoding { STRING_TEXT = 0, STRING_INT = 1, STRING_RAW = 2 }; /* never FORM_OBJECT */
#define STRING_TEXT_MAX 44u /* longer text is RAW; Redis: what fits a 64-byte block of its own */

#define ENTRY_KIND(type, encoding) ((uint8_t)((unsigned)(type) | (unsigned)(encoding) << 4))
/* Else what hangs on a pointer is a struct blob: a long string, or packed bytes. */
static inline bool kind_is_object(uint8_t kind) { return kind >> 4 == FORM_OBJECT; }
/* A hash in one of the forms whose fields may have an expiry (hash_next_expiry). */
static inline bool kind_has_fields(uint8_t kind)
{
    return (kind & 15u) == TYPE_HASH && kind >> 4 >= FORM_LISTPACK_EX;
}
#define ENTRY_KEY_SHORT 255u
#define ENTRY_VALUE_SHORT 64u /* stays inline even where a long key has left the slab's classes */

struct entry {
    uint8_t kind;       /* ENTRY_KIND */
    uint8_t flags;      /* entry_flag */
    uint16_t value_len; /* bytes of text, or of the word that are in use (1..8) */
    uint32_t key_len : 8;
    uint32_t access : 24; /* LRU: seconds; LFU: minutes (16 bits) and logarithmic counter (8) */
    uint64_t body[];
};
static_assert(sizeof(struct entry) == 8, "the header is one word");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read from their upper end");

/* A value outside an entry: what is to be stored, or a view of what is. */
struct value {
    uint8_t kind;
    uint8_t flags; /* ENTRY_POINTER, ENTRY_WORD */
    bool moved;    /* what is there already, elsewhere and perhaps amid an edit: not to be read */
    size_t len;    /* text, or bytes needed of the word */
    const char *text;
    int64_t word;
};

static inline unsigned entry_encoding_of(const struct entry *e) { return e->kind >> 4; }
static inline unsigned entry_type_of(const struct entry *e) { return e->kind & 15u; }
static inline bool entry_has_ttl(const struct entry *e) { return (e->flags & ENTRY_TTL) != 0; }

static inline size_t entry_key_offset(const struct entry *e)
{
    return sizeof(struct entry) + (e->flags & ENTRY_TTL) + ((e->flags & ENTRY_LONG_KEY) >> 1);
}
static inline size_t entry_key_len(const struct entry *e)
{
    if (likely(!(e->flags & ENTRY_LONG_KEY))) return e->key_len;
    return (size_t)e->body[entry_has_ttl(e) ? 1 : 0];
}
static inline char *entry_key_ptr(const struct entry *e)
{
    return (char *)(uintptr_t)e + entry_key_offset(e);
}
/* Bytes before the value: header, expiry, key. */
static inline size_t entry_head(const struct entry *e)
{
    return entry_key_offset(e) + entry_key_len(e);
}
static inline size_t entry_head_for(size_t key_len, bool ttl)
{
    return sizeof(struct entry) + (ttl ? 8u : 0u) + (key_len > ENTRY_KEY_SHORT ? 8u : 0u) + key_len;
}
/* Of the whole block, a multiple of 8. */
static inline size_t entry_len(const struct entry *e)
{
    return slab_class_len(entry_head(e) + e->value_len);
}
/* The aligned word that the block ends with. */
static inline uint64_t *entry_word(const struct entry *e)
{
    return (uint64_t *)(void *)((char *)(uintptr_t)e + entry_len(e)) - 1;
}
static inline int64_t entry_word_get(const struct entry *e)
{
    return (int64_t)*entry_word(e) >> (64u - 8u * e->value_len);
}
static inline void *entry_pointer(const struct entry *e)
{
    return (void *)(uintptr_t)*entry_word(e);
}
/* As entry_object(). */
static inline struct object *entry_object_of(const struct entry *e)
{
    return kind_is_object(e->kind) ? entry_pointer(e) : NULL;
}
static inline char *entry_text(const struct entry *e)
{
    return (char *)(uintptr_t)e + entry_head(e);
}
static inline instant_ms entry_expiry_of(const struct entry *e)
{
    return entry_has_ttl(e) ? (instant_ms)e->body[0] : EXPIRE_NONE;
}
/* Bytes of a word that hold the number with its sign. */
static inline size_t entry_int_width(int64_t number)
{
    uint64_t bits = (uint64_t)(number ^ (number >> 63));
    return bits == 0 ? 1 : (64u - (unsigned)__builtin_clzll(bits)) / 8u + 1u;
}
/* May a text of this length lie inside the entry? */
static inline bool entry_inline_fits(size_t head, size_t value_len)
{
    return head + value_len <= SLAB_BLOCK_MAX || value_len <= ENTRY_VALUE_SHORT;
}

/* A block with header, key and expiry (EXPIRE_NONE: no room for one); the value is not yet there.
 * NULL: no memory. */
struct entry *entry_new(struct shard *shard, struct slice key, instant_ms expire,
                        size_t value_len) WARN_UNUSED;
/* Only the block; what a pointer leads to stays. */
void entry_free_shell(struct shard *shard, struct entry *e);
/* Block and value; values that take long go to the shard's pending work. */
void entry_free(struct shard *shard, struct entry *e, bool async);
/* What hangs on a value's pointer, if it has one. */
void value_free(struct shard *shard, const struct value *v, bool async);

/* Does the value fit into this block as it is (same size class, same header)? */
static inline bool entry_value_fits(const struct entry *e, const struct value *v)
{
    return slab_class_len(entry_head(e) + v->len) == entry_len(e);
}

static inline void entry_value_store(struct entry *e, const struct value *v)
{
    size_t head = entry_head(e);
    e->kind = v->kind;
    e->flags = (uint8_t)((e->flags & (ENTRY_TTL | ENTRY_LONG_KEY)) | v->flags);
    if (!(v->flags & ENTRY_WORD)) {
        e->value_len = (uint16_t)v->len;
        if (v->len) memmove((char *)e + head, v->text, v->len);
        return;
    }
    /* A word takes what the size class has to spare, up to eight bytes. */
    size_t room = slab_class_len(head + v->len) - head;
    size_t width = room < 8 ? room : 8;
    e->value_len = (uint16_t)width;
    char bytes[8];
    memcpy(bytes, &v->word, sizeof(bytes));
    memcpy((char *)e + head + room - width, bytes, width);
}
struct value entry_value(const struct entry *e);
struct value value_of_int(int64_t number);
/* Text that may lie inside (entry_inline_fits); longer ones are blobs: see string.c. */
struct value value_of_text(struct slice text, unsigned encoding);
struct value value_of_blob(struct blob *blob);
/* A large value's block: room for cap bytes, none in use. NULL: no memory. */
struct blob *blob_new(struct shard *shard, size_t cap, bool zeroed);
void blob_free(struct shard *shard, struct blob *blob);

#endif
