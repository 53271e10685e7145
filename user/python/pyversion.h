/* SPDX-License-Identifier: BSD-2-Clause */
/* CPython version numbers: in a library's strings, and as PY_VERSION_HEX. */
#ifndef KRAIT_PYTHON_PYVERSION_H
#define KRAIT_PYTHON_PYVERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pyversion {
	int major, minor, micro;
};

/* The search of pyversion_find, over data that comes in pieces. */
struct pyversion_search {
	struct pyversion want, all; /* all.micro and so on, once is_found */
	bool is_found;
};

#define PYVERSION_KEEP_BYTES 32 /* of a piece, which begin the next one */

/* The first `skip` bytes end the piece before, and have been searched. */
void pyversion_search(struct pyversion_search *search, const char *data, size_t len, size_t skip);

/*
 * Looks for a string that ends with a version: "3.10.13" or "3.13.0rc2+" (PY_VERSION,
 * Include/patchlevel.h). *major and *minor say what is wanted, -1 for any; true when there is one,
 * and all three are set. Where several differ, as when other libraries are linked in, what they
 * differ in is -1.
 */
bool pyversion_find(const char *data, size_t len, int *major, int *minor, int *micro);

/* PY_VERSION_HEX of a final release (Include/patchlevel.h); a negative micro counts as 0. */
uint32_t pyversion_hex(int major, int minor, int micro);
unsigned int pyversion_major(uint32_t hex);
unsigned int pyversion_minor(uint32_t hex);

#endif
