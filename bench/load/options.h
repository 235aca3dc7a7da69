/* The load generator's command line.
 *
 * Thread: main parses; constant afterwards. */
#ifndef BENCH_LOAD_OPTIONS_H
#define BENCH_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define OPTIONS_CPUS_MAX 64

enum pattern { PATTERN_UNIFORM, PATTERN_ZIPF, PATTERN_SEQUENTIAL };

/* Each key of the range exactly once, with one kind of request; NONE: the mixed load. */
enum walk { WALK_NONE, WALK_SET, WALK_GET, WALK_DEL };

/* With --shards: whose keys a connection asks for. */
enum locality { LOCALITY_OWN, LOCALITY_ANY, LOCALITY_OTHER };

struct options {
    /* where to */
    const char *host;
    const char *port;
    const char *unix_path; /* instead of host and port; NULL: TCP */

    /* how much at once */
    unsigned threads;
    unsigned clients; /* over all threads */
    unsigned pipeline;

    /* what */
    unsigned sets; /* a cycle is `sets` SETs followed by `gets` GETs */
    unsigned gets;
    enum walk walk;
    const char *command; /* its words; instead of GETs and SETs; NULL */
    unsigned data_len;
    uint64_t ttl_s; /* 0: SET without EX */

    /* which keys */
    uint64_t keys;
    unsigned key_len;
    const char *prefix; /* NULL: the default for the mode */
    enum pattern pattern;
    double zipf_exponent;
    uint64_t seed;
    char **tags; /* connection i uses tags[i % tag_count] */
    unsigned tag_count;
    unsigned shards; /* 0: no tags of shards */
    enum locality locality;
    int worker; /* all connections on this one, as far as the server tells; -1: as they come */

    /* how long and how fast */
    double warmup_s;
    double duration_s;
    uint64_t requests; /* 0: by time */
    double rate;       /* requests per second over all connections; 0: as fast as replies come */

    /* around it */
    unsigned cpus[OPTIONS_CPUS_MAX];
    unsigned cpu_count;
    pid_t server_pid; /* 0: do not measure the server's CPU time */
    bool server_time; /* time each batch on the server's CPU clock too */
    unsigned slowest;
    bool json;
};

/* Prints what is wrong and exits with 1, or help and exits with 0. */
void options_parse(struct options *options, int argc, char **argv);

#endif
