/* Programs: what a VM has compiled, found by SHA; and the VM itself.
 *
 * The table of scripts is chained buckets over the first digits of the SHA. A script that is
 * forgotten while it runs leaves the table at once and is freed with its last run; its world stays
 * for as long as one of its runs does.
 * Thread: owner. */
#include <stdio.h>

#include "library_impl.h"
#include "splitring/base/hash.h"
#include "splitring/base/mem.h"
#include "splitring/base/sha1.h"
#include "vm_impl.h"

/* What one world may take: far beyond what scripts use, and far below what a machine has. */
#define BYTES_MAX ((size_t)1 << 30)

/* lrand48's own first state, with which Redis starts. */
#define RANDOM_SEED 0x1234abcdu

void script_sha(struct slice text, char sha[SCRIPT_SHA_LEN + 1])
{
    uint8_t digest[SHA1_LEN];
    sha1(text, digest);
    sha1_hex(digest, sha);
    sha[SCRIPT_SHA_LEN] = '\0';
}

struct script_vm *script_vm_new(void)
{
    struct script_vm *vm = mem_try_zalloc(sizeof(*vm));
    if (vm == NULL) return NULL;
    vm->bytes_max = BYTES_MAX;
    random_seed(vm->random, RANDOM_SEED);
    vm->bucket_count = PROGRAM_BUCKETS_MIN;
    vm->buckets = mem_try_zalloc(vm->bucket_count * sizeof(struct program *));
    vm->text_buckets = mem_try_zalloc(vm->bucket_count * sizeof(struct program *));
    vm->evals = world_new(vm);
    if (vm->buckets == NULL || vm->text_buckets == NULL || vm->evals == NULL) {
        script_vm_free(vm);
        return NULL;
    }
    return vm;
}

static void forget_all(struct script_vm *vm)
{
    for (size_t i = 0; vm->buckets && i < vm->bucket_count; i++) {
        while (vm->buckets[i]) {
            struct program *program = vm->buckets[i];
            vm->buckets[i] = program->next;
            program_retire(program);
        }
        if (vm->text_buckets) vm->text_buckets[i] = NULL;
    }
    vm->script_count = vm->text_bytes = 0;
}

void script_vm_free(struct script_vm *vm)
{
    if (vm == NULL) return;
    forget_all(vm);
    world_retire(vm->evals);
    script_libraries_free(vm);
    mem_free(vm->buckets);
    mem_free(vm->text_buckets);
    mem_free(vm);
}

void script_vm_limit(struct script_vm *vm, size_t bytes_max)
{
    vm->bytes_max = bytes_max;
    vm->evals->bytes_max = bytes_max;
    if (vm->functions) vm->functions->bytes_max = bytes_max;
}

void script_vm_seed(struct script_vm *vm, uint32_t seed) { random_seed(vm->random, seed); }

size_t script_vm_bytes(const struct script_vm *vm)
{
    return vm->evals->bytes + (vm->functions ? vm->functions->bytes : 0) +
           2 * vm->bucket_count * sizeof(struct program *) +
           vm->script_count * sizeof(struct program) + vm->text_bytes;
}

struct program *program_new(struct world *w, const char *name)
{
    struct program *program = mem_try_zalloc(sizeof(*program));
    if (program == NULL) return NULL;
    program->world = w;
    program->ref = LUA_NOREF;
    snprintf(program->name, sizeof(program->name), "%s", name);
    return program;
}

void program_retire(struct program *program)
{
    program->retired = true;
    if (program->runs) return;
    /* Writes to a slot that exists: nothing is allocated. */
    luaL_unref(program->world->L, LUA_REGISTRYINDEX, program->ref);
    mem_free(program->text);
    mem_free(program);
}

/* ---- scripts by SHA ---- */

static bool hex_lower(struct slice sha, char out[SCRIPT_SHA_LEN + 1])
{
    if (sha.len != SCRIPT_SHA_LEN) return false;
    for (size_t i = 0; i < SCRIPT_SHA_LEN; i++) {
        char c = sha.ptr[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    out[SCRIPT_SHA_LEN] = '\0';
    return true;
}

static struct program **bucket_of(const struct script_vm *vm, const char *sha)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < 16; i++) {
        unsigned digit = (unsigned char)sha[i];
        hash = hash << 4 | (digit <= '9' ? digit & 15 : (digit & 15) + 9);
    }
    return &vm->buckets[hash & (vm->bucket_count - 1)];
}

static struct program *find(const struct script_vm *vm, const char *sha)
{
    struct program *program = *bucket_of(vm, sha);
    while (program && memcmp(program->script.sha, sha, SCRIPT_SHA_LEN) != 0) {
        program = program->next;
    }
    return program;
}

struct script *script_find(struct script_vm *vm, struct slice sha)
{
    char lower[SCRIPT_SHA_LEN + 1];
    if (!hex_lower(sha, lower)) return NULL;
    struct program *program = find(vm, lower);
    return program ? &program->script : NULL;
}

struct slice script_text(const struct script *script)
{
    const struct program *program = CONTAINER_OF(script, struct program, script);
    return slice_of(program->text, program->text_len);
}

/* The table's address is as good as any seed: chains are looked through, never listed. */
static uint64_t hash_text(const struct script_vm *vm, struct slice text)
{
    return hash_key(text, (uint64_t)(uintptr_t)vm);
}

