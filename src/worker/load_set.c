/* Loading a set of dumps (dumpset.h): each worker reads the parts that hold slots of its shard.
 *
 * As many workers as parts: each reads one of them, and no byte is read twice. Fewer workers: each
 * reads several. More, or a number that does not divide: those whose slots meet in a part read it
 * side by side and pass over each other's keys, as with a single dump (load.c). So nothing is
 * handed between threads here either, and each worker has seen the checksum of what it took.
 *
 * That is sound because a part is believed for nothing but its bytes: its size and checksum are
 * those of the manifest, whose ranges share out all slots, and a key outside the part's range ends
 * the start, instead of being passed over by all.
 * Thread: load_set_find: before the workers; else owner. */
#include "load.h"

#include <errno.h>
#include <stdio.h>

#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/io/file.h"
#include "splitring/io/log.h"
#include "splitring/io/os.h"

/* ---- finding ---- */

static void tell_found(const char *name, const struct dumpset_found *found, bool set)
{
    if (set)
        log_line(LOG_LEVEL_NOTICE, "The snapshot is a set of %u files: %s.%llu.*.rdb",
                 found->manifest.count, name, (unsigned long long)found->manifest.seq);
    if (found->other && set)
        log_line(LOG_LEVEL_WARNING, "%s is older than that set, and is not loaded", name);
    else if (found->other)
        log_line(LOG_LEVEL_WARNING, "%s is newer than the set that %s.manifest names, which is not "
                 "loaded", name, name);
}

int load_set_look(const struct config *config, struct dumpset_found *found)
{
    int rc = dumpset_find(config->dbfilename, found);
    if (rc < 0)
        log_line(LOG_LEVEL_WARNING, "Fatal error loading the DB from %s: %s. Nothing was changed.",
                 config->dir, found->why);
    else
        tell_found(config->dbfilename, found, found->set);
    return rc;
}

static shard_id first_reader(const struct hub *hub, const struct dumpset_part *part)
{
    return hub_shard_of_slot(hub, (uint16_t)part->slot_first);
}

static shard_id last_reader(const struct hub *hub, const struct dumpset_part *part)
{
    return hub_shard_of_slot(hub, (uint16_t)part->slot_last);
}

int load_set_find(struct hub *hub, const struct config *config)
{
    struct dumpset_found found;
    uint64_t work = 0;
    int rc = load_set_look(config, &found);
    if (rc < 0 || !found.set) {
        dumpset_found_deinit(&found);
        return rc;
    }
    struct dumpset_manifest *set = mem_zalloc(sizeof *set);
    *set = found.manifest;
    hub->persist.set = set;
    for (unsigned i = 0; i < set->count; i++) {
        const struct dumpset_part *part = &set->parts[i];
        unsigned readers = last_reader(hub, part) - first_reader(hub, part) + 1u;
        work += part->size * readers;
    }
    counter_set(&hub->persist.load_total_bytes, found.bytes);
    counter_set(&hub->persist.load_work_bytes, work);
    return LOAD_DONE;
}

void load_set_free(struct dumpset_manifest *set)
{
    if (set) dumpset_manifest_deinit(set);
    mem_free(set);
}

/* ---- a part ---- */

static const struct dumpset_part *part_of(const struct loader *l)
{
    return &l->set->parts[l->part];
}

static bool reads(const struct hub *hub, const struct loader *l)
{
    return l->own < 0 || (first_reader(hub, part_of(l)) <= (shard_id)l->own &&
                          (shard_id)l->own <= last_reader(hub, part_of(l)));
}

bool load_set_has(const struct loader *l, struct slice key)
{
    uint16_t slot = hash_slot(key);
    return part_of(l)->slot_first <= slot && slot <= part_of(l)->slot_last;
}

int load_set_refuse(struct loader *l, const struct rdb_item *item)
{
    return rdb_in_refuse(l->in, item, "A key that does not belong into this part");
}

size_t load_set_share(const struct hub *hub, const struct loader *l, shard_id shard, uint64_t keys)
{
    const struct dumpset_part *part = part_of(l);
    uint32_t first, last;
    dumpset_slots(shard, hub->count, &first, &last);
    if (first < part->slot_first) first = part->slot_first;
    if (last > part->slot_last) last = part->slot_last;
    uint32_t slots = last < first ? 0 : last - first + 1;
    return (size_t)(keys * slots / (part->slot_last - part->slot_first + 1));
}

static int open_part(struct worker *w, struct loader *l)
{
    l->tells = l->own < 0 || first_reader(w->hub, part_of(l)) == (shard_id)l->own;
    mem_free(l->name);
    l->name = dumpset_part_path(w->config->dbfilename, l->set->seq, l->part);
    return load_dump_open(l, l->name, w->hub->databases, w->config->rdb_checksum);
}

/* Its end is where the manifest says. */
static int end_part(struct loader *l)
{
    uint64_t at = rdb_in_offset(l->in);
    if (at != part_of(l)->size) {
        snprintf(l->why, sizeof l->why, "It ends at offset %llu, where the manifest says %llu",
                 (unsigned long long)at, (unsigned long long)part_of(l)->size);
        return -EBADMSG;
    }
    rdb_in_free(l->in);
    l->in = NULL;
    (void)file_close(l->fd);
    l->fd = -1;
    l->parts_bytes += at;
    l->part++;
    return 0;
}

int load_set_slice(struct worker *w, struct loader *l, uint64_t bytes)
{
    while (!l->in && l->part < l->set->count && !reads(w->hub, l)) l->part++;
    if (l->part == l->set->count) return LOAD_DONE;
    int rc = l->in ? 0 : open_part(w, l);
    if (rc < 0) {
        snprintf(l->why, sizeof l->why, "%s", os_error_text(rc));
        return rc;
    }
    rc = load_dump_bytes(w, l, bytes);
    if (rc < 0) snprintf(l->why, sizeof l->why, "%s", rdb_in_error(l->in));
    return rc == LOAD_DONE ? end_part(l) : rc;
}
