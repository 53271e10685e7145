/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processes of a run, on a kernel and a scanner made by hand: those that ticks meet, those
 * asked for by pid, and its command, which is a real one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/fake_run.h"

#define LAST_NAMES_NS (250 * NS_PER_MS)

/* ---- Processes ---- */

static void test_seen(void **state)
{
	const struct session_result *r;

	(void)state;
	target(5, TARGET_READY);
	begin();
	kernel_add(5, KRAIT_PROC_UNKNOWN);
	kernel_add(6, KRAIT_PROC_UNKNOWN);
	fake_queue_process(KRAIT_PROCESS_SEEN, 5, 5);
	fake_queue_process(KRAIT_PROCESS_SEEN, 6, 6);
	assert_int_equal(pass(DRAIN_NS), 1);
	assert_int_equal(kernel_entry(5)->state, KRAIT_PROC_READY);
	assert_int_equal(kernel_entry(6)->state, KRAIT_PROC_IGNORED);
	assert_int_equal(sunk.cnt, 3);
	assert_int_equal(collected_process(&sunk, 2, KRAIT_PROCESS_INFO)->pid, 5);
	r = finish();
	assert_int_equal(r->python_cnt, 1);
	assert_int_equal(r->scan_cpu_ns, 2 * fake.scan_ns);
	assert_int_equal(r->scan_peak_kb, 4321);
	assert_int_equal(r->scans_failed, 3);
}

/* Only the children of what is starting are to be classified as well. */
static void test_fork(void **state)
{
	(void)state;
	target(5, TARGET_READY);
	begin();
	kernel_add(5, KRAIT_PROC_STARTING);
	kernel_add(6, KRAIT_PROC_READY);
	kernel_add(7, KRAIT_PROC_UNKNOWN);
	for (pid_t pid = 5; pid <= 7; pid++)
		fake_queue_process(KRAIT_PROCESS_FORK, pid, pid);
	assert_int_equal(pass(DRAIN_NS), 1);
	assert_int_equal(fake.scan_cnt, 1);
	assert_int_equal(kernel_entry(5)->state, KRAIT_PROC_READY);
}

/* A target with one thread, whose name has been told. */
static void begin_named(void)
{
	opts.name_threads = true;
	target(5, TARGET_READY);
	begin();
	kernel_add(5, KRAIT_PROC_UNKNOWN);
	fake_queue_process(KRAIT_PROCESS_SEEN, 5, 5);
	assert_int_equal(pass(DRAIN_NS), 1);
	fake_queue_process(KRAIT_PROCESS_THREAD, 5, 51);
	assert_int_equal(pass(DRAIN_NS), 1);
}

static void assert_named(uint32_t i, uint32_t tid, const char *name)
{
	const struct krait_process_rec *rec = collected_process(&sunk, i, KRAIT_PROCESS_NAME);

	assert_int_equal(i, sunk.cnt - 1);
	assert_int_equal(rec->pid, 5);
	assert_int_equal(rec->tid, tid);
	assert_int_equal(rec->text_bytes, strlen(name));
	assert_memory_equal(process_text(rec), name, strlen(name));
}

static void test_names(void **state)
{
	(void)state;
	begin_named();
	assert_named(3, 51, "t51"); /* SEEN, INFO, THREAD, NAME */
	fake.name = "u";
	assert_int_equal(pass(NS_PER_S - 1), 1);
	assert_int_equal(sunk.cnt, 4);
	assert_int_equal(pass(1), 1);
	assert_named(4, 51, "u51");
}

/* Neither processes nor names wait for all of the others. */
static void test_turns(void **state)
{
	uint32_t before;

	(void)state;
	begin_named();
	before = fake.scan_cnt;
	for (pid_t pid = 6; pid <= 8; pid++) {
		kernel_add(pid, KRAIT_PROC_UNKNOWN);
		fake_queue_process(KRAIT_PROCESS_SEEN, pid, pid);
	}
	fake_queue_fork(5, 9);
	fake_queue_process(KRAIT_PROCESS_THREAD, 5, 52);
	fake_queue_process(KRAIT_PROCESS_THREAD, 9, 91);
	assert_int_equal(pass(DRAIN_NS), 1);
	assert_string_equal(fake.kinds + before, "PNPNP");
}

