/* Fuzz target of the listpack. Byte 0 says how many edits follow; then the edits, four bytes each;
 * the rest is a block that lp_valid judges. A block that it accepts is walked both ways, searched,
 * edited, and must be valid after every edit; blocks are exact, so that a sanitizer sees every byte
 * read outside. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/data/listpack.h"

#define EDIT_LEN 4u

static void walk(const char *bytes, uint32_t count)
{
    char scratch[LP_NUMBER_LEN];
    uint32_t forth = 0, back = 0;
    size_t last = LP_NONE;
    for (size_t at = lp_first(bytes); at != LP_NONE; at = lp_next(bytes, at)) {
        check(lp_prev(bytes, at) == last);
        struct slice text = lp_text(bytes, at, scratch);
        check(lp_equal(bytes, at, text));
        check(lp_find(bytes, at, text, 0) == at);
        int64_t number;
        (void)lp_number(bytes, at, &number);
        last = at;
        forth++;
    }
    for (size_t at = lp_last(bytes); at != LP_NONE; at = lp_prev(bytes, at)) back++;
    check(forth == count && back == count && lp_count(bytes) == count);
    check(lp_seek(bytes, count) == LP_NONE && lp_seek(bytes, -(int64_t)count - 1) == LP_NONE);
    if (count) check(lp_seek(bytes, -1) == last && lp_seek(bytes, (int64_t)count - 1) == last);
}

static void edit(struct lp *lp, const uint8_t *e, struct slice text)
{
    int8_t index = (int8_t)e[1];
    size_t at = lp_seek(lp->bytes, index);
    if (text.len > e[2]) text.len = e[2];
    struct slice texts[] = {text, SLICE("77"), SLICE("")};
    int error = 0;
    switch (e[0] % 6) {
    case 0: error = lp_insert(lp, at, text); break;
    case 1: error = lp_insert_many(lp, at, texts, e[3] % 4u); break;
    case 2: if (at) error = lp_replace(lp, at, text); break;
    case 3: if (at) error = lp_replace_number(lp, at, (int64_t)e[2] << (e[3] % 56)); break;
    case 4: if (at) lp_delete(lp, at, e[2]); break;
    default: error = lp_append_number(lp, (int64_t)((uint64_t)e[2] << (e[3] % 64))); break;
    }
    check(error == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1) return 0;
    size_t edits = data[0] % 16;
    if (len < 1 + edits * EDIT_LEN) return 0;
    const uint8_t *edit_at = data + 1;
    data += 1 + edits * EDIT_LEN;
    len -= 1 + edits * EDIT_LEN;

    struct lp lp = {.bytes = mem_try_alloc(len ? len : 1), .resize = lp_resize_heap};
    check(lp.bytes);
    memcpy(lp.bytes, data, len);
    uint32_t count;
    if (lp_valid(slice_of(lp.bytes, len), &count)) {
        walk(lp.bytes, count);
        for (size_t i = 0; i < edits; i++) {
            edit(&lp, edit_at + i * EDIT_LEN, slice_of((const char *)data, len));
            check(lp_valid(slice_of(lp.bytes, lp_len(lp.bytes)), &count));
            walk(lp.bytes, count);
        }
    }
    mem_free(lp.bytes);
    return 0;
}
