/* The parser's witness. See parse_fixture.h. */
#include "parse_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "splitring/resp/reply.h"

const struct parse_limits limits_default = {512 * 1024 * 1024, true};
const struct parse_limits limits_unauth = {512 * 1024 * 1024, false};

static void note_command(struct seen *seen, const struct parser *p)
{
    for (int i = 0; i < p->argc; i++) {
        buf_append_char(&seen->text, '[');
        buf_append(&seen->text, p->argv[i].ptr, p->argv[i].len);
        buf_append_char(&seen->text, ']');
        if (p->argv[i].blob && p->argv[i].blob->data != p->argv[i].ptr) abort();
        if (p->argv[i].blob && p->argv[i].blob->len != p->argv[i].len) abort();
    }
    buf_append_char(&seen->text, '\n');
    seen->commands++;
}

static void note_error(struct seen *seen, const struct parser *p)
{
    struct buf out = {0};
    struct reply reply = {.out = &out, .proto = 2};
    parse_reply_error(p, &reply);
    buf_append(&seen->text, "error: ", 7);
    buf_append(&seen->text, out.ptr + 1, out.len - 3);
    buf_append_char(&seen->text, '\n');
    buf_deinit(&out);
    seen->error = true;
}

/* All commands of one piece; they stay valid together, so they are noted after the last one. */
static void run_piece(struct seen *seen, struct parser *p, const struct parse_limits *limits,
                      const char *data, size_t len)
{
    size_t used = 0;
    while (!seen->error) {
        enum parse_status status = parse_next(p, limits, data, len, &used);
        if (parse_held(p) > seen->bytes_held_max) seen->bytes_held_max = parse_held(p);
        if (status == PARSE_COMMAND) {
            note_command(seen, p);
        } else if (status == PARSE_ERROR) {
            note_error(seen, p);
        } else {
            if (used != len) abort();
            return;
        }
    }
}

void seen_run(struct seen *seen, const struct parse_limits *limits, struct slice input,
              const size_t *pieces, size_t piece_count)
{
    struct parse_pool pool;
    struct parser p;
    *seen = (struct seen){.commands = 0};
    parse_pool_init(&pool);
    parse_init(&p, &pool);
    for (size_t at = 0, i = 0; at < input.len && !seen->error; i++) {
        size_t len = pieces[i < piece_count ? i : piece_count - 1];
        if (len > input.len - at) len = input.len - at;
        char *piece = malloc(len ? len : 1);
        memcpy(piece, input.ptr + at, len);
        run_piece(seen, &p, limits, piece, len);
        memset(piece, '#', len);
        free(piece);
        at += len;
    }
    if (p.partial) buf_append(&seen->text, "held\n", 5);
    parse_deinit(&p);
    parse_pool_deinit(&pool);
}

void seen_deinit(struct seen *seen) { buf_deinit(&seen->text); }

const char *seen_text(struct seen *seen)
{
    if (!buf_reserve(&seen->text, 1)) abort();
    seen->text.ptr[seen->text.len] = '\0';
    return seen->text.ptr;
}

static bool same_as(const struct parse_limits *limits, struct slice input, const char *log,
                    const size_t *pieces, size_t count)
{
    struct seen seen;
    seen_run(&seen, limits, input, pieces, count);
    bool same = strcmp(seen_text(&seen), log) == 0;
    if (!same) {
        printf("pieces %zu, %zu…: %.300s\ninstead of: %.300s\n", pieces[0],
               pieces[count > 1 ? 1 : 0], seen_text(&seen), log);
    }
    seen_deinit(&seen);
    return same;
}

bool same_in_all_pieces(const struct parse_limits *limits, struct slice input, char **log)
{
    struct seen whole;
    size_t all[] = {input.len};
    seen_run(&whole, limits, input, all, 1);
    *log = strdup(seen_text(&whole));
    seen_deinit(&whole);

    bool same = true;
    const size_t sizes[] = {1, 2, 3, 7, 16384};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        same = same_as(limits, input, *log, &sizes[i], 1) && same;
    }
    for (size_t cut = 1; cut < input.len && input.len < 2000; cut++) {
        size_t two[] = {cut, input.len - cut};
        same = same_as(limits, input, *log, two, 2) && same;
    }
    return same;
}
