/* What a user is made of.
 * Thread: who makes it, then any (constant). */
#ifndef SPLITRING_SRC_ACL_ACL_IMPL_H
#define SPLITRING_SRC_ACL_ACL_IMPL_H

#include "splitring/acl/acl.h"
#include "splitring/base/counters.h"

#define ACL_COMMANDS_MAX 1024u
#define ACL_HEX_LEN (2 * SHA256_LEN)

enum user_flag {
    USER_ON = 1u << 0,
    USER_NOPASS = 1u << 1,
    USER_SKIP_SANITIZE = 1u << 2,
    USER_SANITIZE = 1u << 3
};

enum selector_flag {
    SELECTOR_ALL_KEYS = 1u << 0,
    SELECTOR_ALL_CHANNELS = 1u << 1,
    SELECTOR_ALL_COMMANDS = 1u << 2, /* nothing was taken away since +@all */
    SELECTOR_FROM_ALL = 1u << 3      /* its rules start from +@all, not from -@all */
};

enum right { RIGHT_READ = 1, RIGHT_WRITE = 2, RIGHT_BOTH = 3 };

/* A pattern of keys or channels, or a first argument; the text follows it in memory. */
struct pattern {
    uint32_t rights; /* of keys: enum right; of a first argument: the command's id */
    size_t len;
    char text[];
};

struct patterns {
    struct pattern **items;
    size_t count, cap;
};

struct selector {
    uint32_t flags;
    uint64_t commands[ACL_COMMANDS_MAX / 64];
    struct patterns keys, channels, firsts;
    struct buf rules; /* of commands, as they are shown */
};

struct acl_user {
    counter refs;
    uint64_t id; /* of the account: changes keep it */
    uint32_t flags;
    uint8_t (*hashes)[SHA256_LEN];
    size_t hash_count;
    struct selector **selectors; /* the first one is the root */
    size_t selector_count;
    size_t name_len;
    char name[];
};

static inline struct slice pattern_text(const struct pattern *p)
{
    return slice_of(p->text, p->len);
}
static inline bool selector_has(const struct selector *s, uint32_t id)
{
    return s->commands[id / 64] >> (id % 64) & 1u;
}
/* NULL: no memory; else it is in the list, with these rights beside those it had. */
struct pattern *patterns_add(struct patterns *list, struct slice text, uint32_t rights);
void patterns_clear(struct patterns *list);

struct selector *selector_new(bool all_channels); /* NULL: no memory */
void selector_free(struct selector *s);
/* Makes room for one more and puts it at the end; false: no memory, s is freed. */
bool user_add_selector(struct acl_user *user, struct selector *s) WARN_UNUSED;
void user_clear_selectors(struct acl_user *user); /* all but the root */
enum acl_rule_error selector_apply(struct selector *s, struct slice rule) WARN_UNUSED;

#endif
