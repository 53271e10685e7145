// SPDX-License-Identifier: BSD-2-Clause
#include "user/aggregate/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The numbers of a kind of things in the original, and which they have in the copy. */
struct renumber {
	uint32_t *to; /* 0: not referred to; else the number in the copy + 1 */
	uint32_t cnt;
};

struct copying {
	const struct profile *from;
	struct profile *copy;
	struct renumber functions, frames, stacks, processes, threads;
};

static int renumber_init(struct renumber *r, uint32_t cnt)
{
	r->cnt = cnt;
	r->to = calloc(cnt + 1UL, sizeof(*r->to));
	return r->to ? 0 : -ENOMEM;
}

/* Those that were marked get numbers in their order: how many they are. */
static uint32_t renumber(struct renumber *r)
{
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < r->cnt; i++)
		if (r->to[i])
			r->to[i] = ++cnt;
	return cnt;
}

static int init(struct copying *c)
{
	const struct profile *p = c->from;
	int err = renumber_init(&c->functions, p->function_cnt);

	err = err ?: renumber_init(&c->frames, p->frame_cnt);
	err = err ?: renumber_init(&c->stacks, p->stack_cnt);
	err = err ?: renumber_init(&c->processes, p->process_cnt);
	return err ?: renumber_init(&c->threads, p->thread_cnt);
}

static void mark_stack(struct copying *c, const struct profile_stack *stack)
{
	for (uint32_t i = 0; i < stack->cnt; i++) {
		uint32_t frame_idx = packed_get(&c->from->frame_idx, stack->first + i);

		c->frames.to[frame_idx] = 1;
		c->functions.to[c->from->frames[frame_idx].function_idx] = 1;
	}
}

static void mark_thread(struct copying *c, uint32_t thread_idx)
{
	const struct profile_thread *t = &c->from->threads[thread_idx];

	c->threads.to[thread_idx] = 1;
	c->threads.to[t->main_idx] = 1;
	c->processes.to[t->process_idx] = 1;
}

static void mark(struct copying *c)
{
	const struct profile *p = c->from;

	for (uint32_t i = 0; i < p->sample_cnt; i++) {
		if (!c->stacks.to[p->samples[i].stack_idx])
			mark_stack(c, &p->stacks[p->samples[i].stack_idx]);
		c->stacks.to[p->samples[i].stack_idx] = 1;
		mark_thread(c, p->samples[i].thread_idx);
	}
	c->copy->function_cnt = renumber(&c->functions);
	c->copy->frame_cnt = renumber(&c->frames);
	c->copy->stack_cnt = renumber(&c->stacks);
	c->copy->process_cnt = renumber(&c->processes);
	c->copy->thread_cnt = renumber(&c->threads);
}

/* An array of those that were marked. NULL without memory. */
static void *copy_marked(const void *items, size_t item_bytes, const struct renumber *r,
			 uint32_t cnt)
{
	char *copy = calloc(cnt + 1UL, item_bytes);

	for (uint32_t i = 0; copy && i < r->cnt; i++)
		if (r->to[i])
			memcpy(copy + (r->to[i] - 1) * item_bytes,
			       (const char *)items + i * item_bytes, item_bytes);
	return copy;
}

static int copy_names(struct copying *c)
{
	const struct profile *p = c->from;
	struct profile_frame *frames =
		copy_marked(p->frames, sizeof(*frames), &c->frames, c->copy->frame_cnt);
	struct profile_thread *threads =
		copy_marked(p->threads, sizeof(*threads), &c->threads, c->copy->thread_cnt);

	c->copy->frames = frames;
	c->copy->threads = threads;
	c->copy->functions = copy_marked(p->functions, sizeof(*p->functions), &c->functions,
					 c->copy->function_cnt);
	c->copy->processes = copy_marked(p->processes, sizeof(*p->processes), &c->processes,
					 c->copy->process_cnt);
	if (!frames || !threads || !c->copy->functions || !c->copy->processes)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->copy->frame_cnt; i++)
		frames[i].function_idx = c->functions.to[frames[i].function_idx] - 1;
	for (uint32_t i = 0; i < c->copy->thread_cnt; i++) {
		threads[i].process_idx = c->processes.to[threads[i].process_idx] - 1;
		threads[i].main_idx = c->threads.to[threads[i].main_idx] - 1;
	}
	return 0;
}

/* Appends the stack's frames, in their numbers of the copy; `fresh` has room for them. */
static int copy_stack(struct copying *c, struct profile_stack *stack, uint32_t *fresh)
{
	uint32_t first = c->copy->frame_idx.cnt;

	for (uint32_t i = 0; i < stack->cnt; i++)
		fresh[i] = c->frames.to[packed_get(&c->from->frame_idx, stack->first + i)] - 1;
	stack->first = first;
	return packed_add(&c->copy->frame_idx, fresh, stack->cnt);
}

static uint32_t deepest(const struct profile *p)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < p->stack_cnt; i++)
		if (p->stacks[i].cnt > most)
			most = p->stacks[i].cnt;
	return most;
}

static int copy_stacks(struct copying *c)
{
	struct profile_stack *stacks =
		copy_marked(c->from->stacks, sizeof(*stacks), &c->stacks, c->copy->stack_cnt);
	uint32_t *fresh = malloc((deepest(c->from) + 1UL) * sizeof(*fresh));
	int err = stacks && fresh ? 0 : -ENOMEM;

	c->copy->stacks = stacks;
	for (uint32_t i = 0; !err && i < c->copy->stack_cnt; i++)
		err = copy_stack(c, &stacks[i], fresh);
	free(fresh);
	return err;
}

static int copy_samples(struct copying *c)
{
	const struct profile *p = c->from;
	struct profile_sample *samples = malloc(p->sample_cnt * sizeof(*samples) + 1);

	c->copy->samples = samples;
	for (uint32_t i = 0; samples && i < p->sample_cnt; i++)
		samples[i] = (struct profile_sample){
			.thread_idx = c->threads.to[p->samples[i].thread_idx] - 1,
			.stack_idx = c->stacks.to[p->samples[i].stack_idx] - 1,
			.cnt = p->samples[i].cnt,
			.event_idx = p->samples[i].event_idx,
		};
	return samples ? 0 : -ENOMEM;
}

static int copy_events(struct copying *c)
{
	size_t bytes = c->from->event_cnt * sizeof(*c->from->events);
	void *events = malloc(bytes);

	c->copy->events = events;
	if (!events)
		return -ENOMEM;
	memcpy(events, c->from->events, bytes);
	return 0;
}

struct profile *profile_copy(const struct profile *profile)
{
	struct copying c = {.from = profile, .copy = malloc(sizeof(*c.copy))};
	int err;

	if (!c.copy)
		return NULL;
	*c.copy = (struct profile){
		.meta = profile->meta,
		.sample_cnt = profile->sample_cnt,
		.event_cnt = profile->event_cnt,
		.strings = intern_hold(profile->strings),
	};
	err = init(&c);
	if (!err)
		mark(&c);
	err = err ?: copy_names(&c);
	err = err ?: copy_stacks(&c);
	err = err ?: copy_samples(&c);
	err = err ?: copy_events(&c);
	err = err
		      ?: timeline_renumber(&c.copy->timeline, &profile->timeline, c.threads.to,
					   c.stacks.to);
	free(c.functions.to);
	free(c.frames.to);
	free(c.stacks.to);
	free(c.processes.to);
	free(c.threads.to);
	if (!err)
		return c.copy;
	profile_free(c.copy);
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
	free((void *)copy->events);
	free(copy->timeline.bytes);
	intern_free(copy->strings);
	free(copy);
}
