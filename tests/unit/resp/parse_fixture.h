/* Runs the parser over input in given pieces and writes down what it saw, as text that tests
 * compare: "[GET][key]\n" per command, "error: ERR …\n" at the end of a refused input, "held\n"
 * where a command is unfinished.
 * Thread: owner. */
#ifndef SPLITRING_TESTS_PARSE_FIXTURE_H
#define SPLITRING_TESTS_PARSE_FIXTURE_H

#include "splitring/resp/parse.h"

struct seen {
    struct buf text;
    size_t commands;
    size_t bytes_held_max; /* largest parse_held on the way */
    bool error;
};

extern const struct parse_limits limits_default; /* authenticated, 512 MB */
extern const struct parse_limits limits_unauth;

/* Pieces of these sizes, the last one repeated; every piece is a fresh block of its own size, so
 * that a sanitizer sees a byte read too far, and is poisoned after its pass. */
void seen_run(struct seen *seen, const struct parse_limits *limits, struct slice input,
              const size_t *pieces, size_t piece_count);
void seen_deinit(struct seen *seen);
/* The log as a C string, valid until seen_deinit. */
const char *seen_text(struct seen *seen);
/* Parses the input whole, byte by byte, in pieces of 2, 3, 7 and (if short) at every place where it
 * can be cut in two; true if all logs are the same. *log gets the log of the whole, caller
 * frees. */
bool same_in_all_pieces(const struct parse_limits *limits, struct slice input, char **log);

#endif
