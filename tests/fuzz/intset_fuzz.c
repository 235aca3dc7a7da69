/* Fuzz target of the intset. Byte 0 says how many edits follow; then the edits, ten bytes each; the
 * rest is a block that intset_valid judges. A block that it accepts is read, searched and edited,
 * and must be valid after every edit; blocks are exact, so that a sanitizer sees every byte read
 * outside. */
#include "splitring/data/intset.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"

#define EDIT_LEN 10u
#define BLOCK_MAX 65536u

static void walk(const char *bytes)
{
    uint32_t count = intset_count(bytes), index;
    for (uint32_t i = 0; i < count; i++) {
        int64_t value = intset_get(bytes, i);
        check(intset_find(bytes, value, &index) && index == i);
        if (i) check(intset_get(bytes, i - 1) < value);
        if (value < INT64_MAX) {
            bool next = i + 1 < count && intset_get(bytes, i + 1) == value + 1;
            check(intset_find(bytes, value + 1, &index) == next && index == i + 1);
        }
    }
}

static void edit(struct lp *block, const uint8_t *e)
{
    uint32_t count = intset_count(block->bytes);
    int64_t value;
    memcpy(&value, e + 2, sizeof(value));
    value >>= e[1] % 64;
    bool there = intset_find(block->bytes, value, NULL);
    switch (e[0] % 4) {
    case 0:
        if (count) intset_remove_at(block, e[1] % count, 1);
        return;
    case 1: check(intset_remove(block, value) == there); break;
    default: check(intset_add(block, value) == !there); break;
    }
    check(intset_find(block->bytes, value, NULL) == (e[0] % 4 != 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1) return 0;
    size_t edits = data[0] % 32;
    if (len < 1 + edits * EDIT_LEN) return 0;
    const uint8_t *edit_at = data + 1;
    struct slice bytes =
        slice_of((const char *)data + 1 + edits * EDIT_LEN, len - 1 - edits * EDIT_LEN);
    if (bytes.len > BLOCK_MAX || !intset_valid(bytes)) return 0;
    char *copy = mem_alloc(bytes.len);
    memcpy(copy, bytes.ptr, bytes.len);
    struct lp block = {copy, lp_resize_heap};
    walk(block.bytes);
    for (size_t i = 0; i < edits; i++) {
        edit(&block, edit_at + i * EDIT_LEN);
        size_t now = intset_len(block.bytes);
        check(intset_count(block.bytes) == 0 || intset_valid(slice_of(block.bytes, now)));
    }
    walk(block.bytes);
    mem_free(block.bytes);
    return 0;
}
