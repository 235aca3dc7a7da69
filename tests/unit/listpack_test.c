/* Listpacks against a plain array of strings, their bytes against ones written by Redis, and
 * lp_valid against everything that was changed in a valid block. */
#include "splitring/data/listpack.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/base/rng.h"

/* ---- the bytes ---- */

static struct lp empty(void)
{
    struct lp lp = {.bytes = mem_try_alloc(LP_EMPTY_LEN), .resize = lp_resize_heap};
    lp_init(lp.bytes);
    return lp;
}

Test(listpack, bytes_of_redis)
{
    /* The element's bytes in front of its backlen's, as in a DUMP of redis-server 7.0. */
    static const struct {
        const char *text, *bytes;
    } rows[] = {
        {"0", "00 01"},
        {"127", "7f 01"},
        {"128", "c0 80 02"},
        {"-1", "df ff 02"},
        {"4095", "cf ff 02"},
        {"-4096", "d0 00 02"},
        {"4096", "f1 00 10 03"},
        {"-32768", "f1 00 80 03"},
        {"32768", "f2 00 80 00 04"},
        {"-8388608", "f2 00 00 80 04"},
        {"8388608", "f3 00 00 80 00 05"},
        {"-2147483648", "f3 00 00 00 80 05"},
        {"2147483648", "f4 00 00 00 80 00 00 00 00 09"},
        {"-9223372036854775808", "f4 00 00 00 00 00 00 00 80 09"},
        {"9223372036854775808", "93 39 32 32 33 33 37 32 30 33 36 38 35 34 37 37 35 38 30 38 14"},
        {"", "80 01"},
        {"a", "81 61 02"},
        {"-0", "82 2d 30 03"},
        {"01", "82 30 31 03"},
        {"+1", "82 2b 31 03"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct lp lp = empty();
        cr_assert_eq(lp_append(&lp, slice_str(rows[i].text)), 0);
        char shown[256] = "", *out = shown;
        for (size_t at = LP_HEADER; at < lp_len(lp.bytes) - 1; at++) {
            out += sprintf(out, "%s%02x", at > LP_HEADER ? " " : "", (uint8_t)lp.bytes[at]);
        }
        cr_assert_str_eq(shown, rows[i].bytes, "%s: %s", rows[i].text, shown);
        char scratch[LP_NUMBER_LEN];
        cr_assert(slice_equal(lp_text(lp.bytes, LP_HEADER, scratch), slice_str(rows[i].text)));
        cr_assert_eq(lp_encoded_len(slice_str(rows[i].text)), lp_len(lp.bytes) - LP_EMPTY_LEN);
        mem_free(lp.bytes);
    }
}

Test(listpack, lengths_at_every_limit)
{
    /* 16378 bytes make 16383 of data, for which Redis takes three bytes of backlen. */
    static const size_t lens[] = {0,     1,     63,      64,      125,     126,    4095,  4096,
                                  16377, 16378, 16379,   2097145, 2097146, 2097147};
    static const size_t backlens[] = {1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4};
    for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
        struct lp lp = empty();
        char *text = malloc(lens[i] + 1);
        memset(text, 'x', lens[i] + 1);
        cr_assert_eq(lp_append_number(&lp, 7), 0);
        cr_assert_eq(lp_append(&lp, slice_of(text, lens[i])), 0);
        size_t at = lp_last(lp.bytes), head = lens[i] < 64 ? 1 : lens[i] < 4096 ? 2 : 5;
        cr_assert_eq(at, LP_HEADER + 2);
        cr_assert(slice_equal(lp_get(lp.bytes, at).text, slice_of(text, lens[i])));
        cr_assert_eq(lp_len(lp.bytes), at + head + lens[i] + backlens[i] + 1);
        cr_assert_eq(lp_prev(lp.bytes, at), LP_HEADER);
        cr_assert_eq(lp_next(lp.bytes, at), LP_NONE);
        uint32_t count;
        cr_assert(lp_valid(slice_of(lp.bytes, lp_len(lp.bytes)), &count) && count == 2);
        free(text);
        mem_free(lp.bytes);
    }
}

/* ---- a model ---- */

