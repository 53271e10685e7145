/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frames that are at hand: from (owner, code, unit) to a frame's number, for as many as there
 * is room for. To find the line of a frame is to read its table from the start.
 *
 * A new one takes the place of the oldest of the four that it could be instead: what has gone is
 * only found the long way again. All zero is a valid empty one; 768 KB, of which only the pages
 * that are used exist if it was made by calloc.
 */
#ifndef KRAIT_SYMBOLIZE_KNOWN_H
#define KRAIT_SYMBOLIZE_KNOWN_H

#include <stdint.h>

#define KNOWN_SETS 8192
#define KNOWN_WAYS 4

struct known {
	struct known_frame {
		uint64_t code;
		uint32_t owner; /* whose code that is; the same for all where codes are shared */
		int32_t unit;
		uint32_t num; /* of the frame, + 1; 0: the slot is free */
	} sets[KNOWN_SETS][KNOWN_WAYS];
};

/* The frame's number, or INDEX_NONE. */
uint32_t known_find(const struct known *known, uint32_t owner, uint64_t code, int32_t unit);
/* Keeps a frame that was not found. */
void known_add(struct known *known, uint32_t owner, uint64_t code, int32_t unit, uint32_t num);

#endif
