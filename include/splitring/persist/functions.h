/* Libraries of functions in the format of RDB: what FUNCTION DUMP gives and FUNCTION RESTORE takes,
 * their texts one after the other. And the outcomes of reading any payload.
 * Thread: any (pure). */
#ifndef SPLITRING_PERSIST_FUNCTIONS_H
#define SPLITRING_PERSIST_FUNCTIONS_H

#include "splitring/base/buf.h"

#define RDB_E_FORMAT 1      /* no value of ours: damaged, hostile, of a module */
#define RDB_E_PAYLOAD 2     /* wrong checksum, or of a version that is not known */
#define RDB_E_NO_FUNCTION 3 /* a sound payload, of something else */
#define RDB_E_STOPPED 4     /* the callback said false */
#define RDB_E_EMPTY 5       /* in a file: a collection without elements (an old bug of Redis) */
#define RDB_E_TWICE 6       /* in a file: the key was there already */

/* Appends the payload; its version is 10. */
void rdb_dump_functions(const struct slice *texts, size_t count, bool compress, struct buf *out);
/* Calls each() with every text in turn. 0, RDB_E_*, -ENOMEM. */
int rdb_each_function(struct slice payload, bool (*each)(void *ctx, struct slice text),
                      void *ctx) WARN_UNUSED;

#endif
