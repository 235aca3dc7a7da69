/* Entries with number keys, and a check of the table's inner order that every table test uses. */
#ifndef TESTS_UNIT_TABLE_FIXTURE_H
#define TESTS_UNIT_TABLE_FIXTURE_H

#include "splitring/base/hash.h"
#include "splitring/base/rng.h"
#include "splitring/data/table.h"

#define SEED 99u

struct item {
    uint64_t key;
    int64_t expiry; /* INT64_MAX: none */
    bool present;
    unsigned seen;
};

extern const struct table_ops item_ops;

uint64_t item_hash(uint64_t key);
struct slice item_slice(const uint64_t *key);
/* count items with keys 0.. in one block; free() it. */
struct item *items_new(size_t count);
void item_add(struct table *t, struct item *item);
void item_remove(struct table *t, struct item *item);
/* Order in every segment, words and books against the segments. */
void table_verify(const struct table *t);
/* Every present item is found, every other is not. */
void items_verify(const struct table *t, struct item *items, size_t count);

#endif
