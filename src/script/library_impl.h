/* Between the files of libraries.
 * Thread: as the face says. */
#ifndef SPLITRING_SRC_SCRIPT_LIBRARY_IMPL_H
#define SPLITRING_SRC_SCRIPT_LIBRARY_IMPL_H

#include "splitring/script/library.h"

/* Letters, digits and underscores; one at least. */
bool library_name_ok(struct slice name);
/* enum script_flag by its name; 0: unknown. */
uint32_t library_flag(struct slice name);
/* The end of a VM: its functions and their world. */
void script_libraries_free(struct script_vm *vm);

#endif
