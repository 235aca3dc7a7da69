/* The Redis whose behaviour we promise; clients, tools and scripts decide by it.
 * Thread: any (constants). */
#ifndef SPLITRING_BASE_VERSION_H
#define SPLITRING_BASE_VERSION_H

#define REDIS_VERSION_SHOWN "7.2.4"
#define REDIS_VERSION_SHOWN_NUM 0x00070204 /* redis.REDIS_VERSION_NUM: a byte per part */

#endif
