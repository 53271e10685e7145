/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is scanned for memory that ticks lacked, and when: all times are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "user/base/clock.h"
#include "user/session/pager.h"

#define START_NS (100 * NS_PER_S)
#define NO_TARGET 7

static struct processes *processes;

/* What is known of the process; NO_TARGET is none. */
static struct cpython python_of(pid_t pid)
{
	return (struct cpython){.addrs.interp_head = 0x1000 + (uint64_t)pid, .walk.fr_prev_off = 8};
}

static int set_up(void **state)
{
	processes = processes_new(NULL);
	*state = pager_new(processes);
	assert_non_null(processes);
	assert_non_null(*state);
	return 0;
}

static int tear_down(void **state)
{
	pager_free(*state);
	processes_free(processes);
	return 0;
}

/* ---- Steps ---- */

static void tell(struct pager *p, uint32_t pid, uint64_t frame, uint64_t now_ns)
{
	struct krait_absent_rec rec = {.pid = pid, .frame_addr = frame, .tstate_addr = 0x3000};
	struct cpython python = python_of((pid_t)pid);

	if (pid != NO_TARGET)
		processes_ready(processes, (pid_t)pid, &python);
	pager_absent(p, &rec, now_ns);
}

static void assert_next(struct pager *p, uint64_t now_ns, pid_t pid)
{
	static struct scan_request q;
	const struct cpython python = python_of(pid);

	assert_true(pager_next_ns(p) <= now_ns);
	assert_true(pager_next(p, now_ns, &q));
	assert_int_equal(q.kind, SCAN_PAGES);
	assert_int_equal(q.pid, pid);
	assert_memory_equal(&q.python, &python, sizeof(python));
}

static void assert_none(struct pager *p, uint64_t now_ns)
{
	static struct scan_request q;

	assert_true(pager_next_ns(p) > now_ns);
	assert_false(pager_next(p, now_ns, &q));
}

static void take(struct pager *p, int err, uint32_t page_cnt, uint64_t now_ns)
{
	static struct scan_result r;

	r.err = err;
	r.page_cnt = page_cnt;
	pager_take(p, &r, now_ns);
}

/* ---- Tests ---- */

static void test_a_process_waits_once(void **state)
{
	static struct scan_request q;
	struct pager *p = *state;

	assert_true(pager_next_ns(p) == UINT64_MAX);
	tell(p, 1, 0x10, START_NS);
	tell(p, 2, 0x20, START_NS + 1);
	tell(p, 1, 0x11, START_NS + 2);
	assert_true(pager_next(p, START_NS + 2, &q));
	assert_int_equal(q.pid, 1);		     /* it waits longest, */
	assert_int_equal(q.absent.frame_addr, 0x11); /* for what it lacked last */
	take(p, 0, 1, START_NS + 2);
	assert_next(p, START_NS + 2, 2);
	take(p, 0, 1, START_NS + 2);
	assert_none(p, START_NS + 2 * PAGER_PAUSE_MAX_NS);
}

static void test_once_a_second(void **state)
{
	struct pager *p = *state;
	uint64_t now_ns = START_NS;

	for (int i = 0; i < 20; i++, now_ns += PAGER_PAUSE_NS) {
		tell(p, 1, 0x10, now_ns - 1);
		assert_next(p, now_ns, 1);
		tell(p, 1, 0x10, now_ns); /* what the scan under way may bring back yet */
		take(p, 0, 256, now_ns);
		assert_true(pager_next_ns(p) == UINT64_MAX);
		tell(p, 1, 0x10, now_ns + 1);
		assert_none(p, now_ns + PAGER_PAUSE_NS - 1);
	}
}

/* From one second to eight, as long as nothing helps; and the shortest again after a time in which
 * nothing was lacking. */
