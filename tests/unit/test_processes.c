/* SPDX-License-Identifier: BSD-2-Clause */
/* What is known of targets, as their lives go, beside a kernel made by hand (fake_sampler.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/fake_sampler.h"
#include "user/session/processes.h"

#define ROOM 32768

static struct processes *table;

static int set_up(void **state)
{
	(void)state;
	kernel_init();
	table = processes_new(&kernel);
	return table ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	processes_free(table);
	return 0;
}

/* Something of its own in every part. */
static struct cpython python_of(uint32_t num)
{
	return (struct cpython){.version = 0x03000000 + num,
				.interp_modules_off = num,
				.addrs = {.interp_head = num, .eval_bytes = num},
				.walk = {.interp_next_off = num}};
}

static void ready(pid_t pid, uint32_t num)
{
	struct cpython python = python_of(num);

	processes_ready(table, pid, &python);
	memset(&python, 0x55, sizeof(python)); /* it was copied */
}

static void assert_is(pid_t pid, uint32_t num)
{
	const struct cpython python = python_of(num), *known = processes_find(table, pid);

	assert_non_null(known);
	assert_memory_equal(known, &python, sizeof(python));
}

static void test_empty(void **state)
{
	(void)state;
	assert_null(processes_find(table, 1));
	processes_ended(table, 1);
	processes_forked(table, 1, 2);
	assert_null(processes_find(table, 2));
	processes_free(NULL);
}

static void test_lives(void **state)
{
	(void)state;
	ready(7, 1);
	ready(8, 2);
	assert_is(7, 1);
	assert_is(8, 2);
	ready(7, 3); /* another program, or a pid's next life */
	assert_is(7, 3);
	processes_ended(table, 7);
	assert_null(processes_find(table, 7));
	assert_is(8, 2);
	processes_ended(table, 7);
	ready(9, 4);
	ready(7, 5);
	assert_is(7, 5);
	assert_is(8, 2);
	assert_is(9, 4);
}

/* A child has it from the fork on, whatever becomes of the parent then. */
static void test_fork(void **state)
{
	(void)state;
	ready(7, 1);
	processes_forked(table, 7, 70);
	processes_forked(table, 70, 700);
	ready(7, 2);
	assert_is(70, 1);
	processes_ended(table, 70);
	assert_is(700, 1);
	processes_forked(table, 7, 700); /* the pid's next life */
	assert_is(700, 2);
	processes_forked(table, 70, 7); /* of a parent of which nothing is known */
	assert_null(processes_find(table, 7));
	assert_is(700, 2);
}

/* Each fork may move what the parent's is copied from. */
static void test_many_forks(void **state)
{
	(void)state;
	ready(1, 1);
	for (pid_t pid = 2; pid <= 5000; pid++)
		processes_forked(table, pid - 1, pid);
	for (pid_t pid = 1; pid <= 5000; pid++)
		assert_is(pid, 1);
	for (pid_t pid = 1; pid <= 5000; pid += 2)
		processes_ended(table, pid);
	for (pid_t pid = 5001; pid <= 10000; pid++)
		ready(pid, pid);
	for (pid_t pid = 1; pid <= 10000; pid++) {
		if (pid > 5000)
			assert_is(pid, pid);
		else if (pid % 2)
			assert_null(processes_find(table, pid));
		else
			assert_is(pid, 1);
	}
}

/* Those whose end nobody told make room when it is needed; the kernel knows of the others. */
static void test_full(void **state)
{
	(void)state;
	for (pid_t pid = 1; pid <= 4; pid++)
		kernel_add(pid, pid <= 2 ? KRAIT_PROC_READY : KRAIT_PROC_UNKNOWN);
	for (pid_t pid = 1; pid <= ROOM; pid++)
		ready(pid, pid);
	assert_is(3, 3);
	assert_is(ROOM, ROOM);
	ready(ROOM + 1, 9);
	assert_is(ROOM + 1, 9);
	assert_is(1, 1);
	assert_is(2, 2);
	for (pid_t pid = 3; pid <= ROOM; pid++)
		assert_null(processes_find(table, pid));
}

/* If all of them live there is no room for one more, and nothing else changes. */
static void test_all_live(void **state)
{
	(void)state;
	kernel.is_any_ready = true;
	for (pid_t pid = 1; pid <= ROOM + 2; pid++)
		ready(pid, pid);
	assert_null(processes_find(table, ROOM + 1));
	assert_null(processes_find(table, ROOM + 2));
	ready(5, 6);
	assert_is(5, 6);
	for (pid_t pid = 6; pid <= ROOM; pid++)
		assert_is(pid, pid);
	processes_ended(table, 5);
	ready(ROOM + 1, 7);
	assert_is(ROOM + 1, 7);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_empty),      TEST(test_lives), TEST(test_fork),
		TEST(test_many_forks), TEST(test_full),	 TEST(test_all_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
