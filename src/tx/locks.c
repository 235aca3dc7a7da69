/* Key locks with one waiting order.
 *
 *   table: id → entry { FIFO of nodes, counts by mode }        id 0 is the whole shard
 *   request: nodes, one per key, each in its entry's FIFO from arrival to release
 *
 * A node is *ready* when no earlier node of its FIFO conflicts with it; a request is held when all
 * its nodes are ready. Waiting and holding differ in nothing else, which is the rule "conflicts
 * with a holder or with any earlier waiter" in its simplest form: earlier is earlier. Per-key FIFOs
 * that all follow arrival order are the same order as one queue scanned from its head, at O(keys)
 * instead of O(queue) per release.
 *
 * Entries come and go with their nodes and a few are kept in a free list; the table is chained,
 * grows before a large request enters (DEL of a million keys) and shrinks when it is empty
 * again. */
#include "splitring/tx/locks.h"

#include <stdlib.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"

struct lock_entry {
    struct list fifo;
    struct lock_entry *next; /* hash chain or free list */
    uint64_t id;
    uint32_t counts[LOCK_MODES];
};

#define BUCKETS_MIN 1024u
#define ENTRIES_KEPT 256u /* in the free list */
#define FEW_KEYS 16u      /* doubles among so many are found by comparing all */

struct locks {
    struct locks_stats stats; /* first: locks_stats_of */
    struct lock_entry shard;  /* id 0 */
    struct lock_entry **buckets;
    uint32_t bucket_count;    /* a power of two */
    uint32_t entry_count;     /* in buckets */
    struct lock_entry *free_list;
    uint32_t free_count;
    struct list granted;
    struct list requests; /* arrival order, for the audit */
    uint32_t faults;
};
static_assert(offsetof(struct locks, stats) == 0, "locks_stats_of reads it in place");

/* Gray's matrix: bit m' set where m conflicts with m'. */
static const uint8_t conflicts[LOCK_MODES] = {
    [LOCK_INTENT_SHARED] = 1u << LOCK_EXCLUSIVE,
    [LOCK_INTENT_EXCLUSIVE] = 1u << LOCK_SHARED | 1u << LOCK_EXCLUSIVE,
    [LOCK_SHARED] = 1u << LOCK_INTENT_EXCLUSIVE | 1u << LOCK_EXCLUSIVE,
    [LOCK_EXCLUSIVE] = 1u << LOCK_INTENT_SHARED | 1u << LOCK_INTENT_EXCLUSIVE | 1u << LOCK_SHARED |
                       1u << LOCK_EXCLUSIVE,
};

static bool counts_allow(const uint32_t counts[LOCK_MODES], unsigned mode)
{
    for (unsigned m = 0; m < LOCK_MODES; m++)
        if (counts[m] && (conflicts[mode] >> m & 1u)) return false;
    return true;
}

struct locks *locks_new(void)
{
    struct locks *locks = mem_zalloc(sizeof *locks);
    locks->buckets = mem_zalloc(BUCKETS_MIN * sizeof(struct lock_entry *));
    locks->bucket_count = BUCKETS_MIN;
    list_init(&locks->shard.fifo);
    list_init(&locks->granted);
    list_init(&locks->requests);
    return locks;
}

void locks_free(struct locks *locks)
{
    check(locks->stats.active == 0);
    while (locks->free_list) {
        struct lock_entry *entry = locks->free_list;
        locks->free_list = entry->next;
        mem_free(entry);
    }
    mem_free(locks->buckets);
    mem_free(locks);
}

void locks_set_faults(struct locks *locks, uint32_t faults)
{
    locks->faults = faults;
}

/* ---- requests ---- */

void lock_request_init(struct lock_request *request, struct lock_node *nodes)
{
    *request = (struct lock_request){.nodes = nodes, .count = 1, .state = LOCK_IDLE};
    list_init(&request->granted_link);
    list_init(&request->audit_link);
    nodes[0] = (struct lock_node){.mode = LOCK_INTENT_SHARED, .request = request};
}

