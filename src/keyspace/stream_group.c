/* Consumer groups: names, consumers, how far they have read, what is pending for whom.
 *
 * A pending entry is in its group's records and in its consumer's ids. Each function here changes
 * both or neither: blocks that will be written are owned before anything is (copying them for a
 * snapshot is all that can fail), what is added second is taken back if it fails. Before that,
 * whatever changes is kept for a snapshot that still has to tell it (stream_cut.c).
 *
 * entries_read counts the entries ever added up to last_id, so that the lag is a subtraction. It is
 * only kept while nothing was deleted in the middle; otherwise it is worked out again where the
 * stream's ends allow it, or unknown, by the rules of Redis 7.2, because clients see it.
 * Thread: holder of the shard. */
#include "shard.h"
#include "stream_impl.h"

#define GROUP_FREE_MAX 512u /* pending entries and consumers that are freed at once */

/* The place of a name in a sorted array; *found. */
#define NAME_PLACE(array, count, wanted, found) \
    __extension__({ \
        uint32_t low_ = 0, high_ = (count); \
        *(found) = false; \
        while (low_ < high_) { \
            uint32_t mid_ = (low_ + high_) / 2; \
            struct slice name_ = slice_of((array)[mid_]->name, (array)[mid_]->name_len); \
            int order_ = slice_compare(name_, (wanted)); \
            if (order_ == 0) { \
                *(found) = true; \
                low_ = mid_; \
                break; \
            } \
            if (order_ < 0) low_ = mid_ + 1; \
            else high_ = mid_; \
        } \
        low_; \
    })

/* Room for one more pointer in an array that doubles; *bytes: by how much it has grown. */
static int array_room(void **array, uint32_t count, uint32_t *cap, size_t *bytes)
{
    *bytes = 0;
    if (count < *cap) return 0;
    uint32_t more = *cap ? *cap * 2 : 2;
    size_t before = mem_usable(*array);
    void *grown = mem_try_realloc(*array, more * sizeof(void *));
    if (!grown) return -ENOMEM;
    *bytes = mem_usable(grown) - before;
    *array = grown;
    *cap = more;
    return 0;
}

static void *named_new(size_t head, struct slice name)
{
    if (name.len > UINT32_MAX) return NULL;
    char *block = mem_try_alloc(head + name.len);
    if (!block) return NULL;
    memset(block, 0, head);
    if (name.len) memcpy(block + head, name.ptr, name.len);
    return block;
}

/* ---- groups ---- */

struct stream_group *stream_group_find(const struct stream *s, struct slice name)
{
    bool found;
    uint32_t at = NAME_PLACE(s->groups, s->group_count, name, &found);
    return found ? s->groups[at] : NULL;
}

/* Puts a group into the array at its name's place. False: no memory. */
static bool enlist(struct stream *s, struct stream_group *g)
{
    bool found;
    size_t bytes;
    stream_groups_keep(s);
    void *array = s->groups;
    if (array_room(&array, s->group_count, &s->group_cap, &bytes)) return false;
    s->groups = array;
    s->group_bytes += bytes;
    uint32_t at = NAME_PLACE(s->groups, s->group_count, stream_group_name(g), &found);
    dcheck(!found);
    memmove(s->groups + at + 1, s->groups + at, (s->group_count - at) * sizeof(*s->groups));
    s->groups[at] = g;
    s->group_count++;
    s->group_bytes += g->bytes;
    s->consumer_count += g->consumer_count;
    return true;
}

struct stream_group *stream_group_add(struct stream *s, struct slice name,
                                      struct stream_id last_id, int64_t entries_read)
{
    struct stream_group *g = named_new(offsetof(struct stream_group, name), name);
    if (!g) return NULL;
    blocks_init(&g->pending);
    g->name_len = (uint32_t)name.len;
    g->last_id = last_id;
    g->entries_read = entries_read;
    g->bytes = mem_usable(g);
    g->cut_no = s->cut_no;
    if (enlist(s, g)) return g;
    mem_free(g);
    return NULL;
}

static void delist(struct stream *s, struct stream_group *g)
{
    bool found;
    uint32_t at = NAME_PLACE(s->groups, s->group_count, stream_group_name(g), &found);
    check(found);
    s->group_count--;
    memmove(s->groups + at, s->groups + at + 1, (s->group_count - at) * sizeof(*s->groups));
    s->group_bytes -= g->bytes;
    s->consumer_count -= g->consumer_count;
    if (s->group_count > 0) return;
    s->group_bytes -= mem_usable(s->groups);
    mem_free(s->groups);
    s->groups = NULL;
    s->group_cap = 0;
}

