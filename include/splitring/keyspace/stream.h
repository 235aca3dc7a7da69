/* Streams: entries sorted by id, and consumer groups with what is pending in them.
 *
 * Entries lie in listpack nodes, packed as Redis packs them, byte for byte (DUMP copies them); the
 * nodes hang under struct blocks, whose order key is a node's master id and whose weight is its
 * number of entries that are not deleted. A group's pending entries are records sorted by id, under
 * struct blocks too; each consumer has the ids of its own. See src/keyspace/stream.c.
 *
 * How to write: ks_edit, the functions below, stream_account(), events.
 * -ENOMEM means that nothing, or only what is said, has changed.
 * Source: https://redis.io/docs/latest/develop/data-types/streams/
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_STREAM_H
#define SPLITRING_KEYSPACE_STREAM_H

#include "splitring/data/blocks.h"
#include "splitring/keyspace/object.h"

struct stream_id {
    uint64_t ms, seq;
};
#define STREAM_ID_MIN ((struct stream_id){0, 0})
#define STREAM_ID_MAX ((struct stream_id){UINT64_MAX, UINT64_MAX})

static inline int stream_id_compare(struct stream_id a, struct stream_id b)
{
    if (a.ms != b.ms) return a.ms < b.ms ? -1 : 1;
    return a.seq == b.seq ? 0 : a.seq < b.seq ? -1 : 1;
}
static inline bool stream_id_is_zero(struct stream_id id) { return id.ms == 0 && id.seq == 0; }
bool stream_id_next(struct stream_id *id); /* false: it was the last one, and wraps */
bool stream_id_prev(struct stream_id *id);

/* Who got an entry last, and has not acknowledged it. */
struct stream_nack {
    struct stream_id id;
    instant_ms delivered;
    uint64_t deliveries;
    struct stream_consumer *consumer; /* not to be followed in frozen blocks */
};

struct stream_consumer {
    struct blocks pending; /* its ids: struct stream_id, sorted */
    instant_ms seen;       /* last tried to read */
    instant_ms active;     /* last got something; -1: never */
    struct stream_consumer_cut *cut; /* what a snapshot still needs (stream_cut.c) */
    uint32_t cut_no;       /* of the last cut that it has been kept for */
    uint32_t index;        /* scratch of save and load */
    uint32_t name_len;
    char name[];
};

#define STREAM_ENTRIES_READ_UNKNOWN (-1)
struct stream_group {
    struct blocks pending; /* struct stream_nack, sorted by id */
    struct stream_id last_id;
    int64_t entries_read;  /* entries ever added up to last_id, or STREAM_ENTRIES_READ_UNKNOWN */
    struct blocks *by_age; /* what is pending by time of delivery; NULL until stream_oldest() */
    size_t bytes;          /* its share of the stream's group_bytes */
    struct stream_consumer **consumers; /* by name */
    uint32_t consumer_count, consumer_cap;
    struct stream_group_cut *cut; /* as in a consumer */
    uint32_t cut_no;
    uint32_t name_len;
    char name[];
};

struct stream {
    struct object object;
    struct blocks nodes;
    struct stream_id first_id; /* of the first entry that is not deleted; 0-0: none */
    struct stream_id last_id;  /* ever used */
    struct stream_id max_deleted_id;
    uint64_t entries_added;    /* ever */
    struct stream_group **groups; /* by name */
    uint32_t group_count, group_cap;
    uint32_t cut_no;           /* of the last cut */
    struct stream_cut *cut;    /* while a snapshot tells it in pieces */
    uint64_t consumer_count;   /* of all groups */
    size_t group_bytes;        /* groups, consumers and what is pending */
    size_t counted;            /* what stream_account() has told the shard */
};

extern const struct object_ops stream_object_ops;

struct stream *stream_new(struct shard *shard) WARN_UNUSED; /* NULL: no memory */
/* The stream in an entry whose type is TYPE_STREAM. */
static inline struct stream *stream_of(const struct entry *e)
{
    return (struct stream *)(void *)entry_object(e);
}
static inline uint64_t stream_len(const struct stream *s) { return s->nodes.count; }
size_t stream_bytes(const struct stream *s);
/* Tells the shard's counters how large the stream has become: after every write. */
void stream_account(struct shard *shard, struct stream *s);
void stream_free(struct shard *shard, struct stream *s); /* one that is in no entry */

/* ---- entries ---- */

