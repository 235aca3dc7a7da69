/* Digests of data, as Redis mixes them.
 *
 *   add   digest ^= SHA1(text)                      the order does not matter: sets, fields, keys
 *   mix   digest = SHA1(digest ^ SHA1(text))        it does: lists, a field and its value
 *
 * A key's digest is its name mixed with its value; a database is the bag of its keys' digests. So
 * every shard can make its own bag, and xor of the bags is the database's.
 * Thread: holder of the shard(s). */
#include "splitring/cmd/digest.h"

#include <stdio.h>

#include "splitring/base/num.h"
#include "splitring/keyspace/hash.h"
#include "splitring/keyspace/list.h"
#include "splitring/keyspace/set.h"
#include "splitring/keyspace/stream.h"
#include "splitring/keyspace/zset.h"

static struct slice digest_slice(const struct digest *d)
{
    return slice_of((const char *)d->bytes, SHA1_LEN);
}

void digest_add(struct digest *d, struct slice text)
{
    struct digest other;
    sha1(text, other.bytes);
    digest_xor(d, &other);
}

void digest_mix(struct digest *d, struct slice text)
{
    struct digest mixed;
    digest_add(d, text);
    sha1(digest_slice(d), mixed.bytes);
    *d = mixed;
}

static void mix_number(struct digest *d, uint32_t number)
{
    char bytes[4];
    for (unsigned i = 0; i < 4; i++) bytes[i] = (char)(number >> (24 - 8 * i));
    digest_mix(d, slice_of(bytes, 4));
}

static void mix_lp_value(struct digest *d, const struct lp_value *value)
{
    char digits[NUM_I64_LEN_MAX];
    struct slice text = value->text;
    if (!text.ptr) text = slice_of(digits, num_format_i64(digits, value->number));
    digest_mix(d, text);
}

/* ---- types ---- */

static void mix_list(struct digest *d, const struct entry *e)
{
    struct list_iter it;
    struct lp_value value;
    uint64_t count = list_count(e);
    list_iter_at(&it, e, 0, LIST_TAIL);
    for (uint64_t i = 0; i < count; i++) {
        (void)list_next(&it, &value);
        mix_lp_value(d, &value);
    }
}

static bool add_member(void *ctx, struct set_member *m)
{
    digest_add(ctx, set_member_get(m));
    return true;
}

static void add_scored(struct digest *d, const struct entry *e)
{
    struct zset_iter it;
    struct zset_item item;
    zset_iter_init(&it, e, 0, false);
    while (zset_iter_next(&it, &item)) {
        struct digest one = {{0}};
        char score[64];
        int len = snprintf(score, sizeof(score), "%.17g", item.score);
        digest_mix(&one, item.text);
        digest_mix(&one, slice_of(score, (size_t)len));
        digest_add(d, digest_slice(&one));
    }
}

static void add_field(void *ctx, const struct hash_item *item)
{
    struct digest one = {{0}};
    digest_mix(&one, item->field);
    digest_mix(&one, item->value);
    digest_add(ctx, digest_slice(&one));
}

static void mix_stream(struct digest *d, const struct entry *e)
{
    struct stream_iter it;
    stream_iter_init(&it, stream_of(e), STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_iter_next(&it)) {
        char id[64];
        int len = snprintf(id, sizeof(id), "%llu.%llu", (unsigned long long)it.id.ms,
                           (unsigned long long)it.id.seq);
        digest_mix(d, slice_of(id, (size_t)len));
        for (uint32_t i = 0; i < it.fields; i++) {
            struct lp_value field, value;
            stream_iter_pair(&it, &field, &value);
            mix_lp_value(d, &field);
            mix_lp_value(d, &value);
        }
    }
}

void digest_value(struct digest *d, const struct entry *e)
{
    char scratch[ENTRY_SCRATCH];
    mix_number(d, (uint32_t)entry_type(e));
    switch (entry_type(e)) {
    case TYPE_STRING: digest_mix(d, entry_string(e, scratch)); break;
    case TYPE_LIST: mix_list(d, e); break;
    case TYPE_SET: set_each(e, add_member, d); break;
    case TYPE_ZSET: add_scored(d, e); break;
    case TYPE_HASH: hash_each(e, add_field, d); break;
    case TYPE_STREAM: mix_stream(d, e); break;
    }
    if (entry_expiry(e) != EXPIRE_NONE) digest_add(d, SLICE("!!expire!!"));
}

/* ---- keys and databases ---- */

void digest_add_key(struct digest *d, const struct entry *e)
{
    struct digest one = {{0}};
    digest_mix(&one, entry_key(e));
    digest_value(&one, e);
    digest_add(d, digest_slice(&one));
}

void digest_mix_db(struct digest *d, db_id db, const struct digest *bag)
{
    mix_number(d, db);
    digest_xor(d, bag);
}
