/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that wait for their names: which are scanned together and when, and what is told of them,
 * of targets that are none, and by results of scans that nobody has made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "tests/unit/collected.h"
#include "user/base/clock.h"
#include "user/session/namer.h"

#define PID 7
#define NOW_NS (1000 * NS_PER_S)
#define VERSION 0x030c04f0
#define WAITING_MAX 65536 /* threads */

static struct processes *processes;
static struct namer *n;
static struct collected names;
static struct scan_request request;
static struct scan_result scan; /* for namer_take */

/* The process is a target. */
static void target(pid_t pid, uint32_t version, uint32_t modules_off)
{
	const struct cpython python = {.version = version,
				       .interp_modules_off = modules_off,
				       .addrs.interp_head = 1000 + (uint64_t)pid,
				       .walk = {.ts_frame_off = 100 + pid}};

	processes_ready(processes, pid, &python);
}

/* Process PID is one. */
static int set_up(void **state)
{
	(void)state;
	memset(&request, 0, sizeof(request));
	memset(&scan, 0, sizeof(scan));
	processes = processes_new(NULL);
	n = namer_new(processes, collect, &names);
	if (processes)
		target(PID, VERSION, 16);
	return processes && n ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	namer_free(n);
	processes_free(processes);
	collected_release(&names);
	return 0;
}

static void thread(pid_t pid, uint32_t tid)
{
	namer_thread(n, &(struct krait_process_rec){
				.pid = pid, .tid = tid, .ident = 0x7f0000000000 + tid});
}

/* The next scan is of these threads of pid, in this order; a tid of 0 ends them. */
static void assert_next(uint64_t now_ns, pid_t pid, const uint32_t *tids)
{
	uint32_t i = 0;

	assert_true(namer_next(n, now_ns, false, &request));
	assert_int_equal(request.kind, SCAN_NAMES);
	assert_int_equal(request.pid, pid);
	for (; tids[i]; i++) {
		assert_true(i < request.thread_cnt);
		assert_int_equal(request.threads[i].tid, tids[i]);
		assert_int_equal(request.threads[i].ident, 0x7f0000000000 + tids[i]);
	}
	assert_int_equal(request.thread_cnt, i);
}

#define ASSERT_NEXT(now_ns, pid, ...) assert_next(now_ns, pid, (const uint32_t[]){__VA_ARGS__, 0})

static void assert_none(uint64_t now_ns)
{
	assert_false(namer_next(n, now_ns, false, &request));
}

/* The scan's result: the names, each ended by a NUL. */
static int take(uint64_t now_ns, const char *text, uint32_t bytes)
{
	memset(&scan, 0x55, sizeof(scan)); /* what an earlier scan has left behind */
	scan.err = 0;
	memcpy(scan.text, text, bytes);
	scan.text_bytes = bytes;
	return namer_take(n, &scan, now_ns);
}

#define TAKE(now_ns, text) assert_int_equal(take(now_ns, text, sizeof(text)), 0)

/* NAME record i is of this thread. */
static void assert_name(uint32_t i, uint32_t tid, const char *name)
{
	const struct krait_process_rec *rec = collected_process(&names, i, KRAIT_PROCESS_NAME);

	assert_int_equal(rec->pid, PID);
	assert_int_equal(rec->tid, tid);
	assert_int_equal(rec->text_bytes, strlen(name));
	assert_memory_equal(process_text(rec), name, strlen(name));
}

/* ---- Which are scanned ---- */

static void test_nobody_waits(void **state)
{
	(void)state;
	assert_none(UINT64_MAX);
	assert_false(namer_next(n, UINT64_MAX, true, &request));
	assert_true(namer_next_ns(n) == UINT64_MAX);
	namer_free(NULL);
}

static void test_request(void **state)
{
	(void)state;
	thread(PID, 70);
	assert_true(namer_next_ns(n) <= NOW_NS);
	ASSERT_NEXT(NOW_NS, PID, 70);
	assert_memory_equal(&request.python, processes_find(processes, PID),
			    sizeof(request.python));
	assert_none(NOW_NS);
	assert_true(namer_next_ns(n) == UINT64_MAX);
}

