/* SPDX-License-Identifier: BSD-2-Clause */
/* The ceiling: a model of a krait whose cost follows its rate is told to the governor, second by
 * second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "user/base/clock.h"
#include "user/session/governor.h"

#define CEILING_NS (50 * NS_PER_MS)

/* Seconds of a load that takes `ns` at the full rate. What it took in all. */
static uint64_t run(struct governor *g, uint32_t seconds, uint64_t ns)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < seconds; i++) {
		uint64_t took_ns = ns / governor_weight(g);

		governor_tell(g, took_ns, NS_PER_S);
		sum += took_ns;
	}
	return sum;
}

static void test_below_the_ceiling(void **state)
{
	struct governor g;

	(void)state;
	governor_init(&g, CEILING_NS);
	run(&g, 1000, CEILING_NS);
	assert_int_equal(g.max_step, 0);
	assert_int_equal(g.slow_s, 0);
}

/* A start takes more, and nothing is given up for it. */
static void test_start(void **state)
{
	struct governor g;

	(void)state;
	governor_init(&g, CEILING_NS);
	run(&g, 2, 2 * CEILING_NS);
	run(&g, 100, CEILING_NS / 2);
	assert_int_equal(g.max_step, 0);
	run(&g, 3, 2 * CEILING_NS); /* and so does a burst later on */
	assert_int_equal(g.max_step, 0);
}

/* Whatever the load, a minute takes no more than the ceiling and what was saved. */
static void test_over_the_ceiling(void **state)
{
	(void)state;
	for (uint64_t load_ns = CEILING_NS; load_ns < 32 * CEILING_NS; load_ns += CEILING_NS / 4) {
		struct governor g;
		uint64_t took_ns;

		governor_init(&g, CEILING_NS);
		took_ns = run(&g, 60, load_ns);
		/* The steps down take seconds in which the load is there, each half of the last. */
		assert_in_range(took_ns, 0,
				60 * CEILING_NS + 2 * GOVERNOR_SAVED_S * CEILING_NS + 4 * load_ns);
		took_ns = run(&g, 60, load_ns);
		assert_in_range(took_ns, 0, 60 * CEILING_NS + 2 * GOVERNOR_SAVED_S * CEILING_NS);
	}
}

static void test_scans_go_first(void **state)
{
	struct governor g;

	(void)state;
	governor_init(&g, CEILING_NS);
	assert_int_equal(governor_scan_ns(&g), CEILING_NS / 2);
	while (!g.step)
		governor_tell(&g, 3 * CEILING_NS, NS_PER_S);
	assert_int_equal(governor_weight(&g), 1);
	assert_int_equal(governor_scan_ns(&g), CEILING_NS / 8);
	while (g.step < 2)
		governor_tell(&g, 3 * CEILING_NS, NS_PER_S);
	assert_int_equal(governor_weight(&g), 2);
	for (int i = 0; i < 100; i++)
		governor_tell(&g, 100 * CEILING_NS, NS_PER_S);
	assert_int_equal(governor_weight(&g), 64);
}

static void test_slow_recovery(void **state)
{
	uint32_t seconds = 0;
	struct governor g;

	(void)state;
	governor_init(&g, CEILING_NS);
	run(&g, 60, 8 * CEILING_NS);
	assert_in_range(g.step, 4, 5);
	while (g.step && seconds < 1000) {
		run(&g, 1, CEILING_NS / 100);
		seconds++;
	}
	assert_int_equal(g.step, 0);
	assert_in_range(seconds, 4 * GOVERNOR_CALM_S, 6 * GOVERNOR_CALM_S);
}

/* A second that was late is a longer one, not a dearer one. */
static void test_long_seconds(void **state)
{
	struct governor g;

	(void)state;
	governor_init(&g, CEILING_NS);
	for (int i = 0; i < 20; i++)
		governor_tell(&g, 5 * CEILING_NS, 5 * NS_PER_S);
	assert_int_equal(g.max_step, 0);
}

static void test_ceiling(void **state)
{
	(void)state;
	assert_int_equal(governor_ceiling_ns(0, 1), CEILING_NS);
	assert_int_equal(governor_ceiling_ns(0, 2), CEILING_NS);
	assert_int_equal(governor_ceiling_ns(0, 64), 640 * NS_PER_MS);
	assert_int_equal(governor_ceiling_ns(1, 2), 20 * NS_PER_MS);
	assert_int_equal(governor_ceiling_ns(100, 2), 2 * NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_below_the_ceiling), cmocka_unit_test(test_start),
		cmocka_unit_test(test_over_the_ceiling),  cmocka_unit_test(test_scans_go_first),
		cmocka_unit_test(test_slow_recovery),	  cmocka_unit_test(test_long_seconds),
		cmocka_unit_test(test_ceiling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
