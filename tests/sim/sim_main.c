/* Many seeds that must be clean, and rules left out that must be caught.
 *
 *   sim                   10,000 seeds, then every planted fault
 *   sim --seeds N         so many seeds        --first S   from seed S on
 *   sim --fault NAME      one fault only       --no-faults
 *
 * A failing seed is printed and can be run again alone: sim --first S --seeds 1 --no-faults; with
 * SPLITRING_SIM_HISTORY set its history is printed, too. Seeds run in child processes (two at a
 * time), so a crash is a failure of that seed and no more.
 * Thread: one per process. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim.h"
#include "splitring/tx/locks.h"

#define FAULT_SEEDS 1000u
#define CHUNK 250u

struct planted {
    const char *name;
    uint32_t bit;
    const char *rule;
};

static const struct planted faults[] = {
    {"ordered-unsorted", FAULT_ORDERED_UNSORTED, "ordered path in argument order: deadlock"},
    {"keep-higher", FAULT_KEEP_HIGHER, "a refusal keeps higher grants: deadlock"},
    {"retry-try", FAULT_RETRY_TRY, "refused tries try again: livelock"},
    {"reads-release", FAULT_READS_RELEASE, "reads release in the granting hop: stale mix"},
    {"read-no-lock", FAULT_READ_NO_LOCK, "multi-shard reads without locks: stale mix"},
    {"unordered-runs", FAULT_UNORDERED_RUNS, "runs do not wait for the counter: order"},
    {"offer-unheld", FAULT_OFFER_UNHELD, "a shard offered without holding it: two holders"},
    {"full-blocks", FAULT_FULL_BLOCKS, "answers wait for mailbox room: deadlock"},
    {"no-wake-check", FAULT_NO_WAKE_CHECK, "no second look before sleeping: lost wake-up"},
    {"push-no-bound", FAULT_PUSH_NO_BOUND, "pushes do not wait for open tickets: order"},
    {"push-one-look", FAULT_PUSH_ONE_LOOK, "no second look at the inboxes: order"},
    {"push-unheld", FAULT_PUSH_UNHELD, "a ticket after the shard was given back: order"},
    {"register-late", FAULT_REGISTER_LATE, "release first, then register: lost wake-up"},
    {"no-claim", FAULT_NO_CLAIM, "two shards pop for one waiter: element lost"},
    {"watch-ignored", FAULT_WATCH_IGNORED, "EXEC after a missed change: lost update"},
    {"exec-unlocked", FAULT_EXEC_UNLOCKED, "EXEC passes the locks of others: stale mix"},
    {"script-no-undo", FAULT_SCRIPT_NO_UNDO, "a script begun again left its writes: done twice"},
    {"script-unlocked", FAULT_SCRIPT_UNLOCKED, "a script passes the locks of others: stale mix"},
    {"ignore-waiters", LOCK_FAULT_IGNORE_WAITERS << FAULT_LOCKS_SHIFT,
     "tries look at holders only: overtaking"},
    {"free-keys-pass", LOCK_FAULT_FREE_KEYS_PASS << FAULT_LOCKS_SHIFT,
     "a waiter reserves only held keys: overtaking"},
    {"key-by-key", LOCK_FAULT_KEY_BY_KEY << FAULT_LOCKS_SHIFT,
     "keys of a shard taken one by one: deadlock"},
};

/* Runs seeds in a child: 0 all clean, 1 a failure (told on stdout if `loud`). */
static pid_t start_seeds(uint64_t first, unsigned count, uint32_t bits, bool loud)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid != 0) return pid;
    struct rlimit cpu = {5, 5}; /* a fault may make one worker turn in circles for ever */
    if (!loud) setrlimit(RLIMIT_CPU, &cpu);
    if (!loud && !freopen("/dev/null", "w", stderr)) _exit(2);
    struct sim *sim = malloc(sizeof *sim);
    for (unsigned i = 0; i < count; i++) {
        if (sim_run(sim, first + i, bits)) continue;
        if (loud) printf("seed %llu: %s\n", (unsigned long long)(first + i), sim->failure);
        fflush(stdout);
        if (loud && getenv("SPLITRING_SIM_HISTORY")) sim_history_print(sim);
        _exit(1);
    }
    free(sim);
    exit(0); /* leak checks run */
}

static bool clean_exit(pid_t pid)
{
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool run_clean(uint64_t first, unsigned count)
{
    bool fine = true;
    for (unsigned done = 0; done < count; done += 2 * CHUNK) {
        pid_t pids[2] = {0, 0};
        uint64_t starts[2];
        for (unsigned n = 0; n < 2; n++) {
            unsigned at = done + n * CHUNK;
            if (at >= count) continue;
            starts[n] = first + at;
            pids[n] = start_seeds(first + at, count - at < CHUNK ? count - at : CHUNK, 0, true);
        }
        for (unsigned n = 0; n < 2; n++) {
            if (!pids[n] || clean_exit(pids[n])) continue;
            printf("FAIL among seeds %llu..%llu\n", (unsigned long long)starts[n],
                   (unsigned long long)(starts[n] + CHUNK - 1));
            fine = false;
        }
    }
    return fine;
}

/* A fault must be caught within FAULT_SEEDS; a hang is cut by the schedule's own limit,
 * or by that of the processor's time. */
static bool run_fault(const struct planted *fault, uint64_t first)
{
    for (unsigned at = 0; at < FAULT_SEEDS; at++) {
        if (clean_exit(start_seeds(first + at, 1, fault->bit, false))) continue;
        printf("caught %-17s after %4u seeds   (%s)\n", fault->name, at + 1, fault->rule);
        return true;
    }
    printf("NOT CAUGHT %s within %u seeds (%s)\n", fault->name, FAULT_SEEDS, fault->rule);
    return false;
}

int main(int argc, char **argv)
{
    uint64_t first = 1;
    const char *from_env = getenv("SPLITRING_SIM_SEEDS"); /* tools/test: fewer under sanitizers */
    unsigned seeds = from_env ? (unsigned)strtoul(from_env, NULL, 10) : 10000, passed = 0,
             failed = 0;
    const char *only = NULL;
    bool with_faults = true;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--seeds") && i + 1 < argc)
            seeds = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--first") && i + 1 < argc) first = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--fault") && i + 1 < argc) only = argv[++i], seeds = 0;
        else if (!strcmp(argv[i], "--no-faults")) with_faults = false;
        else return fprintf(stderr, "unknown option %s\n", argv[i]), 2;
    }
    if (seeds) {
        bool fine = run_clean(first, seeds);
        printf("%u seeds from %llu: %s\n", seeds, (unsigned long long)first,
               fine ? "clean" : "FAILED");
        *(fine ? &passed : &failed) += 1;
    }
    for (size_t i = 0; with_faults && i < ARRAY_COUNT(faults); i++) {
        if (only && strcmp(only, faults[i].name) != 0) continue;
        *(run_fault(&faults[i], first) ? &passed : &failed) += 1;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