/* A process at a time, that of the one that has waited for the longest first. */
static void test_batches(void **state)
{
	(void)state;
	target(8, 0x030d00f0, 24);
	thread(8, 80);
	thread(PID, 70);
	thread(PID, 71);
	thread(8, 81);
	thread(PID, 72);
	ASSERT_NEXT(NOW_NS, 8, 80, 81);
	assert_int_equal(request.python.version, 0x030d00f0);
	assert_int_equal(request.python.interp_modules_off, 24);
	assert_int_equal(request.python.addrs.interp_head, 1008);
	assert_int_equal(request.python.walk.ts_frame_off, 108);
	ASSERT_NEXT(NOW_NS, PID, 70, 71, 72);
	assert_int_equal(request.python.version, VERSION);
	assert_none(NOW_NS);
}

static void test_many_threads(void **state)
{
	(void)state;
	for (uint32_t tid = 1; tid <= SCAN_THREADS + 2; tid++)
		thread(PID, tid);
	assert_true(namer_next(n, NOW_NS, false, &request));
	assert_int_equal(request.thread_cnt, SCAN_THREADS);
	for (uint32_t i = 0; i < SCAN_THREADS; i++)
		assert_int_equal(request.threads[i].tid, 1 + i);
	ASSERT_NEXT(NOW_NS, PID, SCAN_THREADS + 1, SCAN_THREADS + 2);
	assert_none(NOW_NS);
}

/* Beyond that a thread keeps the kernel's name. */
static void test_too_many_wait(void **state)
{
	uint32_t scanned = 0;

	(void)state;
	for (uint32_t tid = 1; tid <= WAITING_MAX + 5; tid++)
		thread(PID, tid);
	while (namer_next(n, NOW_NS, false, &request)) {
		assert_int_equal(request.threads[0].tid, scanned + 1);
		scanned += request.thread_cnt;
		assert_int_equal(take(NOW_NS, "", 0), 0);
	}
	assert_int_equal(scanned, WAITING_MAX);
	/* All of them once again. */
	scanned = 0;
	while (namer_next(n, NOW_NS + NAMER_AGAIN_NS, false, &request)) {
		scanned += request.thread_cnt;
		assert_int_equal(take(NOW_NS + NAMER_AGAIN_NS, "", 0), 0);
	}
	assert_int_equal(scanned, WAITING_MAX);
	thread(PID, 1); /* there is room again */
	ASSERT_NEXT(NOW_NS, PID, 1);
}

/* Those of what is no target (any more) are no longer waited for; the others are. */
static void test_no_target(void **state)
{
	(void)state;
	target(8, VERSION, 16);
	thread(5, 50);
	thread(8, 80);
	thread(PID, 70);
	processes_ended(processes, 8);
	ASSERT_NEXT(NOW_NS, PID, 70);
	assert_none(NOW_NS);
	assert_true(namer_next_ns(n) == UINT64_MAX);
}

/* One that was a target at the first scan only is scanned no second time. */
static void test_is_gone_then(void **state)
{
	(void)state;
	thread(PID, 70);
	ASSERT_NEXT(NOW_NS, PID, 70);
	processes_ended(processes, PID);
	TAKE(NOW_NS, "worker");
	assert_name(0, 70, "worker");
	assert_none(NOW_NS + NAMER_AGAIN_NS);
	assert_true(namer_next_ns(n) == UINT64_MAX);
}

/* ---- When ---- */

static void test_twice(void **state)
{
	(void)state;
	thread(PID, 70);
	ASSERT_NEXT(NOW_NS, PID, 70);
	TAKE(NOW_NS + 5, "");
	assert_true(namer_next_ns(n) == NOW_NS + 5 + NAMER_AGAIN_NS);
	assert_none(NOW_NS + 5 + NAMER_AGAIN_NS - 1);
	ASSERT_NEXT(NOW_NS + 5 + NAMER_AGAIN_NS, PID, 70);
	TAKE(NOW_NS + 5 + NAMER_AGAIN_NS, "");
	assert_true(namer_next_ns(n) == UINT64_MAX);
	assert_none(UINT64_MAX);
	assert_int_equal(names.cnt, 0);
}

