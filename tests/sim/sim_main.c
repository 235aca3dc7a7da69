/* Many seeds that must be clean, and rules left out that must be caught.
 *
 *   sim                   10,000 seeds of commands alone, a part of them of each kind with a disk,
 *                         then every planted fault
 *   sim --seeds N         so many seeds        --first S   from seed S on
 *   sim --kind NAME       so many of one kind: commands, crashes, failing-disk, every-moment
 *   sim --fault NAME      one fault only       --no-faults
 *
 * A failing seed is printed and can be run again alone: sim --first S --seeds 1 --kind K; with
 * SPLITRING_SIM_HISTORY set its history is printed, too, and the disk that a crash left; with
 * SPLITRING_SIM_LOG what the server says. Seeds run in child processes (two at a
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
    enum sim_mode mode;
};

static const struct planted faults[] = {
    {"ordered-unsorted", FAULT_ORDERED_UNSORTED, "ordered path in argument order: deadlock",
     SIM_MEMORY},
    {"keep-higher", FAULT_KEEP_HIGHER, "a refusal keeps higher grants: deadlock", SIM_MEMORY},
    {"retry-try", FAULT_RETRY_TRY, "refused tries try again: livelock", SIM_MEMORY},
    {"reads-release", FAULT_READS_RELEASE, "reads release in the granting hop: stale mix",
     SIM_MEMORY},
    {"read-no-lock", FAULT_READ_NO_LOCK, "multi-shard reads without locks: stale mix", SIM_MEMORY},
    {"unordered-runs", FAULT_UNORDERED_RUNS, "runs do not wait for the counter: order", SIM_MEMORY},
    {"offer-unheld", FAULT_OFFER_UNHELD, "a shard offered without holding it: two holders",
     SIM_MEMORY},
    {"full-blocks", FAULT_FULL_BLOCKS, "answers wait for mailbox room: deadlock", SIM_MEMORY},
    {"no-wake-check", FAULT_NO_WAKE_CHECK, "no second look before sleeping: lost wake-up",
     SIM_MEMORY},
    {"push-no-bound", FAULT_PUSH_NO_BOUND, "pushes do not wait for open tickets: order",
     SIM_MEMORY},
    {"push-one-look", FAULT_PUSH_ONE_LOOK, "no second look at the inboxes: order", SIM_MEMORY},
    {"push-unheld", FAULT_PUSH_UNHELD, "a ticket after the shard was given back: order",
     SIM_MEMORY},
    {"register-late", FAULT_REGISTER_LATE, "release first, then register: lost wake-up",
     SIM_MEMORY},
    {"no-claim", FAULT_NO_CLAIM, "two shards pop for one waiter: element lost", SIM_MEMORY},
    {"watch-ignored", FAULT_WATCH_IGNORED, "EXEC after a missed change: lost update", SIM_MEMORY},
    {"exec-unlocked", FAULT_EXEC_UNLOCKED, "EXEC passes the locks of others: stale mix",
     SIM_MEMORY},
    {"script-no-undo", FAULT_SCRIPT_NO_UNDO, "a script begun again left its writes: done twice",
     SIM_MEMORY},
    {"script-unlocked", FAULT_SCRIPT_UNLOCKED, "a script passes the locks of others: stale mix",
     SIM_MEMORY},
    {"ignore-waiters", LOCK_FAULT_IGNORE_WAITERS << FAULT_LOCKS_SHIFT,
     "tries look at holders only: overtaking", SIM_MEMORY},
    {"free-keys-pass", LOCK_FAULT_FREE_KEYS_PASS << FAULT_LOCKS_SHIFT,
     "a waiter reserves only held keys: overtaking", SIM_MEMORY},
    {"key-by-key", LOCK_FAULT_KEY_BY_KEY << FAULT_LOCKS_SHIFT,
     "keys of a shard taken one by one: deadlock", SIM_MEMORY},
    {"reply-early", FAULT_REPLY_EARLY, "replies do not wait for the sync: lost", SIM_DISK},
    {"hold-own", FAULT_HOLD_OWN, "reads do not wait for others' syncs: shown, lost", SIM_DISK},
    {"merge-no-bound", FAULT_MERGE_NO_BOUND, "the log passes open tickets: order", SIM_DISK},
    {"ticket-unheld", FAULT_PUSH_UNHELD, "a ticket after the shard was given back", SIM_DISK},
    {"sync-ignored", FAULT_SYNC_IGNORED, "a sync that failed counts: lost", SIM_DISK_FAILS},
    {"torn-kept", FAULT_TORN_KEPT, "a torn end is not cut: the next start fails", SIM_DISK},
    {"unit-unwrapped", FAULT_UNIT_UNWRAPPED, "no MULTI around a unit: torn", SIM_DISK},
    {"log-splits", FAULT_LOG_SPLITS, "each shard states its part: torn", SIM_DISK},
    {"cut-unsynced", FAULT_CUT_UNSYNCED, "a file ends unsynced: torn amid the log", SIM_DISK},
    {"manifest-late", FAULT_MANIFEST_LATE, "a file that nobody names: lost", SIM_DISK},
};

/* Runs seeds in a child: 0 all clean, 1 a failure (told on stdout if `loud`). */
static pid_t start_seeds(uint64_t first, unsigned count, enum sim_mode mode, uint32_t bits,
                         bool loud)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid != 0) return pid;
    struct rlimit cpu = {5, 5}; /* a fault may make one worker turn in circles for ever */
    if (!loud) setrlimit(RLIMIT_CPU, &cpu);
    if (!loud && !freopen("/dev/null", "w", stderr)) _exit(2);
    struct sim *sim = malloc(sizeof *sim);
    for (unsigned i = 0; i < count; i++) {
        if (sim_run(sim, first + i, mode, bits)) continue;
        if (loud) printf("seed %llu: %s\n", (unsigned long long)(first + i), sim->failure);
        fflush(stdout);
        if (loud && getenv("SPLITRING_SIM_HISTORY")) sim_history_print(sim);
        _exit(1);
    }
    free(sim);
    if (mode == SIM_DISK_FAILS) _exit(0); /* a server that ended itself has freed nothing */
    exit(0); /* leak checks run */
}

