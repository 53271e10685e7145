/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A growing array of plain elements: the caller keeps a typed pointer, how many there are and how
 *many fit.
 *
 *	struct thing *things = NULL;
 *	uint32_t cnt = 0, cap = 0;
 *	if (array_reserve((void **)&things, &cap, cnt + 1, sizeof(*things)) == 0)
 *		things[cnt++] = x;
 */
#ifndef KRAIT_BASE_ARRAY_H
#define KRAIT_BASE_ARRAY_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

/* Makes room for `need` elements of `size` bytes. 0 or -ENOMEM (the array is as it was). Free with
 * free(). */
static inline int array_reserve(void **items, uint32_t *cap, uint32_t need, size_t size)
{
	uint32_t more = *cap ? *cap : 16;
	void *grown;

	if (need <= *cap)
		return 0;
	while (more < need) {
		if (more > UINT32_MAX / 2)
			return -ENOMEM;
		more *= 2;
	}
	grown = reallocarray(*items, more, size);
	if (!grown)
		return -ENOMEM;
	*items = grown;
	*cap = more;
	return 0;
}

/* For qsort and bsearch of uint32_t. */
static inline int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

#endif
