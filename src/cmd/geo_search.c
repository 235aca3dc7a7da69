/* Searching places: GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER.
 *
 * The shape is covered by up to nine cells; each is a range of scores, whose members are looked at
 * one by one. Results keep that order unless they are sorted by distance.
 *
 * All forms share one parser, because Redis does so and errors come in its order: type, center and
 * radius of the old forms, options from left to right, then what does not go together.
 * Source: https://redis.io/docs/latest/commands/geosearch/ ; redis src/geo.c
 * Thread: holder of the call's shards. */
#include <errno.h>
#include <stdlib.h>

#include "geo.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"

struct point {
    struct geo_place place;
    double distance, score;
    size_t begin, len; /* of the member in search.texts */
    size_t found;      /* so many before it: ties keep their order */
};

struct search {
    struct call *call;
    struct entry *e; /* NULL: the key is absent */
    int base;        /* the first option */
    bool modern;     /* GEOSEARCH and GEOSEARCHSTORE */
    bool can_store;  /* STORE and STOREDIST are options */
    bool stores;     /* GEOSEARCHSTORE: argument 1 is where the result goes */
    int store;       /* argument of the key to store to; 0: reply */
    bool store_distance;
    bool with_distance, with_hash, with_place;
    bool from_member, from_place, by_radius, by_box, by_polygon;
    struct geo_place *vertices;
    int sort; /* 1: nearest first; -1: farthest first */
    bool any;
    int64_t count; /* 0: all */
    struct geo_shape shape;
    struct point *points;
    size_t found, room;
    struct buf texts;
};

/* ---- arguments: false means that the error is written ---- */

static bool fails(struct search *s, enum error_id id)
{
    reply_error(&s->call->reply, id);
    return false;
}

static bool parse_radius(struct search *s, int at)
{
    struct geo_shape *shape = &s->shape;
    shape->type = GEO_CIRCLE;
    if (!geo_parse_number(s->call, at, &shape->radius, ERR_GEO_RADIUS)) return false;
    if (shape->radius < 0) return fails(s, ERR_GEO_RADIUS_NEGATIVE);
    return geo_parse_unit(s->call, at + 1, &shape->unit);
}

static bool parse_box(struct search *s, int at)
{
    struct geo_shape *shape = &s->shape;
    shape->type = GEO_BOX;
    if (!geo_parse_number(s->call, at, &shape->width, ERR_GEO_WIDTH) ||
        !geo_parse_number(s->call, at + 1, &shape->height, ERR_GEO_HEIGHT))
        return false;
    if (shape->height < 0 || shape->width < 0) return fails(s, ERR_GEO_BOX_NEGATIVE);
    return geo_parse_unit(s->call, at + 2, &shape->unit);
}

/* Argument `at` is the number of vertices, longitudes and latitudes follow. */
static bool parse_polygon(struct search *s, int at)
{
    struct call *c = s->call;
    int64_t count;
    if (!call_int_range(c, at, INT32_MIN, INT32_MAX, &count, ERR_GEO_VERTICES)) return false;
    if (count < 3 || count > (c->argc - at - 1) / 2) return fails(s, ERR_GEO_VERTICES_FEW);
    struct geo_place *vertices = mem_try_realloc(s->vertices, (size_t)count * sizeof(*vertices));
    if (!vertices) return fails(s, ERR_NO_MEMORY);
    s->vertices = vertices;
    for (int64_t i = 0; i < count; i++) {
        if (!geo_parse_place(c, at + 1 + 2 * (int)i, &vertices[i])) return false;
    }
    s->shape = (struct geo_shape){.type = GEO_POLYGON,
                                  .center = geo_centroid(vertices, count),
                                  .unit = 1,
                                  .vertices = vertices,
                                  .vertex_count = count};
    return true;
}

static bool parse_member(struct search *s, int at)
{
    if (!s->e || geo_place_of_member(s->e, s->call->argv[at], &s->shape.center)) return true;
    return fails(s, ERR_GEO_NO_MEMBER);
}

static bool parse_count(struct search *s, int at)
{
    if (!call_int(s->call, at, &s->count)) return false;
    return s->count > 0 || fails(s, ERR_GEO_COUNT_POSITIVE);
}