static void free_group(struct stream_group *g)
{
    for (uint32_t i = 0; i < g->consumer_count; i++) {
        blocks_deinit(&g->consumers[i]->pending);
        mem_free(g->consumers[i]);
    }
    mem_free(g->consumers);
    blocks_deinit(&g->pending);
    if (g->by_age) blocks_deinit(g->by_age);
    mem_free(g->by_age);
    mem_free(g);
}

void stream_group_free(struct stream *s, struct stream_group *g)
{
    delist(s, g);
    free_group(g);
}

/* A stream that has nothing but this group, and no key, is what the shard frees in slices. */
void stream_group_bury(struct shard *shard, struct stream_group *g)
{
    uint64_t size = g->pending.count + g->consumer_count;
    struct stream *grave = shard && size > GROUP_FREE_MAX ? stream_new(shard) : NULL;
    if (grave && enlist(grave, g)) {
        stream_account(shard, grave);
        shard_doom(shard, DOOMED_OBJECT, grave, size);
        return;
    }
    if (grave) stream_free(shard, grave);
    free_group(g);
}

void stream_group_remove(struct shard *shard, struct stream *s, struct stream_group *g)
{
    stream_group_keep(s, g);
    stream_groups_keep(s);
    delist(s, g);
    if (unlikely(g->cut != NULL)) {
        g->cut->gone = true;
        s->cut->kept += g->bytes;
    } else {
        stream_group_bury(shard, g);
    }
}

/* ---- consumers ---- */

struct stream_consumer *stream_consumer_find(const struct stream_group *g, struct slice name)
{
    bool found;
    uint32_t at = NAME_PLACE(g->consumers, g->consumer_count, name, &found);
    return found ? g->consumers[at] : NULL;
}

struct stream_consumer *stream_consumer_add(struct stream *s, struct stream_group *g,
                                            struct slice name, instant_ms now)
{
    bool found;
    size_t bytes;
    stream_consumers_keep(s, g);
    void *array = g->consumers;
    if (array_room(&array, g->consumer_count, &g->consumer_cap, &bytes)) return NULL;
    g->consumers = array;
    stream_group_count(s, g, (ptrdiff_t)bytes);
    uint32_t at = NAME_PLACE(g->consumers, g->consumer_count, name, &found);
    dcheck(!found);
    struct stream_consumer *c = named_new(offsetof(struct stream_consumer, name), name);
    if (!c) return NULL;
    stream_group_count(s, g, (ptrdiff_t)mem_usable(c));
    blocks_init(&c->pending);
    c->name_len = (uint32_t)name.len;
    c->seen = now;
    c->active = -1;
    c->cut_no = s->cut_no;
    memmove(g->consumers + at + 1, g->consumers + at,
            (g->consumer_count - at) * sizeof(*g->consumers));
    g->consumers[at] = c;
    g->consumer_count++;
    s->consumer_count++;
    return c;
}

int stream_consumer_remove(struct stream *s, struct stream_group *g, struct stream_consumer *c)
{
    stream_consumer_keep(s, g, c);
    stream_consumers_keep(s, g);
    while (c->pending.count > 0) {
        struct stream_pending p;
        stream_pending_seek(&p, g, c, STREAM_ID_MIN);
        const struct stream_id *id = stream_pending_next(&p);
        if (stream_nack_remove(s, g, *id) != 1) return -ENOMEM;
    }
    bool found;
    uint32_t at = NAME_PLACE(g->consumers, g->consumer_count, stream_consumer_name(c), &found);
    check(found);
    g->consumer_count--;
    s->consumer_count--;
    memmove(g->consumers + at, g->consumers + at + 1,
            (g->consumer_count - at) * sizeof(*g->consumers));
    check(c->pending.bytes == 0);
    stream_group_count(s, g, -(ptrdiff_t)mem_usable(c));
    if (unlikely(c->cut != NULL)) {
        c->cut->gone = true;
        s->cut->kept += mem_usable(c);
        return 0;
    }
    mem_free(c);
    return 0;
}

/* ---- pending entries ---- */

const struct stream_nack *stream_nack_find(const struct stream_group *g, struct stream_id id)
{
    return pending_find(&g->pending, RECORD_NACK, id);
}

