/* Writing a dump as one stream.
 *
 * Pieces come together in a block and go to the callback when it is full, in the middle of a value
 * if need be: a value is never in memory twice. A long text goes out as it lies.
 *
 * The version in the header is the lowest that tells everything, which is known only at the end: 10
 * (Redis 7.0), 11 if a stream has consumers (their active time), 12 if a field of a hash has a TTL.
 * So 10 is written first and the caller replaces the header afterwards. The checksum covers it, but
 * a CRC is linear: that of the changed file is that of the first one, plus that of the change and
 * as many zeros as the file has bytes behind it. Nothing is read again, and nobody has to look
 * through all hashes before the first byte.
 * Thread: owner of the writer; holder of the shards that are written. */
#include <errno.h>
#include <stdio.h>

#include "crc64.h"
#include "splitring/base/mem.h"
#include "splitring/persist/rdb_file.h"
#include "types.h"

struct rdb_out {
    struct rdb_writer w;
    struct buf block;
    struct rdb_out_options options;
    uint64_t bytes; /* that went to the callback */
    uint64_t crc;
    instant_ms lowest; /* of the value that is put in pieces */
    int error;
};

static void send(struct rdb_out *out, struct slice bytes)
{
    if (out->error || bytes.len == 0) return;
    if (out->options.checksum) out->crc = crc64(out->crc, bytes.ptr, bytes.len);
    out->bytes += bytes.len;
    out->error = out->options.write(out->options.ctx, bytes.ptr, bytes.len);
}

static void drain(void *ctx, struct slice more)
{
    struct rdb_out *out = ctx;
    if (out->block.failed && !out->error) out->error = -ENOMEM;
    send(out, buf_slice(&out->block));
    out->block.len = 0;
    send(out, more);
    /* A long text that was compressed leaves room behind that nobody needs again. */
    if (out->block.cap > 16 * RDB_BLOCK) buf_deinit(&out->block);
}

static void header_of(unsigned version, char header[RDB_HEADER_LEN + 1])
{
    snprintf(header, RDB_HEADER_LEN + 1, "REDIS%04u", version % 10000);
}

struct rdb_out *rdb_out_new(const struct rdb_out_options *options)
{
    char header[RDB_HEADER_LEN + 1];
    struct rdb_out *out = mem_zalloc(sizeof(*out));
    out->options = *options;
    rdb_writer_init(&out->w, &out->block, options->version, options->compress);
    out->w.exact = options->exact;
    out->w.drain = drain;
    out->w.drain_ctx = out;
    header_of(RDB_VERSION_LEAST, header);
    if (!options->piece) buf_append(&out->block, header, RDB_HEADER_LEN);
    return out;
}

void rdb_out_free(struct rdb_out *out)
{
    if (!out) return;
    rdb_writer_deinit(&out->w);
    buf_deinit(&out->block);
    mem_free(out);
}

uint64_t rdb_out_bytes(const struct rdb_out *out) { return out->bytes + out->block.len; }

uint64_t rdb_out_crc(const struct rdb_out *out) { return out->crc; }

void rdb_out_aux(struct rdb_out *out, const char *name, struct slice value)
{
    rdb_put_byte(&out->w, OP_AUX);
    rdb_put_text(&out->w, slice_str(name));
    rdb_put_text(&out->w, value);
}

void rdb_out_function(struct rdb_out *out, struct slice code)
{
    rdb_put_byte(&out->w, OP_FUNCTION);
    rdb_put_text(&out->w, code);
}

void rdb_out_db(struct rdb_out *out, uint32_t db, uint64_t keys, uint64_t expires)
{
    rdb_put_byte(&out->w, OP_DB);
    rdb_put_len(&out->w, db);
    rdb_put_byte(&out->w, OP_SIZES);
    rdb_put_len(&out->w, keys);
    rdb_put_len(&out->w, expires);
}

void rdb_out_select(struct rdb_out *out, uint32_t db)
{
    rdb_put_byte(&out->w, OP_DB);
    rdb_put_len(&out->w, db);
}

void rdb_out_raw(struct rdb_out *out, struct slice piece, unsigned version)
{
    if (version > out->w.version_used) out->w.version_used = version;
    drain(out, piece);
}

int rdb_out_flush(struct rdb_out *out)
{
    drain(out, (struct slice){0});
    return out->error;
}

unsigned rdb_out_version(const struct rdb_out *out) { return out->w.version_used; }

/* What stands before the type; the key itself follows that. */
static void put_key_head(struct rdb_out *out, const struct entry *e, instant_ms expire,
                         int64_t idle_s, int freq)
{
    struct rdb_writer *w = &out->w;
    if (expire != EXPIRE_NONE) {
        rdb_put_byte(w, OP_EXPIRE_MS);
        rdb_put_u64(w, (uint64_t)expire);
    }
    if (idle_s >= 0) {
        rdb_put_byte(w, OP_IDLE);
        rdb_put_len(w, (uint64_t)idle_s);
    }
    if (freq >= 0) {
        rdb_put_byte(w, OP_FREQ);
        rdb_put_byte(w, (unsigned)freq);
    }
    w->key = entry_key(e);
    w->key_due = true;
}

bool rdb_out_key_as(struct rdb_out *out, const struct entry *e, instant_ms expire, int64_t idle_s,
                    int freq)
{
    if (out->error) return false;
    put_key_head(out, e, expire, idle_s, freq);
    save_value(&out->w, e);
    return out->error == 0;
}

void rdb_out_big(struct rdb_out *out, const struct entry *e, int64_t idle_s, int freq,
                 uint64_t count, instant_ms lowest)
{
    out->lowest = lowest;
    if (out->error) return;
    put_key_head(out, e, entry_expiry(e), idle_s, freq);
    put_pieces_head(&out->w, e, count, lowest);
}

void rdb_out_part(struct rdb_out *out, enum value_type type, const struct snapshot_part *part)
{
    if (!out->error) put_piece(&out->w, type, out->lowest, part);
}

bool rdb_out_key(struct rdb_out *out, const struct ks *ks, const struct entry *e)
{
    return rdb_out_key_as(out, e, entry_expiry(e),
                          out->options.idle ? (int64_t)entry_idle_s(ks, e) : -1,
                          out->options.freq ? (int)entry_freq(ks, e) : -1);
}

int rdb_out_end(struct rdb_out *out, char header[RDB_HEADER_LEN + 1], bool *changed)
{
    char before[RDB_HEADER_LEN + 1], change[RDB_HEADER_LEN];
    rdb_put_byte(&out->w, OP_END);
    drain(out, (struct slice){0});
    header_of(RDB_VERSION_LEAST, before);
    header_of(out->w.version_used, header);
    for (unsigned i = 0; i < RDB_HEADER_LEN; i++) change[i] = (char)(header[i] ^ before[i]);
    *changed = out->w.version_used != RDB_VERSION_LEAST;
    uint64_t crc = out->crc;
    if (*changed && out->options.checksum) {
        crc ^= crc64_zeros(crc64(0, change, sizeof(change)), out->bytes - RDB_HEADER_LEN);
    }
    out->crc = crc;
    buf_append(&out->block, &crc, sizeof(crc));
    if (out->block.failed && !out->error) out->error = -ENOMEM;
    if (!out->error) {
        out->error = out->options.write(out->options.ctx, out->block.ptr, out->block.len);
    }
    return out->error;
}
