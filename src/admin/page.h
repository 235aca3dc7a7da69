/* page.html as bytes; page.c is made from it when the program is built.
 * Thread: any (constant). */
#ifndef SPLITRING_SRC_ADMIN_PAGE_H
#define SPLITRING_SRC_ADMIN_PAGE_H

#include <stddef.h>

extern const unsigned char page_html[];
extern const size_t page_html_len;

#endif
