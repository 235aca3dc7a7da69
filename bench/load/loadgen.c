/* loadgen: a load of GET and SET on a Redis-like server, cheap enough that the server is the limit.
 *
 *     main      parses options, starts the threads, sets the phase, samples two counters per thread
 *               and the server's CPU time at both ends of the measured time, prints the report
 *     threads   client.c: drive the connections, each its own histogram
 *
 * The measured window is cut by main's clock, not by the requests in it: what was under way at its
 * borders is counted on the side on which its reply came. A run by count (--requests, a walk) is
 * measured whole and has no warm-up. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "server_cpu.h"

struct sample {
    uint64_t at_ns;
    struct client_totals totals;
    struct cpu_time server;
    struct cpu_time own;
};

struct report {
    double seconds;
    uint64_t requests;
    uint64_t requests_all; /* with those of the warm-up */
    uint64_t sets;
    struct cpu_time server;
    struct cpu_time own;
    struct reply_counts counts;
    unsigned broken;
    unsigned *per_shard;
    bool workers_told;
    struct histogram latency;
    struct histogram server_time;
};

static struct cpu_time own_cpu_time(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (struct cpu_time){
        .user_s = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec * 1e-6,
        .system_s = (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec * 1e-6,
    };
}

static struct sample sample_take(const struct load *load, const struct client_thread *threads)
{
    struct sample sample = {.at_ns = clock_ns()};

    for (unsigned i = 0; i < load->options->threads; i++) {
        struct client_totals totals = client_thread_totals(&threads[i]);
        sample.totals.requests += totals.requests;
        sample.totals.sets += totals.sets;
    }
    if (load->options->server_pid != 0) {
        sample.server = server_cpu_get(load->options->server_pid);
    }
    sample.own = own_cpu_time();
    return sample;
}

/* Sleeps, unless all threads have ended. */
static void sleep_at_work(struct load *load, double seconds)
{
    uint64_t end_ns = clock_ns() + (uint64_t)(seconds * 1e9);

    while (atomic_load(&load->threads_at_work) != 0) {
        uint64_t now_ns = clock_ns();
        if (now_ns >= end_ns) {
            return;
        }
        uint64_t wait_ns = end_ns - now_ns < 20000000u ? end_ns - now_ns : 20000000u;
        struct timespec wait = {.tv_nsec = (long)wait_ns};
        nanosleep(&wait, NULL);
    }
}

static void report_difference(struct report *report, const struct sample *from,
                              const struct sample *to)
{
    report->seconds = (double)(to->at_ns - from->at_ns) * 1e-9;
    report->requests = to->totals.requests - from->totals.requests;
    report->sets = to->totals.sets - from->totals.sets;
    report->server.user_s = to->server.user_s - from->server.user_s;
    report->server.system_s = to->server.system_s - from->server.system_s;
    report->own.user_s = to->own.user_s - from->own.user_s;
    report->own.system_s = to->own.system_s - from->own.system_s;
}

static void phases_run(struct load *load, struct client_thread *threads, struct report *report)
{
    const struct options *o = load->options;
    struct sample from;
    struct sample to;

    if (o->walk != WALK_NONE || o->requests != 0) {
        from = sample_take(load, threads);
        atomic_store(&load->phase, PHASE_MEASURE);
        for (unsigned i = 0; i < o->threads; i++) {
            client_thread_join(&threads[i]);
        }
        to = sample_take(load, threads);
    } else {
        atomic_store(&load->phase, PHASE_WARMUP);
        sleep_at_work(load, o->warmup_s);
        from = sample_take(load, threads);
        atomic_store(&load->phase, PHASE_MEASURE);
        sleep_at_work(load, o->duration_s);
        to = sample_take(load, threads);
        atomic_store(&load->phase, PHASE_STOP);
        for (unsigned i = 0; i < o->threads; i++) {
            client_thread_join(&threads[i]);
        }
    }
    report_difference(report, &from, &to);
    report->requests_all = to.totals.requests;
}

static void report_sum_up(struct report *report, const struct load *load,
                          const struct client_thread *threads)
{
    histogram_init(&report->latency, load->options->slowest);
    histogram_init(&report->server_time, load->options->slowest);
    report->workers_told = load->options->shards != 0;
    for (unsigned i = 0; i < load->options->threads; i++) {
        const struct client_thread *thread = &threads[i];
        histogram_merge(&report->latency, &thread->latency);
        histogram_merge(&report->server_time, &thread->server_time);
        report->counts.nulls += thread->counts.nulls;
        report->counts.errors += thread->counts.errors;
        report->broken += thread->conns_broken;
        if (report->counts.error_len == 0) {
            report->counts.error_len = thread->counts.error_len;
            memcpy(report->counts.error, thread->counts.error, sizeof report->counts.error);
        }
        bool told = client_thread_workers_add(thread, report->per_shard, load->options->shards);
        report->workers_told = report->workers_told && told;
    }
}

static double quantile_us(const struct histogram *h, double q)
{
    return (double)histogram_quantile_ns(h, q) * 1e-3;
}

static double mean_us(const struct histogram *h)
{
    return h->count == 0 ? 0 : (double)h->sum_ns / (double)h->count * 1e-3;
}

static double per_request_us(double seconds, const struct report *report)
{
    return report->requests == 0 ? 0 : seconds * 1e6 / (double)report->requests;
}

static void json_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < 0x20 || c > 0x7e) {
            printf("\\u%04x", c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

/* The fields of one histogram, without braces. */
static void json_histogram(const struct histogram *h)
{
    printf("\"p50_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f, \"max_us\": %.3f"
           ", \"mean_us\": %.3f, \"above_1ms\": %" PRIu64,
           quantile_us(h, 0.5), quantile_us(h, 0.99), quantile_us(h, 0.999),
           (double)h->max_ns * 1e-3, mean_us(h), histogram_count_above(h, 1000000));
    if (h->slowest_cap == 0) {
        return;
    }
    printf(", \"slowest\": [");
    for (unsigned i = 0; i < h->slowest_count; i++) {
        printf("%s{\"us\": %.1f, \"at\": %" PRIu64 "}", i == 0 ? "" : ", ",
               (double)h->slowest[i].took_ns * 1e-3, h->slowest[i].at);
    }
    putchar(']');
}

static void report_json(const struct report *report, const struct options *o)
{
    printf("{\"seconds\": %.6f, \"requests\": %" PRIu64 ", \"requests_all\": %" PRIu64
           ", \"sets\": %" PRIu64 ", \"ops_per_s\": %.1f, ",
           report->seconds, report->requests, report->requests_all, report->sets,
           (double)report->requests / report->seconds);
    json_histogram(&report->latency);
    printf(", \"nulls\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"broken\": %u, \"error\": ",
           report->counts.nulls, report->counts.errors, report->broken);
    json_text(report->counts.error);
    if (o->server_pid != 0) {
        printf(", \"server_user_us\": %.5f, \"server_system_us\": %.5f, \"server_cpus\": %.4f",
               per_request_us(report->server.user_s, report),
               per_request_us(report->server.system_s, report),
               (report->server.user_s + report->server.system_s) / report->seconds);
    }
    printf(", \"load_cpus\": %.4f", (report->own.user_s + report->own.system_s) / report->seconds);
    if (o->shards != 0) {
        printf(", \"workers_told\": %s, \"conns_per_shard\": [",
               report->workers_told ? "true" : "false");
        for (unsigned i = 0; i < o->shards; i++) {
            printf("%s%u", i == 0 ? "" : ", ", report->per_shard[i]);
        }
        putchar(']');
    }
    if (o->server_time) {
        printf(", \"server_time\": {");
        json_histogram(&report->server_time);
        putchar('}');
    }
    puts("}");
}

static void text_histogram(const char *name, const struct histogram *h)
{
    printf("%s us: p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n", name, quantile_us(h, 0.5),
           quantile_us(h, 0.99), quantile_us(h, 0.999), (double)h->max_ns * 1e-3);
    for (unsigned i = 0; i < h->slowest_count; i++) {
        printf("    %.1f, after %" PRIu64 " requests\n", (double)h->slowest[i].took_ns * 1e-3,
               h->slowest[i].at);
    }
}

static void report_text(const struct report *report, const struct options *o)
{
    printf("%" PRIu64 " requests in %.3f s: %.0f/s, %" PRIu64 " SETs, %" PRIu64 " nulls, %" PRIu64
           " errors\n",
           report->requests, report->seconds, (double)report->requests / report->seconds,
           report->sets, report->counts.nulls, report->counts.errors);
    text_histogram("latency", &report->latency);
    if (o->server_time) {
        text_histogram("server's time for a batch", &report->server_time);
    }
    if (o->server_pid != 0) {
        printf("server CPU us per request: %.3f (user %.3f, system %.3f), %.2f CPUs busy\n",
               per_request_us(report->server.user_s + report->server.system_s, report),
               per_request_us(report->server.user_s, report),
               per_request_us(report->server.system_s, report),
               (report->server.user_s + report->server.system_s) / report->seconds);
    }
    printf("load: %.2f CPUs busy\n", (report->own.user_s + report->own.system_s) / report->seconds);
    for (unsigned i = 0; i < o->shards; i++) {
        printf("shard %u: %u connections%s\n", i, report->per_shard[i],
               report->workers_told ? "" : " (worker not told, by number)");
    }
}

/* Returns how many threads run; fewer than asked for means that something failed. */
static unsigned threads_start(struct load *load, struct client_thread *threads)
{
    const struct options *o = load->options;
    unsigned first = 0;

    for (unsigned i = 0; i < o->threads; i++) {
        unsigned count = o->clients / o->threads + (i < o->clients % o->threads);
        if (client_thread_start(&threads[i], load, i, first, count) != 0) {
            return i;
        }
        first += count;
    }
    return o->threads;
}

static int load_run(struct load *load, struct report *report)
{
    const struct options *o = load->options;
    struct client_thread *threads = calloc(o->threads, sizeof *threads);

    report->per_shard = calloc(o->shards + 1, sizeof *report->per_shard);
    if (threads == NULL || report->per_shard == NULL) {
        fprintf(stderr, "loadgen: out of memory\n");
        return 1;
    }
    if (threads_start(load, threads) < o->threads) {
        return 1; /* the process ends, and its threads with it */
    }
    phases_run(load, threads, report);
    report_sum_up(report, load, threads);
    for (unsigned i = 0; i < o->threads; i++) {
        client_thread_deinit(&threads[i]);
    }
    free(threads);
    if (report->counts.errors != 0) {
        fprintf(stderr, "loadgen: %" PRIu64 " error replies, the first: %s\n",
                report->counts.errors, report->counts.error);
    }
    if (report->broken != 0) {
        fprintf(stderr, "loadgen: %u connections broke\n", report->broken);
    }
    return report->counts.errors != 0 || report->broken != 0 ? 2 : 0;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct load load;
    static struct report report;

    options_parse(&options, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (load_init(&load, &options) != 0) {
        return 1;
    }
    int status = load_run(&load, &report);
    if (status != 1) {
        if (options.json) {
            report_json(&report, &options);
        } else {
            report_text(&report, &options);
        }
    }
    load_deinit(&load);
    free(report.per_shard);
    return status;
}
