/* Libraries in a VM: running their text, and the functions that come of it.
 *
 * All libraries of a VM live in one world, whose globals nothing can change: what a library shares
 * with nobody are the locals of its chunk. While a library is loaded its globals are others:
 * `redis` alone, with register_function, log, the levels and the version. The environment of every
 * chunk and function is the one proxy of the world's globals (sandbox.c); what it reads from is
 * exchanged for as long as the load takes, which nothing can interrupt.
 *
 *   script_library_load: run ──▶ struct library (names, flags, texts), the callbacks let go again
 *   script_function_find: the library's first call here: run ──▶ a program per function
 *
 * So a VM has made its closures itself, and pays only for what is called there. What was checked by
 * the load is what runs: nothing that can be reached then differs from VM to VM. A library that has
 * not changed keeps its programs, and with them its locals.
 *
 * A load is a run without a program: world.current has the host, for redis.log and for the count
 * hook, which the host uses to end what takes too long. It cannot be paused.
 * Thread: owner. */
#include <stdio.h>

#include "library_impl.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "vm_impl.h"

/* What a text has registered so far. It is nobody's but ours, so an error in Lua loses nothing. */
struct loading {
    struct script_run run; /* world.current; run.program is NULL */
    struct slice body;     /* Lua's part */
    struct buf rewritten;  /* … as source_rewrite gives it */
    struct registered {
        size_t at, name_len, description_len; /* in bytes: name, description */
        bool described;
        uint32_t flags;
        int ref;
    } *items;
    size_t count, cap;
    struct buf bytes; /* names and descriptions */
    struct buf *error;
    bool done;
};

/* ---- redis.register_function ---- */

/* Where the arguments lie once they have been read, nil if they were not given. */
enum { ARG_TABLE = 1, ARG_NAME, ARG_DESCRIPTION, ARG_CALLBACK, ARG_FLAGS };

static void want(lua_State *L, bool good, const char *error)
{
    if (!good) error_raise(L, error);
}

/* One argument by its name; the value is at the top and goes to its place. */
static void take_named(lua_State *L, struct slice key)
{
    if (slice_is_word(key, "function_name")) {
        want(L, lua_isstring(L, -1),
             "function_name argument given to redis.register_function must be a string");
        lua_replace(L, ARG_NAME);
    } else if (slice_is_word(key, "description")) {
        want(L, lua_isstring(L, -1),
             "description argument given to redis.register_function must be a string");
        lua_replace(L, ARG_DESCRIPTION);
    } else if (slice_is_word(key, "callback")) {
        want(L, lua_isfunction(L, -1),
             "callback argument given to redis.register_function must be a function");
        lua_replace(L, ARG_CALLBACK);
    } else if (slice_is_word(key, "flags")) {
        want(L, lua_istable(L, -1),
             "flags argument to redis.register_function must be a table representing function "
             "flags");
        lua_replace(L, ARG_FLAGS);
    } else {
        want(L, false, "unknown argument given to redis.register_function");
    }
}

static void read_named(lua_State *L)
{
    want(L, lua_istable(L, ARG_TABLE),
         "calling redis.register_function with a single argument is only applicable to Lua table "
         "(representing named arguments).");
    lua_settop(L, ARG_FLAGS);
    lua_pushnil(L);
    while (lua_next(L, ARG_TABLE)) {
        /* A number is none of the names, and lua_next wants it left as it is. */
        struct slice key = SLICE("");
        want(L, lua_isstring(L, -2),
             "named argument key given to redis.register_function is not a string");
        if (lua_type(L, -2) == LUA_TSTRING) key.ptr = lua_tolstring(L, -2, &key.len);
        take_named(L, key);
    }
    want(L, !lua_isnil(L, ARG_NAME),
         "redis.register_function must get a function name argument");
    want(L, !lua_isnil(L, ARG_CALLBACK), "redis.register_function must get a callback argument");
}

