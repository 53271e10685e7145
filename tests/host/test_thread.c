/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding the thread state: over thread lists made by hand (the layout of CPython 3.11), where each
 * link can be broken in turn, and over real interpreters with many threads and with
 * subinterpreters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/host/host.h"
#include "tests/host/python.h"
#include "user/python/layout.h"

#define HEAD 0x10000ULL
#define CURRENT 0x11000ULL
#define MS 1000000ULL
/* Reads of one tick: to start, the memo's state; and of each state looked at itself and, behind a
 * list's end, the next interpreter and its head. */
#define TICK_READS_MAX (6 + 3 * SEARCH_STEPS)

/* ---- Lists made by hand ---- */

static uint64_t interp_addr(uint32_t i)
{
	return 0x20000 + i * 0x1000ULL;
}

static uint64_t ts_addr(uint32_t i)
{
	return 0x1000000 + i * 0x200ULL;
}

static uint64_t id_of(uint32_t i)
{
	return 0x7f0000000000 + i * 0x1000ULL;
}

static const struct krait_layout *by_hand; /* NULL: 3.11 */

static const struct krait_layout *layout(void)
{
	return by_hand ? by_hand : &layout_of_version(3, 11)->walk;
}

/* Makes the states [first, first + cnt) interpreter i's list. */
static void put_list(uint32_t i, uint32_t first, uint32_t cnt)
{
	host_put(interp_addr(i) + layout()->interp_threads_off, cnt ? ts_addr(first) : 0);
	for (uint32_t k = first; k < first + cnt; k++) {
		if (layout()->has_prev)
			host_put(ts_addr(k) + layout()->ts_prev_off,
				 k > first ? ts_addr(k - 1) : 0);
		host_put(ts_addr(k) + layout()->ts_next_off,
			 k + 1 < first + cnt ? ts_addr(k + 1) : 0);
		host_put(ts_addr(k) + layout()->ts_interp_off, interp_addr(i));
		host_put(ts_addr(k) + layout()->ts_thread_id_off, id_of(k));
		if (layout()->has_native_id)
			host_put(ts_addr(k) + layout()->ts_native_id_off, 1000 + k);
		host_put(ts_addr(k) + layout()->ts_frame_off, 0x900000);
	}
}

/* Chains interpreters 0 .. cnt - 1. */
static void put_interps(uint32_t cnt)
{
	host_put(HEAD, interp_addr(0));
	for (uint32_t i = 0; i < cnt; i++)
		host_put(interp_addr(i) + layout()->interp_next_off,
			 i + 1 < cnt ? interp_addr(i + 1) : 0);
}

