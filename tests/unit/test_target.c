/* SPDX-License-Identifier: BSD-2-Clause */
/* The classification of processes that are no Pythons; those that are: tests/host and tests/e2e. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "user/target/discover.h"

static void test_look(void **state)
{
	struct discover *d = discover_new();
	struct target t;
	pid_t zombie;

	(void)state;
	assert_int_equal(discover_process(d, getpid(), &t), 0);
	assert_true(t.state == TARGET_NOT_PYTHON || t.state == TARGET_FORBIDDEN);
	assert_int_equal(t.thread_cnt, 1);
	assert_int_equal(t.pid, getpid());
	assert_int_equal(discover_process(d, 0x3fffffff, &t), 0);
	assert_int_equal(t.state, TARGET_GONE);
	zombie = fork();
	if (!zombie)
		_exit(0);
	assert_int_equal(waitid(P_PID, zombie, &(siginfo_t){}, WEXITED | WNOWAIT), 0);
	assert_int_equal(discover_process(d, zombie, &t), 0);
	assert_int_equal(t.state, TARGET_GONE);
	waitpid(zombie, NULL, 0);
	discover_free(d);
	discover_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
