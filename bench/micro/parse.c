/* Times the request parser: ns per command for the shapes that matter, parsed out of a receive
 * buffer of 16 KiB that is full of them, as under pipelining.
 *
 *   bench_parse [rounds]       20000
 *
 * "cut" feeds the same bytes in pieces of 1460, so that a command in every piece is finished from
 * held memory; "bytes" is the worst client there is, one byte at a time. Best of five, since other
 * work shares the machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "splitring/base/check.h"
#include "splitring/resp/parse.h"

#define BUFFER 16384u
#define REPEATS 5

static const struct parse_limits limits = {512 * 1024 * 1024, true};

static double now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* Parses data[0..len) in pieces; returns the number of commands. */
static uint64_t run(struct parser *p, const char *data, size_t len, size_t piece)
{
    uint64_t commands = 0;
    for (size_t at = 0; at < len; at += piece) {
        size_t used = 0, here = len - at < piece ? len - at : piece;
        while (parse_next(p, &limits, data + at, here, &used) == PARSE_COMMAND) {
            /* the results are looked at, as a dispatcher would */
            commands += p->argv[p->argc - 1].ptr != NULL;
        }
    }
    return commands;
}

static void bench(const char *name, const char *command, size_t command_len, size_t piece,
                  int rounds)
{
    struct parse_pool pool;
    struct parser p;
    parse_pool_init(&pool);
    parse_init(&p, &pool);
    char *data = malloc(BUFFER);
    check(data);
    size_t len = 0;
    while (len + command_len <= BUFFER) {
        memcpy(data + len, command, command_len);
        len += command_len;
    }
    double best = 0;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        uint64_t commands = 0;
        double begin = now_ns();
        for (int i = 0; i < rounds; i++) commands += run(&p, data, len, piece);
        double each = (now_ns() - begin) / (double)commands;
        if (repeat == 0 || each < best) best = each;
    }
    printf("%-28s %8.1f ns/command\n", name, best);
    free(data);
    parse_deinit(&p);
    parse_pool_deinit(&pool);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 20000;
    static const char get[] = "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n";
    static const char set[] =
        "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$64\r\n"
        "0123456789012345678901234567890123456789012345678901234567890123\r\n";
    static const char ping[] = "PING\r\n";
    char mset[4096];
    int len = sprintf(mset, "*21\r\n$4\r\nMSET\r\n");
    for (int i = 0; i < 10; i++) {
        len += sprintf(mset + len, "$16\r\nkey:%012d\r\n$100\r\n%0100d\r\n", i, i);
    }
    bench("GET 16", get, sizeof(get) - 1, BUFFER, rounds);
    bench("SET 16 64", set, sizeof(set) - 1, BUFFER, rounds);
    bench("MSET 10 x 16 100", mset, (size_t)len, BUFFER, rounds);
    bench("PING inline", ping, sizeof(ping) - 1, BUFFER, rounds);
    bench("GET 16, cut", get, sizeof(get) - 1, 1460, rounds);
    bench("GET 16, single bytes", get, sizeof(get) - 1, 1, rounds / 100 + 1);
    return 0;
}
