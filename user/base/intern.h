/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interned strings: equal text has one address, so names compare and hash as pointers, and each is
 * kept once.
 *
 * The strings belong to the table and live until it has been freed once for each who holds it.
 * Adding is not thread-safe; to hold, free and read is.
 */
#ifndef KRAIT_BASE_INTERN_H
#define KRAIT_BASE_INTERN_H

#include <stddef.h>

struct intern;

/* Held once. NULL with errno set if there is no memory. */
struct intern *intern_new(void);
/* Holds it once more; returns it. */
struct intern *intern_hold(struct intern *in);
void intern_free(struct intern *in);
/* The one copy of these bytes, NUL-terminated (a NUL within ends the text). Never NULL: without
 * memory, "". */
const char *intern_add(struct intern *in, const char *text, size_t len);
const char *intern_str(struct intern *in, const char *text);

#endif