/* BYRADIUS, BYBOX, BYPOLYGON: as parse_modern. */
static int parse_shape(struct search *s, int i)
{
    struct call *c = s->call;
    int more = c->argc - i - 1;
    if (call_is(c, i, "byradius") && more >= 2 && !s->by_box && !s->by_polygon) {
        s->by_radius = true;
        return parse_radius(s, i + 1) ? 3 : -1;
    }
    if (call_is(c, i, "bybox") && more >= 3 && !s->by_radius && !s->by_polygon) {
        s->by_box = true;
        return parse_box(s, i + 1) ? 4 : -1;
    }
    bool alone = !s->by_radius && !s->by_box && !s->from_member && !s->from_place;
    if (call_is(c, i, "bypolygon") && more >= 2 && alone) {
        s->by_polygon = true;
        return parse_polygon(s, i + 1) ? 2 + 2 * (int)s->shape.vertex_count : -1;
    }
    return 0;
}

/* Options of GEOSEARCH alone. How many arguments; 0: it is none of them; -1: the error is written.
 */
static int parse_modern(struct search *s, int i)
{
    struct call *c = s->call;
    int more = c->argc - i - 1;
    if (call_is(c, i, "frommember") && more >= 1 && !s->from_place && !s->by_polygon) {
        s->from_member = true;
        return parse_member(s, i + 1) ? 2 : -1;
    }
    if (call_is(c, i, "fromlonlat") && more >= 2 && !s->from_member && !s->by_polygon) {
        s->from_place = true;
        return geo_parse_place(c, i + 1, &s->shape.center) ? 3 : -1;
    }
    if (s->stores && call_is(c, i, "storedist")) {
        s->store_distance = true;
        return 1;
    }
    return parse_shape(s, i);
}

static bool parse_flag(struct search *s, int i)
{
    struct call *c = s->call;
    if (call_is(c, i, "withdist")) s->with_distance = true;
    else if (call_is(c, i, "withhash")) s->with_hash = true;
    else if (call_is(c, i, "withcoord")) s->with_place = true;
    else if (call_is(c, i, "any")) s->any = true;
    else if (call_is(c, i, "asc")) s->sort = 1;
    else if (call_is(c, i, "desc")) s->sort = -1;
    else return false;
    return true;
}

static bool parse_options(struct search *s)
{
    struct call *c = s->call;
    for (int i = s->base; i < c->argc;) {
        bool more = i + 1 < c->argc;
        if (parse_flag(s, i)) {
            i++;
        } else if (more && call_is(c, i, "count")) {
            if (!parse_count(s, i + 1)) return false;
            i += 2;
        } else if (more && s->can_store && (call_is(c, i, "store") || call_is(c, i, "storedist"))) {
            s->store_distance = call_is(c, i, "storedist");
            s->store = i + 1;
            i += 2;
        } else {
            int taken = s->modern ? parse_modern(s, i) : 0;
            if (taken < 0) return false;
            if (taken == 0) return fails(s, ERR_SYNTAX);
            i += taken;
        }
    }
    return true;
}

