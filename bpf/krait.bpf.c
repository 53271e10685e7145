// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * krait in the kernel: one program on a cpu-clock timer per CPU, and three on the scheduler's
 * tracepoints.
 *
 * An event source (krait_tick, so far the only one) says what has happened to the running task;
 * take_stack finds its Python stack; sample_emit writes the sample, with the event and its value.
 *
 * A tick costs in proportion to what it has to find out. Not a target: what this CPU
 * remembers of it. A stack that user space knows: the thread state checked, the frames read in bulk
 * and hashed, one SAMPLE of 40 bytes written. A stack new in this epoch: walked again and kept, its
 * code objects read and verified as well, and a STACK record and a CODE record for each code
 * object, unless they have been sent. What is rare stands in global functions: the verifier takes
 * each by itself, and the path of every tick stays short.
 *
 * Every tick on a target ends in exactly one counter: a sample, or the reason why there is none
 * (ledger.h, KRAIT_LOSSES). Runs in the timer interrupt, so it never sleeps, and a page that is not
 * resident is a fault with a reason; user space is told, to bring it back (absent.h).
 */
#include "bpf/platform.h"
#include "bpf/state.h"
#include "bpf/thread.h"
#include "bpf/walk.h"
#include "bpf/code.h"
#include "bpf/emit.h"
#include "bpf/level.h"
#include "bpf/maps.h"
#include "bpf/process.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PF_EXITING 0x00000004 /* include/linux/sched.h: in do_exit */
#define PF_FORKNOEXEC                                                                              \
	0x00000040 /* include/linux/sched.h: forked, and has not called exec since                 \
		    */

/* ---- What user space sets before the load ---- */

/* Ring bytes waiting to be read at which user space is woken: it reads on a timer otherwise. */
KRAIT_CONFIG __u32 wake_bytes = 1 << 20;
/* Frames that a CPU's STACK record has room for: max_depth. To the verifier this one is a number.
 */
KRAIT_CONFIG __u32 stack_room = KRAIT_MAX_DEPTH_LIMIT;

/* Raised by user space about once a second; a stack is verified again in each epoch. */
volatile __u32 epoch = 1;
/* Ticks that a sample stands for; see sampler_set_weight. */
volatile __u32 tick_weight = 1;
/* Frames of a stack at most. A variable beside the epoch, not a constant: the constants lie on a
 * page that a tick would have to touch for nothing else. */
__u32 max_depth = KRAIT_MAX_DEPTH_DEFAULT;
/* A process that has been looked at in vain for half a second is asked about again up to an epoch
 * late: what a CPU remembers of it lasts so long. */
#define REMEMBER_MIN_MS 512

/* ---- What the walker's headers ask of the platform ---- */