static int setup(void **state)
{
	(void)state;
	host_init(layout(), HEAD, 0);
	put_interps(1);
	put_list(0, 0, 1);
	/* Where a state's _PyCFrame leads: an innermost frame. */
	if (layout()->has_cframe)
		host_put(0x900000 + layout()->ts_cframe_frame_off, 0x901000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_release();
	return 0;
}

static enum krait_loss find(uint64_t thread_id, uint64_t now_ns)
{
	enum krait_loss loss;

	host.read_cnt = 0;
	host.scratch->tstate = 0;
	host.scratch->key = (struct thread_key){.thread_id = thread_id};
	host.scratch->now_ns = now_ns;
	loss = thread_find(host.scratch, &host.memo);
	assert_true(host.read_cnt <= (by_hand ? 6 + 3 * SEARCH_STEPS_NO_PREV : TICK_READS_MAX));
	return loss;
}

static void assert_found(uint32_t i, uint64_t now_ns)
{
	assert_int_equal(find(id_of(i), now_ns), KRAIT_LOSS_NONE);
	assert_int_equal(host.scratch->tstate, ts_addr(i));
	assert_int_equal(ts_word(host.scratch, layout()->ts_thread_id_off), id_of(i));
}

static void test_found_wherever_it_is(void **state)
{
	(void)state;
	put_interps(3);
	put_list(0, 0, 5);
	put_list(1, 5, 1);
	put_list(2, 6, 7);
	for (uint32_t i = 0; i < 13; i++) {
		memset(&host.memo, 0, sizeof(host.memo));
		assert_found(i, 1);
	}
}

/* A _PyCFrame that still leads to where an earlier call was, whose memory is gone: a marker stands
 * for the frames of the call, above its caller; with no caller there is no stack. */
static void test_call_that_cannot_be_read(void **state)
{
	const struct krait_frame *frames = stack_frames(host.stack);
	uint64_t caller = 0x911000, code = 0x920000;

	(void)state;
	host_put(0x900000 + layout()->ts_cframe_prev_off, ts_addr(0) + 64);
	assert_found(0, 1);
	assert_int_equal(host_walk_stack(), KRAIT_LOSS_THREAD_UNREADABLE);
	host_put(0x900000 + layout()->ts_cframe_prev_off, 0x910000);
	host_put(0x910000 + layout()->ts_cframe_frame_off, caller);
	host_put(caller + layout()->fr_code_off, code);
	host_put(caller + layout()->fr_prev_off, 0);
	assert_found(0, 2);
	assert_int_equal(host_walk_stack(), KRAIT_LOSS_NONE);
	assert_int_equal(host.scratch->walk.cnt, 2);
	assert_int_equal(frames[0].mark, KRAIT_FAULT_FRAME_UNREADABLE);
	assert_int_equal(frames[1].code_id, code);
}

static void test_memo_spares_the_search(void **state)
{
	(void)state;
	put_list(0, 0, 100);
	assert_found(99, 1);
	assert_true(host.read_cnt > 100);
	assert_found(99, 2);
	/* The state, who points to it, its frame; and now and then which interpreter is the newest.
	 */
	assert_int_equal(host.read_cnt, 4);
	assert_found(99, 3);
	assert_int_equal(host.read_cnt, 3);
	assert_found(99, 2 + NEWEST_MS * MS);
	assert_int_equal(host.read_cnt, 4);
}

/* A thread that enters another interpreter has frames in both. */
static void test_newer_interpreters_come_first(void **state)
{
	uint64_t cframe = 0x910000 + layout()->ts_cframe_frame_off, now = 1;

	(void)state;
	put_interps(2);
	host_put(HEAD, interp_addr(1));
	put_list(1, 1, 1);
	put_list(0, 0, 1);
	host_put(ts_addr(0) + layout()->ts_thread_id_off, id_of(1));
	host_put(ts_addr(0) + layout()->ts_frame_off, 0x910000);
	assert_found(1, now++);
	assert_found(1, now++);
	/* Another one is made: soon noticed. */
	host_put(HEAD, interp_addr(0));
	now += NEWEST_MS * MS;
	for (uint64_t i = 0; i < 5; i++) {
		host_put(cframe, 0x911000);
		assert_int_equal(find(id_of(1), now++), KRAIT_LOSS_NONE);
		assert_int_equal(host.scratch->tstate, ts_addr(0));
		host_put(cframe, 0);
		assert_found(1, now++);
	}
}

static void test_native_id_where_there_is_no_pthread_self(void **state)
{
	(void)state;
	put_list(0, 0, 9);
	host.scratch->key = (struct thread_key){.native_id = 1007};
	assert_int_equal(thread_find(host.scratch, &host.memo), KRAIT_LOSS_NONE);
	assert_int_equal(host.scratch->tstate, ts_addr(7));
}

static void test_long_list_goes_on_at_the_next_tick(void **state)
{
	uint32_t last = 3 * SEARCH_STEPS - 1;

	(void)state;
	put_list(0, 0, last + 1);
	assert_int_equal(find(id_of(last), 1), KRAIT_LOSS_THREAD_SEARCH);
	assert_int_equal(find(id_of(last), 2), KRAIT_LOSS_THREAD_SEARCH);
	assert_found(last, 3);
	assert_int_equal(host.memo.cursor, 0);
}

static void test_long_search_starts_over_when_its_place_is_gone(void **state)
{
	(void)state;
	put_list(0, 0, 2 * SEARCH_STEPS);
	assert_int_equal(find(id_of(SEARCH_STEPS + 7), 1), KRAIT_LOSS_THREAD_SEARCH);
	assert_int_equal(host.memo.cursor, ts_addr(SEARCH_STEPS));
	/* That thread ends: its neighbours close the gap. Its memory stays as it was. */
	host_put(ts_addr(SEARCH_STEPS - 1) + layout()->ts_next_off, ts_addr(SEARCH_STEPS + 1));
	host_put(ts_addr(SEARCH_STEPS + 1) + layout()->ts_prev_off, ts_addr(SEARCH_STEPS - 1));
	assert_int_equal(find(id_of(SEARCH_STEPS + 7), 2), KRAIT_LOSS_THREAD_SEARCH);
	assert_found(SEARCH_STEPS + 7, 3);
}

static void test_list_in_a_circle_is_bounded(void **state)
{
	(void)state;
	put_list(0, 0, 10);
	host_put(ts_addr(9) + layout()->ts_next_off, ts_addr(0));
	for (uint64_t tick = 1; tick < 100; tick++)
		assert_int_equal(find(id_of(77), tick), KRAIT_LOSS_THREAD_SEARCH);
	assert_found(9, 100);
}

static void test_interpreters_in_a_circle_are_bounded(void **state)
{
	(void)state;
	put_interps(2);
	put_list(1, 1, 1);
	host_put(interp_addr(1) + layout()->interp_next_off, interp_addr(0));
	for (uint64_t tick = 1; tick < 100; tick++)
		assert_int_equal(find(id_of(77), tick), KRAIT_LOSS_THREAD_SEARCH);
	put_list(1, 1, 0);
	for (uint64_t tick = 100; tick < 200; tick++)
		assert_true(find(id_of(77), tick) != KRAIT_LOSS_NONE);
}

/* A BLAS worker: no state, and no search at every tick. */
static void test_none_pauses_ever_longer(void **state)
{
	static const uint32_t pauses_ms[] = {8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024};
	uint64_t now = 5 * MS;

	(void)state;
	for (size_t i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
		assert_int_equal(find(id_of(5), now), KRAIT_LOSS_NO_PYTHON_THREAD);
		assert_true(host.read_cnt > 0);
		assert_int_equal(find(id_of(5), now + 1), KRAIT_LOSS_NO_PYTHON_THREAD);
		assert_true(host.read_cnt <= 2 + SEARCH_CALL_STEPS);
		now += pauses_ms[i] * MS;
		assert_int_equal(find(id_of(5), now - 1), KRAIT_LOSS_NO_PYTHON_THREAD);
		assert_true(host.read_cnt <= 2 + SEARCH_CALL_STEPS);
	}
	/* It calls into Python now, and others since: found at the next search, and the pauses
	 * start anew. */
	put_list(0, 0, 6);
	assert_found(5, now);
	put_list(0, 0, 6);
	host_put(ts_addr(4) + layout()->ts_next_off, 0);
	assert_int_equal(find(id_of(5), now + 1), KRAIT_LOSS_NO_PYTHON_THREAD);
	put_list(0, 0, 6);
	assert_found(5, now + 1 + SEARCH_AGAIN_MIN_MS * MS);
}

/* A C thread that has a new state for each call, the newest of all. */
static void test_none_sees_a_new_state_at_once(void **state)
{
	(void)state;
	put_interps(3);
	put_list(2, 1, 100);
	for (uint64_t now = 1; now < 10; now++) {
		assert_int_equal(find(id_of(200), now), KRAIT_LOSS_NO_PYTHON_THREAD);
		put_list(2, 200 - now % 4, 100);
		assert_found(200, now);
		put_list(2, 1, 100);
		host_put(ts_addr(199) + layout()->ts_next_off, 0);
	}
}

/* Freed memory can keep the right thread id: only what is in the list counts. */
static void test_stale_memo_is_dropped(void **state)
{
	(void)state;
	put_list(0, 0, 3);
	assert_found(1, 1);
	/* Out of the list, its bytes untouched: the thread has no Python state any more. */
	host_put(ts_addr(0) + layout()->ts_next_off, ts_addr(2));
	host_put(ts_addr(2) + layout()->ts_prev_off, ts_addr(0));
	assert_int_equal(find(id_of(1), 2), KRAIT_LOSS_NO_PYTHON_THREAD);
	assert_int_equal(host.memo.tstate, 0);
	/* A new state of the same thread, elsewhere. */
	host_put(ts_addr(2) + layout()->ts_thread_id_off, id_of(1));
	assert_int_equal(find(id_of(1), 2 + 8 * MS), KRAIT_LOSS_NONE);
	assert_int_equal(host.scratch->tstate, ts_addr(2));
}

static void test_stale_memo_at_the_head_is_dropped(void **state)
{
	(void)state;
	put_list(0, 0, 2);
	assert_found(0, 1);
	host_put(interp_addr(0) + layout()->interp_threads_off, ts_addr(1));
	host_put(ts_addr(1) + layout()->ts_prev_off, 0);
	assert_int_equal(find(id_of(0), 2), KRAIT_LOSS_NO_PYTHON_THREAD);
}

/* A state that is a part of _PyRuntime needs no look at the list; the one after it does. */
static void test_state_of_the_runtime_is_never_freed(void **state)
{
	(void)state;
	put_list(0, 0, 2);
	host_proc()->addrs.runtime = ts_addr(0);
	host_proc()->addrs.runtime_bytes = ts_addr(1) - ts_addr(0);
	assert_true(ts_read(host.scratch, ts_addr(0)) && ts_is_listed(host.scratch, ts_addr(0)));
	assert_true(ts_read(host.scratch, ts_addr(1)) && ts_is_listed(host.scratch, ts_addr(1)));
	host_put(interp_addr(0) + layout()->interp_threads_off, 0);
	host_put(ts_addr(0) + layout()->ts_next_off, 0);
	assert_true(ts_read(host.scratch, ts_addr(0)) && ts_is_listed(host.scratch, ts_addr(0)));
	assert_true(ts_read(host.scratch, ts_addr(1)));
	assert_false(ts_is_listed(host.scratch, ts_addr(1)));
	host_proc()->addrs.runtime_bytes = 0;
	assert_true(ts_read(host.scratch, ts_addr(0)));
	assert_false(ts_is_listed(host.scratch, ts_addr(0)));
}

static void test_memo_of_another_thread_is_dropped(void **state)
{
	(void)state;
	put_list(0, 0, 3);
	assert_found(1, 1);
	/* The memory was used again, for another thread's state. */
	host_put(ts_addr(1) + layout()->ts_thread_id_off, id_of(7));
	host_put(ts_addr(2) + layout()->ts_thread_id_off, id_of(1));
	assert_int_equal(find(id_of(1), 2), KRAIT_LOSS_NONE);
	assert_int_equal(host.scratch->tstate, ts_addr(2));
}

/* 3.13's interpreters.create() leaves an interpreter without any thread state. */
static void test_empty_interpreters_are_passed(void **state)
{
	(void)state;
	put_interps(5);
	put_list(0, 0, 0);
	put_list(1, 0, 2);
	put_list(2, 0, 0);
	put_list(3, 2, 2);
	put_list(4, 0, 0);
	for (uint32_t i = 0; i < 4; i++) {
		memset(&host.memo, 0, sizeof(host.memo));
		assert_found(i, 1);
	}
	assert_int_equal(find(id_of(9), 2), KRAIT_LOSS_NO_PYTHON_THREAD);
}

/* One thread, a state in each of three interpreters: the one that runs a frame is the one. */
static void test_state_that_runs_is_preferred(void **state)
{
	(void)state;
	put_interps(3);
	for (uint32_t i = 0; i < 3; i++) {
		put_list(i, i, 1);
		host_put(ts_addr(i) + layout()->ts_thread_id_off, id_of(0));
		host_put(ts_addr(i) + layout()->ts_frame_off, 0x900000 + i * 0x1000);
		host_put(0x900000 + i * 0x1000 + layout()->ts_cframe_frame_off, 0);
	}
	for (uint64_t i = 0; i < 6; i++) {
		uint64_t cframe = 0x900000 + i % 3 * 0x1000 + layout()->ts_cframe_frame_off;

		/* None runs: idle, and not searched at every tick. */
		assert_int_equal(find(id_of(0), i * 4096 * MS), KRAIT_LOSS_NO_FRAME);
		assert_int_equal(find(id_of(0), i * 4096 * MS + 1), KRAIT_LOSS_NO_FRAME);
		assert_true(host.read_cnt <= 3);
		host_put(cframe, 0x901000 + i);
		assert_int_equal(find(id_of(0), (i * 4096 + 2048) * MS), KRAIT_LOSS_NONE);
		assert_int_equal(host.scratch->tstate, ts_addr(i % 3));
		assert_int_equal(host.scratch->frame, 0x901000 + i);
		host_put(cframe, 0);
	}
}

/* A search that stops between two interpreters goes on there. */
static void test_long_search_passes_empty_interpreters(void **state)
{
	(void)state;
	put_interps(20);
	for (uint32_t i = 0; i < 19; i++)
		put_list(i, i, 0);
	for (uint32_t cnt = SEARCH_STEPS - 21; cnt < SEARCH_STEPS + 3; cnt++) {
		uint64_t now = cnt;

		put_list(0, 0, cnt);
		put_list(19, cnt, 1);
		memset(&host.memo, 0, sizeof(host.memo));
		if (find(id_of(cnt), now) == KRAIT_LOSS_THREAD_SEARCH)
			assert_found(cnt, now);
		assert_int_equal(host.scratch->tstate, ts_addr(cnt));
	}
}

/* A state or a link that is not readable is a loss, not "no thread". */
static void test_unreadable_links_are_losses(void **state)
{
	static const uint64_t bad[] = {0xffff888000000000ULL, 0x40, 1, UINT64_MAX, 0x1000004};

	(void)state;
	put_list(0, 0, 3);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		host_put(ts_addr(1) + layout()->ts_next_off, bad[i]);
		assert_int_equal(find(id_of(2), i), KRAIT_LOSS_THREAD_UNREADABLE);
	}
	put_list(0, 0, 3);
	host_put(HEAD, 0xffff888000000000ULL);
	assert_int_equal(find(id_of(2), 10), KRAIT_LOSS_RUNTIME_UNREADABLE);
	host_put(HEAD, 0);
	assert_int_equal(find(id_of(2), 11), KRAIT_LOSS_RUNTIME_UNREADABLE);
	host_put(HEAD, interp_addr(0));
	host_proc()->addrs.interp_head = 0xffff888000000000ULL;
	assert_int_equal(find(id_of(2), 12), KRAIT_LOSS_RUNTIME_UNREADABLE);
	host_proc()->addrs.interp_head = HEAD;
	host_put(interp_addr(0) + layout()->interp_next_off, 0xffff888000000000ULL);
	assert_int_equal(find(id_of(7), 13), KRAIT_LOSS_RUNTIME_UNREADABLE);
	/* None of it made krait give the thread up. */
	assert_found(2, 14);
}

