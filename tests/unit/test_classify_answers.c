/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of a scan's result: the kernel's entry, the INFO record, the ledger, and what is
 * said of processes that can't be profiled.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/capture.h"
#include "tests/unit/classified.h"

#define FAILED_MS 8192 /* until a scan that failed may be tried again */
#define SCAN_COSTS 64  /* a scan is not repeated before so many times what it cost */

/* ---- Answers ---- */

static void test_ready(void **state)
{
	struct krait_proc *entry = kernel_add(PID, KRAIT_PROC_UNKNOWN);

	(void)state;
	classify(PID, TARGET_READY);
	assert_int_equal(entry->state, KRAIT_PROC_READY);
	assert_int_equal(entry->layout_idx, 0);
	assert_int_equal(kernel.layouts[0].ts_frame_off, 109);
	assert_int_equal(entry->addrs.interp_head, 101);
	assert_int_equal(entry->addrs.code_type, 102);
	assert_int_equal(entry->addrs.current, 103);
	assert_int_equal(entry->addrs.collecting, 104);
	assert_int_equal(entry->addrs.runtime, 105);
	assert_int_equal(entry->addrs.runtime_bytes, 106);
	assert_int_equal(entry->addrs.eval, 107);
	assert_int_equal(entry->addrs.eval_bytes, 108);
	/* What tells this life of the pid from another stays. */
	assert_int_equal(entry->mm, 0x1000 + PID);
	assert_int_equal(entry->seed, 0x2000 + PID);
	assert_int_equal(result.python_cnt, 1);
	assert_int_equal(kernel.classified_cnt, 1);
	assert_int_equal(next(UINT64_MAX - 1), 0);
}

static void test_layouts(void **state)
{
	(void)state;
	for (pid_t pid = 1; pid <= 3; pid++) {
		kernel_add(pid, KRAIT_PROC_UNKNOWN);
		classifier_ask(c, pid, NOW_NS);
		assert_int_equal(next(NOW_NS), pid);
		scanned(pid, TARGET_READY)->python.walk.ts_frame_off = pid == 2 ? 9 : 8;
		assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	}
	assert_int_equal(kernel_entry(1)->layout_idx, 0);
	assert_int_equal(kernel_entry(2)->layout_idx, 1);
	assert_int_equal(kernel_entry(3)->layout_idx, 0);
	assert_int_equal(result.python_cnt, 3);
}

/* No room for its layout: left out, and that is said. */
static void test_too_many_layouts(void **state)
{
	struct krait_proc *entry = kernel_add(PID, KRAIT_PROC_UNKNOWN);

	(void)state;
	entry->unknown_ticks = 5;
	for (uint32_t i = 0; i < KRAIT_LAYOUTS; i++)
		kernel.layouts[kernel.layout_cnt++] = (struct krait_layout){.ts_prev_off = i + 1};
	classify(PID, TARGET_READY);
	assert_int_equal(entry->state, KRAIT_PROC_UNSUPPORTED);
	assert_int_equal(infos.cnt, 0);
	assert_int_equal(result.python_cnt, 0);
	assert_int_equal(result.early_ticks, 5);
}

/* The INFO record comes before any sample of the target can. */
static void test_info(void **state)
{
	static const char cmdline[] = "python3\0-m\0app";
	const struct krait_process_rec *rec;

	(void)state;
	kernel_add(PID, KRAIT_PROC_STARTING);
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	memcpy(scanned(PID, TARGET_READY)->comm, "fifteen-letters", 16);
	memcpy(scan.text, cmdline, sizeof(cmdline));
	scan.text_bytes = sizeof(cmdline);
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_int_equal(infos.cnt, 1);
	assert_int_equal(state_at_info, KRAIT_PROC_STARTING);
	rec = collected_process(&infos, 0, KRAIT_PROCESS_INFO);
	assert_int_equal(rec->pid, PID);
	assert_int_equal(rec->tid, PID);
	assert_int_equal(rec->py_version, 0x030c04f0);
	assert_true(rec->time_ns > 0 && rec->time_ns <= clock_ns(CLOCK_MONOTONIC));
	assert_string_equal(rec->comm, "fifteen-letters");
	assert_int_equal(rec->text_bytes, sizeof(cmdline));
	assert_memory_equal(process_text(rec), cmdline, sizeof(cmdline));
}

