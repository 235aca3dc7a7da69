/* Scalars that mean one thing everywhere: ids and units.
 * Thread: any (plain values). */
#ifndef SPLITRING_BASE_TYPES_H
#define SPLITRING_BASE_TYPES_H

#include <assert.h> /* static_assert */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A shard and the worker that owns it have the same number. */
typedef uint16_t shard_id;
typedef uint16_t worker_id;
typedef uint16_t db_id;

/* Unix time in milliseconds / microseconds. */
typedef int64_t instant_ms;
typedef int64_t instant_us;

#define SHARDS_MAX 32u        /* SCAN cursors leave five bits for the shard */
#define SLOT_COUNT 16384u     /* Redis Cluster specification, "Key distribution model" */
#define CACHE_LINE 64u

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define WARN_UNUSED __attribute__((warn_unused_result))

#define CONTAINER_OF(ptr, type, member) \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#endif