struct model {
    struct slice items[400];
    size_t count;
};

static struct slice copy_of(struct slice s)
{
    char *bytes = malloc(s.len + 1);
    memcpy(bytes, s.ptr, s.len);
    return slice_of(bytes, s.len);
}

static void model_remove(struct model *m, size_t at, size_t count)
{
    for (size_t i = 0; i < count; i++) free((char *)(uintptr_t)m->items[at + i].ptr);
    memmove(m->items + at, m->items + at + count, (m->count - at - count) * sizeof(m->items[0]));
    m->count -= count;
}

static void model_insert(struct model *m, size_t at, struct slice s)
{
    memmove(m->items + at + 1, m->items + at, (m->count - at) * sizeof(m->items[0]));
    m->items[at] = copy_of(s);
    m->count++;
}

static char text_room[70000];

/* Mostly short, often numbers of every width, sometimes near a number or long. */
static struct slice random_text(struct rng *rng)
{
    int64_t number = (int64_t)(rng_next(rng) >> rng_below(rng, 64));
    size_t len;
    switch (rng_below(rng, 8)) {
    case 0:
    case 1:
    case 2: len = num_format_i64(text_room, rng_below(rng, 2) ? number : -number); break;
    case 3:
        len = num_format_i64(text_room, number);
        text_room[rng_below(rng, len)] = (char)rng_next(rng);
        break;
    case 4: len = rng_below(rng, 300); break;
    case 5: len = rng_below(rng, 50) ? rng_below(rng, 5000) : rng_below(rng, 70000); break;
    default: len = rng_below(rng, 20); break;
    }
    if (rng_below(rng, 2) == 0 || len > 21) {
        for (size_t i = 0; i < len; i++) text_room[i] = (char)('a' + (i + len) % 26);
    }
    return slice_of(text_room, len);
}

static void agree(const struct lp *lp, const struct model *m)
{
    uint32_t count;
    cr_assert(lp_valid(slice_of(lp->bytes, lp_len(lp->bytes)), &count));
    cr_assert_eq(count, m->count);
    cr_assert_eq(lp_count(lp->bytes), m->count);
    char scratch[LP_NUMBER_LEN];
    size_t i = 0, at, last = LP_NONE;
    for (at = lp_first(lp->bytes); at != LP_NONE; at = lp_next(lp->bytes, at), i++) {
        cr_assert_lt(i, m->count);
        cr_assert(slice_equal(lp_text(lp->bytes, at, scratch), m->items[i]));
        cr_assert(lp_equal(lp->bytes, at, m->items[i]));
        cr_assert_eq(lp_prev(lp->bytes, at), last);
        last = at;
        int64_t a, b;
        bool is = num_parse_i64(m->items[i], &a);
        cr_assert_eq(lp_number(lp->bytes, at, &b), is);
        cr_assert(!is || a == b);
    }
    cr_assert_eq(i, m->count);
    cr_assert_eq(lp_last(lp->bytes), last);
}

static void look_up(const struct lp *lp, const struct model *m, struct rng *rng)
{
    int64_t index = (int64_t)rng_below(rng, 2 * m->count + 3) - (int64_t)m->count - 1;
    size_t at = lp_seek(lp->bytes, index);
    int64_t place = index < 0 ? index + (int64_t)m->count : index;
    cr_assert_eq(at != LP_NONE, place >= 0 && place < (int64_t)m->count);
    if (at == LP_NONE) return;
    cr_assert(lp_equal(lp->bytes, at, m->items[place]));

    unsigned skip = (unsigned)rng_below(rng, 3);
    struct slice wanted = m->items[rng_below(rng, m->count)];
    size_t expected = (size_t)place;
    while (expected < m->count && !slice_equal(m->items[expected], wanted)) expected += skip + 1;
    size_t found = lp_find(lp->bytes, at, wanted, skip);
    cr_assert_eq(found, expected < m->count ? lp_seek(lp->bytes, (int64_t)expected) : LP_NONE);
    cr_assert_eq(lp_find(lp->bytes, at, SLICE("-no such text-"), 0), LP_NONE);
}

