/* Rules, judging and sets without a server. How rules read is compared with redis-server in
 * tests/compat/acl.py; here is what a client cannot see: identity, files, lists that fail. */
#include <criterion/criterion.h>

#include "splitring/acl/acl.h"
#include "splitring/base/mem.h"

#define RULES(...) \
    (struct slice[]){__VA_ARGS__}, (int)ARRAY_COUNT(((struct slice[]){__VA_ARGS__}))

static struct acl_user *user_with(const struct slice *rules, int count)
{
    struct buf error = {0};
    struct acl_user *user = acl_user_new(SLICE("u"), false);
    cr_assert(acl_rules_apply(user, rules, count, false, &error), "%.*s", (int)error.len,
              error.ptr);
    return user;
}

static enum acl_verdict judge(const struct acl_user *user, const struct slice *argv, int argc,
                              int *at)
{
    bool missing;
    const struct command *cmd = command_find(argv, argc, &missing);
    cr_assert_not_null(cmd);
    return acl_judge(user, cmd, argv, argc, at);
}

static void expect_text(const struct acl_user *user, const char *text)
{
    struct buf out = {0};
    acl_user_describe(user, &out);
    cr_assert(slice_equal(buf_slice(&out), slice_str(text)), "%.*s", (int)out.len, out.ptr);
    buf_deinit(&out);
}

Test(acl, greatest_refusal_and_its_argument)
{
    int at;
    struct acl_user *user = user_with(RULES(SLICE("+mget"), SLICE("~a"), SLICE("(+mget ~a ~b)")));
    struct slice good[] = {SLICE("mget"), SLICE("a"), SLICE("b")};
    struct slice bad[] = {SLICE("mget"), SLICE("a"), SLICE("b"), SLICE("c")};
    struct slice none[] = {SLICE("get"), SLICE("a")};
    cr_assert_eq(judge(user, good, 3, &at), ACL_ALLOWED);
    cr_assert_eq(judge(user, bad, 4, &at), ACL_DENIED_KEY);
    cr_assert_eq(at, 3); /* the root refuses argument 2, the selector 3 */
    cr_assert_eq(judge(user, none, 2, &at), ACL_DENIED_COMMAND);
    acl_user_unref(user);
}

Test(acl, extractors_are_not_asked_when_arguments_are_missing)
{
    int at;
    struct slice argv[] = {SLICE("set"), SLICE("mset"), SLICE("georadius"), SLICE("eval")};
    struct acl_user *user = user_with(RULES(SLICE("+@all")));
    for (int i = 0; i < 4; i++) cr_assert_eq(judge(user, argv + i, 1, &at), ACL_ALLOWED);
    acl_user_unref(user);
}

Test(acl, text_comes_back)
{
    struct acl_user *user = user_with(RULES(
        SLICE("on"), SLICE("nopass"), SLICE("%R~r*"), SLICE("%W~w*"), SLICE("~x"), SLICE("&c"),
        SLICE("+@all"), SLICE("-@dangerous"), SLICE("+config|get"), SLICE("-config"),
        SLICE("+select|0"), SLICE("(+get"), SLICE("~*)")));
    expect_text(user, "on nopass sanitize-payload %R~r* %W~w* ~x resetchannels &c +@all "
                      "-@dangerous -config +select|0 (~* resetchannels -@all +get)");
    struct acl_user *copy = acl_user_copy(user);
    acl_user_unref(user);
    expect_text(copy, "on nopass sanitize-payload %R~r* %W~w* ~x resetchannels &c +@all "
                      "-@dangerous -config +select|0 (~* resetchannels -@all +get)");
    acl_user_unref(copy);
}

Test(acl, parentheses)
{
    struct slice *merged, argv[] = {SLICE("(a"), SLICE(""), SLICE("b)"), SLICE("(c)"), SLICE("(")};
    struct buf bytes = {0};
    int open;
    cr_assert_eq(acl_rules_merge(argv, 4, &merged, &bytes, &open), 2);
    cr_assert(slice_equal(merged[0], SLICE("(a  b)")));
    cr_assert(slice_equal(merged[1], SLICE("(c)")));
    mem_free(merged);
    cr_assert_eq(acl_rules_merge(argv, 5, &merged, &bytes, &open), -1);
    cr_assert_eq(open, 4);
    buf_deinit(&bytes);
}

