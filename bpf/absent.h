/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Memory of the target that a tick could not read: user space is told, for it may wait for the
 * pages, and brings them back for the next ticks (user/session/pages.h).
 *
 * Only where a frame or a whole tick is lost for it, once a tick, and with a pause for each process
 * that doubles as long as it goes on: what can't be brought back costs next to nothing.
 */
#ifndef KRAIT_ABSENT_H
#define KRAIT_ABSENT_H

#include "bpf/state.h"

/* The pause: 8 ms, doubled up to 8 s. */
#define ABSENT_MIN_MS 8
#define ABSENT_DOUBLINGS 10

#ifndef KRAIT_HOST
static __always_inline struct krait_proc *proc_entry_get(__u32 pid);
static __always_inline long platform_send(void *record, __u32 n, bool wake);
#endif

/* The process's entry, if it is still about the lifetime that the tick is of. */
static __always_inline struct krait_proc *proc_live(struct scratch *s)
{
	struct krait_proc *p = proc_entry_get(recent_of(s)->pid);

	return p && p->state == KRAIT_PROC_READY && p->seed == proc_of(s)->seed ? p : NULL;
}

/* Begins the pause after a record: the shortest one, if as long as the last one nothing was missed
 * after it. */
static __always_inline void absent_pause(struct krait_proc *p, __u64 now_ns)
{
	__u32 doublings = p->absent_doublings;

	if (doublings > ABSENT_DOUBLINGS)
		doublings = ABSENT_DOUBLINGS;
	if (now_ns - p->absent_at_ns > (__u64)ABSENT_MIN_MS * 1000000 << doublings)
		doublings = 0;
	p->absent_at_ns = now_ns + ((__u64)ABSENT_MIN_MS * 1000000 << doublings);
	p->absent_doublings = doublings + 1;
}

/* Tells that this frame, or this code object, or the thread's state can't be read: the others are
 * 0. What the ring does not take is told another time. */
KRAIT_GLOBAL int absent_tell(struct scratch *s, __u64 frame, __u64 code)
{
	struct krait_absent_rec rec = {.h = {.kind = KRAIT_ABSENT, .bytes = sizeof(rec)}};
	struct krait_proc *p;

	if (!s)
		return 0;
	p = proc_live(s);
	if (!p || s->now_ns < p->absent_at_ns)
		return 0;
	absent_pause(p, s->now_ns);
	rec.pid = recent_of(s)->pid;
	rec.frame_addr = frame;
	rec.code_addr = code;
	rec.tstate_addr = s->tstate;
	platform_send(&rec, sizeof(rec), true);
	return 0;
}

#endif
