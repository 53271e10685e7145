/* SPDX-License-Identifier: BSD-2-Clause */
#include "user/base/packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/base/array.h"

/* Makes the numbers four bytes each. 0 or -ENOMEM. */
static int widen(struct packed *p)
{
	/* One more: reallocarray of 0 elements may return NULL. */
	uint32_t *wide = reallocarray(NULL, p->cap + 1UL, sizeof(*wide));

	if (!wide)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->cnt; i++)
		wide[i] = packed_get(p, i);
	free(p->items);
	p->items = wide;
	p->is_wide = true;
	return 0;
}

static bool has_large(const uint32_t *numbers, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		if (numbers[i] > UINT16_MAX)
			return true;
	return false;
}

int packed_add(struct packed *p, const uint32_t *numbers, uint32_t cnt)
{
	if (cnt > UINT32_MAX - p->cnt || (!p->is_wide && has_large(numbers, cnt) && widen(p) != 0))
		return -ENOMEM;
	if (array_reserve(&p->items, &p->cap, p->cnt + cnt,
			  p->is_wide ? sizeof(uint32_t) : sizeof(uint16_t)) != 0)
		return -ENOMEM;
	if (p->is_wide)
		memcpy((uint32_t *)p->items + p->cnt, numbers, cnt * sizeof(*numbers));
	else
		for (uint32_t i = 0; i < cnt; i++)
			((uint16_t *)p->items)[p->cnt + i] = (uint16_t)numbers[i];
	p->cnt += cnt;
	return 0;
}
