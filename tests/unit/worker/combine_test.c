/* The replies of several shards made into one: txn_combine() on made-up parts. */
#include <criterion/criterion.h>

#include "splitring/cmd/command.h"
#include "txn.h"

#define PARTS_MAX 4

struct made {
    struct txn_part parts[PARTS_MAX];
    int positions[PARTS_MAX][8];
    unsigned count;
    struct buf out;
    struct rng rng;
};

static void made_init(struct made *m)
{
    memset(m, 0, sizeof *m);
    rng_seed(&m->rng, 7);
}

static void made_deinit(struct made *m)
{
    for (unsigned i = 0; i < m->count; i++) buf_deinit(&m->parts[i].reply);
    buf_deinit(&m->out);
}

/* A shard's reply, and where in the command its keys stood: "1 4 5". */
static void part(struct made *m, const char *reply, const char *positions)
{
    struct txn_part *p = &m->parts[m->count];
    p->shard = (shard_id)m->count;
    p->key_pos = m->positions[m->count++];
    buf_append(&p->reply, reply, strlen(reply));
    for (const char *at = positions; *at; at++)
        if (*at != ' ') p->key_pos[p->key_count++] = *at - '0';
}

static const char *combined(struct made *m, enum split split, uint8_t proto)
{
    struct command cmd = {.name = "made", .split = (uint8_t)split};
    int keys = 0;
    for (unsigned i = 0; i < m->count; i++) keys += m->parts[i].key_count;
    m->out.len = 0;
    txn_combine(&cmd, keys, m->parts, m->count, &m->rng, proto, &m->out);
    buf_append_char(&m->out, '\0');
    return m->out.ptr;
}

Test(combine, sums)
{
    struct made m;
    made_init(&m);
    part(&m, ":2\r\n", "1 3");
    part(&m, ":0\r\n", "2");
    part(&m, ":9223372036854775800\r\n", "4");
    cr_assert_str_eq(combined(&m, SPLIT_SUM, 2), ":9223372036854775802\r\n");
    made_deinit(&m);
}

Test(combine, one_ok)
{
    struct made m;
    made_init(&m);
    part(&m, "+OK\r\n", "1");
    part(&m, "+OK\r\n", "3");
    cr_assert_str_eq(combined(&m, SPLIT_OK, 2), "+OK\r\n");
    made_deinit(&m);
}

Test(combine, arrays_in_argument_order)
{
    struct made m;
    made_init(&m);
    part(&m, "*2\r\n$1\r\nb\r\n$-1\r\n", "2 5");
    part(&m, "*1\r\n$0\r\n\r\n", "3");
    part(&m, "*2\r\n$3\r\na\r\n\r\n$1\r\nd\r\n", "1 4");
    cr_assert_str_eq(combined(&m, SPLIT_ARRAY, 2),
                     "*5\r\n$3\r\na\r\n\r\n$1\r\nb\r\n$0\r\n\r\n$1\r\nd\r\n$-1\r\n");
    made_deinit(&m);
}

Test(combine, nulls_of_resp3)
{
    struct made m;
    made_init(&m);
    part(&m, "*2\r\n_\r\n$1\r\nx\r\n", "1 3");
    part(&m, "*1\r\n_\r\n", "2");
    cr_assert_str_eq(combined(&m, SPLIT_ARRAY, 3), "*3\r\n_\r\n_\r\n$1\r\nx\r\n");
    made_deinit(&m);
}

/* An element may be anything: arrays in arrays, maps, sets, numbers, text with line ends. */
Test(combine, nested_elements)
{
    struct made m;
    made_init(&m);
    part(&m, "*2\r\n*2\r\n$2\r\n\r\n\r\n*1\r\n:-7\r\n%1\r\n+k\r\n~2\r\n#t\r\n,1.5\r\n", "2 3");
    part(&m, "*2\r\n=7\r\ntxt:*9\n\r\n*0\r\n", "1 4");
    cr_assert_str_eq(combined(&m, SPLIT_ARRAY, 3),
                     "*4\r\n=7\r\ntxt:*9\n\r\n*2\r\n$2\r\n\r\n\r\n*1\r\n:-7\r\n"
                     "%1\r\n+k\r\n~2\r\n#t\r\n,1.5\r\n*0\r\n");
    made_deinit(&m);
}

