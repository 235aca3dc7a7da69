/* Reading a dump: header, opcodes, keys, checksum.
 *
 *   REDISnnnn | VALKEYnnn
 *   (opcode … | [expiry] [idle | frequency] type key value) …
 *   255, CRC-64 of all before it (from version 5 on; 0: none was made)
 *
 * Whatever is wrong is told once, with the offset of the item in which it was found, and ends the
 * reading: after damage nothing that follows means anything. Data of modules cannot be kept, so a
 * key of a module's type, or what a module has stored beside the keys, is an error rather than a
 * loss; a module's record that holds nothing is passed over.
 * Thread: owner of the reader; holder of the shards where values are made. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "file_in.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"

enum module_part { PART_END, PART_INT, PART_UINT, PART_FLOAT, PART_DOUBLE, PART_TEXT };
enum { RDB_MODULE = 6, RDB_MODULE_2 = 7 };

#define CHECKSUM_VERSION 5u

struct rdb_in *rdb_in_new(const struct rdb_in_options *options)
{
    struct rdb_in *in = mem_zalloc(sizeof(*in));
    in->options = *options;
    in->type = NO_TYPE;
    in->source = (struct rdb_source){
        .read = options->read, .ctx = options->ctx, .size = options->size};
    rdb_source_init(&in->source, &in->r);
    return in;
}

void rdb_in_free(struct rdb_in *in)
{
    if (!in) return;
    rdb_text_deinit(&in->key);
    rdb_text_deinit(&in->text);
    rdb_source_deinit(&in->source);
    mem_free(in);
}

uint64_t rdb_in_offset(const struct rdb_in *in) { return rdb_offset(&in->r); }
uint64_t rdb_in_left(const struct rdb_in *in) { return rdb_source_left(&in->r); }
unsigned rdb_in_version(const struct rdb_in *in) { return in->version; }
const char *rdb_in_error(const struct rdb_in *in) { return in->error; }

/* ---- errors ---- */

static int fail_at(struct rdb_in *in, uint64_t offset, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int fail_at(struct rdb_in *in, uint64_t offset, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(in->error, sizeof(in->error) - 48, fmt, args);
    va_end(args);
    size_t at = len < 0 ? 0 : strlen(in->error);
    snprintf(in->error + at, sizeof(in->error) - at, " (offset %llu)", (unsigned long long)offset);
    in->failed = in->r.error < 0 ? in->r.error : RDB_E_FORMAT;
    return in->failed;
}

/* Why the reader has stopped, told of what was being read. */
static int fail_reading(struct rdb_in *in, const char *what)
{
    if (in->r.error == -ENOMEM) {
        return fail_at(in, in->offset, "Out of memory while reading %s", what);
    }
    if (in->r.error < 0) {
        return fail_at(in, rdb_offset(&in->r), "Could not read %s: errno %d", what, -in->r.error);
    }
    if (in->source.cut_short) {
        return fail_at(in, in->offset, "Unexpected end of file in %s", what);
    }
    return fail_at(in, in->offset, "Damaged %s", what);
}

/* A key as it can stand in a line. */
static void printable(char *out, size_t cap, struct slice key)
{
    size_t n = key.len < cap - 4 ? key.len : cap - 4;
    for (size_t i = 0; i < n; i++) {
        out[i] = key.ptr[i] >= ' ' && key.ptr[i] <= '~' ? key.ptr[i] : '?';
    }
    snprintf(out + n, cap - n, "%s", n < key.len ? "..." : "");
}

int file_in_fail_value(struct rdb_in *in)
{
    char name[80], what[128];
    printable(name, sizeof(name), in->key.s);
    snprintf(what, sizeof(what), "value of key '%s' in db %u", name, in->db);
    return fail_reading(in, what);
}

int rdb_in_refuse(struct rdb_in *in, const struct rdb_item *item, const char *why)
{
    char name[80];
    if (item->kind != RDB_ITEM_KEY) return fail_at(in, item->offset, "%s", why);
    printable(name, sizeof(name), item->key);
    return fail_at(in, item->offset, "%s: key '%s' in db %u", why, name, item->db);
}

/* ---- header and end ---- */

static int read_header(struct rdb_in *in)
{
    const char *head;
    if (!rdb_get_raw(&in->r, RDB_HEADER_LEN, &head)) return fail_reading(in, "the header");
    bool valkey = memcmp(head, "VALKEY", 6) == 0;
    if (!valkey && memcmp(head, "REDIS", 5) != 0) {
        return fail_at(in, 0, "Wrong signature trying to load DB from file");
    }
    unsigned version = 0;
    for (unsigned i = valkey ? 6 : 5; i < RDB_HEADER_LEN; i++) {
        if (head[i] < '0' || head[i] > '9') {
            return fail_at(in, 0, "Wrong signature trying to load DB from file");
        }
        version = version * 10 + (unsigned)(head[i] - '0');
    }
    if (!version_known(version)) {
        return fail_at(in, 0, "Can't handle RDB format version %u", version);
    }
    in->version = version;
    return 0;
}

static int read_end(struct rdb_in *in)
{
    uint64_t made = rdb_crc(&in->r), stored;
    if (in->version < CHECKSUM_VERSION) return 0;
    if (!rdb_get_u64(&in->r, &stored)) return fail_reading(in, "the checksum");
    if (in->options.skip_checksum || stored == 0 || stored == made) return 0;
    return fail_at(in, in->offset + 1, "Wrong RDB checksum expected: (%llx) but got (%llx)",
                   (unsigned long long)stored, (unsigned long long)made);
}

/* ---- modules ---- */

static void module_name(uint64_t id, char name[10])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    id >>= 10; /* its version */
    for (int i = 8; i >= 0; i--, id >>= 6) name[i] = letters[id & 63];
    name[9] = '\0';
}

