/* Fuzz target of the request parser. The input's first four bytes choose limits and the cuts, the
 * rest is what the client sends. It is parsed whole and then in random pieces; both must give the
 * same commands, the same error and the same unfinished rest. Pieces are exact blocks, so a
 * sanitizer sees every byte that is read too far or too late. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/rng.h"
#include "splitring/resp/parse.h"

#define HELD_FIXED 100000u /* what is held beyond a multiple of the bytes: blob, first arrays */

/* A running hash over everything that was seen: FNV-1a, with lengths as separators. */
struct witness {
    uint64_t hash;
    uint64_t commands;
};

static void note(struct witness *w, const void *ptr, size_t len)
{
    const unsigned char *bytes = ptr;
    w->hash = (w->hash ^ len) * 1099511628211u;
    for (size_t i = 0; i < len; i++) w->hash = (w->hash ^ bytes[i]) * 1099511628211u;
}

static void note_command(struct witness *w, struct parser *p, bool take)
{
    check(p->argc > 0);
    for (int i = 0; i < p->argc; i++) {
        struct arg *arg = &p->argv[i];
        note(w, arg->ptr, arg->len);
        if (!arg->blob) continue;
        check(arg->blob->data == arg->ptr && arg->blob->len == arg->len);
        check(arg->blob->cap >= arg->len && arg->len >= PARSE_BIG_LEN);
        if (take) {
            mem_free(arg->blob);
            arg->blob = NULL;
        }
    }
    w->commands++;
}

/* False: the input was refused. */
static bool feed(struct parser *p, const struct parse_limits *limits, const char *data, size_t len,
                 struct witness *w, bool take)
{
    char *piece = malloc(len ? len : 1);
    memcpy(piece, data, len);
    size_t used = 0;
    enum parse_status status;
    while ((status = parse_next(p, limits, piece, len, &used)) == PARSE_COMMAND) {
        check(used <= len);
        note_command(w, p, take);
    }
    if (status == PARSE_ERROR) {
        note(w, &p->error, sizeof(p->error));
        note(w, &p->error_byte, 1);
    } else {
        check(used == len);
    }
    free(piece);
    return status == PARSE_MORE;
}

static struct witness parse_all(const struct parse_limits *limits, const char *data, size_t len,
                                struct rng *cuts)
{
    struct witness w = {.hash = 14695981039346656037u};
    struct parse_pool pool;
    struct parser p;
    parse_pool_init(&pool);
    parse_init(&p, &pool);
    bool open = true;
    size_t piece_max = cuts ? 1 + rng_below(cuts, 40) : 0;
    for (size_t at = 0; at < len && open;) {
        size_t here = cuts ? 1 + rng_below(cuts, piece_max) : len;
        if (here > len - at) here = len - at;
        open = feed(&p, limits, data + at, here, &w, cuts && rng_below(cuts, 2));
        at += here;
        /* an argument costs at least six bytes, and a struct arg in an array that doubles */
        check(parse_held(&p) <= HELD_FIXED + at * (4 + 2 * sizeof(struct arg)));
        if (cuts && rng_below(cuts, 8) == 0) parse_trim(&p);
    }
    bool held = open && p.partial != NULL;
    note(&w, &held, sizeof(held));
    parse_deinit(&p);
    parse_pool_deinit(&pool);
    return w;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 4) return 0;
    uint32_t choice;
    memcpy(&choice, data, 4);
    struct parse_limits limits = {choice & 2 ? 512 * 1024 * 1024 : 100000, !(choice & 1)};
    const char *input = (const char *)data + 4;

    struct witness whole = parse_all(&limits, input, len - 4, NULL);
    for (uint32_t round = 0; round < 3; round++) {
        struct rng cuts;
        rng_seed(&cuts, choice + round);
        struct witness cut = parse_all(&limits, input, len - 4, &cuts);
        check(cut.commands == whole.commands);
        check(cut.hash == whole.hash);
    }
    return 0;
}
