/* Error texts of the protocol, one id each; generated from src/resp/errors.toml into the build
 * folder (errors_table.h: enum error_id and the texts).
 * Thread: any (constant). */
#ifndef SPLITRING_RESP_ERRORS_H
#define SPLITRING_RESP_ERRORS_H

#include "errors_table.h" /* generated: enum error_id { ERR_SYNTAX, ERR_WRONGTYPE, … }; */

const char *error_text(enum error_id id); /* without '-', e.g. "ERR syntax error"; may hold %s %d */

#endif