struct stream_limits {
    uint64_t node_bytes, node_entries; /* stream-node-max-*; 0: none */
};
/* The id must be greater than last_id. pairs: field, value, field, value … */
int stream_append(struct stream *s, struct stream_limits limits, struct stream_id id,
                  const struct slice *pairs, size_t fields) WARN_UNUSED;
#define STREAM_ENTRY_BYTES_MAX ((size_t)1 << 30) /* of all texts of one entry */

/* What happens to groups that refer to a deleted entry (Redis 8.2). */
enum stream_refs {
    STREAM_KEEPREF, /* nothing */
    STREAM_DELREF,  /* it is pending nowhere any more */
    STREAM_ACKED    /* it is deleted only if every group has had it, and none has it pending */
};
/* 1: deleted; 0: no such entry; -ENOMEM. first_id and max_deleted_id are the caller's to set:
 * stream_deleted() after each, stream_settle() at the end. */
int stream_delete(struct stream *s, struct stream_id id) WARN_UNUSED;
void stream_deleted(struct stream *s, struct stream_id id); /* notes it as max_deleted_id */
void stream_settle(struct stream *s);                       /* finds first_id again */
bool stream_exists(const struct stream *s, struct stream_id id);
/* Of the first or last entry that is not deleted; false: none. */
bool stream_edge(const struct stream *s, bool first, struct stream_id *id);

enum stream_trim_by { STREAM_TRIM_NONE, STREAM_TRIM_MAXLEN, STREAM_TRIM_MINID };
struct stream_trim {
    enum stream_trim_by by;
    enum stream_refs refs;
    bool approx;            /* whole nodes only */
    uint64_t maxlen;
    struct stream_id minid; /* what is smaller goes */
    uint64_t limit;         /* entries at most; 0: none */
};
/* Entries removed. It may stop early where memory is out. */
uint64_t stream_trim(struct stream *s, const struct stream_trim *trim);

/* ---- reading ---- */

struct stream_iter {
    const struct stream *s;
    struct blocks_cursor at;
    struct stream_id start, end; /* both inclusive */
    bool reverse;
    bool same_fields;
    uint32_t fields;       /* of this entry */
    struct stream_id id;
    size_t next_at;        /* in the node: where the next entry begins, or (reverse) ends */
    size_t flags_at;       /* this entry */
    size_t field_at, value_at;
    size_t master_at;      /* the node's first field */
    uint32_t master_fields, seen;
};
void stream_iter_init(struct stream_iter *it, const struct stream *s, struct stream_id start,
                      struct stream_id end, bool reverse);
bool stream_iter_next(struct stream_iter *it); /* the next entry that is not deleted */
/* The entry's next field and value; numbers have no text (lp_get). */
void stream_iter_pair(struct stream_iter *it, struct lp_value *field, struct lp_value *value);

/* ---- groups ---- */

struct stream_group *stream_group_find(const struct stream *s, struct slice name);
/* NULL: no memory. There must be none of that name. */
struct stream_group *stream_group_add(struct stream *s, struct slice name,
                                      struct stream_id last_id, int64_t entries_read) WARN_UNUSED;
/* A large one is freed in slices (flush.c). */
void stream_group_remove(struct shard *shard, struct stream *s, struct stream_group *g);
struct stream_consumer *stream_consumer_find(const struct stream_group *g, struct slice name);
struct stream_consumer *stream_consumer_add(struct stream *s, struct stream_group *g,
                                            struct slice name, instant_ms now) WARN_UNUSED;
/* With all that is pending for it. */
int stream_consumer_remove(struct stream *s, struct stream_group *g,
                           struct stream_consumer *consumer) WARN_UNUSED;
static inline struct slice stream_group_name(const struct stream_group *g)
{
    return slice_of(g->name, g->name_len);
}
static inline struct slice stream_consumer_name(const struct stream_consumer *c)
{
    return slice_of(c->name, c->name_len);
}
/* Entries behind last_id; false: nobody knows. */
bool stream_group_lag(const struct stream *s, const struct stream_group *g, int64_t *lag);
/* How many entries were ever added up to this id; STREAM_ENTRIES_READ_UNKNOWN. */
int64_t stream_entries_up_to(const struct stream *s, struct stream_id id);
/* The group goes on to an entry that it has just got. */
void stream_group_advance(struct stream *s, struct stream_group *g, struct stream_id id);
/* What groups and consumers know of themselves is set by these: a snapshot may want what was. */
void stream_group_set(struct stream *s, struct stream_group *g, struct stream_id last_id,
                      int64_t entries_read);
