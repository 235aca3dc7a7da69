/* Records that lie whole in the reader's block: found without making anything, made later.
 *
 *   block  ...|record|record|record|rec          | at, behind those that were found
 *              ^ key and value stay where they are until the block is filled again
 *
 * Most records are a key and a value of some ten bytes. Found ahead, several at once, their places
 * in the table can be fetched at the same time (the caller does), and neither key nor value is
 * copied before it is in its entry. To pass over a key of another shard is no more than to find it.
 *
 * What is not of this kind (opcodes, records across two blocks, anything odd or damaged) is not
 * touched: false, and rdb_in_next goes on there, with all its judgement. So there is one place that
 * says what is wrong, and what is found here has the form that skip_value follows.
 * Thread: owner of the reader; holder of the shards where values are made. */
#include "file_in.h"
#include "lzf.h"
#include "splitring/base/check.h"
#include "splitring/base/num.h"

enum { LEN_14_FIRST = 0x40, LEN_REST = 0x80 };
enum { CODED_I8 = 0xc0, CODED_I16, CODED_I32, CODED_LZF };

typedef const uint8_t *bytes;

/* Types whose value is a single string. */
#define ONE_TEXT                                                                              \
    (1u << RDB_STRING | 1u << RDB_HASH_ZIPMAP | 1u << RDB_LIST_ZIPLIST | 1u << RDB_SET_INTSET | \
     1u << RDB_ZSET_ZIPLIST | 1u << RDB_HASH_ZIPLIST | 1u << RDB_HASH_LISTPACK |               \
     1u << RDB_ZSET_LISTPACK | 1u << RDB_SET_LISTPACK)

/* ---- finding ---- */

/* A length below 2^14; NULL: it is not, or not whole. */
static inline bytes pass_len(bytes p, bytes end, size_t *len)
{
    if (end - p < 2) return NULL;
    *len = p[0];
    if (likely(p[0] < LEN_14_FIRST)) return p + 1;
    if (p[0] >= LEN_REST) return NULL;
    *len = (size_t)(p[0] & 63) << 8 | p[1];
    return p + 2;
}

/* A string; what follows it. */
static inline bytes pass_text(bytes p, bytes end)
{
    size_t len, text_len;
    if (p == end) return NULL;
    switch (*p) {
    case CODED_I8: len = 1; p++; break;
    case CODED_I16: len = 2; p++; break;
    case CODED_I32: len = 4; p++; break;
    case CODED_LZF:
        p = pass_len(p + 1, end, &len);
        if (p) p = pass_len(p, end, &text_len);
        break;
    case 0: return p + 1;
    default: p = pass_len(p, end, &len); break;
    }
    return p && (size_t)(end - p) >= len ? p + len : NULL;
}

static bytes pass_value(bytes p, bytes end, unsigned type)
{
    if (likely(type < 32 && (ONE_TEXT >> type & 1))) return pass_text(p, end);
    struct rdb_reader r = {.at = (const char *)p, .end = (const char *)end};
    return skip_value(&r, type) ? (bytes)r.at : NULL;
}

/* What stands before a type byte; NULL: that is not whole. */
static inline bytes pass_prefix(bytes p, bytes end, struct rdb_plain *plain)
{
    size_t number;
    for (;;) {
        if (p == end) return NULL;
        switch (*p) {
        case OP_EXPIRE_MS:
            if (end - p < 9) return NULL;
            memcpy(&plain->expire, p + 1, sizeof(plain->expire));
            if (plain->expire >= EXPIRE_KEEP) plain->expire = EXPIRE_KEEP - 1;
            p += 9;
            break;
        case OP_IDLE:
            p = pass_len(p + 1, end, &number);
            if (!p) return NULL;
            plain->idle_s = (int32_t)number;
            break;
        case OP_FREQ:
            if (end - p < 2) return NULL;
            plain->freq = p[1];
            p += 2;
            break;
        default: return p;
        }
    }
}

