/* A log in pieces: one command or line after the other, in place.
 *
 *   file    ....offset|....at......end|..........
 *                block^    ^item
 *
 * The block grows until the longest command lies in it as a whole: arguments are slices of it, and
 * nothing is copied before the handler does. An item that the block's end cuts is parsed again from
 * its beginning when more is there; as each reading doubles what is there, that costs no more than
 * the first time. What a length claims is believed only if the file is so long and the bytes
 * behind it end the argument: a flipped digit costs no memory.
 *
 * The form is taken strictly, as every server writes it: a bit that flips in a length or at an end
 * is noticed even where no checksum stands. (RESP's own parser serves clients: it takes inline
 * commands and looks for pieces.)
 * Thread: owner of the reader. */
#include <errno.h>

#include "aof_line.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"

#define BLOCK ((size_t)256 * 1024)
#define PEEK_FROM ((uint64_t)1 << 20) /* longer arguments are looked behind before they are read */
#define ARGC_MAX (1 << 30)
#define ARGV_FIRST 16

enum { MORE = -100000 }; /* the block ends within the item */

struct aof_in {
    struct aof_in_options options;
    char *block;
    size_t at, len, cap;
    uint64_t offset; /* of the block in the file */
    bool ended;      /* nothing is behind the block */
    struct arg *argv;
    int argv_cap;
};

struct aof_in *aof_in_new(const struct aof_in_options *options)
{
    struct aof_in *in = mem_zalloc(sizeof *in);
    in->options = *options;
    in->offset = options->offset;
    in->cap = BLOCK;
    in->block = mem_alloc(in->cap);
    return in;
}

void aof_in_free(struct aof_in *in)
{
    if (!in) return;
    mem_free(in->block);
    mem_free(in->argv);
    mem_free(in);
}

uint64_t aof_in_offset(const struct aof_in *in) { return in->offset + in->at; }

/* More of the file behind what is unused. 0 or a negative errno. */
static int fill(struct aof_in *in)
{
    if (in->at > 0) {
        in->len -= in->at;
        memmove(in->block, in->block + in->at, in->len);
        in->offset += in->at;
        in->at = 0;
    }
    if (in->len == in->cap) {
        char *more = mem_try_realloc(in->block, in->cap * 2);
        if (!more) return -ENOMEM;
        in->block = more;
        in->cap *= 2;
    }
    while (in->len < in->cap && !in->ended) {
        uint64_t from = in->offset + in->len;
        uint64_t left = in->options.size > from ? in->options.size - from : 0;
        size_t want = in->cap - in->len < left ? in->cap - in->len : (size_t)left;
        ssize_t got = want ? in->options.read(in->options.ctx, from, in->block + in->len, want) : 0;
        if (got < 0) return (int)got;
        in->ended = got == 0;
        in->len += (size_t)got;
    }
    return 0;
}

/* ---- an item ---- */

struct cursor {
    const char *at, *end;
};

/* A line up to its \r\n, at most `max` bytes. */
static int take_line(struct cursor *c, size_t max, struct slice *line)
{
    size_t left = (size_t)(c->end - c->at), room = left < max + 2 ? left : max + 2;
    const char *end = memchr(c->at, '\n', room);
    if (!end) return room < max + 2 ? MORE : AOF_E_FORMAT;
    if (end == c->at || end[-1] != '\r') return AOF_E_FORMAT;
    *line = slice_of(c->at, (size_t)(end - c->at) - 1);
    c->at = end + 1;
    return 0;
}

/* "*3\r\n", "$12\r\n". */
static int take_length(struct cursor *c, char mark, uint64_t *out)
{
    struct slice line = {0};
    if (c->at == c->end) return MORE;
    if (*c->at != mark) return AOF_E_FORMAT;
    int rc = take_line(c, NUM_I64_LEN_MAX + 1, &line);
    if (rc != 0) return rc;
    int64_t n;
    if (!num_parse_i64(slice_of(line.ptr + 1, line.len - 1), &n) || n < 0) return AOF_E_FORMAT;
    *out = (uint64_t)n;
    return 0;
}

