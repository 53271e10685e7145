// SPDX-License-Identifier: BSD-2-Clause
/*
 * A run in windows: the samples of each are a profile of their own, and what lives goes on being
 * known.
 *
 * Nothing is aged out one by one: code objects, stacks, processes, strings refer to one another.
 * When as much again has come as was kept the last time, what lives is moved into new tables and
 * the old ones are freed, so that all windows together move each thing some two times.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/aggregate/tables.h"

/* How much is kept of what ends with processes. */
static uint32_t weight(const struct aggregate *agg)
{
	return agg->bindings.cnt + agg->processes.cnt + agg->threads.cnt + agg->owners.cnt;
}

/* Below this much there is nothing to gain. */
#define COMPACT_MIN 4096

/* A compaction, which goes over all there is, comes when that has doubled. */
static bool wants_compaction(const struct aggregate *agg)
{
	return weight(agg) > COMPACT_MIN && weight(agg) / 2 > agg->kept_cnt;
}

/* A compaction: from the old one to the new one. */
struct move {
	struct aggregate *from, *to;
	uint32_t *owners; /* that live, rising */
	uint32_t owner_cnt;
	uint32_t *frames;    /* the new numbers of frames, + 1; 0: not yet asked for */
	uint32_t *processes; /* of processes, + 1; 0: not kept */
	uint32_t *threads;
};

static int move_processes(struct move *m)
{
	for (uint32_t i = 0; i < m->from->processes.cnt; i++) {
		struct profile_process p = m->from->processes.items[i];
		uint32_t num;

		if (tables_process(m->from, p.pid) != i)
			continue;
		p.comm = intern_str(m->to->in, p.comm);
		p.cmdline = intern_str(m->to->in, p.cmdline);
		num = tables_add_process(m->to, &p);
		if (num == INDEX_NONE)
			return -ENOMEM;
		m->processes[i] = num + 1;
	}
	return 0;
}

static int move_threads(struct move *m)
{
	for (uint32_t i = 0; i < m->from->threads.cnt; i++) {
		struct profile_thread t = m->from->threads.items[i];
		uint32_t process = m->processes[t.process_idx], num;

		if (!process)
			continue;
		t.process_idx = process - 1;
		/* A thread's entry for the main interpreter comes first. */
		t.main_idx = t.main_idx == i ? m->to->threads.cnt : m->threads[t.main_idx] - 1;
		t.name = intern_str(m->to->in, t.name);
		num = tables_add_thread(m->to, &t);
		if (num == INDEX_NONE)
			return -ENOMEM;
		m->threads[i] = num + 1;
	}
	return 0;
}

/* Sets to->fresh to the frames of a stack of the old one. 0 or -ENOMEM. */
static int carry_frames(struct move *m, const struct profile_stack *stack)
{
	struct aggregate *to = m->to;

	if (array_reserve((void **)&to->fresh, &to->fresh_cap, stack->cnt + 1,
			  sizeof(*to->fresh)) != 0)
		return -ENOMEM;
	to->fresh_cnt = stack->cnt;
	for (uint32_t i = 0; i < stack->cnt; i++) {
		uint32_t old = packed_get(&m->from->frame_idx, stack->first + i);

		if (!m->frames[old])
			m->frames[old] = frames_carry(to->frames, m->from->frames, old) + 1;
		if (!m->frames[old])
			return -ENOMEM;
		to->fresh[i] = m->frames[old] - 1;
	}
	return 0;
}

static int move_bindings(struct move *m)
{
	for (uint32_t i = 0; i < m->from->bindings.cnt; i++) {
		struct binding b = m->from->bindings.items[i];

		if (!bsearch(&b.owner, m->owners, m->owner_cnt, sizeof(b.owner), compare_u32))
			continue;
		if (carry_frames(m, &m->from->stacks.items[b.stack_idx]) != 0)
			return -ENOMEM;
		b.stack_idx = tables_stack(m->to);
		b.sample_idx = INDEX_NONE;
		if (b.stack_idx == INDEX_NONE || tables_add_binding(m->to, &b) != 0)
			return -ENOMEM;
	}
	return 0;
}

static int move_all(struct move *m)
{
	int err = frames_move(m->to->frames, m->from->frames, m->owners, m->owner_cnt);

	err = err ?: events_move(m->to, m->from);
	err = err ?: move_processes(m);
	err = err ?: move_threads(m);
	return err ?: move_bindings(m);
}

/* Puts the new one in the old one's place; `to` is the old one then, to be freed. */
static void swap(struct aggregate *agg, struct aggregate *to)
{
	struct aggregate old = *agg;

	to->owners = old.owners;
	old.owners = (struct owners){};
	memcpy(to->taken_counters, old.taken_counters, sizeof(old.taken_counters));
	*agg = *to;
	*to = old;
	agg->kept_cnt = weight(agg);
}

int windows_compact(struct aggregate *agg)
{
	struct move m = {.from = agg, .to = aggregate_new()};
	int err = -ENOMEM;

	m.owners = owners_numbers(&agg->owners, &m.owner_cnt);
	m.frames = calloc(frames_arrays(agg->frames).frame_cnt + 1UL, sizeof(*m.frames));
	m.processes = calloc(agg->processes.cnt + 1UL, sizeof(*m.processes));
	m.threads = calloc(agg->threads.cnt + 1UL, sizeof(*m.threads));
	if (m.to && m.owners && m.frames && m.processes && m.threads)
		err = owners_compact(&agg->owners) ?: move_all(&m);
	if (!err)
		swap(agg, m.to);
	aggregate_free(m.to);
	free(m.owners);
	free(m.frames);
	free(m.processes);
	free(m.threads);
	return err;
}

static void forget_samples(struct aggregate *agg)
{
	index_release(&agg->samples.index);
	agg->samples.cnt = 0;
	timeline_restart(&agg->when);
	events_restart(agg);
	agg->lifetime++;
}

struct profile *aggregate_take(struct aggregate *agg, const struct profile_meta *meta,
			       const uint64_t *counters)
{
	uint64_t since[KRAIT_CNT_CNT];
	const struct profile *profile;
	struct profile *window;

	for (int i = 0; i < KRAIT_CNT_CNT; i++)
		since[i] = counters[i] - agg->taken_counters[i];
	profile = aggregate_profile(agg, meta, since);
	window = profile ? profile_copy(profile) : NULL;
	if (!window)
		return NULL;
	memcpy(agg->taken_counters, counters, sizeof(agg->taken_counters));
	forget_samples(agg);
	if (wants_compaction(agg) && windows_compact(agg) != 0) {
		profile_free(window);
		errno = ENOMEM;
		return NULL;
	}
	return window;
}
