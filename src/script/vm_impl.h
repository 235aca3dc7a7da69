/* What the files of this layer share: a VM's worlds, programs and runs.
 *
 *   struct script_vm ── evals ─────▶ struct world   one lua_State: the scripts of EVAL
 *                    └─ functions ─▶ struct world   another: the libraries of FUNCTION LOAD
 *
 * A *world* is a lua_State with its sandbox. Flushing puts a new world in its place; the old one
 * (doomed) goes when its last run has ended. A *program* is what the face calls a script: a Lua
 * function in a world's registry. A *run* is a coroutine of a world that executes a program;
 * finished ones are kept with their coroutine and used again.
 *
 * How a library's function becomes a run: make a program with program_new(world, function's name)
 * and let `ref` be luaL_ref of the callback in that world's registry, is_function = true. Its
 * `script` is then what script_start() is given: the callback is called with (keys, argv), and
 * errors end in "script: NAME, on @user_function:LINE.". program_retire() when its library goes.
 *
 * Three rules keep a client from aborting the process. Whatever may allocate in Lua (and most of
 * lua.h may: even pushing a string) runs inside lua_resume, lua_pcall or world_protect(), since an
 * error outside of those is a panic. No C frame of ours that Lua can throw across owns anything.
 * Nothing of Lua's calls back while it collects (scripts cannot make objects with __gc).
 * Thread: owner. */
#ifndef SPLITRING_SRC_SCRIPT_VM_IMPL_H
#define SPLITRING_SRC_SCRIPT_VM_IMPL_H

#include <luajit-2.1/lauxlib.h>
#include <luajit-2.1/lua.h>
#include <luajit-2.1/lualib.h>

#include "splitring/script/library.h"

#define PROGRAM_NAME_MAX 128u

/* What a run has asked for by leaving its coroutine. */
enum wish {
    WISH_NONE,
    WISH_PAUSE,
    WISH_STOP, /* the host's call said false */
    WISH_KILL
};

struct program {
    struct script script; /* first: the face hands out its address */
    struct world *world;
    int ref;              /* the Lua function, in the world's registry */
    bool is_function;     /* called with keys and argv; otherwise they are globals */
    bool retired;         /* goes with its last run */
    uint32_t runs;        /* not yet ended */
    struct program *next;      /* the same bucket of the VM's table by SHA */
    struct program *next_text; /* and by text */
    char *text;                /* a script's, whole */
    size_t text_len;
    uint64_t text_hash;
    char name[PROGRAM_NAME_MAX]; /* in error texts: the SHA, or the function's name */
};

struct script_run {
    struct world *world;
    struct program *program;
    const struct script_host *host;
    void *ctx;
    lua_State *co; /* NULL: none yet, or the last one died of an error */
    int co_ref;    /* what keeps it from the collector */
    int hold_ref;  /* a table {KEYS, ARGV}: put back into the globals when a pause is over */
    enum wish wish;
    char source[32]; /* where it failed or was killed */
    int line;        /* 0: unknown */
    uint8_t proto; /* redis.setresp */
    struct script_run *next; /* idle ones */
};

/* One table or map that is being turned into a reply. */
struct reply_frame {
    uint32_t next, count;
    uint32_t slots; /* of Redis' Lua stack at this depth */
    uint8_t kind;
};

struct world {
    lua_State *L;
    size_t bytes, bytes_max;
    bool over; /* beyond bytes_max: the hook comes with the next instruction */
    struct script_run *current; /* executing; NULL: none */
    struct script_run *idle;
    uintptr_t stack_base;  /* C's, where the run that executes was entered */
    void *arg;             /* of the protected function that is being called */
    uint32_t runs;         /* started, not yet ended (paused ones, too) */
    uint32_t runs_stepped; /* since the collector was last pushed */
    bool doomed;
    uint16_t *random;      /* the VM's */
    /* Scratch, kept from call to call. */
    struct buf reply;
    struct slice *argv;
    size_t argv_cap;
    struct reply_frame *frames;
    size_t frame_cap;
};

#define PROGRAM_BUCKETS_MIN 64u

struct script_vm {
    struct world *evals, *functions; /* functions: NULL until the first library */
    size_t bytes_max;                /* of each world */
    uint16_t random[3];              /* of math.random */
    struct program **buckets;        /* scripts by SHA */
    struct program **text_buckets;   /* and by text: EVAL needs no SHA-1 */
    size_t bucket_count, script_count;
    size_t text_bytes;
    const struct library_set *libraries; /* NULL: none yet */
    struct program **programs; /* of their functions, in that order; NULL: not run here yet */
};

/* Fixed places on the stack of a world's main state: what may be pushed without allocating. */
enum slot {
    SLOT_SETUP = 1, SLOT_CONVERT, SLOT_XPCALL, SLOT_HANDLER, SLOT_ENDING,
    SLOT_KEYS, SLOT_ARGV, SLOT_GLOBALS,
    SLOT_LAST = SLOT_GLOBALS
};

