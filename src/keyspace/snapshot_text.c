/* Long strings in a snapshot, and collections that are packed into as many bytes (as configured:
 * hash-max-listpack-* and their like have no upper end): told page by page, in order.
 *
 * A write to a page that has not been told yet copies the page first (64 KiB), once. What is
 * appended needs no copy: the string is told up to the length it had at the cut. The block may move
 * while it grows; whoever moves it says so. A string that is overwritten or deleted is handed over,
 * as objects are.
 *
 * Editing what is packed moves bytes anywhere, so it copies all pages that have not been told: a
 * copy of the value, which is what a search in it and the edit cost anyway. Packed lists are told
 * whole: their bytes are bounded (list-max-listpack-size: 64 KiB at most).
 *
 * Strings have no place for a duty of their own, so the queue is searched for them: it is empty
 * unless big values are being written while a snapshot runs.
 * Thread: holder of the shard. */
#include "snapshot_impl.h"

#define PAGE_LEN 65536u

static size_t page_count(const struct snapshot_big *big)
{
    return (size_t)(big->count / PAGE_LEN + 1);
}

static size_t page_len(const struct snapshot_big *big, size_t page)
{
    uint64_t left = big->count - (uint64_t)page * PAGE_LEN;
    return left < PAGE_LEN ? (size_t)left : PAGE_LEN;
}

bool snapshot_text_fits(const struct entry *e, size_t least)
{
    if (!(e->flags & ENTRY_POINTER) || kind_is_object(e->kind)) return false;
    const struct blob *blob = entry_pointer(e);
    return entry_type_of(e) != TYPE_LIST && blob->len >= least;
}

bool snapshot_text_begin(struct snapshot_big *big)
{
    big->count = big->blob->len;
    big->pages = mem_try_zalloc(page_count(big) * sizeof(*big->pages));
    return big->pages != NULL;
}

static void drop_page(struct snapshot *s, struct snapshot_big *big, size_t page)
{
    if (!big->pages[page]) return;
    mem_free(big->pages[page]);
    big->pages[page] = NULL;
    s->image_bytes -= PAGE_LEN;
}

bool snapshot_text_walk(struct snapshot *s, struct snapshot_big *big)
{
    bool packed = entry_type_of(big->shell) != TYPE_STRING;
    while (big->cursor < big->count) {
        size_t page = (size_t)(big->cursor / PAGE_LEN), len = page_len(big, page);
        const char *from = big->pages[page] ? big->pages[page] : big->blob->data + big->cursor;
        struct snapshot_part part = {.text = slice_of(from, len), .packed = packed};
        big->cursor += len;
        snapshot_tell_part(s, big, &part);
        drop_page(s, big, page);
        if (!snapshot_goes_on(s)) break;
    }
    return big->cursor < big->count;
}

void snapshot_text_end(struct snapshot *s, struct snapshot_big *big)
{
    for (size_t page = 0; page < page_count(big); page++) drop_page(s, big, page);
    mem_free(big->pages);
}

/* ---- what writers owe ---- */

static struct snapshot_big *find(const struct shard *shard, const struct blob *blob)
{
    const struct snapshot *s = shard->snapshot;
    struct snapshot_big *big = s && s->blobs ? s->bigs : NULL;
    while (big && big->blob != blob) big = big->next;
    return big;
}

bool snapshot_needs_blob(const struct shard *shard, const struct blob *blob)
{
    return find(shard, blob) != NULL;
}

bool snapshot_takes_blob(struct shard *shard, struct blob *blob)
{
    struct snapshot_big *big = find(shard, blob);
    if (!big) return false;
    big->handed_over = mem_usable(blob);
    shard->snapshot->value_bytes += big->handed_over;
    return true;
}

void snapshot_blob_moved(struct shard *shard, const struct blob *from, struct blob *to)
{
    struct snapshot_big *big = find(shard, from);
    if (big) big->blob = to;
}

void snapshot_tell_text(struct shard *shard, const struct blob *blob, size_t from, size_t len)
{
    struct snapshot *s = shard->snapshot;
    struct snapshot_big *big = find(shard, blob);
    if (!big) return;
    uint64_t end = len > big->count || from + len > big->count ? big->count : from + len;
    if (from < big->cursor) from = (size_t)big->cursor;
    for (size_t at = from - from % PAGE_LEN; from < end && at < end; at += PAGE_LEN) {
        size_t page = at / PAGE_LEN;
        if (big->pages[page]) continue;
        big->pages[page] = mem_try_alloc(PAGE_LEN);
        if (!big->pages[page]) {
            s->failed = true;
            return;
        }
        memcpy(big->pages[page], blob->data + at, page_len(big, page));
        s->image_bytes += PAGE_LEN;
    }
}

void snapshot_keep_packed(struct shard *shard, const struct entry *e)
{
    if (shard->snapshot->blobs == 0 || entry_type_of(e) == TYPE_STRING) return;
    if (snapshot_text_fits(e, 0)) snapshot_tell_text(shard, entry_pointer(e), 0, SIZE_MAX);
}
