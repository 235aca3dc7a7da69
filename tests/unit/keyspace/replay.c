/* Replays and their coverage: see replay.h. Commands are noted by id for the whole program, because
 * one run of random commands reaches some of them and all runs together must reach all.
 * Thread: the test's. */
#include "replay.h"

#include "handler_watch.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static bool *wrote;
static struct snapshot_watch watch; /* of the one world that there is at a time */

void replay_init(struct handler_world *w, uint32_t shards, uint64_t seed)
{
    if (!wrote) wrote = calloc(command_count(), sizeof(*wrote));
    handler_init(w, shards, seed);
    w->wrote = wrote;
    snapshot_watch_init(&watch, w->shards, shards, w->env.databases, seed);
    w->watch = &watch;
}

void replay_check(struct handler_world *w, uint64_t seed, instant_ms now)
{
    struct handler_world replica;
    struct buf ours = {0}, theirs = {0};
    snapshot_watch_deinit(&watch);
    cr_expect(watch.cuts < 20 || watch.finished > 0);
    w->watch = NULL;
    handler_init(&replica, 1 + (uint32_t)(seed % 3), seed + 1);
    replica.env = w->env;
    replica.env.shard_count = replica.shard_count;
    replica.now = w->now;
    if (now) replica.replay_now = now;
    handler_replay(w, &replica);
    handler_dump(w, &ours);
    handler_dump(&replica, &theirs);
    buf_append_char(&ours, '\0');
    buf_append_char(&theirs, '\0');
    cr_assert_str_eq(ours.ptr, theirs.ptr, "seed %llu, %u shards\n%s---\n%s",
                     (unsigned long long)seed, w->shard_count, ours.ptr, theirs.ptr);
    buf_deinit(&ours);
    buf_deinit(&theirs);
    handler_deinit(w);
    handler_deinit(&replica);
}

void replay_covers(uint32_t acl, bool with, const char *const *except)
{
    for (size_t id = 0; id < command_count(); id++) {
        const struct command *cmd = command_at(id);
        if (!(cmd->flags & CMD_WRITE) || (cmd->acl & acl ? true : false) != with) continue;
        bool excepted = false;
        for (const char *const *name = except; *name && !excepted; name++)
            excepted = strcmp(cmd->name, *name) == 0;
        cr_expect(wrote[id] != excepted, "%s: %s", cmd->name,
                  excepted ? "it is covered after all" : "no run has seen an effect of it");
    }
}
