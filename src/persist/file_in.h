/* Inside the reader of dumps: its state, shared by file_in.c (items one after the other) and
 * file_plain.c (whole records ahead).
 * Thread: owner of the reader. */
#ifndef SPLITRING_PERSIST_FILE_IN_INNER_H
#define SPLITRING_PERSIST_FILE_IN_INNER_H

#include "splitring/persist/rdb_file.h"
#include "types.h"

#define NO_TYPE UINT32_MAX

struct rdb_in {
    struct rdb_reader r;
    struct rdb_source source;
    struct rdb_in_options options;
    unsigned version;
    unsigned type; /* of the value that is due; NO_TYPE: none is */
    uint32_t db;
    uint64_t offset; /* of the item at hand */
    struct rdb_text key, text;
    int failed;
    char error[400];
    size_t names_len;
    char names[RDB_PLAIN_NAMES]; /* of plain records, those that are coded */
};

/* Notes why the reader has stopped in the value of the key at hand; returns what is wrong. */
int file_in_fail_value(struct rdb_in *in);
/* The key at hand has been put (rc), and there were so many keys before: its access time, too. */
int file_in_put_rest(struct rdb_in *in, struct ks *ks, int rc, size_t keys_before, int64_t idle_s,
                     int freq);

#endif
