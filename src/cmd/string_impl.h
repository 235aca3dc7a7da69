/* What the files of the string group share.
 * Thread: holder of the call's shards. */
#ifndef SPLITRING_CMD_STRING_IMPL_H
#define SPLITRING_CMD_STRING_IMPL_H

#include "splitring/cmd/call.h"
#include "splitring/cmd/handlers.h"

/* Options of SET, GETEX and MSETEX. */
enum string_option {
    OPT_NX = 1u << 0,
    OPT_XX = 1u << 1,
    OPT_IFEQ = 1u << 2,
    OPT_IFNE = 1u << 3,
    OPT_IFDEQ = 1u << 4,
    OPT_IFDNE = 1u << 5,
    OPT_EX = 1u << 6,
    OPT_PX = 1u << 7,
    OPT_EXAT = 1u << 8,
    OPT_PXAT = 1u << 9,
    OPT_KEEPTTL = 1u << 10,
    OPT_PERSIST = 1u << 11,
    OPT_GET = 1u << 12
};
#define OPT_MATCHES (OPT_IFEQ | OPT_IFNE | OPT_IFDEQ | OPT_IFDNE)
#define OPT_CONDITIONS (OPT_NX | OPT_XX | OPT_MATCHES)
#define OPT_TIMES (OPT_EX | OPT_PX | OPT_EXAT | OPT_PXAT)
#define OPT_EXPIRIES (OPT_TIMES | OPT_KEEPTTL | OPT_PERSIST)

struct string_options {
    uint32_t given;    /* string_option */
    int match_arg;     /* of OPT_MATCHES */
    instant_ms expire; /* for ks_set_*: an instant, EXPIRE_NONE or EXPIRE_KEEP */
    int time_arg;      /* of OPT_TIMES; 0: none */
};

/* Reads the options from argument `from` to the end; those not in `allowed` are syntax errors.
 * False: an error is written. `expire` is filled by string_options_expiry. */
bool string_options_parse(struct call *c, int from, uint32_t allowed, struct string_options *out);
/* Makes out->expire of time_arg and KEEPTTL. False: an error is written. */
bool string_options_expiry(struct call *c, struct string_options *options);

/* False: WRONGTYPE is written. An absent key (NULL) is fine. */
static inline bool string_type_ok(struct call *c, const struct entry *e)
{
    if (likely(!e || entry_type(e) == TYPE_STRING)) return true;
    reply_error(&c->reply, ERR_WRONGTYPE);
    return false;
}
/* False: a string of size + more bytes is too long, the error is written. */
bool string_len_ok(struct call *c, uint64_t size, uint64_t more);

/* Answer of a condition on a key's present value. */
enum verdict { VERDICT_YES, VERDICT_NO, VERDICT_ERROR /* the reply is written */ };
/* One of OPT_MATCHES against an entry that is a string. */
enum verdict string_matches(struct call *c, uint32_t option, struct slice match,
                            const struct entry *e);

/* The key's value becomes argument i, without a copy where it is an owned block. 0 or -ENOMEM. */
int string_store_arg(struct call *c, struct slice key, int i, instant_ms expire) WARN_UNUSED;
/* States SET key value [KEEPTTL | PXAT ms]. */
void string_set_effect(struct call *c, struct slice key, struct slice value, instant_ms expire);

#endif
