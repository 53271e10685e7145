/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Levels: a CPU's memory for one event at a time, several where events interrupt one another.
 *
 * What a walk works in (struct scratch, the STACK record in the making) is too large for a BPF
 * stack, so it lies in maps, and a program that is interrupted halfway by another one that uses the
 * same memory goes on in the other one's leavings: a stack of two threads. A tick of the clock
 * alone can't: it runs with interrupts off. But it may hit a program in a task's context (a page
 * fault's, a system call's) at any instruction; an NMI hits any; and one that may be preempted can
 * meet itself on the same CPU. So whoever takes a stack enters a level first, which marks it, and
 * leaves it at the end. Counters and the ring of samples belong to the level too: each has one
 * writer.
 *
 * Not all programs can meet: the kernel runs no second program of a perf_event, kprobe or
 * tracepoint within another of these on one CPU (bpf_prog_active: kernel/events/core.c,
 * bpf_overflow_handler; kernel/trace/bpf_trace.c, trace_call_bpf), and loses it without a word. Raw
 * tracepoints and fentry do not take part in that.
 *
 * The mark is set by an atomic exchange: a program that may be preempted is not to find a level
 * free that another one has found free before. That was not to be measured beside a plain store,
 * for the cache line is this CPU's alone.
 */
#ifndef KRAIT_LEVEL_H
#define KRAIT_LEVEL_H

#include "bpf/maps.h"

/* Of each CPU: as many as there are programs that can be in one another. The tick is alone. */
#ifndef KRAIT_LEVELS
#define KRAIT_LEVELS 1
#endif
/* For user space, which makes the maps. */
const volatile __u32 level_cnt = KRAIT_LEVELS;

/* A level of this CPU; NULL if there is no room for the CPU (it came online after the load). */
static __always_inline struct scratch *level_get(__u32 level)
{
	__u32 idx = bpf_get_smp_processor_id() * KRAIT_LEVELS + level;

	return bpf_map_lookup_elem(&scratches, &idx);
}

/*
 * Counts by no level: of what happens beside the events, or within one. Atomic, for any program may
 * be interrupted by another that counts here; what an event's own ledger counts is elsewhere, in
 * its level.
 */
static __always_inline void platform_count(__u32 counter, __u64 n)
{
	struct scratch *s = level_get(0);

	if (s && counter < KRAIT_CNT_CNT)
		__sync_fetch_and_add(&s->writer.counters[counter], n);
}

/* Enters a free level of this CPU. NULL: none is free, and the event is lost; or there is no room.
 */
static __always_inline struct scratch *level_enter(void)
{
	for (__u32 i = 0; i < KRAIT_LEVELS; i++) {
		struct scratch *s = level_get(i);

		if (!s || !__sync_lock_test_and_set(&s->is_taken, 1))
			return s;
	}
	return NULL;
}

static __always_inline void level_leave(struct scratch *s)
{
	*(volatile __u32 *)&s->is_taken = 0;
}

#endif
