/* A value outside its shard, as bytes: how a command whose keys live in several shards brings them
 * to its coordinator's scratch shard, and the results back (DESIGN section 4).
 *
 *   kind | 0 | access 4 B | expiry 8 B | value         absent: one byte 0xff
 *
 * The value is text as it is, eight bytes of a number, or what the type's object_ops.save writes.
 * Images never reach a disk or another process; persistence has its own format.
 * Thread: holder of the shard. */
#include "shard.h"

#define IMAGE_ABSENT 0xffu
#define IMAGE_HEAD 14u

static void put_head(struct buf *out, const struct entry *e)
{
    char head[IMAGE_HEAD];
    uint32_t access = e->access;
    instant_ms expire = entry_expiry_of(e);
    head[0] = (char)e->kind;
    head[1] = 0;
    memcpy(head + 2, &access, sizeof(access));
    memcpy(head + 6, &expire, sizeof(expire));
    buf_append(out, head, sizeof(head));
}

void ks_image_write(struct ks *ks, struct slice key, struct buf *out)
{
    const struct entry *e = ks_peek(ks, key);
    if (!e) {
        buf_append_char(out, (char)IMAGE_ABSENT);
        return;
    }
    put_head(out, e);
    struct value v = entry_value(e);
    if (!(v.flags & ENTRY_WORD)) {
        buf_append(out, v.text, v.len);
    } else if (!(v.flags & ENTRY_POINTER)) {
        buf_append(out, &v.word, sizeof(v.word));
    } else if (!kind_is_object(e->kind)) {
        const struct blob *blob = entry_pointer(e);
        buf_append(out, blob->data, blob->len);
    } else {
        const struct object *object = entry_pointer(e);
        object->ops->save(object, out);
    }
}

static int put_text(struct ks *ks, struct slice key, unsigned encoding, struct slice text,
                    instant_ms expire)
{
    if (encoding == STRING_TEXT) return ks_set_text(ks, key, text, expire);
    struct blob *blob = mem_try_alloc(sizeof(*blob) + text.len);
    if (!blob) return -ENOMEM;
    blob->len = blob->cap = text.len;
    if (text.len) memcpy(blob->data, text.ptr, text.len);
    int rc = ks_set_blob(ks, key, blob, expire);
    if (rc < 0) mem_free(blob);
    return rc;
}

static int put_object(struct ks *ks, struct slice key, uint8_t kind, struct slice image,
                      instant_ms expire)
{
    struct shard *shard = ks_shard_of(ks, key);
    const struct object_ops *ops = shard->objects[kind & 15u];
    check(ops != NULL);
    struct object *object = ops->load(shard, image);
    if (!object) return -ENOMEM;
    if (ks_put_object(ks, key, object, expire)) return 0;
    size_t done = 0;
    (void)ops->free_step(shard, object, SIZE_MAX, &done);
    return -ENOMEM;
}

static int put_value(struct ks *ks, struct slice key, uint8_t kind, struct slice value,
                     instant_ms expire)
{
    if ((kind & 15u) == TYPE_STRING) {
        if (kind >> 4 != STRING_INT) return put_text(ks, key, kind >> 4, value, expire);
        int64_t number;
        check(value.len == sizeof(number));
        memcpy(&number, value.ptr, sizeof(number));
        return ks_set_int(ks, key, number, expire);
    }
    if (kind_is_object(kind)) return put_object(ks, key, kind, value, expire);
    enum value_type type = (enum value_type)(kind & 15u);
    return ks_put_packed(ks, key, type, (enum form)(kind >> 4), value, expire) ? 0 : -ENOMEM;
}

int ks_image_put(struct ks *ks, struct slice key, struct slice image)
{
    check(image.len > 0);
    uint8_t kind = (uint8_t)image.ptr[0];
    if (kind == IMAGE_ABSENT) {
        (void)ks_delete(ks, key, true);
        return 0;
    }
    check(image.len >= IMAGE_HEAD);
    uint32_t access;
    instant_ms expire;
    memcpy(&access, image.ptr + 2, sizeof(access));
    memcpy(&expire, image.ptr + 6, sizeof(expire));
    struct slice value = slice_of(image.ptr + IMAGE_HEAD, image.len - IMAGE_HEAD);
    int rc = put_value(ks, key, kind, value, expire);
    if (rc < 0) return rc;
    bool stale;
    struct place p = ks_place(ks, key, &stale);
    if (p.entry) p.entry->access = access & 0xffffffu;
    return 0;
}
