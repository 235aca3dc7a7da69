/* One way to walk the texts of every encoding that RDB has ever had for small collections.
 *
 *   listpack  see data/listpack.h; judged as a whole by lp_valid before the first text
 *   ziplist   total u32 | offset of the last entry u32 | entries u16 | entry … | 0xff
 *             entry: length of the one before (1 byte, or 254 and u32) | encoding | data
 *   zipmap    fields (1 byte; 254: more) | (length field | length free value slack) … | 0xff
 *             length: 1 byte, or 254 and u32
 *
 * Ziplists and zipmaps are judged entry by entry while they are walked: every length is compared
 * with what is left before it is used, an entry must tell the true length of the one before, and
 * the last one must end where the block does. The number of elements that a header claims is found
 * by walking first, so that builders know it.
 * Source: redis src/ziplist.c, src/zipmap.c for the layouts.
 * Thread: any (plain values). */
#include "elements.h"

#include "splitring/base/num.h"

#define ZIPLIST_HEADER 10u
#define ZIPLIST_COUNT_UNKNOWN 65535u
#define BLOCK_END 0xffu
#define LONG_LEN 254u

/* ---- ziplist ---- */

struct zip_entry {
    struct slice text; /* ptr NULL: a number */
    int64_t number;
    size_t len; /* of the whole entry */
};

static bool zip_number(const char *p, size_t left, uint8_t kind, struct zip_entry *e, size_t *used)
{
    static const struct {
        uint8_t kind, len;
    } kinds[] = {{0xc0, 2}, {0xd0, 4}, {0xe0, 8}, {0xf0, 3}, {0xfe, 1}};
    if (kind >= 0xf1 && kind <= 0xfd) {
        e->number = (kind & 15) - 1;
        *used = 1;
        return true;
    }
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (kinds[i].kind != kind) continue;
        unsigned len = kinds[i].len, unused = 64 - 8 * len;
        if (left < 1 + len) return false;
        uint64_t raw = 0;
        memcpy(&raw, p + 1, len);
        e->number = (int64_t)(raw << unused) >> unused;
        *used = 1 + len;
        return true;
    }
    return false;
}

static bool zip_text(const char *p, size_t left, uint8_t kind, struct zip_entry *e, size_t *used)
{
    size_t head, len;
    if (kind < 0x40) {
        head = 1;
        len = kind;
    } else if (kind < 0x80) {
        head = 2;
        if (left < head) return false;
        len = (size_t)(kind & 63) << 8 | (uint8_t)p[1];
    } else if (kind == 0x80) {
        head = 5;
        if (left < head) return false;
        uint32_t big;
        memcpy(&big, p + 1, sizeof(big));
        len = __builtin_bswap32(big);
    } else {
        return false;
    }
    if (len > left - head) return false;
    e->text = slice_of(p + head, len);
    *used = head + len;
    return true;
}

/* The entry at p, of `left` bytes before the block's end. */
static bool zip_entry(const char *p, size_t left, size_t before, struct zip_entry *e)
{
    size_t told, head = 1, used;
    if (left < 2) return false;
    told = (uint8_t)p[0];
    if (told >= LONG_LEN) {
        uint32_t len;
        head = 5;
        if (told != LONG_LEN || left < head + 1) return false;
        memcpy(&len, p + 1, sizeof(len));
        told = len;
    }
    if (told != before) return false;
    p += head;
    left -= head;
    uint8_t kind = (uint8_t)p[0];
    *e = (struct zip_entry){0};
    bool ok = kind < 0xc0 ? zip_text(p, left, kind, e, &used) : zip_number(p, left, kind, e, &used);
    e->len = ok ? head + used : 0;
    return ok;
}

static bool ziplist_open(struct elements *el, struct slice bytes)
{
    uint32_t total, tail;
    uint16_t claimed;
    if (bytes.len < ZIPLIST_HEADER + 1) return false;
    memcpy(&total, bytes.ptr, 4);
    memcpy(&tail, bytes.ptr + 4, 4);
    memcpy(&claimed, bytes.ptr + 8, 2);
    if (total != bytes.len || (uint8_t)bytes.ptr[total - 1] != BLOCK_END) return false;
    const char *p = bytes.ptr + ZIPLIST_HEADER, *end = bytes.ptr + total - 1, *last = p;
    size_t before = 0;
    uint64_t count = 0;
    for (; p < end; p += before, count++) {
        struct zip_entry e;
        if (!zip_entry(p, (size_t)(end - p), before, &e)) return false;
        last = p;
        before = e.len;
    }
    if (last != bytes.ptr + tail) return false;
    if (claimed != ZIPLIST_COUNT_UNKNOWN && claimed != count) return false;
    el->at = bytes.ptr + ZIPLIST_HEADER;
    el->end = end;
    el->count = count;
    return true;
}