static void read_positional(lua_State *L)
{
    want(L, lua_isstring(L, 1), "first argument to redis.register_function must be a string");
    want(L, lua_isfunction(L, 2), "second argument to redis.register_function must be a function");
    lua_settop(L, ARG_FLAGS);
    lua_pushvalue(L, 2);
    lua_replace(L, ARG_CALLBACK);
    lua_pushvalue(L, 1);
    lua_replace(L, ARG_NAME);
    lua_pushnil(L);
    lua_replace(L, ARG_DESCRIPTION);
    lua_pushnil(L);
    lua_replace(L, ARG_FLAGS);
}

static uint32_t read_flags(lua_State *L, int table)
{
    uint32_t flags = 0;
    for (int i = 1;; i++) {
        size_t len;
        lua_rawgeti(L, table, i);
        if (lua_isnil(L, -1)) return flags;
        const char *text = lua_tolstring(L, -1, &len);
        uint32_t flag = text ? library_flag(slice_of(text, len)) : 0;
        want(L, flag != 0, "unknown flag given");
        flags |= flag;
        lua_pop(L, 1);
    }
}

static struct slice text_at(lua_State *L, int at)
{
    struct slice text;
    text.ptr = lua_tolstring(L, at, &text.len);
    return text;
}

static void check_name(lua_State *L, const struct loading *l, struct slice name)
{
    want(L, library_name_ok(name),
         "Library names can only contain letters, numbers, or underscores(_) and must be at least "
         "one character long");
    for (size_t i = 0; i < l->count; i++) {
        const struct registered *other = &l->items[i];
        struct slice text = slice_of(l->bytes.ptr + other->at, other->name_len);
        want(L, !slice_equal(text, name), "Function already exists in the library");
    }
}

static bool loading_grow(struct loading *l)
{
    if (l->count < l->cap) return true;
    size_t cap = l->cap ? l->cap * 2 : 8;
    struct registered *more = mem_try_realloc(l->items, cap * sizeof(*more));
    if (!more) return false;
    l->items = more;
    l->cap = cap;
    return true;
}

static int register_function(lua_State *L)
{
    struct script_run *run = world_of(L)->current;
    int count = lua_gettop(L);
    want(L, run && !run->program,
         "redis.register_function can only be called on FUNCTION LOAD command");
    want(L, count == 1 || count == 2, "wrong number of arguments to redis.register_function");
    if (count == 1) read_named(L);
    else read_positional(L);

    struct loading *l = CONTAINER_OF(run, struct loading, run);
    struct slice name = text_at(L, ARG_NAME);
    struct registered item = {.at = l->bytes.len, .name_len = name.len};
    if (!lua_isnil(L, ARG_FLAGS)) item.flags = read_flags(L, ARG_FLAGS);
    check_name(L, l, name);
    buf_append_slice(&l->bytes, name);
    item.described = !lua_isnil(L, ARG_DESCRIPTION);
    if (item.described) {
        struct slice description = text_at(L, ARG_DESCRIPTION);
        item.description_len = description.len;
        buf_append_slice(&l->bytes, description);
    }
    if (l->bytes.failed || !loading_grow(l)) return luaL_error(L, "not enough memory");
    lua_pushvalue(L, ARG_CALLBACK);
    item.ref = luaL_ref(L, LUA_REGISTRYINDEX);
    l->items[l->count++] = item;
    return 0;
}

/* ---- the world of libraries ---- */

static const char load_globals; /* its address: the key of what a library reads while it loads */

static void *key_of(const char *place) { return (void *)(uintptr_t)place; }

/* Of redis.*: what is there in either state, and what functions have not. */
static const char *const load_names[] = {"log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE",
                                         "LOG_WARNING", "REDIS_VERSION", "REDIS_VERSION_NUM"};
static const char *const eval_names[] = {"replicate_commands", "breakpoint", "debug"};