static void insert_some(struct lp *lp, struct model *m, size_t place, struct rng *rng)
{
    struct slice texts[5];
    size_t count = rng_below(rng, 6), at = lp_seek(lp->bytes, (int64_t)place);
    for (size_t i = 0; i < count; i++) {
        texts[i] = copy_of(random_text(rng));
        model_insert(m, place + i, texts[i]);
    }
    cr_assert_eq(lp_insert_many(lp, at, texts, count), 0);
    for (size_t i = 0; i < count; i++) free((char *)(uintptr_t)texts[i].ptr);
}

static void edit(struct lp *lp, struct model *m, struct rng *rng)
{
    size_t place = rng_below(rng, m->count + 1);
    size_t at = lp_seek(lp->bytes, (int64_t)place);
    struct slice text = random_text(rng);
    int64_t number = (int64_t)(rng_next(rng) >> rng_below(rng, 64));
    char digits[NUM_I64_LEN_MAX];
    size_t digits_len = num_format_i64(digits, number);
    switch (rng_below(rng, 9)) {
    case 0: cr_assert_eq(lp_append(lp, text), 0); model_insert(m, m->count, text); break;
    case 1: cr_assert_eq(lp_prepend(lp, text), 0); model_insert(m, 0, text); break;
    case 2: cr_assert_eq(lp_insert(lp, at, text), 0); model_insert(m, place, text); break;
    case 3: insert_some(lp, m, place, rng); break;
    case 4:
        cr_assert_eq(lp_append_number(lp, number), 0);
        model_insert(m, m->count, slice_of(digits, digits_len));
        break;
    case 5:
        if (at == LP_NONE) break;
        cr_assert_eq(lp_replace(lp, at, text), 0);
        model_remove(m, place, 1);
        model_insert(m, place, text);
        break;
    case 6:
        if (at == LP_NONE) break;
        cr_assert_eq(lp_replace_number(lp, at, number), 0);
        model_remove(m, place, 1);
        model_insert(m, place, slice_of(digits, digits_len));
        break;
    default: {
        if (at == LP_NONE) break;
        size_t count = 1 + rng_below(rng, 4), left = m->count - place;
        lp_delete(lp, at, count);
        cr_assert_eq(lp_len(lp->bytes) - 1 == at, count >= left);
        model_remove(m, place, count < left ? count : left);
    }
    }
}

static void agree_built(const struct lp *lp, const struct model *m)
{
    struct buf out = {0};
    buf_append(&out, "head", 4);
    lp_build_begin(&out);
    for (size_t i = 0; i < m->count; i++) {
        int64_t number;
        if (i % 2 && num_parse_i64(m->items[i], &number)) {
            lp_build_add_number(&out, number);
        } else {
            lp_build_add(&out, m->items[i]);
        }
    }
    lp_build_end(&out, 4);
    cr_assert_eq(out.len - 4, lp_len(lp->bytes));
    cr_assert(memcmp(out.ptr + 4, lp->bytes, out.len - 4) == 0);
    buf_deinit(&out);
}

Test(listpack, model)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        struct model m = {.count = 0};
        struct lp lp = empty();
        for (int step = 0; step < 400; step++) {
            if (m.count < 390) edit(&lp, &m, &rng);
            if (m.count > 100 && rng_below(&rng, 20) == 0) {
                lp_delete(&lp, LP_HEADER, m.count - 3);
                model_remove(&m, 0, m.count - 3);
            }
            agree(&lp, &m);
            look_up(&lp, &m, &rng);
        }
        agree_built(&lp, &m);
        model_remove(&m, 0, m.count);
        mem_free(lp.bytes);
    }
}

/* ---- limits ---- */

static char *refuse(struct lp *lp, size_t len)
{
    (void)len;
    (void)lp;
    return NULL;
}

