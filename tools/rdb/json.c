/* splitring-rdb json: an object per key and line.
 *
 *   {"db": 0, "key": "k", "type": "hash", "expire_ms": 1800000000000, "value": {…}}
 *   string "…" | list […] | set […] | zset [["member", 1.5], …]
 *   hash [["field", "value", and its expiry if it has one], …]
 *   stream {"entries": [["1-1", ["field", "value", …]], …], "groups": […], …}
 *
 * Fields of hashes may be no UTF-8 and so are no object's keys. UTF-8 stays text; other
 * bytes become {"base64": "…"}: nothing is lost.
 * Thread: main. */
#include <math.h>
#include <stdio.h>

#include "splitring/base/num.h"
#include "tool.h"

/* ---- texts ---- */

/* Length of the UTF-8 character at p, 0: it is none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80) return 1;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > left) return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    bool bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
               (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    return bad ? 0 : len;
}

static bool is_utf8(struct slice text)
{
    for (size_t i = 0, len; i < text.len; i += len) {
        len = utf8_len((const unsigned char *)text.ptr + i, text.len - i);
        if (len == 0) return false;
    }
    return true;
}

static void put_base64(struct slice text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)text.ptr;
    for (size_t i = 0; i < text.len; i += 3) {
        size_t left = text.len - i;
        unsigned bits = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) |
                        (left > 2 ? p[i + 2] : 0);
        putchar(letters[bits >> 18]);
        putchar(letters[bits >> 12 & 63]);
        putchar(left > 1 ? letters[bits >> 6 & 63] : '=');
        putchar(left > 2 ? letters[bits & 63] : '=');
    }
}

static void put_text(struct slice text)
{
    if (!is_utf8(text)) {
        fputs("{\"base64\": \"", stdout);
        put_base64(text);
        fputs("\"}", stdout);
        return;
    }
    putchar('"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char ch = (unsigned char)text.ptr[i];
        if (ch == '"' || ch == '\\') printf("\\%c", ch);
        else if (ch < ' ' || ch == 127) printf("\\u%04x", ch);
        else putchar(ch);
    }
    putchar('"');
}

static void put_packed(const struct lp_value *value)
{
    char digits[NUM_I64_LEN_MAX];
    put_text(value->text.ptr ? value->text
                             : slice_of(digits, num_format_i64(digits, value->number)));
}

static void put_id(struct stream_id id)
{
    printf("\"%llu-%llu\"", (unsigned long long)id.ms, (unsigned long long)id.seq);
}

/* ---- values ---- */

static void comma(bool *first)
{
    if (!*first) fputs(", ", stdout);
    *first = false;
}

static void put_list(const struct entry *e)
{
    struct list_iter it;
    struct lp_value value;
    uint64_t count = list_count(e);
    bool first = true;
    list_iter_at(&it, e, 0, LIST_TAIL);
    for (uint64_t i = 0; i < count && list_next(&it, &value); i++) {
        comma(&first);
        put_packed(&value);
    }
}

static bool put_member(void *ctx, struct set_member *m)
{
    comma(ctx);
    put_text(set_member_get(m));
    return true;
}

static void put_zset(const struct entry *e)
{
    struct zset_iter it;
    struct zset_item item;
    bool first = true;
    zset_iter_init(&it, e, 0, false);
    while (zset_iter_next(&it, &item)) {
        comma(&first);
        putchar('[');
        put_text(item.text);
        if (isinf(item.score)) printf(", \"%sinf\"]", item.score < 0 ? "-" : "");
        else printf(", %.17g]", item.score);
    }
}

static void put_field(void *ctx, const struct hash_item *item)
{
    comma(ctx);
    putchar('[');
    put_text(item->field);
    fputs(", ", stdout);
    put_text(item->value);
    if (item->expire != EXPIRE_NONE) printf(", %lld", (long long)item->expire);
    putchar(']');
}

