/* The lists' sources under test once more, with an allocator that fails on demand.
 * Thread: the test's. */
#include "list_fixture.h"

#include "splitring/base/check.h"
#include "splitring/base/mem.h"

static int fail_after = -1;
static bool has_failed;

void fixture_fail_after(int after)
{
    fail_after = after;
    has_failed = false;
}

bool fixture_has_failed(void) { return has_failed; }

static bool fails_now(void)
{
    if (fail_after < 0 || fail_after-- > 0) return false;
    has_failed = true;
    return true;
}

static void *fixture_alloc(size_t len) { return fails_now() ? NULL : mem_try_alloc(len); }

static void *fixture_realloc(void *ptr, size_t len)
{
    return fails_now() ? NULL : mem_try_realloc(ptr, len);
}

#define mem_try_alloc fixture_alloc
#define mem_try_realloc fixture_realloc
#include "../../../src/data/blocks.c"
#include "../../../src/data/blocks_edit.c"
#include "../../../src/keyspace/list.c"
#include "../../../src/keyspace/list_edit.c"
#include "../../../src/keyspace/list_node.c"
