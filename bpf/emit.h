/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Emitting samples: into the ring of the level that took the stack (control.h), which has no other
 * writer while that is entered.
 */
#ifndef KRAIT_EMIT_H
#define KRAIT_EMIT_H

#include "bpf/level.h"
#include "bpf/maps.h"
#include "bpf/state.h"

/* Counts one more; who reads the count also sees what was written before. */
static __always_inline void count_release(__u64 *cnt)
{
#ifdef __TARGET_ARCH_x86
	/* Stores become visible in their order. A locked instruction would wait for them, and the
	 * record's cache lines are cold: a tenth of the tick. */
	asm volatile("" ::: "memory");
	*(volatile __u64 *)cnt += 1;
#else
	__sync_fetch_and_add(cnt, 1); /* a full barrier */
#endif
}

/*
 * Emits the sample of an event that took the stack s->stack_id, into its level's ring. `event` is a
 * constant: a program that has only the CPU clock is as small as if there were no other.
 */
static __always_inline enum krait_loss sample_emit(struct scratch *s, __u32 event, __u64 *counters)
{
	__u64 *cnt = &s->writer.samples_written;
	__u32 slots = s->writer.sample_slots, slot = *cnt & (slots - 1);
	struct krait_sample_rec *rec;

	slot += s->writer.number * slots;
	rec = bpf_map_lookup_elem(&samples, &slot);
	if (!rec || *cnt - s->writer.samples_read >= slots)
		return KRAIT_LOSS_RING_FULL;
	*rec = (struct krait_sample_rec){
		.h = {.kind = KRAIT_SAMPLE, .flags = s->walk.flags, .bytes = sizeof(*rec)},
		.time_ns = s->now_ns,
		.stack_id = s->stack_id,
		.pid = recent_of(s)->pid,
		.tid = recent_of(s)->tid,
		.cpu = bpf_get_smp_processor_id(),
		.weight = event == KRAIT_EVENT_CPU_CLOCK ? s->value : 0,
	};
	if (event != KRAIT_EVENT_CPU_CLOCK) {
		struct krait_event_sample_rec *more = (struct krait_event_sample_rec *)rec;

		more->sample.h.bytes = sizeof(*more);
		more->event = event;
		more->pad = 0;
		more->value = s->value;
	}
	count_release(cnt);
	counters[KRAIT_CNT_SAMPLES] += s->value;
	if (s->walk.flags & KRAIT_STACK_TRUNCATED)
		platform_count(KRAIT_CNT_TRUNCATED, s->value);
	return KRAIT_LOSS_NONE;
}

#endif
