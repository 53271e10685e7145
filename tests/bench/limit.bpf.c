// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The limit: what any program must do at a tick for the stack of a CPython 3.11, and nothing else.
 * It asks whose tick it is and what time it is, and copies the thread state, the _PyCFrame and as
 * much of the frames as krait does. It walks none of them, proves nothing and tells nobody, and it
 * is told where the thread state lies. Between the empty program and this one lies the cost of the
 * kernel's helpers and of cold memory; what is krait's own lies beyond this one.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Include/cpython/pystate.h, 3.11: struct _ts up to datastack_chunk; struct _PyCFrame. */
#define TSTATE_BYTES 304
#define TSTATE_CFRAME 56
#define CFRAME_BYTES 24
#define CFRAME_FRAME 8
#define FRAMES_BYTES 2704 /* of 30 calls in workloads/stack.py */
/* Include/internal/pycore_frame.h, 3.11: struct _PyInterpreterFrame; its callers' lie below it. */
#define FRAME_BYTES 80

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* What probe.c tells it: the pid, and where the state of its only thread lies. */
const volatile __u64 target[2];

struct copy {
	__u64 samples; /* whole ones; probe.c reads it */
	__u64 now_ns;
	__u64 tstate[TSTATE_BYTES / 8];
	__u64 cframe[CFRAME_BYTES / 8];
	__u8 frames[FRAMES_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct copy);
} copies SEC(".maps");

SEC("perf_event")
int bench_limit(void *ctx)
{
	__u32 slot = 0;
	struct copy *c = bpf_map_lookup_elem(&copies, &slot);
	__u64 end;

	(void)ctx;
	if (!c || bpf_get_current_pid_tgid() >> 32 != target[0])
		return 0;
	c->now_ns = bpf_ktime_get_ns();
	if (bpf_probe_read_user(c->tstate, TSTATE_BYTES, (void *)target[1]) ||
	    bpf_probe_read_user(c->cframe, CFRAME_BYTES, (void *)c->tstate[TSTATE_CFRAME / 8]))
		return 0;
	end = c->cframe[CFRAME_FRAME / 8] + FRAME_BYTES;
	if (!bpf_probe_read_user(c->frames, FRAMES_BYTES, (void *)(end - FRAMES_BYTES)))
		c->samples++;
	return 0;
}