/* ---- 2.7, whose states do not point back ---- */

static int setup_27(void **state)
{
	by_hand = &layout_of_version(2, 7)->walk;
	return setup(state);
}

static int teardown_27(void **state)
{
	by_hand = NULL;
	return teardown(state);
}

static void test_without_links_back_each_tick_searches(void **state)
{
	(void)state;
	put_list(0, 0, 100);
	for (uint64_t tick = 1; tick < 4; tick++) {
		assert_found(99, tick);
		assert_true(host.read_cnt > 100);
	}
	/* Out of the list, its bytes untouched. */
	host_put(ts_addr(98) + layout()->ts_next_off, 0);
	assert_int_equal(find(id_of(99), 4), KRAIT_LOSS_NO_PYTHON_THREAD);
	assert_int_equal(find(id_of(99), 5), KRAIT_LOSS_NO_PYTHON_THREAD);
	assert_true(host.read_cnt <= 2 + SEARCH_CALL_STEPS);
}

static void test_without_links_back_a_search_is_whole(void **state)
{
	(void)state;
	put_list(0, 0, SEARCH_STEPS_NO_PREV);
	assert_found(SEARCH_STEPS_NO_PREV - 1, 1);
	/* Longer is not found, never continued in what may be freed by then, and bounded. */
	put_list(0, 0, SEARCH_STEPS_NO_PREV + 1);
	for (uint64_t tick = 2; tick < 5; tick++)
		assert_int_equal(find(id_of(SEARCH_STEPS_NO_PREV), tick), KRAIT_LOSS_THREAD_SEARCH);
	host_put(ts_addr(9) + layout()->ts_next_off, ts_addr(0));
	assert_int_equal(find(id_of(77), 5), KRAIT_LOSS_THREAD_SEARCH);
}