/* Command lines of all lengths around the multiples of 8, none, and one that is cut. */
static void test_info_text(void **state)
{
	static const uint32_t lens[] = {0,
					1,
					7,
					8,
					9,
					SCAN_CMDLINE_BYTES - 1,
					SCAN_CMDLINE_BYTES,
					SCAN_CMDLINE_BYTES + 1,
					SCAN_TEXT_BYTES};

	(void)state;
	for (uint32_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		uint32_t want = lens[i] < SCAN_CMDLINE_BYTES ? lens[i] : SCAN_CMDLINE_BYTES;
		const struct krait_process_rec *rec;
		pid_t pid = 1 + i;

		kernel_add(pid, KRAIT_PROC_UNKNOWN);
		classifier_ask(c, pid, NOW_NS);
		assert_int_equal(next(NOW_NS), pid);
		scanned(pid, TARGET_READY);
		memset(scan.text, 'x', lens[i]);
		scan.text_bytes = lens[i];
		assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
		rec = collected_process(&infos, i, KRAIT_PROCESS_INFO);
		assert_int_equal(rec->text_bytes, want);
		assert_int_equal(rec->h.bytes, (sizeof(*rec) + want + 7) / 8 * 8);
		assert_memory_equal(process_text(rec), scan.text, want);
	}
}

static void test_emit_fails(void **state)
{
	(void)state;
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	scanned(PID, TARGET_READY);
	infos.err = -ENOSPC;
	assert_int_equal(classifier_take(c, &scan, NOW_NS), -ENOSPC);
}

/* The namer is told what the kernel's entry does not hold. */
/* Who reads the target's memory finds all of it, for as long as it is one. */
static void test_processes_are_told(void **state)
{
	const struct cpython *known;

	(void)state;
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	classify(PID, TARGET_READY);
	known = processes_find(processes, PID);
	assert_non_null(known);
	assert_memory_equal(known, &scan.target.python, sizeof(*known));
	kernel_entry(PID)->state = KRAIT_PROC_UNKNOWN; /* an exec between two ticks */
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	assert_null(processes_find(processes, PID));
	scanned(PID, TARGET_STARTING);
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_null(processes_find(processes, PID));
}

/* Nobody says that it has ended, as it was no target when it did. */
static void test_ended_meanwhile(void **state)
{
	(void)state;
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	scanned(PID, TARGET_READY);
	kernel_remove(PID);
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_null(processes_find(processes, PID));
	kernel_add(PID, KRAIT_PROC_UNKNOWN);
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	scanned(PID, TARGET_READY);
	kernel.ends_at_answer = true;
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_null(processes_find(processes, PID));
}

static void test_not_python(void **state)
{
	static const enum target_state states[] = {TARGET_NOT_PYTHON, TARGET_GONE, TARGET_KERNEL};

	(void)state;
	for (pid_t pid = 0; pid < 3; pid++) {
		kernel_add(pid + 1, KRAIT_PROC_UNKNOWN);
		classify(pid + 1, states[pid]);
		assert_int_equal(kernel_entry(pid + 1)->state, KRAIT_PROC_IGNORED);
	}
	assert_int_equal(infos.cnt, 0);
	assert_int_equal(result.python_cnt, 0);
	assert_int_equal(result.refusal_cnt, 0);
}

/* Ticks before the answer: on no target, or on one. */
static void test_ledger(void **state)
{
	static const struct {
		enum krait_proc_state before;
		enum target_state target;
		bool is_early, is_rejected;
	} cases[] = {
		{KRAIT_PROC_UNKNOWN, TARGET_NOT_PYTHON, false, true},
		{KRAIT_PROC_UNKNOWN, TARGET_READY, true, false},
		{KRAIT_PROC_UNKNOWN, TARGET_STARTING, true, false},
		{KRAIT_PROC_UNKNOWN, TARGET_UNSUPPORTED, true, false},
		{KRAIT_PROC_UNKNOWN, TARGET_FORBIDDEN, true, false},
		/* Those were counted as what they were then. */
		{KRAIT_PROC_STARTING, TARGET_READY, false, false},
		{KRAIT_PROC_IGNORED, TARGET_READY, false, false},
		{KRAIT_PROC_IGNORED, TARGET_NOT_PYTHON, false, false},
	};
	uint64_t early = 0, rejected = 0;

	(void)state;
	for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct krait_proc *entry = kernel_add(1 + i, cases[i].before);

		entry->unknown_ticks = 1U << i;
		classify(1 + i, cases[i].target);
		early += cases[i].is_early ? 1U << i : 0;
		rejected += cases[i].is_rejected ? 1U << i : 0;
		assert_int_equal(result.early_ticks, early);
		assert_int_equal(result.rejected_ticks, rejected);
		/* Not to be counted once more, nor to be taken for an address. */
		assert_int_equal(entry->unknown_ticks, cases[i].target == TARGET_READY ? 101 : 0);
	}
}

/* Ticks during the scan count too: the entry is that of the answer's time. */
static void test_entry_is_read_at_the_end(void **state)
{
	struct krait_proc *entry = kernel_add(PID, KRAIT_PROC_UNKNOWN);

	(void)state;
	entry->ask_again_ms = 1;
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	entry->unknown_ticks = 9;
	entry->ask_again_ms = 64;
	entry->ask_at_ns = NOW_NS + 77;
	scanned(PID, TARGET_NOT_PYTHON);
	scan.cost_ns = 1;
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_int_equal(result.rejected_ticks, 9);
	assert_int_equal(entry->ask_again_ms, 64);
	assert_true(entry->ask_at_ns == NOW_NS + 77);
}