static __always_inline struct krait_stack_rec *stack_get(struct scratch *s)
{
	__u32 number = s->writer.number; /* on the stack, where 6.1 wants a key */

	return bpf_map_lookup_elem(&stack_scratches, &number);
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

static __always_inline struct krait_proc *proc_entry_get(__u32 pid)
{
	return bpf_map_lookup_elem(&procs, &pid);
}

static __always_inline struct stack_set *known_stack_get(__u64 key)
{
	__u32 slot = (key >> 8) & (STACK_SETS - 1);

	return bpf_map_lookup_elem(&known_stacks, &slot);
}

/* Records wait for user space's timer unless they are urgent or many: a wake-up costs more than the
 * record. */
static __always_inline long platform_send(void *record, __u32 n, bool wake)
{
	bool many = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= wake_bytes;
	long err = bpf_ringbuf_output(&ring, record, n,
				      wake || many ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);

	if (!err)
		platform_count(KRAIT_CNT_RING_BYTES, n);
	return err;
}

/* ---- The running task: its thread, its stack ---- */

static __always_inline struct thread_key thread_key_of(struct task_struct *task)
{
	struct thread_key key = {};
#ifdef __TARGET_ARCH_x86
	key.thread_id = task->thread.fsbase;
#else
	/* libc decides how far pthread_self() lies from the thread pointer, so what gettid(2) says
	 * to the thread is compared: 3.11 and later. */
	key.native_id = task->thread_pid->level ? own_tid(task) : task->pid;
#endif
	return key;
}

/*
 * The thread's stack in user space, from its pointer on: libc has the thread's block (glibc, musl:
 * that is what the thread pointer points to) above the stack, in one mapping. And the registers
 * that a call preserves, to the window. False if it is on another one.
 */
static __always_inline bool platform_stack(struct scratch *s)
{
#ifdef __TARGET_ARCH_x86
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	__u64 sp = regs->sp, end = s->key.thread_id;
	__u64 *to = (__u64 *)s->window;

	/* Or the compiler makes one load of the two, through one pointer or the other, which the
	 * verifier refuses (not that of 6.18). */
	keep_bounds(end);
	if (task->pid == task->tgid)
		end = task->mm->start_stack;
	s->stack_lo = sp;
	s->stack_bytes = end - sp;
	to[0] = regs->bx;
	to[1] = regs->bp;
	to[2] = regs->r12;
	to[3] = regs->r13;
	to[4] = regs->r14;
	to[5] = regs->r15;
	to[6] = to[7] = 0;
	return end - sp < RUNNER_STACK_MAX && sp - task->sas_ss_sp >= task->sas_ss_size;
#else
	return false;
#endif
}

/* Notes with the process what all of its threads' ticks must know from now on: runner.h. */
static __always_inline void platform_note_crossed(struct scratch *s)
{
	struct krait_proc *p = proc_entry_get(recent_of(s)->pid);

	if (!p)
		return;
	p->is_crossed = 1;
	generation_next();
}

static __always_inline struct thread_memo *memo_of_task(void)
{
	return bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0,
				    BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* Forgets what an earlier lifetime of the tick's process left with the thread. */
KRAIT_GLOBAL int memo_renew(struct scratch *s)
{
	struct thread_memo *memo = memo_of_task();

	if (!s || !memo)
		return 0;
	__builtin_memset(memo, 0, sizeof(*memo));
	memo->seed = proc_of(s)->seed;
	return 0;
}

/* What is remembered of the tick's thread, in this lifetime of its process. */
static __always_inline struct thread_memo *memo_get(struct scratch *s)
{
	struct thread_memo *memo = memo_of_task();

	if (memo && memo->seed != proc_of(s)->seed)
		memo_renew(s);
	return memo;
}

/* Tells user space the thread's name when it is new, and once an epoch if it has changed. */
KRAIT_GLOBAL int thread_name(struct scratch *s)
{
	char comm[KRAIT_COMM_BYTES] = {};
	const __u64 *now = (const __u64 *)comm, *then;
	struct thread_memo *memo;
	__u64 ident;

	if (!s)
		return 0;
	memo = memo_get(s);
	if (!memo)
		return 0;
	recent_of(s)->is_named = 1;
	if (memo->comm_epoch == s->epoch)
		return 0;
	memo->comm_epoch = s->epoch;
	then = (const __u64 *)memo->comm;
	bpf_get_current_comm(comm, sizeof(comm));
	if (now[0] == then[0] && now[1] == then[1])
		return 0;
	__builtin_memcpy(memo->comm, comm, sizeof(comm));
	/* The state's own id may be another thread's: runner.h. */
	ident = s->key.thread_id ?: ts_word(s, s->layout.ts_thread_id_off);
	send_process(KRAIT_PROCESS_THREAD, recent_of(s)->pid, recent_of(s)->tid, ident, false);
	return 0;
}

/* Sends the stack s->stack_id, of cnt frames, unless user space has it. Its meaning never changes.
 */
static __always_inline enum krait_loss stack_send(struct scratch *s, struct krait_stack_rec *stack,
						  __u32 cnt)
{
	struct sent_pair *pair = sent_stack_get(s->stack_id);
	__u32 n = sizeof(*stack) + cnt * sizeof(struct krait_frame);

	if (pair && sent_has(pair, s->stack_id))
		return KRAIT_LOSS_NONE;
	stack->h.kind = KRAIT_STACK;
	stack->h.flags = s->walk.flags;
	stack->h.bytes = n;
	stack->stack_id = s->stack_id;
	stack->pid = recent_of(s)->pid;
	stack->interp_id = s->interp_id;
	stack->frame_cnt = cnt;
	if (platform_send(stack, n, false) != 0)
		return KRAIT_LOSS_STACK_NOT_SENT;
	platform_count(KRAIT_CNT_STACKS, 1);
	if (pair)
		sent_add(pair, s->stack_id);
	return KRAIT_LOSS_NONE;
}

/*
 * Gives the walked stack its id, s->stack_id, and user space the stack, unless it has it.
 * The frames are walked a second time to be kept; if that shows another stack (memory that another
 * process writes), the second one is what counts and nothing is remembered of it.
 */
KRAIT_GLOBAL int stack_learn(struct scratch *s)
{
	struct krait_stack_rec *stack = s ? stack_get(s) : NULL;
	enum krait_loss loss = KRAIT_LOSS_NONE;
	struct stack_set *set;
	__u16 flags;
	__u64 hash;
	__u32 cnt;

	if (!stack)
		return KRAIT_LOSS_STACK_NOT_SENT;
	hash = s->walk.hash;
	flags = s->walk.flags;
	if (!s->walk.is_kept)
		loss = walk_stack(s, true);
	if (loss)
		return loss;
	s->walk.flags |= flags & KRAIT_STACK_GC;
	s->interp_id = interp_id(s);
	code_resolve_all(s);
	cnt = s->walk.cnt;
	keep_bounds(cnt);
	if (cnt > stack_room)
		return KRAIT_LOSS_STACK_NOT_SENT;
	loss = stack_send(s, stack, cnt);
	set = known_stack_get(s->stack_key);
	if (set && !loss && !s->is_unsettled && hash == s->walk.hash)
		stack_set_add(set, s->stack_key, s->stack_id);
	return loss;
}

/* The id of the stack s->stack_key, or 0; kept at hand for the next ticks of this CPU. */
static __always_inline __u64 stack_find(struct scratch *s)
{
	struct recent_stack *r = &s->recent_stacks[s->stack_key & (RECENT_STACK_CNT - 1)];
	struct stack_set *set;

	if (r->key == s->stack_key)
		return r->id;
	set = known_stack_get(s->stack_key);
	r->id = set ? stack_set_find(set, s->stack_key) : 0;
	r->key = r->id ? s->stack_key : 0;
	return r->id;
}

static __always_inline enum krait_loss stack_know(struct scratch *s)
{
	s->stack_key = mix64(s->walk.hash ^ s->walk.flags ^ (__u64)s->epoch << 32 ^
			     ts_word(s, s->layout.ts_interp_off));
	s->stack_id = stack_find(s);
	return s->stack_id ? KRAIT_LOSS_NONE : stack_learn(s);
}

/* Looks for the thread's state, where its earlier ticks found it or in the list. 0 or a loss. */
KRAIT_GLOBAL int thread_learn(struct scratch *s)
{
	struct thread_memo *memo;
	enum krait_loss loss;

	if (!s)
		return KRAIT_LOSS_THREAD_UNREADABLE;
	memo = memo_get(s);
	if (!memo)
		return KRAIT_LOSS_THREAD_UNREADABLE;
	loss = thread_find(s, memo);
	if (!loss)
		recent_of(s)->tstate = memo->is_shared ? 0 : s->tstate;
	return loss;
}

/*
 * What stands for the stack of a thread that is outside of Python: one frame that says so. Its CPU
 * time is the process's like any other. 0 or a loss.
 */
KRAIT_GLOBAL int outside_know(struct scratch *s)
{
	struct krait_stack_rec *stack = s ? stack_get(s) : NULL;

	if (!stack)
		return KRAIT_LOSS_STACK_NOT_SENT;
	s->walk.flags = 0;
	s->interp_id = 0;
	s->stack_id = mix64(proc_of(s)->seed ^ KRAIT_MARK_OUTSIDE);
	*(struct krait_frame *)(stack + 1) = (struct krait_frame){.mark = KRAIT_MARK_OUTSIDE};
	return stack_send(s, stack, 1);
}

/* Finds and walks the thread's stack, into the scratch. */
static __always_inline enum krait_loss stack_walk(struct scratch *s, struct recent *r)
{
	enum krait_loss loss = KRAIT_LOSS_NONE;

	s->tstate = r->tstate;
	if (!thread_runs_at(s, &r->newest_until_ns))
		loss = thread_learn(s);
	/* Without chunks each frame costs a read: none is walked twice. */
	return loss ?: walk_stack(s, !s->layout.has_chunks);
}

/*
 * From the thread to the id of its stack. A thread that is in its exit has neither a Python stack
 * nor a name, whatever it seems to have: is_exiting. What Python calls one that is outside is told
 * by its thread pointer, or not (arm64: by the state that it does not have).
 */
static __always_inline enum krait_loss thread_stack(struct scratch *s, struct recent *r, bool exits)
{
	enum krait_loss loss = exits ? KRAIT_LOSS_NO_FRAME : stack_walk(s, r);
	bool outside = loss == KRAIT_LOSS_NO_FRAME || loss == KRAIT_LOSS_NO_PYTHON_THREAD;

	if (loss && !outside)
		return loss;
	if (!outside && thread_collects(s))
		s->walk.flags |= KRAIT_STACK_GC;
	if (!r->is_named && !exits && (s->key.thread_id || !outside))
		thread_name(s);
	return outside ? outside_know(s) : stack_know(s);
}

/* Puts the target's layout into the scratch, if it is not there from the last tick: layouts are
 * added, never changed. */
static __always_inline bool layout_load(struct scratch *s)
{
	__u32 layout_idx = proc_of(s)->layout_idx;
	struct krait_layout *layout;

	if (s->layout_num == layout_idx + 1)
		return true;
	layout = bpf_map_lookup_elem(&layouts, &layout_idx);
	if (!layout)
		return false;
	layout_use(s, layout);
	s->layout_num = layout_idx + 1;
	return true;
}

/*
 * Whether the thread is in its exit, if it is in the kernel at all. Halfway through that libc may
 * give its stack, and with it its thread pointer, to a new thread, whose state would pass for this
 * one's.
 */
static __always_inline bool is_exiting(const struct task_struct *task, bool is_in_kernel)
{
	return is_in_kernel && task->flags & PF_EXITING;
}

/* Whether thread states may be left in the process from before a fork, one of which could pass for
 * this thread's. The main thread is the one that called fork. */
static __always_inline bool needs_own_state(const struct recent *r, const struct krait_proc *p)
{
	return p->addrs.current && r->pid != r->tid &&
	       bpf_get_current_task_btf()->group_leader->flags & PF_FORKNOEXEC;
}

/*
 * Finds out what the event hit, into its struct recent. It is remembered where nothing can change
 * without a new generation: a process that is to be asked about again soon is not.
 */
KRAIT_GLOBAL int task_learn(struct scratch *s)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 now_ns = bpf_ktime_get_ns();
	struct krait_proc *p;
	struct recent *r;

	if (!s)
		return 0;
	r = recent_of(s);
	__builtin_memset(r, 0, sizeof(*r));
	r->host_tid = s->host_tid;
	r->pid = pid_of(task);
	r->tid = tid_of(task);
	r->proc.mm = s->mm;
	r->generation = generation; /* before the result is looked up */
	r->state = KRAIT_PROC_IGNORED;
	r->epoch = s->epoch;
	p = s->mm && r->pid ? proc_of_tick(r->pid, s->mm) : NULL;
	if (!p)
		return 0;
	if (p->state == KRAIT_PROC_UNKNOWN && s->event == KRAIT_EVENT_CPU_CLOCK)
		__sync_fetch_and_add(&p->unknown_ticks, s->value);
	if (p->state == KRAIT_PROC_UNKNOWN || p->state == KRAIT_PROC_IGNORED)
		proc_ask(p, r->pid, now_ns);
	r->proc = *p;
	r->state = p->state;
	r->needs_own = needs_own_state(r, p);
	if (p->state == KRAIT_PROC_UNKNOWN || p->state == KRAIT_PROC_STARTING ||
	    (p->state == KRAIT_PROC_IGNORED && p->ask_again_ms < REMEMBER_MIN_MS))
		r->epoch = 0;
	return 0;
}

/*
 * Takes the stack of the running task, a Python's, which an event has hit at `ip`, an address of
 * the kernel too: user space has it then, or will have it before the sample. Its id is s->stack_id.
 * 0 or why there is none.
 */
static __always_inline enum krait_loss take_stack(struct scratch *s, struct recent *r,
						  struct task_struct *task, __u64 ip,
						  bool is_in_kernel)
{
	if (r->state == KRAIT_PROC_STARTING)
		return KRAIT_LOSS_STARTING;
	if (r->state == KRAIT_PROC_UNSUPPORTED)
		return KRAIT_LOSS_UNSUPPORTED;
	s->host_tid = r->host_tid;
	s->epoch = r->epoch;
	s->now_ns = bpf_ktime_get_ns();
	s->key = thread_key_of(task);
	s->needs_own = r->needs_own;
	s->is_in_eval = ip - proc_of(s)->addrs.eval < proc_of(s)->addrs.eval_bytes;
	if (!layout_load(s))
		return KRAIT_LOSS_LAYOUT_MISSING;
	return thread_stack(s, r, is_exiting(task, is_in_kernel));
}

/* ---- From an event to its sample ---- */

/* What is known of the running task, into its struct recent. */
static __always_inline struct recent *recent_find(struct scratch *s, struct task_struct *task)
{
	__u32 tid = task->pid, now_epoch = epoch;
	__u64 mm = (__u64)task->mm;
	struct recent *r = &s->recents[tid & (RECENT_CNT - 1)];

	keep_bounds(r); /* or it is computed again for each use */
	if (r->host_tid != tid || r->proc.mm != mm || r->epoch != now_epoch ||
	    r->generation != generation) {
		s->mm = mm;
		s->host_tid = tid;
		s->epoch = now_epoch;
		task_learn(s);
	}
	return r;
}

/* An event on a Python: its sample, or the reason why there is none. */
static __always_inline void event_on_python(struct scratch *s, struct recent *r,
					    struct task_struct *task, __u64 ip, __u32 event,
					    __u64 *counters)
{
	/* The clock's ticks come anywhere, and a kernel's addresses are negative; all other events
	 * are in the kernel, whatever the address that they have of user space. */
	bool is_in_kernel = event != KRAIT_EVENT_CPU_CLOCK || (__s64)ip < 0;
	__u32 loss = take_stack(s, r, task, ip, is_in_kernel);

	loss = loss ?: sample_emit(s, event, counters);
	if (!loss)
		return;
	keep_bounds(loss); /* or two comparisons become one, of which a verifier learns nothing */
	if (loss < KRAIT_CNT_CNT)
		counters[loss] += s->value;
	if (loss == KRAIT_LOSS_THREAD_UNREADABLE || loss == KRAIT_LOSS_RUNTIME_UNREADABLE)
		absent_tell(s, 0, 0);
}

/*
 * What every event source ends with: the event has hit the running task at the instruction `ip`,
 * and stands for `value` of its periods. `counters` is the event's ledger, of this level.
 */
static __always_inline void event_take(struct scratch *s, __u32 event, __u64 value, __u64 ip,
				       __u64 *counters)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct recent *r;
	__u64 began_ns;
	bool is_timed;

	s->event = event;
	s->value = value;
	s->writer.ticks++;
	r = recent_find(s, task);
	if (r->state == KRAIT_PROC_IGNORED || r->state == KRAIT_PROC_UNKNOWN) {
		counters[r->state == KRAIT_PROC_UNKNOWN ? KRAIT_CNT_UNKNOWN_TICKS
							: KRAIT_CNT_OTHER_TICKS] += s->value;
		return;
	}
	counters[KRAIT_CNT_TARGET_TICKS] += s->value;
	is_timed = !(s->writer.target_ticks++ & (KRAIT_TIMED_EVERY - 1));
	began_ns = is_timed ? bpf_ktime_get_ns() : 0;
	event_on_python(s, r, task, ip, event, counters);
	if (is_timed)
		s->writer.timed_ns += bpf_ktime_get_ns() - began_ns;
}