static struct program **text_bucket_of(const struct script_vm *vm, uint64_t hash)
{
    return &vm->text_buckets[hash & (vm->bucket_count - 1)];
}

static struct program *find_text(const struct script_vm *vm, struct slice text, uint64_t hash)
{
    struct program *program = *text_bucket_of(vm, hash);
    while (program && !(program->text_hash == hash &&
                        slice_equal(slice_of(program->text, program->text_len), text))) {
        program = program->next_text;
    }
    return program;
}

static void link_program(struct script_vm *vm, struct program *program)
{
    struct program **bucket = bucket_of(vm, program->script.sha);
    program->next = *bucket;
    *bucket = program;
    bucket = text_bucket_of(vm, program->text_hash);
    program->next_text = *bucket;
    *bucket = program;
}

/* Longer chains are slower, not wrong: without memory it stays as it is. */
static void grow(struct script_vm *vm)
{
    struct script_vm bigger = {.bucket_count = vm->bucket_count * 2};
    bigger.buckets = mem_try_zalloc(bigger.bucket_count * sizeof(struct program *));
    bigger.text_buckets = mem_try_zalloc(bigger.bucket_count * sizeof(struct program *));
    if (bigger.buckets == NULL || bigger.text_buckets == NULL) {
        mem_free(bigger.buckets);
        mem_free(bigger.text_buckets);
        return;
    }
    for (size_t i = 0; i < vm->bucket_count; i++) {
        while (vm->buckets[i]) {
            struct program *program = vm->buckets[i];
            vm->buckets[i] = program->next;
            link_program(&bigger, program);
        }
    }
    mem_free(vm->buckets);
    mem_free(vm->text_buckets);
    vm->buckets = bigger.buckets;
    vm->text_buckets = bigger.text_buckets;
    vm->bucket_count = bigger.bucket_count;
}

struct compiling {
    struct slice text, rewritten;
    struct buf *error;
    int ref;
};

/* Protected. ref is set, or *error. */
static int compile(lua_State *L)
{
    struct compiling *c = lua_touserdata(L, 1);
    if (source_load(L, c->text, c->rewritten, "@user_script") != 0) {
        size_t len;
        const char *message = lua_tolstring(L, -1, &len);
        const char *prefix = error_text(ERR_SCRIPT_COMPILE);
        buf_append(c->error, prefix, strlen(prefix));
        buf_append(c->error, message ? message : "?", message ? len : 1);
        return 0;
    }
    c->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void no_memory(struct buf *error)
{
    const char *text = error_text(ERR_NO_MEMORY);
    buf_append(error, text, strlen(text));
}

/* The body into the world: a reference to its function, or LUA_NOREF and *error. */
static int compile_body(struct world *w, struct slice body, struct buf *error)
{
    struct buf rewritten;
    source_rewrite(body, &rewritten);
    struct compiling c = {body, buf_slice(&rewritten), error, LUA_NOREF};
    if (world_protect(w, compile, &c) != 0) {
        lua_settop(w->L, SLOT_LAST);
        no_memory(error);
    }
    buf_deinit(&rewritten);
    return c.ref;
}

static struct script *load_new(struct script_vm *vm, struct slice text, const char *sha,
                               uint64_t hash, struct buf *error)
{
    uint32_t flags;
    size_t skipped;
    if (!shebang_parse(text, &flags, &skipped, error)) return NULL;
    struct program *program = program_new(vm->evals, sha);
    if (program) program->text = mem_try_alloc(text.len);
    if (program == NULL || program->text == NULL) {
        mem_free(program);
        no_memory(error);
        return NULL;
    }
    if (text.len) memcpy(program->text, text.ptr, text.len);
    program->text_len = text.len;
    program->text_hash = hash;
    memcpy(program->script.sha, sha, SCRIPT_SHA_LEN + 1);
    program->script.flags = flags;
    struct slice body = slice_of(program->text + skipped, text.len - skipped);
    program->ref = compile_body(vm->evals, body, error);
    if (program->ref == LUA_NOREF) {
        program_retire(program);
        return NULL;
    }
    if (vm->script_count >= vm->bucket_count) grow(vm);
    link_program(vm, program);
    vm->script_count++;
    vm->text_bytes += text.len;
    return &program->script;
}

struct script *script_load(struct script_vm *vm, struct slice text, struct buf *error)
{
    uint64_t hash = hash_text(vm, text);
    struct program *program = find_text(vm, text, hash);
    if (program) return &program->script;
    char sha[SCRIPT_SHA_LEN + 1];
    script_sha(text, sha);
    return load_new(vm, text, sha, hash, error);
}

void script_forget(struct script_vm *vm, struct script *script)
{
    struct program *program = CONTAINER_OF(script, struct program, script);
    struct program **link = bucket_of(vm, script->sha);
    while (*link != program) link = &(*link)->next;
    *link = program->next;
    link = text_bucket_of(vm, program->text_hash);
    while (*link != program) link = &(*link)->next_text;
    *link = program->next_text;
    vm->script_count--;
    vm->text_bytes -= program->text_len;
    program_retire(program);
}

void script_flush(struct script_vm *vm)
{
    struct world *fresh = world_new(vm);
    forget_all(vm);
    /* Without memory for a new world the old one serves on, empty of scripts. */
    if (fresh == NULL) return;
    world_retire(vm->evals);
    vm->evals = fresh;
}
