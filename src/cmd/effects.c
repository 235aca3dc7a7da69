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

void effects_add(struct effects *e, size_t argc, const struct slice *argv)
{
    if (e->count == e->cap) {
        size_t cap = e->cap ? e->cap * 2 : 16;
        size_t *ends = mem_try_realloc(e->ends, cap * sizeof(*ends));
        if (!ends) {
            e->failed = true;
            return;
        }
        e->ends = ends;
        e->cap = cap;
    }
    append_header(&e->bytes, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        append_header(&e->bytes, '$', argv[i].len);
        buf_append_slice(&e->bytes, argv[i]);
        buf_append(&e->bytes, "\r\n", 2);
    }
    e->ends[e->count++] = e->bytes.len;
}
