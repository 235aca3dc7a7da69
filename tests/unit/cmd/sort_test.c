/* SORT: order, patterns, ranges, what is stored and what the journal gets. (tests/compat compares
 * generated calls with redis-server.) */
#include <criterion/criterion.h>

#include "script.h"

#define OK "+OK\r\n"
#define ZERO ":0\r\n"
#define EMPTY "*0\r\n"
#define LIST3(a, b, c) "*3\r\n$1\r\n" a "\r\n$1\r\n" b "\r\n$1\r\n" c "\r\n"
#define LIST2(a, b) "*2\r\n$1\r\n" a "\r\n$1\r\n" b "\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define NOT_DOUBLE "-ERR One or more scores can't be converted into double\r\n"
#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

/* clang-format off */
Test(sort, orders_and_ranges)
{
    SCRIPT({"RPUSH l 3 1 2", ":3\r\n", SAME},
           {"SORT l", LIST3("1", "2", "3"), NULL},
           {"SORT l DESC", LIST3("3", "2", "1"), NULL},
           {"SORT_RO l DESC ASC", LIST3("1", "2", "3"), NULL},
           {"SORT l BY nosort", LIST3("3", "1", "2"), NULL},
           {"SORT l BY nosort DESC LIMIT 0 2", LIST2("2", "1"), NULL},
           {"SORT l LIMIT 1 10", LIST2("2", "3"), NULL},
           {"SORT l LIMIT -5 2", LIST2("1", "2"), NULL},
           {"SORT l LIMIT 1 -1", LIST2("2", "3"), NULL},
           {"SORT l LIMIT 3 1", EMPTY, NULL},
           {"SORT l LIMIT 9223372036854775807 9223372036854775807", EMPTY, NULL},
           {"SORT none", EMPTY, NULL},
           {"ZADD z 1 b 2 a 3 c", ":3\r\n", SAME},
           {"SORT z ALPHA", LIST3("a", "b", "c"), NULL},
           {"SORT z BY nosort", LIST3("b", "a", "c"), NULL},
           {"SORT z BY nosort DESC LIMIT 1 5", LIST2("a", "b"), NULL},
           {"SADD s 10 9 100", ":3\r\n", SAME},
           {"SORT s", "*3\r\n$1\r\n9\r\n$2\r\n10\r\n$3\r\n100\r\n", NULL},
           {"SORT s ALPHA", "*3\r\n$2\r\n10\r\n$3\r\n100\r\n$1\r\n9\r\n", NULL});
}

Test(sort, patterns)
{
    SCRIPT({"RPUSH l 1 2 3", ":3\r\n", SAME},
           {"MSET w_1 30 w_2 10 w_3 20", OK, SAME},
           {"HSET h_1 f x", ":1\r\n", SAME},
           {"HSET h_2 f y", ":1\r\n", SAME},
           {"SORT l BY w_*", LIST3("2", "3", "1"), NULL},
           {"SORT l BY w_* GET # GET h_*->f LIMIT 0 2",
            "*4\r\n$1\r\n2\r\n$1\r\ny\r\n$1\r\n3\r\n$-1\r\n", NULL},
           {"SORT l BY h_*->f ALPHA DESC", LIST3("2", "1", "3"), NULL},
           {"SORT l BY nosuch_*", LIST3("1", "2", "3"), NULL},
           {"SORT l BY h_*", LIST3("1", "2", "3"), NULL},
           {"SORT l GET w_1 LIMIT 0 1", "*1\r\n$-1\r\n", NULL},
           {"SORT l GET h_*-> LIMIT 0 1", "*1\r\n$-1\r\n", NULL},
           {"SORT l BY h_*->f", NOT_DOUBLE, NULL},
           {"SORT l BY w_* STORE l", ":3\r\n", "DEL l; RPUSH l 2 3 1"},
           {"SORT l BY nosort GET h_*->f STORE d", ":3\r\n", "DEL d; RPUSH d y  x"},
           {"LRANGE d 0 -1", "*3\r\n$1\r\ny\r\n$0\r\n\r\n$1\r\nx\r\n", NULL});
}

Test(sort, stores)
{
    SCRIPT({"SADD s 3 1 2", ":3\r\n", SAME},
           {"SET d text EX 100", OK, "SET d text PXAT 1700000100000"},
           {"SORT s DESC STORE d", ":3\r\n", "DEL d; RPUSH d 3 2 1"},
           {"TTL d", ":-1\r\n", NULL},
           {"SORT s BY nosort STORE d", ":3\r\n", "DEL d; RPUSH d 1 2 3"},
           {"SORT s STORE s", ":3\r\n", "DEL s; RPUSH s 1 2 3"},
           {"SORT none STORE d", ZERO, "DEL d"},
           {"SORT none STORE d", ZERO, NULL},
           {"EXISTS d", ZERO, NULL});
}

Test(sort, refuses)
{
    SCRIPT({"RPUSH l a 1", ":2\r\n", SAME},
           {"SET str x", OK, SAME},
           {"SORT l", NOT_DOUBLE, NULL},
           {"SORT l STORE d", NOT_DOUBLE, NULL},
           {"SORT str", WRONGTYPE, NULL},
           {"SORT str FOO", SYNTAX, NULL},
           {"SORT l LIMIT 1", SYNTAX, NULL},
           {"SORT l LIMIT a 1", NOT_INT, NULL},
           {"SORT l LIMIT 1 1.5", NOT_INT, NULL},
           {"SORT l BY", SYNTAX, NULL},
           {"SORT l STORE", SYNTAX, NULL},
           {"SORT_RO l STORE d", SYNTAX, NULL},
           {"RPUSH n 0x10 ' 7' inf -inf ''", ":5\r\n", "RPUSH n 0x10  7 inf -inf "},
           {"SORT n LIMIT 1 3", "*3\r\n$0\r\n\r\n$2\r\n 7\r\n$4\r\n0x10\r\n", NULL},
           {"RPUSH o 1e400", ":1\r\n", SAME},
           {"SORT o", NOT_DOUBLE, NULL});
}
/* clang-format on */
