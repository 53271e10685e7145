/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is selected among the processes of this host: the test itself, and a child of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/session/selection.h"

static pid_t child;

static int set_up(void **state)
{
	(void)state;
	child = fork();
	if (!child)
		for (;;)
			pause();
	return child < 0;
}

static int tear_down(void **state)
{
	(void)state;
	kill(child, SIGKILL);
	return waitpid(child, NULL, 0) != child;
}

/* The pid that `pid` is selected for, 0 for any; -1: it is not selected. */
static pid_t root_of(const struct selection *who, pid_t pid)
{
	struct selected_list list;
	pid_t root = -1;

	assert_int_equal(selection_find(who, &list), 0);
	for (uint32_t i = 0; i < list.cnt; i++) {
		assert_true(!i || list.v[i - 1].pid < list.v[i].pid);
		if (list.v[i].pid == pid)
			root = list.v[i].root;
	}
	selected_release(&list);
	return root;
}

static void test_any(void **state)
{
	const struct selection who = {.with_children = true};

	(void)state;
	assert_int_equal(root_of(&who, getpid()), 0);
	assert_int_equal(root_of(&who, child), 0);
	assert_int_equal(root_of(&who, getppid()), 0);
	assert_true(selection_of_kernel(&who).is_open);
}

static void test_pids(void **state)
{
	const pid_t pids[] = {getpid()};
	struct selection who = {.pids = pids, .pid_cnt = 1, .with_children = true};

	(void)state;
	assert_int_equal(root_of(&who, getpid()), getpid());
	assert_int_equal(root_of(&who, child), getpid());
	assert_int_equal(root_of(&who, getppid()), -1);
	who.with_children = false;
	assert_int_equal(root_of(&who, getpid()), getpid());
	assert_int_equal(root_of(&who, child), -1);
	assert_false(selection_of_kernel(&who).is_open);
}

/* The nearest of those asked for. */
static void test_a_pid_and_its_child(void **state)
{
	const pid_t pids[] = {getpid(), child};
	const struct selection who = {.pids = pids, .pid_cnt = 2, .with_children = true};

	(void)state;
	assert_int_equal(root_of(&who, getpid()), getpid());
	assert_int_equal(root_of(&who, child), child);
}

static void test_command(void **state)
{
	const struct selection who = {.is_command = true, .with_children = true};

	(void)state;
	assert_int_equal(root_of(&who, getpid()), -1);
	assert_false(selection_of_kernel(&who).is_open);
}

/* A name of the kernel's is cut behind 15 bytes: comm in proc(5). */
static void test_comm(void **state)
{
	struct selection who = {.comm = NULL};

	(void)state;
	assert_true(selection_has_comm(&who, "python3"));
	who.comm = "python3";
	assert_true(selection_has_comm(&who, "python3"));
	assert_false(selection_has_comm(&who, "python3.12"));
	assert_false(selection_has_comm(&who, "python"));
	who.comm = "a-name-that-is-too-long";
	assert_true(selection_has_comm(&who, "a-name-that-is-"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any),
		cmocka_unit_test(test_pids),
		cmocka_unit_test(test_a_pid_and_its_child),
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_comm),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
