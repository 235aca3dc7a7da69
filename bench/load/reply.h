/* Counts replies in a stream of RESP2 or RESP3, whatever way the stream is cut into reads.
 *
 * Thread: owner. */
#ifndef BENCH_LOAD_REPLY_H
#define BENCH_LOAD_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: at the border between two replies. */
struct reply_parser {
    uint64_t skip;   /* bytes of a bulk still to come, its CRLF included */
    uint64_t need;   /* elements missing from the reply under way */
    uint64_t number; /* the length read so far */
    uint8_t state;
    char type;
    bool negative;
    bool inside; /* the elements under way belong to an aggregate */
    bool push;   /* the elements under way belong to a push message, which is no reply */
};

struct reply_counts {
    uint64_t replies;
    uint64_t nulls;  /* replies that are null: a GET that missed */
    uint64_t errors; /* error replies, those inside an array too */
    unsigned error_len;
    char error[160]; /* the first error's text */
};

/* Adds what is complete in data to counts. Returns 0, or -1 if the stream is not RESP. */
int reply_parse(struct reply_parser *parser, const char *data, size_t len,
                struct reply_counts *counts) __attribute__((warn_unused_result));

#endif