void lock_request_add(struct lock_request *request, uint64_t id, enum lock_mode mode)
{
    if (mode == LOCK_EXCLUSIVE && request->nodes[0].mode < LOCK_INTENT_EXCLUSIVE)
        request->nodes[0].mode = LOCK_INTENT_EXCLUSIVE;
    request->nodes[request->count++] =
        (struct lock_node){.id = id, .mode = (uint8_t)mode, .request = request};
}

void lock_request_whole(struct lock_request *request, enum lock_mode mode)
{
    request->nodes[0].mode = (uint8_t)mode;
}

static int node_order(const void *a, const void *b)
{
    const struct lock_node *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Each id once, in the stronger of its modes: a request must not conflict with itself. */
static void merge_doubles(struct lock_request *request)
{
    struct lock_node *nodes = request->nodes;
    bool few = request->count <= FEW_KEYS;
    if (!few) qsort(nodes + 1, request->count - 1, sizeof *nodes, node_order);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < request->count; i++) {
        uint32_t same = few || kept == 1 ? 1 : kept - 1;
        while (same < kept && nodes[same].id != nodes[i].id) same++;
        if (same == kept)
            nodes[kept++] = nodes[i];
        else if (nodes[i].mode > nodes[same].mode)
            nodes[same].mode = nodes[i].mode;
    }
    request->count = kept;
}

/* ---- entries ---- */

static struct lock_entry **bucket_of(const struct locks *locks, uint64_t id)
{
    return &locks->buckets[id & (locks->bucket_count - 1)];
}

static void resize(struct locks *locks, uint32_t bucket_count)
{
    struct lock_entry **old = locks->buckets;
    uint32_t old_count = locks->bucket_count;
    locks->buckets = mem_zalloc(bucket_count * sizeof *locks->buckets);
    locks->bucket_count = bucket_count;
    for (uint32_t i = 0; i < old_count; i++)
        for (struct lock_entry *entry = old[i], *next; entry; entry = next) {
            next = entry->next;
            entry->next = *bucket_of(locks, entry->id);
            *bucket_of(locks, entry->id) = entry;
        }
    mem_free(old);
}

static void reserve(struct locks *locks, uint32_t keys)
{
    uint64_t want = (uint64_t)locks->entry_count + keys;
    uint32_t count = locks->bucket_count;
    while (count < want && count < 1u << 30) count *= 2;
    if (unlikely(count != locks->bucket_count)) resize(locks, count);
}

static struct lock_entry *entry_find(const struct locks *locks, uint64_t id)
{
    if (id == 0) return (struct lock_entry *)&locks->shard;
    struct lock_entry *entry = *bucket_of(locks, id);
    while (entry && entry->id != id) entry = entry->next;
    return entry;
}

static struct lock_entry *entry_take(struct locks *locks, uint64_t id)
{
    struct lock_entry *entry = entry_find(locks, id);
    if (entry) return entry;
    entry = locks->free_list;
    if (entry) {
        locks->free_list = entry->next;
        locks->free_count--;
    } else {
        entry = mem_alloc(sizeof *entry);
    }
    *entry = (struct lock_entry){.id = id, .next = *bucket_of(locks, id)};
    list_init(&entry->fifo);
    *bucket_of(locks, id) = entry;
    locks->entry_count++;
    return entry;
}

static void entry_drop_if_empty(struct locks *locks, struct lock_entry *entry)
{
    if (entry->id == 0 || !list_empty(&entry->fifo)) return;
    struct lock_entry **at = bucket_of(locks, entry->id);
    while (*at != entry) at = &(*at)->next;
    *at = entry->next;
    locks->entry_count--;
    if (locks->free_count == ENTRIES_KEPT) {
        mem_free(entry);
    } else {
        entry->next = locks->free_list;
        locks->free_list = entry;
        locks->free_count++;
    }
}

