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
 * A thread without a state (a BLAS worker) is remembered too, for a while, with a doubling pause,
 * in which only the newest states are looked at. A list longer than SEARCH_STEPS goes on at the
 * thread's next tick. An interpreter may have no states at all (concurrent.interpreters.create()
 * makes such), so an empty list ends nothing.
 *
 * 2.7's states have no link back, so nothing tells in one step whether one is still in the list:
 * there neither the kept state nor the place where a search stopped is trusted, and the list is
 * searched from its head at every tick.
 */
#ifndef KRAIT_THREAD_H
#define KRAIT_THREAD_H

#include "bpf/runner.h"
#include "bpf/state.h"

/* Thread states looked at in one tick: about 10 us at worst. In calls of a few, since the verifier
 * walks through each. */
#define SEARCH_STEPS 128
#define SEARCH_STEPS_NO_PREV 1024 /* where the next tick can't go on: all in one, some 80 us */
#define SEARCH_CALL_STEPS 4
/* A _PyCFrame: up to 24 bytes (3.11), read with what follows it on the C stack. */
#define CFRAME_WORDS 4
/* How long a thread's interpreter counts as the newest: to make another one takes some 10 ms. */
#define NEWEST_MS 8
#define SEARCH_AGAIN_MIN_MS 8
#define SEARCH_AGAIN_MAX_MS 1024

#ifndef KRAIT_HOST
static __always_inline struct thread_memo *memo_get(struct scratch *s);
static __always_inline void platform_note_crossed(struct scratch *s);
#endif

