/* Lua's patterns, matched in steps.
 *
 *   struct pattern_frame room[…pattern_frames(text)…];
 *   pattern_init(&m, subject, text, room);
 *   pattern_begin(&m, at);
 *   while ((result = pattern_step(&m, budget)) == PATTERN_MORE) ask_whether_to_go_on();
 *
 * Semantics and error texts of Lua 5.1: a pattern ends at its first NUL.
 * Source: https://www.lua.org/manual/5.1/manual.html#5.4.1
 * Thread: any (pure). */
#ifndef SPLITRING_SRC_SCRIPT_PATTERN_H
#define SPLITRING_SRC_SCRIPT_PATTERN_H

#include "splitring/base/slice.h"

#define PATTERN_CAPTURES 32u

enum pattern_result { PATTERN_FAILED, PATTERN_MATCHED, PATTERN_MORE, PATTERN_ERROR };

#define PATTERN_OPEN (-1)     /* a capture whose ')' has not come */
#define PATTERN_POSITION (-2) /* '()' */

struct pattern_capture {
    const char *at;
    ptrdiff_t len; /* or one of the two above */
};

/* An item with '*', '+', '-' or '?' that can still be tried in another way. */
struct pattern_frame {
    const char *at;   /* subject, after what it has taken */
    const char *least; /* …, that it cannot give back */
    const char *item, *item_end;
    uint32_t closed;  /* captures that had ended, by bit */
    uint8_t level;
    char kind;
};

struct pattern_match {
    const char *subject, *subject_end;
    const char *pattern; /* NUL-terminated */
    const char *at, *item;
    struct pattern_frame *frames;
    size_t frame_count;
    uint64_t steps; /* left */
    unsigned level; /* captures begun */
    struct pattern_capture captures[PATTERN_CAPTURES];
    const char *error;
};

/* How many frames a match of it may need. */
size_t pattern_frames(const char *pattern);
/* The subject and the pattern are NUL-terminated. */
void pattern_init(struct pattern_match *m, struct slice subject, const char *pattern,
                  struct pattern_frame *frames);
/* A new attempt: the whole pattern at this place of the subject. */
void pattern_begin(struct pattern_match *m, const char *at);
/* MATCHED: it ends at m->at. ERROR: m->error says why. MORE: the budget (about the bytes looked
 * at, for this and the attempts that follow) is used up; add to m->steps and call again. */
enum pattern_result pattern_step(struct pattern_match *m);

#endif
