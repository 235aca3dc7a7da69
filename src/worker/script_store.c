/* The texts of scripts, by SHA1, for all workers.
 *
 * Each worker's VM compiles what it runs; what it has not seen yet it finds here. So a script
 * loaded through one connection is known on all, at the moment SCRIPT LOAD is answered, and a
 * worker that has compiled it never comes here again: only SCRIPT FLUSH (a generation) makes it.
 *
 * Scripts that came by EVAL are remembered as a courtesy; as Redis 7.4 does, only the last
 * EVALS_MAX of them, so that generated scripts do not fill the memory. Each time one is forgotten
 * a number counts up: a worker that runs EVAL of a text it compiled before then adds it again.
 *
 * One word guards all of it. It is held for some hundred nanoseconds, by workers that meet a script
 * for the first time.
 * Thread: any. */
#include <string.h>

#include "script.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"

#define EVALS_MAX 500u
#define BUCKETS 1024u

struct stored {
    struct stored *next;    /* of the bucket */
    struct list eval_link;  /* oldest first; empty: pinned */
    char sha[SCRIPT_SHA_LEN];
    struct slice text;      /* behind it */
};

struct script_store {
    claim_word locked;
    counter generation, forgotten;
    struct stored *buckets[BUCKETS];
    struct list evals;
    size_t eval_count, count;
    counter bytes; /* written under the lock */
};

struct script_store *script_store_new(void)
{
    struct script_store *store = mem_zalloc(sizeof *store);
    list_init(&store->evals);
    return store;
}

void script_store_free(struct script_store *store)
{
    script_store_flush(store);
    mem_free(store);
}

void script_store_lock(struct hub *hub)
{
    unsigned spins = 0;
    while (!claim_try_shared(&hub->scripts->locked, 0, 1)) hub->pause(spins++);
}

void script_store_unlock(struct hub *hub) { check(claim_try_shared(&hub->scripts->locked, 1, 0)); }

static char lower(char ch) { return ch >= 'A' && ch <= 'Z' ? (char)(ch + 32) : ch; }

/* The first characters of a SHA1 are as good as a hash. */
static struct stored **place_of(struct script_store *store, struct slice sha)
{
    uint32_t h = 0;
    for (size_t i = 0; i < 8 && i < sha.len; i++) h = h * 31 + (unsigned char)lower(sha.ptr[i]);
    struct stored **at = &store->buckets[h % BUCKETS];
    for (; *at; at = &(*at)->next) {
        size_t i = 0;
        while (i < SCRIPT_SHA_LEN && (*at)->sha[i] == lower(sha.ptr[i])) i++;
        if (i == SCRIPT_SHA_LEN) break;
    }
    return at;
}

const struct slice *script_store_find(struct script_store *store, struct slice sha)
{
    if (sha.len != SCRIPT_SHA_LEN) return NULL;
    struct stored *found = *place_of(store, sha);
    return found ? &found->text : NULL;
}

static void drop(struct script_store *store, struct stored *s)
{
    struct stored **at = place_of(store, slice_of(s->sha, SCRIPT_SHA_LEN));
    *at = s->next;
    if (!list_empty(&s->eval_link)) store->eval_count--;
    list_remove(&s->eval_link);
    store->count--;
    counter_sub(&store->bytes, sizeof *s + s->text.len);
    mem_free(s);
}

static void pin(struct script_store *store, struct stored *s)
{
    if (list_empty(&s->eval_link)) return;
    list_remove(&s->eval_link);
    list_init(&s->eval_link);
    store->eval_count--;
}

bool script_store_add(struct script_store *store, struct slice sha, struct slice text, bool pinned)
{
    struct stored **at = place_of(store, sha);
    if (*at) {
        struct stored *known = *at;
        bool is_pinned = list_empty(&known->eval_link);
        if (pinned) pin(store, known);
        if (pinned || is_pinned) return true;
        list_remove(&known->eval_link);
        list_push_back(&store->evals, &known->eval_link);
        return true;
    }
    struct stored *s = mem_try_alloc(sizeof *s + text.len);
    if (!s) return false;
    *s = (struct stored){.text = slice_of((char *)(s + 1), text.len)};
    memcpy(s->sha, sha.ptr, SCRIPT_SHA_LEN);
    memcpy(s + 1, text.ptr, text.len);
    list_init(&s->eval_link);
    *at = s;
    store->count++;
    counter_add(&store->bytes, sizeof *s + text.len);
    if (pinned) return true;
    list_push_back(&store->evals, &s->eval_link);
    if (++store->eval_count > EVALS_MAX) {
        drop(store, CONTAINER_OF(store->evals.next, struct stored, eval_link));
        counter_set_release(&store->forgotten, counter_get(&store->forgotten) + 1);
    }
    return true;
}

void script_store_flush(struct script_store *store)
{
    for (size_t b = 0; b < BUCKETS; b++)
        while (store->buckets[b]) drop(store, store->buckets[b]);
    counter_set_release(&store->generation, counter_get(&store->generation) + 1);
}

size_t script_store_count(const struct script_store *store) { return store->count; }

size_t script_store_bytes(const struct script_store *store) { return counter_get(&store->bytes); }

uint64_t script_texts_bytes(const struct hub *hub) { return script_store_bytes(hub->scripts); }

uint64_t script_store_forgotten(const struct script_store *store)
{
    return counter_get_acquire_shared(&store->forgotten);
}

uint64_t script_store_generation(const struct script_store *store)
{
    return counter_get_acquire_shared(&store->generation);
}
