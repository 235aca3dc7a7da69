/* Bitmaps: BITOP's operations of Redis 8.2 (the differential test covers the older ones), and what
 * only handlers decide: effects, limits, the 7.2 order of errors, BITFIELD's numbers.
 * Expectations: https://redis.io/docs/latest/commands/bitop/ and …/bitfield/ */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "script.h"

#define OK "+OK\r\n"
#define ONE ":1\r\n"
#define ZERO ":0\r\n"
#define SYNTAX "-ERR syntax error\r\n"
#define TWO(op) "-ERR BITOP " op " must be called with at least two source keys.\r\n"
#define OFFSET "-ERR bit offset is not an integer or out of range\r\n"
#define NOT_INT "-ERR value is not an integer or out of range\r\n"

/* clang-format off */
/* a = 00001111 00001111, b = 00110011, c = 01010101 01010101 11111111. */
#define SOURCES \
    {"BITFIELD a SET u16 0 3855", "*1\r\n:0\r\n", SAME}, \
    {"BITFIELD b SET u8 0 51", "*1\r\n:0\r\n", SAME}, \
    {"BITFIELD c SET u24 0 5592575", "*1\r\n:0\r\n", SAME}

Test(bitmap, bitop_of_many)
{
    SCRIPT(SOURCES,
           {"BITOP DIFF d a b c", ":3\r\n", SAME}, /* 00001000 00001010 00000000 */
           {"BITFIELD_RO d GET u24 0", "*1\r\n:526848\r\n", NULL},
           {"BITOP DIFF1 d a b c", ":3\r\n", SAME}, /* 01110000 01010000 11111111 */
           {"BITFIELD_RO d GET u24 0", "*1\r\n:7360767\r\n", NULL},
           {"BITOP ANDOR d a b c", ":3\r\n", SAME}, /* 00000111 00000101 00000000 */
           {"BITFIELD_RO d GET u24 0", "*1\r\n:460032\r\n", NULL},
           {"BITOP ONE d a b c", ":3\r\n", SAME}, /* 01101000 01011010 11111111 */
           {"BITFIELD_RO d GET u24 0", "*1\r\n:6839039\r\n", NULL},
           {"bitop one a a", ":2\r\n", SAME},
           {"BITFIELD_RO a GET u16 0", "*1\r\n:3855\r\n", NULL},
           {"BITOP ONE a a a", ":2\r\n", SAME},
           {"BITFIELD_RO a GET u16 0", "*1\r\n:0\r\n", NULL},
           {"BITOP ONE d none", ZERO, SAME},
           {"EXISTS d", ZERO, NULL},
           {"BITOP ONE d none", ZERO, NULL},
           {"BITOP DIFF d none c", ":3\r\n", SAME});
}

Test(bitmap, bitop_refuses)
{
    SCRIPT(SOURCES,
           {"BITOP DIFF d a", TWO("DIFF"), NULL},
           {"BITOP diff1 d a", TWO("DIFF1"), NULL},
           {"BITOP ANDOR d a", TWO("ANDOR"), NULL},
           {"BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key.\r\n", NULL},
           {"BITOP NAND d a b", SYNTAX, NULL},
           {"BITOP DIFF2 d a b", SYNTAX, NULL},
           {"EXISTS d", ZERO, NULL});
}

Test(bitmap, effects)
{
    SCRIPT({"SETBIT k 7 1", ZERO, SAME},
           {"SETBIT k 7 1", ONE, NULL},
           {"SETBIT k 7 0", ONE, SAME},
           {"SETBIT k 30 0", ZERO, SAME},
           {"STRLEN k", ":4\r\n", NULL},
           {"BITFIELD k SET u8 0 0", "*1\r\n:0\r\n", NULL},
           {"BITFIELD k SET u8 0 1", "*1\r\n:0\r\n", SAME},
           {"BITFIELD k INCRBY u8 0 255 OVERFLOW FAIL INCRBY u8 0 -1", "*2\r\n:0\r\n$-1\r\n", SAME},
           {"BITFIELD k OVERFLOW FAIL INCRBY u8 0 -1", "*1\r\n$-1\r\n", NULL},
           {"BITFIELD n OVERFLOW FAIL INCRBY u8 0 -1", "*1\r\n$-1\r\n", SAME},
           {"STRLEN n", ONE, NULL},
           {"BITFIELD n GET u8 100", "*1\r\n:0\r\n", NULL},
           {"BITFIELD n", "*0\r\n", NULL},
           {"STRLEN n", ONE, NULL});
}

Test(bitmap, errors_come_before_the_key)
{
    SCRIPT({"BITCOUNT none x 1", NOT_INT, NULL},
           {"BITCOUNT none 1", SYNTAX, NULL},
           {"BITCOUNT none 0 -1 BITS", SYNTAX, NULL},
           {"BITCOUNT none 0 -1 BIT", ZERO, NULL},
           {"BITPOS none 1 x", NOT_INT, NULL},
           {"BITPOS none 1 0 x BITS", SYNTAX, NULL},
           {"BITPOS none 2", "-ERR The bit argument must be 1 or 0.\r\n", NULL},
           {"BITPOS none 0 5", ZERO, NULL},
           {"BITPOS none 1", ":-1\r\n", NULL});
}

Test(bitmap, fields)
{
    SCRIPT({"BITFIELD k SET i64 0 -9223372036854775808", "*1\r\n:0\r\n", SAME},
           {"BITFIELD k OVERFLOW SAT INCRBY i64 0 -1", "*1\r\n:-9223372036854775808\r\n", NULL},
           {"BITFIELD k INCRBY i64 0 -1", "*1\r\n:9223372036854775807\r\n", SAME},
           {"BITFIELD k OVERFLOW FAIL INCRBY i64 0 1", "*1\r\n$-1\r\n", NULL},
           {"BITFIELD k OVERFLOW SAT SET i8 0 -9223372036854775808 GET i8 0",
            "*2\r\n:127\r\n:-128\r\n", SAME},
           {"BITFIELD k SET u63 #1 -1 GET u63 #1",
            "*2\r\n:4611686018427387904\r\n:9223372036854775807\r\n", SAME},
           {"BITFIELD k OVERFLOW SAT INCRBY u63 #1 9223372036854775807",
            "*1\r\n:9223372036854775807\r\n", NULL},
           {"BITFIELD k SET u8 #9223372036854775807 1", OFFSET, NULL},
           {"BITFIELD k SET u8 4294967296 1", OFFSET, NULL},
           {"BITFIELD_RO k GET u8 0 SET u8 0 1",
            "-ERR BITFIELD_RO only supports the GET subcommand\r\n", NULL});
}

/* clang-format on */

Test(bitmap, offsets_stay_below_the_limit)
{
    struct handler_world w;
    handler_init(&w, 1, 3);
    w.env.proto_max_bulk_len = 100;
    cr_assert_str_eq(handler_run_line(&w, "SETBIT k 799 1"), ZERO);
    cr_assert_str_eq(handler_run_line(&w, "SETBIT k 800 1"), OFFSET);
    cr_assert_str_eq(handler_run_line(&w, "GETBIT k 800"), OFFSET);
    cr_assert_str_eq(handler_run_line(&w, "BITFIELD k SET u8 #99 7"), "*1\r\n:1\r\n");
    cr_assert_str_eq(handler_run_line(&w, "BITFIELD k SET u8 #100 7"), OFFSET);
    cr_assert_str_eq(handler_run_line(&w, "STRLEN k"), ":100\r\n");
    handler_deinit(&w);
}