/* Protected, once: takes from the globals what is for scripts alone, and makes those of loading. */
static int prepare_world(lua_State *L)
{
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, SLOT_GLOBALS); /* 1 */
    lua_pushnil(L);
    lua_setfield(L, 1, "KEYS");
    lua_pushnil(L);
    lua_setfield(L, 1, "ARGV");
    lua_getfield(L, 1, "redis");
    check(sandbox_real(L, 2)); /* 3: the real redis.* */
    for (size_t i = 0; i < ARRAY_COUNT(eval_names); i++) {
        lua_pushnil(L);
        lua_setfield(L, 3, eval_names[i]);
    }
    lua_newtable(L); /* 4: redis.* while loading */
    for (size_t i = 0; i < ARRAY_COUNT(load_names); i++) {
        lua_getfield(L, 3, load_names[i]);
        lua_setfield(L, 4, load_names[i]);
    }
    lua_pushcfunction(L, register_function);
    lua_setfield(L, 4, "register_function");
    check(lua_getmetatable(L, 1)); /* 5: an unknown name is an error */
    lua_pushvalue(L, 5);
    lua_setmetatable(L, 4);
    lua_pushvalue(L, 4);
    sandbox_protect(L);            /* 6 */
    lua_newtable(L);               /* 7: the globals while loading */
    lua_pushvalue(L, 6);
    lua_setfield(L, 7, "redis");
    lua_pushvalue(L, 6);
    lua_setfield(L, 7, "server");
    lua_getfield(L, 1, "select"); /* source_rewrite's; Redis has it not, but nobody misses that */
    lua_setfield(L, 7, "select");
    lua_pushvalue(L, 5);
    lua_setmetatable(L, 7);
    lua_pushlightuserdata(L, key_of(&load_globals));
    lua_pushvalue(L, 7);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

static struct world *functions_world(struct script_vm *vm)
{
    if (vm->functions) return vm->functions;
    struct world *w = world_new(vm);
    if (w && world_protect(w, prepare_world, NULL) != 0) {
        world_retire(w);
        w = NULL;
    }
    vm->functions = w;
    return w;
}

/* The environment reads from the table at the top, which is popped. Both fields are there already:
 * nothing is allocated. */
static void read_from(lua_State *L)
{
    check(lua_getmetatable(L, LUA_GLOBALSINDEX));
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, 2);
    lua_pushliteral(L, "__index");
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 2);
}

static void loading_globals(lua_State *L, bool loading)
{
    if (loading) {
        lua_pushlightuserdata(L, key_of(&load_globals));
        lua_rawget(L, LUA_REGISTRYINDEX);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, SLOT_GLOBALS);
    }
    read_from(L);
}

/* ---- running a library's text ---- */

static void fail(struct loading *l, enum error_id prefix, const char *text, size_t len)
{
    const char *begin = error_text(prefix);
    buf_append(l->error, begin, strlen(begin));
    buf_append(l->error, text, len);
}

/* The value that ended the chunk, at the top: a table with `err`, or anything. */
static void fail_by(lua_State *L, struct loading *l)
{
    size_t len;
    if (lua_istable(L, -1)) {
        lua_pushliteral(L, "err");
        lua_rawget(L, -2);
        const char *text = lua_tolstring(L, -1, &len);
        fail(l, ERR_FUNCTION_REGISTER, text ? text : "ERR unknown error", text ? len : 17);
        return;
    }
    const char *text = lua_tolstring(L, -1, &len);
    lua_pushliteral(L, "ERR ");
    lua_pushlstring(L, text ? text : "unknown error", text ? len : 13);
    lua_concat(L, 2);
    text = lua_tolstring(L, -1, &len);
    fail(l, ERR_FUNCTION_REGISTER, text, len);
}

/* Protected. l->done, or *l->error. */
static int run_text(lua_State *L)
{
    struct loading *l = lua_touserdata(L, 1);
    size_t len;
    if (source_load(L, l->body, buf_slice(&l->rewritten), "@user_function") != 0) {
        const char *message = lua_tolstring(L, -1, &len);
        fail(l, ERR_FUNCTION_COMPILE, message ? message : "?", message ? len : 1);
        return 0;
    }
    loading_globals(L, true);
    int status = lua_pcall(L, 0, 0, 0);
    loading_globals(L, false);
    if (l->run.wish != WISH_NONE) fail(l, ERR_FUNCTION_REGISTER, "ERR FUNCTION LOAD timeout", 25);
    else if (status != 0) fail_by(L, l);
    else l->done = true;
    return 0;
}