/* Can an argument that the block does not hold be as long as it says? */
static int believe(struct aof_in *in, const struct cursor *c, uint64_t len)
{
    uint64_t from = in->offset + (uint64_t)(c->at - in->block);
    char end[2];
    if (in->options.size - from < len || in->options.size - from - len < 2) return AOF_E_TORN;
    if (len < PEEK_FROM) return MORE;
    ssize_t got = in->options.read(in->options.ctx, from + len, end, 2);
    if (got < 0) return (int)got;
    return got == 2 && memcmp(end, "\r\n", 2) != 0 ? AOF_E_FORMAT : MORE;
}

static int take_arg(struct aof_in *in, struct cursor *c, struct arg *arg)
{
    uint64_t len;
    int rc = take_length(c, '$', &len);
    if (rc != 0) return rc;
    uint64_t left = (uint64_t)(c->end - c->at);
    if (left < len || left - len < 2) return believe(in, c, len);
    *arg = (struct arg){.ptr = c->at, .len = (size_t)len};
    c->at += len;
    if (memcmp(c->at, "\r\n", 2) != 0) return AOF_E_FORMAT;
    c->at += 2;
    return 0;
}

static int take_command(struct aof_in *in, struct cursor *c, struct aof_item *item)
{
    uint64_t argc;
    int rc = take_length(c, '*', &argc);
    if (rc != 0) return rc;
    if (argc < 1 || argc > ARGC_MAX) return AOF_E_FORMAT;
    for (uint64_t i = 0; i < argc; i++) {
        if (i >= (uint64_t)in->argv_cap) { /* grows with arguments that are there */
            int cap = in->argv_cap ? in->argv_cap * 2 : ARGV_FIRST;
            struct arg *more = mem_try_realloc(in->argv, (size_t)cap * sizeof *more);
            if (!more) return -ENOMEM;
            in->argv = more;
            in->argv_cap = cap;
        }
        rc = take_arg(in, c, &in->argv[i]);
        if (rc != 0) return rc;
    }
    item->kind = AOF_ITEM_COMMAND;
    item->argv = in->argv;
    item->argc = (int)argc;
    return 0;
}

static int take_note(struct cursor *c, struct aof_item *item)
{
    static const char stamp[] = "#TS:";
    const size_t word = sizeof stamp - 1;
    int rc = take_line(c, AOF_LINE_MAX - 2, &item->line);
    if (rc != 0) return rc;
    struct slice line = item->line;
    bool stamped = line.len > word && memcmp(line.ptr, stamp, word) == 0 &&
                   num_parse_i64(slice_of(line.ptr + word, line.len - word), &item->stamp);
    item->kind = stamped                            ? AOF_ITEM_STAMP
                 : aof_line_parse(line, &item->sum) ? AOF_ITEM_SUM
                                                    : AOF_ITEM_NOTE;
    return 0;
}

int aof_in_next(struct aof_in *in, struct aof_item *item)
{
    item->offset = item->end = aof_in_offset(in);
    for (;;) {
        struct cursor c = {in->block + in->at, in->block + in->len};
        int rc = MORE;
        if (c.at < c.end)
            rc = *c.at == '#' ? take_note(&c, item) : take_command(in, &c, item);
        if (rc == 0) {
            item->bytes = slice_of(in->block + in->at, (size_t)(c.at - in->block) - in->at);
            in->at += item->bytes.len;
            item->end = aof_in_offset(in);
            return 0;
        }
        if (rc != MORE) return rc;
        if (in->ended) {
            item->kind = AOF_ITEM_END;
            return in->at == in->len ? 0 : AOF_E_TORN;
        }
        rc = fill(in);
        if (rc < 0) return rc;
    }
}
