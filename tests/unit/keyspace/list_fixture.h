/* Lists whose memory runs out when a test says so.
 * Thread: the test's. */
#ifndef SPLITRING_TESTS_UNIT_KEYSPACE_LIST_FIXTURE_H
#define SPLITRING_TESTS_UNIT_KEYSPACE_LIST_FIXTURE_H

#include "splitring/base/types.h"

/* The next `after` allocations succeed, the one behind them fails, and then all succeed again.
 * Negative: none fails. */
void fixture_fail_after(int after);
bool fixture_has_failed(void); /* since the last fixture_fail_after */

#endif
