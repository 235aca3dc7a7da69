/* From a payload to a value: the footer, the type, and what all types share.
 *
 *   type u8 | value | version u16 | CRC-64 of all before it u64
 *
 * A checksum of 0 means "none was made", as in Redis. What the type's reader builds hangs on the
 * rdb_value from early on, so that whoever finds damage just returns. After the value nothing may
 * follow: Redis would not notice, but no server writes such a payload.
 *
 * Why a value of no key first? RESTORE must know that the payload is good before the key's old
 * value goes, and a payload whose TTL has passed is judged and then dropped.
 * Thread: holder of the shard. */
#include <errno.h>

#include "crc64.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "types.h"

#define VERSION_REDIS_MAX 12u
#define VERSION_VALKEY_MIN 80u
#define VERSION_VALKEY_MAX 89u

/* ---- duplicates ---- */

void seen_deinit(struct seen *seen)
{
    if (seen->slots != seen->few) mem_free(seen->slots);
    seen->slots = NULL;
}

static void seen_put(struct seen *seen, uint64_t hash)
{
    size_t i = hash & seen->mask;
    while (seen->slots[i]) i = (i + 1) & seen->mask;
    seen->slots[i] = hash;
    seen->count++;
}

static bool seen_grow(struct seen *seen)
{
    size_t old = seen->slots ? seen->mask + 1 : 0, cap = old ? old * 2 : ARRAY_COUNT(seen->few);
    uint64_t *slots = seen->slots;
    uint64_t *more = old ? mem_try_zalloc(cap * sizeof(*more)) : seen->few;
    if (!more) return false;
    seen->slots = more;
    seen->mask = cap - 1;
    seen->count = 0;
    for (size_t i = 0; i < old; i++) {
        if (slots[i]) seen_put(seen, slots[i]);
    }
    if (slots != seen->few) mem_free(slots);
    return true;
}

bool seen_add(struct seen *seen, struct rdb_reader *r, struct slice text)
{
    if (seen->count * 2 >= (seen->slots ? seen->mask + 1 : 0) && !seen_grow(seen)) {
        return rdb_no_memory(r);
    }
    uint64_t hash = hash_key(text, seen->seed) | 1u; /* 0 is an empty slot */
    for (size_t i = hash & seen->mask; seen->slots[i]; i = (i + 1) & seen->mask) {
        if (seen->slots[i] == hash) return rdb_bad(r);
    }
    seen_put(seen, hash);
    return true;
}

/* ---- values ---- */

static void object_free(struct shard *shard, struct object *object)
{
    size_t done = 0;
    (void)object->ops->free_step(shard, object, SIZE_MAX, &done);
}

void rdb_value_drop(struct rdb_value *v, struct ks *ks, struct slice key)
{
    switch (v->held) {
    case RDB_OBJECT: object_free(ks_shard_of(ks, key), v->object); break;
    case RDB_SET_EDIT: set_close(&v->set); break;
    case RDB_ZSET_TREE: zset_free(v->zset); break;
    case RDB_LIST_BUILD: list_build_cancel(&v->list); break;
    default: break;
    }
    buf_deinit(&v->bytes);
    v->held = RDB_NOTHING;
}

static int put_bytes(struct rdb_value *v, struct ks *ks, struct slice key, instant_ms expire)
{
    struct slice bytes = buf_slice(&v->bytes);
    if (v->type == TYPE_STRING) return ks_set_string(ks, key, bytes, expire);
    return ks_put_packed(ks, key, v->type, v->form, bytes, expire) ? 0 : -ENOMEM;
}

int rdb_value_put(struct rdb_value *v, struct ks *ks, struct slice key, instant_ms expire)
{
    int rc;
    switch (v->held) {
    case RDB_OBJECT:
        rc = ks_put_object(ks, key, v->object, expire) ? 0 : -ENOMEM;
        if (rc < 0) object_free(ks_shard_of(ks, key), v->object);
        break;
    case RDB_SET_EDIT:
        rc = set_store(&v->set, ks, key, expire);
        if (rc < 0) set_close(&v->set);
        break;
    case RDB_ZSET_TREE: rc = zset_store(ks, key, v->zset, &v->limits->zset, expire); break;
    case RDB_LIST_BUILD: rc = list_build_end(&v->list, ks, key, expire); break;
    default: rc = put_bytes(v, ks, key, expire); break;
    }
    buf_deinit(&v->bytes);
    v->held = RDB_NOTHING;
    return rc;
}

