/* A Lua VM and the scripts it runs: one per worker. It knows Redis' Lua face (the redis.*
 * functions, the sandbox, the conversions of replies) and nothing of keys, shards or connections:
 * those it asks of its host.
 *
 * A run is a coroutine. It goes on until it ends, until the host wants it to pause (a long script
 * runs in slices, between which the worker does its other work), or until the host stops it for
 * good (it asked for a key that is not held: everything is undone and runs again elsewhere).
 *
 * Sources: https://redis.io/docs/latest/develop/programmability/lua-api/ and eval-intro/,
 * functions-intro/; behaviour and error texts of Redis 7.2.
 * Thread: owner. */
#ifndef SPLITRING_SCRIPT_VM_H
#define SPLITRING_SCRIPT_VM_H

#include "splitring/base/buf.h"
#include "splitring/base/slice.h"
#include "splitring/resp/reply.h"

#define SCRIPT_SHA_LEN 40

enum script_flag {
    SCRIPT_NO_WRITES = 1u << 0,
    SCRIPT_ALLOW_OOM = 1u << 1,
    SCRIPT_ALLOW_STALE = 1u << 2,
    SCRIPT_NO_CLUSTER = 1u << 3,
    SCRIPT_CROSS_SLOT = 1u << 4, /* allow-cross-slot-keys */
    SCRIPT_COMPAT = 1u << 5      /* no shebang: flags are not declared */
};

enum script_log_level {
    SCRIPT_LOG_DEBUG, SCRIPT_LOG_VERBOSE, SCRIPT_LOG_NOTICE, SCRIPT_LOG_WARNING
};

enum script_pulse {
    SCRIPT_GO_ON,
    SCRIPT_PAUSE, /* script_run returns SCRIPT_PAUSED, script_resume continues right here */
    SCRIPT_KILL   /* ends with the error "Script killed by user with SCRIPT KILL." which no pcall
                     catches */
};

/* What a run asks of who runs it. ctx is script_start's. */
struct script_host {
    /* redis.call and redis.pcall: one command, its one reply in RESP of that protocol appended to
     * out. False: the run must stop for good, no Lua code runs any more (SCRIPT_STOPPED). */
    bool (*call)(void *ctx, struct slice *argv, int argc, uint8_t proto, struct buf *out);
    /* Every SCRIPT_PULSE_EVERY Lua instructions or so. Inside a callback of a C function
     * (table.sort, string.gsub, load, xpcall's handler) a pause is not possible: then the script
     * goes on and this is asked again; a kill always is. */
    enum script_pulse (*pulse)(void *ctx);
    void (*log)(void *ctx, enum script_log_level level, struct slice text);
    /* redis.acl_check_cmd: 1 may, 0 may not, -1 no such command or wrong arity. */
    int (*acl_check)(void *ctx, struct slice *argv, int argc);
};
#define SCRIPT_PULSE_EVERY 10000

struct script_vm;
struct script_run;

/* Something that can be run: a script by its SHA, or a function of a library by its name. */
struct script {
    char sha[SCRIPT_SHA_LEN + 1]; /* lower case; of functions: empty */
    uint32_t flags;               /* enum script_flag */
    /* the host's own notes, kept while the script is loaded */
    uint32_t host_state;
    uint64_t host_count;
};

enum script_outcome {
    SCRIPT_DONE,    /* its reply has been written (a value, or an error) */
    SCRIPT_PAUSED,
    SCRIPT_STOPPED  /* the host's call said false; nothing has been written */
};

/* NULL: no memory. */
struct script_vm *script_vm_new(void);
void script_vm_free(struct script_vm *vm);
size_t script_vm_bytes(const struct script_vm *vm);
/* math.random goes on from run to run, as in Redis 7, and starts as Redis does. VMs of other
 * workers get another seed, or their scripts would draw the same numbers. */
void script_vm_seed(struct script_vm *vm, uint32_t seed);
/* Scripts that want more get Lua's error "not enough memory" (1 GiB each for scripts and for
 * functions, unless it is said). */
void script_vm_limit(struct script_vm *vm, size_t bytes_max);

/* ---- scripts ---- */

void script_sha(struct slice text, char sha[SCRIPT_SHA_LEN + 1]);
/* NULL: not loaded in this VM. sha: any case. */
struct script *script_find(struct script_vm *vm, struct slice sha);
/* As it was loaded, with its first line. */
struct slice script_text(const struct script *script);
/* Compiles; the same text again gives the same script, which costs a hash of it and no SHA-1.
 * NULL: the error reply's text (without '-' and CRLF: "ERR Error compiling script (new function):
 * …") is in *error. */
struct script *script_load(struct script_vm *vm, struct slice text, struct buf *error);
/* Forgets one script (it may be running: then when that has ended), or all (a new, clean VM, as
 * SCRIPT FLUSH; functions stay). */
void script_forget(struct script_vm *vm, struct script *script);
void script_flush(struct script_vm *vm);

/* ---- running ---- */

/* Runs until it ends, pauses or is stopped. out->errors counts an error reply unless the command
 * whose error it is has counted it. *run is set only for SCRIPT_PAUSED. The reply is in
 * out->proto. keys and args are copied into Lua at once. Several runs of one VM may be paused at
 * the same time; within call() none is started (the host refuses EVAL there). */
enum script_outcome script_start(struct script_vm *vm, struct script *script,
                                 const struct slice *keys, int key_count, const struct slice *args,
                                 int arg_count, const struct script_host *host, void *ctx,
                                 struct reply *out, struct script_run **run);
/* After SCRIPT_PAUSED; the same outcomes. On DONE and STOPPED run is gone. */
enum script_outcome script_resume(struct script_run *run, struct reply *out);
/* A paused run is given up. */
void script_drop(struct script_run *run);

#endif