/* A scan that failed has no text: the thread has its second one all the same. */
static void test_failure(void **state)
{
	(void)state;
	thread(PID, 70);
	thread(PID, 71);
	ASSERT_NEXT(NOW_NS, PID, 70, 71);
	memset(&scan, 0x55, sizeof(scan));
	scan.err = -ETIME;
	scan.text_bytes = 0;
	assert_int_equal(namer_take(n, &scan, NOW_NS), 0);
	assert_int_equal(names.cnt, 0);
	ASSERT_NEXT(NOW_NS + NAMER_AGAIN_NS, PID, 70, 71);
}

/* New ones do not wait for those that wait for their second scan, nor hurry them. */
static void test_times(void **state)
{
	(void)state;
	thread(PID, 70);
	ASSERT_NEXT(NOW_NS, PID, 70);
	TAKE(NOW_NS, "");
	thread(PID, 71);
	assert_true(namer_next_ns(n) <= NOW_NS);
	ASSERT_NEXT(NOW_NS + 1, PID, 71);
	TAKE(NOW_NS + 1, "");
	assert_true(namer_next_ns(n) == NOW_NS + NAMER_AGAIN_NS);
	ASSERT_NEXT(NOW_NS + NAMER_AGAIN_NS, PID, 70);
	ASSERT_NEXT(NOW_NS + NAMER_AGAIN_NS + 1, PID, 71);
}

/* The end of a run. */
static void test_all(void **state)
{
	(void)state;
	thread(PID, 70);
	ASSERT_NEXT(NOW_NS, PID, 70);
	TAKE(NOW_NS, "");
	thread(PID, 71);
	assert_true(namer_next(n, NOW_NS, true, &request));
	assert_int_equal(request.thread_cnt, 2);
	assert_int_equal(request.threads[0].tid, 70);
	assert_int_equal(request.threads[1].tid, 71);
	assert_int_equal(take(NOW_NS, "a\0b", 4), 0);
	assert_name(0, 70, "a");
	assert_name(1, 71, "b");
	/* 70 had its second scan; 71 waits for it. */
	assert_none(NOW_NS);
	assert_true(namer_next(n, NOW_NS, true, &request));
	assert_int_equal(request.thread_cnt, 1);
	assert_int_equal(request.threads[0].tid, 71);
}

/* ---- What is told ---- */