/* A target's child is read as its parent is, until it ends or becomes something else. */
static void test_child(void **state)
{
	const struct scan_request *request = &fake.scanner.request;
	uint32_t before;

	(void)state;
	begin_named();
	fake_queue_fork(5, 9);
	fake_queue_process(KRAIT_PROCESS_THREAD, 9, 91);
	before = fake.scan_cnt;
	assert_int_equal(pass(DRAIN_NS), 1);
	assert_string_equal(fake.kinds + before, "N");
	assert_int_equal(request->pid, 9);
	assert_int_equal(request->python.version, fake.scanner.result.target.python.version);
	for (int i = 0; i < 2; i++) {
		fake_queue_fork(5, 9);
		fake_queue_process(i ? KRAIT_PROCESS_EXIT : KRAIT_PROCESS_EXEC, 9, 9);
		fake_queue_process(KRAIT_PROCESS_THREAD, 9, 92);
		before = fake.scan_cnt;
		assert_int_equal(pass(DRAIN_NS), 1);
		assert_string_equal(fake.kinds + before, "");
	}
}

static void test_no_names(void **state)
{
	(void)state;
	begin();
	kernel_add(5, KRAIT_PROC_READY);
	fake_queue_process(KRAIT_PROCESS_THREAD, 5, 51);
	assert_int_equal(pass(2 * NS_PER_S), 1);
	assert_int_equal(fake.scan_cnt, 0);
}

/* The end of the run is the second scan's time. */
static void test_last_names(void **state)
{
	(void)state;
	begin_named();
	fake.name = "v";
	finish();
	assert_named(4, 51, "v51");
}

/* It does not wait for a scan that comes to no end. */
static void test_last_names_are_stuck(void **state)
{
	uint64_t end_ns;

	(void)state;
	begin_named();
	fake.is_stuck = true;
	fake.stuck_until_ns = UINT64_MAX;
	fake.stuck_look_ns = 20 * NS_PER_MS;
	fake_signal(fake.scanner.fd); /* so that nothing really waits */
	end_ns = fake.now_ns + LAST_NAMES_NS;
	finish();
	assert_true(fake.now_ns >= end_ns && fake.now_ns < end_ns + fake.stuck_look_ns);
	assert_int_equal(sunk.cnt, 4);
}

/* ---- Those asked for by pid ---- */

/* A child that waits for `fd` to be closed at its other end, *end. */
static pid_t fork_child(int *end)
{
	int fds[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		close(fds[1]);
		_exit(read(fds[0], &c, 1) != 0);
	}
	assert_true(pid > 0);
	close(fds[0]);
	*end = fds[1];
	return pid;
}

