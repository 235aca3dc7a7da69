/* A disk of the simulator: files and folders as a process sees them, and what of them a power loss
 * leaves.
 * Thread: one. */
#ifndef SPLITRING_TESTS_SIM_DISK_H
#define SPLITRING_TESTS_SIM_DISK_H

#include "splitring/base/rng.h"
#include "splitring/base/types.h"

struct sim_disk;

struct sim_disk *sim_disk_new(struct rng *rng);
void sim_disk_free(struct sim_disk *disk);

/* Called before and within whatever changes the disk: a crash may come there, and others run. */
typedef void (*sim_disk_hook)(void *ctx);
void sim_disk_set_hook(struct sim_disk *disk, sim_disk_hook hook, void *ctx);

/* From now on about one call in `one_in` fails, `most` of them; 0: none. */
void sim_disk_fail(struct sim_disk *disk, unsigned one_in, unsigned most);

/* What is found after a power loss: a disk of its own. Of every sector that was not synced it is
 * drawn if it is there, of every folder how many of its changes; kept_percent 100: the process
 * died, the page cache did not. */
struct sim_disk *sim_disk_after_crash(const struct sim_disk *disk, struct rng *rng,
                                      unsigned kept_percent);
/* Everything on it, to stderr. */
void sim_disk_print(const struct sim_disk *disk);

#endif