static bool load_string(struct loading *l)
{
    struct rdb_text text = {0};
    l->value->type = TYPE_STRING;
    l->value->held = RDB_BYTES;
    bool ok = rdb_get_text(&l->r, &text);
    if (ok && text.room && text.s.ptr == text.room) { /* the bytes are ours already */
        l->value->bytes = (struct buf){.ptr = text.room, .len = text.s.len, .cap = text.room_len};
        return true;
    }
    if (ok) buf_append_slice(&l->value->bytes, text.s);
    rdb_text_deinit(&text);
    if (ok && l->value->bytes.failed) return rdb_no_memory(&l->r);
    return ok;
}

bool version_known(unsigned version)
{
    return (version > 0 && version <= VERSION_REDIS_MAX) ||
           (version >= VERSION_VALKEY_MIN && version <= VERSION_VALKEY_MAX);
}

unsigned type_of_byte(unsigned version, unsigned byte)
{
    if (version < VERSION_VALKEY_MIN || byte <= RDB_STREAM_LISTPACKS_3) return byte;
    return byte == 22 ? RDB_HASH_2 : UINT32_MAX;
}

bool load_value(struct loading *l, unsigned type)
{
    switch (type) {
    case RDB_STRING: return load_string(l);
    case RDB_LIST:
    case RDB_LIST_ZIPLIST:
    case RDB_LIST_QUICKLIST:
    case RDB_LIST_QUICKLIST_2: return load_list(l, type);
    case RDB_SET:
    case RDB_SET_INTSET:
    case RDB_SET_LISTPACK: return load_set(l, type);
    case RDB_ZSET:
    case RDB_ZSET_2:
    case RDB_ZSET_ZIPLIST:
    case RDB_ZSET_LISTPACK: return load_zset(l, type);
    case RDB_HASH:
    case RDB_HASH_ZIPMAP:
    case RDB_HASH_ZIPLIST:
    case RDB_HASH_LISTPACK:
    case RDB_HASH_METADATA_PRE_GA:
    case RDB_HASH_LISTPACK_EX_PRE_GA:
    case RDB_HASH_METADATA:
    case RDB_HASH_LISTPACK_EX:
    case RDB_HASH_2: return load_hash(l, type);
    case RDB_STREAM_LISTPACKS:
    case RDB_STREAM_LISTPACKS_2:
    case RDB_STREAM_LISTPACKS_3: return load_stream(l, type);
    default: return rdb_bad(&l->r);
    }
}

/* ---- payloads ---- */

unsigned rdb_payload_version(struct slice payload)
{
    uint16_t version;
    uint64_t crc;
    if (payload.len < RDB_FOOTER_LEN) return 0;
    const char *footer = payload.ptr + payload.len - RDB_FOOTER_LEN;
    memcpy(&version, footer, sizeof(version));
    memcpy(&crc, footer + sizeof(version), sizeof(crc));
    if (!version_known(version)) return 0;
    if (crc != 0 && crc != crc64(0, payload.ptr, payload.len - sizeof(crc))) return 0;
    return version;
}

int rdb_restore(struct ks *ks, struct slice key, struct slice payload,
                const struct rdb_limits *limits, struct rdb_value *v)
{
    *v = (struct rdb_value){.held = RDB_NOTHING, .limits = limits};
    unsigned version = rdb_payload_version(payload);
    if (version == 0) return RDB_E_PAYLOAD;
    struct loading l = {
        .r = {.at = payload.ptr, .end = payload.ptr + payload.len - RDB_FOOTER_LEN},
        .ks = ks,
        .key = key,
        .shard = ks_shard_of(ks, key),
        .limits = limits,
        .value = v,
    };
    uint8_t byte;
    if (!rdb_get_byte(&l.r, &byte)) return RDB_E_FORMAT;
    bool ok = load_value(&l, type_of_byte(version, byte));
    if (ok && l.r.at != l.r.end) ok = rdb_bad(&l.r);
    if (ok) return 0;
    rdb_value_drop(v, ks, key);
    return l.r.error == RDB_E_EMPTY ? RDB_E_FORMAT : l.r.error;
}