Test(listpack, no_memory_changes_nothing)
{
    struct lp lp = empty();
    cr_assert_eq(lp_append(&lp, SLICE("one")), 0);
    char before[64];
    size_t len = lp_len(lp.bytes);
    memcpy(before, lp.bytes, len);
    lp.resize = refuse;
    cr_assert_eq(lp_append(&lp, SLICE("two")), -ENOMEM);
    cr_assert_eq(lp_insert(&lp, LP_HEADER, SLICE("5")), -ENOMEM);
    cr_assert_eq(lp_replace(&lp, LP_HEADER, SLICE("longer")), -ENOMEM);
    cr_assert_eq(lp_insert_many(&lp, LP_NONE, &SLICE("x"), 1), -ENOMEM);
    cr_assert(memcmp(before, lp.bytes, len) == 0);
    lp_delete(&lp, LP_HEADER, 1);
    cr_assert_eq(lp_len(lp.bytes), LP_EMPTY_LEN);
    mem_free(lp.bytes);
}

Test(listpack, counts_beyond_16_bits)
{
    struct lp lp = empty();
    for (int i = 0; i < 65534; i++) cr_assert_eq(lp_append_number(&lp, i % 100), 0);
    cr_assert_eq(lp_count(lp.bytes), 65534);
    for (uint32_t i = 65535; i < 65600; i++) {
        cr_assert_eq(lp_append(&lp, SLICE("x")), 0);
        cr_assert_eq(lp_count(lp.bytes), i);
        cr_assert_eq(memcmp(lp.bytes + 4, "\xff\xff", 2), 0);
    }
    cr_assert_eq(lp_seek(lp.bytes, 65599), LP_NONE);
    cr_assert_eq(lp_seek(lp.bytes, -65600), LP_NONE);
    cr_assert_eq(lp_seek(lp.bytes, -65599), LP_HEADER);
    lp_delete(&lp, LP_HEADER, 1000);
    cr_assert_eq(lp_count(lp.bytes), 64599);
    uint32_t count;
    cr_assert(lp_valid(slice_of(lp.bytes, lp_len(lp.bytes)), &count) && count == 64599);
    mem_free(lp.bytes);
}

/* ---- outside data ---- */

Test(listpack, invalid_bytes)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool valid;
    } rows[] = {
#define ROW(literal, valid) {literal, sizeof(literal) - 1, valid}
        ROW("\7\0\0\0\0\0\xff", true),
        ROW("\7\0\0\0\xff\xff\xff", true),
        ROW("\7\0\0\0\0\0", false),
        ROW("", false),
        ROW("\7\0\0\0\1\0\xff", false),
        ROW("\x8\0\0\0\0\0\xff", false),
        ROW("\x9\0\0\0\1\0\0\1\xff", true),
        ROW("\x9\0\0\0\1\0\0\2\xff", false),
        ROW("\x9\0\0\0\1\0\0\xff\xff", false),
        ROW("\x9\0\0\0\2\0\0\1\xff", false),
        ROW("\x8\0\0\0\1\0\0\xff", false),
        ROW("\xa\0\0\0\1\0\xf5\0\1\xff", false),
        ROW("\x8\0\0\0\0\0\xff\xff", false),
        ROW("\xa\0\0\0\1\0\x85" "a\1\xff", false),
        ROW("\x8\0\0\0\1\0\xe0\xff", false),
        ROW("\xc\0\0\0\1\0\xf0\xff\xff\xff\xff\xff", false),
        ROW("\xf\0\0\0\1\0\xf0\2\0\0\0hi\7\xff", true),
        ROW("\xf\0\0\0\1\0\xf0\2\0\0\0hi\6\xff", false),
        ROW("\xd\0\0\0\1\0\xf4\0\0\0\0\0\xff", false),
#undef ROW
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char *exact = malloc(rows[i].len ? rows[i].len : 1);
        memcpy(exact, rows[i].bytes, rows[i].len);
        cr_expect_eq(lp_valid(slice_of(exact, rows[i].len), NULL), rows[i].valid, "row %zu", i);
        free(exact);
    }
}