static bool skip_parts(struct rdb_in *in, uint64_t *parts)
{
    struct rdb_reader *r = &in->r;
    uint64_t part, number;
    for (*parts = 0;; (*parts)++) {
        if (!rdb_get_len(r, &part)) return false;
        switch (part) {
        case PART_END: return true;
        case PART_INT:
        case PART_UINT:
            if (!rdb_get_len(r, &number)) return false;
            break;
        case PART_FLOAT:
            if (!rdb_skip_raw(r, 4)) return false;
            break;
        case PART_DOUBLE:
            if (!rdb_skip_raw(r, 8)) return false;
            break;
        case PART_TEXT:
            if (!rdb_skip_text(r)) return false;
            break;
        default: return rdb_bad(r);
        }
    }
}

/* What a module keeps beside the keys. */
static int skip_module_aux(struct rdb_in *in, struct rdb_item *item)
{
    uint64_t id, when_mark, when, parts;
    char name[10];
    bool ok = rdb_get_len(&in->r, &id) && rdb_get_len(&in->r, &when_mark) &&
              rdb_get_len(&in->r, &when) && skip_parts(in, &parts);
    if (!ok) return fail_reading(in, "data of a module");
    module_name(id, name);
    if (parts) {
        return fail_at(in, in->offset,
                       "The RDB file contains AUX module data I can't load: no matching module "
                       "'%s'", name);
    }
    item->kind = RDB_ITEM_NOTE;
    item->value = SLICE("an empty record of a module is passed over");
    return 0;
}

static int refuse_module_key(struct rdb_in *in)
{
    uint64_t id;
    char name[10], key[80];
    if (!rdb_get_text(&in->r, &in->key)) return fail_reading(in, "a key");
    if (!rdb_get_len(&in->r, &id)) return file_in_fail_value(in);
    module_name(id, name);
    printable(key, sizeof(key), in->key.s);
    return fail_at(in, in->offset,
                   "The RDB file contains module data I can't load: no matching module type '%s' "
                   "(key '%s')", name, key);
}

/* ---- items ---- */

/* Valkey: which slots were being moved here, of use to a node of a cluster only. */
static bool skip_slot_import(struct rdb_reader *r)
{
    uint64_t ranges, slot;
    if (!rdb_skip_text(r) || !rdb_get_count(r, 2, &ranges)) return false;
    for (ranges *= 2; ranges > 0; ranges--) {
        if (!rdb_get_len(r, &slot)) return false;
    }
    return true;
}

static bool read_aux(struct rdb_in *in, struct rdb_item *item)
{
    item->kind = RDB_ITEM_AUX;
    if (!rdb_get_text(&in->r, &in->key) || !rdb_get_text(&in->r, &in->text)) return false;
    item->name = in->key.s;
    item->value = in->text.s;
    return true;
}

static int read_db(struct rdb_in *in, struct rdb_item *item)
{
    uint64_t db;
    item->kind = RDB_ITEM_DB;
    if (!rdb_get_len(&in->r, &db)) return fail_reading(in, "the number of a database");
    if (db >= in->options.databases) {
        return fail_at(in, in->offset,
                       "FATAL: Data file was created with a Redis server configured to handle "
                       "more than %u databases", in->options.databases);
    }
    in->db = item->db = (uint32_t)db;
    return 0;
}

