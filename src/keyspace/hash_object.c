/* Large hashes: a dict of blocks, one per field, name and value in one piece.
 *
 * One block, because a field is always read with its value: a lookup is one miss for the slot and
 * one for the block, and a field of 16 bytes with a value of 32 takes 56 bytes. A value of the same
 * size class is overwritten in place; else the field gets another block and its slot another
 * pointer. Lengths that do not fit the header's three bytes follow it, so a value of 512 MiB is
 * still one block; it is a client's size, so it may be refused.
 *
 * The expiry lies in the block and the slot's bit says so: the dict keeps the lowest of each
 * segment, and taking out what is due looks only where something is.
 *
 * Freeing happens in slices of fields; a block of many pages counts for more than one, because the
 * kernel's time to take it back does.
 *
 * Image: count 8 | (expiry 8 | name length 8 | value length 8 | name | value) …
 * Thread: holder of the shard. */
#include "hash_impl.h"
#include "splitring/keyspace/snapshot.h"

/* ---- blocks ---- */

#define NAME_SHORT_MAX UINT8_MAX
#define VALUE_SHORT_MAX UINT16_MAX

static size_t body_head(unsigned flags) { return (flags & FIELD_TTL) + (flags & FIELD_LONG); }

static size_t name_len(const struct field *f)
{
    if (likely(!(f->flags & FIELD_LONG))) return f->name_len;
    uint64_t len;
    memcpy(&len, f->body + (f->flags & FIELD_TTL), sizeof(len));
    return (size_t)len;
}

static size_t value_len(const struct field *f)
{
    if (likely(!(f->flags & FIELD_LONG))) return f->value_len;
    uint64_t len;
    memcpy(&len, f->body + (f->flags & FIELD_TTL) + 8, sizeof(len));
    return (size_t)len;
}

struct slice field_name(const struct field *f)
{
    return slice_of(f->body + body_head(f->flags), name_len(f));
}

struct slice field_value(const struct field *f)
{
    return slice_of(f->body + body_head(f->flags) + name_len(f), value_len(f));
}

instant_ms field_expiry(const struct field *f)
{
    if (likely(!(f->flags & FIELD_TTL))) return EXPIRE_NONE;
    instant_ms expire;
    memcpy(&expire, f->body, sizeof(expire));
    return expire;
}

void field_item(const struct field *f, struct hash_item *item)
{
    item->field = field_name(f);
    item->value = field_value(f);
    item->expire = field_expiry(f);
}

static unsigned flags_for(size_t name, size_t value, instant_ms expire)
{
    unsigned flags = expire != EXPIRE_NONE ? FIELD_TTL : 0;
    return name > NAME_SHORT_MAX || value > VALUE_SHORT_MAX ? flags | FIELD_LONG : flags;
}

static size_t block_len_for(unsigned flags, size_t name, size_t value)
{
    return slab_class_len(sizeof(struct field) + body_head(flags) + name + value);
}

static size_t block_len(const struct field *f)
{
    return block_len_for(f->flags, name_len(f), value_len(f));
}

static void put_lengths(struct field *f, size_t name, size_t value)
{
    if (likely(!(f->flags & FIELD_LONG))) {
        f->name_len = (uint8_t)name;
        f->value_len = (uint16_t)value;
        return;
    }
    uint64_t lengths[2] = {name, value};
    memcpy(f->body + (f->flags & FIELD_TTL), lengths, sizeof(lengths));
}

static struct field *field_new(struct shard *shard, struct hash_object *ho, struct slice name,
                               struct slice value, instant_ms expire)
{
    unsigned flags = flags_for(name.len, value.len, expire);
    size_t len = block_len_for(flags, name.len, value.len);
    struct field *f = shard_alloc(shard, len);
    if (unlikely(!f)) return NULL;
    ho->blocks_bytes += len;
    *f = (struct field){.flags = (uint8_t)flags};
    if (flags & FIELD_TTL) memcpy(f->body, &expire, sizeof(expire));
    put_lengths(f, name.len, value.len);
    char *at = f->body + body_head(flags);
    if (name.len) memcpy(at, name.ptr, name.len);
    if (value.len) memcpy(at + name.len, value.ptr, value.len);
    return f;
}

