/* What the tests of effects share: the effects of a world run in another, and the data is compared;
 * and which write commands have stated effects at all.
 * Thread: the test's. */
#ifndef SPLITRING_TESTS_UNIT_REPLAY_H
#define SPLITRING_TESTS_UNIT_REPLAY_H

#include "handler.h"

/* A world of so many shards, whose random numbers follow from the seed. */
void replay_init(struct handler_world *w, uint32_t shards, uint64_t seed);
/* Replays it into a world with the same settings and compares all keys, values and TTLs. The replay
 * happens at `now`, or (0) before everything. Ends the world. */
void replay_check(struct handler_world *w, uint64_t seed, instant_ms now);
/* Every write command with (or without) this ACL category has stated an effect since the program
 * began, but for those in `except` (names, ended by NULL). */
void replay_covers(uint32_t acl, bool with, const char *const *except);

#endif
