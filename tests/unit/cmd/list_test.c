/* Lists: replies, effects, encodings; what two shards do to move an element. (The differential test
 * covers the options; keyspace/list_type_test.c the nodes.) */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "script.h"
#include "splitring/base/mem.h"

#define OK "+OK\r\n"
#define ONE ":1\r\n"
#define ZERO ":0\r\n"
#define NIL "$-1\r\n"
#define NIL_ARRAY "*-1\r\n"
#define EMPTY "*0\r\n"
#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define NOT_INT "-ERR value is not an integer or out of range\r\n"
#define POSITIVE "-ERR value is out of range, must be positive\r\n"
#define LISTPACK "$8\r\nlistpack\r\n"
#define QUICKLIST "$9\r\nquicklist\r\n"
#define A "$1\r\na\r\n"
#define B "$1\r\nb\r\n"
#define C "$1\r\nc\r\n"

/* clang-format off */
Test(list, ends)
{
    SCRIPT({"RPUSH l b c", ":2\r\n", SAME},
           {"LPUSH l a", ":3\r\n", SAME},
           {"LPUSHX l x y", ":5\r\n", SAME},
           {"RPUSHX none x", ZERO, NULL},
           {"LPUSHX none x", ZERO, NULL},
           {"LPOP l 2", "*2\r\n$1\r\ny\r\n$1\r\nx\r\n", SAME},
           {"LLEN l", ":3\r\n", NULL},
           {"LRANGE l 0 -1", "*3\r\n" A B C, NULL},
           {"RPOP l 2", "*2\r\n" C B, SAME},
           {"LPOP l 0", EMPTY, NULL},
           {"LPOP l -1", POSITIVE, NULL},
           {"LPOP l x", POSITIVE, NULL},
           {"LPOP l 1 2", "-ERR wrong number of arguments for 'lpop' command\r\n", NULL},
           {"RPOP l", A, SAME},
           {"RPOP l", NIL, NULL},
           {"RPOP l 3", NIL_ARRAY, NULL},
           {"EXISTS l", ZERO, NULL},
           {"SET s 1", OK, SAME},
           {"LPUSH s a", WRONGTYPE, NULL},
           {"LPOP s", WRONGTYPE, NULL},
           {"LLEN s", WRONGTYPE, NULL});
}

Test(list, places)
{
    SCRIPT({"RPUSH l a b c 12 b", ":5\r\n", SAME},
           {"LINDEX l 0", A, NULL},
           {"LINDEX l -1", B, NULL},
           {"LINDEX l 3", "$2\r\n12\r\n", NULL},
           {"LINDEX l 5", NIL, NULL},
           {"LINDEX l -6", NIL, NULL},
           {"LINDEX none x", NIL, NULL},
           {"LINDEX l x", NOT_INT, NULL},
           {"LRANGE l 1 2", "*2\r\n" B C, NULL},
           {"LRANGE l -2 100", "*2\r\n$2\r\n12\r\n" B, NULL},
           {"LRANGE l -100 0", "*1\r\n" A, NULL},
           {"LRANGE l 3 2", EMPTY, NULL},
           {"LRANGE none 0 x", NOT_INT, NULL},
           {"LRANGE none 0 1", EMPTY, NULL},
           {"LSET l 3 13", OK, SAME},
           {"LSET l 9 x", "-ERR index out of range\r\n", NULL},
           {"LSET none 0 x", "-ERR no such key\r\n", NULL},
           {"LINSERT l BEFORE c x", ":6\r\n", SAME},
           {"LINSERT l after 13 y", ":7\r\n", SAME},
           {"LINSERT l after z y", ":-1\r\n", NULL},
           {"LINSERT none after z y", ZERO, NULL},
           {"LINSERT l foo z y", SYNTAX, NULL},
           {"LRANGE l 0 -1", "*7\r\n" A B "$1\r\nx\r\n" C "$2\r\n13\r\n$1\r\ny\r\n" B, NULL},
           {"LREM l -1 b", ONE, SAME},
           {"LREM l 0 none", ZERO, NULL},
           {"LREM l -9223372036854775808 b", "-ERR value is out of range, value must between "
            "-9223372036854775807 and 9223372036854775807\r\n", NULL},
           {"LTRIM l 1 -2", OK, SAME},
           {"LTRIM l 0 -1", OK, NULL},
           {"LRANGE l 0 -1", "*4\r\n" B "$1\r\nx\r\n" C "$2\r\n13\r\n", NULL},
           {"LTRIM l 5 9", OK, SAME},
           {"EXISTS l", ZERO, NULL},
           {"LTRIM none 0 1", OK, NULL});
}

