/* Intset: sorted integers of one width, in Redis' layout to the byte.
 *
 *   | width u32 | count u32 | i0 | i1 | … |      i0 < i1 < …, little-endian, `width` bytes each
 *
 * Invariants: width is 2, 4 or 8 and every integer fits; they rise strictly; the block's length
 * follows from the header. A number that does not fit is below or above all others, so widening
 * never looks for a place: the new one is first or last.
 *
 * Blocks lie anywhere (inside entries too), so every access is a memcpy of its width.
 *
 * Why sorted and not a small hash table: a member of 16 bits costs two bytes, a search touches
 * log2(n) of them, and it is the form that DUMP carries.
 * Thread: owner. */
#include "splitring/data/intset.h"

#include <errno.h>

#include "splitring/base/check.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they lie");

static uint32_t read_u32(const char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static void write_u32(char *at, uint32_t value) { memcpy(at, &value, sizeof(value)); }

static uint32_t width_of(const char *bytes) { return read_u32(bytes); }

uint32_t intset_count(const char *bytes) { return read_u32(bytes + 4); }

size_t intset_len(const char *bytes)
{
    return INTSET_HEADER + (size_t)intset_count(bytes) * width_of(bytes);
}

static inline int64_t get(const char *bytes, uint32_t width, uint32_t index)
{
    const char *at = bytes + INTSET_HEADER + (size_t)index * width;
    int64_t wide;
    int32_t middle;
    int16_t narrow;
    switch (width) {
    case 2: memcpy(&narrow, at, sizeof(narrow)); return narrow;
    case 4: memcpy(&middle, at, sizeof(middle)); return middle;
    default: memcpy(&wide, at, sizeof(wide)); return wide;
    }
}

static inline void set(char *bytes, uint32_t width, uint32_t index, int64_t value)
{
    /* Little-endian: the leading bytes of the wide number are the narrow one. */
    memcpy(bytes + INTSET_HEADER + (size_t)index * width, &value, width);
}

int64_t intset_get(const char *bytes, uint32_t index)
{
    dcheck(index < intset_count(bytes));
    return get(bytes, width_of(bytes), index);
}

static uint32_t width_for(int64_t value)
{
    if (value >= INT16_MIN && value <= INT16_MAX) return 2;
    return value >= INT32_MIN && value <= INT32_MAX ? 4 : 8;
}

bool intset_find(const char *bytes, int64_t value, uint32_t *index)
{
    uint32_t width = width_of(bytes), count = intset_count(bytes), low = 0, high = count;
    /* Numbers often come in rising order. */
    if (count && value > get(bytes, width, count - 1)) low = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (get(bytes, width, middle) < value) low = middle + 1;
        else high = middle;
    }
    if (index) *index = low;
    return low < count && get(bytes, width, low) == value;
}

/* ---- editing ---- */

void intset_init(char *bytes)
{
    write_u32(bytes, 2);
    write_u32(bytes + 4, 0);
}

static int add_wider(struct lp *block, int64_t value)
{
    uint32_t before = width_of(block->bytes), width = width_for(value);
    uint32_t count = intset_count(block->bytes);
    char *bytes = block->resize(block, INTSET_HEADER + ((size_t)count + 1) * width);
    if (!bytes) return -ENOMEM;
    uint32_t shift = value < 0;
    /* From the end, so that nothing is overwritten before it is read. */
    for (uint32_t i = count; i-- > 0;) set(bytes, width, i + shift, get(bytes, before, i));
    set(bytes, width, shift ? 0 : count, value);
    write_u32(bytes, width);
    write_u32(bytes + 4, count + 1);
    return 1;
}

int intset_add(struct lp *block, int64_t value)
{
    uint32_t width = width_of(block->bytes), count = intset_count(block->bytes), index;
    bool wider = width_for(value) > width;
    if (!wider && intset_find(block->bytes, value, &index)) return 0;
    if (count >= INTSET_COUNT_MAX) return -ENOMEM;
    if (wider) return add_wider(block, value);
    char *bytes = block->resize(block, INTSET_HEADER + ((size_t)count + 1) * width);
    if (!bytes) return -ENOMEM;
    char *at = bytes + INTSET_HEADER + (size_t)index * width;
    memmove(at + width, at, (size_t)(count - index) * width);
    set(bytes, width, index, value);
    write_u32(bytes + 4, count + 1);
    return 1;
}

void intset_remove_at(struct lp *block, uint32_t index, uint32_t gone)
{
    char *bytes = block->bytes;
    uint32_t width = width_of(bytes), count = intset_count(bytes);
    check(gone <= count && index <= count - gone);
    char *at = bytes + INTSET_HEADER + (size_t)index * width;
    memmove(at, at + (size_t)gone * width, (size_t)(count - index - gone) * width);
    write_u32(bytes + 4, count - gone);
    /* Where this fails the block keeps its length; the header tells the true one. */
    (void)block->resize(block, intset_len(bytes));
}

bool intset_remove(struct lp *block, int64_t value)
{
    uint32_t index;
    if (!intset_find(block->bytes, value, &index)) return false;
    intset_remove_at(block, index, 1);
    return true;
}

/* ---- outside data ---- */

bool intset_valid(struct slice s)
{
    if (s.len < INTSET_HEADER) return false;
    uint32_t width = width_of(s.ptr), count = intset_count(s.ptr);
    if ((width != 2 && width != 4 && width != 8) || count == 0) return false;
    size_t data = s.len - INTSET_HEADER;
    if (data % width || data / width != count) return false;
    for (uint32_t i = 1; i < count; i++) {
        if (get(s.ptr, width, i - 1) >= get(s.ptr, width, i)) return false;
    }
    return true;
}
