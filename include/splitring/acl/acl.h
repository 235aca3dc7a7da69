/* Users and what they may do: the language of ACL rules, and judging a command by them. Pure: knows
 * neither connections nor files.
 *
 * A user never changes once it is in a set, a set never changes at all; a change makes a new user
 * and a new set. Both are counted by reference, so any thread may keep what it looks at.
 * Source: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
 * Thread: any; a user that is in no set yet: who makes it. */
#ifndef SPLITRING_ACL_ACL_H
#define SPLITRING_ACL_ACL_H

#include "splitring/base/buf.h"
#include "splitring/base/sha256.h"
#include "splitring/cmd/command.h"
#include "splitring/resp/reply.h"

struct acl_user;
struct acl_set;

/* Redis' numbers: of several refusals the greatest is told. */
enum acl_verdict {
    ACL_ALLOWED = 0,
    ACL_DENIED_COMMAND = 1,
    ACL_DENIED_KEY = 2,
    ACL_DENIED_AUTH = 3, /* only in the log: a wrong password */
    ACL_DENIED_CHANNEL = 4
};

/* ---- a user ---- */

/* acl-pubsub-default decides what a new user, a new selector and `reset` say about channels. */
struct acl_user *acl_user_new(struct slice name, bool all_channels);
/* `user default on nopass ~* &* +@all` */
struct acl_user *acl_user_new_default(void);
/* A copy to be changed; the same identity. NULL: no memory. */
struct acl_user *acl_user_copy(const struct acl_user *user) WARN_UNUSED;
struct acl_user *acl_user_ref(struct acl_user *user);
void acl_user_unref(struct acl_user *user); /* NULL is fine */

struct slice acl_user_name(const struct acl_user *user);
bool acl_user_is(const struct acl_user *a, const struct acl_user *b); /* one of them, changed? */
bool acl_user_enabled(const struct acl_user *user);
bool acl_user_nopass(const struct acl_user *user);
/* Every command, key and channel: nothing needs to be judged. */
bool acl_user_free(const struct acl_user *user);
/* Nothing but the name was ever given to it, or to the default user at most a password: what a
 * configuration says without `user` lines. */
bool acl_user_is_plain_default(const struct acl_user *user);
/* The account is enabled and this is one of its passwords, or it needs none. */
bool acl_user_login(const struct acl_user *user, struct slice password);
/* requirepass: the one password, "" means none is needed. The user is in no set yet. */
void acl_user_set_password(struct acl_user *user, struct slice password);

/* ---- rules (rules.c) ---- */

enum acl_rule_error {
    ACL_RULE_FINE,
    ACL_RULE_SYNTAX,
    ACL_RULE_UNKNOWN,       /* command or category */
    ACL_RULE_KEYS,          /* a pattern beside all keys */
    ACL_RULE_CHANNELS,
    ACL_RULE_NO_PASSWORD,   /* to take away */
    ACL_RULE_HASH,
    ACL_RULE_FIRST_OF_SUB,
    ACL_RULE_MEMORY
};
/* Applies one rule; a selector in parentheses is one. The user is in no set yet. */
enum acl_rule_error acl_rule_apply(struct acl_user *user, struct slice rule, bool all_channels)
    WARN_UNUSED;
enum error_id acl_rule_error_text(enum acl_rule_error error);
/* Rules as a client gives them: what stands between an argument that opens a parenthesis and the
 * one that closes it becomes one rule. *merged is an array (mem_free) that points into argv and
 * `bytes`. -1: the parenthesis that argument *open opens is never closed. -2: no memory. */
int acl_rules_merge(const struct slice *argv, int argc, struct slice **merged, struct buf *bytes,
                    int *open) WARN_UNUSED;
bool acl_name_ok(struct slice name); /* no blanks, no NUL */
/* All rules in order; false: nothing may be used of the user, and *error holds the reply's text. */
bool acl_rules_apply(struct acl_user *user, const struct slice *argv, int argc, bool all_channels,
                     struct buf *error) WARN_UNUSED;

/* ---- as text (describe.c) ---- */

/* "on nopass ~* &* +@all": what makes this user. */
void acl_user_describe(const struct acl_user *user, struct buf *out);
void acl_user_reply(const struct acl_user *user, struct reply *reply); /* ACL GETUSER */
/* Why not, as ACL DRYRUN (verbose) and NOPERM have it; without the error's code. */
void acl_refusal_text(enum acl_verdict verdict, const struct acl_user *user,
                      const struct command *cmd, struct slice object, bool verbose,
                      struct buf *out);

/* ---- judging (judge.c) ---- */

/* *at: the argument that is refused. */
enum acl_verdict acl_judge(const struct acl_user *user, const struct command *cmd,
                           const struct slice *argv, int argc, int *at);
/* This command may be run by a selector that reads any key (SORT BY, GET). */
bool acl_reads_any_key(const struct acl_user *user, const struct command *cmd,
                       const struct slice *argv, int argc);
/* With `after` it has lost channels that `before` may have been subscribed to. */
bool acl_channels_lost(const struct acl_user *before, const struct acl_user *after);
/* Some selector allows subscribing to it, ignoring commands. */
bool acl_may_hear(const struct acl_user *user, struct slice channel, bool pattern);

/* ---- sets (set.c) ---- */

struct acl_set *acl_set_new(void); /* the default user alone */
struct acl_set *acl_set_ref(struct acl_set *set);
void acl_set_unref(struct acl_set *set); /* NULL is fine */
size_t acl_set_count(const struct acl_set *set);
struct acl_user *acl_set_at(const struct acl_set *set, size_t i); /* by name, ascending */
struct acl_user *acl_set_find(const struct acl_set *set, struct slice name); /* NULL: none */
struct acl_user *acl_set_default(const struct acl_set *set);
/* The user as it is now, if it is still there. */
struct acl_user *acl_set_find_same(const struct acl_set *set, const struct acl_user *user);
/* A new set in which this user (one reference is spent) is, or has taken the place of the one of
 * its name. NULL: no memory. */
struct acl_set *acl_set_with(const struct acl_set *set, struct acl_user *user) WARN_UNUSED;
struct acl_set *acl_set_without(const struct acl_set *set, const struct acl_user *user)
    WARN_UNUSED;
/* The users of a file. Those whose names were known keep their identity. NULL: *error says why, as
 * ACL LOAD does. */
struct acl_set *acl_set_parse(const struct acl_set *before, struct slice text, const char *file,
                              bool all_channels, struct buf *error) WARN_UNUSED;
void acl_set_write(const struct acl_set *set, struct buf *out); /* its file: a line per user */

#endif