Test(acl, passwords)
{
    struct acl_user *user = user_with(RULES(SLICE("on"), SLICE(">one"), SLICE(">two")));
    cr_assert(acl_user_login(user, SLICE("one")) && acl_user_login(user, SLICE("two")));
    cr_assert_not(acl_user_login(user, SLICE("on")) || acl_user_login(user, SLICE("")));
    cr_assert_eq(acl_rule_apply(user, SLICE("<one"), false), ACL_RULE_FINE);
    cr_assert_eq(acl_rule_apply(user, SLICE("<one"), false), ACL_RULE_NO_PASSWORD);
    cr_assert_not(acl_user_login(user, SLICE("one")));
    cr_assert_eq(acl_rule_apply(user, SLICE("off"), false), ACL_RULE_FINE);
    cr_assert_not(acl_user_login(user, SLICE("two")));
    acl_user_unref(user);
}

Test(acl, who_is_free)
{
    struct acl_user *user = acl_user_new_default();
    cr_assert(acl_user_free(user) && acl_user_is_plain_default(user));
    cr_assert_eq(acl_rule_apply(user, SLICE("-get"), false), ACL_RULE_FINE);
    cr_assert_not(acl_user_free(user) || acl_user_is_plain_default(user));
    cr_assert_eq(acl_rule_apply(user, SLICE("+get"), false), ACL_RULE_FINE);
    cr_assert_not(acl_user_free(user)); /* something was taken away: bits decide from then on */
    cr_assert_eq(acl_rule_apply(user, SLICE("(~* &* +@all)"), false), ACL_RULE_FINE);
    cr_assert(acl_user_free(user));
    acl_user_unref(user);
}

Test(acl, sets_keep_accounts_apart)
{
    struct acl_set *first = acl_set_new();
    struct acl_set *second = acl_set_with(first, acl_user_new(SLICE("a"), false));
    struct acl_user *a = acl_user_ref(acl_set_find(second, SLICE("a")));
    struct acl_set *third = acl_set_with(second, acl_user_copy(a));
    cr_assert_neq(acl_set_find(third, SLICE("a")), a);
    cr_assert_eq(acl_set_find_same(third, a), acl_set_find(third, SLICE("a")));
    struct acl_set *without = acl_set_without(third, a);
    cr_assert_null(acl_set_find_same(without, a));
    struct acl_set *again = acl_set_with(without, acl_user_new(SLICE("a"), false));
    cr_assert_null(acl_set_find_same(again, a)); /* the same name, somebody else */
    cr_assert_eq(acl_set_count(again), 2);
    acl_user_unref(a);
    acl_set_unref(first);
    acl_set_unref(second);
    acl_set_unref(third);
    acl_set_unref(without);
    acl_set_unref(again);
}

Test(acl, files)
{
    struct buf error = {0}, text = {0};
    struct acl_set *before = acl_set_new();
    struct slice file = SLICE("user b on nopass ~x +@all\r\n\n  user a (+get ~y) \n");
    struct acl_set *set = acl_set_parse(before, file, "f", false, &error);
    cr_assert_not_null(set);
    cr_assert_eq(acl_set_count(set), 3);
    cr_assert_not_null(acl_set_find_same(set, acl_set_default(before)));
    acl_set_write(set, &text);
    struct acl_set *copy = acl_set_parse(set, buf_slice(&text), "f", false, &error);
    cr_assert_not_null(copy);
    cr_assert_not_null(acl_set_find_same(copy, acl_set_find(set, SLICE("b"))));
    cr_assert_null(acl_set_parse(set, SLICE("user a\nuser a\nuser b +nosuch foo bar"), "f", false,
                                 &error));
    struct slice told = SLICE(
        "WARNING: Duplicate user 'a' found on line 2. f:3: Error in applying operation '+nosuch': "
        "Unknown command or category name in ACL. f:3: Syntax error. WARNING: ACL errors detected, "
        "no change to the previously active ACL rules was performed");
    cr_assert(slice_equal(buf_slice(&error), told), "%.*s", (int)error.len, error.ptr);
    acl_set_unref(before);
    acl_set_unref(set);
    acl_set_unref(copy);
    buf_deinit(&error);
    buf_deinit(&text);
}

Test(acl, channels_that_are_lost)
{
    struct acl_user *all = user_with(RULES(SLICE("allchannels")));
    struct acl_user *two = user_with(RULES(SLICE("&a"), SLICE("&b")));
    struct acl_user *one = user_with(RULES(SLICE("&a"), SLICE("(&c)")));
    cr_assert(acl_channels_lost(all, two) && acl_channels_lost(two, one));
    cr_assert_not(acl_channels_lost(two, all) || acl_channels_lost(two, two));
    cr_assert(acl_may_hear(one, SLICE("c"), false) && !acl_may_hear(one, SLICE("b"), false));
    acl_user_unref(all);
    acl_user_unref(two);
    acl_user_unref(one);
}
