/* A stream's nodes: entries in a listpack, packed exactly as Redis packs them.
 *
 *   node    count | deleted | fields of the master | field … | 0 | entry …
 *   entry   flags | ms - master's | seq - master's | [fields | field value …] or [value …] | n
 *
 * The master entry is no entry: it is the id (the block's key) and the field names that the first
 * entry had, so that entries with the same names (ENTRY_SAME_FIELDS) need not repeat them. n counts
 * the entry's elements before it: from the end one steps back over entry after entry, until the
 * master's 0. A deleted entry keeps its place and only gets a flag; its node goes with the last of
 * its valid entries.
 *
 * All numbers in here are what this file wrote, or what stream_build_node() has looked at: reading
 * needs no further checks.
 * Source: https://redis.io/docs/latest/develop/data-types/streams/ and DUMPs of redis-server.
 * Thread: holder of the shard. */
#include "stream_impl.h"

#define NUMBER_BYTES_MAX 11u /* an integer element */
/* Of a node of several entries, whatever is configured: a write copies a node that a snapshot still
 * needs. (Redis would go on to a gigabyte.) */
#define NODE_BYTES_MAX (1u << 20)
#define TEXT_BYTES_MORE 10u  /* head and backlen of a text; a number takes no more than that */

int64_t node_number(const char *bytes, size_t at)
{
    struct lp_value value = lp_get(bytes, at);
    return value.text.ptr ? 0 : value.number;
}

static size_t skip(const char *bytes, size_t at, uint64_t elements)
{
    for (; elements > 0; elements--) at += lp_element_len(bytes, at);
    return at;
}

/* at, or LP_NONE where that is the end of the listpack */
static size_t or_none(const char *bytes, size_t at)
{
    return (uint8_t)bytes[at] == LP_END ? LP_NONE : at;
}

void node_head_read(struct node_head *head, const char *bytes)
{
    size_t at = LP_HEADER;
    head->count = node_number(bytes, at);
    at = head->deleted_at = skip(bytes, at, 1);
    head->deleted = node_number(bytes, at);
    at = skip(bytes, at, 1);
    head->master_fields = (uint32_t)node_number(bytes, at);
    at = head->master_at = skip(bytes, at, 1);
    at = skip(bytes, at, head->master_fields + (uint64_t)1);
    head->first_at = or_none(bytes, at);
}

static struct stream_id id_at(const char *bytes, size_t at, struct stream_id master)
{
    uint64_t ms = (uint64_t)node_number(bytes, at);
    uint64_t seq = (uint64_t)node_number(bytes, skip(bytes, at, 1));
    return (struct stream_id){master.ms + ms, master.seq + seq};
}

struct stream_id node_last_id(const struct block *block)
{
    size_t at = lp_last(block->bytes);
    int64_t back = node_number(block->bytes, at);
    if (back == 0) return id_of_key(block->key);
    for (; back > 0; back--) at = lp_prev(block->bytes, at);
    return id_at(block->bytes, skip(block->bytes, at, 1), id_of_key(block->key));
}

int node_set_counts(struct blocks *b, struct blocks_cursor *c, int64_t count, int64_t deleted)
{
    char *bytes = c->block->bytes;
    size_t deleted_at = skip(bytes, LP_HEADER, 1);
    bool small = count <= LP_UINT7_MAX && deleted <= LP_UINT7_MAX;
    if (likely(small && (uint8_t)bytes[LP_HEADER] <= LP_UINT7_MAX &&
               (uint8_t)bytes[deleted_at] <= LP_UINT7_MAX)) {
        bytes[LP_HEADER] = (char)count;
        bytes[deleted_at] = (char)deleted;
        blocks_changed(b, c, c->block->len, (uint32_t)count);
        return 0;
    }
    if (!block_resize(b, c->block, c->block->len + 2u * NUMBER_BYTES_MAX)) return -ENOMEM;
    struct block_lp edit;
    block_lp_open(&edit, b, c->block);
    int rc = lp_replace_number(&edit.lp, LP_HEADER, count);
    if (!rc) rc = lp_replace_number(&edit.lp, skip(edit.lp.bytes, LP_HEADER, 1), deleted);
    check(rc == 0); /* there is room */
    blocks_changed(b, c, (uint32_t)lp_len(edit.lp.bytes), (uint32_t)count);
    return 0;
}

