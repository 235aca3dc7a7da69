/* A world: one lua_State with its sandbox, and the memory it may take.
 *
 * Lua gets its memory from the house's functions through a lua_Alloc that counts. (LuaJIT takes a
 * foreign allocator on x86-64 because Debian builds it with 64-bit references.) The limit is not
 * kept by refusing: LuaJIT does not survive a refusal everywhere (when its stack cannot grow, or in
 * its functions in assembler, the error is written to a stale top of the stack). So small blocks
 * are always given, and what goes beyond the limit arms the hook for the next instruction; that
 * collects, and raises "not enough memory" where it does not help. Blocks beyond BLOCK_SMALL are
 * refused: only C functions and Lua's own operators ask for those, and both bear it; string.sub
 * and its like, which are assembler in LuaJIT, are ours (lib_string.c).
 *
 * Protected functions that every run needs get their argument by w->arg, not as a light userdata:
 * with 64-bit references Lua may need memory to make one of those.
 *
 * The JIT stays off: compiled code would not look at hooks, and a script could not be stopped. The
 * count hook is always armed; an interpreter with it is 30 % slower in an empty loop and not
 * measurably so in scripts that touch strings or tables, while arming it per run costs more.
 * Thread: owner. */
#include <luajit-2.1/luajit.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "vm_impl.h"

#define BLOCK_SMALL ((size_t)1 << 20) /* Lua's largest stack has half of it */

static void *world_alloc(void *ud, void *ptr, size_t len, size_t wanted)
{
    struct world *w = ud;
    if (wanted == 0) {
        mem_free(ptr);
        w->bytes -= len;
        return NULL;
    }
    size_t bytes = w->bytes - len + wanted;
    if (unlikely(bytes > w->bytes_max && wanted > len)) {
        if (wanted > BLOCK_SMALL) return NULL;
        if (!w->over && w->L) {
            w->over = true;
            lua_sethook(w->L, world_hook, LUA_MASKCOUNT, 1);
        }
    }
    void *grown = mem_try_realloc(ptr, wanted);
    if (grown == NULL) return wanted <= len ? ptr : NULL;
    w->bytes = bytes;
    return grown;
}

void world_on_over(lua_State *L)
{
    struct world *w = world_of(L);
    lua_gc(L, LUA_GCCOLLECT, 0);
    w->over = false;
    lua_sethook(L, world_hook, LUA_MASKCOUNT, SCRIPT_PULSE_EVERY);
    if (w->bytes <= w->bytes_max - w->bytes_max / 8) return;
    lua_pushliteral(L, "not enough memory");
    lua_error(L);
}

/* Only a call outside of protection comes here; see vm_impl.h. */
static int on_panic(lua_State *L)
{
    bool protected = L == NULL;
    check(protected);
    return 0;
}

static int build(lua_State *L)
{
    struct world *w = lua_touserdata(L, 1);
    lua_checkstack(w->L, 64);
    sandbox_build(L);
    return 0;
}

int world_protect(struct world *w, lua_CFunction fn, void *ctx)
{
    return lua_cpcall(w->L, fn, ctx);
}

static void world_free(struct world *w)
{
    while (w->idle) {
        struct script_run *run = w->idle;
        w->idle = run->next;
        mem_free(run);
    }
    if (w->L) lua_close(w->L);
    buf_deinit(&w->reply);
    mem_free(w->argv);
    mem_free(w->frames);
    mem_free(w);
}

struct world *world_new(struct script_vm *vm)
{
    struct world *w = mem_try_zalloc(sizeof(*w));
    if (w == NULL) return NULL;
    w->bytes_max = vm->bytes_max;
    w->random = vm->random;
    w->L = lua_newstate(world_alloc, w);
    if (w->L == NULL) {
        world_free(w);
        return NULL;
    }
    lua_atpanic(w->L, on_panic);
    luaJIT_setmode(w->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    if (world_protect(w, build, w) != 0) {
        world_free(w);
        return NULL;
    }
    for (int slot = 1; slot <= SLOT_LAST; slot++) lua_rawgeti(w->L, LUA_REGISTRYINDEX, slot);
    dcheck(lua_gettop(w->L) == SLOT_LAST);
    lua_sethook(w->L, world_hook, LUA_MASKCOUNT, SCRIPT_PULSE_EVERY);
    return w;
}

void world_retire(struct world *w)
{
    if (w == NULL) return;
    w->doomed = true;
    if (w->runs == 0) world_free(w);
}

void world_end_run(struct world *w, struct program *program)
{
    w->runs--;
    program->runs--;
    if (program->retired && program->runs == 0) program_retire(program);
    if (w->doomed && w->runs == 0) world_free(w);
}
