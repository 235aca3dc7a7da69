/* What the files of streams share (private to src/keyspace/stream*.c).
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_STREAM_IMPL_H
#define SPLITRING_KEYSPACE_STREAM_IMPL_H

#include <errno.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/keyspace/snapshot.h"
#include "splitring/keyspace/stream.h"

static inline struct blocks_key key_of_id(struct stream_id id)
{
    return (struct blocks_key){id.ms, id.seq};
}
static inline struct stream_id id_of_key(struct blocks_key key)
{
    return (struct stream_id){key.high, key.low};
}

/* ---- nodes ---- */

enum { ENTRY_DELETED = 1, ENTRY_SAME_FIELDS = 2 }; /* an entry's flags */

/* The beginning of a node, up to its first entry. */
struct node_head {
    int64_t count, deleted;
    size_t deleted_at, master_at, first_at; /* first_at LP_NONE: no entry */
    uint32_t master_fields;
};
void node_head_read(struct node_head *head, const char *bytes);
/* The id of the node's last entry, deleted or not. */
struct stream_id node_last_id(const struct block *block);
/* Both counters of the cursor's block, which is owned; its weight follows. Never fails where
 * neither number gets longer. */
int node_set_counts(struct blocks *b, struct blocks_cursor *c, int64_t count,
                    int64_t deleted) WARN_UNUSED;
int64_t node_number(const char *bytes, size_t at);

/* ---- sorted records ---- */

/* Of stream_group.by_age. */
struct stream_aged {
    instant_ms delivered;
    struct stream_id id;
};
static inline int stream_aged_compare(struct stream_aged a, struct stream_aged b)
{
    if (a.delivered != b.delivered) return a.delivered < b.delivered ? -1 : 1;
    return stream_id_compare(a.id, b.id);
}

/* What a sequence holds, and how large one is. Sorted by what stands first: the id, or the time. */
enum {
    RECORD_NACK = sizeof(struct stream_nack),
    RECORD_ID = sizeof(struct stream_id),
    RECORD_AGED = sizeof(struct stream_aged)
};

/* NULL: absent. */
const void *pending_find(const struct blocks *b, unsigned record, struct stream_id id);
/* The same, to be written: NULL with *rc 0: absent; -ENOMEM. */
void *pending_edit(struct blocks *b, unsigned record, struct stream_id id, int *rc);
/* Absent so far. */
int pending_insert(struct blocks *b, unsigned record, const void *what) WARN_UNUSED;
/* what: the record, or what it is sorted by. 1, 0, -ENOMEM: never after pending_edit. */
int pending_remove(struct blocks *b, unsigned record, const void *what) WARN_UNUSED;

/* At once, with all that is in it. */
void stream_group_free(struct stream *s, struct stream_group *g);
/* One that has left its stream: in slices if it is large. shard NULL: at once. */
void stream_group_bury(struct shard *shard, struct stream_group *g);
/* A group has grown by so many bytes. */
static inline void stream_group_count(struct stream *s, struct stream_group *g, ptrdiff_t more)
{
    s->group_bytes += (size_t)more;
    g->bytes += (size_t)more;
}

/* ---- while a snapshot tells it in pieces (stream_cut.c) ---- */

struct stream_consumer_cut {
    instant_ms seen, active;
    uint64_t pending;
    bool gone; /* the consumer has left its group: it belongs to the walk */
};
struct stream_group_cut {
    struct stream_id last_id;
    int64_t entries_read;
    uint64_t pending;
    struct stream_consumer **consumers; /* the group's own array until that changes */
    uint32_t consumer_count;
    bool gone;
};
struct stream_cut {
    struct stream_piece head;
    uint64_t nodes;
    struct stream_group **groups; /* the stream's own array until that changes */
    uint32_t group_count;
    uint32_t group, consumer; /* where the walk is */
    uint8_t phase;
    bool shown;  /* the block at the cursor was told */
    bool broken; /* nothing is kept any more */
    size_t kept; /* memory of groups, consumers and what is pending, only for the cut */
    struct blocks_cursor at;
    struct stream_piece piece;
};
void *stream_cut_begin(struct object *object, uint64_t *count);
enum snapshot_next stream_cut_next(struct shard *shard, struct object *object, void *cut,
                                   struct snapshot_part *part);
size_t stream_cut_kept(const struct object *object);

/* What a writer calls before he changes a group, a consumer with his group, and (which is the
 * group's matter as well) adds or removes one. */
void stream_group_keep_now(struct stream *s, struct stream_group *g);
void stream_consumer_keep_now(struct stream *s, struct stream_group *g, struct stream_consumer *c);
void stream_groups_keep_now(struct stream *s);
void stream_consumers_keep_now(struct stream *s, struct stream_group *g);
static inline void stream_group_keep(struct stream *s, struct stream_group *g)
{
    if (unlikely(s->cut != NULL)) stream_group_keep_now(s, g);
}
static inline void stream_consumer_keep(struct stream *s, struct stream_group *g,
                                        struct stream_consumer *c)
{
    if (unlikely(s->cut != NULL)) stream_consumer_keep_now(s, g, c);
}
static inline void stream_groups_keep(struct stream *s)
{
    if (unlikely(s->cut != NULL)) stream_groups_keep_now(s);
}
static inline void stream_consumers_keep(struct stream *s, struct stream_group *g)
{
    if (unlikely(s->cut != NULL)) stream_consumers_keep_now(s, g);
}

/* ---- the order of deliveries (stream_age.c) ---- */

/* A pending entry was delivered (again), or is no longer pending; NULL: it was not, it is not. The
 * order follows, or is forgotten where there is no memory. */
void stream_age_changed(struct stream *s, struct stream_group *g, const struct stream_nack *was,
                        const struct stream_nack *is);
void stream_age_forget(struct stream *s, struct stream_group *g);

#endif