static void put_group(const struct stream_group *g)
{
    fputs("{\"name\": ", stdout);
    put_text(stream_group_name(g));
    fputs(", \"last_id\": ", stdout);
    put_id(g->last_id);
    printf(", \"entries_read\": %lld, \"pending\": %llu, \"consumers\": [",
           (long long)g->entries_read, (unsigned long long)stream_group_pending(g));
    for (uint32_t i = 0; i < g->consumer_count; i++) {
        struct stream_pending walk;
        const struct stream_id *id;
        bool first = true;
        printf("%s{\"name\": ", i ? ", " : "");
        put_text(stream_consumer_name(g->consumers[i]));
        fputs(", \"pending\": [", stdout);
        stream_pending_seek(&walk, g, g->consumers[i], STREAM_ID_MIN);
        while ((id = stream_pending_next(&walk)) != NULL) {
            comma(&first);
            put_id(*id);
        }
        fputs("]}", stdout);
    }
    fputs("]}", stdout);
}

static void put_stream(const struct stream *s)
{
    struct stream_iter it;
    bool first = true;
    fputs("{\"last_id\": ", stdout);
    put_id(s->last_id);
    printf(", \"entries_added\": %llu, \"entries\": [", (unsigned long long)s->entries_added);
    stream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_iter_next(&it)) {
        struct lp_value field, value;
        bool first_field = true;
        comma(&first);
        putchar('[');
        put_id(it.id);
        fputs(", [", stdout);
        for (uint32_t i = 0; i < it.fields; i++) {
            stream_iter_pair(&it, &field, &value);
            comma(&first_field);
            put_packed(&field);
            fputs(", ", stdout);
            put_packed(&value);
        }
        fputs("]]", stdout);
    }
    fputs("], \"groups\": [", stdout);
    for (uint32_t i = 0; i < s->group_count; i++) {
        if (i) fputs(", ", stdout);
        put_group(s->groups[i]);
    }
    fputs("]}", stdout);
}

static void put_value(const struct entry *e)
{
    char scratch[ENTRY_SCRATCH];
    bool first = true;
    enum value_type type = entry_type(e);
    if (type == TYPE_STRING) {
        put_text(entry_string(e, scratch));
        return;
    }
    if (type == TYPE_STREAM) {
        put_stream(stream_of(e));
        return;
    }
    putchar('[');
    if (type == TYPE_LIST) put_list(e);
    else if (type == TYPE_SET) (void)set_each(e, put_member, &first);
    else if (type == TYPE_ZSET) put_zset(e);
    else hash_each(e, put_field, &first);
    putchar(']');
}

static void put_key(const struct rdb_item *item, const struct entry *e)
{
    printf("{\"db\": %u, \"key\": ", item->db);
    put_text(item->key);
    printf(", \"type\": \"%s\"", type_name(entry_type(e)));
    if (item->expire != EXPIRE_NONE) printf(", \"expire_ms\": %lld", (long long)item->expire);
    if (item->idle_s >= 0) printf(", \"idle_s\": %lld", (long long)item->idle_s);
    if (item->freq >= 0) printf(", \"freq\": %d", item->freq);
    fputs(", \"value\": ", stdout);
    put_value(e);
    fputs("}\n", stdout);
}

static enum exit_code json_file(const char *path, const struct options *o)
{
    struct input input;
    struct rdb_item item;
    struct scratch s;
    enum exit_code code = EXIT_FINE;
    if (!input_open(&input, path, o)) return EXIT_ENVIRONMENT;
    scratch_init(&s);
    while (input_next(&input, &item, &code)) {
        int rc;
        if (item.kind == RDB_ITEM_FUNCTION) {
            fputs("{\"function\": ", stdout);
            put_text(item.value);
            fputs("}\n", stdout);
        }
        if (item.kind != RDB_ITEM_KEY) continue;
        const struct entry *e = scratch_take(&s, &input, &item, &rc);
        if (!input_ok(&input, rc, &code)) break;
        if (!e) continue;
        put_key(&item, e);
        scratch_drop(&s, &item);
    }
    scratch_deinit(&s);
    input_close(&input);
    return code;
}

enum exit_code run_json(const struct options *o)
{
    enum exit_code code = EXIT_FINE;
    for (unsigned i = 0; i < o->file_count && code == EXIT_FINE; i++)
        code = json_file(o->files[i], o);
    if (fflush(stdout) != 0 && code == EXIT_FINE) code = EXIT_ENVIRONMENT;
    return code;
}
