/* PFADD and its relatives: replies, effects, hostile strings. (What the values are to the byte is
 * in hll_test.c, and is compared with redis-server by tests/compat.) */
#include <criterion/criterion.h>

#include "script.h"

#define OK "+OK\r\n"
#define ONE ":1\r\n"
#define ZERO ":0\r\n"
#define NOT_HLL "-WRONGTYPE Key is not a valid HyperLogLog string value.\r\n"
#define CORRUPT "-INVALIDOBJ Corrupted HLL object detected\r\n"
#define NO_KEY "-ERR The specified key does not exist\r\n"

/* clang-format off */
Test(hyperloglog, adds_and_counts)
{
    SCRIPT({"PFCOUNT h", ZERO, NULL},
           {"PFADD h", ONE, SAME},
           {"PFADD h", ZERO, NULL},
           {"STRLEN h", ":18\r\n", NULL},
           {"OBJECT ENCODING h", "$3\r\nraw\r\n", NULL},
           {"PFADD h a b c d e f g", ONE, SAME},
           {"PFCOUNT h", ":7\r\n", SAME},
           {"PFCOUNT h", ":7\r\n", NULL}, /* kept in the value */
           {"PFADD h a g", ZERO, NULL},
           {"PFCOUNT h", ":7\r\n", NULL},
           {"PFADD h h", ONE, SAME},
           {"PFCOUNT h", ":8\r\n", SAME},
           {"EXPIRE h 100", ONE, "PEXPIREAT h 1700000100000"},
           {"PFADD h i", ONE, SAME},
           {"TTL h", ":100\r\n", NULL});
}

Test(hyperloglog, several_keys)
{
    SCRIPT({"PFADD a 1 2 3", ONE, SAME},
           {"PFADD b 3 4 5 6", ONE, SAME},
           {"PFCOUNT a b none", ":6\r\n", NULL}, /* nothing is kept */
           {"PFMERGE d a b none", OK, SAME},
           {"PFCOUNT d", ":6\r\n", SAME},
           {"PFMERGE d", OK, SAME},
           {"PFCOUNT d", ":6\r\n", SAME},
           {"PFMERGE a b", OK, SAME},
           {"PFCOUNT a", ":6\r\n", SAME},
           {"PFMERGE new", OK, SAME},
           {"PFCOUNT new", ZERO, SAME},
           {"PFDEBUG TODENSE b", ONE, SAME},
           {"PFDEBUG TODENSE b", ZERO, NULL},
           {"STRLEN b", ":12304\r\n", NULL},
           {"PFMERGE new b", OK, SAME},
           {"PFDEBUG ENCODING new", "+dense\r\n", NULL},
           {"PFADD new 7 7", ONE, SAME},
           {"PFADD new 7", ZERO, NULL},
           {"PFCOUNT new", ":5\r\n", SAME});
}

Test(hyperloglog, hostile_strings)
{
    SCRIPT({"SET s text", OK, SAME},
           {"PFADD s a", NOT_HLL, NULL},
           {"PFCOUNT s", NOT_HLL, NULL},
           {"PFCOUNT none s", NOT_HLL, NULL},
           {"PFMERGE d s", NOT_HLL, NULL},
           {"PFDEBUG DECODE s", NOT_HLL, NULL},
           {"SET n 12", OK, SAME},
           {"PFADD n a", NOT_HLL, NULL},
           {"SET c \"HYLL\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x00\"", OK,
            "SET c HYLL\x01"},
           {"PFADD c a", CORRUPT, NULL},
           {"PFCOUNT c", CORRUPT, NULL},
           {"PFCOUNT c none", CORRUPT, NULL},
           {"PFMERGE d c", CORRUPT, NULL},
           {"PFMERGE c", CORRUPT, NULL},
           {"PFDEBUG GETREG c", CORRUPT, NULL},
           {"PFDEBUG TODENSE c", CORRUPT, NULL},
           {"PFDEBUG DECODE c", "$3\r\nz:1\r\n", NULL},
           {"EXISTS d", ZERO, NULL});
}

Test(hyperloglog, debugging)
{
    SCRIPT({"PFDEBUG GETREG none", NO_KEY, NULL},
           {"PFADD h a", ONE, SAME},
           {"PFDEBUG nosuch h", "-ERR Unknown PFDEBUG subcommand 'nosuch'\r\n", NULL},
           {"PFDEBUG encoding h", "+sparse\r\n", NULL},
           {"PFDEBUG decode h", "$20\r\nZ:12711 v:2,1 Z:3672\r\n", NULL},
           {"PFDEBUG todense h", ONE, SAME},
           {"PFDEBUG decode h", "-ERR HLL encoding is not sparse\r\n", NULL},
           {"PFSELFTEST", OK, NULL});
}
/* clang-format on */