/* ---- world.c ---- */

struct world *world_new(struct script_vm *vm); /* NULL: no memory */
/* Frees it now, or when its last run has ended. NULL is fine. */
void world_retire(struct world *w);
/* A run has ended. Frees a doomed world with its last one. */
void world_end_run(struct world *w, struct program *program);
/* fn(L) with the light userdata ctx at index 1, protected: 0 or a LUA_ERR*, with the error's value
 * on the stack of w->L. */
int world_protect(struct world *w, lua_CFunction fn, void *ctx);
static inline struct world *world_of(lua_State *L)
{
    void *world;
    lua_getallocf(L, &world);
    return world;
}
void world_hook(lua_State *L, lua_Debug *debug); /* run.c: the count hook */
void world_on_over(lua_State *L); /* in the hook: collects, and throws if that does not help */

struct program *program_new(struct world *w, const char *name); /* NULL: no memory; ref not set */
/* Its Lua function is let go and it is freed, once nothing runs it. */
void program_retire(struct program *program);

/* ---- sandbox.c: runs inside world_protect ---- */

void sandbox_build(lua_State *L);
/* The table at the top is replaced by one that reads as it and cannot be written. */
void sandbox_protect(lua_State *L);
/* Whether index is such a table; if so, the one behind it is pushed. */
bool sandbox_real(lua_State *L, int index);
/* "Attempt to modify a readonly table" */
int sandbox_readonly(lua_State *L);

/* ---- libraries: push or fill tables, inside world_protect ---- */

void lib_base_fill(lua_State *L, int globals, int original); /* Lua's own, as Redis has them */
void lib_string_fill(lua_State *L, int library, int globals);
void lib_pattern_fill(lua_State *L, int library);
/* getmetatable; at the top of the stack are the environment, what it shall say of that, and the
 * table of strings' functions: popped but the first. */
void lib_metatable_fill(lua_State *L, int globals);
void lib_table_fill(lua_State *L, int library);
void lib_math_fill(lua_State *L, int library);
void lib_bit_fill(lua_State *L, int library);
void random_seed(uint16_t state[3], uint32_t seed); /* math.randomseed */
void lib_coroutine_push(lua_State *L, int original);
void lib_redis_push(lua_State *L);
/* The libraries' parts in Lua: frames that no error text shows. */
#define GUARD_SOURCE "=library"
struct guarded { /* tables on the stack whose functions are replaced, and Lua's own globals */
    int original, globals, string, table, math;
};
void lib_guard_fill(lua_State *L, const struct guarded *g);
bool guard_is_deep(lua_State *L); /* too much of the C stack is in use */
int guard_stack(lua_State *L);    /* the error, then */
/* Other files: int luaopen_NAME(lua_State *), which push one table. */
int luaopen_cjson(lua_State *L);

/* ---- run.c ---- */

/* Leaves the run for good (run->wish is set), from any C function of it. */
int run_leave(lua_State *L);
/* For long loops of C: a pulse whose wish to kill is obeyed (throws). */
void run_poll(lua_State *L);
/* A C function that caught an error: throws again if the run is being left. */
void run_check(lua_State *L);
void run_push_setup(lua_State *L); /* SLOT_SETUP */

/* ---- errors.c ---- */

/* Pushes {err = …}: "-CODE text" as it is, anything else with "ERR " before it. */
void error_push(lua_State *L, struct slice text);
int error_raise(lua_State *L, const char *text); /* the same, thrown */
/* Pushes what SLOT_ENDING and SLOT_HANDLER hold. */
void error_push_handlers(lua_State *L, int original);
void error_note_place(struct script_run *run, lua_State *L, int level);
/* The end of a run by an error: its value is at the top of co. */
void error_reply_run(const struct script_run *run, lua_State *co, struct reply *out);
void error_reply_killed(const struct script_run *run, struct reply *out);

/* ---- values ---- */

/* RESP → Lua: pushes the one reply in text. False: it is malformed, nothing pushed. */
bool value_push_reply(lua_State *L, struct slice text);
/* Lua → RESP: pops the value at the top of L. */
void value_write(struct world *w, lua_State *L, uint8_t run_proto, struct reply *out);
int value_convert(lua_State *L); /* SLOT_CONVERT */
/* Upvalues of value_convert. */
void value_push_convert(lua_State *L);

/* ---- source.c ---- */

/* Tail calls of library functions in parentheses. False: nothing to do, *out is empty. */
bool source_rewrite(struct slice text, struct buf *out);
/* Loads a text as lua_load does, with these two: 0 and a function, or LUA_ERR* and a message. May
 * throw for want of memory. rewritten: source_rewrite's, or empty. */
int source_load(lua_State *L, struct slice text, struct slice rewritten, const char *name);

/* ---- shebang.c ---- */

/* Flags and the length of the first line (0: there is none). False: the reply is in *error. */
bool shebang_parse(struct slice text, uint32_t *flags, size_t *len, struct buf *error);

#endif
