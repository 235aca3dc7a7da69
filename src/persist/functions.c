/* Libraries of functions in RDB's form.
 *
 *   (245 u8 | text)* | version u16 | CRC-64 u64
 *
 * The text of a library says all: its name and engine stand in its first line, its functions come
 * of running it. So a payload is checked by whoever loads it. Opcode 246, of release candidates of
 * Redis 7.0, is not read by any server since.
 * Thread: any (pure). */
#include <errno.h>

#include "codec.h"

#define OPCODE_FUNCTION 245u

void rdb_dump_functions(const struct slice *texts, size_t count, bool compress, struct buf *out)
{
    struct rdb_writer w;
    size_t begin = out->len;
    rdb_writer_init(&w, out, RDB_VERSION_LEAST, compress);
    for (size_t i = 0; i < count; i++) {
        rdb_put_byte(&w, OPCODE_FUNCTION);
        rdb_put_text(&w, texts[i]);
    }
    rdb_writer_deinit(&w);
    rdb_put_footer(out, begin, w.version_used);
}

int rdb_each_function(struct slice payload, bool (*each)(void *ctx, struct slice text), void *ctx)
{
    struct rdb_text text = {0};
    int rc = 0;
    if (rdb_payload_version(payload) == 0) return RDB_E_PAYLOAD;
    struct rdb_reader r = {.at = payload.ptr, .end = payload.ptr + payload.len - RDB_FOOTER_LEN};
    while (rc == 0 && rdb_left(&r) > 0) {
        uint8_t opcode = 0;
        if (!rdb_get_byte(&r, &opcode)) rc = r.error;
        else if (opcode != OPCODE_FUNCTION) rc = RDB_E_NO_FUNCTION;
        else if (!rdb_get_text(&r, &text)) rc = r.error;
        else if (!each(ctx, text.s)) rc = RDB_E_STOPPED;
    }
    rdb_text_deinit(&text);
    return rc;
}