/* In a forked 2.7 a state may be one that the fork left behind. */
static void test_after_a_fork_a_state_is_proven(void **state)
{
	(void)state;
	put_list(0, 0, 3);
	host.scratch->needs_own = 1;
	host_proc()->addrs.current = CURRENT;
	host_put(CURRENT, 0);
	assert_int_equal(find(id_of(1), 1), KRAIT_LOSS_THREAD_UNPROVEN);
	host_put(CURRENT, ts_addr(2));
	assert_int_equal(find(id_of(1), 2), KRAIT_LOSS_THREAD_UNPROVEN);
	host_put(CURRENT, ts_addr(1));
	assert_found(1, 3);
	/* It has released the GIL. */
	host_put(CURRENT, ts_addr(2));
	assert_found(1, 4);
	/* A state with its id that it never ran: left behind, now that its own is gone. */
	host_put(CURRENT, ts_addr(0));
	host_put(ts_addr(0) + layout()->ts_next_off, ts_addr(2));
	host_put(ts_addr(2) + layout()->ts_thread_id_off, id_of(1));
	assert_int_equal(find(id_of(1), 5), KRAIT_LOSS_THREAD_UNPROVEN);
	/* What another thread has proven is of no use to this one. */
	put_list(0, 0, 3);
	memset(&host.memo, 0, sizeof(host.memo));
	assert_int_equal(find(id_of(1), 6), KRAIT_LOSS_THREAD_UNPROVEN);
	host_proc()->addrs.current = 0xffff888000000000ULL;
	assert_int_equal(find(id_of(1), 7), KRAIT_LOSS_THREAD_UNPROVEN);
}