static enum value_type type_shown(unsigned type)
{
    switch (type) {
    case RDB_STRING: return TYPE_STRING;
    case RDB_LIST:
    case RDB_LIST_ZIPLIST:
    case RDB_LIST_QUICKLIST:
    case RDB_LIST_QUICKLIST_2: return TYPE_LIST;
    case RDB_SET:
    case RDB_SET_INTSET:
    case RDB_SET_LISTPACK: return TYPE_SET;
    case RDB_ZSET:
    case RDB_ZSET_2:
    case RDB_ZSET_ZIPLIST:
    case RDB_ZSET_LISTPACK: return TYPE_ZSET;
    case RDB_STREAM_LISTPACKS:
    case RDB_STREAM_LISTPACKS_2:
    case RDB_STREAM_LISTPACKS_3: return TYPE_STREAM;
    default: return TYPE_HASH;
    }
}

static bool type_known(unsigned type)
{
    return type <= RDB_ZSET_2 || (type >= RDB_HASH_ZIPMAP && type <= RDB_HASH_LISTPACK_EX) ||
           type == RDB_HASH_2;
}

static int read_key(struct rdb_in *in, struct rdb_item *item, unsigned byte)
{
    unsigned type = type_of_byte(in->version, byte);
    if (byte == RDB_MODULE || byte == RDB_MODULE_2) return refuse_module_key(in);
    if (!type_known(type)) return fail_at(in, in->offset, "Unknown RDB type or opcode %u", byte);
    if (!rdb_get_text(&in->r, &in->key)) return fail_reading(in, "a key");
    item->kind = RDB_ITEM_KEY;
    item->key = in->key.s;
    item->type = type_shown(type);
    in->type = type;
    return 0;
}

/* What stands before a key's type: expiry, idle time, frequency. False: not one of these, or an
 * error. */
static bool read_prefix(struct rdb_in *in, struct rdb_item *item, unsigned byte)
{
    struct rdb_reader *r = &in->r;
    uint64_t number;
    uint8_t freq;
    const char *raw;
    int32_t seconds;
    switch (byte) {
    case OP_EXPIRE_S:
        if (!rdb_get_raw(r, sizeof(seconds), &raw)) return false;
        memcpy(&seconds, raw, sizeof(seconds));
        item->expire = (instant_ms)seconds * 1000;
        return true;
    case OP_EXPIRE_MS:
        if (!rdb_get_u64(r, &number)) return false;
        item->expire = (instant_ms)number;
        if (item->expire >= EXPIRE_KEEP) item->expire = EXPIRE_KEEP - 1;
        return true;
    case OP_IDLE:
        if (!rdb_get_len(r, &number)) return false;
        item->idle_s = number < INT32_MAX ? (int64_t)number : INT32_MAX;
        return true;
    case OP_FREQ:
        if (!rdb_get_byte(r, &freq)) return false;
        item->freq = freq;
        return true;
    default: return false;
    }
}

/* An opcode that is an item of its own, or a key's type byte. */
static int read_item(struct rdb_in *in, struct rdb_item *item, unsigned byte)
{
    struct rdb_reader *r = &in->r;
    uint64_t ignored;
    switch (byte) {
    case OP_END: item->kind = RDB_ITEM_END; return read_end(in);
    case OP_DB: return read_db(in, item);
    case OP_SIZES:
        item->kind = RDB_ITEM_SIZES;
        item->db = in->db;
        if (rdb_get_len(r, &item->keys) && rdb_get_len(r, &item->expires)) return 0;
        return fail_reading(in, "a database's size");
    case OP_AUX: return read_aux(in, item) ? 0 : fail_reading(in, "an auxiliary field");
    case OP_FUNCTION:
        item->kind = RDB_ITEM_FUNCTION;
        if (!rdb_get_text(r, &in->text)) return fail_reading(in, "a function library");
        item->value = in->text.s;
        return 0;
    case OP_FUNCTION_PRE_GA:
        return fail_at(in, in->offset, "Pre-release function format not supported");
    case OP_MODULE_AUX: return skip_module_aux(in, item);
    case OP_SLOT_INFO:
        item->kind = RDB_ITEM_NOTE;
        if (rdb_get_len(r, &ignored) && rdb_get_len(r, &ignored) && rdb_get_len(r, &ignored))
            return 0;
        return fail_reading(in, "a slot's size");
    case OP_SLOT_IMPORT:
        item->kind = RDB_ITEM_NOTE;
        item->value = SLICE("a move of cluster slots that was under way is passed over");
        return skip_slot_import(r) ? 0 : fail_reading(in, "a move of slots");
    default: item->db = in->db; return read_key(in, item, byte);
    }
}

