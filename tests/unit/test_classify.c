/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which process is scanned next, and when: questions of the kernel's, interpreters that are
 * starting, and what happens to a process while it is scanned.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/classified.h"

#define PAUSE_MIN_NS (1 * NS_PER_MS) /* of an interpreter that is starting, and the most */
#define PAUSE_MAX_NS (512 * NS_PER_MS)
#define QUESTIONS 4096 /* that may wait */

/* ---- Questions ---- */

static void test_nothing_is_asked(void **state)
{
	(void)state;
	assert_int_equal(next(UINT64_MAX), 0);
	assert_true(classifier_next_ns(c) == UINT64_MAX);
	classifier_free(NULL);
}

static void test_waits_once(void **state)
{
	(void)state;
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	for (int i = 0; i < 3; i++)
		classifier_ask(c, PID, NOW_NS + i);
	assert_true(classifier_next_ns(c) == NOW_NS);
	assert_int_equal(next(NOW_NS + 3), PID);
	classifier_ask(c, PID, NOW_NS + 4); /* while it is scanned */
	assert_int_equal(next(NOW_NS + 5), 0);
	assert_true(classifier_next_ns(c) == UINT64_MAX);
}

/* The answer is the answer to what was asked during the scan too. */
static void test_one_answer(void **state)
{
	(void)state;
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	classifier_ask(c, PID, NOW_NS + 1);
	scanned(PID, TARGET_NOT_PYTHON);
	assert_int_equal(classifier_take(c, &scan, NOW_NS + 2), 0);
	assert_int_equal(next(NOW_NS + 3), 0);
	/* What is asked after it is another question. */
	classifier_ask(c, PID, NOW_NS + 4);
	assert_int_equal(next(NOW_NS + 4), PID);
}

static void test_newest_first(void **state)
{
	static const pid_t order[] = {1, 4, 3, 2};

	(void)state;
	for (pid_t pid = 1; pid <= 4; pid++) {
		kernel_add(pid, KRAIT_PROC_UNKNOWN);
		classifier_ask(c, pid, NOW_NS + pid);
	}
	classifier_ask(c, 1, NOW_NS + 5);
	assert_true(classifier_next_ns(c) == NOW_NS + 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(next(NOW_NS + 5), order[i]);
	assert_int_equal(next(NOW_NS + 5), 0);
}

static void test_not_before_its_time(void **state)
{
	(void)state;
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS - 1), 0);
	assert_int_equal(next(NOW_NS), PID);
}

/* What needs no answer any more is not scanned. */
static void test_no_question_any_more(void **state)
{
	(void)state;
	kernel_add(1, KRAIT_PROC_UNKNOWN);
	kernel_add(2, KRAIT_PROC_READY);
	kernel_add(3, KRAIT_PROC_UNSUPPORTED);
	kernel_add(4, KRAIT_PROC_IGNORED);
	for (pid_t pid = 1; pid <= 5; pid++) /* 5 is gone */
		classifier_ask(c, pid, NOW_NS + pid);
	assert_int_equal(next(NOW_NS + 9), 4);
	assert_int_equal(next(NOW_NS + 9), 1);
	assert_int_equal(next(NOW_NS + 9), 0);
	assert_true(classifier_next_ns(c) == UINT64_MAX);
}

/* One too many: the one that the kernel has not asked about for the longest goes. */
static void test_too_many(void **state)
{
	bool is_scanned[QUESTIONS + 2] = {0};
	uint64_t now_ns = NOW_NS;
	pid_t pid;

	(void)state;
	for (pid = 1; pid <= QUESTIONS; pid++) {
		kernel_add(pid, KRAIT_PROC_UNKNOWN);
		classifier_ask(c, pid, now_ns++);
	}
	classifier_ask(c, 1, now_ns++);
	classifier_ask(c, QUESTIONS / 2, now_ns++);
	kernel_add(QUESTIONS + 1, KRAIT_PROC_UNKNOWN);
	classifier_ask(c, QUESTIONS + 1, now_ns++);
	while ((pid = next(now_ns))) {
		assert_false(is_scanned[pid]);
		is_scanned[pid] = true;
	}
	for (pid = 1; pid <= QUESTIONS + 1; pid++)
		assert_int_equal(is_scanned[pid], pid != 2);
}

static void test_forked(void **state)
{
	(void)state;
	for (pid_t pid = 1; pid <= 5; pid++)
		kernel_add(pid, (enum krait_proc_state)(pid - 1));
	for (pid_t pid = 1; pid <= 6; pid++)
		classifier_forked(c, 1, pid, NOW_NS);
	assert_int_equal(next(NOW_NS), 1 + KRAIT_PROC_STARTING);
	assert_int_equal(next(NOW_NS), 0);
}

/* ---- An interpreter that is starting ---- */

static void test_starting_again(void **state)
{
	uint64_t now_ns = NOW_NS, pause_ns = PAUSE_MIN_NS;
	struct krait_proc *entry = kernel_add(PID, KRAIT_PROC_UNKNOWN);

	(void)state;
	classifier_ask(c, PID, now_ns);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(next(now_ns), PID);
		scanned(PID, TARGET_STARTING);
		scan.cost_ns = 1000;
		assert_int_equal(classifier_take(c, &scan, now_ns), 0);
		assert_int_equal(entry->state, KRAIT_PROC_STARTING);
		now_ns += pause_ns + 1000;
		assert_true(classifier_next_ns(c) == now_ns);
		assert_int_equal(next(now_ns - 1), 0);
		pause_ns = pause_ns < PAUSE_MAX_NS ? 2 * pause_ns : PAUSE_MAX_NS;
	}
	assert_true(pause_ns == PAUSE_MAX_NS);
	assert_int_equal(next(now_ns), PID);
	scanned(PID, TARGET_READY);
	assert_int_equal(classifier_take(c, &scan, now_ns), 0);
	assert_int_equal(entry->state, KRAIT_PROC_READY);
	assert_int_equal(result.python_cnt, 1);
	assert_int_equal(next(UINT64_MAX - 1), 0);
}

