/* The arithmetic of places: hashes, distances, search areas.
 *
 * Replies are compared to Redis' to the last digit, so every formula keeps its order of operations.
 *
 *   hash      longitude and latitude as fractions of their range, 26 bits each, interleaved
 *   distance  haversine on a sphere of 6372797.560856 m
 *   search    the cell of the center at a step whose cells are about as large as the radius, and
 *             its eight neighbours, but for those that lie outside the bounding box
 *
 * Source: G. Niemeyer's geohash; R. W. Sinnott, "Virtues of the Haversine", 1984; redis
 * src/geohash_helper.c for behaviour.
 * Thread: any (pure). */
#include "geo_impl.h"

#include <math.h>

#define EARTH_RADIUS 6372797.560856
#define MERCATOR_MAX 20037726.37
#define RADIANS (M_PI / 180.0)

static double to_radians(double degrees) { return degrees * RADIANS; }
static double to_degrees(double radians) { return radians / RADIANS; }

/* ---- hashes ---- */

/* Bits of x at the even places. */
static uint64_t spread(uint32_t x)
{
    uint64_t v = x;
    v = (v | v << 16) & 0x0000ffff0000ffffu;
    v = (v | v << 8) & 0x00ff00ff00ff00ffu;
    v = (v | v << 4) & 0x0f0f0f0f0f0f0f0fu;
    v = (v | v << 2) & 0x3333333333333333u;
    return (v | v << 1) & 0x5555555555555555u;
}

static uint32_t gather(uint64_t v)
{
    v &= 0x5555555555555555u;
    v = (v | v >> 1) & 0x3333333333333333u;
    v = (v | v >> 2) & 0x0f0f0f0f0f0f0f0fu;
    v = (v | v >> 4) & 0x00ff00ff00ff00ffu;
    v = (v | v >> 8) & 0x0000ffff0000ffffu;
    return (uint32_t)(v | v >> 16);
}

struct geo_cell geo_encode(struct geo_place place, double lon_max, double lat_max, uint32_t step)
{
    double lat = (place.lat + lat_max) / (lat_max + lat_max);
    double lon = (place.lon + lon_max) / (lon_max + lon_max);
    double cells = (double)((uint64_t)1 << step);
    uint64_t bits = spread((uint32_t)(lat * cells)) | spread((uint32_t)(lon * cells)) << 1;
    return (struct geo_cell){bits, step};
}

struct geo_box geo_decode(struct geo_cell cell)
{
    double cells = (double)((uint64_t)1 << cell.step);
    double lat_scale = GEO_LAT_MAX + GEO_LAT_MAX, lon_scale = GEO_LON_MAX + GEO_LON_MAX;
    uint32_t lat = gather(cell.bits), lon = gather(cell.bits >> 1);
    struct geo_box box;
    box.min.lat = -GEO_LAT_MAX + (lat * 1.0 / cells) * lat_scale;
    box.max.lat = -GEO_LAT_MAX + ((lat + 1) * 1.0 / cells) * lat_scale;
    box.min.lon = -GEO_LON_MAX + (lon * 1.0 / cells) * lon_scale;
    box.max.lon = -GEO_LON_MAX + ((lon + 1) * 1.0 / cells) * lon_scale;
    return box;
}

/* A double as 64 bits the way x86-64 converts it, which is what scores that are no places get. */
static uint64_t bits_of_score(double score)
{
    const double top = 9223372036854775808.0;
    if (score >= -top && score < top) return (uint64_t)(int64_t)score;
    const uint64_t high = (uint64_t)1 << 63;
    if (score >= top && score < 2 * top) return (uint64_t)(int64_t)(score - top) ^ high;
    return score >= top ? 0 : high;
}

static double clamp(double value, double max)
{
    if (value > max) return max;
    return value < -max ? -max : value;
}

struct geo_place geo_place_of(double score)
{
    struct geo_box box = geo_decode((struct geo_cell){bits_of_score(score), GEO_STEP_MAX});
    return (struct geo_place){clamp((box.min.lon + box.max.lon) / 2, GEO_LON_MAX),
                              clamp((box.min.lat + box.max.lat) / 2, GEO_LAT_MAX)};
}

/* ---- distances ---- */