/* A name that is not spelled out goes to the reader's room for such. */
static bool decode_key(struct rdb_in *in, bytes p, bytes end, struct slice *key)
{
    struct rdb_reader r = {.at = (const char *)p, .end = (const char *)end};
    if (!rdb_get_text(&r, &in->text)) return false;
    struct slice text = in->text.s;
    if (text.len > sizeof(in->names) - in->names_len) return false;
    char *name = in->names + in->names_len;
    memcpy(name, text.ptr, text.len);
    in->names_len += text.len;
    *key = slice_of(name, text.len);
    return true;
}

static inline bool get_key(struct rdb_in *in, bytes p, bytes end, struct slice *key)
{
    if (unlikely(*p >= LEN_REST)) return decode_key(in, p, end, key);
    size_t head = *p < LEN_14_FIRST ? 1 : 2;
    *key = slice_of((const char *)p + head, (size_t)(end - p) - head);
    return true;
}

void rdb_in_plain_begin(struct rdb_in *in) { in->names_len = 0; }

bool rdb_in_plain(struct rdb_in *in, struct rdb_plain *plain)
{
    struct rdb_reader *r = &in->r;
    if (unlikely(in->failed || !in->version)) return false;
    dcheck(in->type == NO_TYPE);
    plain->expire = EXPIRE_NONE;
    plain->idle_s = plain->freq = -1;
    bytes end = (bytes)r->end, p = pass_prefix((bytes)r->at, end, plain);
    if (unlikely(!p)) return false;
    plain->type = likely(*p <= RDB_STREAM_LISTPACKS_3) ? *p : type_of_byte(in->version, *p);
    bytes key = p + 1, value = pass_text(key, end);
    if (unlikely(!value)) return false;
    bytes behind = pass_value(value, end, plain->type);
    if (unlikely(!behind) || !get_key(in, key, value, &plain->key)) return false;
    plain->offset = rdb_offset(r);
    plain->db = in->db;
    plain->value = (const char *)value;
    plain->end = r->at = (const char *)behind;
    return true;
}

/* ---- making ---- */

static int put_text(struct rdb_in *in, struct ks *ks, const struct rdb_plain *plain)
{
    struct rdb_reader r = {.at = plain->value, .end = plain->end};
    unsigned first = (uint8_t)*r.at;
    if (first >= CODED_I8 && first <= CODED_I32) {
        uint64_t raw = 0;
        unsigned len = 1u << (first - CODED_I8), unused = 64 - 8 * len;
        memcpy(&raw, r.at + 1, len);
        return ks_set_int(ks, plain->key, (int64_t)(raw << unused) >> unused, plain->expire);
    }
    if (!rdb_get_text(&r, &in->text)) {
        in->r.error = r.error;
        return file_in_fail_value(in);
    }
    return ks_set_string(ks, plain->key, in->text.s, plain->expire);
}

static int put_value(struct rdb_in *in, struct ks *ks, const struct rdb_limits *limits,
                     const struct rdb_plain *plain)
{
    struct rdb_value v = {.held = RDB_NOTHING, .limits = limits};
    struct loading l = {.r = {.at = plain->value, .end = plain->end}, .ks = ks, .key = plain->key,
                        .shard = ks_shard_of(ks, plain->key), .limits = limits, .value = &v};
    bool ok = load_value(&l, plain->type);
    if (ok && l.r.at != l.r.end) ok = rdb_bad(&l.r);
    if (likely(ok)) return rdb_value_put(&v, ks, plain->key, plain->expire);
    rdb_value_drop(&v, ks, plain->key);
    if (l.r.error == RDB_E_EMPTY) return RDB_E_EMPTY;
    in->r.error = l.r.error;
    return file_in_fail_value(in);
}

int rdb_in_put_plain(struct rdb_in *in, struct ks *ks, const struct rdb_limits *limits,
                     const struct rdb_plain *plain)
{
    if (in->failed) return in->failed;
    in->key.s = plain->key;
    in->offset = plain->offset;
    size_t before = shard_db_keys(ks_shard_of(ks, plain->key), ks->db);
    int rc = plain->type == RDB_STRING ? put_text(in, ks, plain)
                                       : put_value(in, ks, limits, plain);
    return file_in_put_rest(in, ks, rc, before, plain->idle_s, plain->freq);
}
