/* Runs: a coroutine per script that executes.
 *
 *   script_start ─▶ set_up (protected: coroutine, KEYS, ARGV) ─▶ lua_resume ─┬▶ ends: its reply
 *   script_resume ──────────────────────────────────────────────▶ lua_resume ─┼▶ error: its reply
 *                                                                             └▶ yields: a wish
 *
 * Only the host's wishes make the main coroutine of a run yield: coroutine.yield refuses there.
 * A pause yields in the count hook, and lua_resume continues in it. To stop or to kill yields as
 * well, and the coroutine is thrown away: no pcall sees anything, no Lua code runs any more.
 *
 * Where Lua stands in a C function that calls back (table.sort, string.gsub, load, the handler of
 * xpcall) it cannot yield. A pause is not taken there; the next pulse asks again. To leave for good
 * raises an error instead, and from then on the hook fires at every instruction and raises it
 * again, until a place is reached that can yield: a pcall that catches it gets no further than to
 * its next instruction.
 *
 * The coroutine's function is xpcall: errors end in its results, after the handler of errors.c
 * has looked where they came from, and the coroutine can be used again by the next run.
 * KEYS and ARGV are globals, and several runs may be paused at a time: each holds its own pair and
 * puts it back when it goes on.
 * Thread: owner. */
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "vm_impl.h"

#define GC_EVERY_RUNS 50u /* as Redis' LUA_GC_CYCLE_PERIOD */
#define GC_STEP 50

/* ---- leaving ---- */

static int run_raise(lua_State *L)
{
    lua_sethook(L, world_hook, LUA_MASKCOUNT, 1);
    lua_pushliteral(L, "Script killed by user with SCRIPT KILL.");
    return lua_error(L);
}

int run_leave(lua_State *L)
{
    return lua_isyieldable(L) ? lua_yield(L, 0) : run_raise(L);
}

void world_hook(lua_State *L, lua_Debug *debug)
{
    (void)debug;
    struct script_run *run = world_of(L)->current;
    if (world_of(L)->over && (run == NULL || run->wish == WISH_NONE)) world_on_over(L);
    if (run == NULL) return;
    if (run->wish == WISH_NONE) {
        enum script_pulse pulse = run->host->pulse(run->ctx);
        if (pulse == SCRIPT_GO_ON) return;
        if (pulse == SCRIPT_PAUSE && !lua_isyieldable(L)) return;
        run->wish = pulse == SCRIPT_PAUSE ? WISH_PAUSE : WISH_KILL;
        error_note_place(run, L, 0);
    }
    run_leave(L);
}

void run_check(lua_State *L)
{
    struct script_run *run = world_of(L)->current;
    if (run && run->wish > WISH_PAUSE) run_raise(L);
}

void run_poll(lua_State *L)
{
    struct script_run *run = world_of(L)->current;
    if (run == NULL || run->wish != WISH_NONE) return;
    if (run->host->pulse(run->ctx) != SCRIPT_KILL) return;
    run->wish = WISH_KILL;
    error_note_place(run, L, 0);
    /* Raised, not yielded: the hook goes on from there. */
    run_raise(L);
}

/* ---- beginning ---- */

struct setup {
    struct script_run *run;
    const struct slice *keys, *args;
    int key_count, arg_count;
};

static void push_list(lua_State *L, const struct slice *items, int count)
{
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushlstring(L, items[i].ptr ? items[i].ptr : "", items[i].len);
        lua_rawseti(L, -2, i + 1);
    }
}

