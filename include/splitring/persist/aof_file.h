/* Files of the append log: Redis 7's manifest, and logs with or without checksums.
 *
 *   #CRC:0000000000000000:0\r\n          the first line of a log of ours: the mark
 *   *3\r\n$3\r\nSET\r\n…                 commands, and #TS:<seconds>\r\n lines, as Redis has them
 *   #CRC:<16 hex digits>:<n>\r\n         behind each flush: CRC-64 of the n bytes since the last
 *                                        such line
 *   #CRC:<16 hex digits>:<n>:<lag>\r\n   the same, when the lag bytes before those were not yet
 *                                        synced; the sum is over `:<lag>`, too
 *
 * Redis passes over lines that begin with '#'. A manifest of ours begins with a line
 * `#CRC:<16 hex digits>:<n>\n` over the n bytes behind it.
 * Nothing here opens a file.
 * Source: redis src/aof.c for behaviour; https://redis.io/docs/latest/operate/oss_and_stack/
 * management/persistence/
 * Thread: owner of the struct. */
#ifndef SPLITRING_PERSIST_AOF_FILE_H
#define SPLITRING_PERSIST_AOF_FILE_H

#include <sys/types.h>

#include "splitring/base/buf.h"
#include "splitring/resp/parse.h"

enum { AOF_E_TORN = 40, AOF_E_FORMAT };

/* ---- checksums, for who writes ---- */

#define AOF_MARK "#CRC:0000000000000000:0\r\n"
#define AOF_SUM_LINE_MAX 72u

/* Over the bytes of a file since its last #CRC line. {0}: right behind one. */
struct aof_sum {
    uint64_t crc, bytes;
    uint64_t lag; /* bytes before those that were not yet synced when these were written */
};

void aof_sum_add(struct aof_sum *sum, const char *ptr, size_t len);
/* The line that closes the block, without a terminator: its length. What was there is now covered,
 * and *sum is {0}. */
size_t aof_sum_line(struct aof_sum *sum, char out[AOF_SUM_LINE_MAX]);

/* ---- the manifest ---- */

#define AOF_NAME_MAX 255u

enum aof_type { AOF_BASE = 'b', AOF_HISTORY = 'h', AOF_INCR = 'i' };

struct aof_file {
    char name[AOF_NAME_MAX + 1]; /* within appenddirname */
    int64_t seq;
    enum aof_type type;
};

/* {0} is an empty one. Files of one type are in the order in which they were added. */
struct aof_manifest {
    struct aof_file *files;
    unsigned count, cap;
};

void aof_manifest_deinit(struct aof_manifest *m); /* back to {0} */
void aof_manifest_copy(struct aof_manifest *m, const struct aof_manifest *from); /* m: new */
/* NULL, or what Redis would say about it; then *line is the number of the line (0: none) and *at
 * where it begins in the text. *m is new. */
const char *aof_manifest_parse(struct aof_manifest *m, struct slice text, unsigned *line,
                               size_t *at) WARN_UNUSED;
/* Its text, to replace the file with at once (os_file_replace). */
void aof_manifest_format(const struct aof_manifest *m, struct buf *out);
const struct aof_file *aof_manifest_base(const struct aof_manifest *m);      /* or NULL */
const struct aof_file *aof_manifest_last_incr(const struct aof_manifest *m); /* or NULL */
/* The largest number of a base, or of an incr or history file; 0: none. */
int64_t aof_manifest_seq(const struct aof_manifest *m, enum aof_type type);
/* The name is at most AOF_NAME_MAX bytes. */
void aof_manifest_add(struct aof_manifest *m, enum aof_type type, int64_t seq, struct slice name);
/* Base and incr files become history, except the last `keep` incr files. */
void aof_manifest_retire(struct aof_manifest *m, unsigned keep_incr);
void aof_manifest_forget(struct aof_manifest *m, unsigned index);

/* Names as Redis gives them: "appendonly.aof.1.base.rdb", "….2.incr.aof", "….manifest". False: too
 * long. */
bool aof_name(char out[AOF_NAME_MAX + 1], const char *appendfilename, int64_t seq,
              enum aof_type type, bool rdb) WARN_UNUSED;
bool aof_name_manifest(char out[AOF_NAME_MAX + 1], const char *appendfilename) WARN_UNUSED;

/* ---- reading a log ---- */

enum aof_item_kind {
    AOF_ITEM_COMMAND,
    AOF_ITEM_STAMP, /* #TS: */
    AOF_ITEM_SUM,   /* #CRC:, the mark too */
    AOF_ITEM_NOTE,  /* another line with '#' */
    AOF_ITEM_END
};

struct aof_item {
    enum aof_item_kind kind;
    uint64_t offset, end; /* in the file: from, up to */
    struct arg *argv;     /* of a command, until the next call; blob is NULL */
    int argc;
    int64_t stamp;        /* of a stamp, unix time in seconds */
    struct aof_sum sum;   /* of a sum: what it says */
    struct slice line;    /* of a line, without its end */
    struct slice bytes;   /* all of it */
};

struct aof_in_options {
    /* Bytes from an offset on; 0: the end; a negative errno. */
    ssize_t (*read)(void *ctx, uint64_t offset, char *ptr, size_t len);
    void *ctx;
    uint64_t offset; /* where commands begin: behind an RDB preamble */
    uint64_t size;   /* of the file, or how much of it is read */
};

struct aof_in;

struct aof_in *aof_in_new(const struct aof_in_options *options) WARN_UNUSED;
void aof_in_free(struct aof_in *in);
/* 0; AOF_E_TORN: it ends within the item; AOF_E_FORMAT; -ENOMEM or a negative errno of read. item's
 * offset is set always. Nothing is judged but the form: see aof_scan. */
int aof_in_next(struct aof_in *in, struct aof_item *item) WARN_UNUSED;
uint64_t aof_in_offset(const struct aof_in *in);

/* ---- what of a log can be loaded ---- */

enum aof_verdict {
    AOF_WHOLE,
    AOF_TORN,       /* it ends, or was never written, within something: [valid, size) is to go */
    AOF_TORN_MULTI, /* … within a MULTI that lacks its EXEC */
    AOF_DAMAGED
};

struct aof_scan {
    struct aof_in *in;
    struct aof_in_options options;
    enum aof_verdict verdict;  /* when it has ended */
    uint64_t valid;            /* whole units, as far as they go */
    uint64_t bad;              /* where the damage, or what is torn, begins */
    uint64_t commands;         /* in [0, valid) */
    bool marked;               /* it has checksums */
    struct aof_sum valid_sum;  /* since the last #CRC line in [0, valid): to go on from */
    const char *why;           /* a word about what is wrong, or NULL */
    /* The scan's own: where the last #CRC line that was right ends, and what `valid`, its sum and
     * `commands` were then. */
    uint64_t summed, sure, sure_commands, seen, multi_at;
    struct aof_sum sum, sure_sum;
    bool in_multi;
};

void aof_scan_begin(struct aof_scan *scan, const struct aof_in_options *options);
/* About so many bytes more. 0: there is more; 1: it has ended and there is a verdict; or a negative
 * errno. */
int aof_scan_step(struct aof_scan *scan, uint64_t bytes) WARN_UNUSED;
void aof_scan_end(struct aof_scan *scan);

#endif
