/* Files of RDB, read and written as streams: dump.rdb of Redis up to 8.0 and of Valkey up to 9.
 *
 * Nothing here opens a file: bytes come from a callback and go to one. A reader gives one item
 * after the other; at most one element of a value, or a packed block, is in memory beside what is
 * built.
 * Source: https://rdb.fnordig.de/file_format.html ; redis and valkey src/rdb.c for behaviour
 * Thread: owner of the reader or writer; holder of the shards whose values are made or read. */
#ifndef SPLITRING_PERSIST_RDB_FILE_H
#define SPLITRING_PERSIST_RDB_FILE_H

#include <sys/types.h>

#include "splitring/persist/rdb.h"

#define RDB_HEADER_LEN 9u

/* ---- reading ---- */

enum rdb_item_kind {
    RDB_ITEM_AUX,       /* name, value */
    RDB_ITEM_FUNCTION,  /* value: a library's code */
    RDB_ITEM_DB,        /* db: keys from here on are in it */
    RDB_ITEM_SIZES,     /* keys, expires: of the database, a hint */
    RDB_ITEM_NOTE,      /* value: a sentence for the log about what is skipped */
    RDB_ITEM_KEY,       /* key, db, expire, idle_s, freq: rdb_in_value or rdb_in_skip must follow */
    RDB_ITEM_END        /* and the checksum was right */
};

/* Slices stay until the next call; the key's until the next item. */
struct rdb_item {
    enum rdb_item_kind kind;
    uint64_t offset;   /* in the file, of its first byte */
    struct slice name, value, key;
    uint32_t db;
    uint64_t keys, expires;
    instant_ms expire; /* EXPIRE_NONE: for ever */
    int64_t idle_s;    /* -1: not told */
    int freq;          /* -1: not told */
    enum value_type type; /* of a key */
};

struct rdb_in_options {
    ssize_t (*read)(void *ctx, char *ptr, size_t len); /* bytes; 0: the end; a negative errno */
    void *ctx;
    uint64_t size;      /* of the file in bytes; UINT64_MAX: not known */
    uint32_t databases; /* a higher number is an error */
    bool skip_checksum;
};

struct rdb_in;

struct rdb_in *rdb_in_new(const struct rdb_in_options *options) WARN_UNUSED;
void rdb_in_free(struct rdb_in *in);
/* 0, RDB_E_FORMAT, or a negative errno: then the file is of no more use. */
int rdb_in_next(struct rdb_in *in, struct rdb_item *item) WARN_UNUSED;
int rdb_in_skip(struct rdb_in *in) WARN_UNUSED;
/* The value that is to live under the key; limits must stay as long as *v. RDB_E_EMPTY: a
 * collection without elements, there is no value and the file goes on. */
int rdb_in_value(struct rdb_in *in, struct ks *ks, const struct rdb_limits *limits,
                 struct rdb_value *v) WARN_UNUSED;
/* The value of the key that was given last, put under it straight away; 0, RDB_E_EMPTY or as
 * above. RDB_E_TWICE: the key was there (the new value has replaced the old one). */
int rdb_in_put(struct rdb_in *in, struct ks *ks, const struct rdb_limits *limits,
               const struct rdb_item *item) WARN_UNUSED;

/* A key and its value that lie in memory as a whole. Key and value stay until the next
 * rdb_in_next, a key that is coded until rdb_in_plain_begin. */
struct rdb_plain {
    struct slice key;
    const char *value, *end; /* as they stand in the file */
    uint64_t offset;         /* of the item */
    instant_ms expire;       /* as of an item, as the rest */
    int32_t idle_s, freq;
    uint32_t db;
    unsigned type;
};
#define RDB_PLAIN_NAMES 4096u
/* Before the first of several that are found together. */
void rdb_in_plain_begin(struct rdb_in *in);
/* The next item, if it is one of these: it counts as used then, whether it is put or not. False:
 * nothing has happened, and rdb_in_next is to say what comes (those found before are put first, if
 * they are). */
bool rdb_in_plain(struct rdb_in *in, struct rdb_plain *plain) WARN_UNUSED;
/* As rdb_in_put. */
int rdb_in_put_plain(struct rdb_in *in, struct ks *ks, const struct rdb_limits *limits,
                     const struct rdb_plain *plain) WARN_UNUSED;

