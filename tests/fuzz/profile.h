/* SPDX-License-Identifier: BSD-2-Clause */
/* What aggregate/profile.h promises of every profile, checked: for the targets that make one. */
#ifndef KRAIT_TESTS_FUZZ_PROFILE_H
#define KRAIT_TESTS_FUZZ_PROFILE_H

#include "tests/fuzz/fuzz.h"
#include "user/aggregate/aggregate.h"

static inline void profile_check_names(const struct profile *p)
{
	for (uint32_t i = 0; i < p->function_cnt; i++) {
		const struct profile_function *f = &p->functions[i];

		FUZZ_CHECK(fuzz_is_safe_text(f->name, strlen(f->name)));
		FUZZ_CHECK(fuzz_is_safe_text(f->file, strlen(f->file)));
	}
	for (uint32_t i = 0; i < p->process_cnt; i++) {
		const char *cmdline = p->processes[i].cmdline, *comm = p->processes[i].comm;

		FUZZ_CHECK(fuzz_is_safe_text(cmdline, strlen(cmdline)));
		FUZZ_CHECK(fuzz_is_safe_text(comm, strlen(comm)));
	}
	for (uint32_t i = 0; i < p->thread_cnt; i++) {
		const struct profile_thread *t = &p->threads[i];

		FUZZ_CHECK(t->process_idx < p->process_cnt && t->main_idx < p->thread_cnt);
		FUZZ_CHECK(p->threads[t->main_idx].interp_id == 0);
		FUZZ_CHECK(p->threads[t->main_idx].tid == t->tid);
		FUZZ_CHECK(p->threads[t->main_idx].process_idx == t->process_idx);
		FUZZ_CHECK(fuzz_is_safe_text(t->name, strlen(t->name)));
	}
}

static inline void profile_check_stacks(const struct profile *p)
{
	for (uint32_t i = 0; i < p->frame_cnt; i++) {
		FUZZ_CHECK(p->frames[i].function_idx < p->function_cnt);
		FUZZ_CHECK(p->frames[i].line >= 0);
	}
	for (uint32_t i = 0; i < p->stack_cnt; i++) {
		const struct profile_stack *s = &p->stacks[i];

		FUZZ_CHECK(s->first <= p->frame_idx.cnt && s->cnt <= p->frame_idx.cnt - s->first);
		for (uint32_t k = 0; k < s->cnt; k++)
			FUZZ_CHECK(packed_get(&p->frame_idx, s->first + k) < p->frame_cnt);
	}
}

/* Each count is of a thread and a stack that are there; the ticks are as many as in all. */
static inline void profile_check_timeline(const struct profile *p)
{
	struct timeline_iter it = timeline_begin(&p->timeline);
	uint64_t ticks = 0;

	while (timeline_next(&it)) {
		FUZZ_CHECK(it.count.cnt && it.count.thread_idx < p->thread_cnt);
		FUZZ_CHECK(it.count.stack_idx < p->stack_cnt && it.count.event_idx < p->event_cnt);
		ticks += it.count.event_idx ? 0 : it.count.cnt;
	}
	FUZZ_CHECK(ticks == p->events[0].total_cnt);
}

static inline bool is_before(const struct profile_sample *a, const struct profile_sample *b)
{
	if (a->thread_idx != b->thread_idx)
		return a->thread_idx < b->thread_idx;
	return a->stack_idx < b->stack_idx ||
	       (a->stack_idx == b->stack_idx && a->event_idx < b->event_idx);
}

static inline void profile_check(const struct profile *p)
{
	uint64_t totals[KRAIT_EVENTS_MAX] = {};

	FUZZ_CHECK(p && p->event_cnt && p->event_cnt <= KRAIT_EVENTS_MAX);
	profile_check_names(p);
	profile_check_stacks(p);
	for (uint32_t i = 0; i < p->sample_cnt; i++) {
		const struct profile_sample *s = &p->samples[i];

		FUZZ_CHECK(s->thread_idx < p->thread_cnt && s->stack_idx < p->stack_cnt &&
			   s->event_idx < p->event_cnt);
		FUZZ_CHECK(!i || is_before(&s[-1], s));
		totals[s->event_idx] += s->cnt;
	}
	profile_check_timeline(p);
	/* Counts have 56 bits; the ticks of a file never come near that. */
	FUZZ_CHECK(totals[0] == p->events[0].total_cnt);
	for (uint32_t i = 1; i < p->event_cnt; i++)
		FUZZ_CHECK(!((totals[i] - p->events[i].total_cnt) << 8));
}

#endif
