/* What the handlers of places share.
 * Thread: holder of the call's shards. */
#ifndef SPLITRING_SRC_CMD_GEO_H
#define SPLITRING_SRC_CMD_GEO_H

#include "geo_impl.h"
#include "zset_impl.h"

/* All three write the error when they return false. */
bool geo_parse_place(struct call *c, int at, struct geo_place *place); /* two arguments */
bool geo_parse_unit(struct call *c, int at, double *metres);
bool geo_parse_number(struct call *c, int at, double *out, enum error_id wrong);
bool geo_place_of_member(const struct entry *e, struct slice member, struct geo_place *place);
void geo_reply_distance(struct call *c, double distance); /* four digits behind the point */
void geo_reply_place(struct call *c, struct geo_place place);

#endif
