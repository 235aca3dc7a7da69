/* One reply out of the parts' replies, as the whole command would have given it.
 *
 * Parts reply in RESP; here it is read back just far enough: integers to add, arrays to spread over
 * the keys' positions. An error of any part is the command's error (the first one by shard).
 * Thread: the coordinator. */
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "txn.h"

#include <stdlib.h>

/* Length of the one RESP value at ptr. Only our own replies come here. */
static size_t value_len(const char *ptr, const char *end)
{
    const char *nl = memchr(ptr, '\n', (size_t)(end - ptr));
    check(nl);
    size_t line = (size_t)(nl - ptr) + 1;
    int64_t n = 0;
    switch (*ptr) {
    case '$': case '=': case '!':
        check(num_parse_i64(slice_of(ptr + 1, line - 3), &n));
        return n < 0 ? line : line + (size_t)n + 2;
    case '*': case '~': case '>': case '%': {
        check(num_parse_i64(slice_of(ptr + 1, line - 3), &n));
        size_t at = line;
        if (*ptr == '%') n *= 2;
        for (int64_t i = 0; i < n; i++) at += value_len(ptr + at, end);
        return at;
    }
    default: return line;
    }
}

static const struct buf *first_error(const struct txn_part *parts, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (parts[i].reply.len && parts[i].reply.ptr[0] == '-') return &parts[i].reply;
    return NULL;
}

/* The header of an array reply: its count, and where the elements begin. */
static int64_t array_header(const struct buf *reply, size_t *at)
{
    int64_t n = 0;
    const char *nl = memchr(reply->ptr, '\n', reply->len);
    check(nl && (reply->ptr[0] == '*' || reply->ptr[0] == '~'));
    check(num_parse_i64(slice_of(reply->ptr + 1, (size_t)(nl - reply->ptr) - 2), &n));
    *at = (size_t)(nl - reply->ptr) + 1;
    return n;
}

static void combine_sum(const struct txn_part *parts, unsigned count, struct reply *reply)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < count; i++) {
        int64_t n = 0;
        check(parts[i].reply.len > 3 && parts[i].reply.ptr[0] == ':');
        check(num_parse_i64(slice_of(parts[i].reply.ptr + 1, parts[i].reply.len - 3), &n));
        sum += n;
    }
    reply_int(reply, sum);
}

struct element {
    int pos;
    struct slice bytes;
};

static int element_order(const void *a, const void *b)
{
    return ((const struct element *)a)->pos - ((const struct element *)b)->pos;
}

static void combine_array(int key_count, const struct txn_part *parts, unsigned count,
                          struct reply *reply)
{
    struct element *elements = mem_alloc(((size_t)key_count + 1) * sizeof *elements);
    int n = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t at;
        int64_t have = array_header(&parts[i].reply, &at);
        check(have == parts[i].key_count);
        for (int k = 0; k < parts[i].key_count; k++) {
            const char *ptr = parts[i].reply.ptr + at;
            size_t len = value_len(ptr, parts[i].reply.ptr + parts[i].reply.len);
            elements[n++] = (struct element){parts[i].key_pos[k], slice_of(ptr, len)};
            at += len;
        }
    }
    qsort(elements, (size_t)n, sizeof *elements, element_order);
    reply_array(reply, (size_t)n);
    for (int i = 0; i < n; i++) reply_raw(reply, elements[i].bytes.ptr, elements[i].bytes.len);
    mem_free(elements);
}

static void combine_concat(const struct txn_part *parts, unsigned count, struct reply *reply)
{
    int64_t sum = 0;
    size_t at;
    for (unsigned i = 0; i < count; i++) sum += array_header(&parts[i].reply, &at);
    reply_array(reply, (size_t)sum);
    for (unsigned i = 0; i < count; i++) {
        array_header(&parts[i].reply, &at);
        reply_raw(reply, parts[i].reply.ptr + at, parts[i].reply.len - at);
    }
}

static bool is_null(const struct buf *reply)
{
    return reply->len >= 2 &&
           (reply->ptr[0] == '_' || (reply->ptr[0] == '$' && reply->ptr[1] == '-'));
}

/* One of the parts that found something, at random by what they hold. */
static void combine_pick(const struct txn_part *parts, unsigned count, struct rng *rng,
                         struct reply *reply)
{
    unsigned found = 0;
    const struct buf *picked = &parts[0].reply;
    for (unsigned i = 0; i < count; i++)
        if (!is_null(&parts[i].reply) && rng_below(rng, ++found) == 0) picked = &parts[i].reply;
    reply_raw(reply, picked->ptr, picked->len);
}

void txn_combine(const struct command *cmd, int key_count, struct txn_part *parts, unsigned count,
                 struct rng *rng, uint8_t proto, struct buf *out)
{
    struct reply reply = {.out = out, .proto = proto};
    const struct buf *error = first_error(parts, count);
    for (unsigned i = 0; i < count; i++)
        if (parts[i].reply.failed) {
            reply_error(&reply, ERR_OOM);
            return;
        }
    if (error) {
        reply_raw(&reply, error->ptr, error->len);
        return;
    }
    switch ((enum split)cmd->split) {
    case SPLIT_SUM: combine_sum(parts, count, &reply); break;
    case SPLIT_ARRAY: combine_array(key_count, parts, count, &reply); break;
    case SPLIT_OK: reply_ok(&reply); break;
    case SPLIT_CONCAT: combine_concat(parts, count, &reply); break;
    case SPLIT_PICK: combine_pick(parts, count, rng, &reply); break;
    case SPLIT_NONE:
    case SPLIT_FIRST:
    case SPLIT_MOVE:
    case SPLIT_AWAY: check(false);
    }
}