/* What changes in a sequence's memory is counted: the group's, and what only the cut shows. */
struct sizes {
    size_t bytes, frozen;
};

static struct sizes sizes_of(const struct blocks *b)
{
    return (struct sizes){b->bytes, b->frozen_bytes};
}

static void count_from(struct stream *s, struct stream_group *g, const struct blocks *b,
                       struct sizes before)
{
    stream_group_count(s, g, (ptrdiff_t)(b->bytes - before.bytes));
    if (unlikely(s->cut != NULL)) s->cut->kept += b->frozen_bytes - before.frozen;
}

static int insert(struct stream *s, struct stream_group *g, struct blocks *b, unsigned record,
                  const void *what)
{
    struct sizes before = sizes_of(b);
    int rc = pending_insert(b, record, what);
    count_from(s, g, b, before);
    return rc;
}

/* As pending_edit(). */
static void *edit(struct stream *s, struct stream_group *g, struct blocks *b, unsigned record,
                  struct stream_id id, int *rc)
{
    struct sizes before = sizes_of(b);
    void *mine = pending_edit(b, record, id, rc);
    count_from(s, g, b, before);
    return mine;
}

static int take_out(struct stream *s, struct stream_group *g, struct blocks *b, unsigned record,
                    struct stream_id id)
{
    struct sizes before = sizes_of(b);
    int rc = pending_remove(b, record, &id);
    count_from(s, g, b, before);
    return rc;
}

/* From one consumer to another. */
static int hand_over(struct stream *s, struct stream_group *g, struct stream_nack *mine,
                     struct stream_consumer *to)
{
    struct stream_id id = mine->id;
    struct stream_consumer *from = mine->consumer;
    int rc = 0;
    if (from == to) return 0;
    if (from) stream_consumer_keep(s, g, from);
    if (from && !edit(s, g, &from->pending, RECORD_ID, id, &rc)) return rc ? rc : -EINVAL;
    if (insert(s, g, &to->pending, RECORD_ID, &id)) return -ENOMEM;
    if (from) (void)take_out(s, g, &from->pending, RECORD_ID, id);
    mine->consumer = to;
    return 0;
}

int stream_nack_put(struct stream *s, struct stream_group *g, const struct stream_nack *nack)
{
    int rc;
    stream_consumer_keep(s, g, nack->consumer);
    struct stream_nack *mine = edit(s, g, &g->pending, RECORD_NACK, nack->id, &rc);
    if (rc) return rc;
    if (mine) {
        struct stream_nack was = *mine;
        rc = hand_over(s, g, mine, nack->consumer);
        if (rc) return rc;
        *mine = *nack;
        stream_age_changed(s, g, &was, nack);
        return 0;
    }
    if (insert(s, g, &g->pending, RECORD_NACK, nack)) return -ENOMEM;
    if (insert(s, g, &nack->consumer->pending, RECORD_ID, &nack->id) == 0) {
        stream_age_changed(s, g, NULL, nack);
        return 0;
    }
    (void)take_out(s, g, &g->pending, RECORD_NACK, nack->id);
    return -ENOMEM;
}

int stream_nack_remove(struct stream *s, struct stream_group *g, struct stream_id id)
{
    int rc;
    const struct stream_nack *mine = stream_nack_find(g, id);
    if (!mine) return 0;
    stream_group_keep(s, g);
    if (mine->consumer) stream_consumer_keep(s, g, mine->consumer);
    mine = edit(s, g, &g->pending, RECORD_NACK, id, &rc);
    if (!mine) return rc;
    struct stream_nack was = *mine;
    struct stream_consumer *c = mine->consumer;
    if (c && !edit(s, g, &c->pending, RECORD_ID, id, &rc)) return -ENOMEM;
    if (c) (void)take_out(s, g, &c->pending, RECORD_ID, id);
    stream_age_changed(s, g, &was, NULL);
    return take_out(s, g, &g->pending, RECORD_NACK, id);
}

bool stream_nack_remove_all(struct stream *s, struct stream_id id)
{
    bool any = false;
    for (uint32_t i = 0; i < s->group_count; i++)
        any |= stream_nack_remove(s, s->groups[i], id) == 1;
    return any;
}

bool stream_referenced(const struct stream *s, struct stream_id id)
{
    for (uint32_t i = 0; i < s->group_count; i++) {
        const struct stream_group *g = s->groups[i];
        if (stream_id_compare(id, g->last_id) > 0 || stream_nack_find(g, id)) return true;
    }
    return false;
}