static void refs_drop(struct world *w, struct loading *l)
{
    for (size_t i = 0; i < l->count; i++) {
        luaL_unref(w->L, LUA_REGISTRYINDEX, l->items[i].ref);
    }
    l->count = 0;
}

static void loading_deinit(struct world *w, struct loading *l)
{
    refs_drop(w, l);
    mem_free(l->items);
    buf_deinit(&l->bytes);
    buf_deinit(&l->rewritten);
}

/* False: *error. In both cases loading_deinit. */
static bool library_run(struct world *w, struct loading *l, const struct script_host *host,
                        void *ctx)
{
    check(w->current == NULL);
    l->run = (struct script_run){.world = w, .host = host, .ctx = ctx, .proto = 2};
    source_rewrite(l->body, &l->rewritten);
    w->current = &l->run;
    w->stack_base = (uintptr_t)__builtin_frame_address(0);
    int status = world_protect(w, run_text, l);
    w->current = NULL;
    if (l->run.wish != WISH_NONE) {
        lua_sethook(w->L, world_hook, LUA_MASKCOUNT, SCRIPT_PULSE_EVERY);
    }
    if (status != 0) { /* out of memory, around the text */
        lua_settop(w->L, SLOT_LAST);
        l->done = false;
        l->error->len = 0;
    }
    if (!l->done && l->error->len == 0) {
        const char *text = error_text(ERR_NO_MEMORY);
        buf_append(l->error, text, strlen(text));
    }
    return l->done;
}

/* ---- loading ---- */

/* One block: the library, its functions, all texts. */
static struct library *library_of(const struct loading *l, const struct library_head *head,
                                  struct slice text)
{
    size_t fixed = sizeof(struct library) + l->count * sizeof(struct library_function);
    struct library *library = mem_try_alloc(fixed + head->name.len + text.len + l->bytes.len);
    if (!library) return NULL;
    char *room = (char *)library + fixed;
    *library = (struct library){
        .refs = 1, .body = head->body, .function_count = l->count,
        .name = {room, head->name.len}, .text = {room + head->name.len, text.len}};
    memcpy(room, head->name.ptr, head->name.len);
    memcpy(room + head->name.len, text.ptr, text.len);
    const char *bytes = memcpy(room + head->name.len + text.len, l->bytes.ptr, l->bytes.len);
    for (size_t i = 0; i < l->count; i++) {
        const struct registered *item = &l->items[i];
        struct slice description = {bytes + item->at + item->name_len, item->description_len};
        library->functions[i] = (struct library_function){
            .name = {bytes + item->at, item->name_len}, .flags = item->flags,
            .description = item->described ? description : (struct slice){NULL, 0}};
    }
    return library;
}

static void put_error(struct buf *error, enum error_id id)
{
    const char *text = error_text(id);
    error->len = 0;
    buf_append(error, text, strlen(text));
}

struct library *script_library_load(struct script_vm *vm, const struct library_head *head,
                                    struct slice text, const struct script_host *host, void *ctx,
                                    struct buf *error)
{
    struct world *w = functions_world(vm);
    struct loading l = {.error = error, .body = slice_of(text.ptr + head->body,
                                                         text.len - head->body)};
    struct library *library = NULL;
    if (!w) {
        put_error(error, ERR_NO_MEMORY);
        return NULL;
    }
    if (library_run(w, &l, host, ctx)) {
        if (l.count) library = library_of(&l, head, text);
        if (!library) put_error(error, l.count ? ERR_NO_MEMORY : ERR_FUNCTION_NONE);
    }
    loading_deinit(w, &l);
    return library;
}

/* ---- the functions of a VM ---- */

/* The programs of a library take over the references to what it registered. False: not all are
 * there; then none is. */