void field_free(struct shard *shard, struct hash_object *ho, struct field *f)
{
    size_t len = block_len(f);
    ho->blocks_bytes -= len;
    shard_release(shard, f, len);
}

static struct slice dict_key(const void *entry) { return field_name(entry); }
static const struct table_ops field_table_ops = {.key = dict_key};

/* ---- the object ---- */

/* After the dict may have grown or shrunk. */
static void count_dict(struct shard *shard, struct hash_object *ho)
{
    size_t bytes = dict_bytes(&ho->dict);
    if (likely(bytes == ho->dict_counted)) return;
    shard_count_bytes(shard, (ptrdiff_t)bytes - (ptrdiff_t)ho->dict_counted);
    ho->dict_counted = bytes;
}

struct object *hash_object_new(struct shard *shard)
{
    struct hash_object *ho = shard_alloc(shard, sizeof(*ho));
    if (!ho) return NULL;
    *ho = (struct hash_object){.object.ops = &hash_object_ops};
    dict_init(&ho->dict, &field_table_ops, shard->options.seed);
    return &ho->object;
}

void hash_object_reserve(struct object *object, size_t count)
{
    struct hash_object *ho = CONTAINER_OF(object, struct hash_object, object);
    dict_reserve(&ho->dict, count);
}

void hash_object_free(struct shard *shard, struct object *object)
{
    size_t done = 0;
    bool all = hash_object_ops.free_step(shard, object, SIZE_MAX, &done);
    check(all);
}

static uint64_t hash_of(const struct hash_object *ho, struct slice name)
{
    return hash_key(name, ho->dict.seed);
}

struct field *hash_object_find(const struct hash_object *ho, struct slice name)
{
    return dict_find(&ho->dict, hash_of(ho, name), name);
}

static int insert(struct shard *shard, struct hash_object *ho, uint64_t hash, struct slice name,
                  struct slice value, instant_ms expire)
{
    struct field *f = field_new(shard, ho, name, value, expire);
    if (unlikely(!f)) return -ENOMEM;
    bool ttl = expire != EXPIRE_NONE;
    if (unlikely(dict_insert(&ho->dict, hash, f, ttl ? TABLE_BIT_TTL : 0) < 0)) {
        field_free(shard, ho, f);
        return -ENOMEM;
    }
    if (ttl) dict_note_expiry(&ho->dict, hash, expire);
    count_dict(shard, ho);
    return 0;
}

/* The field in the slot gets this value and expiry. The value may be its own. */
static int overwrite(struct shard *shard, struct hash_object *ho, uint64_t hash, uint64_t *slot,
                     struct slice value, instant_ms expire)
{
    struct field *f = table_slot_entry(slot);
    struct slice name = field_name(f);
    object_before_write(shard, &ho->object, slot);
    unsigned flags = flags_for(name.len, value.len, expire);
    if (flags == f->flags && block_len_for(flags, name.len, value.len) == block_len(f)) {
        if (flags & FIELD_TTL) memcpy(f->body, &expire, sizeof(expire));
        put_lengths(f, name.len, value.len);
        if (value.len) memmove(f->body + body_head(flags) + name.len, value.ptr, value.len);
    } else {
        struct field *moved = field_new(shard, ho, name, value, expire);
        if (unlikely(!moved)) return -ENOMEM;
        table_slot_replace(slot, moved);
        field_free(shard, ho, f);
        unsigned bits = table_slot_bits(slot) & ~TABLE_BIT_TTL;
        table_slot_set_bits(slot, expire != EXPIRE_NONE ? bits | TABLE_BIT_TTL : bits);
    }
    if (expire != EXPIRE_NONE) dict_note_expiry(&ho->dict, hash, expire);
    return 0;
}

