/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which thread runs a thread state, in a process that has several interpreters.
 *
 * A state says whose it is by ts_thread_id, which is set where it is made. But up to 3.12
 * run_string() swaps in the state that the interpreter was made with
 * (Modules/_xxsubinterpretersmodule.c, _run_script_in_interpreter; PyThreadState_Swap changes no
 * id): it says that it is the maker's, while another thread runs it, and the maker something else.
 * So there its id is no proof, neither for the maker nor against another thread. What is:
 *
 * 3.10 to 3.12: the evaluation loop points the state's `cframe` at a variable of its own, which
 * lies on the C stack, and puts the former value back when it returns. A state whose cframe is in
 * the part of this thread's stack that is in use is run by this thread, and no other: another one
 * that went into the same state would have pointed it at its own stack. Who holds the GIL, if there
 * is but one, does not matter, so C code that has released it keeps its frames.
 *
 * 3.8, 3.9: no such field. Only the GIL's holder has its state in gilstate.tstate_current
 * (Python/ceval_gil.h: it is set after the GIL is taken and cleared before it is given up), and
 * only the GIL's holder runs bytecode. So a thread whose program counter is in the evaluation loop
 * runs the current state, but for the few instructions of that function in which it hands the GIL
 * over; then it has its own state and frame at hand, in registers or in the loop's C frame, and not
 * those of the current one: both must be there. In C code, which may run without the GIL, nothing
 * proves anything. There a state that another thread has made is not believed, so its runner shows
 * its outer frames. One that the thread made itself is, if this thread was proven to run it before,
 * its innermost frame is on the stack, and no thread of the process was ever seen to run a state of
 * another's making. (What is left: such a thread, in C code outside of the interpreter, without the
 * GIL, between another one's first entry there and that one's first tick in the loop.)
 *
 * Not so on a stack that is not the thread's (sigaltstack): there the id has to do, as it does for
 * the versions before and after. Nor on arm64, where libc decides where the stack lies.
 */
#ifndef KRAIT_RUNNER_H
#define KRAIT_RUNNER_H

#include "bpf/state.h"

/*
 * No thread's stack is larger, krait takes it. A pointer that far up must be another's: from the
 * main thread's stack the kernel keeps as much free for it (arch/x86/mm/mmap.c, SIZE_128M).
 */
#define RUNNER_STACK_MAX (128ULL << 20)
/* What is searched of the registers and the stack: the six registers that a call preserves and two
 * zeroes, then the stack from its pointer on. */
#define RUNNER_REGS 8
#define RUNNER_WORDS (RUNNER_REGS + 512)
/* As far as the evaluation loop's C frame surely goes: 300 bytes and more in a usual build. */
#define RUNNER_NEAR_WORDS (RUNNER_REGS + 64)

#ifndef KRAIT_HOST
static __always_inline bool platform_stack(struct scratch *s);
#endif

/* Whether the word is among the first cnt of those that runner_prepare took. */
KRAIT_GLOBAL int runner_has(struct scratch *s, __u64 word, __u32 cnt)
{
	if (!s || !word)
		return 0;
	for (__u32 i = 0; i < RUNNER_WORDS; i++) {
		if (i >= cnt || i >= s->word_cnt)
			break;
		/* NOLINTNEXTLINE(bugprone-implicit-widening-of-multiplication-result): small */
		if (word_at(s->window + 8 * i) == word)
			return 1;
	}
	return 0;
}

/* Takes the top of the stack, behind the registers, to where the window of frames will be. */
static __always_inline void runner_take_words(struct scratch *s)
{
	__u64 n = s->stack_bytes & ~7ULL;

	keep_max(n, 8 * (RUNNER_WORDS - RUNNER_REGS));
	s->word_cnt = RUNNER_REGS;
	if (platform_read_user(s->window + 8UL * RUNNER_REGS, n, s->stack_lo) == 0)
		s->word_cnt += n / 8;
}

/*
 * Prepares the proof for this tick, if the process has several interpreters (`head`: the first in
 * the list). False: there is nothing to prove, or no way to; then the id tells.
 */
KRAIT_GLOBAL int runner_prepare(struct scratch *s, __u64 head)
{
	__u64 next = 0;

	if (!s || s->layout.runner_kind == KRAIT_RUNNER_ID)
		return 0;
	if (platform_read_user(&next, sizeof(next), head + s->layout.interp_next_off) != 0 || !next)
		return 0;
	if (!platform_stack(s))
		return 0;
	if (s->layout.runner_kind == KRAIT_RUNNER_STACK)
		return 1;
	/* What can't be read is no proof. */
	if (platform_read_user(&s->current, sizeof(s->current), proc_of(s)->addrs.current) != 0)
		s->current = 0;
	s->current_id = 0;
	if (s->current)
		platform_read_user(&s->current_id, sizeof(s->current_id),
				   s->current + s->layout.ts_thread_id_off);
	runner_take_words(s);
	return 1;
}

/* Whether nothing but the evaluation loop itself, and the id, tells of the states. */
static __always_inline bool runner_is_by_loop(const struct scratch *s)
{
	return s->is_shared && s->layout.runner_kind == KRAIT_RUNNER_LOOP;
}

/* Whether the thread may run the state in s->ts, whose frame has not been read yet. */
static __always_inline bool runner_may_be(const struct scratch *s, bool is_own)
{
	__u16 off = s->layout.ts_stack_off;

	if (s->layout.runner_kind == KRAIT_RUNNER_STACK)
		return word_at(s->ts + (off & (TSTATE_BYTES - 1))) - s->stack_lo < s->stack_bytes;
	if (s->is_in_eval)
		return s->tstate == s->current;
	/* While the one with the GIL is another one of its own it runs that. */
	return is_own && s->tstate == s->proven_tstate &&
	       (s->current_id != s->key.thread_id || s->tstate == s->current);
}

/* Whether it does, if it may, and s->frame is the innermost frame. */
static __always_inline bool runner_is(struct scratch *s)
{
	if (s->layout.runner_kind == KRAIT_RUNNER_STACK)
		return true;
	if (!s->is_in_eval)
		return runner_has(s, s->frame, RUNNER_WORDS);
	return runner_has(s, s->frame, RUNNER_NEAR_WORDS) &&
	       runner_has(s, s->tstate, RUNNER_NEAR_WORDS);
}

#endif