static void test_pause(void **state)
{
	static const uint64_t pauses_s[] = {2, 4, 8, 8, 8};
	struct pager *p = *state;
	uint64_t now_ns = START_NS;

	tell(p, 1, 0x10, now_ns);
	for (int i = 0; i < 5; i++) {
		assert_next(p, now_ns, 1);
		take(p, 0, 0, now_ns);
		tell(p, 1, 0x10, now_ns + 1);
		assert_int_equal(pager_next_ns(p), now_ns + pauses_s[i] * NS_PER_S);
		now_ns += pauses_s[i] * NS_PER_S;
	}
	assert_next(p, now_ns, 1);
	take(p, 0, 1, now_ns); /* it helps */
	tell(p, 1, 0x10, now_ns + 1);
	assert_int_equal(pager_next_ns(p), now_ns + PAGER_PAUSE_NS);
	now_ns += PAGER_PAUSE_NS;
	assert_next(p, now_ns, 1);
	take(p, 0, 0, now_ns);
	now_ns += 2 * 2 * PAGER_PAUSE_NS + 1;
	tell(p, 1, 0x10, now_ns); /* quiet as long again as its pause was */
	assert_next(p, now_ns, 1);
	take(p, 0, 0, now_ns);
	tell(p, 1, 0x10, now_ns + 1);
	assert_int_equal(pager_next_ns(p), now_ns + 2 * PAGER_PAUSE_NS);
}

/* What made a scan hang is not scanned again; another life of the pid is. */
static void test_given_up(void **state)
{
	struct pager *p = *state;
	uint64_t now_ns = START_NS;

	tell(p, 1, 0x10, now_ns);
	assert_next(p, now_ns, 1);
	take(p, -ETIME, 0, now_ns);
	now_ns += 1000 * PAGER_PAUSE_MAX_NS;
	tell(p, 1, 0x10, now_ns);
	assert_none(p, now_ns);
	pager_ended(p, 1);
	tell(p, 1, 0x10, now_ns);
	assert_next(p, now_ns, 1);
}

/* The scanner's workers are for other scans, too. */
static void test_too_many_failures(void **state)
{
	struct pager *p = *state;

	for (uint32_t i = 0; i < PAGER_FAILURES_MAX; i++) {
		tell(p, 10 + i, 0x10, START_NS);
		assert_next(p, START_NS, 10 + i);
		if (i % 2)
			pager_ended(p, 10 + i); /* that changes nothing */
		take(p, i % 2 ? -ECHILD : -ETIME, 0, START_NS);
	}
	tell(p, 1, 0x10, START_NS);
	assert_none(p, START_NS);
	assert_true(pager_next_ns(p) == UINT64_MAX);
}

static void test_ended(void **state)
{
	struct pager *p = *state;

	tell(p, 1, 0x10, START_NS);
	pager_ended(p, 1);
	pager_ended(p, 2); /* of which nothing is known */
	assert_none(p, START_NS);
	tell(p, 1, 0x10, START_NS);
	assert_next(p, START_NS, 1);
	pager_ended(p, 1); /* while it is scanned; the pid is another's at once */
	tell(p, 1, 0x10, START_NS);
	take(p, 0, 0, START_NS);
	assert_next(p, START_NS, 1);
	take(p, 0, 0, START_NS);
	tell(p, NO_TARGET, 0x10, START_NS);
	tell(p, 2, 0x10, START_NS);
	assert_next(p, START_NS, 2);
}

/* It remembers so many; the quiet ones make room. */
static void test_many(void **state)
{
	static struct scan_request q;
	struct pager *p = *state;
	uint64_t later_ns = START_NS + 4 * PAGER_PAUSE_NS;
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < 2 * PAGER_PROCESSES_MAX; i++)
		tell(p, 100 + i, 0x10, START_NS);
	for (; pager_next(p, START_NS, &q); cnt++)
		take(p, 0, 1, START_NS);
	assert_int_equal(cnt, PAGER_PROCESSES_MAX);
	tell(p, 1, 0x10, START_NS);
	assert_none(p, START_NS);
	tell(p, 1, 0x10, later_ns);
	assert_next(p, later_ns, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_a_process_waits_once),
		TEST(test_once_a_second),
		TEST(test_pause),
		TEST(test_given_up),
		TEST(test_too_many_failures),
		TEST(test_ended),
		TEST(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