void stream_consumer_saw(struct stream *s, struct stream_group *g, struct stream_consumer *c,
                         instant_ms now);
void stream_consumer_got(struct stream *s, struct stream_group *g, struct stream_consumer *c,
                         instant_ms now);

/* ---- pending entries ---- */

/* NULL: not pending. Read only; valid until the next change. */
const struct stream_nack *stream_nack_find(const struct stream_group *g, struct stream_id id);
/* Sets it, whether pending or not: consumer (not NULL), time and count are those of `nack`. */
int stream_nack_put(struct stream *s, struct stream_group *g,
                    const struct stream_nack *nack) WARN_UNUSED;
/* 1: it was pending; 0: not; -ENOMEM. */
int stream_nack_remove(struct stream *s, struct stream_group *g, struct stream_id id) WARN_UNUSED;
/* In every group. True: there was one. */
bool stream_nack_remove_all(struct stream *s, struct stream_id id);
/* Does a group still need the entry: has not had it yet, or has it pending? */
bool stream_referenced(const struct stream *s, struct stream_id id);

/* Walks sorted records: of a group (struct stream_nack) or a consumer (struct stream_id). */
struct stream_pending {
    const struct blocks *blocks;
    struct blocks_cursor at;
    uint32_t index, record;
};
void stream_pending_seek(struct stream_pending *p, const struct stream_group *g,
                         const struct stream_consumer *consumer, struct stream_id from);
const void *stream_pending_next(struct stream_pending *p); /* NULL: the end */
/* Appends the ids (struct stream_id) of what was delivered at `until` or before, the oldest first:
 * to `ids` at most `count` (0: all) that are in the stream, to `gone` those between that are not.
 * *next: when the oldest of the rest was delivered; EXPIRE_NONE: there is none. A group's first
 * call sorts all that is pending: O(n log n), later ones O(ids). */
int stream_oldest(struct stream *s, struct stream_group *g, instant_ms until, uint64_t count,
                  struct buf *ids, struct buf *gone, instant_ms *next) WARN_UNUSED;
static inline uint64_t stream_group_pending(const struct stream_group *g)
{
    return g->pending.count;
}

/* ---- told in pieces ---- */

/* In this order: BEGIN, NODE …, HEAD, then for each group: GROUP, PENDING …, CONSUMERS, then for
 * each of its consumers: CONSUMER, OWNED … */
enum stream_piece_kind {
    STREAM_PIECE_BEGIN,     /* count: nodes */
    STREAM_PIECE_NODE,      /* id: master; text: listpack */
    STREAM_PIECE_HEAD,      /* count: groups; len, id, first_id, max_deleted_id, entries_added */
    STREAM_PIECE_GROUP,     /* text: name; id: last; entries_read; count: pending entries */
    STREAM_PIECE_PENDING,   /* text: count × struct stream_nack (consumer: not to be followed) */
    STREAM_PIECE_CONSUMERS, /* count */
    STREAM_PIECE_CONSUMER,  /* text: name; seen, active; count: pending for it */
    STREAM_PIECE_OWNED      /* text: count × struct stream_id */
};
struct stream_piece {
    enum stream_piece_kind kind;
    bool consumers; /* does any group of the stream have one? (in all pieces) */
    struct slice text;
    uint64_t count;
    struct stream_id id, first_id, max_deleted_id;
    uint64_t len, entries_added;
    int64_t entries_read;
    instant_ms seen, active;
};

/* ---- building (RESTORE, snapshots) ---- */

/* A node whose bytes are to be looked at first: structure, counts, ids that grow. Nodes come in
 * order. 0, -EINVAL, -ENOMEM. The bytes are copied. */
int stream_build_node(struct stream *s, struct stream_id master,
                      struct slice listpack) WARN_UNUSED;
/* A pending entry whose consumer is not yet known; must be new. 0, -EINVAL, -ENOMEM. */
int stream_build_nack(struct stream *s, struct stream_group *g, struct stream_id id,
                      instant_ms delivered, uint64_t deliveries) WARN_UNUSED;
/* It belongs to this consumer. -EINVAL: not pending, or somebody's already. */
int stream_build_owner(struct stream *s, struct stream_group *g, struct stream_id id,
                       struct stream_consumer *consumer) WARN_UNUSED;
/* Is everything as it must be: every pending entry has a consumer, last_id is not before the last
 * entry? Sets first_id where `first` says so (formats that do not store it). */
bool stream_build_finish(struct stream *s, bool first);

#endif