/* ---- judging ---- */

static struct lock_node *node_of(struct list *link)
{
    return CONTAINER_OF(link, struct lock_node, link);
}

/* What a planted fault lets the newcomer overlook. */
static void counts_under_faults(const struct locks *locks, const struct lock_entry *entry,
                                uint32_t counts[LOCK_MODES])
{
    for (unsigned m = 0; m < LOCK_MODES; m++) counts[m] = 0;
    uint32_t held = 0;
    for (struct list *l = entry->fifo.next; l != &entry->fifo; l = l->next)
        held += node_of(l)->request->state == LOCK_HELD;
    for (struct list *l = entry->fifo.next; l != &entry->fifo; l = l->next) {
        bool holder = node_of(l)->request->state == LOCK_HELD;
        if (!holder && locks->faults & LOCK_FAULT_IGNORE_WAITERS) continue;
        if (!holder && locks->faults & LOCK_FAULT_FREE_KEYS_PASS && held == 0) continue;
        counts[node_of(l)->mode]++;
    }
}

static bool entry_allows(const struct locks *locks, const struct lock_entry *entry, unsigned mode)
{
    if (likely(!locks->faults)) return counts_allow(entry->counts, mode);
    uint32_t counts[LOCK_MODES];
    counts_under_faults(locks, entry, counts);
    return counts_allow(counts, mode);
}

bool locks_key_free(const struct locks *locks, uint64_t id, enum lock_mode mode)
{
    enum lock_mode intent = mode == LOCK_SHARED ? LOCK_INTENT_SHARED : LOCK_INTENT_EXCLUSIVE;
    if (!entry_allows(locks, &locks->shard, intent)) return false;
    if (id == 0) return true;
    const struct lock_entry *entry = entry_find(locks, id);
    return !entry || entry_allows(locks, entry, mode);
}

bool locks_free_for(const struct locks *locks, const struct lock_request *request)
{
    for (uint32_t i = 0; i < request->count; i++) {
        const struct lock_entry *entry = entry_find(locks, request->nodes[i].id);
        if (entry && !entry_allows(locks, entry, request->nodes[i].mode)) return false;
    }
    return true;
}

/* ---- coming and going ---- */

static void enter_node(struct locks *locks, struct lock_node *node)
{
    struct lock_entry *entry = entry_take(locks, node->id);
    node->entry = entry;
    node->ready = entry_allows(locks, entry, node->mode);
    if (!node->ready) node->request->not_ready++;
    list_push_back(&entry->fifo, &node->link);
    entry->counts[node->mode]++;
}

static void enter(struct locks *locks, struct lock_request *request)
{
    check(request->state == LOCK_IDLE);
    merge_doubles(request);
    reserve(locks, request->count);
    request->not_ready = 0;
    for (uint32_t i = 0; i < request->count; i++) request->nodes[i].entry = NULL;
    for (uint32_t i = 0; i < request->count; i++) {
        enter_node(locks, &request->nodes[i]);
        if (locks->faults & LOCK_FAULT_KEY_BY_KEY && request->not_ready) break;
    }
    list_push_back(&locks->requests, &request->audit_link);
    locks->stats.active++;
    request->state = request->not_ready ? LOCK_WAITING : LOCK_HELD;
}

bool locks_try(struct locks *locks, struct lock_request *request)
{
    if (!locks_free_for(locks, request)) {
        locks->stats.refused++;
        return false;
    }
    enter(locks, request);
    locks->stats.granted++;
    return true;
}

bool locks_acquire(struct locks *locks, struct lock_request *request)
{
    enter(locks, request);
    if (request->state == LOCK_HELD)
        locks->stats.granted++;
    else
        locks->stats.waited++;
    return request->state == LOCK_HELD;
}