/* ---- appending ---- */

struct addition {
    struct stream_id id, master;
    const struct slice *pairs;
    size_t fields;
    size_t text_bytes;
};

static size_t entry_room(const struct addition *a)
{
    return a->text_bytes + 2 * a->fields * TEXT_BYTES_MORE + 5u * NUMBER_BYTES_MAX;
}

/* Elements are added to out; how many. */
static uint64_t write_entry(struct buf *out, const struct addition *a, bool same)
{
    lp_build_add_number(out, same ? ENTRY_SAME_FIELDS : 0);
    lp_build_add_number(out, (int64_t)(a->id.ms - a->master.ms));
    lp_build_add_number(out, (int64_t)(a->id.seq - a->master.seq));
    if (!same) lp_build_add_number(out, (int64_t)a->fields);
    for (size_t i = 0; i < a->fields; i++) {
        if (!same) lp_build_add(out, a->pairs[2 * i]);
        lp_build_add(out, a->pairs[2 * i + 1]);
    }
    uint64_t elements = 3 + a->fields + (same ? 0 : a->fields + 1);
    lp_build_add_number(out, (int64_t)elements);
    return elements + 1;
}

static int add_node(struct stream *s, struct addition *a)
{
    a->master = a->id;
    struct buf out = {0};
    size_t room = LP_EMPTY_LEN + a->text_bytes + a->fields * TEXT_BYTES_MORE +
                  4u * NUMBER_BYTES_MAX + entry_room(a);
    if (!buf_reserve(&out, room)) return -ENOMEM;
    lp_build_begin(&out);
    lp_build_add_number(&out, 1);
    lp_build_add_number(&out, 0);
    lp_build_add_number(&out, (int64_t)a->fields);
    for (size_t i = 0; i < a->fields; i++) lp_build_add(&out, a->pairs[2 * i]);
    lp_build_add_number(&out, 0);
    write_entry(&out, a, true);
    lp_build_end(&out, 0);
    struct blocks_cursor c;
    struct block_init init = {
        .bytes = out.ptr, .len = (uint32_t)out.len, .count = 1, .key = key_of_id(a->id)};
    if (!out.failed && blocks_append(&s->nodes, &init, &c) == 0) return 0;
    buf_deinit(&out);
    return -ENOMEM;
}

static bool same_fields(const char *bytes, const struct node_head *head, const struct addition *a)
{
    if (head->master_fields != a->fields) return false;
    size_t at = head->master_at;
    for (size_t i = 0; i < a->fields; i++, at = skip(bytes, at, 1)) {
        if (!lp_equal(bytes, at, a->pairs[2 * i])) return false;
    }
    return true;
}

static int add_entry(struct stream *s, struct blocks_cursor *c, struct addition *a,
                     const struct node_head *head)
{
    struct blocks *b = &s->nodes;
    if (blocks_own(b, c)) return -ENOMEM;
    struct block *block = c->block;
    if (!block_resize(b, block, block->len + entry_room(a) + 2u * NUMBER_BYTES_MAX)) return -ENOMEM;
    a->master = id_of_key(block->key);
    bool same = same_fields(block->bytes, head, a);
    struct buf out = {.ptr = block->bytes, .len = block->len - 1u, .cap = block->room};
    uint64_t elements = write_entry(&out, a, same);
    buf_append_char(&out, (char)LP_END);
    check(out.ptr == block->bytes && !out.failed); /* the room was enough */
    uint32_t len = (uint32_t)out.len;
    uint16_t total;
    memcpy(out.ptr, &len, sizeof(len));
    memcpy(&total, out.ptr + 4, sizeof(total));
    total = total + elements < UINT16_MAX ? (uint16_t)(total + elements) : UINT16_MAX;
    memcpy(out.ptr + 4, &total, sizeof(total));
    blocks_changed(b, c, len, block->count);
    int rc = node_set_counts(b, c, head->count + 1, head->deleted);
    check(rc == 0);
    return 0;
}

