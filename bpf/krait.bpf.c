// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * krait in the kernel: one program on a cpu-clock timer per CPU, and three on the scheduler's
 * tracepoints.
 *
 * A tick costs in proportion to what it has to find out. Not a target: a map lookup. A stack that
 * user space knows: the thread state checked, the frames read in bulk and hashed, one SAMPLE of 40
 * bytes. A stack new in this epoch: its code objects read and verified as well, and a STACK record,
 * with a CODE record for each code object not yet sent.
 *
 * Every tick on a target ends in exactly one counter: a sample, or the reason why there is none
 * (abi.h, KRAIT_LOSSES). Runs in the timer interrupt, so it never sleeps, and a page that is not
 * resident is a fault with a reason.
 */
#include "bpf/platform.h"
#include "bpf/state.h"
#include "bpf/thread.h"
#include "bpf/walk.h"
#include "bpf/code.h"
#include "bpf/process.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PF_FORKNOEXEC                                                                              \
	0x00000040 /* include/linux/sched.h: forked, and has not called exec since                 \
		    */

/* ---- What user space sets before the load ---- */

KRAIT_CONFIG __u32 max_depth = KRAIT_MAX_DEPTH_DEFAULT;
/* Ring bytes waiting to be read at which user space is woken: it reads on a timer otherwise. */
KRAIT_CONFIG __u32 wake_bytes = 1 << 20;

/* Raised by user space about once a second; a stack is sent and verified again in each epoch. */
volatile __u32 epoch = 1;

/* ---- Maps ---- */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64[KRAIT_CNT_CNT]);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KRAIT_LAYOUTS);
	__type(key, __u32);
	__type(value, struct krait_layout);
} layouts SEC(".maps");

/* One per CPU, as plain arrays: a per-CPU map's value may not exceed 32 KB (PCPU_MIN_UNIT_SIZE). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* user space: the number of possible CPUs */
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	/* user space: for max_depth frames */
	__uint(value_size, sizeof(struct krait_stack_rec) +
				   KRAIT_MAX_DEPTH_DEFAULT * sizeof(struct krait_frame));
} stacks SEC(".maps");

/* Powers of two: a mask makes the slot. What does not fit is looked at or sent again, never wrong.
 */
#define STACK_SLOTS (1 << 15)
#define CODE_SLOTS (1 << 14)
#define KNOWN_SETS (1 << 13) /* 1 MB */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STACK_SLOTS);
	__type(key, __u32);
	__type(value, struct sent_pair);
} sent_stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CODE_SLOTS);
	__type(key, __u32);
	__type(value, struct sent_pair);
} sent_codes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KNOWN_SETS);
	__type(key, __u32);
	__type(value, struct known_set);
} known_stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KNOWN_SETS);
	__type(key, __u32);
	__type(value, struct known_set);
} known_codes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread_memo);
} threads SEC(".maps");

/* ---- What the walker's headers ask of the platform ---- */

static __always_inline struct scratch *scratch_get(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&scratches, &cpu);
}

static __always_inline struct krait_stack_rec *stack_get(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&stacks, &cpu);
}

static __always_inline struct sent_pair *sent_code_get(__u64 id)
{
	__u32 slot = (id >> 8) & (CODE_SLOTS - 1);

	return bpf_map_lookup_elem(&sent_codes, &slot);
}

static __always_inline struct sent_pair *sent_stack_get(__u64 id)
{
	__u32 slot = (id >> 8) & (STACK_SLOTS - 1);

	return bpf_map_lookup_elem(&sent_stacks, &slot);
}

static __always_inline struct known_set *known_code_get(__u64 key)
{
	__u32 slot = (key >> 8) & (KNOWN_SETS - 1);

	return bpf_map_lookup_elem(&known_codes, &slot);
}

static __always_inline struct known_set *known_stack_get(__u64 key)
{
	__u32 slot = (key >> 8) & (KNOWN_SETS - 1);

	return bpf_map_lookup_elem(&known_stacks, &slot);
}

static __always_inline void platform_count(__u32 counter, __u64 n)
{
	__u32 zero = 0;
	__u64 *c = bpf_map_lookup_elem(&counters, &zero);

	if (c && counter < KRAIT_CNT_CNT)
		c[counter] += n;
}

static __always_inline long ring_put(void *record, __u32 n, __u64 flags)
{
	long err = bpf_ringbuf_output(&ring, record, n, flags);

	if (!err)
		platform_count(KRAIT_CNT_RING_BYTES, n);
	return err;
}