int hash_object_set(struct shard *shard, struct hash_object *ho, struct slice name,
                    struct slice value, instant_ms expire)
{
    uint64_t hash = hash_of(ho, name);
    uint64_t *slot = dict_find_slot(&ho->dict, hash, name);
    if (!slot) {
        if (expire == EXPIRE_KEEP) expire = EXPIRE_NONE;
        int error = insert(shard, ho, hash, name, value, expire);
        return error ? error : HASH_SET_CREATED;
    }
    if (expire == EXPIRE_KEEP) expire = field_expiry(table_slot_entry(slot));
    int error = overwrite(shard, ho, hash, slot, value, expire);
    return error ? error : HASH_SET_UPDATED;
}

int hash_object_add(struct shard *shard, struct object *object, struct slice field,
                    struct slice value, instant_ms expire)
{
    struct hash_object *ho = CONTAINER_OF(object, struct hash_object, object);
    uint64_t hash = hash_of(ho, field);
    if (dict_find_slot(&ho->dict, hash, field)) return -EEXIST;
    return insert(shard, ho, hash, field, value, expire);
}

bool hash_object_remove(struct shard *shard, struct hash_object *ho, struct slice name)
{
    uint64_t hash = hash_of(ho, name);
    if (unlikely(ho->object.duty != NULL))
        object_before_write(shard, &ho->object, dict_find_slot(&ho->dict, hash, name));
    struct field *f = dict_remove(&ho->dict, hash, name);
    if (!f) return false;
    field_free(shard, ho, f);
    count_dict(shard, ho);
    return true;
}

int hash_object_set_expiry(struct shard *shard, struct hash_object *ho, struct slice name,
                           instant_ms expire)
{
    uint64_t hash = hash_of(ho, name);
    uint64_t *slot = dict_find_slot(&ho->dict, hash, name);
    if (!slot) return 0;
    return overwrite(shard, ho, hash, slot, field_value(table_slot_entry(slot)), expire);
}

/* ---- what is due ---- */

struct due {
    instant_ms now;
    struct field **out;
    size_t count, max;
};

static int64_t due_visit(void *ctx, void *entry)
{
    struct due *due = ctx;
    /* No more fit: the segment stays due, and nobody looks at the rest of it. */
    if (due->count == due->max) return due->now - 1;
    instant_ms expire = field_expiry(entry);
    if (expire >= due->now) return expire;
    due->out[due->count++] = entry;
    return INT64_MAX;
}

size_t hash_object_take_due(struct shard *shard, struct hash_object *ho, instant_ms now,
                            size_t max, struct field **out, size_t *work)
{
    struct due due = {.now = now, .out = out, .max = max};
    size_t visited = 0;
    *work = 1;
    ho->sweep_cursor =
        dict_sweep(&ho->dict, ho->sweep_cursor, now - 1, 1, due_visit, &due, &visited);
    *work += visited;
    for (size_t i = 0; i < due.count; i++) {
        struct slice name = field_name(out[i]);
        uint64_t hash = hash_of(ho, name);
        if (unlikely(ho->object.duty != NULL))
            object_before_write(shard, &ho->object, dict_find_slot(&ho->dict, hash, name));
        void *removed = dict_remove(&ho->dict, hash, name);
        check(removed == out[i]);
    }
    count_dict(shard, ho);
    return due.count;
}

/* ---- object_ops ---- */

#define BIG_BLOCK 4096u /* bytes that are worth one more of the budget */

struct release {
    struct shard *shard;
    struct hash_object *ho;
    size_t cost;
};

static void release_field(void *ctx, void *entry)
{
    struct release *r = ctx;
    r->cost += 1 + block_len(entry) / BIG_BLOCK;
    field_free(r->shard, r->ho, entry);
}

