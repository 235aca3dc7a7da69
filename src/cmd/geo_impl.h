/* Places on the globe as 52-bit numbers, and the areas that searches look into (geo_hash.c).
 *
 * A place is longitude and latitude in degrees, latitude within ±85.05112878 (Web Mercator). A cell
 * is the place's hash cut to 2 × step bits: latitude in the even bits, longitude in the odd ones.
 * Thread: any (pure). */
#ifndef SPLITRING_SRC_CMD_GEO_IMPL_H
#define SPLITRING_SRC_CMD_GEO_IMPL_H

#include "splitring/base/types.h"

#define GEO_STEP_MAX 26u
#define GEO_LON_MAX 180.0
#define GEO_LAT_MAX 85.05112878

struct geo_place {
    double lon, lat;
};
struct geo_cell {
    uint64_t bits;
    uint32_t step; /* 0: no cell */
};
struct geo_box {
    struct geo_place min, max;
};

/* The place must be within lon_max and lat_max. */
struct geo_cell geo_encode(struct geo_place place, double lon_max, double lat_max, uint32_t step);
struct geo_box geo_decode(struct geo_cell cell);
static inline uint64_t geo_align(struct geo_cell cell) /* as a number of 52 bits */
{
    return cell.bits << (2 * (GEO_STEP_MAX - cell.step));
}
/* The place of a score: the middle of its cell. Any double is good. */
struct geo_place geo_place_of(double score);
double geo_distance(struct geo_place a, struct geo_place b); /* metres, great circle */
double geo_lat_distance(double lat_a, double lat_b);

enum geo_shape_type { GEO_CIRCLE, GEO_BOX, GEO_POLYGON };
struct geo_shape {
    enum geo_shape_type type;
    struct geo_place center;
    double unit; /* metres; radius, width and height are given in it; of a polygon 1 */
    double radius, width, height;
    const struct geo_place *vertices;
    int64_t vertex_count;
};
/* The middle of a polygon's vertices, on the sphere: its center. */
struct geo_place geo_centroid(const struct geo_place *vertices, int64_t count);
/* The cells that cover the shape: its own and neighbours, in the order in which Redis searches. */
#define GEO_CELLS 9u
void geo_cells_of(const struct geo_shape *shape, struct geo_cell cells[GEO_CELLS]);
/* True if the place lies inside; *distance from the center, in metres. */
bool geo_inside(const struct geo_shape *shape, struct geo_place place, double *distance);

#endif