/* Records wait for user space's timer unless they are urgent or many: a wake-up costs more than the
 * record. */
static __always_inline long platform_send(void *record, __u32 n, bool wake)
{
	bool many = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= wake_bytes;

	return ring_put(record, n, wake || many ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

/* ---- The tick ---- */

static __always_inline struct thread_key thread_key_of(struct task_struct *task)
{
	struct thread_key key = {};
#ifdef __TARGET_ARCH_x86
	key.thread_id = task->thread.fsbase;
#else
	/* libc decides how far pthread_self() lies from the thread pointer, so the kernel's own tid
	 * is compared: 3.11 and later. */
	key.native_id = task->pid;
#endif
	return key;
}

/* Tells user space the thread's name when it is new, and once an epoch if it has changed. */
static __always_inline void thread_name(struct scratch *s, struct thread_memo *memo)
{
	char comm[KRAIT_COMM_BYTES] = {};
	const __u64 *now = (const __u64 *)comm, *then = (const __u64 *)memo->comm;

	if (memo->comm_epoch == s->epoch)
		return;
	memo->comm_epoch = s->epoch;
	bpf_get_current_comm(comm, sizeof(comm));
	if (now[0] == then[0] && now[1] == then[1])
		return;
	__builtin_memcpy(memo->comm, comm, sizeof(comm));
	send_process(KRAIT_PROCESS_THREAD, s->pid, s->tid, 0, false);
}

static __always_inline struct thread_memo *thread_memo_of(struct scratch *s,
							  struct task_struct *task)
{
	struct thread_memo *memo =
		bpf_task_storage_get(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (memo && memo->seed != s->proc.seed) {
		__builtin_memset(memo, 0, sizeof(*memo));
		memo->seed = s->proc.seed;
	}
	return memo;
}

/* Sends the stack s->stack_id unless user space got it in this epoch. */
static __always_inline enum krait_loss stack_send(struct scratch *s, struct krait_stack_rec *stack)
{
	struct sent_pair *pair = sent_stack_get(s->stack_id);
	__u64 tag = s->stack_id ^ mix64(s->epoch);
	__u32 n = sizeof(*stack) + s->walk.cnt * sizeof(struct krait_frame);

	if (pair && sent_has(pair, tag))
		return KRAIT_LOSS_NONE;
	stack->h.kind = KRAIT_STACK;
	stack->h.flags = s->walk.flags;
	stack->h.bytes = n;
	stack->stack_id = s->stack_id;
	stack->pid = s->pid;
	stack->frame_cnt = s->walk.cnt;
	keep_bounds(n);
	if (n > sizeof(*stack) + max_depth * sizeof(struct krait_frame))
		return KRAIT_LOSS_STACK_NOT_SENT;
	if (platform_send(stack, n, false) != 0)
		return KRAIT_LOSS_STACK_NOT_SENT;
	platform_count(KRAIT_CNT_STACKS, 1);
	if (pair)
		sent_add(pair, tag);
	return KRAIT_LOSS_NONE;
}

/* Gives the walked stack its id, s->stack_id; user space has the stack then. */
static __always_inline enum krait_loss stack_know(struct scratch *s, struct krait_stack_rec *stack)
{
	__u64 key = mix64(s->walk.hash ^ s->walk.flags ^ (__u64)s->epoch << 32);
	struct known_set *set = known_stack_get(key);
	struct known *k;
	enum krait_loss loss;

	if (!set)
		return KRAIT_LOSS_STACK_NOT_SENT;
	k = known_find(set, key, s->epoch);
	if (known_is(k, key)) {
		s->stack_id = k->id;
		return KRAIT_LOSS_NONE;
	}
	code_resolve_all(s);
	loss = stack_send(s, stack);
	if (!loss && !s->is_unsettled)
		known_set_id(k, key, s->stack_id, s->epoch, s->now_ns);
	return loss;
}

static __always_inline enum krait_loss sample_send(struct scratch *s)
{
	struct krait_sample_rec rec = {
		.h = {.kind = KRAIT_SAMPLE, .flags = s->walk.flags, .bytes = sizeof(rec)},
		.time_ns = s->now_ns,
		.stack_id = s->stack_id,
		.pid = s->pid,
		.tid = s->tid,
		.cpu = bpf_get_smp_processor_id(),
		.weight = 1,
	};

	/* No look at how full the ring is: a timer's worth of samples at the highest rate is a
	 * quarter of it. */
	if (ring_put(&rec, sizeof(rec), BPF_RB_NO_WAKEUP) != 0)
		return KRAIT_LOSS_RING_FULL;
	platform_count(KRAIT_CNT_SAMPLES, 1);
	if (s->walk.flags & KRAIT_STACK_TRUNCATED)
		platform_count(KRAIT_CNT_TRUNCATED, 1);
	return KRAIT_LOSS_NONE;
}

/* A tick on a target: from its thread to its sample. */
static __always_inline enum krait_loss sample(struct scratch *s, struct task_struct *task)
{
	struct krait_stack_rec *stack = stack_get();
	struct thread_memo *memo = thread_memo_of(s, task);
	enum krait_loss loss;

	if (!stack || !memo)
		return KRAIT_LOSS_THREAD_UNREADABLE;
	loss = thread_find(s, memo, s->now_ns);
	if (loss)
		return loss;
	loss = walk_stack(s);
	if (loss)
		return loss;
	thread_name(s, memo);
	loss = stack_know(s, stack);
	if (loss)
		return loss;
	return sample_send(s);
}

/* Puts the target's layout into the scratch, if it is not there from the last tick: layouts are
 * added, never changed. */
static __always_inline bool layout_load(struct scratch *s, const struct krait_proc *p)
{
	__u32 layout_idx = p->layout_idx;
	struct krait_layout *layout;

	if (s->layout_num == layout_idx + 1)
		return true;
	layout = bpf_map_lookup_elem(&layouts, &layout_idx);
	if (!layout)
		return false;
	s->layout = *layout;
	s->layout_num = layout_idx + 1;
	return true;
}

/* Whether thread states may be left in the process from before a fork, one of which could pass for
 * this thread's. The main thread is the one that called fork. */
static __always_inline bool needs_own_state(const struct krait_proc *p, __u64 pid_tgid,
					    struct task_struct *task)
{
	return p->current_addr && (__u32)(pid_tgid >> 32) != (__u32)pid_tgid &&
	       task->group_leader->flags & PF_FORKNOEXEC;
}

/* Prepares the CPU's scratch for the target and takes the sample. */
static __always_inline enum krait_loss target_tick(const struct krait_proc *p, __u64 pid_tgid,
						   struct task_struct *task, __u64 now_ns)
{
	struct scratch *s = scratch_get();

	if (!s || !layout_load(s, p))
		return KRAIT_LOSS_LAYOUT_MISSING;
	s->proc = *p;
	s->pid = pid_tgid >> 32;
	s->tid = pid_tgid;
	s->epoch = epoch;
	s->now_ns = now_ns;
	s->key = thread_key_of(task);
	s->needs_own = needs_own_state(p, pid_tgid, task);
	return sample(s, task);
}

SEC("perf_event")
int krait_tick(struct bpf_perf_event_data *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	/* Each field of the task is read once: the verifier takes a millisecond to check an access.
	 */
	__u64 mm = (__u64)task->mm, pid_tgid = bpf_get_current_pid_tgid();
	__u32 pid = pid_tgid >> 32;
	struct krait_proc *p = mm ? proc_of_tick(pid, mm) : NULL;
	enum krait_loss loss = KRAIT_LOSS_NONE;
	__u64 now_ns;

	if (!p) {
		platform_count(KRAIT_CNT_OTHER_TICKS, 1);
		return 0;
	}
	now_ns = bpf_ktime_get_ns();
	if (p->state == KRAIT_PROC_UNKNOWN || p->state == KRAIT_PROC_IGNORED) {
		platform_count(p->state == KRAIT_PROC_UNKNOWN ? KRAIT_CNT_UNJUDGED_TICKS
							      : KRAIT_CNT_OTHER_TICKS,
			       1);
		proc_ask(p, pid, now_ns);
		return 0;
	}
	platform_count(KRAIT_CNT_TARGET_TICKS, 1);
	if (p->state == KRAIT_PROC_STARTING)
		loss = KRAIT_LOSS_STARTING;
	else if (p->state == KRAIT_PROC_UNSUPPORTED)
		loss = KRAIT_LOSS_UNSUPPORTED;
	else
		loss = target_tick(p, pid_tgid, task, now_ns);
	if (loss)
		platform_count(loss, 1);
	return 0;
}