/* ---- Real threads ---- */

/* The lines of frames are threads here: "0 <ident> x". */
static const char many_threads[] =
	"import os, threading, time\n" SCRIPT_GET_IDENT "threading.stack_size(262144)\n"
	"ids = []\n"
	"def work():\n"
	"    ids.append(get_ident()); os.read(0, 1)\n"
	"for i in range(300):\n"
	"    t = threading.Thread(target=work)\n"
	"    t.daemon = True\n"
	"    t.start()\n"
	"while len(ids) < 300: time.sleep(0.005)\n"
	"text = '%x\\n' % get_ident() + ''.join('0\\t%x\\tx\\n' % i for i in ids) + '.\\n'\n"
	"os.write(1, text.encode())\n"
	"os.read(0, 1)\n";

static void test_each_of_many_threads(const struct python *py)
{
	struct parked p;

	parked_init(&p, py, many_threads, "0");
	assert_int_equal(p.frame_cnt, 300);
	for (uint32_t i = 0; i < p.frame_cnt; i++) {
		uint64_t id = strtoull(p.frames[i].name, NULL, 16);
		enum krait_loss loss = KRAIT_LOSS_THREAD_SEARCH;

		memset(&host.memo, 0, sizeof(host.memo));
		for (int tick = 1; tick <= 3 && loss == KRAIT_LOSS_THREAD_SEARCH; tick++)
			loss = host_tick(id, tick);
		assert_int_equal(loss, KRAIT_LOSS_NONE);
		assert_int_equal(ts_word(host.scratch, host.scratch->layout.ts_thread_id_off), id);
		assert_string_equal(
			symbolizer_frame(host.sym, OWNER, stack_frames(host.stack)).name, "work");
	}
	parked_release(&p);
}

