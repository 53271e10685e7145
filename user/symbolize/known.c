/* SPDX-License-Identifier: BSD-2-Clause */
#include "user/symbolize/known.h"

#include <string.h>

#include "user/base/index.h"

static uint32_t set_of(uint32_t owner, uint64_t code, int32_t unit)
{
	return hash_pair(code, (uint64_t)owner << 32 | (uint32_t)unit) % KNOWN_SETS;
}

uint32_t known_find(const struct known *known, uint32_t owner, uint64_t code, int32_t unit)
{
	const struct known_frame *set = known->sets[set_of(owner, code, unit)];

	for (int i = 0; i < KNOWN_WAYS; i++)
		if (set[i].num && set[i].code == code && set[i].owner == owner &&
		    set[i].unit == unit)
			return set[i].num - 1;
	return INDEX_NONE;
}

void known_add(struct known *known, uint32_t owner, uint64_t code, int32_t unit, uint32_t num)
{
	struct known_frame *set = known->sets[set_of(owner, code, unit)];

	memmove(set + 1, set, (KNOWN_WAYS - 1) * sizeof(*set));
	set[0] = (struct known_frame){code, owner, unit, num + 1};
}