static void test_names(void **state)
{
	static const char text[] = "MainThread\0\0pool-1\0seven77\0eight888\0";
	static const uint32_t tids[] = {70, 72, 73, 74};
	static const char *const want[] = {"MainThread", "pool-1", "seven77", "eight888"};
	const struct krait_process_rec *rec;

	(void)state;
	for (uint32_t tid = 70; tid <= 75; tid++)
		thread(PID, tid);
	ASSERT_NEXT(NOW_NS, PID, 70, 71, 72, 73, 74, 75);
	TAKE(NOW_NS, text);
	assert_int_equal(names.cnt, 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_name(i, tids[i], want[i]);
	rec = collected_process(&names, 0, KRAIT_PROCESS_NAME);
	assert_true(rec->time_ns > 0 && rec->time_ns <= clock_ns(CLOCK_MONOTONIC));
	assert_int_equal(rec->ident, 0);
	assert_int_equal(rec->h.bytes, (sizeof(*rec) + strlen("MainThread") + 7) / 8 * 8);
}

/* A text that ends early ends the names: no byte behind it is one. */
static void test_short_text(void **state)
{
	(void)state;
	thread(PID, 70);
	thread(PID, 71);
	thread(PID, 72);
	ASSERT_NEXT(NOW_NS, PID, 70, 71, 72);
	assert_int_equal(take(NOW_NS, "one\0two", 6), 0);
	assert_int_equal(names.cnt, 2);
	assert_name(0, 70, "one");
	assert_name(1, 71, "tw");
}

static void test_full_text(void **state)
{
	static char text[SCAN_TEXT_BYTES];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[2] = '\0';
	thread(PID, 70);
	thread(PID, 71);
	ASSERT_NEXT(NOW_NS, PID, 70, 71);
	assert_int_equal(take(NOW_NS, text, sizeof(text)), 0);
	assert_int_equal(names.cnt, 2);
	assert_name(0, 70, "xx");
	/* Cut to what a name may be. */
	assert_int_equal(collected_process(&names, 1, KRAIT_PROCESS_NAME)->text_bytes,
			 THREAD_NAME_BYTES);
}

static void test_long_names(void **state)
{
	char text[THREAD_NAME_BYTES + 2];

	(void)state;
	memset(text, 'y', sizeof(text));
	for (uint32_t len = THREAD_NAME_BYTES - 1; len <= THREAD_NAME_BYTES + 1; len++) {
		uint32_t want = len < THREAD_NAME_BYTES ? len : THREAD_NAME_BYTES;
		const struct krait_process_rec *rec;

		thread(PID, len);
		ASSERT_NEXT(NOW_NS, PID, len);
		assert_int_equal(take(NOW_NS, text, len), 0);
		rec = collected_process(&names, names.cnt - 1, KRAIT_PROCESS_NAME);
		assert_int_equal(rec->tid, len);
		assert_int_equal(rec->text_bytes, want);
		assert_memory_equal(process_text(rec), text, want);
	}
	assert_int_equal(names.cnt, 3);
}

/* A name is told once; at the second scan only if it is another. */
static void test_told_once(void **state)
{
	(void)state;
	for (uint32_t tid = 70; tid <= 74; tid++)
		thread(PID, tid);
	ASSERT_NEXT(NOW_NS, PID, 70, 71, 72, 73, 74);
	TAKE(NOW_NS, "same\0Thread-1\0\0gone\0pool");
	assert_int_equal(names.cnt, 4);
	ASSERT_NEXT(NOW_NS + NAMER_AGAIN_NS, PID, 70, 71, 72, 73, 74);
	TAKE(NOW_NS + NAMER_AGAIN_NS, "same\0Thread-2\0late\0\0pool-1");
	assert_int_equal(names.cnt, 7);
	assert_name(4, 71, "Thread-2");
	assert_name(5, 72, "late");
	assert_name(6, 74, "pool-1");
}

/* The kernel's name has changed, so Python's may have: both scans once more. */
static void test_new_record(void **state)
{
	(void)state;
	thread(PID, 70);
	ASSERT_NEXT(NOW_NS, PID, 70);
	TAKE(NOW_NS, "first");
	ASSERT_NEXT(NOW_NS + NAMER_AGAIN_NS, PID, 70);
	TAKE(NOW_NS + NAMER_AGAIN_NS, "first");
	thread(PID, 70);
	ASSERT_NEXT(NOW_NS + NAMER_AGAIN_NS, PID, 70);
	TAKE(NOW_NS + NAMER_AGAIN_NS, "second");
	ASSERT_NEXT(NOW_NS + 2 * NAMER_AGAIN_NS, PID, 70);
	assert_int_equal(names.cnt, 2);
	assert_name(0, 70, "first");
	assert_name(1, 70, "second");
}

/* The first failure is the last record; the threads go on waiting. */
static void test_emit_fails(void **state)
{
	(void)state;
	for (uint32_t tid = 70; tid <= 72; tid++)
		thread(PID, tid);
	ASSERT_NEXT(NOW_NS, PID, 70, 71, 72);
	names.err = -ENOSPC;
	names.err_at = 2;
	assert_int_equal(take(NOW_NS, "a\0b\0c", 6), -ENOSPC);
	assert_int_equal(names.cnt, 2);
	ASSERT_NEXT(NOW_NS + NAMER_AGAIN_NS, PID, 70, 71, 72);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_nobody_waits), TEST(test_request),	   TEST(test_batches),
		TEST(test_many_threads), TEST(test_too_many_wait), TEST(test_no_target),
		TEST(test_is_gone_then), TEST(test_twice),	   TEST(test_failure),
		TEST(test_times),	 TEST(test_all),	   TEST(test_names),
		TEST(test_short_text),	 TEST(test_full_text),	   TEST(test_long_names),
		TEST(test_told_once),	 TEST(test_new_record),	   TEST(test_emit_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