/* ---- how far a group has read ---- */

/* Was something deleted at or behind this id? */
static bool tombstones_from(const struct stream *s, struct stream_id id)
{
    if (stream_len(s) == 0 || stream_id_is_zero(s->max_deleted_id)) return false;
    return stream_id_compare(id, s->max_deleted_id) <= 0;
}

int64_t stream_entries_up_to(const struct stream *s, struct stream_id id)
{
    if (s->entries_added == 0) return 0;
    if (stream_len(s) == 0 && stream_id_compare(id, s->last_id) <= 0)
        return (int64_t)s->entries_added;
    if (!stream_id_is_zero(id) && stream_id_compare(id, s->max_deleted_id) < 0)
        return STREAM_ENTRIES_READ_UNKNOWN;
    int order = stream_id_compare(id, s->last_id);
    if (order == 0) return (int64_t)s->entries_added;
    if (order > 0) return STREAM_ENTRIES_READ_UNKNOWN;
    if (stream_id_is_zero(s->max_deleted_id) ||
        stream_id_compare(s->max_deleted_id, s->first_id) < 0) {
        int64_t before = (int64_t)(s->entries_added - stream_len(s));
        order = stream_id_compare(id, s->first_id);
        if (order < 0) return before;
        if (order == 0) return before + 1;
    }
    return STREAM_ENTRIES_READ_UNKNOWN;
}

bool stream_group_lag(const struct stream *s, const struct stream_group *g, int64_t *lag)
{
    *lag = 0;
    if (s->entries_added == 0) return true;
    int64_t read = g->entries_read;
    if (read == STREAM_ENTRIES_READ_UNKNOWN || tombstones_from(s, g->last_id))
        read = stream_entries_up_to(s, g->last_id);
    if (read == STREAM_ENTRIES_READ_UNKNOWN) return false;
    *lag = (int64_t)(s->entries_added - (uint64_t)read);
    return true;
}

void stream_group_advance(struct stream *s, struct stream_group *g, struct stream_id id)
{
    if (stream_id_compare(id, g->last_id) <= 0) return;
    stream_group_keep(s, g);
    if (g->entries_read != STREAM_ENTRIES_READ_UNKNOWN &&
        stream_id_compare(g->last_id, s->first_id) >= 0 && !tombstones_from(s, g->last_id))
        g->entries_read++;
    else if (s->entries_added)
        g->entries_read = stream_entries_up_to(s, id);
    g->last_id = id;
}

void stream_group_set(struct stream *s, struct stream_group *g, struct stream_id last_id,
                      int64_t entries_read)
{
    stream_group_keep(s, g);
    g->last_id = last_id;
    g->entries_read = entries_read;
}

void stream_consumer_saw(struct stream *s, struct stream_group *g, struct stream_consumer *c,
                         instant_ms now)
{
    stream_consumer_keep(s, g, c);
    c->seen = now;
}

void stream_consumer_got(struct stream *s, struct stream_group *g, struct stream_consumer *c,
                         instant_ms now)
{
    stream_consumer_keep(s, g, c);
    c->active = now;
}

/* ---- building ---- */

int stream_build_nack(struct stream *s, struct stream_group *g, struct stream_id id,
                      instant_ms delivered, uint64_t deliveries)
{
    struct stream_nack nack = {.id = id, .delivered = delivered, .deliveries = deliveries};
    if (stream_nack_find(g, id)) return -EINVAL;
    return insert(s, g, &g->pending, RECORD_NACK, &nack);
}

int stream_build_owner(struct stream *s, struct stream_group *g, struct stream_id id,
                       struct stream_consumer *consumer)
{
    int rc;
    struct stream_nack *mine = edit(s, g, &g->pending, RECORD_NACK, id, &rc);
    if (!mine) return rc ? rc : -EINVAL;
    return mine->consumer ? -EINVAL : hand_over(s, g, mine, consumer);
}

bool stream_build_finish(struct stream *s, bool first)
{
    struct stream_id last;
    if (stream_edge(s, false, &last) && stream_id_compare(last, s->last_id) > 0) return false;
    if (first) stream_settle(s);
    for (uint32_t i = 0; i < s->group_count; i++) {
        const struct stream_group *g = s->groups[i];
        uint64_t owned = 0;
        for (uint32_t j = 0; j < g->consumer_count; j++) owned += g->consumers[j]->pending.count;
        if (owned != g->pending.count) return false;
    }
    return true;
}
