// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * krait's programs, and one beside the tick that the tick can interrupt: it takes a stack at each
 * system call, in the task's own context with interrupts on. For tests/e2e/test_nested.py, which
 * builds a krait around it; no part of the product.
 *
 * With NESTED_EVENT 0 its samples are ticks more, so the ledger has to balance over both programs.
 * UNMARKED leaves out the mark of a level: what is to be seen to matter.
 */
#ifndef NESTED_EVENT
#define NESTED_EVENT 0
#endif
#ifndef NESTED_LEVELS
#define NESTED_LEVELS 2
#endif
#define KRAIT_LEVELS NESTED_LEVELS
#if NESTED_EVENT
#define KRAIT_SAMPLE_SLOT struct krait_event_sample_rec
#endif
#ifdef UNMARKED
#define __sync_lock_test_and_set(mark, value) 0
#endif

/* NOLINTNEXTLINE(bugprone-suspicious-include): the product's programs, as they are */
#include "bpf/krait.bpf.c"

/* The second event's ledger, by writer. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64[KRAIT_COUNTERS_MAX]);
} ledgers SEC(".maps");

volatile __u32 is_told = 0;

/* Says what the number means; a sample that comes before is of it all the same. */
static __always_inline void tell_event(void)
{
	struct krait_event_rec rec = {
		.h = {.kind = KRAIT_EVENT, .bytes = sizeof(rec)},
		.event = NESTED_EVENT,
		.period = 1,
		.name = "calls",
		.unit = "count",
	};

	if (!NESTED_EVENT || is_told)
		return;
	is_told = 1;
	platform_send(&rec, sizeof(rec), false);
}

SEC("raw_tp/sys_enter")
int nested_call(void *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct scratch *s = level_enter();
	__u64 *counters;

	if (!s)
		return 0;
	tell_event();
	counters = NESTED_EVENT ? bpf_map_lookup_elem(&ledgers, &s->writer.number)
				: s->writer.counters;
	if (counters)
		event_take(s, NESTED_EVENT, 1, PT_REGS_IP(regs), counters);
	level_leave(s);
	return 0;
}
