/* The list of effects: one buffer of RESP commands and an array of their ends. No block per effect:
 * a pass that writes a thousand keys appends to one buffer, which the journal takes as it is.
 * Thread: owner. */
#include "splitring/cmd/effects.h"

#include "splitring/base/mem.h"
#include "splitring/base/num.h"

#define KEEP_BYTES 16384u /* room that survives effects_clear */

void effects_init(struct effects *e) { *e = (struct effects){.count = 0}; }

void effects_deinit(struct effects *e)
{
    buf_deinit(&e->bytes);
    mem_free(e->ends);
    effects_init(e);
}

void effects_clear(struct effects *e)
{
    e->count = 0;
    e->failed = false;
    e->bytes.len = 0;
    if (e->bytes.failed) buf_deinit(&e->bytes);
    buf_shrink(&e->bytes, KEEP_BYTES);
}

static void append_header(struct buf *out, char type, size_t value)
{
    if (!buf_reserve(out, NUM_I64_LEN_MAX + 3)) return;
    char *at = out->ptr + out->len;
    *at++ = type;
    at += num_format_u64(at, value);
    *at++ = '\r';
    *at++ = '\n';
    out->len = (size_t)(at - out->ptr);
}

static bool room_for_one(struct effects *e)
{
    if (e->count < e->cap) return true;
    size_t cap = e->cap ? e->cap * 2 : 16;
    struct effect_end *ends = mem_try_realloc(e->ends, cap * sizeof(*ends));
    if (!ends) {
        e->failed = true;
        return false;
    }
    e->ends = ends;
    e->cap = cap;
    return true;
}

void effects_add(struct effects *e, size_t argc, const struct slice *argv)
{
    if (!room_for_one(e)) return;
    append_header(&e->bytes, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        append_header(&e->bytes, '$', argv[i].len);
        buf_append_slice(&e->bytes, argv[i]);
        buf_append(&e->bytes, "\r\n", 2);
    }
    e->ends[e->count++] = (struct effect_end){.end = e->bytes.len, .db = e->db};
}

void effects_cut(struct effects *e, size_t count)
{
    if (count >= e->count) return;
    e->count = count;
    e->bytes.len = count ? e->ends[count - 1].end : 0;
}

void effects_copy(const struct effects *e, size_t i, struct effects *to)
{
    if (!room_for_one(to)) return;
    buf_append_slice(&to->bytes, effects_at(e, i));
    to->ends[to->count] = e->ends[i];
    to->ends[to->count++].end = to->bytes.len;
}

void effects_move(struct effects *e, size_t from, struct effects *to)
{
    for (size_t i = from; i < e->count; i++) effects_copy(e, i, to);
    to->failed |= e->failed || e->bytes.failed;
    effects_cut(e, from);
}
