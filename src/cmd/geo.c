/* Places: GEOADD, GEOPOS, GEODIST, GEOHASH. Members of sorted sets whose scores are 52-bit hashes
 * of longitude and latitude; searching is in geo_search.c, the arithmetic in geo_hash.c.
 *
 * GEOADD is ZADD with scores made of coordinates, in its effect too, as in Redis.
 * Source: https://redis.io/docs/latest/commands/geoadd/ ; redis src/geo.c
 * Thread: holder of the call's shards. */
#include "geo.h"

#include <stdio.h>

#include "splitring/base/mem.h"
#include "splitring/base/num.h"

/* ---- arguments and replies ---- */

bool geo_parse_number(struct call *c, int at, double *out, enum error_id wrong)
{
    if (num_parse_double(c->argv[at], out)) return true;
    reply_error(&c->reply, wrong);
    return false;
}

bool geo_parse_place(struct call *c, int at, struct geo_place *place)
{
    if (!geo_parse_number(c, at, &place->lon, ERR_NOT_FLOAT) ||
        !geo_parse_number(c, at + 1, &place->lat, ERR_NOT_FLOAT))
        return false;
    if (place->lon >= -GEO_LON_MAX && place->lon <= GEO_LON_MAX && place->lat >= -GEO_LAT_MAX &&
        place->lat <= GEO_LAT_MAX)
        return true;
    char lon[400], lat[400];
    snprintf(lon, sizeof(lon), "%f", place->lon);
    snprintf(lat, sizeof(lat), "%f", place->lat);
    reply_errorf(&c->reply, ERR_GEO_PAIR, lon, lat);
    return false;
}

bool geo_parse_unit(struct call *c, int at, double *metres)
{
    if (call_is(c, at, "m")) *metres = 1;
    else if (call_is(c, at, "km")) *metres = 1000;
    else if (call_is(c, at, "ft")) *metres = 0.3048;
    else if (call_is(c, at, "mi")) *metres = 1609.34;
    else {
        reply_error(&c->reply, ERR_GEO_UNIT);
        return false;
    }
    return true;
}

bool geo_place_of_member(const struct entry *e, struct slice member, struct geo_place *place)
{
    double score;
    if (!zset_score(e, member, &score)) return false;
    *place = geo_place_of(score);
    return true;
}

void geo_reply_distance(struct call *c, double distance)
{
    char text[400];
    int len = snprintf(text, sizeof(text), "%.4f", distance);
    reply_bulk(&c->reply, text, (size_t)len);
}

static void reply_coordinate(struct call *c, double value)
{
    char text[NUM_LDOUBLE_LEN_MAX];
    size_t len = num_format_ldouble(text, (long double)value);
    if (c->reply.proto < 3) {
        reply_bulk(&c->reply, text, len);
        return;
    }
    reply_raw(&c->reply, ",", 1);
    reply_raw(&c->reply, text, len);
    reply_raw(&c->reply, "\r\n", 2);
}

void geo_reply_place(struct call *c, struct geo_place place)
{
    reply_array(&c->reply, 2);
    reply_coordinate(c, place.lon);
    reply_coordinate(c, place.lat);
}

/* ---- GEOADD ---- */

/* The arguments of ZADD; numbers holds a score per place. False: the error is written. */
static bool fill_zadd(struct call *c, int first, struct slice *argv,
                      char (*numbers)[NUM_I64_LEN_MAX])
{
    argv[0] = SLICE("ZADD");
    for (int i = 1; i < first; i++) argv[i] = c->argv[i];
    for (int i = 0; first + 3 * i < c->argc; i++) {
        struct geo_place place;
        if (!geo_parse_place(c, first + 3 * i, &place)) return false;
        struct geo_cell cell = geo_encode(place, GEO_LON_MAX, GEO_LAT_MAX, GEO_STEP_MAX);
        size_t len = num_format_u64(numbers[i], cell.bits);
        argv[first + 2 * i] = slice_of(numbers[i], len);
        argv[first + 2 * i + 1] = c->argv[first + 3 * i + 2];
    }
    return true;
}

void cmd_geoadd(struct call *c)
{
    bool nx = false, xx = false;
    int first = 2;
    for (; first < c->argc; first++) {
        if (call_is(c, first, "nx")) nx = true;
        else if (call_is(c, first, "xx")) xx = true;
        else if (!call_is(c, first, "ch")) break;
    }
    if ((c->argc - first) % 3 || (nx && xx)) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    size_t places = (size_t)(c->argc - first) / 3, argc = (size_t)first + 2 * places;
    char(*numbers)[NUM_I64_LEN_MAX] =
        mem_try_alloc(argc * sizeof(struct slice) + (places + 1) * sizeof(*numbers));
    if (!numbers) {
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    struct slice *argv = (struct slice *)(void *)numbers;
    char(*texts)[NUM_I64_LEN_MAX] = (void *)(argv + argc);
    if (fill_zadd(c, first, argv, texts)) {
        struct call zadd = *c;
        zadd.argv = argv;
        zadd.argc = (int)argc;
        zadd.args = NULL;
        cmd_zadd(&zadd);
        c->dirty = zadd.dirty;
        c->reply = zadd.reply;
        c->ks = zadd.ks;
    }
    mem_free(numbers);
}

/* ---- GEOPOS, GEOHASH, GEODIST ---- */

void cmd_geopos(struct call *c)
{
    struct entry *e;
    struct geo_place place;
    if (!zset_read(c, c->argv[1], &e)) return;
    reply_array(&c->reply, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        if (e && geo_place_of_member(e, c->argv[i], &place)) geo_reply_place(c, place);
        else reply_null_array(&c->reply);
    }
}

/* The geohash that others write: latitude from -90 to 90, eleven letters, of which ours has ten. */
static void reply_geohash(struct call *c, struct geo_place place)
{
    static const char letters[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    struct geo_cell cell = geo_encode(place, 180, 90, GEO_STEP_MAX);
    char text[11];
    for (unsigned i = 0; i < 10; i++) text[i] = letters[cell.bits >> (47 - 5 * i) & 31];
    text[10] = '0';
    reply_bulk(&c->reply, text, sizeof(text));
}

void cmd_geohash(struct call *c)
{
    struct entry *e;
    struct geo_place place;
    if (!zset_read(c, c->argv[1], &e)) return;
    reply_array(&c->reply, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        if (e && geo_place_of_member(e, c->argv[i], &place)) reply_geohash(c, place);
        else reply_null(&c->reply);
    }
}

void cmd_geodist(struct call *c)
{
    struct entry *e;
    struct geo_place a, b;
    double unit = 1;
    if (c->argc > 5) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    if (c->argc == 5 && !geo_parse_unit(c, 4, &unit)) return;
    if (!zset_read(c, c->argv[1], &e)) return;
    if (e && geo_place_of_member(e, c->argv[2], &a) && geo_place_of_member(e, c->argv[3], &b))
        geo_reply_distance(c, geo_distance(a, b) / unit);
    else reply_null(&c->reply);
}
