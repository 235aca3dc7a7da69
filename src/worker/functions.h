/* The libraries of functions that all workers share, and a worker's VM that has them.
 * Thread: any, unless a function says otherwise. */
#ifndef SPLITRING_SRC_WORKER_FUNCTIONS_H
#define SPLITRING_SRC_WORKER_FUNCTIONS_H

#include "internal.h"
#include "splitring/script/library.h"

struct function_store;
struct function_store *function_store_new(void);
void function_store_free(struct function_store *store);

/* The libraries as they are now; functions_drop when they are no longer looked at. */
struct library_set *functions_take(struct hub *hub);
void functions_drop(struct hub *hub, struct library_set *set);

uint64_t functions_bytes(const struct hub *hub); /* memory of all of them */

/* What is added to the libraries there are, or put in their place: one reference to each is spent.
 * False: *error says why, and nothing has changed. */
enum functions_change {
    FUNCTIONS_APPEND,  /* a name that is there already is an error */
    FUNCTIONS_REPLACE, /* takes the place of the library of its name */
    FUNCTIONS_FLUSH    /* all others go */
};
bool functions_put(struct hub *hub, struct library **items, size_t count,
                   enum functions_change how, struct buf *error);
/* False: there is no library of that name (*error empty), or no memory. */
bool functions_remove(struct hub *hub, struct slice name, struct buf *error);

/* ---- a worker's VM. Thread: owner ---- */

/* Runs a library's text until then at most. Nobody knows the library yet; may_be_there: one of its
 * name may. NULL: *error says why. */
struct library *functions_make(struct worker *w, struct slice text, bool may_be_there,
                               int64_t deadline_us, struct buf *error);
/* A library of a dump. False: *error says why. */
bool functions_load(struct worker *w, struct slice text, bool replace, struct buf *error);
/* The VM knows the libraries that there are now. NULL: no memory. */
struct script_vm *functions_vm(struct worker *w);
struct script *functions_find(struct worker *w, struct slice name, struct buf *error);
/* The same where nobody wants to know why not. */
static inline struct script *functions_of_name(struct worker *w, struct slice name)
{
    struct buf error = {0};
    struct script *script = functions_find(w, name, &error);
    buf_deinit(&error);
    return script;
}
void functions_free(struct worker *w); /* after the VM */

#endif
