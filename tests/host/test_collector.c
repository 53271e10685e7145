/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which thread collects garbage: in each of the ways in which the versions tell it, over an
 * interpreter made by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/host/host.h"

#define INTERP 0x100000ULL
#define COLLECTING_OFF 200
#define STATS_OFF 128 /* 72 bytes before the flag */
#define GC_FRAME_OFF 208
#define GIL_OFF 16
#define HOLDER_OFF 8
#define REQUESTER_OFF 240
#define GIL 0x200000ULL
#define CURRENT 0x300000ULL
#define ME 0x400000ULL
#define OTHER 0x500000ULL
#define FRAME 0x600000ULL
#define TS_PREV 0
#define TS_NEXT 8
#define TS_INTERP 16

static void set_ts(int off, uint64_t word)
{
	memcpy(host.scratch->ts + off, &word, 8);
}

/* Two threads, of which the tick hits one in C code; the interpreter is collecting. */
static int setup(void **state)
{
	const struct krait_layout l = {
		.interp_collects = 1,
		.interp_collecting_off = COLLECTING_OFF,
		.collector_kind = KRAIT_COLLECTOR_CURRENT,
		.has_prev = 1,
		.ts_prev_off = TS_PREV,
		.ts_next_off = TS_NEXT,
		.ts_interp_off = TS_INTERP,
	};

	(void)state;
	host_init(&l, 0, 0);
	host.scratch->tstate = ME;
	host.scratch->frame = FRAME;
	set_ts(TS_PREV, OTHER);
	set_ts(TS_INTERP, INTERP);
	host_put(INTERP + COLLECTING_OFF, 1);
	host_put(INTERP + STATS_OFF, 7);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_release();
	return 0;
}

static bool collects(void)
{
	return thread_collects(host.scratch);
}

static void use_current(void)
{
	host_proc()->addrs.current = CURRENT;
	host_put(CURRENT, ME);
}

static void test_holder_in_the_runtime(void **state)
{
	(void)state;
	use_current();
	assert_true(collects());
	host_put(CURRENT, OTHER);
	assert_false(collects());
}

static void test_not_collecting(void **state)
{
	(void)state;
	use_current();
	host_put(INTERP + COLLECTING_OFF, 0);
	assert_false(collects());
	/* It is an int: what lies behind it is another field's. */
	host_put(INTERP + COLLECTING_OFF, 1ULL << 32);
	assert_false(collects());
}

static void test_in_bytecode(void **state)
{
	(void)state;
	use_current();
	host.scratch->is_in_eval = true;
	assert_false(collects());
}

static void test_nowhere_told(void **state)
{
	(void)state;
	use_current();
	host.scratch->layout.interp_collects = 0;
	assert_false(collects());
	host_proc()->addrs.collecting = INTERP + COLLECTING_OFF;
	assert_true(collects());
}

static void test_holder_of_the_interpreters_gil(void **state)
{
	(void)state;
	host.scratch->layout.collector_kind = KRAIT_COLLECTOR_GIL;
	host.scratch->layout.interp_gil_off = GIL_OFF;
	host.scratch->layout.gil_holder_off = HOLDER_OFF;
	host_put(INTERP + GIL_OFF, GIL);
	host_put(GIL + HOLDER_OFF, ME);
	assert_true(collects());
	host_put(GIL + HOLDER_OFF, OTHER);
	assert_false(collects());
	host_put(INTERP + GIL_OFF, 0x900000);
	assert_false(collects());
}

static void test_frame_that_began_it(void **state)
{
	(void)state;
	use_current();
	host.scratch->layout.collector_kind = KRAIT_COLLECTOR_FRAME;
	host.scratch->layout.interp_gc_frame_off = GC_FRAME_OFF;
	host_put(INTERP + GC_FRAME_OFF, FRAME);
	assert_true(collects());
	/* A finalizer, with the GIL. */
	host.scratch->frame = FRAME + 128;
	assert_false(collects());
	host_put(INTERP + GC_FRAME_OFF, 0);
	assert_false(collects());
}

static void use_no_gil(void)
{
	host.scratch->layout.collector_kind = KRAIT_COLLECTOR_STOPPER;
	host.scratch->layout.interp_gil_off = REQUESTER_OFF;
	host.scratch->layout.interp_gc_stats_off = STATS_OFF;
	host_put(INTERP + REQUESTER_OFF, 0);
}

static void test_seen_to_stop_the_others(void **state)
{
	(void)state;
	use_no_gil();
	assert_false(collects());
	host_put(INTERP + REQUESTER_OFF, OTHER);
	assert_false(collects());
	host_put(INTERP + REQUESTER_OFF, ME);
	assert_true(collects());
	/* Now the others run again. */
	host_put(INTERP + REQUESTER_OFF, 0);
	assert_true(collects());
	assert_true(collects());
}

/* Whatever generation it was that has been collected since. */
static void test_next_collection_is_another(void **state)
{
	(void)state;
	for (int generation = 0; generation < 3; generation++) {
		teardown(state);
		setup(state);
		use_no_gil();
		host_put(INTERP + REQUESTER_OFF, ME);
		assert_true(collects());
		host_put(INTERP + REQUESTER_OFF, 0);
		/* collected and uncollectable say nothing. */
		host_put(INTERP + STATS_OFF + generation * 24 + 8, 5);
		host_put(INTERP + STATS_OFF + generation * 24 + 16, 6);
		assert_true(collects());
		host_put(INTERP + STATS_OFF + generation * 24, 8);
		assert_false(collects());
	}
}

static void test_only_thread(void **state)
{
	(void)state;
	use_no_gil();
	set_ts(TS_PREV, 0);
	assert_true(collects());
	set_ts(TS_NEXT, OTHER);
	assert_false(collects());
}

/* Where the numbers can't be read, what can be seen now counts. */
static void test_unreadable_numbers(void **state)
{
	(void)state;
	use_no_gil();
	host_put(INTERP + REQUESTER_OFF, ME);
	host.scratch->layout.interp_gc_stats_off = 4096 + 8;
	assert_true(collects());
	host_put(INTERP + REQUESTER_OFF, 0);
	assert_false(collects());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_holder_in_the_runtime),
		TEST(test_not_collecting),
		TEST(test_in_bytecode),
		TEST(test_nowhere_told),
		TEST(test_holder_of_the_interpreters_gil),
		TEST(test_frame_that_began_it),
		TEST(test_seen_to_stop_the_others),
		TEST(test_next_collection_is_another),
		TEST(test_only_thread),
		TEST(test_unreadable_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
