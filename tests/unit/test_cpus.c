// SPDX-License-Identifier: BSD-2-Clause
/* Lists of CPUs as the kernel prints them, and for how many krait makes room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "user/session/cpus.h"

#define CNT 16

static void assert_online(const char *text, const char *expected)
{
	bool online[CNT];
	char got[CNT + 1] = "";

	memset(online, true, sizeof(online));
	assert_true(cpus_parse(text, online, CNT));
	for (int i = 0; i < CNT; i++)
		got[i] = online[i] ? '1' : '0';
	assert_string_equal(got, expected);
}

static void test_lists(void **state)
{
	(void)state;
	assert_online("0\n", "1000000000000000");
	assert_online("0-1\n", "1100000000000000");
	assert_online("0-1,3,5-7\n", "1101011100000000");
	assert_online("15", "0000000000000001");
	/* More than are possible: the rest is left out. */
	assert_online("14-2000000000\n", "0000000000000011");
}

static void test_no_lists(void **state)
{
	static const char *const wrong[] = {"", "\n", "x", "-1", "3-", "5-2", "1,x", "1 2", "1--2"};
	bool online[CNT];

	(void)state;
	memset(online, true, sizeof(online));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_false(cpus_parse(wrong[i], online, CNT));
		for (int cpu = 0; cpu < CNT; cpu++)
			assert_true(online[cpu]);
	}
}

static int room_of(int possible, const char *text)
{
	struct cpus cpus = {.possible = possible, .online_fd = -1};
	int room;

	cpus.online = calloc(possible, sizeof(*cpus.online));
	assert_non_null(cpus.online);
	assert_true(cpus_parse(text, cpus.online, possible));
	room = cpus_room(&cpus);
	cpus_release(&cpus);
	return room;
}

static void test_room(void **state)
{
	(void)state;
	assert_int_equal(room_of(2, "0-1"), 2);
	assert_int_equal(room_of(64, "0-63"), 64);
	assert_int_equal(room_of(256, "0-255"), 256);
	/* A virtual machine of two CPUs, to which more can be added. */
	assert_int_equal(room_of(240, "0-1"), 2 + CPUS_TO_COME);
	/* Numbers have gaps: those behind count. */
	assert_int_equal(room_of(240, "0,100"), 101 + CPUS_TO_COME);
	assert_int_equal(room_of(64, "0-60"), 64);
}

static void test_of_this_host(void **state)
{
	struct cpus cpus;
	int online = 0;

	(void)state;
	assert_int_equal(cpus_init(&cpus), 0);
	for (int cpu = 0; cpu < cpus.possible; cpu++)
		online += cpus.online[cpu];
	assert_in_range(online, 1, cpus.possible);
	assert_in_range(cpus_room(&cpus), online, cpus.possible);
	cpus_refresh(&cpus);
	cpus_release(&cpus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_no_lists),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_of_this_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
