/* Lists in RDB.
 *
 *   1   count, elements
 *   10  a ziplist
 *   14  count of nodes, ziplists
 *   18  count of nodes, (kind 1: one plain element, 2: a listpack; its bytes)
 *
 * Type 18 keeps the nodes as they are, so that a list that came by RESTORE is dumped as it came;
 * only a listpack that is not canonical is written anew. The older ones are pushed element by
 * element, which cuts them into nodes by the limit of here and now; ziplist nodes stay nodes.
 * Thread: holder of the shard. */
#include <errno.h>

#include "types.h"

enum { NODE_PLAIN = 1, NODE_PACKED = 2 };

/* ---- writing ---- */

static void put_node(void *ctx, const struct list_node *node)
{
    struct rdb_writer *w = ctx;
    rdb_put_len(w, node->plain ? NODE_PLAIN : NODE_PACKED);
    rdb_put_text(w, node->bytes);
}

void save_list(struct rdb_writer *w, const struct entry *e)
{
    rdb_put_type(w, RDB_LIST_QUICKLIST_2, RDB_VERSION_LEAST);
    rdb_put_len(w, list_node_count(e));
    list_each_node(e, put_node, w);
}

/* ---- reading ---- */

static bool check_rc(struct loading *l, int rc)
{
    if (rc == 0) return true;
    return rc == -ENOMEM ? rdb_no_memory(&l->r) : rdb_bad(&l->r);
}

static bool begin(struct loading *l)
{
    if (list_build_begin(&l->value->list, l->shard, l->limits->list_fill) < 0) {
        return rdb_no_memory(&l->r);
    }
    l->value->held = RDB_LIST_BUILD;
    return true;
}

static bool push_all(struct loading *l, struct elements *el)
{
    if (el->count == 0) return rdb_empty(&l->r);
    struct rdb_text text = {0};
    bool ok = true;
    while (ok && elements_next(el, &text)) {
        ok = check_rc(l, list_build_push(&l->value->list, text.s));
    }
    rdb_text_deinit(&text);
    return ok && !l->r.error;
}

/* A packed block becomes one node. Empty ones are skipped, as by Redis. */
static bool add_packed(struct loading *l, struct slice bytes, enum elements_kind kind,
                       struct buf *node, bool *any)
{
    struct elements el;
    struct rdb_text text = {0};
    bool ok = elements_bytes(&el, &l->r, kind, bytes);
    if (ok && el.count > 0) {
        node->len = 0;
        lp_build_begin(node);
        while (elements_next(&el, &text)) lp_build_add(node, text.s);
        lp_build_end(node, 0);
        if (node->failed) ok = rdb_no_memory(&l->r);
        ok = ok && !l->r.error &&
             check_rc(l, list_build_node(&l->value->list, buf_slice(node), false));
        *any = true;
    }
    rdb_text_deinit(&text);
    return ok;
}

static bool load_nodes(struct loading *l, bool ziplists)
{
    uint64_t count, kind = NODE_PACKED;
    if (!rdb_get_count(&l->r, ziplists ? 1 : 2, &count)) return false;
    struct rdb_text bytes = {0};
    struct buf node = {0};
    bool ok = true, any = false;
    while (ok && count-- > 0) {
        ok = (ziplists || rdb_get_len(&l->r, &kind)) && rdb_get_text(&l->r, &bytes);
        if (ok && kind == NODE_PLAIN && bytes.s.len > 0) {
            ok = check_rc(l, list_build_node(&l->value->list, bytes.s, true));
            any = true;
        } else if (ok && kind == NODE_PACKED) {
            enum elements_kind packed = ziplists ? ELEMENTS_ZIPLIST : ELEMENTS_LISTPACK;
            ok = add_packed(l, bytes.s, packed, &node, &any);
        } else if (ok) {
            ok = rdb_bad(&l->r);
        }
    }
    if (ok && !any) ok = rdb_empty(&l->r);
    buf_deinit(&node);
    rdb_text_deinit(&bytes);
    return ok;
}

bool load_list(struct loading *l, unsigned type)
{
    struct elements el;
    uint64_t count;
    l->value->type = TYPE_LIST;
    if (!begin(l)) return false;
    if (type == RDB_LIST_QUICKLIST) return load_nodes(l, true);
    if (type == RDB_LIST_QUICKLIST_2) return load_nodes(l, false);
    if (type == RDB_LIST_ZIPLIST) {
        bool ok = elements_block(&el, &l->r, ELEMENTS_ZIPLIST) && push_all(l, &el);
        elements_deinit(&el);
        return ok;
    }
    if (!rdb_get_count(&l->r, 1, &count)) return false;
    elements_texts(&el, &l->r, count);
    return push_all(l, &el);
}
