/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Processes: which are targets, and the events that tell user space of their lifetime.
 *
 * Discovery is driven by ticks. A process of which nothing is known costs user space a scan when a
 * tick first hits it, so a host full of idle Pythons costs nothing. User space's result is about
 * an address space (krait_proc.mm): exec makes a new one, and with it every older result void,
 * also one that is being written at that moment.
 *
 * A pid is what krait's own pid namespace calls a process, for so does the /proc that user space
 * reads. In the initial namespace that is the kernel's own word for it; in another one (a
 * container's) it is looked up where a tick finds out about its thread, and kept with the rest that
 * is remembered, so the path of every tick is the same. A task that has no id there (the host's, a
 * neighbour's) does not exist for krait.
 */
#ifndef KRAIT_PROCESS_H
#define KRAIT_PROCESS_H

#include "bpf/maps.h"
#include "bpf/seed.h"
#include "bpf/state.h"

#define ASK_AGAIN_MIN_MS 1    /* a starting interpreter is ready after some 10 ms */
#define ASK_AGAIN_MAX_MS 8192 /* a busy process that is no Python, but could load one */

const volatile struct krait_selection selection = {.is_open = 1, .with_children = 1};

/* Whether krait runs in another pid namespace than the initial one. */
const volatile __u32 in_pid_ns = 0;
/* That one: krait_learn_ns. */
volatile __u64 pid_ns_addr SEC(".data") = 0;
volatile __u32 pid_ns_level SEC(".data") = 0;
/* Random bits of this load: seed.h. */
const volatile __u64 secret[2];

/* Raised with every change of a result, after it: what a CPU remembers of a process (struct
 * recent) holds for one generation. Beside `epoch`, on one cache line. */
volatile __u32 generation = 1;

static __always_inline long platform_send(void *record, __u32 n, bool wake);
static __always_inline void platform_count(__u32 counter, __u64 n);

static __always_inline void generation_next(void)
{
	__sync_fetch_and_add(&generation, 1);
}

/* ---- Ids in krait's pid namespace ---- */

static __always_inline struct upid *upid_at(struct pid *pid, __u32 level)
{
	char *first = (char *)__builtin_preserve_access_index(&pid->numbers[0]);

	return (struct upid *)(first + (__u64)level * bpf_core_type_size(struct upid));
}

/* The id in the namespace that it was made in, in which its processes see themselves. */
static __always_inline struct upid *innermost(struct pid *pid)
{
	return upid_at(pid, BPF_CORE_READ(pid, level));
}

/* What a thread of another pid namespace than the initial one calls itself. */
static __always_inline __u32 own_tid(struct task_struct *task)
{
	struct upid *upid = innermost(BPF_CORE_READ(task, thread_pid));

	return BPF_CORE_READ(upid, nr);
}

/*
 * To be run once by user space, from krait: what namespace that is. It can't be had otherwise, for
 * the kernel says nothing to a process of what is above its namespace, and so not how deep that
 * lies. (bpf_get_ns_current_pid_tgid needs neither, but answers only for the tasks whose innermost
 * namespace this is, and so not for those of a container in the container.)
 */
SEC("raw_tp")
int krait_learn_ns(void *ctx)
{
	struct pid *pid = BPF_CORE_READ(bpf_get_current_task_btf(), thread_pid);
	struct upid *upid = innermost(pid);

	pid_ns_level = BPF_CORE_READ(pid, level);
	pid_ns_addr = (__u64)BPF_CORE_READ(upid, ns);
	return 0;
}

/* What krait's namespace calls the thread; 0: it does not know it. Static, for as a global function
 * it could be handed no task. */
static __attribute__((noinline)) __u32 tid_in_ns(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	struct upid *upid = upid_at(pid, pid_ns_level);

	if (BPF_CORE_READ(pid, level) < pid_ns_level ||
	    (__u64)BPF_CORE_READ(upid, ns) != pid_ns_addr)
		return 0;
	return BPF_CORE_READ(upid, nr);
}

/* The ids of the running task, as maps and records have them. A process has that of its first
 * thread, also when that one has ended. */
static __always_inline __u32 tid_of(struct task_struct *current)
{
	return in_pid_ns ? tid_in_ns(current) : current->pid;
}

static __always_inline __u32 pid_of(struct task_struct *current)
{
	return in_pid_ns ? tid_in_ns(current->group_leader) : current->tgid;
}

/* ---- What is known of processes ---- */

static __always_inline __u64 new_seed(__u32 pid)
{
	return sip_hash(secret[0], secret[1], bpf_ktime_get_ns(), pid);
}

static __always_inline void send_process(enum krait_process_what what, __u32 pid, __u32 tid,
					 __u64 origin, bool wake)
{
	struct krait_process_rec rec = {
		.h = {.kind = KRAIT_PROCESS, .bytes = sizeof(rec)},
		.time_ns = bpf_ktime_get_ns(),
		.pid = pid,
		.tid = tid,
		.what = what,
	};

	if (what == KRAIT_PROCESS_THREAD)
		rec.ident = origin;
	else
		rec.parent_pid = origin;
	bpf_get_current_comm(rec.comm, sizeof(rec.comm));
	if (platform_send(&rec, sizeof(rec), wake) != 0)
		platform_count(KRAIT_CNT_EVENTS_LOST, 1);
}

static __always_inline bool proc_is_python(const struct krait_proc *p)
{
	return p->state == KRAIT_PROC_READY || p->state == KRAIT_PROC_STARTING ||
	       p->state == KRAIT_PROC_UNSUPPORTED;
}

/* Forgets the result: the process runs in another address space now. */
static __always_inline void proc_reset(struct krait_proc *p, __u32 pid, __u64 mm)
{
	p->state = KRAIT_PROC_UNKNOWN;
	p->unknown_ticks = 0;
	p->seed = new_seed(pid);
	p->ask_at_ns = 0;
	p->ask_again_ms = ASK_AGAIN_MIN_MS;
	p->is_crossed = 0;
	p->absent_doublings = 0;
	p->mm = mm;
}

static __always_inline struct krait_proc *proc_add(__u32 pid, __u64 mm)
{
	struct krait_proc fresh = {};

	proc_reset(&fresh, pid, mm);
	if (bpf_map_update_elem(&procs, &pid, &fresh, BPF_NOEXIST) != 0)
		platform_count(KRAIT_CNT_PROCS_FULL, 1);
	return bpf_map_lookup_elem(&procs, &pid);
}

/* Asks user space to classify the process, if it is time. */
static __always_inline void proc_ask(struct krait_proc *p, __u32 pid, __u64 now_ns)
{
	if (now_ns < p->ask_at_ns)
		return;
	if (p->ask_again_ms < ASK_AGAIN_MIN_MS)
		p->ask_again_ms = ASK_AGAIN_MIN_MS;
	/* A process that has just called exec may have counted its code there. */
	if (p->ask_again_ms > ASK_AGAIN_MAX_MS)
		p->ask_again_ms = ASK_AGAIN_MAX_MS;
	p->ask_at_ns = now_ns + (__u64)p->ask_again_ms * 1000000;
	p->ask_again_ms *= 2;
	if (p->ask_again_ms > ASK_AGAIN_MAX_MS)
		p->ask_again_ms = ASK_AGAIN_MAX_MS;
	send_process(KRAIT_PROCESS_SEEN, pid, pid, 0, true);
}

/* The entry of the process that the tick hit, about its present address space; NULL if it is none
 * of ours. */
static __always_inline struct krait_proc *proc_of_tick(__u32 pid, __u64 mm)
{
	struct krait_proc *p = bpf_map_lookup_elem(&procs, &pid);

	if (!p)
		return selection.is_open && mm ? proc_add(pid, mm) : NULL;
	if (p->mm != mm)
		proc_reset(p, pid, mm);
	return p;
}

/*
 * The scheduler's tracepoints are raw ones: to attach the typed kind (tp_btf), libbpf would look
 * the tracepoint's id up in all of the kernel's BTF, which takes as long as all the rest it does.
 * What they hand over are plain addresses to the verifier, hence BPF_CORE_READ.
 */
SEC("raw_tp/sched_process_fork")
int BPF_PROG(krait_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 parent_pid = pid_of(bpf_get_current_task_btf()), pid;
	__u64 mm;
	struct krait_proc *p, copy;

	if (!selection.with_children || BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0;
	p = bpf_map_lookup_elem(&procs, &parent_pid);
	if (!p || (selection.is_open && !proc_is_python(p)))
		return 0;
	pid = in_pid_ns ? tid_in_ns(child) : BPF_CORE_READ(child, tgid);
	copy = *p;
	mm = (__u64)BPF_CORE_READ(child, mm);
	if (proc_is_python(p) && p->mm == (__u64)BPF_CORE_READ(parent, mm)) {
		copy.mm = mm;
		copy.seed = new_seed(pid);
	} else {
		proc_reset(&copy, pid, mm);
	}
	if (bpf_map_update_elem(&procs, &pid, &copy, BPF_ANY) != 0)
		platform_count(KRAIT_CNT_PROCS_FULL, 1);
	else if (proc_is_python(&copy))
		send_process(KRAIT_PROCESS_FORK, pid, pid, parent_pid,
			     copy.state == KRAIT_PROC_STARTING);
	generation_next();
	return 0;
}

SEC("raw_tp/sched_process_exec")
int BPF_PROG(krait_exec, struct task_struct *task)
{
	__u32 pid = pid_of(bpf_get_current_task_btf());
	struct krait_proc *p = bpf_map_lookup_elem(&procs, &pid);

	if (!p)
		return 0;
	/* Told before there is another seed: user space tells ids before and after it apart. */
	if (proc_is_python(p))
		send_process(KRAIT_PROCESS_EXEC, pid, pid, 0, false);
	proc_reset(p, pid, (__u64)BPF_CORE_READ(task, mm));
	generation_next();
	return 0;
}

SEC("raw_tp/sched_process_exit")
int BPF_PROG(krait_exit, struct task_struct *task)
{
	__u32 pid = pid_of(bpf_get_current_task_btf());
	struct krait_proc *p;
	bool was_python;

	/* The tracepoint speaks of each thread; the process ends with its last one, not with its
	 * main one (kernel/exit.c, do_exit: signal->live is counted down before the tracepoint). */
	if (BPF_CORE_READ(task, signal, live.counter) > 0)
		return 0;
	p = bpf_map_lookup_elem(&procs, &pid);
	if (!p)
		return 0;
	/* First the entry goes: another thread of the process may still be in its exit on another
	 * CPU, and a tick on it from here on must be no sample of a lifetime that has ended. */
	was_python = proc_is_python(p);
	bpf_map_delete_elem(&procs, &pid);
	generation_next();
	if (was_python)
		send_process(KRAIT_PROCESS_EXIT, pid, pid, 0, false);
	return 0;
}

#endif
