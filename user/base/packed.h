/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A growing array of numbers that are mostly small: two bytes each, until one comes that does not
 * fit; four each from then on.
 *
 * `struct packed p = {}` is a valid empty one; free(p.items) releases it. Not thread-safe.
 */
#ifndef KRAIT_BASE_PACKED_H
#define KRAIT_BASE_PACKED_H

#include <stdbool.h>
#include <stdint.h>

struct packed {
	void *items; /* uint16_t each; uint32_t if is_wide */
	uint32_t cnt, cap;
	bool is_wide;
};

/* Number i, below cnt. */
static inline uint32_t packed_get(const struct packed *p, uint32_t i)
{
	return p->is_wide ? ((const uint32_t *)p->items)[i] : ((const uint16_t *)p->items)[i];
}

/* Appends cnt numbers. 0 or -ENOMEM (the array holds what it held). */
int packed_add(struct packed *p, const uint32_t *numbers, uint32_t cnt);

#endif
