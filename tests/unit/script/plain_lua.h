/* A bare Lua state with one module in it, for tests. Thread: owner. */
#ifndef SPLITRING_TESTS_PLAIN_LUA_H
#define SPLITRING_TESTS_PLAIN_LUA_H

#include <lua.h>

lua_State *plain_lua(const char *name, lua_CFunction open);
/* Runs the text; it must come to an end, and without an error. */
void plain_run(lua_State *L, const char *text);

#endif