static __always_inline __u64 ts_word(const struct scratch *s, __u16 off)
{
	return word_at(s->ts + (off & (TSTATE_BYTES - 1)));
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

/*
 * Whether the thread state in s->ts, at address tstate, is known to be in its interpreter's list.
 * Since 3.11 the first one is a part of _PyRuntime, which is never freed (Python/pystate.c,
 * free_threadstate); if it is not in the list any more it runs no frame. So nothing need be looked
 * up.
 */
static __always_inline bool ts_is_listed(struct scratch *s, __u64 tstate)
{
	__u64 prev, link, back = 0;

	if (!s->layout.has_prev)
		return false;
	if (tstate - proc_of(s)->addrs.runtime < proc_of(s)->addrs.runtime_bytes)
		return true;
	prev = ts_word(s, s->layout.ts_prev_off);
	link = prev ? prev + s->layout.ts_next_off
		    : ts_word(s, s->layout.ts_interp_off) + s->layout.interp_threads_off;
	return platform_read_user(&back, sizeof(back), link) == 0 && back == tstate;
}

/*
 * The innermost frame of the thread state in s->ts, into s->frame: 0 where it runs none. False if
 * it can't be read.
 */
static __always_inline bool ts_frame(struct scratch *s)
{
	__u64 cframe[CFRAME_WORDS] = {};
	s->frame = ts_word(s, s->layout.ts_frame_off);
	/* 3.11 and 3.12 keep it one step away, in the _PyCFrame of the innermost C call of the
	 * interpreter. */
	s->cframe_prev = 0;
	/* 3.15 has a frame of no code there: Include/cpython/pystate.h, base_frame. */
	if (s->layout.has_base_frame && s->frame == ts_word(s, s->layout.ts_base_frame_off))
		s->frame = 0;
	if (!s->frame || !s->layout.has_cframe)
		return true;
	if (platform_read_user(cframe, sizeof(cframe), s->frame) != 0)
		return false;
	s->frame = cframe[s->layout.ts_cframe_frame_off / 8 & (CFRAME_WORDS - 1)];
	s->cframe_prev = cframe[s->layout.ts_cframe_prev_off / 8 & (CFRAME_WORDS - 1)];
	return true;
}

/*
 * Whether the state at s->tstate is the thread's own. 2.7 keeps the states of the threads that a
 * fork did not take along (from 3.4 on PyEval_ReInitThreads frees them), with their frames; and
 * libc gives a new thread the memory, so the id, of one of those. Before the new thread has a state
 * and after it had one such a leftover would be found. But only a living thread's state can be the
 * current one, the GIL holder's: that it was seen to be, now or at an earlier tick, is the proof.
 */
static __always_inline bool ts_is_own(struct scratch *s, struct thread_memo *memo)
{
	__u64 current = 0;

	if (!s->layout.fork_keeps_states || !s->needs_own || memo->own_tstate == s->tstate)
		return true;
	if (platform_read_user(&current, sizeof(current), proc_of(s)->addrs.current) != 0 ||
	    current != s->tstate)
		return false;
	memo->own_tstate = current;
	return true;
}

/*
 * Remembers that the thread was found in the evaluation loop with the state in s->ts: runner.h. The
 * main interpreter, the last in the list, is in no doubt.
 */
KRAIT_GLOBAL int runner_note(struct scratch *s)
{
	struct thread_memo *memo;
	__u64 next = 0;

	if (!s)
		return 0;
	platform_read_user(&next, sizeof(next),
			   ts_word(s, s->layout.ts_interp_off) + s->layout.interp_next_off);
	memo = next ? memo_get(s) : NULL;
	if (!memo)
		return 0;
	memo->own_tstate = s->tstate;
	if (!ts_matches(s) && !proc_of(s)->is_crossed)
		platform_note_crossed(s);
	return 0;
}

/* The id of the interpreter that the thread state in s->ts belongs to. */
static __always_inline __u64 interp_id(const struct scratch *s)
{
	__u64 id = 0;

	if (s->layout.has_interp_id)
		platform_read_user(&id, sizeof(id),
				   ts_word(s, s->layout.ts_interp_off) + s->layout.interp_id_off);
	return id;
}

/* Whether the thread state in s->ts is the one that holds its interpreter's GIL; where there is
 * none, the one that has stopped all others. */
static __always_inline bool holds_gil(const struct scratch *s)
{
	__u64 addr = proc_of(s)->addrs.current, holder = 0;

	if (s->layout.collector_kind != KRAIT_COLLECTOR_CURRENT)
		addr = ts_word(s, s->layout.ts_interp_off) + s->layout.interp_gil_off;
	if (s->layout.collector_kind == KRAIT_COLLECTOR_GIL) {
		if (platform_read_user(&addr, sizeof(addr), addr) != 0)
			return 0;
		addr += s->layout.gil_holder_off;
	}
	return platform_read_user(&holder, sizeof(holder), addr) == 0 && holder == s->tstate;
}

/* A number that the interpreter's next collection does not have: 1 more than how many have ended.
 * 0 if it can't be read. */
static __always_inline __u64 collection_num(const struct scratch *s)
{
	/* Include/internal/pycore_gc.h, struct gc_generation_stats: collections, collected,
	 * uncollectable */
	__u64 stats[3][3];

	if (platform_read_user(stats, sizeof(stats),
			       ts_word(s, s->layout.ts_interp_off) +
				       s->layout.interp_gc_stats_off) != 0)
		return 0;
	return 1 + stats[0][0] + stats[1][0] + stats[2][0];
}

/*
 * Whether the thread is the collector of an interpreter without a GIL. That stops the other threads
 * while it looks for garbage, and lets them go on while it frees it (Python/gc_free_threading.c,
 * gc_collect_internal). Then it is the one that was seen to stop them in this same collection, or
 * the only one there is; if neither is known of any, none is.
 */
static __always_inline bool collects_without_gil(struct scratch *s, bool stops_others)
{
	__u64 num = collection_num(s);
	struct thread_memo *memo;

	if (!ts_word(s, s->layout.ts_prev_off) && !ts_word(s, s->layout.ts_next_off))
		return true;
	memo = num ? memo_get(s) : NULL;
	if (!memo)
		return stops_others;
	if (stops_others)
		memo->collection = num;
	return memo->collection == num;
}

/* Whether the thread is the one that collects in its interpreter, which is collecting. */
KRAIT_GLOBAL int is_collector(struct scratch *s)
{
	__u64 frame = 0;
	bool holds;

	if (!s)
		return 0;
	if (s->layout.collector_kind == KRAIT_COLLECTOR_FRAME)
		return platform_read_user(&frame, sizeof(frame),
					  ts_word(s, s->layout.ts_interp_off) +
						  s->layout.interp_gc_frame_off) == 0 &&
		       frame == s->frame;
	holds = holds_gil(s);
	return s->layout.collector_kind == KRAIT_COLLECTOR_STOPPER ? collects_without_gil(s, holds)
								   : holds;
}

/*
 * Whether the thread is collecting garbage: it is in C code, its interpreter is collecting, and it
 * is the collector: its innermost frame is the one that began the collection (3.15), or it holds
 * the GIL, which the collector does not give up. (A finalizer that it calls may, up to 3.14: then
 * another thread that runs meanwhile passes for the collector.)
 */
static __always_inline bool thread_collects(struct scratch *s)
{
	__u64 addr = proc_of(s)->addrs.collecting;
	__u32 collecting = 0;

	if (s->is_in_eval)
		return false;
	if (s->layout.interp_collects)
		addr = ts_word(s, s->layout.ts_interp_off) + s->layout.interp_collecting_off;
	if (!addr || platform_read_user(&collecting, sizeof(collecting), addr) != 0)
		return false;
	return collecting && is_collector(s);
}

/* Puts the search at the head of the interpreter's list, which may be empty. */
static __always_inline bool search_enter(struct scratch *s, __u64 interp)
{
	s->interp = interp;
	return platform_read_user(&s->tstate, sizeof(s->tstate),
				  interp + s->layout.interp_threads_off) == 0;
}

/* Puts it where the last one stopped, if that is still in a list, else at the head of the first. */
static __always_inline bool search_start(struct scratch *s, struct thread_memo *memo)
{
	__u64 interp = 0;

	s->looked_at = s->idle_tstate = s->own_tstate = 0;
	if (platform_read_user(&interp, sizeof(interp), proc_of(s)->addrs.interp_head) != 0 ||
	    !interp)
		return false;
	s->is_shared = runner_prepare(s, interp);
	s->proven_tstate = proc_of(s)->is_crossed ? 0 : memo->own_tstate;
	s->tstate = memo->cursor;
	if (memo->cursor && ts_read(s, memo->cursor) && ts_is_listed(s, memo->cursor))
		return true;
	return search_enter(s, interp);
}

/*
 * Whether the thread state in s->ts is of the newest interpreter there is, so of the only one
 * mostly. Code that enters another interpreter keeps the frames that it has in its own, and what
 * runs is in the one that was made later, or hardly ever not: so they are searched newest first,
 * which is how they are listed (Python/pystate.c, PyInterpreterState_New), and a state in an older
 * one is not believed before the newer ones have been searched. *until_ns: so long it is believed.
 */
static __always_inline bool ts_is_newest(const struct scratch *s, __u64 *until_ns)
{
	__u64 interp = 0;

	if (s->now_ns < *until_ns)
		return true;
	/* Not to be had: searching would not get it either. */
	if (platform_read_user(&interp, sizeof(interp), proc_of(s)->addrs.interp_head) == 0 &&
	    interp != ts_word(s, s->layout.ts_interp_off))
		return false;
	*until_ns = s->now_ns + (__u64)NEWEST_MS * 1000000;
	return true;
}

/*
 * Whether s->tstate is a state of the thread s->key, in the list of the newest interpreter, that
 * runs a frame: then it is in s->ts, and the frame is s->frame. What every tick of a known thread
 * comes down to.
 */
static __always_inline bool thread_runs_at(struct scratch *s, __u64 *newest_until_ns)
{
	return ts_read(s, s->tstate) && ts_matches(s) && ts_is_listed(s, s->tstate) &&
	       ts_frame(s) && s->frame && ts_is_newest(s, newest_until_ns);
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

/* Goes on to the next interpreter. THREAD_SEARCH, or why there is none. */
static __always_inline int search_next_interp(struct scratch *s)
{
	__u64 next = 0;

	if (platform_read_user(&next, sizeof(next), s->interp + s->layout.interp_next_off) != 0)
		return KRAIT_LOSS_RUNTIME_UNREADABLE;
	if (!next)
		return KRAIT_LOSS_NO_PYTHON_THREAD;
	return search_enter(s, next) ? KRAIT_LOSS_THREAD_SEARCH : KRAIT_LOSS_RUNTIME_UNREADABLE;
}

/* Looks at s->tstate and goes on to the one after it. */
static __always_inline int search_state(struct scratch *s)
{
	bool is_own, may_be;

	if (!ts_read(s, s->tstate))
		return KRAIT_LOSS_THREAD_UNREADABLE;
	is_own = ts_matches(s);
	may_be = s->is_shared ? runner_may_be(s, is_own) : is_own;
	if (is_own || may_be) {
		if (!ts_frame(s))
			return KRAIT_LOSS_THREAD_UNREADABLE;
		if (s->frame && may_be && (!s->is_shared || runner_is(s)))
			return KRAIT_LOSS_NONE;
		if (is_own && s->frame)
			s->own_tstate = s->tstate;
		else if (is_own)
			s->idle_tstate = s->tstate;
	}
	s->looked_at = s->tstate;
	s->interp = ts_word(s, s->layout.ts_interp_off);
	s->tstate = ts_word(s, s->layout.ts_next_off);
	return KRAIT_LOSS_THREAD_SEARCH;
}

/*
 * A few steps of the search. NONE: s->tstate is the thread's, and runs s->frame. THREAD_SEARCH: not
 * found yet, and s->tstate is the next, or 0 at a list's end. Else: why there is none.
 */
KRAIT_GLOBAL int search_step(struct scratch *s)
{
	int loss = KRAIT_LOSS_THREAD_SEARCH;

	if (!s)
		return KRAIT_LOSS_THREAD_UNREADABLE;
	for (int i = 0; i < SEARCH_CALL_STEPS && loss == KRAIT_LOSS_THREAD_SEARCH; i++)
		loss = s->tstate ? search_state(s) : search_next_interp(s);
	return loss;
}

/*
 * Whether a thread that had no state has got one since: a C thread that calls Python has a new one
 * in the first interpreter for each call (PyGILState_Ensure), and new ones are put at the list's
 * head. This is for every tick, so it looks at the newest few.
 */
static __always_inline bool thread_has_come(struct scratch *s, const struct thread_memo *memo)
{
	s->is_shared = false; /* in that interpreter ids tell */
	return memo->first_interp && search_enter(s, memo->first_interp) &&
	       search_step(s) == KRAIT_LOSS_NONE;
}

/*
 * Whether the search has passed a state that says it is the thread's and runs a frame, but is not
 * proven, in the main interpreter, the last in the list: nobody but its thread goes into that one
 * with it. (While the GIL is handed over, say.)
 */
static __always_inline bool search_falls_back(struct scratch *s)
{
	s->tstate = s->own_tstate;
	return s->tstate && ts_read(s, s->tstate) && ts_frame(s) && s->frame &&
	       ts_word(s, s->layout.ts_interp_off) == s->interp;
}

static __always_inline enum krait_loss thread_search(struct scratch *s, struct thread_memo *memo)
{
	__u32 steps = s->layout.has_prev ? SEARCH_STEPS : SEARCH_STEPS_NO_PREV;
	int loss = KRAIT_LOSS_THREAD_SEARCH;

	if (!search_start(s, memo))
		return KRAIT_LOSS_RUNTIME_UNREADABLE;
	for (__u32 i = 0; i < steps && loss == KRAIT_LOSS_THREAD_SEARCH; i += SEARCH_CALL_STEPS)
		loss = search_step(s);
	memo->cursor = 0;
	memo->is_shared = s->is_shared;
	if (loss == KRAIT_LOSS_THREAD_SEARCH)
		memo->cursor = s->tstate ? s->tstate : s->looked_at;
	if (loss == KRAIT_LOSS_NO_PYTHON_THREAD && !search_falls_back(s)) {
		memo_none(memo, s->now_ns);
		memo->tstate = s->idle_tstate;
		memo->first_interp = s->interp; /* the last in the list */
		return s->idle_tstate ? KRAIT_LOSS_NO_FRAME : KRAIT_LOSS_NO_PYTHON_THREAD;
	}
	if (loss && loss != KRAIT_LOSS_NO_PYTHON_THREAD)
		return loss;
	if (!ts_is_own(s, memo))
		return KRAIT_LOSS_THREAD_UNPROVEN;
	if (runner_is_by_loop(s) && s->is_in_eval)
		runner_note(s);
	memo->tstate = s->tstate;
	memo->search_again_ms = 0;
	memo->newest_until_ns = 0;
	return KRAIT_LOSS_NONE;
}

/*
 * Puts the state of the thread s->key into s->ts, its address into s->tstate and its innermost
 * frame into s->frame. KRAIT_LOSS_NONE, or why there is none to be had.
 *
 * A thread has a state in each interpreter that it has entered, and the one that runs a frame is
 * wanted, of several the one in the newest interpreter. So a state that runs none sends the search
 * on, but not at every tick: a C thread that calls Python now and then has no other. Where a
 * state's id does not tell who runs it (runner.h) none is kept.
 */
static __always_inline enum krait_loss thread_find(struct scratch *s, struct thread_memo *memo)
{
	s->tstate = memo->tstate;
	if (s->tstate) {
		if (ts_read(s, s->tstate) && ts_matches(s) && ts_is_listed(s, s->tstate)) {
			if (!ts_frame(s))
				return KRAIT_LOSS_THREAD_UNREADABLE;
			if (s->frame && !memo->is_shared && ts_is_newest(s, &memo->newest_until_ns))
				return KRAIT_LOSS_NONE;
			if (s->frame)
				memo->search_at_ns = 0;
			else if (s->now_ns < memo->search_at_ns)
				return KRAIT_LOSS_NO_FRAME;
		} else {
			memo->tstate = 0;
			memo->search_at_ns = 0;
		}
	}
	if (s->now_ns < memo->search_at_ns && !thread_has_come(s, memo))
		return KRAIT_LOSS_NO_PYTHON_THREAD;
	return thread_search(s, memo);
}

#endif