/*
 * Subinterpreters that run nothing, made by the main thread; argv 0: that one parks, 1: another
 * one. Before 3.8 there is no module for them, so they are made through the C API.
 */
static const char subinterpreters[] =
	"import os, sys, threading\n" SCRIPT_GET_IDENT "def create():\n"
	"    import ctypes\n"
	"    api = ctypes.pythonapi\n"
	"    make, get, swap = api.Py_NewInterpreter, api.PyThreadState_Get, "
	"api.PyThreadState_Swap\n"
	"    make.restype = get.restype = swap.restype = ctypes.c_void_p\n"
	"    swap.argtypes = [ctypes.c_void_p]\n"
	"    mine = get()\n"
	"    made = make()\n"
	"    swap(mine)\n"
	"    return made\n"
	"try: from _interpreters import create\n"
	"except ImportError:\n"
	"    try: from _xxsubinterpreters import create\n"
	"    except ImportError: pass\n"
	"kept = [create() for i in range(3)]\n"
	"def park():\n"
	"    lines, f = ['%x' % get_ident()], sys._getframe()\n"
	"    while f:\n"
	"        name = getattr(f.f_code, 'co_qualname', f.f_code.co_name)\n"
	"        first = f.f_code.co_firstlineno\n"
	"        line = first + 11 if f.f_code is park.__code__ else f.f_lineno\n"
	"        lines.append('%d\\t%s\\t%s' % (line, name, f.f_code.co_filename))\n"
	"        f = f.f_back\n"
	"    text = '\\n'.join(lines) + '\\n.\\n'\n"
	"    os.write(1, text.encode())\n"
	"\n"
	"    os.read(0, 1)\n"
	"if sys.argv[1] == '0':\n"
	"    park()\n"
	"else:\n"
	"    t = threading.Thread(target=park)\n"
	"    t.start(); t.join()\n";