double geo_lat_distance(double lat_a, double lat_b)
{
    return EARTH_RADIUS * fabs(to_radians(lat_b) - to_radians(lat_a));
}

double geo_distance(struct geo_place a, struct geo_place b)
{
    double v = sin((to_radians(b.lon) - to_radians(a.lon)) / 2);
    if (v <= 0 && v >= 0) return geo_lat_distance(a.lat, b.lat);
    double lat_a = to_radians(a.lat), lat_b = to_radians(b.lat);
    double u = sin((lat_b - lat_a) / 2);
    double h = u * u + cos(lat_a) * cos(lat_b) * v * v;
    return 2.0 * EARTH_RADIUS * asin(sqrt(h));
}

/* ---- areas ---- */

struct geo_place geo_centroid(const struct geo_place *vertices, int64_t count)
{
    double x = 0, y = 0, z = 0;
    for (int64_t i = 0; i < count; i++) {
        double lon = to_radians(vertices[i].lon), lat = to_radians(vertices[i].lat);
        x += EARTH_RADIUS * cos(lat) * cos(lon);
        y += EARTH_RADIUS * cos(lat) * sin(lon);
        z += EARTH_RADIUS * sin(lat);
    }
    x /= (double)count;
    y /= (double)count;
    z /= (double)count;
    return (struct geo_place){to_degrees(atan2(y, x)), to_degrees(atan2(z, sqrt(x * x + y * y)))};
}

static struct geo_box polygon_box(const struct geo_shape *shape)
{
    struct geo_box box = {{GEO_LON_MAX, GEO_LAT_MAX}, {-GEO_LON_MAX, -GEO_LAT_MAX}};
    for (int64_t i = 0; i < shape->vertex_count; i++) {
        const struct geo_place *v = &shape->vertices[i];
        if (v->lon < box.min.lon) box.min.lon = v->lon;
        if (v->lon > box.max.lon) box.max.lon = v->lon;
        if (v->lat < box.min.lat) box.min.lat = v->lat;
        if (v->lat > box.max.lat) box.max.lat = v->lat;
    }
    return box;
}

static struct geo_box bounding_box(const struct geo_shape *shape)
{
    if (shape->type == GEO_POLYGON) return polygon_box(shape);
    bool circle = shape->type == GEO_CIRCLE;
    double height = shape->unit * (circle ? shape->radius : shape->height / 2);
    double width = shape->unit * (circle ? shape->radius : shape->width / 2);
    double lon = shape->center.lon, lat = shape->center.lat;
    double lat_delta = to_degrees(height / EARTH_RADIUS);
    double top = to_degrees(width / EARTH_RADIUS / cos(to_radians(lat + lat_delta)));
    double bottom = to_degrees(width / EARTH_RADIUS / cos(to_radians(lat - lat_delta)));
    double lon_delta = lat < 0 ? bottom : top;
    return (struct geo_box){{lon - lon_delta, lat - lat_delta}, {lon + lon_delta, lat + lat_delta}};
}

/* Cells of this step are about as wide as the range; wider ones near the poles, where they shrink.
 */
static uint32_t step_for(double metres, double lat)
{
    if (metres <= 0) return GEO_STEP_MAX;
    int step = 1;
    for (; metres < MERCATOR_MAX; metres *= 2) step++;
    step -= 2;
    if (lat > 66 || lat < -66) step--;
    if (lat > 80 || lat < -80) step--;
    if (step < 1) step = 1;
    return step > (int)GEO_STEP_MAX ? GEO_STEP_MAX : (uint32_t)step;
}

/* The neighbour in one direction along the bits of `mask`; it wraps around the globe. */
static uint64_t move(uint64_t bits, uint64_t mask, uint32_t step, int direction)
{
    if (direction == 0) return bits;
    uint64_t used = UINT64_MAX >> (64 - 2 * step);
    uint64_t moving = bits & mask, others = ~mask & used;
    if (direction > 0) moving += others + 1;
    else moving = (moving | others) - (others + 1);
    return (moving & mask & used) | (bits & ~mask);
}

static struct geo_cell neighbour(struct geo_cell cell, int x, int y)
{
    cell.bits = move(cell.bits, 0xaaaaaaaaaaaaaaaau, cell.step, x);
    cell.bits = move(cell.bits, 0x5555555555555555u, cell.step, y);
    return cell;
}