static bool free_step(struct shard *shard, struct object *object, size_t budget, size_t *done)
{
    struct hash_object *ho = CONTAINER_OF(object, struct hash_object, object);
    struct release r = {.shard = shard, .ho = ho};
    /* In small handfuls, because only a freed block tells what it cost. */
    bool more = true;
    while (more && r.cost < budget) {
        size_t count = budget == SIZE_MAX ? SIZE_MAX : 16;
        more = dict_drain(&ho->dict, count, release_field, &r);
    }
    *done = r.cost;
    count_dict(shard, ho);
    if (more) return false;
    dict_deinit(&ho->dict);
    count_dict(shard, ho);
    shard_release(shard, ho, sizeof(*ho));
    return true;
}

static size_t count(const struct object *object)
{
    const struct hash_object *ho = CONTAINER_OF(object, const struct hash_object, object);
    /* A few large blocks are worth slices too. */
    return dict_count(&ho->dict) + ho->blocks_bytes / BIG_BLOCK;
}

static size_t bytes(const struct object *object)
{
    const struct hash_object *ho = CONTAINER_OF(object, const struct hash_object, object);
    return sizeof(*ho) + dict_bytes(&ho->dict) + ho->blocks_bytes;
}

static void save_field(void *ctx, void *entry, unsigned bits)
{
    (void)bits;
    struct slice name = field_name(entry), value = field_value(entry);
    int64_t head[3] = {field_expiry(entry), (int64_t)name.len, (int64_t)value.len};
    buf_append(ctx, head, sizeof(head));
    buf_append_slice(ctx, name);
    buf_append_slice(ctx, value);
}

static void save(const struct object *object, struct buf *out)
{
    const struct hash_object *ho = CONTAINER_OF(object, const struct hash_object, object);
    uint64_t fields = dict_count(&ho->dict);
    buf_append(out, &fields, sizeof(fields));
    dict_each(&ho->dict, save_field, out);
}

static struct object *load(struct shard *shard, struct slice image)
{
    struct object *object = hash_object_new(shard);
    if (!object) return NULL;
    uint64_t fields;
    const char *at = image.ptr, *end = image.ptr + image.len;
    memcpy(&fields, at, sizeof(fields));
    at += sizeof(fields);
    hash_object_reserve(object, (size_t)fields);
    while (at < end) {
        int64_t head[3];
        memcpy(head, at, sizeof(head));
        at += sizeof(head);
        struct slice name = slice_of(at, (size_t)head[1]);
        struct slice value = slice_of(at + name.len, (size_t)head[2]);
        at = value.ptr + value.len;
        if (hash_object_add(shard, object, name, value, head[0]) == 0) continue;
        hash_object_free(shard, object);
        return NULL;
    }
    return object;
}

static instant_ms next_expiry(const struct object *object)
{
    return dict_expiry_min(&CONTAINER_OF(object, const struct hash_object, object)->dict);
}

static struct dict *members(struct object *object)
{
    return &CONTAINER_OF(object, struct hash_object, object)->dict;
}

static void part(const void *piece, struct snapshot_part *part)
{
    part->text = field_name(piece);
    part->value = field_value(piece);
    part->expire = field_expiry(piece);
}

static void *move_field(void *ctx, void *field)
{
    return shard_moved(ctx, field, block_len(field));
}

static uint64_t evacuate(struct shard *shard, struct object *object, uint64_t cursor,
                         size_t slots_max, size_t *looked)
{
    return dict_move(members(object), cursor, slots_max, move_field, shard, looked);
}

const struct object_ops hash_object_ops = {
    .type = TYPE_HASH,
    .encoding = "hashtable",
    .free_step = free_step,
    .count = count,
    .bytes = bytes,
    .save = save,
    .load = load,
    .next_expiry = next_expiry,
    .members = members,
    .part = part,
    .evacuate = evacuate,
};