int stream_append(struct stream *s, struct stream_limits limits, struct stream_id id,
                  const struct slice *pairs, size_t fields)
{
    dcheck(stream_id_compare(id, s->last_id) > 0);
    struct addition a = {.id = id, .pairs = pairs, .fields = fields};
    for (size_t i = 0; i < 2 * fields; i++) a.text_bytes += pairs[i].len;
    uint64_t bytes_max = limits.node_bytes;
    if (bytes_max == 0 || bytes_max > NODE_BYTES_MAX) bytes_max = NODE_BYTES_MAX;
    struct blocks_cursor c;
    blocks_last(&s->nodes, &c);
    int rc;
    if (!c.block) {
        rc = add_node(s, &a);
    } else {
        struct node_head head;
        node_head_read(&head, c.block->bytes);
        uint64_t entries = (uint64_t)(head.count + head.deleted);
        bool full = c.block->len + a.text_bytes >= bytes_max ||
                    (limits.node_entries && entries >= limits.node_entries);
        if (full && blocks_own(&s->nodes, &c) == 0) block_fit(&s->nodes, c.block);
        rc = full ? add_node(s, &a) : add_entry(s, &c, &a, &head);
    }
    if (rc) return rc;
    s->entries_added++;
    s->last_id = id;
    if (stream_len(s) == 1) s->first_id = id;
    return 0;
}

/* ---- walking ---- */

static void load_node(struct stream_iter *it)
{
    if (!it->at.block) return;
    struct node_head head;
    node_head_read(&head, it->at.block->bytes);
    it->master_at = head.master_at;
    it->master_fields = head.master_fields;
    it->next_at = it->reverse ? lp_last(it->at.block->bytes) : head.first_at;
}

void stream_iter_init(struct stream_iter *it, const struct stream *s, struct stream_id start,
                      struct stream_id end, bool reverse)
{
    *it = (struct stream_iter){.s = s, .start = start, .end = end, .reverse = reverse};
    if (stream_id_compare(start, end) > 0) return;
    blocks_seek(&s->nodes, key_of_id(reverse ? end : start), &it->at);
    if (!it->at.block && !reverse) blocks_first(&s->nodes, &it->at);
    load_node(it);
}

/* Reads the entry's flags (returned), id and where its fields are. */
static int64_t read_entry(struct stream_iter *it, size_t at)
{
    const char *bytes = it->at.block->bytes;
    int64_t flags = node_number(bytes, at);
    it->flags_at = at;
    at = skip(bytes, at, 1);
    it->id = id_at(bytes, at, id_of_key(it->at.block->key));
    at = skip(bytes, at, 2);
    it->seen = 0;
    it->same_fields = flags & ENTRY_SAME_FIELDS;
    it->fields = it->master_fields;
    it->field_at = it->master_at;
    if (!it->same_fields) {
        it->fields = (uint32_t)node_number(bytes, at);
        at = it->field_at = skip(bytes, at, 1);
    }
    it->value_at = at;
    return flags;
}

/* Forward, the next entry begins behind this one, whose pairs are read (or skipped) first. No
 * element is at this offset. */
#define AFTER_THIS ((size_t)1)

static bool step_forward(struct stream_iter *it, int64_t *flags)
{
    const char *bytes = it->at.block->bytes;
    if (it->next_at == AFTER_THIS) {
        uint64_t left = it->fields - it->seen;
        size_t at = it->same_fields ? it->value_at : it->field_at;
        it->next_at = or_none(bytes, skip(bytes, at, (it->same_fields ? left : 2 * left) + 1));
    }
    if (it->next_at == LP_NONE) {
        blocks_next(&it->s->nodes, &it->at);
        load_node(it);
        return false;
    }
    *flags = read_entry(it, it->next_at);
    it->next_at = AFTER_THIS;
    return true;
}

static bool step_back(struct stream_iter *it, int64_t *flags)
{
    const char *bytes = it->at.block->bytes;
    size_t at = it->next_at;
    int64_t back = node_number(bytes, at);
    if (back == 0) {
        blocks_prev(&it->s->nodes, &it->at);
        load_node(it);
        return false;
    }
    for (; back > 0; back--) at = lp_prev(bytes, at);
    *flags = read_entry(it, at);
    it->next_at = lp_prev(bytes, at);
    return true;
}

bool stream_iter_next(struct stream_iter *it)
{
    while (it->at.block) {
        int64_t flags = 0;
        if (!(it->reverse ? step_back(it, &flags) : step_forward(it, &flags))) continue;
        bool early = stream_id_compare(it->id, it->start) < 0;
        bool late = stream_id_compare(it->id, it->end) > 0;
        if (it->reverse ? early : late) {
            it->at.block = NULL;
            return false;
        }
        if (!early && !late && !(flags & ENTRY_DELETED)) return true;
    }
    return false;
}