/* Bytes that are valid, but not what this builds. */
Test(listpack, canonical_bytes)
{
    static const struct {
        const char *bytes;
        bool canonical;
    } rows[] = {
        {"\7\0\0\0\0\0\xff", true},
        {"\7\0\0\0\xff\xff\xff", false},             /* the count is not told */
        {"\x9\0\0\0\1\0\1\1\xff", true},
        {"\xa\0\0\0\1\0\xc0\1\2\xff", false},        /* 1 in 13 bits */
        {"\xb\0\0\0\1\0\xf1\1\0\3\xff", false},     /* in 16 */
        {"\xb\0\0\0\1\0\xf1\0\x10\3\xff", true},     /* 4096 */
        {"\xa\0\0\0\1\0\x81" "1\2\xff", false},      /* as a text */
        {"\xa\0\0\0\1\0\x81" "a\2\xff", true},
        {"\xb\0\0\0\1\0\x82" "01\3\xff", true},      /* no number, as it stands there */
        {"\xb\0\0\0\1\0\xe0\1" "a\3\xff", false},    /* a length of 12 bits */
        {"\xe\0\0\0\1\0\xf0\1\0\0\0" "a\6\xff", false}, /* of 32 */
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const char *bytes = rows[i].bytes;
        cr_assert(lp_valid(slice_of(bytes, lp_len(bytes)), NULL), "row %zu", i);
        cr_expect_eq(lp_is_canonical(bytes), rows[i].canonical, "row %zu", i);
    }
}

/* ---- at the front, and several at once ---- */

static void check_elements(const char *bytes, const char *const *texts, size_t count)
{
    char scratch[LP_NUMBER_LEN];
    size_t i = 0;
    uint32_t told;
    cr_assert(lp_valid(slice_of(bytes, lp_len(bytes)), &told));
    cr_assert_eq(told, count);
    for (size_t at = lp_first(bytes); at != LP_NONE; at = lp_next(bytes, at), i++)
        cr_assert(slice_equal(lp_text(bytes, at, scratch), slice_str(texts[i])));
}

Test(listpack, front_in_place)
{
    static const char *const texts[] = {"", "a", "-12", "123456", "hello", "70000"};
    enum { COUNT = ARRAY_COUNT(texts), ROOM = 256 };
    char room[ROOM], *bytes = room + ROOM - LP_EMPTY_LEN;
    lp_init(bytes);
    for (size_t i = COUNT; i-- > 0;) {
        size_t len = lp_encoded_len(slice_str(texts[i]));
        bytes -= len;
        lp_push_front(bytes, len, slice_str(texts[i]));
        check_elements(bytes, texts + i, COUNT - i);
    }
    for (size_t i = 1; i <= COUNT; i++) {
        bytes = lp_pop_front(bytes);
        check_elements(bytes, texts + i, COUNT - i);
    }
}

Test(listpack, cut_and_joined)
{
    static const char *const texts[] = {"a", "12", "b", "a", "-70000", "a"};
    enum { COUNT = ARRAY_COUNT(texts) };
    struct lp lp = {.bytes = mem_try_alloc(LP_EMPTY_LEN), .resize = lp_resize_heap};
    lp_init(lp.bytes);
    for (size_t i = 0; i < COUNT; i++) cr_assert_eq(lp_append(&lp, slice_str(texts[i])), 0);
    for (uint32_t cut = 0; cut <= COUNT; cut++) {
        size_t end = lp_len(lp.bytes) - 1, at = cut == COUNT ? end : lp_seek(lp.bytes, cut);
        char *left = mem_alloc(LP_EMPTY_LEN + at - LP_HEADER);
        struct lp right = {.bytes = mem_try_alloc(LP_EMPTY_LEN + end - at),
                           .resize = lp_resize_heap};
        lp_copy_range(lp.bytes, LP_HEADER, at, cut, left);
        lp_copy_range(lp.bytes, at, end, COUNT - cut, right.bytes);
        check_elements(left, texts, cut);
        check_elements(right.bytes, texts + cut, COUNT - cut);
        cr_assert_eq(lp_join_front(&right, left), 0);
        check_elements(right.bytes, texts, COUNT);
        mem_free(left);
        mem_free(right.bytes);
    }
    uint64_t passed = 0;
    size_t at = lp_find_counted(lp.bytes, lp_first(lp.bytes), SLICE("-70000"), &passed);
    cr_assert_eq(passed, 4);
    cr_assert_eq(lp_find_counted(lp.bytes, at, SLICE("b"), &passed), LP_NONE);
    cr_assert_eq(passed, 6);
    mem_free(lp.bytes);
}
