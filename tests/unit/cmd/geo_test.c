/* Places: effects, newer options, arguments. Replies of thousands of random searches are compared
 * with Redis' by tests/compat/gen_geo.py.
 * Expectations: https://redis.io/docs/latest/commands/geosearch/ */
#include <criterion/criterion.h>

#include "script.h"

#define SYNTAX "-ERR syntax error\r\n"
#define SICILY \
    {"GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", ":2\r\n", \
     "ZADD s 3479099956230698 Palermo 3479447370796909 Catania"}

/* clang-format off */
Test(geo, adding)
{
    SCRIPT(SICILY,
           {"GEOADD s NX 1 1 Palermo", ":0\r\n", NULL},
           {"GEOADD s CH XX 13.37 38.2 Palermo", ":1\r\n",
            "ZADD s CH XX 3479101033406117 Palermo"},
           {"GEOADD s 181 1 x",
            "-ERR invalid longitude,latitude pair 181.000000,1.000000\r\n", NULL},
           {"GEOADD s 1 86 x", "-ERR invalid longitude,latitude pair 1.000000,86.000000\r\n", NULL},
           {"GEOADD s a 1 x", "-ERR value is not a valid float\r\n", NULL},
           {"GEOADD s 1 2 x y", "-ERR syntax error\r\n", NULL},
           {"GEOADD s NX XX 1 1 x", SYNTAX, NULL},
           {"ZCARD s", ":2\r\n", NULL});
}

Test(geo, reading)
{
    SCRIPT(SICILY,
           {"GEOHASH s Palermo x", "*2\r\n$11\r\nsqc8b49rny0\r\n$-1\r\n", NULL},
           {"GEOPOS s Palermo x",
            "*2\r\n*2\r\n$20\r\n13.36138933897018433\r\n$20\r\n38.11555639549629859\r\n*-1\r\n",
            NULL},
           {"GEODIST s Palermo Catania", "$11\r\n166274.1516\r\n", NULL},
           {"GEODIST s Palermo Catania km", "$8\r\n166.2742\r\n", NULL},
           {"GEODIST s Palermo x", "$-1\r\n", NULL},
           {"GEODIST s Palermo Catania mm",
            "-ERR unsupported unit provided. please use M, KM, FT, MI\r\n", NULL},
           {"GEOHASH none a", "*1\r\n$-1\r\n", NULL});
}

Test(geo, searching)
{
    SCRIPT(SICILY,
           {"GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 200 km ASC",
            "*2\r\n$7\r\nCatania\r\n$7\r\nPalermo\r\n", NULL},
           {"GEOSEARCH s FROMMEMBER Catania BYBOX 10 10 km WITHDIST WITHHASH",
            "*1\r\n*3\r\n$7\r\nCatania\r\n$6\r\n0.0000\r\n:3479447370796909\r\n", NULL},
           {"GEORADIUS_RO s 15 37 100 km", "*1\r\n$7\r\nCatania\r\n", NULL},
           {"GEORADIUS s 15 37 200 km STORE d", ":2\r\n", SAME},
           {"ZSCORE d Palermo", "$16\r\n3479099956230698\r\n", NULL},
           {"GEORADIUS s 15 37 200 km STORE x STOREDIST d", ":2\r\n", SAME},
           {"EXISTS x", ":0\r\n", NULL},
           {"GEOSEARCHSTORE d s FROMLONLAT 0 0 BYRADIUS 1 m", ":0\r\n", SAME},
           {"EXISTS d", ":0\r\n", NULL},
           {"GEORADIUSBYMEMBER none x 1 km STORE d", ":0\r\n", NULL},
           {"GEORADIUSBYMEMBER s x 1 km", "-ERR could not decode requested zset member\r\n", NULL},
           {"GEORADIUS_RO s 15 37 200 km STORE d", SYNTAX, NULL},
           {"GEORADIUS s 15 37 200 km STORE d WITHDIST",
            "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and "
            "WITHCOORD "
            "options\r\n", NULL},
           {"GEORADIUS s 15 37 -1 km", "-ERR radius cannot be negative\r\n", NULL},
           {"GEOSEARCH s BYRADIUS 1 km ASC DESC",
            "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH\r\n",
            NULL},
           {"geosearch s FROMLONLAT 1 1 ASC DESC",
            "-ERR exactly one of BYRADIUS and BYBOX can be specified for geosearch\r\n", NULL},
           {"GEOSEARCH s FROMLONLAT 1 1 BYRADIUS 1 m ANY",
            "-ERR the ANY argument requires COUNT argument\r\n", NULL},
           {"GEOSEARCH s FROMLONLAT 1 1 BYRADIUS 1 m COUNT 0", "-ERR COUNT must be > 0\r\n", NULL});
}

/* Valkey 9. */
Test(geo, searching_in_a_polygon)
{
    SCRIPT(SICILY,
           {"GEOSEARCH s BYPOLYGON 4 12 37 16 37 16 39 12 39 WITHDIST",
            "*2\r\n*2\r\n$7\r\nPalermo\r\n$10\r\n56987.4933\r\n*2\r\n$7\r\nCatania\r\n"
            "$11\r\n111411.0839\r\n", NULL},
           {"GEOSEARCH s BYPOLYGON 3 12 37 16 37 16 39 ASC", "*1\r\n$7\r\nCatania\r\n", NULL},
           {"GEOSEARCHSTORE d s BYPOLYGON 3 12 37 16 37 16 39", ":1\r\n", SAME},
           {"GEOSEARCH s BYPOLYGON 2 12 37 16 37 ASC",
            "-ERR GEOSEARCH BYPOLYGON must have at least 3 vertices\r\n", NULL},
           {"GEOSEARCH s BYPOLYGON 2147483647 12 37 16 37 16 39",
            "-ERR GEOSEARCH BYPOLYGON must have at least 3 vertices\r\n", NULL},
           {"GEOSEARCH s BYPOLYGON x 12 37 16 37 16 39",
            "-ERR invalid number of vertices\r\n", NULL},
           {"GEOSEARCH s FROMMEMBER Palermo BYPOLYGON 3 12 37 16 37 16 39", SYNTAX, NULL},
           {"GEOSEARCH s BYPOLYGON 3 12 37 16 37 16 39 BYRADIUS 1 m", SYNTAX, NULL});
}

/* Any double is a score; a place comes of it, and nothing else happens. */
Test(geo, scores_that_are_no_places)
{
    SCRIPT({"ZADD s inf a -inf b 1e300 c -1e300 d -1 e 1e19 f", ":6\r\n", SAME},
           {"GEODIST s a a", "$6\r\n0.0000\r\n", NULL},
           {"GEODIST s b c m", "$6\r\n0.0257\r\n", NULL},
           {"GEOSEARCH s FROMMEMBER e BYRADIUS 1 m", "*0\r\n", NULL});
}
/* clang-format on */