static void new_coroutine(lua_State *L, struct script_run *run)
{
    lua_State *co = lua_newthread(L);
    run->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    run->co = co;
    if (run->hold_ref == LUA_NOREF) {
        lua_createtable(L, 2, 0);
        for (int i = 1; i <= 2; i++) {
            lua_pushboolean(L, 0);
            lua_rawseti(L, -2, i);
        }
        run->hold_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

/* Both globals are there since the sandbox was built: nothing is allocated. */
static void set_globals(lua_State *L, int keys, int argv)
{
    lua_pushvalue(L, SLOT_KEYS);
    lua_pushvalue(L, keys);
    lua_rawset(L, SLOT_GLOBALS);
    lua_pushvalue(L, SLOT_ARGV);
    lua_pushvalue(L, argv);
    lua_rawset(L, SLOT_GLOBALS);
}

static int set_up(lua_State *L)
{
    struct setup *s = world_of(L)->arg;
    struct script_run *run = s->run;
    struct world *w = run->world;
    if (++w->runs_stepped >= GC_EVERY_RUNS) {
        w->runs_stepped = 0;
        lua_gc(L, LUA_GCSTEP, GC_STEP);
    }
    if (run->co == NULL) new_coroutine(L, run);
    push_list(L, s->keys, s->key_count);
    push_list(L, s->args, s->arg_count);
    if (run->program->is_function) {
        lua_xmove(L, run->co, 2);
        return 0;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->hold_ref);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 1);
    return 2;
}

static struct script_run *take_run(struct world *w)
{
    struct script_run *run = w->idle;
    if (run) {
        w->idle = run->next;
        return run;
    }
    run = mem_try_zalloc(sizeof(*run));
    if (run == NULL) return NULL;
    run->world = w;
    run->co_ref = run->hold_ref = LUA_NOREF;
    return run;
}

/* The run is over. Its coroutine is kept only if it came to its end. */
static void end_run(struct script_run *run, bool reusable)
{
    struct world *w = run->world;
    struct program *program = run->program;
    if (!reusable && run->co) {
        luaL_unref(w->L, LUA_REGISTRYINDEX, run->co_ref);
        run->co = NULL;
        run->co_ref = LUA_NOREF;
    }
    run->program = NULL;
    run->next = w->idle;
    w->idle = run;
    world_end_run(w, program);
}

static enum script_outcome on_yield(struct script_run *run, struct reply *out)
{
    enum wish wish = run->wish;
    check(wish != WISH_NONE);
    if (wish == WISH_PAUSE) return SCRIPT_PAUSED;
    if (wish == WISH_KILL) error_reply_killed(run, out);
    end_run(run, false);
    return wish == WISH_STOP ? SCRIPT_STOPPED : SCRIPT_DONE;
}

static enum script_outcome advance(struct script_run *run, int args, struct reply *out)
{
    struct world *w = run->world;
    struct script_run *outer = w->current;
    dcheck(outer == NULL);
    w->current = run;
    w->stack_base = (uintptr_t)__builtin_frame_address(0);
    run->wish = WISH_NONE;
    int status = lua_resume(run->co, args);
    w->current = outer;
    if (unlikely(run->wish > WISH_PAUSE)) {
        /* The hook may have been left at every instruction. */
        lua_sethook(w->L, world_hook, LUA_MASKCOUNT, SCRIPT_PULSE_EVERY);
    }
    if (status == LUA_YIELD) return on_yield(run, out);
    if (unlikely(run->wish > WISH_PAUSE)) return on_yield(run, out); /* died of leaving */
    if (status == 0) {
        /* xpcall's word, then the first result, which alone counts. */
        lua_settop(run->co, 2);
        if (lua_toboolean(run->co, 1)) {
            value_write(w, run->co, run->proto, out);
        } else {
            error_reply_run(run, run->co, out);
        }
        lua_settop(run->co, 0);
    } else {
        error_reply_run(run, run->co, out);
    }
    end_run(run, status == 0);
    return SCRIPT_DONE;
}

enum script_outcome script_start(struct script_vm *vm, struct script *script,
                                 const struct slice *keys, int key_count, const struct slice *argv,
                                 int arg_count, const struct script_host *host, void *ctx,
                                 struct reply *out, struct script_run **paused)
{
    (void)vm;
    struct program *program = CONTAINER_OF(script, struct program, script);
    struct world *w = program->world;
    struct script_run *run = take_run(w);
    if (run == NULL) {
        reply_error(out, ERR_NO_MEMORY);
        return SCRIPT_DONE;
    }
    run->program = program;
    run->host = host;
    run->ctx = ctx;
    run->proto = 2;
    run->line = 0;
    w->runs++;
    program->runs++;

    lua_State *L = w->L;
    struct setup s = {run, keys, argv, key_count, arg_count};
    lua_pushvalue(L, SLOT_SETUP);
    w->arg = &s;
    if (lua_pcall(L, 0, program->is_function ? 0 : 2, 0) != 0) {
        lua_settop(L, SLOT_LAST);
        end_run(run, false);
        reply_error(out, ERR_NO_MEMORY);
        return SCRIPT_DONE;
    }
    if (!program->is_function) {
        set_globals(L, SLOT_LAST + 1, SLOT_LAST + 2);
        lua_settop(L, SLOT_LAST);
    }
    /* xpcall(function, handler, …), with what set_up may have left there as the arguments. */
    lua_State *co = run->co;
    int args = lua_gettop(co);
    lua_pushvalue(L, SLOT_XPCALL);
    lua_rawgeti(L, LUA_REGISTRYINDEX, program->ref);
    lua_pushvalue(L, SLOT_HANDLER);
    lua_xmove(L, co, 3);
    if (args) {
        for (int i = 0; i < 3; i++) lua_insert(co, 1);
    }
    enum script_outcome outcome = advance(run, args + 2, out);
    if (outcome == SCRIPT_PAUSED) *paused = run;
    return outcome;
}

enum script_outcome script_resume(struct script_run *run, struct reply *out)
{
    struct world *w = run->world;
    lua_State *L = w->L;
    if (!run->program->is_function) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, run->hold_ref);
        lua_rawgeti(L, SLOT_LAST + 1, 1);
        lua_rawgeti(L, SLOT_LAST + 1, 2);
        set_globals(L, SLOT_LAST + 2, SLOT_LAST + 3);
        lua_settop(L, SLOT_LAST);
    }
    return advance(run, 0, out);
}

void script_drop(struct script_run *run) { end_run(run, false); }

void run_push_setup(lua_State *L) { lua_pushcfunction(L, set_up); }
