/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Finding the thread state (PyThreadState) of the thread that the tick hit.
 *
 * A thread state records pthread_self(), which on x86-64 is the thread pointer (%fs base) with
 * glibc and musl alike. So the state is searched for in the interpreters' thread lists once, kept
 * with the task, and checked at every use: it must still carry this thread's id and still be *in
 * the list*, since freed memory can keep the id. A thread that holds the GIL and one that released
 * it are found the same way, so C code that released it keeps its Python stack.
 *
 * A thread without a state (a BLAS worker) is remembered too, for a while, with a doubling pause. A
 * list longer than SEARCH_STEPS goes on at the thread's next tick.
 */
#ifndef KRAIT_THREAD_H
#define KRAIT_THREAD_H

#include "bpf/state.h"

/* Thread states looked at in one tick: about 10 us at worst. In calls of a few, since the verifier
 * walks through each. */
#define SEARCH_STEPS 128
#define SEARCH_CALL_STEPS 4
#define SEARCH_AGAIN_MIN_MS 8
#define SEARCH_AGAIN_MAX_MS 1024

#ifndef KRAIT_HOST
static __always_inline struct scratch *scratch_get(void);
#endif

static __always_inline __u64 ts_word(const struct scratch *s, __u16 off)
{
	return *(const __u64 *)(s->ts + (off & (TSTATE_BYTES - 1)));
}

static __always_inline bool ts_read(struct scratch *s, __u64 tstate)
{
	__u32 n = s->layout.ts_read_bytes;

	if (n > TSTATE_BYTES)
		n = TSTATE_BYTES;
	keep_bounds(n);
	return tstate && !(tstate & 7) && platform_read_user(s->ts, n, tstate) == 0;
}

/* Whether the thread state in s->ts belongs to the thread. */
static __always_inline bool ts_matches(const struct scratch *s)
{
	if (s->key.thread_id)
		return ts_word(s, s->layout.ts_thread_id_off) == s->key.thread_id;
	return ts_word(s, s->layout.ts_native_id_off) == s->key.native_id;
}

/* Whether the thread state in s->ts, at address tstate, is in its interpreter's list. */
static __always_inline bool ts_is_listed(const struct scratch *s, __u64 tstate)
{
	__u64 prev = ts_word(s, s->layout.ts_prev_off);
	__u64 back = 0;
	__u64 link = prev ? prev + s->layout.ts_next_off
			  : ts_word(s, s->layout.ts_interp_off) + s->layout.interp_threads_off;

	return platform_read_user(&back, sizeof(back), link) == 0 && back == tstate;
}

/* The head of an interpreter's thread list, 0 if it is empty or not readable. */
static __always_inline __u64 interp_threads(const struct scratch *s, __u64 interp)
{
	__u64 head = 0;

	platform_read_user(&head, sizeof(head), interp + s->layout.interp_threads_off);
	return head;
}

/* The thread state after the one in s->ts: in its list, or the first of the next interpreter's. */
static __always_inline __u64 ts_after(const struct scratch *s)
{
	__u64 next = ts_word(s, s->layout.ts_next_off);
	__u64 interp = ts_word(s, s->layout.ts_interp_off);

	if (next)
		return next;
	platform_read_user(&next, sizeof(next), interp + s->layout.interp_next_off);
	return next ? interp_threads(s, next) : 0;
}

/* Where a search starts: where the last one stopped, if that is still in a list, else at the head
 * of the first. */
static __always_inline __u64 search_start(struct scratch *s, struct thread_memo *memo)
{
	__u64 interp = 0;

	if (memo->cursor && ts_read(s, memo->cursor) && ts_is_listed(s, memo->cursor))
		return memo->cursor;
	if (platform_read_user(&interp, sizeof(interp), s->proc.interp_head_addr) != 0 || !interp)
		return 0;
	return interp_threads(s, interp);
}

static __always_inline void memo_none(struct thread_memo *memo, __u64 now_ns)
{
	__u32 again_ms = memo->search_again_ms * 2;

	if (again_ms < SEARCH_AGAIN_MIN_MS)
		again_ms = SEARCH_AGAIN_MIN_MS;
	if (again_ms > SEARCH_AGAIN_MAX_MS)
		again_ms = SEARCH_AGAIN_MAX_MS;
	memo->search_again_ms = again_ms;
	memo->search_at_ns = now_ns + (__u64)again_ms * 1000000;
	memo->cursor = 0;
	memo->tstate = 0;
}

/*
 * Looks at s->tstate and the thread states after it, a few. NONE: s->tstate is the thread's.
 * THREAD_SEARCH: not found yet, and s->tstate is the next. Else: why there is none.
 */
KRAIT_GLOBAL int search_step(void)
{
	struct scratch *s = scratch_get();

	if (!s)
		return KRAIT_LOSS_THREAD_UNREADABLE;
	for (int i = 0; i < SEARCH_CALL_STEPS; i++) {
		if (!ts_read(s, s->tstate))
			return KRAIT_LOSS_THREAD_UNREADABLE;
		if (ts_matches(s))
			return KRAIT_LOSS_NONE;
		s->tstate = ts_after(s);
		if (!s->tstate)
			return KRAIT_LOSS_NO_PYTHON_THREAD;
	}
	return KRAIT_LOSS_THREAD_SEARCH;
}

static __always_inline enum krait_loss thread_search(struct scratch *s, struct thread_memo *memo,
						     __u64 now_ns)
{
	int loss = KRAIT_LOSS_THREAD_SEARCH;

	s->tstate = search_start(s, memo);
	if (!s->tstate)
		return KRAIT_LOSS_RUNTIME_UNREADABLE;
	for (int i = 0; i < SEARCH_STEPS / SEARCH_CALL_STEPS && loss == KRAIT_LOSS_THREAD_SEARCH;
	     i++)
		loss = search_step();
	memo->cursor = loss == KRAIT_LOSS_THREAD_SEARCH ? s->tstate : 0;
	if (loss == KRAIT_LOSS_NO_PYTHON_THREAD)
		memo_none(memo, now_ns);
	if (loss)
		return loss;
	memo->tstate = s->tstate;
	memo->search_again_ms = 0;
	return KRAIT_LOSS_NONE;
}

/*
 * Puts the state of the thread s->key into s->ts and its address into s->tstate. KRAIT_LOSS_NONE,
 * or why there is none to be had.
 */
static __always_inline enum krait_loss thread_find(struct scratch *s, struct thread_memo *memo,
						   __u64 now_ns)
{
	if (memo->tstate) {
		if (ts_read(s, memo->tstate) && ts_matches(s) && ts_is_listed(s, memo->tstate)) {
			s->tstate = memo->tstate;
			return KRAIT_LOSS_NONE;
		}
		memo->tstate = 0;
		memo->search_at_ns = 0;
	}
	if (now_ns < memo->search_at_ns)
		return KRAIT_LOSS_NO_PYTHON_THREAD;
	return thread_search(s, memo, now_ns);
}

#endif