/* The kernel's asking makes it no sooner, but comes first when it is time. */
static void test_starting_is_asked_again(void **state)
{
	(void)state;
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	kernel_add(PID + 1, KRAIT_PROC_UNKNOWN);
	classify(PID, TARGET_STARTING);
	classifier_ask(c, PID + 1, NOW_NS + 1);
	classifier_ask(c, PID, NOW_NS + 2);
	assert_int_equal(next(NOW_NS + PAUSE_MIN_NS - 1), PID + 1);
	assert_int_equal(next(NOW_NS + PAUSE_MIN_NS - 1), 0);
	classifier_ask(c, PID + 1, NOW_NS + 1);
	assert_int_equal(next(NOW_NS + PAUSE_MIN_NS), PID);
}

/* What was asked while it was scanned does not stand beside the question that follows. */
static void test_starting_waits_once(void **state)
{
	(void)state;
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	classifier_ask(c, PID, NOW_NS + 1);
	scanned(PID, TARGET_STARTING);
	assert_int_equal(classifier_take(c, &scan, NOW_NS + 1), 0);
	assert_true(classifier_next_ns(c) == NOW_NS + 1 + PAUSE_MIN_NS);
	assert_int_equal(next(NOW_NS + 1 + PAUSE_MIN_NS), PID);
	assert_true(classifier_next_ns(c) == UINT64_MAX);
}

/* ---- What happens during a scan ---- */

/* Another program runs there now: the answer is about the one before. */
static void test_exec(void **state)
{
	struct krait_proc *entry = kernel_add(PID, KRAIT_PROC_UNKNOWN);

	(void)state;
	entry->unknown_ticks = 3;
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	entry->seed++;
	scanned(PID, TARGET_READY);
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_int_equal(kernel.classified_cnt, 0);
	assert_int_equal(entry->state, KRAIT_PROC_UNKNOWN);
	assert_int_equal(infos.cnt, 0);
	assert_int_equal(result.early_ticks, 0);
	/* Nobody has asked about the new one yet. */
	assert_int_equal(next(UINT64_MAX - 1), 0);
	classify(PID, TARGET_NOT_PYTHON);
	assert_int_equal(result.rejected_ticks, 3);
}

/* What was asked during an earlier scan is no question of this one's. */
static void test_exec_after_a_question(void **state)
{
	struct krait_proc *entry = kernel_add(PID, KRAIT_PROC_UNKNOWN);

	(void)state;
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	classifier_ask(c, PID, NOW_NS);
	scanned(PID, TARGET_NOT_PYTHON);
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	entry->seed++;
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_true(classifier_next_ns(c) == UINT64_MAX);
}

static void test_exec_is_asked_about(void **state)
{
	struct krait_proc *entry = kernel_add(PID, KRAIT_PROC_UNKNOWN);

	(void)state;
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	entry->seed++;
	classifier_ask(c, PID, NOW_NS + 1);
	scanned(PID, TARGET_READY);
	assert_int_equal(classifier_take(c, &scan, NOW_NS + 2), 0);
	assert_int_equal(kernel.classified_cnt, 0);
	assert_true(classifier_next_ns(c) == NOW_NS + 2);
	assert_int_equal(next(NOW_NS + 2), PID);
	assert_int_equal(classifier_take(c, &scan, NOW_NS + 3), 0);
	assert_int_equal(entry->state, KRAIT_PROC_READY);
	assert_int_equal(infos.cnt, 1);
}

/* An interpreter that executes another starts with the shortest pause. */
static void test_exec_of_a_starting_one(void **state)
{
	struct krait_proc *entry = kernel_add(PID, KRAIT_PROC_UNKNOWN);
	uint64_t now_ns = NOW_NS;

	(void)state;
	classifier_ask(c, PID, now_ns);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(next(now_ns), PID);
		scanned(PID, TARGET_STARTING);
		if (i == 3) {
			entry->seed++;
			classifier_ask(c, PID, now_ns);
		}
		assert_int_equal(classifier_take(c, &scan, now_ns), 0);
		now_ns = classifier_next_ns(c);
	}
	assert_int_equal(next(now_ns), PID);
	assert_int_equal(classifier_take(c, &scan, now_ns), 0);
	assert_true(classifier_next_ns(c) == now_ns + PAUSE_MIN_NS);
}

static void test_gone(void **state)
{
	(void)state;
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	classifier_ask(c, PID, NOW_NS);
	kernel_remove(PID);
	scanned(PID, TARGET_READY);
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_int_equal(kernel.classified_cnt, 0);
	assert_int_equal(infos.cnt, 0);
	assert_int_equal(result.python_cnt, 0);
	/* The next process of this pid is a new question. */
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	assert_int_equal(next(UINT64_MAX - 1), 0);
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_is_asked),
		TEST(test_waits_once),
		TEST(test_one_answer),
		TEST(test_newest_first),
		TEST(test_not_before_its_time),
		TEST(test_no_question_any_more),
		TEST(test_too_many),
		TEST(test_forked),
		TEST(test_starting_again),
		TEST(test_starting_is_asked_again),
		TEST(test_starting_waits_once),
		TEST(test_exec),
		TEST(test_exec_after_a_question),
		TEST(test_exec_is_asked_about),
		TEST(test_exec_of_a_starting_one),
		TEST(test_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
