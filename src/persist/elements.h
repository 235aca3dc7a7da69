/* The texts inside a value that is read, whatever encoding they come in.
 * Thread: any (plain values). */
#ifndef SPLITRING_PERSIST_ELEMENTS_INNER_H
#define SPLITRING_PERSIST_ELEMENTS_INNER_H

#include "codec.h"

enum elements_kind { ELEMENTS_TEXTS, ELEMENTS_LISTPACK, ELEMENTS_ZIPLIST, ELEMENTS_ZIPMAP };

struct elements {
    struct rdb_reader *r;   /* errors are noted there */
    enum elements_kind kind;
    uint64_t count;         /* elements, or texts, in all; of a zipmap fields and values */
    uint64_t left;          /* not yet given out */
    struct rdb_text block;  /* of the packed kinds */
    const char *at, *end;   /* in there; end: the block's last byte */
    size_t before;          /* ziplist: length of the entry before */
};

/* `count` strings that follow in the reader; they are known to fit (rdb_get_count). */
void elements_texts(struct elements *el, struct rdb_reader *r, uint64_t count);
/* One string that is a packed block. False: bad from the start; deinit all the same. */
bool elements_block(struct elements *el, struct rdb_reader *r, enum elements_kind kind);
/* The same, of bytes that were read before. They must stay. */
bool elements_bytes(struct elements *el, struct rdb_reader *r, enum elements_kind kind,
                    struct slice bytes);
void elements_deinit(struct elements *el);
/* False: the end, or an error (r->error). The text stays until the next one into the same t. */
bool elements_next(struct elements *el, struct rdb_text *t);

#endif