static bool make_programs(struct script_vm *vm, const struct library *library, struct loading *l)
{
    const struct library_set *set = vm->libraries;
    bool whole = l->count == library->function_count;
    for (size_t i = 0; whole && i < l->count; i++) {
        struct registered *item = &l->items[i];
        struct slice name = slice_of(l->bytes.ptr + item->at, item->name_len);
        ptrdiff_t at = library_set_function(set, name);
        char text[PROGRAM_NAME_MAX];
        snprintf(text, sizeof(text), "%.*s", (int)name.len, name.ptr);
        if (at >= 0 && vm->programs[at]) continue; /* f, and then F */
        bool ours = at >= 0 && set->entries[at].library == library;
        struct program *program = ours ? program_new(vm->functions, text) : NULL;
        whole = program != NULL;
        if (!whole) break;
        program->script.flags = item->flags;
        program->is_function = true;
        program->ref = item->ref;
        item->ref = LUA_NOREF; /* luaL_unref knows that */
        vm->programs[at] = program;
    }
    for (size_t i = 0; !whole && i < set->entry_count; i++) {
        if (set->entries[i].library != library || !vm->programs[i]) continue;
        program_retire(vm->programs[i]);
        vm->programs[i] = NULL;
    }
    return whole;
}

/* Runs a library of the set, on the first call of one of its functions. */
static bool use_library(struct script_vm *vm, const struct library *library,
                        const struct script_host *host, void *ctx, struct buf *error)
{
    struct world *w = functions_world(vm);
    if (!w) return false;
    struct loading l = {.error = error, .body = slice_of(library->text.ptr + library->body,
                                                         library->text.len - library->body)};
    bool whole = library_run(w, &l, host, ctx) &&
                 make_programs(vm, library, &l);
    loading_deinit(w, &l);
    return whole;
}

/* What the VM has already of a library goes from the old table to the new one. */
static void keep_library(struct script_vm *vm, const struct library *library,
                         const struct library_set *set, struct program **programs)
{
    for (size_t i = 0; i < library->function_count; i++) {
        struct slice name = library->functions[i].name;
        struct program **from = &vm->programs[library_set_function(vm->libraries, name)];
        if (!*from) continue; /* not run here yet; or F after f */
        programs[library_set_function(set, name)] = *from;
        *from = NULL;
    }
}

static void drop_programs(struct script_vm *vm)
{
    for (size_t i = 0; vm->libraries && i < vm->libraries->entry_count; i++) {
        if (vm->programs[i]) program_retire(vm->programs[i]);
    }
    mem_free(vm->programs);
    vm->programs = NULL;
    vm->libraries = NULL;
}

void script_libraries_free(struct script_vm *vm)
{
    drop_programs(vm);
    world_retire(vm->functions);
    vm->functions = NULL;
}

bool script_libraries_use(struct script_vm *vm, const struct library_set *set)
{
    struct program **programs = mem_try_zalloc((set->entry_count + 1) * sizeof(*programs));
    for (size_t i = 0; programs && vm->libraries && i < set->count; i++) {
        const struct library *library = set->items[i];
        if (library_set_find(vm->libraries, library->name) == library) {
            keep_library(vm, library, set, programs);
        }
    }
    drop_programs(vm);
    if (!programs) return false; /* rather none than old ones */
    vm->libraries = set;
    vm->programs = programs;
    if (set->count == 0) { /* a clean world for what comes next */
        world_retire(vm->functions);
        vm->functions = NULL;
    }
    return true;
}

struct script *script_function_find(struct script_vm *vm, struct slice name,
                                    const struct script_host *host, void *ctx, struct buf *error)
{
    ptrdiff_t at = vm->libraries ? library_set_function(vm->libraries, name) : -1;
    if (at < 0) {
        put_error(error, ERR_FUNCTION_NOT_FOUND);
        return NULL;
    }
    const struct library *library = vm->libraries->entries[at].library;
    if (!vm->programs[at] && !use_library(vm, library, host, ctx, error)) {
        if (error->len == 0) put_error(error, ERR_NO_MEMORY);
        return NULL;
    }
    return &vm->programs[at]->script;
}

struct script *script_function_known(struct script_vm *vm, struct slice name)
{
    ptrdiff_t at = vm->libraries ? library_set_function(vm->libraries, name) : -1;
    return at >= 0 && vm->programs[at] ? &vm->programs[at]->script : NULL;
}