Test(list, positions)
{
    SCRIPT({"RPUSH l a b c 1 2 3 c c", ":8\r\n", SAME},
           {"LPOS l c", ":2\r\n", NULL},
           {"LPOS l c RANK 2", ":6\r\n", NULL},
           {"LPOS l c RANK -1", ":7\r\n", NULL},
           {"LPOS l c RANK -3 COUNT 2", "*1\r\n:2\r\n", NULL},
           {"LPOS l c COUNT 0", "*3\r\n:2\r\n:6\r\n:7\r\n", NULL},
           {"LPOS l c COUNT 2 RANK -1", "*2\r\n:7\r\n:6\r\n", NULL},
           {"LPOS l c MAXLEN 2", NIL, NULL},
           {"LPOS l c MAXLEN 3 COUNT 0", "*1\r\n:2\r\n", NULL},
           {"LPOS l c MAXLEN 1 RANK -1", ":7\r\n", NULL},
           {"LPOS l 3", ":5\r\n", NULL},
           {"LPOS l x", NIL, NULL},
           {"LPOS l x COUNT 1", EMPTY, NULL},
           {"LPOS none x", NIL, NULL},
           {"LPOS none x COUNT 1", EMPTY, NULL},
           {"LPOS l c RANK 0", "-ERR RANK can't be zero: use 1 to start from the first match, 2 "
            "from the second ... or use negative to start from the end of the list\r\n", NULL},
           {"LPOS l c COUNT -1", "-ERR COUNT can't be negative\r\n", NULL},
           {"LPOS l c MAXLEN -1", "-ERR MAXLEN can't be negative\r\n", NULL},
           {"LPOS l c RANK", SYNTAX, NULL});
}

Test(list, several_keys)
{
    SCRIPT({"RPUSH b a b c", ":3\r\n", SAME},
           {"LMPOP 2 a b LEFT", "*2\r\n" B "*1\r\n" A, "LPOP b 1"},
           {"LMPOP 2 a b RIGHT COUNT 9", "*2\r\n" B "*2\r\n" C B, "RPOP b 2"},
           {"LMPOP 2 a b RIGHT", NIL_ARRAY, NULL},
           {"LMPOP 0 a LEFT", "-ERR numkeys should be greater than 0\r\n", NULL},
           {"LMPOP 2 a LEFT", SYNTAX, NULL},
           {"LMPOP 1 a FOO", SYNTAX, NULL},
           {"LMPOP 1 a LEFT COUNT 0", "-ERR count should be greater than 0\r\n", NULL},
           {"LMPOP 1 a LEFT COUNT 1 COUNT 1", SYNTAX, NULL},
           {"BLPOP a b 0", NIL_ARRAY, NULL}, /* as inside MULTI */
           {"RPUSH b a b c", ":3\r\n", SAME},
           {"BLPOP a b 0", "*2\r\n" B A, "LPOP b"},
           {"BRPOP a b 1.5", "*2\r\n" B C, "RPOP b"},
           {"BLMPOP 0 2 a b LEFT COUNT 5", "*2\r\n" B "*1\r\n" B, "LPOP b 1"},
           {"BLPOP a -1", "-ERR timeout is negative\r\n", NULL},
           {"BLPOP a x", "-ERR timeout is not a float or out of range\r\n", NULL});
}

Test(list, moving)
{
    SCRIPT({"RPUSH x a b c", ":3\r\n", SAME},
           {"LMOVE x y LEFT RIGHT", A, SAME},
           {"RPOPLPUSH x y", C, SAME},
           {"LRANGE y 0 -1", "*2\r\n" C A, NULL},
           {"LMOVE y y LEFT RIGHT", C, SAME},
           {"LRANGE y 0 -1", "*2\r\n" A C, NULL},
           {"LMOVE y y LEFT LEFT", A, SAME},
           {"LMOVE y y foo LEFT", SYNTAX, NULL},
           {"BLMOVE x y LEFT LEFT 0", B, "LMOVE x y LEFT LEFT"},
           {"EXISTS x", ZERO, NULL},
           {"BLMOVE x y LEFT LEFT 0", NIL, NULL},
           {"BRPOPLPUSH y x 0", C, "RPOPLPUSH y x"},
           {"LMOVE none y LEFT LEFT", NIL, NULL},
           {"SET s 1", OK, SAME},
           {"LMOVE none s LEFT LEFT", NIL, NULL},
           {"LMOVE y s LEFT LEFT", WRONGTYPE, NULL},
           {"LMOVE s y LEFT LEFT", WRONGTYPE, NULL});
}
/* clang-format on */

Test(list, encodings)
{
    struct handler_world w;
    handler_init(&w, 1, 1);
    w.env.list_max_listpack_size = 4;
    cr_assert_str_eq(handler_run_line(&w, "RPUSH l 1 2 3 4"), ":4\r\n");
    cr_assert_str_eq(handler_run_line(&w, "OBJECT ENCODING l"), LISTPACK);
    cr_assert_str_eq(handler_run_line(&w, "RPUSH l 5"), ":5\r\n");
    cr_assert_str_eq(handler_run_line(&w, "OBJECT ENCODING l"), QUICKLIST);
    cr_assert_str_eq(handler_run_line(&w, "RPOP l 2"), "*2\r\n$1\r\n5\r\n$1\r\n4\r\n");
    cr_assert_str_eq(handler_run_line(&w, "OBJECT ENCODING l"), QUICKLIST);
    cr_assert_str_eq(handler_run_line(&w, "RPOP l"), "$1\r\n3\r\n");
    cr_assert_str_eq(handler_run_line(&w, "OBJECT ENCODING l"), LISTPACK);
    cr_assert_str_eq(handler_run_line(&w, "LSET l 7 x"), "-ERR index out of range\r\n");
    handler_deinit(&w);
}
