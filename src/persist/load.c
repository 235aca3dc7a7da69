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

#define FOOTER_LEN 10u
#define VERSION_REDIS_MAX 12u
#define VERSION_VALKEY_MIN 80u
#define VERSION_VALKEY_MAX 89u

/* ---- duplicates ---- */

void seen_deinit(struct seen *seen)
{
    mem_free(seen->slots);
    *seen = (struct seen){0};
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
    size_t old = seen->slots ? seen->mask + 1 : 0, cap = old ? old * 2 : 32;
    uint64_t *slots = seen->slots;
    uint64_t *more = mem_try_zalloc(cap * sizeof(*more));
    if (!more) return false;
    *seen = (struct seen){.slots = more, .mask = cap - 1, .seed = seen->seed};
    for (size_t i = 0; i < old; i++) {
        if (slots[i]) seen_put(seen, slots[i]);
    }
    mem_free(slots);
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

void rdb_value_deinit(struct rdb_value *v, struct shard *shard)
{
    buf_deinit(&v->bytes);
    size_t done = 0;
    if (v->object) (void)v->object->ops->free_step(shard, v->object, SIZE_MAX, &done);
    *v = (struct rdb_value){0};
}

int rdb_value_put(struct ks *ks, struct slice key, struct rdb_value *v, instant_ms expire)
{
    int rc;
    if (v->type == TYPE_STRING) {
        rc = ks_set_string(ks, key, buf_slice(&v->bytes), expire);
    } else if (v->object) {
        rc = ks_put_object(ks, key, v->object, expire) ? 0 : -ENOMEM;
        if (rc == 0) v->object = NULL;
    } else {
        struct slice bytes = buf_slice(&v->bytes);
        rc = ks_put_packed(ks, key, v->type, v->form, bytes, expire) ? 0 : -ENOMEM;
    }
    if (rc == 0) buf_deinit(&v->bytes);
    return rc;
}

static bool load_string(struct loading *l)
{
    struct rdb_text text = {0};
    l->value->type = TYPE_STRING;
    bool ok = rdb_get_text(&l->r, &text);
    if (ok) buf_append_slice(&l->value->bytes, text.s);
    rdb_text_deinit(&text);
    if (ok && l->value->bytes.failed) return rdb_no_memory(&l->r);
    return ok;
}

static bool load_value(struct loading *l, unsigned type)
{
    switch (type) {
    case RDB_STRING: return load_string(l);
    default: return rdb_bad(&l->r);
    }
}

/* ---- payloads ---- */

/* Which version wrote it; 0: none that we read, or damaged. */
static unsigned payload_version(struct slice payload)
{
    uint16_t version;
    uint64_t crc;
    if (payload.len < FOOTER_LEN) return 0;
    const char *footer = payload.ptr + payload.len - FOOTER_LEN;
    memcpy(&version, footer, sizeof(version));
    memcpy(&crc, footer + sizeof(version), sizeof(crc));
    bool known = version <= VERSION_REDIS_MAX ||
                 (version >= VERSION_VALKEY_MIN && version <= VERSION_VALKEY_MAX);
    if (!known || version == 0) return 0;
    if (crc != 0 && crc != crc64(0, payload.ptr, payload.len - sizeof(crc))) return 0;
    return version;
}

int rdb_restore(struct shard *shard, struct slice payload, const struct rdb_limits *limits,
                struct rdb_value *v)
{
    *v = (struct rdb_value){0};
    unsigned version = payload_version(payload);
    if (version == 0) return RDB_E_PAYLOAD;
    struct loading l = {
        .r = {.at = payload.ptr, .end = payload.ptr + payload.len - FOOTER_LEN},
        .shard = shard,
        .limits = limits,
        .value = v,
    };
    uint8_t type;
    if (!rdb_get_byte(&l.r, &type)) return RDB_E_FORMAT;
    bool valkey = version >= VERSION_VALKEY_MIN;
    unsigned known = type;
    if (valkey && type > RDB_STREAM_LISTPACKS_3) known = type == 22 ? RDB_HASH_2 : UINT32_MAX;
    bool ok = load_value(&l, known);
    if (ok && l.r.at != l.r.end) ok = rdb_bad(&l.r);
    if (ok) return 0;
    rdb_value_deinit(v, shard);
    return l.r.error;
}
