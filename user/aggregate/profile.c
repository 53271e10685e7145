// SPDX-License-Identifier: BSD-2-Clause
#include "user/aggregate/profile.h"

#include <stdlib.h>
#include <string.h>

/* Sets *to to a copy of the items; NULL where there are none. False without memory. */
static bool copy_array(const void **to, const void *items, uint32_t cnt, size_t item_bytes)
{
	void *copy = NULL;

	if (cnt) {
		copy = reallocarray(NULL, cnt, item_bytes);
		if (!copy)
			return false;
		memcpy(copy, items, cnt * item_bytes);
	}
	*to = copy;
	return true;
}

#define COPY_ARRAY(to, from, field, cnt)                                                           \
	copy_array((const void **)&(to)->field, (from)->field, cnt, sizeof(*(from)->field))

struct profile *profile_copy(const struct profile *profile)
{
	const struct packed *idx = &profile->frame_idx;
	struct profile *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *profile;
	copy->functions = NULL;
	copy->frames = NULL;
	copy->frame_idx.items = NULL;
	copy->stacks = NULL;
	copy->processes = NULL;
	copy->threads = NULL;
	copy->samples = NULL;
	if (COPY_ARRAY(copy, profile, functions, profile->function_cnt) &&
	    COPY_ARRAY(copy, profile, frames, profile->frame_cnt) &&
	    copy_array((const void **)&copy->frame_idx.items, idx->items, idx->cnt,
		       idx->is_wide ? sizeof(uint32_t) : sizeof(uint16_t)) &&
	    COPY_ARRAY(copy, profile, stacks, profile->stack_cnt) &&
	    COPY_ARRAY(copy, profile, processes, profile->process_cnt) &&
	    COPY_ARRAY(copy, profile, threads, profile->thread_cnt) &&
	    COPY_ARRAY(copy, profile, samples, profile->sample_cnt))
		return copy;
	profile_free(copy);
	return NULL;
}

void profile_free(struct profile *copy)
{
	if (!copy)
		return;
	free((void *)copy->functions);
	free((void *)copy->frames);
	free(copy->frame_idx.items);
	free((void *)copy->stacks);
	free((void *)copy->processes);
	free((void *)copy->threads);
	free((void *)copy->samples);
	free(copy);
}