int rdb_in_next(struct rdb_in *in, struct rdb_item *item)
{
    uint8_t byte;
    if (in->failed) return in->failed;
    check(in->type == NO_TYPE);
    if (!in->version) {
        int rc = read_header(in);
        if (rc != 0) return rc;
    }
    *item = (struct rdb_item){.offset = rdb_offset(&in->r), .expire = EXPIRE_NONE,
                              .idle_s = -1, .freq = -1};
    in->offset = item->offset;
    do {
        if (!rdb_get_byte(&in->r, &byte)) return fail_reading(in, "the dump: no end marker");
    } while (read_prefix(in, item, byte));
    if (in->r.error) return fail_reading(in, "a key's expiry or access time");
    return read_item(in, item, byte);
}

/* ---- values ---- */

int rdb_in_skip(struct rdb_in *in)
{
    unsigned type = in->type;
    if (in->failed) return in->failed;
    check(type != NO_TYPE);
    in->type = NO_TYPE;
    return skip_value(&in->r, type) ? 0 : file_in_fail_value(in);
}

int rdb_in_value(struct rdb_in *in, struct ks *ks, const struct rdb_limits *limits,
                 struct rdb_value *v)
{
    if (in->failed) return in->failed;
    check(in->type != NO_TYPE);
    *v = (struct rdb_value){.held = RDB_NOTHING, .limits = limits};
    struct loading l = {.r = in->r, .ks = ks, .key = in->key.s,
                        .shard = ks_shard_of(ks, in->key.s), .limits = limits, .value = v};
    bool ok = load_value(&l, in->type);
    in->type = NO_TYPE;
    in->r = l.r;
    if (ok) return 0;
    rdb_value_drop(v, ks, in->key.s);
    if (l.r.error != RDB_E_EMPTY) return file_in_fail_value(in);
    in->r.error = 0;
    return RDB_E_EMPTY;
}

/* Most keys are short strings: no detour over a value of no key. */
static int put_string(struct rdb_in *in, struct ks *ks, instant_ms expire)
{
    in->type = NO_TYPE;
    if (!rdb_get_text(&in->r, &in->text)) return file_in_fail_value(in);
    int rc = ks_set_string(ks, in->key.s, in->text.s, expire);
    if (in->text.room_len > RDB_BLOCK) rdb_text_deinit(&in->text);
    return rc;
}

static int put_value(struct rdb_in *in, struct ks *ks, const struct rdb_limits *limits,
                     instant_ms expire)
{
    struct rdb_value v;
    int rc = rdb_in_value(in, ks, limits, &v);
    return rc == 0 ? rdb_value_put(&v, ks, in->key.s, expire) : rc;
}

int file_in_put_rest(struct rdb_in *in, struct ks *ks, int rc, size_t keys_before, int64_t idle_s,
                     int freq)
{
    if (unlikely(rc != 0)) {
        if (!in->failed && rc == -ENOMEM) in->r.error = -ENOMEM;
        return in->failed || rc != -ENOMEM ? rc : file_in_fail_value(in);
    }
    if (!ks_lfu(ks) && idle_s >= 0) {
        ks_set_idle(ks, in->key.s, (uint32_t)idle_s & 0xffffffu);
    } else if (ks_lfu(ks) && freq >= 0) {
        ks_set_freq(ks, in->key.s, (uint8_t)freq);
    }
    size_t keys = shard_db_keys(ks_shard_of(ks, in->key.s), ks->db);
    return keys == keys_before ? RDB_E_TWICE : 0;
}

int rdb_in_put(struct rdb_in *in, struct ks *ks, const struct rdb_limits *limits,
               const struct rdb_item *item)
{
    if (in->failed) return in->failed;
    check(in->type != NO_TYPE);
    size_t before = shard_db_keys(ks_shard_of(ks, in->key.s), ks->db);
    int rc = in->type == RDB_STRING ? put_string(in, ks, item->expire)
                                    : put_value(in, ks, limits, item->expire);
    return file_in_put_rest(in, ks, rc, before, item->idle_s, item->freq);
}
