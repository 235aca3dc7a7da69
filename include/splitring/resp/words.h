/* A line of words with quotes, by the rules of Redis' sdssplitargs (inline commands, the first
 * line of scripts and libraries).
 * Thread: any (pure). */
#ifndef SPLITRING_RESP_WORDS_H
#define SPLITRING_RESP_WORDS_H

#include "splitring/resp/parse.h"

/* At least as many words as the line can have. */
int inline_argc_max(struct slice line);
/* Splits a line with quotes, whose text is unescaped in place. -1: quotes are unbalanced. */
int inline_split_quoted(char *line, size_t len, struct arg *argv);

#endif
