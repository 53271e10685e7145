/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The process that scans: real ones, started and killed. What is scanned is this very process,
 * which is no Python; scans of Pythons are in the end-to-end tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "user/base/clock.h"
#include "user/session/scanner.h"

#define PATIENCE_NS (60 * NS_PER_S)

static int set_up(void **state)
{
	*state = scanner_new();
	assert_non_null(*state);
	return 0;
}

static int tear_down(void **state)
{
	scanner_free(*state);
	return 0;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* The child of `parent`, or 0. */
static pid_t child_of(pid_t parent)
{
	char path[64], text[32] = "";
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	in = fopen(path, "r");
	if (in && !fgets(text, sizeof(text), in))
		text[0] = '\0';
	if (in)
		fclose(in);
	return atoi(text);
}

/* The worker that is another than `not`. */
static pid_t wait_for_worker(pid_t not )
{
	uint64_t end_ns = now_ns() + PATIENCE_NS;
	pid_t pid = 0;

	while (now_ns() < end_ns && (!pid || pid == not ))
		pid = child_of(child_of(getpid()));
	assert_int_not_equal(pid, 0);
	assert_int_not_equal(pid, not );
	return pid;
}

static const struct scan_result *wait_for_result(struct scanner *s)
{
	struct pollfd fd = {.fd = scanner_fd(s), .events = POLLIN};
	uint64_t end_ns = now_ns() + PATIENCE_NS;
	const struct scan_result *r = NULL;

	while (!(r = scanner_take(s, now_ns())) && now_ns() < end_ns)
		poll(&fd, 1, 10);
	assert_non_null(r);
	return r;
}

static void start(struct scanner *s, pid_t pid)
{
	while (scanner_is_busy(s))
		assert_null(scanner_take(s, now_ns()));
	*scanner_request(s) = (struct scan_request){.kind = SCAN_PROCESS, .pid = pid};
	scanner_start(s, now_ns());
}

static void test_scan(void **state)
{
	const struct scan_result *r = scanner_run(*state, getpid());

	assert_int_equal(r->err, 0);
	assert_int_equal(r->target.pid, getpid());
	assert_int_equal(r->target.state, TARGET_NOT_PYTHON);
	assert_true(r->cost_ns > 0);
	assert_int_equal(r->text_bytes, 0);
	assert_false(scanner_is_busy(*state));
	assert_true(scanner_cpu_ns(*state) >= r->cost_ns);
	r = scanner_run(*state, 0x7ffffff0);
	assert_int_equal(r->err, 0);
	assert_int_equal(r->target.state, TARGET_GONE);
}

/* A worker that dies in the middle of a scan costs that scan. */
static void test_crash(void **state)
{
	const struct scan_result *r;
	pid_t worker = wait_for_worker(0);

	kill(worker, SIGSTOP); /* so that it is in the middle */
	start(*state, getpid());
	kill(worker, SIGKILL);
	r = wait_for_result(*state);
	assert_int_equal(r->err, -ECHILD);
	assert_int_equal(r->target.pid, getpid());
	assert_int_equal(scanner_failed_cnt(*state), 1);
	wait_for_worker(worker);
	assert_int_equal(scanner_run(*state, getpid())->err, 0);
}

/* One that comes to no end is given up, and replaced. */
static void test_hang(void **state)
{
	const struct scan_result *r;
	pid_t worker = wait_for_worker(0);

	kill(worker, SIGSTOP);
	start(*state, getpid());
	assert_true(scanner_is_busy(*state));
	assert_true(scanner_next_ns(*state) < now_ns() + NS_PER_S);
	r = wait_for_result(*state);
	assert_int_equal(r->err, -ETIME);
	wait_for_worker(worker);
	r = scanner_run(*state, getpid());
	assert_int_equal(r->err, 0);
	assert_int_equal(r->target.state, TARGET_NOT_PYTHON);
}

/* An idle worker that dies is replaced without a word. */
static void test_idle_death(void **state)
{
	pid_t worker = wait_for_worker(0);

	kill(worker, SIGKILL);
	wait_for_worker(worker);
	assert_int_equal(scanner_run(*state, getpid())->err, 0);
	assert_int_equal(scanner_failed_cnt(*state), 0);
}

/* Without the keeper there are no more scans, but no end of waiting for them either. */
static void test_keeper_is_killed(void **state)
{
	struct scanner *s = *state;
	const struct scan_result *r;

	assert_int_equal(scanner_run(s, getpid())->err, 0); /* it is at work */
	kill(wait_for_worker(0), SIGSTOP);
	start(s, getpid());
	kill(child_of(getpid()), SIGKILL);
	r = wait_for_result(s);
	assert_int_equal(r->err, -ECHILD);
	assert_true(scanner_is_busy(s));
	assert_int_equal(scanner_fd(s), -1);
	assert_true(scanner_next_ns(s) == UINT64_MAX);
	assert_null(scanner_take(s, now_ns()));
	assert_int_equal(scanner_run(s, getpid())->err, -ECHILD);
}

/* It holds none of our files. */
static void test_inherits_nothing(void **state)
{
	char path[64], target[256];
	struct dirent *de;
	DIR *dir;

	(void)state;
	snprintf(path, sizeof(path), "/proc/%d/fd", wait_for_worker(0));
	/* The keeper has its children only when it has closed what it was born with. */
	dir = opendir(path);
	assert_non_null(dir);
	while ((de = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), de->d_name, target, sizeof(target) - 1);

		if (n < 0)
			continue;
		target[n] = '\0';
		assert_true(!strcmp(target, "/dev/null") || !strncmp(target, "socket:", 7));
	}
	closedir(dir);
}

/* It ends with us, whatever it is doing. */
static void test_ends(void **state)
{
	struct scanner *s = scanner_new();
	uint64_t end_ns = now_ns() + PATIENCE_NS;
	pid_t worker;

	(void)state;
	assert_non_null(s);
	worker = wait_for_worker(0);
	kill(worker, SIGSTOP);
	scanner_free(s);
	while (kill(worker, 0) == 0 && now_ns() < end_ns)
		usleep(1000);
	assert_int_not_equal(kill(worker, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_scan, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_crash, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hang, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_idle_death, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_keeper_is_killed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_inherits_nothing, set_up, tear_down),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