void stream_iter_pair(struct stream_iter *it, struct lp_value *field, struct lp_value *value)
{
    const char *bytes = it->at.block->bytes;
    dcheck(it->seen < it->fields);
    it->seen++;
    *field = lp_get(bytes, it->field_at);
    size_t at = skip(bytes, it->field_at, 1);
    if (it->same_fields) {
        it->field_at = at;
        *value = lp_get(bytes, it->value_at);
        it->value_at = skip(bytes, it->value_at, 1);
    } else {
        *value = lp_get(bytes, at);
        it->field_at = skip(bytes, at, 1);
    }
}

/* ---- outside data ---- */

/* The integer at *at, and on to the next element; false: there is none. */
static bool take_number(const char *bytes, size_t *at, int64_t *number)
{
    if ((uint8_t)bytes[*at] == LP_END) return false;
    struct lp_value value = lp_get(bytes, *at);
    *at = skip(bytes, *at, 1);
    *number = value.number;
    return value.text.ptr == NULL;
}

static bool take_elements(const char *bytes, size_t *at, int64_t count)
{
    for (; count > 0; count--) {
        if ((uint8_t)bytes[*at] == LP_END) return false;
        *at = skip(bytes, *at, 1);
    }
    return count == 0;
}

struct checked {
    struct stream_id master, last;
    int64_t master_fields, count, deleted;
    bool any;
};

static bool check_entry(const char *bytes, size_t *at, struct checked *k)
{
    int64_t flags, ms, seq, fields = k->master_fields, elements = 3, stated;
    if (!take_number(bytes, at, &flags) || !take_number(bytes, at, &ms) ||
        !take_number(bytes, at, &seq) || flags < 0 || flags > 3) {
        return false;
    }
    struct stream_id id = {k->master.ms + (uint64_t)ms, k->master.seq + (uint64_t)seq};
    if (k->any ? stream_id_compare(id, k->last) <= 0 : stream_id_compare(id, k->master) < 0)
        return false;
    k->last = id;
    k->any = true;
    if (!(flags & ENTRY_SAME_FIELDS)) {
        if (!take_number(bytes, at, &fields) || fields < 0 || fields > INT32_MAX) return false;
        elements += 1 + fields;
        if (!take_elements(bytes, at, fields)) return false;
    }
    if (!take_elements(bytes, at, fields) || !take_number(bytes, at, &stated)) return false;
    if (flags & ENTRY_DELETED) k->deleted++;
    else k->count++;
    return stated == elements + fields;
}

static bool check_node(struct checked *k, struct slice listpack)
{
    uint32_t total;
    int64_t count, deleted, fields, end;
    size_t at = LP_HEADER;
    const char *bytes = listpack.ptr;
    if (!lp_valid(listpack, &total) || !take_number(bytes, &at, &count) ||
        !take_number(bytes, &at, &deleted) || !take_number(bytes, &at, &fields) || fields < 0 ||
        fields > INT32_MAX || !take_elements(bytes, &at, fields) ||
        !take_number(bytes, &at, &end) || end != 0) {
        return false;
    }
    k->master_fields = fields;
    while ((uint8_t)bytes[at] != LP_END) {
        if (!check_entry(bytes, &at, k)) return false;
    }
    return k->any && k->count == count && k->deleted == deleted;
}

int stream_build_node(struct stream *s, struct stream_id master, struct slice listpack)
{
    struct checked k = {.master = master};
    struct blocks_cursor c;
    blocks_last(&s->nodes, &c);
    if (!check_node(&k, listpack)) return -EINVAL;
    if (c.block && stream_id_compare(node_last_id(c.block), master) >= 0) return -EINVAL;
    struct block_init init = {.bytes = mem_try_alloc(listpack.len),
                              .len = (uint32_t)listpack.len,
                              .count = (uint32_t)k.count,
                              .key = key_of_id(master)};
    if (!init.bytes) return -ENOMEM;
    memcpy(init.bytes, listpack.ptr, listpack.len);
    if (blocks_append(&s->nodes, &init, &c) == 0) return 0;
    mem_free(init.bytes);
    return -ENOMEM;
}