static void node_ready(struct locks *locks, struct lock_node *node)
{
    struct lock_request *request = node->request;
    node->ready = 1;
    request->not_ready--;
    if (locks->faults & LOCK_FAULT_KEY_BY_KEY)
        for (uint32_t i = 0; i < request->count && !request->not_ready; i++)
            if (!request->nodes[i].entry) enter_node(locks, &request->nodes[i]);
    if (request->not_ready == 0 && request->state == LOCK_WAITING) {
        request->state = LOCK_HELD;
        list_push_back(&locks->granted, &request->granted_link);
    }
}

/* After something left the FIFO: whoever has no conflict before it any more becomes ready. */
static void advance(struct locks *locks, struct lock_entry *entry)
{
    uint32_t before[LOCK_MODES] = {0};
    for (struct list *l = entry->fifo.next; l != &entry->fifo; l = l->next) {
        struct lock_node *node = node_of(l);
        if (!node->ready && counts_allow(before, node->mode)) node_ready(locks, node);
        before[node->mode]++;
        if (before[LOCK_EXCLUSIVE]) break; /* nothing behind it can be ready */
    }
}

void locks_release(struct locks *locks, struct lock_request *request)
{
    check(request->state != LOCK_IDLE);
    bool whole = request->nodes[0].mode >= LOCK_SHARED;
    for (uint32_t i = 0; i < request->count; i++) {
        struct lock_node *node = &request->nodes[i];
        struct lock_entry *entry = node->entry;
        if (!entry) continue; /* not reached under LOCK_FAULT_KEY_BY_KEY */
        list_remove(&node->link);
        entry->counts[node->mode]--;
        /* On the shard entry nobody waits unless someone wants it whole. */
        if (entry->id || whole || entry->counts[LOCK_SHARED] || entry->counts[LOCK_EXCLUSIVE])
            advance(locks, entry);
        entry_drop_if_empty(locks, entry);
    }
    list_remove(&request->audit_link);
    list_remove(&request->granted_link);
    request->state = LOCK_IDLE;
    locks->stats.active--;
    if (unlikely(locks->bucket_count > BUCKETS_MIN && locks->entry_count == 0))
        resize(locks, BUCKETS_MIN);
}

static struct lock_request *first_to_cancel(const struct locks *locks)
{
    for (struct list *l = locks->requests.next; l != &locks->requests; l = l->next) {
        struct lock_request *request = CONTAINER_OF(l, struct lock_request, audit_link);
        if (request->state == LOCK_WAITING && request->on_cancelled) return request;
    }
    return NULL;
}

void locks_cancel_waiting(struct locks *locks, void *ctx)
{
    struct lock_request *request;
    while ((request = first_to_cancel(locks)) != NULL) {
        locks_release(locks, request);
        request->on_cancelled(ctx, request);
    }
}

void locks_run_granted(struct locks *locks, void *ctx)
{
    struct list *link;
    while ((link = list_pop_front(&locks->granted)) != NULL) {
        struct lock_request *request = CONTAINER_OF(link, struct lock_request, granted_link);
        locks->stats.granted++;
        request->on_granted(ctx, request);
    }
}

/* ---- the audit ---- */

static bool requests_conflict(const struct lock_request *a, const struct lock_request *b)
{
    for (uint32_t i = 0; i < a->count; i++)
        for (uint32_t j = 0; j < b->count; j++)
            if (a->nodes[i].id == b->nodes[j].id &&
                (conflicts[a->nodes[i].mode] >> b->nodes[j].mode & 1u))
                return true;
    return false;
}

bool locks_audit(const struct locks *locks)
{
    for (struct list *l = locks->requests.next; l != &locks->requests; l = l->next) {
        struct lock_request *later = CONTAINER_OF(l, struct lock_request, audit_link);
        bool blocked = false;
        for (struct list *e = locks->requests.next; e != l; e = e->next)
            blocked |= requests_conflict(CONTAINER_OF(e, struct lock_request, audit_link), later);
        if (blocked != (later->state == LOCK_WAITING)) return false;
    }
    return true;
}
