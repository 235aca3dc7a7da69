/* What SSCAN, HSCAN and ZSCAN share: cursor, options, MATCH and the frame of the reply.
 *
 *     struct member_scan scan;
 *     if (!member_scan_begin(&scan, c, TYPE_SET)) return;
 *     packed: for every member { if (member_scan_wants(&scan, member)) member_scan_add(…); }
 *     large:  scan.cursor = dict_scan(dict, scan.cursor, scan.count, visit, &scan);
 *             whose visit does the same per member
 *     member_scan_end(&scan);
 *
 * A packed collection is answered whole, whatever COUNT says: set scan.cursor to 0 then.
 * Thread: holder of the call's shards. */
#ifndef SPLITRING_CMD_SCAN_MEMBERS_H
#define SPLITRING_CMD_SCAN_MEMBERS_H

#include "splitring/cmd/call.h"

struct member_scan {
    struct entry *entry;  /* the collection; of the wanted type */
    struct slice pattern; /* of MATCH; ptr NULL: everything */
    uint64_t cursor;      /* as given, then the next one; 0: the walk is over */
    size_t count;         /* of COUNT, at least 1 */
    bool names_only;      /* NOVALUES, NOSCORES */
    struct call *call;
    struct reply page; /* the elements, before their number is known */
    struct buf bytes;
    size_t found;
};

/* A cursor argument: digits, leading zeros too. */
bool scan_parse_cursor(struct slice text, uint64_t *cursor);

/* Reads `COMMAND key cursor [MATCH pattern] [COUNT count] [NOVALUES | NOSCORES]` and finds the key.
 * False: the reply is written (an error, or an absent key's empty page). */
bool member_scan_begin(struct member_scan *scan, struct call *c, enum value_type type);
static inline bool member_scan_wants(const struct member_scan *scan, struct slice name)
{
    return !scan->pattern.ptr || slice_glob(scan->pattern, name, false);
}
/* One element of the reply: a member, and after it its value or score. */
void member_scan_add(struct member_scan *scan, struct slice element);
/* Writes the reply, with scan->cursor as the next cursor. */
void member_scan_end(struct member_scan *scan);

#endif