/* ---- The event source: a tick of the CPU's clock ---- */

/*
 * From 6.13 on each function with 64 bytes of stack or more has them on a page of its own for each
 * CPU, which a tick would touch for nothing else: kernel/bpf/verifier.c, check_max_stack_depth. Not
 * so in a program with a tail call, so here is one. It is never made: the verifier knows that zero,
 * as the compiler does not, and takes the call out; so it needs no program array either. (An empty
 * one stayed in the kernel for ever, if somebody listed the maps when krait ended: up to 6.18 at
 * least kernel/bpf/arraymap.c, prog_array_map_clear, takes a reference each time that the last
 * descriptor is closed, but gives one back for all that were closed before its work came to run.)
 */
static __always_inline void stay_on_kernel_stack(void *ctx)
{
	__u64 zero;

	asm volatile("%0 = 0" : "=r"(zero));
	if (zero)
		bpf_tail_call(ctx, NULL, 0);
}

SEC("perf_event")
int krait_tick(struct bpf_perf_event_data *ctx)
{
	struct scratch *s = level_enter();

	stay_on_kernel_stack(ctx);
	if (!s) {
		platform_count(KRAIT_LOSS_NESTED, tick_weight);
		return 0;
	}
	event_take(s, KRAIT_EVENT_CPU_CLOCK, tick_weight, PT_REGS_IP(&ctx->regs),
		   s->writer.counters);
	level_leave(s);
	return 0;
}
