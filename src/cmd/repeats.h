/* Random members that may repeat (SRANDMEMBER, HRANDFIELD, ZRANDMEMBER with a negative count): how
 * many is the client's word alone, so it is bounded. 2^24 of them take about a second, for which
 * others of the shard wait; Redis refuses only what overflows. Inner header of src/cmd.
 * Thread: any (a constant). */
#ifndef SPLITRING_CMD_REPEATS_H
#define SPLITRING_CMD_REPEATS_H

#define RANDOM_REPEATS_MAX (1u << 24)

#endif