uint64_t rdb_in_offset(const struct rdb_in *in);  /* bytes used so far */
uint64_t rdb_in_left(const struct rdb_in *in);    /* of the file, as far as its size is known */
unsigned rdb_in_version(const struct rdb_in *in); /* of the header; 0: not read yet */
/* What went wrong and at which offset, as one line. */
const char *rdb_in_error(const struct rdb_in *in);
/* Notes an error of the caller's about the last item in that line; returns RDB_E_FORMAT. */
int rdb_in_refuse(struct rdb_in *in, const struct rdb_item *item, const char *why);

/* ---- writing ---- */

struct rdb_out_options {
    int (*write)(void *ctx, const char *ptr, size_t len); /* all of it: 0 or a negative errno */
    void *ctx;
    unsigned version; /* the reader's: 10 or more */
    bool exact;       /* newer types where those of `version` would lose something */
    bool compress, checksum;
    bool idle, freq;  /* each key's idle time, or its frequency, is written */
    bool piece;       /* no header and no end: a piece for rdb_out_raw of another writer */
};

struct rdb_out;

struct rdb_out *rdb_out_new(const struct rdb_out_options *options) WARN_UNUSED;
void rdb_out_free(struct rdb_out *out);
void rdb_out_aux(struct rdb_out *out, const char *name, struct slice value);
void rdb_out_function(struct rdb_out *out, struct slice code);
void rdb_out_db(struct rdb_out *out, uint32_t db, uint64_t keys, uint64_t expires);
/* Keys from here on are in it; nothing is said about how many. */
void rdb_out_select(struct rdb_out *out, uint32_t db);
/* What a writer of pieces made, which used types of that version. */
void rdb_out_raw(struct rdb_out *out, struct slice piece, unsigned version);
/* All that was put so far goes to the callback; 0 or what is wrong. */
int rdb_out_flush(struct rdb_out *out) WARN_UNUSED;
unsigned rdb_out_version(const struct rdb_out *out); /* of the newest type so far */
/* e as it lies in the view; false: something failed before, nothing more is written. */
bool rdb_out_key(struct rdb_out *out, const struct ks *ks, const struct entry *e);
/* The same with an expiry and access times (-1: none is written) of the caller's. */
bool rdb_out_key_as(struct rdb_out *out, const struct entry *e, instant_ms expire, int64_t idle_s,
                    int freq);
/* A value in pieces, as keyspace/snapshot.h tells it: e has name, type and expiry, no value; then
 * `count` parts, and nothing else in between. */
struct snapshot_part;
void rdb_out_big(struct rdb_out *out, const struct entry *e, int64_t idle_s, int freq,
                 uint64_t count, instant_ms lowest);
void rdb_out_part(struct rdb_out *out, enum value_type type, const struct snapshot_part *part);
uint64_t rdb_out_bytes(const struct rdb_out *out);
uint64_t rdb_out_crc(const struct rdb_out *out); /* after rdb_out_end: as it stands in the file */
/* 0, a negative errno of write, or -ENOMEM. The version is known only now: if *changed, the file's
 * first RDB_HEADER_LEN bytes are to be replaced by `header` (the checksum is already right for
 * it). */
int rdb_out_end(struct rdb_out *out, char header[RDB_HEADER_LEN + 1], bool *changed) WARN_UNUSED;

/* ---- files on a disk ---- */

/* rdb_in_options.read; ctx: int *fd. */
ssize_t rdb_disk_read(void *fd, char *ptr, size_t len);

/* A file written aside and put in place when it is whole and on the disk. */
struct rdb_disk {
    const char *aside; /* its name until then */
    int fd;            /* < 0: not open */
    uint64_t written, begun; /* bytes; of these the kernel was told to write */
    uint64_t settled;        /* and was seen to have written */
    bool late;               /* it need not begin before the sync */
};
int rdb_disk_create(struct rdb_disk *d, const char *aside) WARN_UNUSED;
/* rdb_out_options.write; ctx: struct rdb_disk *. */
int rdb_disk_write(void *disk, const char *ptr, size_t len);
/* Waits for the next few MiB that the kernel was told to write, unless no more than `behind` bytes
 * are left of these: 1 (it has waited, call again), 0 (nothing to wait for) or a negative errno. So
 * the sync at the end is short, and who has other files to write gets his turn in between. */
int rdb_disk_settle(struct rdb_disk *d, uint64_t behind) WARN_UNUSED;
/* Ends the dump, syncs the file and gives it its name: 0 or a negative errno (then it is gone). */
int rdb_disk_finish(struct rdb_disk *d, struct rdb_out *out, const char *path) WARN_UNUSED;
/* The same without the name: it stays aside, whole and on the disk. */
int rdb_disk_end(struct rdb_disk *d, struct rdb_out *out) WARN_UNUSED;
void rdb_disk_cancel(struct rdb_disk *d);

#endif