Test(combine, concatenates)
{
    struct made m;
    made_init(&m);
    part(&m, "*0\r\n", "");
    part(&m, "*2\r\n$1\r\na\r\n$2\r\n\r\n\r\n", "");
    part(&m, "*10\r\n:0\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n", "");
    cr_assert_str_eq(combined(&m, SPLIT_CONCAT, 2),
                     "*12\r\n$1\r\na\r\n$2\r\n\r\n\r\n:0\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"
                     ":6\r\n:7\r\n:8\r\n:9\r\n");
    made_deinit(&m);
}

Test(combine, picks_one_that_is_there)
{
    struct made m;
    unsigned picked[2] = {0};
    made_init(&m);
    part(&m, "$-1\r\n", "");
    part(&m, "$1\r\na\r\n", "");
    part(&m, "$1\r\nb\r\n", "");
    part(&m, "_\r\n", "");
    for (int i = 0; i < 400; i++) {
        const char *text = combined(&m, SPLIT_PICK, 2);
        cr_assert(!strcmp(text, "$1\r\na\r\n") || !strcmp(text, "$1\r\nb\r\n"));
        picked[text[4] - 'a']++;
    }
    cr_assert(picked[0] > 100 && picked[1] > 100);
    made_deinit(&m);
    made_init(&m);
    part(&m, "$-1\r\n", "");
    part(&m, "$-1\r\n", "");
    cr_assert_str_eq(combined(&m, SPLIT_PICK, 2), "$-1\r\n", "nil only if all say so");
    made_deinit(&m);
}

Test(combine, the_first_error_is_the_answer)
{
    static const enum split splits[] = {SPLIT_SUM, SPLIT_ARRAY, SPLIT_OK, SPLIT_CONCAT, SPLIT_PICK};
    for (size_t i = 0; i < ARRAY_COUNT(splits); i++) {
        struct made m;
        made_init(&m);
        part(&m, splits[i] == SPLIT_SUM ? ":1\r\n" : "*0\r\n", "1");
        part(&m, "-WRONGTYPE first\r\n", "2");
        part(&m, "-ERR second\r\n", "3");
        cr_assert_str_eq(combined(&m, splits[i], 2), "-WRONGTYPE first\r\n");
        made_deinit(&m);
    }
}

Test(combine, memory_ran_out_at_one_shard)
{
    struct made m;
    made_init(&m);
    part(&m, "*1\r\n$1\r\na\r\n", "1");
    part(&m, "", "2");
    m.parts[1].reply.failed = true;
    cr_assert_eq(strncmp(combined(&m, SPLIT_ARRAY, 2), "-OOM ", 5), 0);
    made_deinit(&m);
}

/* A thousand keys over four shards, in every order of positions. */
Test(combine, many_keys)
{
    enum { KEYS = 1000 };
    static int positions[PARTS_MAX][KEYS];
    struct made m;
    struct buf want = {0};
    made_init(&m);
    for (unsigned s = 0; s < PARTS_MAX; s++) part(&m, "", "");
    for (int i = 0; i < KEYS; i++) {
        struct txn_part *p = &m.parts[rng_below(&m.rng, PARTS_MAX)];
        p->key_pos = positions[p->shard];
        p->key_pos[p->key_count++] = i + 1;
    }
    for (unsigned s = 0; s < PARTS_MAX; s++) {
        buf_printf(&m.parts[s].reply, "*%d\r\n", m.parts[s].key_count);
        for (int k = 0; k < m.parts[s].key_count; k++)
            buf_printf(&m.parts[s].reply, ":%d\r\n", m.parts[s].key_pos[k]);
    }
    buf_printf(&want, "*%d\r\n", KEYS);
    for (int i = 0; i < KEYS; i++) buf_printf(&want, ":%d\r\n", i + 1);
    buf_append_char(&want, '\0');
    cr_assert_str_eq(combined(&m, SPLIT_ARRAY, 2), want.ptr);
    buf_deinit(&want);
    made_deinit(&m);
}
