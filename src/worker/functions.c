/* Libraries of functions for all workers.
 *
 * The store has one pointer: the set of libraries that there are. A set never changes (library.h),
 * so whoever takes it sees all libraries at one point in time, and every change is the exchange of
 * that pointer under a lock: FUNCTION LOAD and RESTORE run the texts first, in their worker's VM,
 * and what they give is put in as a whole or not at all. A change counts the generation up. A
 * worker whose VM knows an older one looks again before it runs a function: so from the moment a
 * change is answered every FCALL sees it, and none sees half of it.
 *
 * Why no fan-out to all workers, as CONFIG SET has? Between the first and the last worker's part
 * the old and the new libraries would both be called, and a worker's part would run other people's
 * code before anyone has asked for it. Here a VM runs a library when one of its functions is first
 * called.
 *
 * References are counted under the same lock; it is held for as long as it takes to make a sorted
 * array of pointers.
 * Thread: any; functions_vm and below: owner. */
#include "functions.h"

#include "script.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/io/os.h"

#define RUN_AGAIN_US 5000000 /* a text that has run before, on a machine that is busy now */

struct function_store {
    claim_word locked;
    counter generation, bytes;
    struct library_set *set;
};

static void lock(struct hub *hub)
{
    unsigned spins = 0;
    while (!claim_try_shared(&hub->functions->locked, 0, 1)) hub->pause(spins++);
}

static void unlock(struct hub *hub) { (void)claim_try_shared(&hub->functions->locked, 1, 0); }

static uint64_t bytes_of(const struct library_set *set)
{
    uint64_t bytes = sizeof *set + set->entry_count * sizeof *set->entries;
    for (size_t i = 0; i < set->count; i++) {
        const struct library *l = set->items[i];
        bytes += sizeof l + sizeof *l + l->name.len + l->text.len;
        bytes += l->function_count * sizeof l->functions[0];
    }
    return bytes;
}

struct function_store *function_store_new(void)
{
    struct buf error = {0};
    struct function_store *store = mem_zalloc(sizeof *store);
    store->set = library_set_new(NULL, 0, &error);
    check(store->set != NULL);
    counter_set(&store->bytes, bytes_of(store->set));
    counter_set(&store->generation, 1); /* 0: a VM that knows nothing yet */
    return store;
}

void function_store_free(struct function_store *store)
{
    library_set_unref(store->set);
    mem_free(store);
}

struct library_set *functions_take(struct hub *hub)
{
    lock(hub);
    struct library_set *set = hub->functions->set;
    set->refs++;
    unlock(hub);
    return set;
}

void functions_drop(struct hub *hub, struct library_set *set)
{
    if (!set) return;
    lock(hub);
    library_set_unref(set);
    unlock(hub);
}

uint64_t functions_bytes(const struct hub *hub) { return counter_get(&hub->functions->bytes); }

/* Under the lock: from here on that is what there is. */
static void publish(struct hub *hub, struct library_set *set)
{
    struct function_store *store = hub->functions;
    library_set_unref(store->set);
    store->set = set;
    counter_set(&store->bytes, bytes_of(set));
    counter_set_release(&store->generation, counter_get(&store->generation) + 1);
}

bool functions_put(struct hub *hub, struct library **items, size_t count,
                   enum functions_change how, struct buf *error)
{
    struct library_set *more = library_set_new(items, count, error), *made = more;
    for (size_t i = 0; !more && i < count; i++) library_unref(items[i]);
    if (!more) return false;
    lock(hub);
    if (how == FUNCTIONS_FLUSH) more->refs++;
    else made = library_set_join(hub->functions->set, more, how == FUNCTIONS_REPLACE, error);
    if (made) publish(hub, made);
    library_set_unref(more);
    unlock(hub);
    return made != NULL;
}

bool functions_remove(struct hub *hub, struct slice name, struct buf *error)
{
    struct library_set *made = NULL;
    lock(hub);
    const struct library *library = library_set_find(hub->functions->set, name);
    if (library) made = library_set_without(hub->functions->set, name);
    if (made) publish(hub, made);
    unlock(hub);
    if (library && !made) library_refuse(error, ERR_NO_MEMORY, SLICE(""));
    return made != NULL;
}

/* ---- running a library's text ---- */

struct load {
    int64_t deadline_us;
    bool again; /* it was run before: what it logs has been logged */
};

static enum script_pulse load_pulse(void *ctx)
{
    const struct load *load = ctx;
    return os_mono_us() > load->deadline_us ? SCRIPT_KILL : SCRIPT_GO_ON;
}

static void load_log(void *ctx, enum script_log_level level, struct slice text)
{
    const struct load *load = ctx;
    if (!load->again) script_log(level, text);
}

static const struct script_host load_host = {.pulse = load_pulse, .log = load_log};

static bool is_there(struct hub *hub, struct slice name)
{
    struct library_set *set = functions_take(hub);
    bool there = library_set_find(set, name) != NULL;
    functions_drop(hub, set);
    return there;
}

struct library *functions_make(struct worker *w, struct slice text, bool may_be_there,
                               int64_t deadline_us, struct buf *error)
{
    struct load load = {.deadline_us = deadline_us};
    struct script_vm *vm = script_vm(w);
    struct library_head head;
    struct library *library = NULL;
    if (!library_head_parse(text, &head, error)) return NULL;
    if (!may_be_there && is_there(w->hub, head.name))
        library_refuse(error, ERR_FUNCTION_LIBRARY_EXISTS, head.name);
    else if (!vm)
        library_refuse(error, ERR_NO_MEMORY, SLICE(""));
    else
        library = script_library_load(vm, &head, text, &load_host, &load, error);
    library_head_deinit(&head);
    return library;
}

bool functions_load(struct worker *w, struct slice text, bool replace, struct buf *error)
{
    struct library *library =
        functions_make(w, text, replace, os_mono_us() + RUN_AGAIN_US, error);
    enum functions_change how = replace ? FUNCTIONS_REPLACE : FUNCTIONS_APPEND;
    return library && functions_put(w->hub, &library, 1, how, error);
}

struct script_vm *functions_vm(struct worker *w)
{
    struct hub *hub = w->hub;
    struct script_vm *vm = script_vm(w);
    if (!vm || counter_get_acquire_shared(&hub->functions->generation) == w->functions_generation)
        return vm;
    struct library_set *old = w->functions;
    lock(hub);
    w->functions = hub->functions->set;
    w->functions->refs++;
    w->functions_generation = counter_get(&hub->functions->generation);
    unlock(hub);
    bool used = script_libraries_use(vm, w->functions);
    functions_drop(hub, old);
    if (used) return vm;
    w->functions_generation = 0; /* again the next time */
    return NULL;
}

struct script *functions_find(struct worker *w, struct slice name, struct buf *error)
{
    struct load load = {.deadline_us = os_mono_us() + RUN_AGAIN_US, .again = true};
    struct script_vm *vm = functions_vm(w);
    if (vm) return script_function_find(vm, name, &load_host, &load, error);
    library_refuse(error, ERR_NO_MEMORY, SLICE(""));
    return NULL;
}

void functions_free(struct worker *w)
{
    functions_drop(w->hub, w->functions);
    w->functions = NULL;
}
