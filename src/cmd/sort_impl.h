/* What the files of SORT share: its options.
 * Thread: any (pure). */
#ifndef SPLITRING_CMD_SORT_IMPL_H
#define SPLITRING_CMD_SORT_IMPL_H

#include "splitring/cmd/call.h"

struct sort_options {
    int by;             /* argument; 0: none */
    int store;          /* argument; 0: none */
    int gets;           /* how many GETs there are */
    int64_t offset, count; /* LIMIT; 0, -1 */
    bool alpha, desc;
    bool unsorted;      /* a BY without '*' was among them */
};

/* False: the error is written. */
bool sort_parse(struct call *c, bool readonly, struct sort_options *out);
/* The next GET behind argument `at` (first 1): its pattern's argument, 0: there is none. */
int sort_next_get(const struct call *c, int at);

/* BY w_*->field: what stands before and behind the '*', and the field. As in Redis, patterns are
 * read as C strings: a NUL hides what follows from the search for '*' and "->". */
struct sort_pattern {
    struct slice before, after, field;
    bool itself;   /* "#" */
    bool constant; /* no '*': names nothing */
    bool has_field;
};
struct sort_pattern sort_pattern_of(struct slice text);

#endif
