/* Checksum lines of logs and manifests.
 * Thread: any (pure). */
#ifndef SPLITRING_PERSIST_AOF_LINE_INNER_H
#define SPLITRING_PERSIST_AOF_LINE_INNER_H

#include "splitring/persist/aof_file.h"

#define AOF_SUM_WORD "#CRC:"
#define AOF_LINE_MAX 1023u /* Redis reads annotations in lines of less than 1 KiB, their end too */

/* The line without its end. */
size_t aof_line_format(struct aof_sum sum, char out[AOF_SUM_LINE_MAX]);
/* The number in the line: over the bytes, and the lag if there is one. */
uint64_t aof_sum_final(struct aof_sum sum);
/* A line without its end; strictly what aof_line_format writes. */
bool aof_line_parse(struct slice line, struct aof_sum *sum);

#endif