/* What is dear to scan is not looked at again soon. */
static void test_cost(void **state)
{
	struct krait_proc *entry = kernel_add(PID, KRAIT_PROC_UNKNOWN);

	(void)state;
	entry->ask_at_ns = NOW_NS + 77;
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	scanned(PID, TARGET_NOT_PYTHON);
	scan.cost_ns = 3 * NS_PER_MS;
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_true(entry->ask_at_ns == NOW_NS + SCAN_COSTS * 3 * NS_PER_MS);
}

/* ---- Who is not wanted, and what can't be profiled ---- */

static void test_comm(void **state)
{
	static const struct {
		const char *wanted, *comm;
		bool is_wanted;
	} cases[] = {
		{"gunicorn", "gunicorn", true},
		{"gunicorn", "python3", false},
		{"gunicorn", "gunicorn3", false},
		{"gunicorn3", "gunicorn", false},
		/* The kernel keeps 15 bytes of a name. */
		{"celery-worker-of-mail", "celery-worker-o", true},
		{"celery-worker-of-mail", "celery-worker-0", false},
	};
	uint32_t pythons = 0;

	(void)state;
	for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct krait_proc *entry = kernel_add(1 + i, KRAIT_PROC_UNKNOWN);

		entry->unknown_ticks = 1;
		who.comm = cases[i].wanted;
		classifier_ask(c, 1 + i, NOW_NS);
		assert_int_equal(next(NOW_NS), 1 + i);
		strcpy(scanned(1 + i, TARGET_READY)->comm, cases[i].comm);
		assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
		pythons += cases[i].is_wanted;
		assert_int_equal(entry->state,
				 cases[i].is_wanted ? KRAIT_PROC_READY : KRAIT_PROC_IGNORED);
		assert_int_equal(result.python_cnt, pythons);
		assert_int_equal(result.early_ticks, pythons);
		assert_int_equal(result.rejected_ticks, 1 + i - pythons);
	}
}

/* Neither is one of another name waited for, nor told of if it can't be profiled. */
static void test_comm_of_others(void **state)
{
	(void)state;
	who.comm = "gunicorn";
	kernel_add(1, KRAIT_PROC_UNKNOWN);
	kernel_add(2, KRAIT_PROC_UNKNOWN);
	classify(1, TARGET_STARTING);
	classify(2, TARGET_UNSUPPORTED);
	assert_int_equal(kernel_entry(1)->state, KRAIT_PROC_IGNORED);
	assert_int_equal(kernel_entry(2)->state, KRAIT_PROC_IGNORED);
	assert_true(classifier_next_ns(c) == UINT64_MAX);
	assert_int_equal(result.refusal_cnt, 0);
}

static void test_failure(void **state)
{
	static const struct {
		int err;
		const char *why; /* NULL: trouble of our own, not told as one of the process */
	} cases[] = {{-ETIME, "in time"}, {-ECHILD, "crashed"}, {-EMFILE, NULL}};
	uint32_t told = 0;

	(void)state;
	for (pid_t pid = 1; pid <= 3; pid++) {
		struct krait_proc *entry = kernel_add(pid, KRAIT_PROC_UNKNOWN);

		entry->unknown_ticks = 1;
		entry->ask_again_ms = 2;
		classifier_ask(c, pid, NOW_NS);
		assert_int_equal(next(NOW_NS), pid);
		scanned(pid, TARGET_READY);
		scan.err = cases[pid - 1].err;
		assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
		assert_int_equal(entry->state, KRAIT_PROC_IGNORED);
		assert_int_equal(entry->ask_again_ms, FAILED_MS);
		assert_true(entry->ask_at_ns == NOW_NS + FAILED_MS * NS_PER_MS);
		assert_int_equal(result.rejected_ticks, pid);
		if (cases[pid - 1].why) {
			assert_non_null(strstr(result.refusals[told].why, cases[pid - 1].why));
			assert_int_equal(result.refusals[told].an_example_pid, pid);
			assert_false(result.refusals[told].is_forbidden);
			told++;
		}
		assert_int_equal(result.refusal_cnt, told);
	}
	for (uint32_t i = 0; i < told; i++)
		assert_int_equal(result.refusals[i].process_cnt, 1);
	assert_int_equal(infos.cnt, 0);
	assert_true(classifier_next_ns(c) == UINT64_MAX);
}