static void subinterpreters_beside(const struct python *py, const char *which)
{
	struct parked p;

	parked_init(&p, py, subinterpreters, which);
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	assert_frames(&p, p.frame_cnt);
	parked_release(&p);
}

static void test_main_thread_beside_idle_subinterpreters(const struct python *py)
{
	subinterpreters_beside(py, "0");
}

static void test_new_thread_beside_idle_subinterpreters(const struct python *py)
{
	subinterpreters_beside(py, "1");
}

#define BY_HAND(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define BY_HAND_27(test) cmocka_unit_test_setup_teardown(test, setup_27, teardown_27)

int main(void)
{
	static const struct python_test real[] = {
		{"each_of_many_threads", test_each_of_many_threads},
		{"main_thread_beside_idle_subinterpreters",
		 test_main_thread_beside_idle_subinterpreters},
		{"new_thread_beside_idle_subinterpreters",
		 test_new_thread_beside_idle_subinterpreters},
	};
	const struct CMUnitTest lists[] = {
		BY_HAND(test_found_wherever_it_is),
		BY_HAND(test_call_that_cannot_be_read),
		BY_HAND(test_memo_spares_the_search),
		BY_HAND(test_newer_interpreters_come_first),
		BY_HAND(test_native_id_where_there_is_no_pthread_self),
		BY_HAND(test_long_list_goes_on_at_the_next_tick),
		BY_HAND(test_long_search_starts_over_when_its_place_is_gone),
		BY_HAND(test_list_in_a_circle_is_bounded),
		BY_HAND(test_interpreters_in_a_circle_are_bounded),
		BY_HAND(test_none_pauses_ever_longer),
		BY_HAND(test_none_sees_a_new_state_at_once),
		BY_HAND(test_stale_memo_is_dropped),
		BY_HAND(test_stale_memo_at_the_head_is_dropped),
		BY_HAND(test_state_of_the_runtime_is_never_freed),
		BY_HAND(test_memo_of_another_thread_is_dropped),
		BY_HAND(test_empty_interpreters_are_passed),
		BY_HAND(test_state_that_runs_is_preferred),
		BY_HAND(test_long_search_passes_empty_interpreters),
		BY_HAND(test_unreadable_links_are_losses),
		BY_HAND_27(test_without_links_back_each_tick_searches),
		BY_HAND_27(test_without_links_back_a_search_is_whole),
		BY_HAND_27(test_after_a_fork_a_state_is_proven),
	};
	int failed = cmocka_run_group_tests_name("host thread", lists, NULL, NULL);

	return failed + python_tests_run("host thread, real", real, sizeof(real) / sizeof(real[0]));
}
