/* Libraries of functions: what FUNCTION LOAD makes known. A library and a set of libraries never
 * change once they are made, so any number of VMs may read them; their counts of references are
 * plain numbers, changed only under the lock of whoever shares them.
 *
 * A library's text is run once when it is loaded, to learn its functions, and once in every VM
 * where one of them is called. It gives the same functions there, since nothing that a library can
 * reach while it is loaded differs from VM to VM.
 * Source: https://redis.io/docs/latest/develop/programmability/functions-intro/
 * Thread: any for reading; references and sets: under the sharer's lock; VMs: owner. */
#ifndef SPLITRING_SCRIPT_LIBRARY_H
#define SPLITRING_SCRIPT_LIBRARY_H

#include "splitring/script/vm.h"

/* What the first line of a library says: "#!lua name=mylib". */
struct library_head {
    struct slice name;
    size_t body; /* where Lua's part begins: at the end of the first line */
    char *room;  /* where name lies; library_head_deinit */
};
/* False: *error is the error reply's text. */
bool library_head_parse(struct slice text, struct library_head *head, struct buf *error);
void library_head_deinit(struct library_head *head);

struct library_function {
    struct slice name;
    struct slice description; /* ptr NULL: none */
    uint32_t flags;           /* enum script_flag */
};
struct library {
    uint32_t refs;
    struct slice name;
    struct slice text;
    size_t body;
    size_t function_count;
    struct library_function functions[]; /* in the order they were registered */
};

void library_unref(struct library *library); /* NULL is fine */
/* Writes the error's text with `what` where it has a place for it. False. */
bool library_refuse(struct buf *error, enum error_id id, struct slice what);
const char *library_flag_name(unsigned bit); /* "no-writes"; NULL: there is no such bit */

/* ---- sets ---- */

/* Function names are the same whatever their case, but for those of one library, where the one that
 * was registered first is called. */
struct library_entry {
    const struct library_function *function;
    const struct library *library; /* whose it is */
    size_t order;                  /* among those that the set was made of */
};
struct library_set {
    uint32_t refs;
    size_t count;
    struct library **items;         /* sorted by name */
    size_t function_count;         /* of all libraries */
    size_t entry_count;
    struct library_entry *entries; /* what can be called, sorted by name */
};

/* A set of these libraries, one reference to each of which is its own then. NULL: *error says why:
 * two have the same name, or a function of the same name; no memory. They are as they were then. */
struct library_set *library_set_new(struct library *const *items, size_t count, struct buf *error);
void library_set_unref(struct library_set *set);
const struct library *library_set_find(const struct library_set *set, struct slice name);
/* The index of a function in set->entries; -1: there is none. */
ptrdiff_t library_set_function(const struct library_set *set, struct slice name);
/* All of both. The name of a library that is in both is an error, unless more's is to replace it.
 * NULL: *error says why. */
struct library_set *library_set_join(const struct library_set *set, const struct library_set *more,
                                     bool replace, struct buf *error);
/* All but that one. NULL: no memory. */
struct library_set *library_set_without(const struct library_set *set, struct slice name);

/* ---- in a VM ---- */

/* FUNCTION LOAD: runs the text and returns what it registered, with one reference. Nothing of it
 * stays in the VM. NULL: *error says why. The host is asked for pulse (SCRIPT_KILL: it takes too
 * long) and log. */
struct library *script_library_load(struct script_vm *vm, const struct library_head *head,
                                    struct slice text, const struct script_host *host, void *ctx,
                                    struct buf *error);
/* From now on the VM has the functions of this set and no others; those that run end as they are.
 * The set stays until the next call. False: no memory; it has none then. */
bool script_libraries_use(struct script_vm *vm, const struct library_set *set);
/* For script_start. The first call of a library's function runs the library's text, as
 * script_library_load does. NULL: *error says why. */
struct script *script_function_find(struct script_vm *vm, struct slice name,
                                    const struct script_host *host, void *ctx, struct buf *error);
/* The same, if its library has run here already. */
struct script *script_function_known(struct script_vm *vm, struct slice name);

#endif
