/* The scripts that a worker's VM knows.
 *
 * A VM is made when its worker meets the first script, and compiles what it runs; texts that came
 * by other workers it finds in the store (script_store.c). SCRIPT FLUSH is a generation of the
 * store: a VM that knows an older one forgets everything before it is used again. A VM that has
 * compiled many more scripts than the store remembers forgets them as well.
 *
 * Thread: owner. */
#include "functions.h"
#include "script.h"
#include "splitring/base/check.h"
#include "splitring/cmd/handlers.h"

#define VM_SCRIPTS_MORE 1000u

struct script_vm *script_vm(struct worker *w)
{
    uint64_t generation = script_store_generation(w->hub->scripts);
    if (!w->vm) {
        w->vm = script_vm_new();
        w->vm_generation = generation;
        if (w->vm && w->id) script_vm_seed(w->vm, (uint32_t)rng_next(&w->rng));
    } else if (w->vm_generation != generation) {
        script_flush(w->vm);
        w->vm_generation = generation;
        w->vm_scripts = 0;
    }
    return w->vm;
}

void scripts_free(struct worker *w)
{
    check(list_empty(&w->script_jobs));
    if (w->vm) script_vm_free(w->vm);
    functions_free(w);
}

/* A VM forgets what the store has forgotten all at once, now and then: what is still wanted is
 * compiled again. */
static void vm_bound(struct worker *w)
{
    if (likely(w->vm_scripts < VM_SCRIPTS_MORE)) return;
    script_store_lock(w->hub);
    size_t known = script_store_count(w->hub->scripts);
    script_store_unlock(w->hub);
    if (w->vm_scripts < known + VM_SCRIPTS_MORE) return;
    script_flush(w->vm);
    w->vm_scripts = 0;
}

/* In the VM; an error goes into *error. */
static struct script *load(struct worker *w, struct slice text, struct buf *error)
{
    vm_bound(w);
    struct script *script = script_load(w->vm, text, error);
    if (script && !(script->host_state & SCRIPT_STATE_COUNTED)) {
        script->host_state |= SCRIPT_STATE_COUNTED;
        w->vm_scripts++;
    }
    return script;
}

static bool store(struct worker *w, struct script *script, struct slice text, bool pinned)
{
    uint64_t forgotten = script_store_forgotten(w->hub->scripts);
    bool stored = script->host_state & SCRIPT_STATE_STORED && script->host_count == forgotten;
    if (likely(stored && !pinned)) return true;
    script_store_lock(w->hub);
    bool known = script_store_add(w->hub->scripts, slice_of(script->sha, SCRIPT_SHA_LEN), text,
                                  pinned);
    script_store_unlock(w->hub);
    if (known) script->host_state |= SCRIPT_STATE_STORED;
    script->host_count = forgotten;
    return known;
}

struct script *script_of_text(struct call *c, struct slice text, bool pinned)
{
    struct worker *w = c->worker;
    struct buf error = {0};
    struct script *script = script_vm(w) ? load(w, text, &error) : NULL;
    bool refused = !script && error.len;
    if (refused) reply_error_text(&c->reply, error.ptr, error.len);
    buf_deinit(&error);
    if (script && store(w, script, text, pinned)) return script;
    if (!refused) reply_error(&c->reply, ERR_NO_MEMORY);
    return NULL;
}

struct script *script_of_sha(struct worker *w, struct slice sha)
{
    struct script_vm *vm = script_vm(w);
    struct script *script = vm ? script_find(vm, sha) : NULL;
    if (script || !vm || sha.len != SCRIPT_SHA_LEN) return script;
    struct buf text = {0}, error = {0};
    script_store_lock(w->hub);
    const struct slice *stored = script_store_find(w->hub->scripts, sha);
    if (stored) buf_append_slice(&text, *stored);
    script_store_unlock(w->hub);
    if (stored && !text.failed) script = load(w, buf_slice(&text), &error);
    buf_deinit(&text);
    buf_deinit(&error);
    return script;
}

const struct script *script_of_op(struct worker *w, const struct op *op)
{
    bool by_text = op->cmd->handler == cmd_eval || op->cmd->handler == cmd_eval_ro;
    bool function = op->cmd->handler == cmd_fcall || op->cmd->handler == cmd_fcall_ro;
    struct buf error = {0};
    struct script_vm *vm = script_vm(w);
    const struct script *script;
    if (!vm) return NULL;
    if (function)
        script = functions_vm(w) ? script_function_known(vm, op->argv[1]) : NULL;
    else
        script = by_text ? load(w, op->argv[1], &error) : script_find(vm, op->argv[1]);
    buf_deinit(&error);
    return script;
}
