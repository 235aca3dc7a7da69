/* Inside the codec: how blocks of a file come into a reader.
 * Thread: owner of the reader. */
#ifndef SPLITRING_PERSIST_SOURCE_INNER_H
#define SPLITRING_PERSIST_SOURCE_INNER_H

#include "codec.h"

/* Reads on until at least len bytes (at most a block) lie behind `at`. False: there are no more
 * (nothing is noted), or they cannot be read or kept (noted). */
bool rdb_source_need(struct rdb_reader *r, size_t len);
/* The next len bytes go into *room, which grows no faster than bytes come. */
bool rdb_source_take(struct rdb_reader *r, char **room, size_t *room_len, uint64_t len);

#endif