/* A scan that failed late: 64 times its cost is more than the usual pause. */
static void test_dear_failure(void **state)
{
	struct krait_proc *entry = kernel_add(PID, KRAIT_PROC_UNKNOWN);

	(void)state;
	classifier_ask(c, PID, NOW_NS);
	assert_int_equal(next(NOW_NS), PID);
	scanned(PID, TARGET_READY);
	scan.err = -ETIME;
	scan.cost_ns = NS_PER_S / 2;
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_true(entry->ask_at_ns == NOW_NS + SCAN_COSTS * NS_PER_S / 2);
}

static void refuse(pid_t pid, enum target_state target_state, const char *why)
{
	kernel_add(pid, KRAIT_PROC_UNKNOWN);
	classifier_ask(c, pid, NOW_NS);
	assert_int_equal(next(NOW_NS), pid);
	strcpy(scanned(pid, target_state)->why, why);
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
	assert_int_equal(kernel_entry(pid)->state, KRAIT_PROC_UNSUPPORTED);
}

static void test_refusals(void **state)
{
	char why[160];

	(void)state;
	memset(why, 'y', sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	refuse(1, TARGET_UNSUPPORTED, why);
	refuse(2, TARGET_FORBIDDEN, "needs root");
	refuse(3, TARGET_UNSUPPORTED, why);
	assert_int_equal(result.refusal_cnt, 2);
	assert_string_equal(result.refusals[0].why, why);
	assert_int_equal(result.refusals[0].process_cnt, 2);
	assert_int_equal(result.refusals[0].an_example_pid, 1);
	assert_false(result.refusals[0].is_forbidden);
	assert_string_equal(result.refusals[1].why, "needs root");
	assert_int_equal(result.refusals[1].process_cnt, 1);
	assert_int_equal(result.refusals[1].an_example_pid, 2);
	assert_true(result.refusals[1].is_forbidden);
	assert_int_equal(result.python_cnt, 0);
	assert_true(classifier_next_ns(c) == UINT64_MAX);
}

static void test_too_many_refusals(void **state)
{
	char why[32];
	pid_t pid;

	(void)state;
	for (pid = 1; pid <= SESSION_REFUSALS + 2; pid++) {
		snprintf(why, sizeof(why), "reason %d", pid);
		refuse(pid, TARGET_UNSUPPORTED, why);
	}
	assert_int_equal(result.refusal_cnt, SESSION_REFUSALS);
	assert_int_equal(result.others_refused, 2);
	refuse(pid++, TARGET_UNSUPPORTED, "reason 16"); /* there is room for one that is known */
	refuse(pid++, TARGET_UNSUPPORTED, "reason 17");
	assert_int_equal(result.refusals[15].process_cnt, 2);
	assert_int_equal(result.others_refused, 3);
}

/* ---- Those asked for by pid ---- */

static bool has_children;
static int checked;

static void check(void)
{
	checked = classifier_check(&scan, has_children);
}

/* What classifier_check returns, and whether its one line says this; NULL: it says nothing. */
static void assert_check(int want, const char *says)
{
	char text[1024];

	capture(STDERR_FILENO, check, text, sizeof(text));
	assert_int_equal(checked, want);
	if (!says) {
		assert_string_equal(text, "");
		return;
	}
	assert_non_null(strstr(text, "pid 7"));
	assert_non_null(strstr(text, says));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void test_check(void **state)
{
	static const struct {
		enum target_state state;
		int want;
		const char *says;
	} cases[] = {
		{TARGET_READY, 0, NULL},
		{TARGET_STARTING, 0, NULL},
		{TARGET_GONE, -ESRCH, "no such process"},
		{TARGET_KERNEL, -ESRCH, "kernel thread"},
		{TARGET_NOT_PYTHON, -ESRCH, "(python3) is no Python"},
		{TARGET_UNSUPPORTED, -ESRCH, "why not"},
		{TARGET_FORBIDDEN, -EPERM, "why not"},
	};

	(void)state;
	for (int with_children = 0; with_children < 2; with_children++)
		for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
			bool is_parent = with_children && cases[i].state == TARGET_NOT_PYTHON;

			has_children = with_children;
			scanned(PID, cases[i].state);
			assert_check(is_parent ? 0 : cases[i].want,
				     is_parent ? NULL : cases[i].says);
			scan.err = -ETIME;
			assert_check(-ETIME, strerror(ETIME));
		}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_ready),
		TEST(test_layouts),
		TEST(test_too_many_layouts),
		TEST(test_info),
		TEST(test_info_text),
		TEST(test_emit_fails),
		TEST(test_processes_are_told),
		TEST(test_ended_meanwhile),
		TEST(test_not_python),
		TEST(test_ledger),
		TEST(test_entry_is_read_at_the_end),
		TEST(test_cost),
		TEST(test_comm),
		TEST(test_comm_of_others),
		TEST(test_failure),
		TEST(test_dear_failure),
		TEST(test_refusals),
		TEST(test_too_many_refusals),
		TEST(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