/* Steps east and north of each cell, in search order. */
static const signed char directions[GEO_CELLS][2] = {
    {0, 0}, {0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};

/* The ring of neighbours may end inside the bounding box. */
static bool too_small(struct geo_cell cell, const struct geo_box *bounds)
{
    return geo_decode(neighbour(cell, 0, 1)).max.lat < bounds->max.lat ||
           geo_decode(neighbour(cell, 0, -1)).min.lat > bounds->min.lat ||
           geo_decode(neighbour(cell, 1, 0)).max.lon < bounds->max.lon ||
           geo_decode(neighbour(cell, -1, 0)).min.lon > bounds->min.lon;
}

/* From the center to the farthest point, in the shape's unit. */
static double reach(const struct geo_shape *shape, const struct geo_box *bounds)
{
    if (shape->type == GEO_CIRCLE) return shape->radius;
    if (shape->type == GEO_BOX) {
        return sqrt((shape->width / 2) * (shape->width / 2) +
                    (shape->height / 2) * (shape->height / 2));
    }
    double farthest = 0;
    for (int corner = 0; corner < 4; corner++) {
        struct geo_place place = {corner & 1 ? bounds->max.lon : bounds->min.lon,
                                  corner & 2 ? bounds->max.lat : bounds->min.lat};
        double distance = geo_distance(shape->center, place);
        if (distance > farthest) farthest = distance;
    }
    return farthest;
}

void geo_cells_of(const struct geo_shape *shape, struct geo_cell cells[GEO_CELLS])
{
    struct geo_place center = shape->center;
    struct geo_box bounds = bounding_box(shape);
    double metres = reach(shape, &bounds) * shape->unit;
    uint32_t step = step_for(metres, center.lat);
    /* The centroid of a polygon around a pole lies beyond the map; Valkey finds nothing then. */
    if (shape->type == GEO_POLYGON) center.lat = clamp(center.lat, 85.05);
    struct geo_cell own = geo_encode(center, GEO_LON_MAX, GEO_LAT_MAX, step);
    if (step > 1 && too_small(own, &bounds)) {
        own = geo_encode(center, GEO_LON_MAX, GEO_LAT_MAX, --step);
    }
    struct geo_box area = geo_decode(own);
    for (uint32_t i = 0; i < GEO_CELLS; i++) {
        int x = directions[i][0], y = directions[i][1];
        cells[i] = neighbour(own, x, y);
        if (step < 2) continue;
        if ((y < 0 && area.min.lat < bounds.min.lat) || (y > 0 && area.max.lat > bounds.max.lat) ||
            (x < 0 && area.min.lon < bounds.min.lon) || (x > 0 && area.max.lon > bounds.max.lon))
            cells[i] = (struct geo_cell){0, 0};
    }
}

/* A ray eastwards crosses the edges an odd number of times. Source: W. R. Franklin, PNPOLY. */
static bool inside_polygon(const struct geo_shape *shape, struct geo_place place)
{
    bool inside = false;
    const struct geo_place *b = &shape->vertices[shape->vertex_count - 1];
    for (int64_t i = 0; i < shape->vertex_count; i++) {
        const struct geo_place *a = &shape->vertices[i];
        if ((a->lat > place.lat) != (b->lat > place.lat) &&
            place.lon <
                (b->lon - a->lon) * (place.lat - a->lat) / (b->lat - a->lat) + a->lon)
            inside = !inside;
        b = a;
    }
    return inside;
}

bool geo_inside(const struct geo_shape *shape, struct geo_place place, double *distance)
{
    if (shape->type == GEO_CIRCLE) {
        *distance = geo_distance(shape->center, place);
        return !(*distance > shape->radius * shape->unit);
    }
    if (shape->type == GEO_POLYGON) {
        if (!inside_polygon(shape, place)) return false;
        *distance = geo_distance(shape->center, place);
        return true;
    }
    double height = shape->height * shape->unit, width = shape->width * shape->unit;
    if (geo_lat_distance(place.lat, shape->center.lat) > height / 2) return false;
    struct geo_place across = {shape->center.lon, place.lat};
    if (geo_distance(place, across) > width / 2) return false;
    *distance = geo_distance(shape->center, place);
    return true;
}
