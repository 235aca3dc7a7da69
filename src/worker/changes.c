/* One hook, two who listen: watched keys (watch.c) and keys that clients cache (tracking.c). The
 * hook is set only while one of them has something registered in the shard, so a write that nobody
 * listens to pays one branch.
 * Thread: holder of the shard. */
#include "changes.h"

#include "tracking.h"
#include "watch.h"

/* A key without ptr: the whole database. */
static void on_modified(void *ctx, struct shard *shard, db_id db, struct slice key)
{
    struct hub *hub = ctx;
    shard_id s = shard_id_of(shard);
    if (hub->watched[s].count) watch_on_modified(hub, shard, db, key);
    if (tracking_listens(hub, s))
        tracking_on_modified(hub->workers[hub->holders[s].by], s, key);
}

void changes_follow(struct hub *hub, shard_id s)
{
    bool any = hub->watched[s].count || tracking_listens(hub, s);
    shard_set_modified_hook(hub->shards[s], any ? on_modified : NULL, hub);
}
