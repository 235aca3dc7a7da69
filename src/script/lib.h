/* The C modules that scripts find in their globals. Each opener leaves its module's table on the
 * stack and touches no global: who builds the sandbox decides what it is called there.
 * Thread: owner (of the lua_State). */
#ifndef SPLITRING_SCRIPT_LIB_H
#define SPLITRING_SCRIPT_LIB_H

struct lua_State;

int luaopen_splitring_cmsgpack(struct lua_State *L);
int luaopen_splitring_struct(struct lua_State *L);

#endif
