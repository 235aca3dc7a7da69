/* Where commands that draw their own shard run (ROUTE_SHARD).
 * Thread: any (pure). */
#ifndef SPLITRING_CMD_ROUTE_H
#define SPLITRING_CMD_ROUTE_H

#include "splitring/base/slice.h"

/* SCAN's cursor is position × shard_count + shard. Returns the shard it names; -1: the text is no
 * cursor (the handler runs anywhere and says so). */
int cmd_scan_shard(const struct slice *argv, int argc, uint32_t shard_count);

#endif
