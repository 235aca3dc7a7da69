/* What the files of streams share (private to src/keyspace/stream*.c).
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_STREAM_IMPL_H
#define SPLITRING_KEYSPACE_STREAM_IMPL_H

#include <errno.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
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
/* A group has grown by so many bytes. */
static inline void stream_group_count(struct stream *s, struct stream_group *g, ptrdiff_t more)
{
    s->group_bytes += (size_t)more;
    g->bytes += (size_t)more;
}

/* ---- the order of deliveries (stream_age.c) ---- */

/* A pending entry was delivered (again), or is no longer pending; NULL: it was not, it is not. The
 * order follows, or is forgotten where there is no memory. */
void stream_age_changed(struct stream *s, struct stream_group *g, const struct stream_nack *was,
                        const struct stream_nack *is);
void stream_age_forget(struct stream *s, struct stream_group *g);

#endif
