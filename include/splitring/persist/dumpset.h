/* A snapshot as a set of files: a dump per shard, each of them one that any Redis reads, and a
 * manifest that says which belong together (snapshot-layout shards). With dbfilename dump.rdb:
 *
 *   dump.rdb.manifest      the set that counts; where there is none, none ever was
 *   dump.rdb.<seq>.<n>.rdb   part n of set number seq
 *
 *   #CRC:<16 hex digits>:<n>            over the n bytes behind this line
 *   splitring-snapshot 1
 *   seq 7
 *   time 1790000000                     of the cut, unix time in seconds
 *   part 0 slots 0-8191 size 5120 crc 6d3f…   a line per part; crc is the dump's own, at its end
 *   part 1 slots 8192-16383 size …
 *   older size 910 crc 77ab…            the whole dump that this set took the place of
 *   newer size 1021 crc 31c0…           the one that takes the place of this set
 *
 * No clock decides between a set and a dump.rdb beside it: each of the two lines, which may be
 * missing, tells the dump by its mark (its length, and a checksum over its first and last 4 KiB).
 * Thread: any; owner of the struct. */
#ifndef SPLITRING_PERSIST_DUMPSET_H
#define SPLITRING_PERSIST_DUMPSET_H

#include "splitring/persist/rdb_file.h"

#define DUMPSET_PARTS_MAX 1024u

/* ---- the manifest, as text ---- */

struct dumpset_part {
    uint32_t slot_first, slot_last; /* of the keys in it */
    uint64_t size, crc;             /* crc 0: the dump was made without a checksum */
};

struct dumpset_mark {
    bool known; /* false: there is no such dump */
    uint64_t size, crc;
};

/* {0}: there is no set. */
struct dumpset_manifest {
    uint64_t seq; /* the next set has a higher one */
    int64_t time_s;
    struct dumpset_part *parts; /* in the order of slots, which they share out among them */
    unsigned count;             /* 0: there is no set, and what lies around is of one that failed */
    struct dumpset_mark older, newer;
};

void dumpset_manifest_deinit(struct dumpset_manifest *m); /* back to {0} */
void dumpset_manifest_format(const struct dumpset_manifest *m, struct buf *out);
/* NULL, or what is wrong with it; then *line is the number of the line. *m is new. */
const char *dumpset_manifest_parse(struct dumpset_manifest *m, struct slice text, unsigned *line);
/* The text is the manifest of a set, perhaps a damaged one, and not of an append log. */
bool dumpset_manifest_is(struct slice text);
/* Slots of a part, as shards share them out. */
void dumpset_slots(unsigned part, unsigned count, uint32_t *first, uint32_t *last);

/* ---- files: `dump` is the path of the whole dump, there or not ---- */

char *dumpset_manifest_path(const char *dump) WARN_UNUSED; /* mem_free */
char *dumpset_part_path(const char *dump, uint64_t seq, unsigned part) WARN_UNUSED;

struct dumpset_found {
    bool set;   /* the set counts; else the dump, if there is one */
    bool other; /* what does not count is there, too, and is older */
    struct dumpset_manifest manifest; /* of a set that counts */
    uint64_t bytes;                   /* of all its parts */
    char why[1400];
};

/* What is to be loaded. 0; or a negative errno, and `why` is a sentence: the manifest is damaged or
 * has gone, a part is not what it says, or nobody can know which of two is newer. */
int dumpset_find(const char *dump, struct dumpset_found *found) WARN_UNUSED;
void dumpset_found_deinit(struct dumpset_found *found);
/* Are the parts there, with the sizes and checksums that the manifest says? Only their ends are
 * read. *bytes: of all of them. Else a negative errno and a sentence. */
int dumpset_check_parts(const char *dump, const struct dumpset_manifest *m, uint64_t *bytes,
                        char *why, size_t why_cap) WARN_UNUSED;

/* ---- writing ---- */

struct dumpset_file {
    struct rdb_disk disk; /* rdb_out_options.ctx, with rdb_disk_write */
    char *path;
};

/* A set on its way. Until dumpset_commit nothing of what was there has changed. */
struct dumpset {
    char *dump, *manifest;
    uint64_t seq;
    struct dumpset_file *files; /* by part */
    unsigned count;             /* 0: none is on its way */
};

/* Its files, empty; a negative errno: there is nothing. */
int dumpset_create(struct dumpset *set, const char *dump, unsigned count) WARN_UNUSED;
/* Ends the dumps and makes the set the one that counts: 0, and it is on the disk, or a negative
 * errno. outs: by part. keep: what is older stays where it is. */
int dumpset_commit(struct dumpset *set, struct rdb_out *const *outs, int64_t time_s,
                   bool keep) WARN_UNUSED;
void dumpset_cancel(struct dumpset *set);

/* rdb_disk_finish for a whole dump that counts from now on, whatever set lies beside it. */
int dumpset_finish_dump(struct rdb_disk *d, struct rdb_out *out, const char *dump,
                        bool keep) WARN_UNUSED;

#endif
