/* SPDX-License-Identifier: BSD-2-Clause */
/* What an id means, and to whom: two processes whose ids are the same, and what has no id at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/aggregated.h"

/* Records of two processes with the same ids, in any order, as if one had found out how to make its
 * hashes equal the other's: each has its own names. */
static void test_forged_ids_name_nobody_else(void **state)
{
	(void)state;
	info(7, "victim");
	info(66, "forger");
	ids_of = 66;
	code(0xa, "forged", 1);
	stack(1, 0xa, 0);
	sample(1, 66);
	sample(1, 7); /* nothing has come of the victim's */
	assert_int_equal(profile()->events[0].unnamed_cnt, 1);
	three_functions_of(7);
	sample(1, 7);
	ids_of = 66;
	code(0xb, "forged later", 2);
	code(0xc, "forged again", 3);
	stack(1, 0xb, 0);
	stack(2, 0xc, 0);
	sample(1, 66);
	sample(2, 7);
	sample(1, 7);
	/* Code that the victim's stack names and that only the forger has told of. */
	code(0xd, "forged code", 4);
	ids_of = 7;
	stack(3, 0xd, 0xb);
	sample(3, 7);
	assert_profile("66 \"forger\" 66 \"\": forged:1 = 1\n"
		       "66 \"forger\" 66 \"\": forged later:2 = 1\n"
		       "7 \"victim\" 7 \"\": a:10 < b:20 = 2\n"
		       "7 \"victim\" 7 \"\": c:30 < b:20 = 1\n"
		       "7 \"victim\" 7 \"\": [unreadable: code object lost]:0 < b:20 = 1\n");
}

/* The same of one that had the victim's pid before. */
static void test_ids_of_the_dead_name_nobody(void **state)
{
	static const uint16_t ends[] = {KRAIT_PROCESS_EXIT, KRAIT_PROCESS_EXEC, KRAIT_PROCESS_FORK};

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		info(7, "forger");
		code(0xa, "forged", 1);
		stack(1, 0xa, 0);
		event(ends[i], 7);
		info(7, "victim");
		stack(2, 0xa, 0);
		sample(1, 7);
		sample(2, 7);
	}
	assert_int_equal(profile()->events[0].unnamed_cnt, 3);
	assert_profile("7 \"victim\" 7 \"\": [unreadable: code object lost]:0 = 1\n"
		       "7 \"victim\" 7 \"\": [unreadable: code object lost]:0 = 1\n"
		       "7 \"victim\" 7 \"\": [unreadable: code object lost]:0 = 1\n");
}

/* A thread that was on a CPU outside of Python has a sample like any other, and is counted apart.
 */
static void test_outside_of_python(void **state)
{
	struct krait_frame frames[] = {{.mark = KRAIT_MARK_OUTSIDE}, {.code_id = 0xa}};

	(void)state;
	info(7, "p");
	three_functions();
	stack_flags(3, 0, 1, frames);
	stack_flags(4, 0, 2, frames);
	sample_of(3, 7, 7, 5);
	sample_of(1, 7, 7, 2);
	sample_of(3, 7, 8, 1);
	sample_of(4, 7, 8, 1);
	assert_profile("7 \"p\" 7 \"\": a:10 < b:20 = 2\n"
		       "7 \"p\" 7 \"\": [outside of Python]:0 = 5\n"
		       "7 \"p\" 8 \"\": [outside of Python]:0 = 1\n"
		       "7 \"p\" 8 \"\": [outside of Python]:0 < a:10 = 1\n");
	assert_int_equal(profile()->events[0].outside_cnt, 6);
	assert_int_equal(profile()->events[0].total_cnt, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_forged_ids_name_nobody_else, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ids_of_the_dead_name_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outside_of_python, setup, teardown),
	};

	return cmocka_run_group_tests_name("aggregate ids", tests, NULL, NULL);
}