static void end_child(pid_t pid, int end)
{
	int status;

	close(end);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_pids(void **state)
{
	const pid_t pids[] = {getpid()};
	int end;
	pid_t child = fork_child(&end);

	(void)state;
	opts.who.pids = pids;
	opts.who.pid_cnt = 1;
	target(getpid(), TARGET_READY);
	assert_int_equal(make(), 0);
	assert_int_equal(kernel.proc_cnt, 1);
	assert_non_null(kernel_entry(getpid()));
	assert_false(fake.opts.selection.is_open);
	session_free(s);
	/* With its children; it need be no Python itself then. */
	opts.who.with_children = true;
	target(0, TARGET_READY);
	assert_int_equal(make(), 0);
	assert_int_equal(kernel.proc_cnt, 2);
	assert_non_null(kernel_entry(getpid()));
	assert_non_null(kernel_entry(child));
	end_child(child, end);
}

/* Without its children it has to be one, and without any. */
static void test_wrong_pids(void **state)
{
	const pid_t pids[] = {getpid()};
	int end;
	pid_t child = fork_child(&end);

	(void)state;
	opts.who.pids = pids;
	opts.who.pid_cnt = 1;
	assert_int_equal(make(), -ESRCH);
	assert_null(s);
	assert_int_equal(kernel.proc_cnt, 0);
	end_child(child, end);
	opts.who.with_children = true;
	assert_int_equal(make(), -ESRCH);
	target(getpid(), TARGET_FORBIDDEN);
	assert_int_equal(make(), -EPERM);
	assert_null(s);
	target(getpid(), TARGET_READY);
	fake.watch_err = -E2BIG;
	assert_int_equal(make(), -E2BIG);
	assert_null(s);
}

/* When the last of them has gone, the run is over; its last records have come before. */
static void test_targets_are_gone(void **state)
{
	const pid_t pids[] = {getpid()};

	(void)state;
	opts.who.pids = pids;
	opts.who.pid_cnt = 1;
	target(getpid(), TARGET_READY);
	begin();
	assert_int_equal(pass(NS_PER_S), 1);
	kernel_remove(getpid());
	fake_queue_process(KRAIT_PROCESS_EXIT, getpid(), getpid());
	assert_int_equal(pass(NS_PER_S), 0);
	assert_int_equal(sunk.cnt, 1);
	/* No tick has hit it, and that it is one is known: it is not scanned again. */
	assert_true(finish()->has_idle_python);
	assert_int_equal(fake.run_cnt, 1);
}

/* ---- Commands ---- */

/* Nothing but the command's end can be what the session is ready for. */
static int wait_for_end(void)
{
	int ret;

	do {
		assert_true(is_ready(PATIENCE_MS));
		ret = session_step(s, true);
	} while (ret == 1);
	return ret;
}

static void test_command(void **state)
{
	(void)state;
	shell("exit 7");
	assert_int_equal(make(), 0);
	assert_false(fake.opts.selection.is_open);
	assert_int_equal(kernel.proc_cnt, 1);
	assert_int_equal(session_start(s), 0);
	assert_true(fake.was_command_waiting);
	assert_int_equal(fake.roles, PRIVILEGE_SAMPLER | PRIVILEGE_COMMAND);
	assert_int_equal(wait_for_end(), 0);
	assert_int_equal(finish()->command_status, 7);
	assert_false(session_result(s)->has_no_command);
	assert_int_equal(session_wait_command(s), 7);
	assert_int_equal(fake.run_cnt, 0); /* no search for idle ones */
}

static void test_signalled_command(void **state)
{
	int end, fds[2];
	char script[64];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	end = fds[1];
	snprintf(script, sizeof(script), "read line <&%d", fds[0]);
	shell(script);
	begin();
	assert_int_equal(pass(NS_PER_S), 1);
	session_forward(s, SIGTERM);
	assert_int_equal(wait_for_end(), 0);
	assert_int_equal(finish()->command_status, 128 + SIGTERM);
	session_forward(s, SIGTERM); /* to nobody */
	close(fds[0]);
	close(end);
}

/* The command is nobody's to end: it is waited for by who wants to. */
static void test_command_outlives(void **state)
{
	char script[64];
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	snprintf(script, sizeof(script), "read line <&%d; exit 9", fds[0]);
	shell(script);
	opts.duration_ns = NS_PER_S;
	begin();
	assert_int_equal(pass(NS_PER_S), 0);
	assert_int_equal(finish()->command_status, -1);
	assert_int_equal(write(fds[1], "\n", 1), 1);
	assert_int_equal(session_wait_command(s), 9);
	assert_int_equal(session_result(s)->command_status, 9);
	close(fds[0]);
	close(fds[1]);
}

static void test_command_outlives_session(void **state)
{
	char script[64];
	int fds[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	snprintf(script, sizeof(script), "read line <&%d; exit 9", fds[0]);
	shell(script);
	begin();
	pid = kernel.procs[0].pid;
	session_free(s);
	s = NULL;
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	assert_int_equal(write(fds[1], "\n", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 9);
	close(fds[0]);
	close(fds[1]);
}

static void test_no_command(void **state)
{
	static const struct {
		char *argv[2];
		int err, status;
	} cases[] = {
		{{"krait-no-such-command", NULL}, -ENOENT, 127},
		{{"/proc/self/no-such-command", NULL}, -ENOENT, 127},
		{{"/", NULL}, -EACCES, 126},
	};

	(void)state;
	for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		opts.command = cases[i].argv;
		assert_int_equal(make(), 0);
		assert_int_equal(session_start(s), cases[i].err);
		assert_int_equal(finish()->command_status, cases[i].status);
		assert_true(session_result(s)->has_no_command);
		assert_int_equal(session_wait_command(s), cases[i].status);
		session_free(s);
		s = NULL;
	}
}

/* What was never let go has not run, and ends with the session. */
static void test_command_never_runs(void **state)
{
	(void)state;
	shell("exit 7");
	assert_int_equal(make(), 0);
	session_free(s);
	s = NULL;
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	fake.watch_err = -E2BIG;
	assert_int_equal(make(), -E2BIG);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_command_of_a_failed_start(void **state)
{
	(void)state;
	shell("exit 7");
	fake.drop_err = -EPERM;
	assert_int_equal(make(), 0);
	assert_int_equal(session_start(s), -EPERM);
	assert_int_equal(finish()->command_status, -1);
	assert_int_equal(session_wait_command(s), 1); /* as the end of what never ran is told */
	session_free(s);
	s = NULL;
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_seen),
		TEST(test_fork),
		TEST(test_names),
		TEST(test_turns),
		TEST(test_child),
		TEST(test_no_names),
		TEST(test_last_names),
		TEST(test_last_names_are_stuck),
		TEST(test_pids),
		TEST(test_wrong_pids),
		TEST(test_targets_are_gone),
		TEST(test_command),
		TEST(test_signalled_command),
		TEST(test_command_outlives),
		TEST(test_command_outlives_session),
		TEST(test_no_command),
		TEST(test_command_never_runs),
		TEST(test_command_of_a_failed_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
