/* Requests rendered ahead of time, with holes for the key's digits and tag.
 *
 * Thread: any (constant after init). */
#ifndef BENCH_LOAD_REQUEST_H
#define BENCH_LOAD_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "keys.h"
#include "options.h"

enum verb { VERB_GET, VERB_SET, VERB_DEL, VERB_COUNT };

struct request_shape {
    char *bytes;
    size_t len;
    size_t tag_at; /* where the characters of a shard's tag go */
    size_t digits_at;
};

/* All keys of one connection: "{tag}" prefix digits. */
struct request_shapes {
    struct request_shape verb[VERB_COUNT];
    unsigned digits;
    char (*shard_tags)[SHARD_TAG_LEN]; /* borrowed; NULL: the tag, if any, is part of the shape */
};

/* tag: of this connection, or NULL. shard_tags: what shard_tags_fill made, or NULL.
 * range: indices are below it. Returns 0, or -1 if the key's size leaves too few digits. */
int request_shapes_init(struct request_shapes *shapes, const struct options *options,
                        const char *tag, char (*shard_tags)[SHARD_TAG_LEN], uint64_t range)
    __attribute__((warn_unused_result));
void request_shapes_deinit(struct request_shapes *shapes);

/* Room that one request needs. */
size_t request_len_max(const struct request_shapes *shapes);

/* Writes the request for key `index` of `shard` (0 without shards); returns its length. */
size_t request_render(const struct request_shapes *shapes, enum verb verb, unsigned shard,
                      uint64_t index, char *out);

#endif