static bool clean_exit(pid_t pid)
{
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool run_clean(uint64_t first, unsigned count, enum sim_mode mode)
{
    bool fine = true;
    for (unsigned done = 0; done < count; done += 2 * CHUNK) {
        pid_t pids[2] = {0, 0};
        uint64_t starts[2];
        for (unsigned n = 0; n < 2; n++) {
            unsigned at = done + n * CHUNK;
            if (at >= count) continue;
            starts[n] = first + at;
            pids[n] = start_seeds(first + at, count - at < CHUNK ? count - at : CHUNK, mode, 0,
                                  true);
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
        if (clean_exit(start_seeds(first + at, 1, fault->mode, fault->bit, false))) continue;
        printf("caught %-17s after %4u seeds   (%s)\n", fault->name, at + 1, fault->rule);
        return true;
    }
    printf("NOT CAUGHT %s within %u seeds (%s)\n", fault->name, FAULT_SEEDS, fault->rule);
    return false;
}

static const struct kind {
    const char *name;
    enum sim_mode mode;
    unsigned one_in; /* of the seeds that are asked for */
} kinds[] = {
    {"commands", SIM_MEMORY, 1},
    {"crashes", SIM_DISK, 8},
    {"failing-disk", SIM_DISK_FAILS, 20},
    {"every-moment", SIM_DISK_EACH, 400},
};

struct asked {
    uint64_t first;
    unsigned seeds;
    const char *fault, *kind;
    bool with_faults;
};

static bool take_options(struct asked *a, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--seeds") && more) a->seeds = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--first") && more) a->first = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--fault") && more) a->fault = argv[++i], a->seeds = 0;
        else if (!strcmp(argv[i], "--kind") && more) a->kind = argv[++i], a->with_faults = false;
        else if (!strcmp(argv[i], "--no-faults")) a->with_faults = false;
        else return fprintf(stderr, "unknown option %s\n", argv[i]), false;
    }
    return true;
}

int main(int argc, char **argv)
{
    const char *from_env = getenv("SPLITRING_SIM_SEEDS"); /* tools/test: fewer under sanitizers */
    struct asked a = {.first = 1, .with_faults = true,
                      .seeds = from_env ? (unsigned)strtoul(from_env, NULL, 10) : 10000};
    unsigned passed = 0, failed = 0;
    if (!take_options(&a, argc, argv)) return 2;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        const struct kind *kind = &kinds[i];
        unsigned seeds = a.kind ? a.seeds : (a.seeds + kind->one_in - 1) / kind->one_in;
        if (!seeds || (a.kind && strcmp(a.kind, kind->name) != 0)) continue;
        bool fine = run_clean(a.first, seeds, kind->mode);
        printf("%s: %u seeds from %llu: %s\n", kind->name, seeds, (unsigned long long)a.first,
               fine ? "clean" : "FAILED");
        *(fine ? &passed : &failed) += 1;
    }
    for (size_t i = 0; a.with_faults && i < ARRAY_COUNT(faults); i++) {
        if (a.fault && strcmp(a.fault, faults[i].name) != 0) continue;
        *(run_fault(&faults[i], a.first) ? &passed : &failed) += 1;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