static bool check_options(struct search *s)
{
    struct reply *r = &s->call->reply;
    struct slice name = s->call->argv[0];
    if (s->store && (s->with_distance || s->with_hash || s->with_place)) {
        reply_errorf(r, ERR_GEO_STORE_WITH,
                     s->stores ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
        return false;
    }
    enum error_id missing = ERR_GEO_BY;
    bool ok = !s->modern || s->by_radius || s->by_box || s->by_polygon;
    if (s->modern && !s->from_member && !s->from_place && !s->by_polygon) {
        ok = false;
        missing = ERR_GEO_FROM;
    }
    if (!ok) {
        reply_errorf(r, missing, (int)(name.len < 64 ? name.len : 64), name.ptr);
        return false;
    }
    return !s->any || s->count || fails(s, ERR_GEO_ANY);
}

/* ---- searching ---- */

static bool enough(const struct search *s) { return s->any && s->found >= (size_t)s->count; }

/* False: no memory. */
static bool add_point(struct search *s, const struct zset_item *item)
{
    struct point point = {.score = item->score, .place = geo_place_of(item->score)};
    if (!geo_inside(&s->shape, point.place, &point.distance)) return true;
    if (s->found == s->room) {
        size_t room = s->room ? s->room * 2 : 32;
        struct point *points = mem_try_realloc(s->points, room * sizeof(*points));
        if (!points) return false;
        s->points = points;
        s->room = room;
    }
    point.begin = s->texts.len;
    point.len = item->text.len;
    point.found = s->found;
    buf_append_slice(&s->texts, item->text);
    s->points[s->found++] = point;
    return !s->texts.failed;
}

static bool search_cell(struct search *s, struct geo_cell cell)
{
    struct geo_cell next = {cell.bits + 1, cell.step};
    struct zset_score_range range = {
        .min = (double)geo_align(cell), .max = (double)geo_align(next), .max_ex = true};
    struct zset_ranks ranks = zset_by_score(s->e, &range);
    if (ranks.begin == ranks.end) return true;
    struct zset_iter it;
    struct zset_item item;
    zset_iter_init(&it, s->e, ranks.begin, false);
    for (uint64_t i = ranks.begin; i < ranks.end && !enough(s) && zset_iter_next(&it, &item); i++) {
        if (!add_point(s, &item)) return false;
    }
    return true;
}

/* Around the poles and with radii of half the globe neighbours are the same cell. */
static bool search_cells(struct search *s)
{
    struct geo_cell cells[GEO_CELLS], last = {0, 0};
    geo_cells_of(&s->shape, cells);
    for (uint32_t i = 0; i < GEO_CELLS && !enough(s); i++) {
        if (cells[i].step == 0) continue;
        if (i > 1 && cells[i].bits == last.bits && cells[i].step == last.step) continue;
        if (!search_cell(s, cells[i])) return false;
        last = i > 0 ? cells[i] : last;
    }
    return true;
}

static int compare_points(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    if (x->distance < y->distance) return -1;
    if (x->distance > y->distance) return 1;
    return x->found < y->found ? -1 : x->found > y->found;
}

static int compare_points_down(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    if (x->distance > y->distance) return -1;
    if (x->distance < y->distance) return 1;
    return x->found < y->found ? -1 : x->found > y->found;
}

/* ---- results ---- */

static void reply_points(struct search *s, size_t count)
{
    struct call *c = s->call;
    size_t more = (size_t)s->with_distance + s->with_hash + s->with_place;
    reply_array(&c->reply, count);
    for (size_t i = 0; i < count; i++) {
        const struct point *p = &s->points[i];
        if (more) reply_array(&c->reply, more + 1);
        reply_bulk(&c->reply, s->texts.ptr + p->begin, p->len);
        if (s->with_distance) geo_reply_distance(c, p->distance / s->shape.unit);
        if (s->with_hash) reply_int(&c->reply, (int64_t)p->score);
        if (s->with_place) geo_reply_place(c, p->place);
    }
}

static void store_points(struct search *s, size_t count)
{
    struct call *c = s->call;
    struct slice key = c->argv[s->store];
    struct zset *z = zset_new(ks_shard_of(&c->ks, key));
    int rc = z ? 0 : -ENOMEM;
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct point *p = &s->points[i];
        struct slice text = slice_of(s->texts.ptr + p->begin, p->len);
        double score = s->store_distance ? p->distance / s->shape.unit : p->score;
        if (!zset_member(z, text)) rc = zset_add(z, text, score);
    }
    if (rc == 0) rc = zset_sort(z);
    if (rc < 0) {
        if (z) zset_free(z);
        reply_error(&c->reply, ERR_NO_MEMORY);
        return;
    }
    zset_store_result(c, key, z, s->modern ? "geosearchstore" : "georadiusstore");
}

static void search_and_reply(struct search *s)
{
    if (s->e && !search_cells(s)) {
        reply_error(&s->call->reply, ERR_NO_MEMORY);
        return;
    }
    if (s->count && s->sort == 0 && !s->any) s->sort = 1;
    size_t count = s->found;
    if (s->count && (size_t)s->count < count) count = (size_t)s->count;
    if (s->sort && s->found) {
        qsort(s->points, s->found, sizeof(*s->points),
              s->sort > 0 ? compare_points : compare_points_down);
    }
    if (s->store) store_points(s, count);
    else reply_points(s, count);
}

static void search(struct search *s, int key)
{
    if (!zset_read(s->call, s->call->argv[key], &s->e)) return;
    bool ok = true;
    if (!s->modern) {
        bool by_member = s->base == 5;
        ok = by_member ? parse_member(s, 2) : geo_parse_place(s->call, 2, &s->shape.center);
        if (ok && (s->e || !by_member)) ok = parse_radius(s, s->base - 2);
    }
    if (ok && parse_options(s) && check_options(s)) search_and_reply(s);
    mem_free(s->points);
    mem_free(s->vertices);
    buf_deinit(&s->texts);
}

void cmd_geosearch(struct call *c)
{
    struct search s = {.call = c, .base = 2, .modern = true};
    search(&s, 1);
}

void cmd_geosearchstore(struct call *c)
{
    struct search s = {.call = c, .base = 3, .modern = true, .stores = true, .store = 1};
    search(&s, 2);
}

static void radius(struct call *c, int base, bool can_store)
{
    struct search s = {.call = c, .base = base, .can_store = can_store};
    search(&s, 1);
}

void cmd_georadius(struct call *c) { radius(c, 6, true); }

void cmd_georadius_ro(struct call *c) { radius(c, 6, false); }

void cmd_georadiusbymember(struct call *c) { radius(c, 5, true); }

void cmd_georadiusbymember_ro(struct call *c) { radius(c, 5, false); }
