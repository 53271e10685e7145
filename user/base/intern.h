/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interned strings: equal text has one address, so names compare and hash as pointers, and each is
 * kept once.
 *
 * The strings belong to the table and live until intern_free. Not thread-safe.
 */
#ifndef KRAIT_BASE_INTERN_H
#define KRAIT_BASE_INTERN_H

#include <stddef.h>

struct intern;

/* NULL with errno set if there is no memory. */
struct intern *intern_new(void);
void intern_free(struct intern *in);
/* The one copy of these bytes, NUL-terminated (a NUL within ends the text). Never NULL: without
 * memory, "". */
const char *intern_add(struct intern *in, const char *text, size_t len);
const char *intern_str(struct intern *in, const char *text);

#endif
