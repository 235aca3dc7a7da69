/* A large set, and the view of a set in any form: shared by set.c (reading) and set_edit.c. Inner
 * header of src/keyspace.
 * Thread: holder of the shard. */
#ifndef SPLITRING_KEYSPACE_SET_IMPL_H
#define SPLITRING_KEYSPACE_SET_IMPL_H

#include <errno.h>

#include "shard.h"
#include "splitring/data/dict.h"
#include "splitring/keyspace/set.h"

struct set_object {
    struct object base;
    struct dict dict;
    size_t blocks_bytes; /* of all member blocks */
    size_t dict_bytes;   /* of the dict, as the shard knows it */
};

extern const struct table_ops set_table_ops;

struct set_object *set_object_new(struct shard *shard, size_t hint) WARN_UNUSED; /* or NULL */
void set_object_free(struct shard *shard, struct set_object *set);
/* The dict may have grown or shrunk: tells the shard. */
void set_object_changed(struct shard *shard, struct set_object *set);
/* The member must be absent. 0 or -ENOMEM. */
int set_object_add(struct shard *shard, struct set_object *set, struct slice text,
                   uint64_t hash) WARN_UNUSED;
bool set_object_remove(struct shard *shard, struct set_object *set, struct slice text,
                       uint64_t hash);

uint64_t set_member_hash(struct set_member *m, const struct set_object *set);
void set_member_of_element(struct set_member *m, const char *bytes, size_t at);

struct set_view {
    enum form form;
    const char *bytes;         /* packed forms */
    struct set_object *object; /* FORM_OBJECT */
};
struct set_view set_view_of(const struct entry *e);
uint64_t set_view_count(const struct set_view *v);
bool set_view_contains(const struct set_view *v, struct set_member *m);
bool set_view_each(const struct set_view *v, set_visit *visit, void *ctx);

#endif