static void number_text(struct rdb_text *t, int64_t number)
{
    t->s = slice_of(t->small, num_format_i64(t->small, number));
}

static bool ziplist_next(struct elements *el, struct rdb_text *t)
{
    struct zip_entry e;
    if (!zip_entry(el->at, (size_t)(el->end - el->at), el->before, &e)) return rdb_bad(el->r);
    el->at += e.len;
    el->before = e.len;
    if (e.text.ptr) {
        t->s = e.text;
    } else {
        number_text(t, e.number);
    }
    return true;
}

/* ---- zipmap ---- */

/* The text at *at, with its slack if it is a value; moves on. */
static bool zipmap_text(const char **at, const char *end, bool is_value, struct slice *text)
{
    const char *p = *at;
    size_t left = (size_t)(end - p), slack = 0;
    if (left < 1) return false;
    size_t len = (uint8_t)p[0], head = 1;
    if (len > LONG_LEN) return false;
    if (len == LONG_LEN) {
        uint32_t more;
        head = 5;
        if (left < head) return false;
        memcpy(&more, p + 1, sizeof(more));
        len = more;
    }
    if (is_value) {
        if (left < head + 1) return false;
        slack = (uint8_t)p[head];
        head++;
    }
    if (len > left - head || slack > left - head - len) return false;
    *text = slice_of(p + head, len);
    *at = p + head + len + slack;
    return true;
}

static bool zipmap_open(struct elements *el, struct slice bytes)
{
    if (bytes.len < 2 || (uint8_t)bytes.ptr[bytes.len - 1] != BLOCK_END) return false;
    const char *p = bytes.ptr + 1, *end = bytes.ptr + bytes.len - 1;
    uint8_t claimed = (uint8_t)bytes.ptr[0];
    uint64_t count = 0;
    struct slice text;
    for (; p < end; count++) {
        if (!zipmap_text(&p, end, count & 1, &text)) return false;
    }
    if (count % 2 != 0 || (claimed != LONG_LEN && claimed != count / 2)) return false;
    el->at = bytes.ptr + 1;
    el->end = end;
    el->count = count;
    return true;
}

/* ---- all ---- */

void elements_texts(struct elements *el, struct rdb_reader *r, uint64_t count)
{
    *el = (struct elements){.r = r, .kind = ELEMENTS_TEXTS, .count = count, .left = count};
}

static bool open_bytes(struct elements *el, struct slice bytes)
{
    uint32_t count;
    bool ok;
    switch (el->kind) {
    case ELEMENTS_ZIPLIST: ok = ziplist_open(el, bytes); break;
    case ELEMENTS_ZIPMAP: ok = zipmap_open(el, bytes); break;
    default:
        ok = lp_valid(bytes, &count);
        if (!ok) break;
        el->at = bytes.ptr + LP_HEADER;
        el->end = bytes.ptr + bytes.len - 1;
        el->count = count;
    }
    el->left = el->count;
    return ok ? true : rdb_bad(el->r);
}

bool elements_bytes(struct elements *el, struct rdb_reader *r, enum elements_kind kind,
                    struct slice bytes)
{
    *el = (struct elements){.r = r, .kind = kind};
    return open_bytes(el, bytes);
}

bool elements_block(struct elements *el, struct rdb_reader *r, enum elements_kind kind)
{
    *el = (struct elements){.r = r, .kind = kind};
    return rdb_get_text(r, &el->block) && open_bytes(el, el->block.s);
}

void elements_deinit(struct elements *el) { rdb_text_deinit(&el->block); }

bool elements_next(struct elements *el, struct rdb_text *t)
{
    if (el->r->error || el->left == 0) return false;
    el->left--;
    switch (el->kind) {
    case ELEMENTS_TEXTS: return rdb_get_text(el->r, t);
    case ELEMENTS_ZIPLIST: return ziplist_next(el, t);
    case ELEMENTS_ZIPMAP:
        return zipmap_text(&el->at, el->end, (el->left & 1) == 0, &t->s) ? true : rdb_bad(el->r);
    default: break;
    }
    struct lp_value value = lp_get(el->at, 0);
    el->at += lp_element_len(el->at, 0);
    if (value.text.ptr) {
        t->s = value.text;
    } else {
        number_text(t, value.number);
    }
    return true;
}
