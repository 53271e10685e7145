/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run, step by step, on a kernel, a scanner and a clock made by hand: its times, its records, how
 * it begins and how it ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/fake_run.h"

#define STEP 128 /* records between two looks at the clock */

/* ---- Time ---- */

static void test_duration(void **state)
{
	const struct session_result *r;

	(void)state;
	opts.duration_ns = 90 * NS_PER_S;
	begin();
	for (int i = 0; i < 89; i++)
		assert_int_equal(pass(NS_PER_S), 1);
	assert_int_equal(pass(NS_PER_S - 1), 1);
	assert_int_equal(session_step(s, true), 1);
	assert_int_equal(pass(1), 0);
	fake_pass(5);
	r = finish();
	assert_true(r->start_mono_ns == FAKE_START_NS);
	assert_true(r->duration_ns == 90 * NS_PER_S + 5);
	assert_int_equal(r->command_status, -1);
}

static void test_no_duration(void **state)
{
	(void)state;
	begin();
	for (int i = 0; i < 100; i++)
		assert_int_equal(pass(3600 * NS_PER_S), 1);
	finish();
}

/* Nothing to do before the nearest time has come. */
static void test_timeout(void **state)
{
	(void)state;
	opts.duration_ns = DRAIN_NS + 3;
	begin();
	fake_queue_samples(1);
	assert_int_equal(session_timeout_ms(s), DRAIN_NS / NS_PER_MS);
	fake_pass(1);
	assert_int_equal(session_timeout_ms(s), DRAIN_NS / NS_PER_MS); /* never too early */
	fake_pass(DRAIN_NS - 2);
	assert_int_equal(session_timeout_ms(s), 1);
	assert_int_equal(session_step(s, false), 1);
	assert_int_equal(sunk.cnt, 0);
	fake_pass(1);
	assert_int_equal(session_timeout_ms(s), 0);
	assert_int_equal(session_step(s, false), 1);
	assert_int_equal(sunk.cnt, 1);
	assert_int_equal(session_timeout_ms(s), 1);
	fake_pass(2);
	assert_int_equal(session_timeout_ms(s), 1);
	fake_pass(1);
	assert_int_equal(session_timeout_ms(s), 0);
	assert_false(has_event(0));
	assert_int_equal(session_step(s, false), 0);
	finish();
}

/* What can't wait: the ring says so, or a scan has ended. */
static void test_fd_of_others(void **state)
{
	(void)state;
	begin();
	fake_queue_process(KRAIT_PROCESS_SEEN, 5, 5);
	kernel_add(5, KRAIT_PROC_UNKNOWN);
	fake_signal(fake.ring_fd);
	assert_true(has_event(0));
	assert_int_equal(session_step(s, false), 1);
	assert_int_equal(sunk.cnt, 0);
	assert_int_equal(session_step(s, true), 1);
	assert_int_equal(sunk.cnt, 1);
	assert_int_equal(fake.scan_cnt, 1);
	assert_true(has_event(0));
	assert_int_equal(session_step(s, true), 1);
	assert_int_equal(kernel.classified_cnt, 1);
	assert_false(is_ready(0));
}

/* A scan that comes to no end is given up when its time is over. */
static void test_fd_of_a_stuck_scan(void **state)
{
	(void)state;
	fake.is_stuck = true;
	fake.stuck_until_ns = fake.now_ns + 7 * NS_PER_MS;
	begin();
	fake_queue_process(KRAIT_PROCESS_SEEN, 5, 5);
	kernel_add(5, KRAIT_PROC_UNKNOWN);
	fake_signal(fake.ring_fd);
	assert_int_equal(settle(), 1);
	assert_int_equal(session_step(s, true), 1); /* for nothing */
	fake_pass(7 * NS_PER_MS - 1);
	assert_false(is_ready(0));
	fake_pass(1);
	assert_true(is_ready(0));
	assert_int_equal(session_step(s, true), 1);
	assert_int_equal(kernel.classified_cnt, 1);
}

/* Once a second stacks are verified once more, and timers looked at. */
static void test_epochs(void **state)
{
	(void)state;
	begin();
	assert_int_equal(pass(NS_PER_S - 1), 1);
	assert_int_equal(fake.epochs, 0);
	for (uint32_t i = 1; i < 10; i++) {
		assert_int_equal(pass(1), 1);
		assert_int_equal(fake.epochs, i);
		assert_int_equal(fake.revivals, i);
		assert_int_equal(pass(NS_PER_S - 1), 1);
		assert_int_equal(fake.epochs, i);
	}
}

/* Who waits as long as he is told to, and comes a little late, wakes up for the drains alone. */
static void test_wake_ups(void **state)
{
	(void)state;
	begin();
	fake_pass(70 * NS_PER_MS); /* something else, out of step */
	fake_signal(fake.ring_fd);
	assert_int_equal(session_step(s, true), 1);
	for (uint32_t i = 1; i <= 40; i++) {
		fake_pass(session_timeout_ms(s) * NS_PER_MS + 1500000);
		fake_queue_samples(1);
		assert_int_equal(session_step(s, false), 1);
		assert_int_equal(sunk.cnt, i);
		assert_int_equal(fake.epochs, i / 4);
	}
}

/* ---- Records ---- */

static void test_records(void **state)
{
	const struct session_result *r;

	(void)state;
	begin();
	fake_queue_process(KRAIT_PROCESS_EXEC, 5, 5);
	fake_queue_samples(3 * STEP);
	assert_int_equal(pass(DRAIN_NS), 1);
	assert_int_equal(sunk.cnt, 1 + 3 * STEP);
	fake_queue_process(KRAIT_PROCESS_EXIT, 5, 5);
	fake_queue_samples(2);
	assert_int_equal(pass(DRAIN_NS), 1);
	assert_int_equal(sunk.cnt, fake.queued_cnt);
	for (uint32_t i = 0; i < sunk.cnt; i++)
		assert_memory_equal(sunk.recs[i], &fake.queue[i], fake.queue[i].h.bytes);
	assert_int_equal(session_sample_cnt(s), 3 * STEP + 2);
	r = finish();
	assert_int_equal(r->records_malformed, 0);
	assert_int_equal(r->first_sample_ns, 1);
}

/* The first sample's time, whichever CPU's came first. */
static void test_first_sample(void **state)
{
	static const uint32_t after_ns[] = {500, 300, 400};

	(void)state;
	begin();
	for (uint32_t i = 0; i < 3; i++) {
		union queued rec = fake_sample(fake.now_ns + after_ns[i]);

		fake_queue(&rec);
	}
	assert_int_equal(session_result(s)->first_sample_ns, 0);
	assert_int_equal(pass(DRAIN_NS), 1);
	assert_int_equal(session_result(s)->first_sample_ns, 300);
}

/* A long drain gives way, and goes on at once. */
static void test_slices(void **state)
{
	(void)state;
	begin();
	fake_queue_samples(7 * STEP);
	fake.drain_step_ns = 6 * NS_PER_MS;
	fake_pass(DRAIN_NS);
	for (uint32_t taken = 2 * STEP; taken <= 6 * STEP; taken += 2 * STEP) {
		assert_true(is_ready(0));
		assert_int_equal(session_step(s, true), 1);
		assert_int_equal(sunk.cnt, taken);
	}
	assert_true(is_ready(0));
	assert_int_equal(session_step(s, true), 1);
	assert_int_equal(sunk.cnt, 7 * STEP);
	assert_false(is_ready(0));
}

/* The drain under way began before the last of them were written. */
static void test_drain_all(void **state)
{
	(void)state;
	begin();
	fake_queue_samples(3 * STEP);
	fake.drain_step_ns = 20 * NS_PER_MS;
	fake_pass(DRAIN_NS);
	assert_int_equal(session_step(s, true), 1);
	assert_int_equal(sunk.cnt, STEP);
	fake_queue_samples(3 * STEP);
	assert_int_equal(session_drain(s), 0);
	assert_int_equal(sunk.cnt, 6 * STEP);
}

/* The sink's error ends the run, whoever hands the record on, and no other record comes. */
static void test_sink_fails(void **state)
{
	(void)state;
	sunk.err = -ENOSPC;
	sunk.err_at = 3;
	begin();
	fake_queue_samples(5);
	assert_int_equal(pass(DRAIN_NS), -ENOSPC);
	assert_int_equal(session_step(s, true), -ENOSPC);
	assert_int_equal(session_finish(s), -ENOSPC);
	assert_int_equal(sunk.cnt, 3);
	assert_true(fake.is_stopped);
}

static void test_sink_fails_at_info(void **state)
{
	(void)state;
	sunk.err = -ENOSPC;
	sunk.err_at = 2;
	fake.target_pid = 5;
	fake.target_state = TARGET_READY;
	begin();
	kernel_add(5, KRAIT_PROC_UNKNOWN);
	fake_queue_process(KRAIT_PROCESS_SEEN, 5, 5);
	assert_int_equal(pass(DRAIN_NS), -ENOSPC);
	assert_int_equal(session_finish(s), -ENOSPC);
	assert_int_equal(sunk.cnt, 2);
}

static void test_sink_fails_at_the_end(void **state)
{
	(void)state;
	sunk.err = -ENOSPC;
	sunk.err_at = 2;
	begin();
	fake_queue_samples(5);
	assert_int_equal(session_drain(s), -ENOSPC);
	assert_int_equal(session_finish(s), -ENOSPC);
	assert_int_equal(sunk.cnt, 2);
}

static void test_drain_fails(void **state)
{
	(void)state;
	fake.drain_err = -EIO;
	begin();
	assert_int_equal(pass(DRAIN_NS), -EIO);
	assert_int_equal(session_finish(s), -EIO);
}

static void test_malformed(void **state)
{
	union queued bad[3];

	(void)state;
	begin();
	for (uint32_t i = 0; i < 3; i++)
		bad[i] = fake_sample(fake.now_ns);
	bad[0].h.kind = 9;
	bad[1].h.bytes = sizeof(bad[1].sample) - 8;
	bad[2] = (union queued){
		.process = {.h = {.kind = KRAIT_PROCESS, .bytes = sizeof(struct krait_process_rec)},
			    .what = KRAIT_PROCESS_SEEN,
			    .pid = 5,
			    .text_bytes = 1}};
	kernel_add(5, KRAIT_PROC_UNKNOWN);
	for (uint32_t i = 0; i < 3; i++) {
		fake_queue_samples(1);
		fake_queue(&bad[i]);
	}
	fake_queue_samples(1);
	assert_int_equal(pass(DRAIN_NS), 1);
	assert_int_equal(sunk.cnt, 4);
	assert_int_equal(session_sample_cnt(s), 4);
	assert_int_equal(fake.scan_cnt, 0); /* nor was it acted on */
	assert_int_equal(finish()->records_malformed, 3);
}

/* ---- The end ---- */

static void test_finish(void **state)
{
	uint64_t counters[KRAIT_CNT_CNT];
	const struct session_result *r;

	(void)state;
	target(5, TARGET_READY);
	begin();
	kernel_add(5, KRAIT_PROC_UNKNOWN)->unknown_ticks = 10;
	kernel_add(6, KRAIT_PROC_UNKNOWN)->unknown_ticks = 4;
	fake_queue_process(KRAIT_PROCESS_SEEN, 5, 5);
	fake_queue_process(KRAIT_PROCESS_SEEN, 6, 6);
	assert_int_equal(pass(DRAIN_NS), 1);
	fake_queue_samples(2 * STEP);
	fake.last = fake_sample(fake.now_ns);
	fake.counters[KRAIT_CNT_UNKNOWN_TICKS] = 20;
	fake.counters[KRAIT_CNT_OTHER_TICKS] = 100;
	fake.counters[KRAIT_CNT_TARGET_TICKS] = 50;
	fake.counters[KRAIT_LOSS_STARTING] = 1;
	fake.counters[KRAIT_CNT_SAMPLES] = 49;
	fake.bpf_ns = 777;
	session_counters(s, counters); /* of the last drain */
	assert_int_equal(counters[KRAIT_CNT_SAMPLES], 0);
	assert_int_equal(counters[KRAIT_CNT_TARGET_TICKS], 10);
	r = finish();
	assert_int_equal(session_sample_cnt(s), 2 * STEP + 1);
	assert_int_equal(r->counters[KRAIT_CNT_UNKNOWN_TICKS], 6);
	assert_int_equal(r->counters[KRAIT_CNT_OTHER_TICKS], 104);
	assert_int_equal(r->counters[KRAIT_CNT_TARGET_TICKS], 60);
	assert_int_equal(r->counters[KRAIT_LOSS_STARTING], 11);
	assert_int_equal(r->counters[KRAIT_CNT_SAMPLES], 49);
	assert_int_equal(r->bpf_ns, 777);
	assert_int_equal(r->max_weight, 1);
	assert_int_equal(r->slow_s, 0);
	assert_int_equal(r->tick_cnt, 0);
}

static void test_measure(void **state)
{
	const struct session_result *r;

	(void)state;
	opts.measure = true;
	begin();
	assert_true(fake.opts.measure);
	kernel_add(5, KRAIT_PROC_IGNORED);
	r = finish();
	assert_int_equal(r->tick_total_ns, 6000);
	assert_int_equal(r->tick_cnt, 2);
	assert_int_equal(r->usage.procs.used, 1);
	assert_true(r->end_cpu_ns >= r->start_cpu_ns);
}

/* No tick has met a Python: are there any? */
static void test_idle_python(void **state)
{
	(void)state;
	target(getpid(), TARGET_READY);
	begin();
	assert_true(finish()->has_idle_python);
	assert_true(fake.run_cnt > 0);
}

static void test_no_idle_python(void **state)
{
	(void)state;
	begin();
	assert_false(finish()->has_idle_python);
	assert_true(fake.run_cnt > 0);
}

/* That question is not worth more than its time. */
static void test_idle_search_ends(void **state)
{
	(void)state;
	fake.run_ns = 3 * NS_PER_S;
	begin();
	assert_false(finish()->has_idle_python);
	assert_int_equal(fake.run_cnt, 1);
}

/* A process that was asked for is scanned again, once, if there was no time for it. */
static void test_a_scan_that_was_given_up(void **state)
{
	const pid_t pid = getpid();

	(void)state;
	target(pid, TARGET_READY);
	opts.who.pids = &pid;
	opts.who.pid_cnt = 1;
	fake.given_up_cnt = 1;
	begin();
	assert_int_equal(fake.run_cnt, 2);
	finish();
	session_free(s);
	fake.given_up_cnt = 2;
	assert_int_equal(make(), -ETIME);
	assert_int_equal(fake.run_cnt, 4);
}

/* Only those count that would have been sampled. */
static void test_idle_of_a_name(void **state)
{
	(void)state;
	target(getpid(), TARGET_READY);
	fake.comm = "other";
	opts.who.comm = "python3";
	begin();
	assert_false(finish()->has_idle_python);
	assert_true(fake.run_cnt > 0);
	session_free(s);
	fake.comm = "python3";
	begin();
	assert_true(finish()->has_idle_python);
}

static void test_idle_is_not_asked(void **state)
{
	(void)state;
	begin();
	target(5, TARGET_READY);
	kernel_add(5, KRAIT_PROC_UNKNOWN);
	fake_queue_process(KRAIT_PROCESS_SEEN, 5, 5);
	assert_int_equal(pass(DRAIN_NS), 1);
	assert_false(finish()->has_idle_python);
	assert_int_equal(fake.run_cnt, 0);
}

/* The ceiling: what the kernel's part takes makes it tick less often. */
static void test_ceiling(void **state)
{
	const struct session_result *r;

	(void)state;
	opts.max_cpu_ns = 10 * NS_PER_MS;
	begin();
	for (int i = 0; i < 60; i++) {
		assert_int_equal(fake.weight > 1, i > 1); /* scans go first, for a second */
		fake.bpf_ns += 50 * NS_PER_MS;
		assert_int_equal(pass(NS_PER_S), 1);
	}
	assert_int_equal(fake.weight, 64);
	r = finish();
	assert_int_equal(r->max_weight, 64);
	assert_true(r->slow_s > 50);
}

static void test_below_the_ceiling(void **state)
{
	(void)state;
	opts.max_cpu_ns = NS_PER_S / 2;
	fake.bpf_ns = 10 * NS_PER_S; /* before the run */
	begin();
	for (int i = 0; i < 100; i++) {
		fake.bpf_ns += NS_PER_S / 8;
		assert_int_equal(pass(NS_PER_S), 1);
	}
	assert_int_equal(fake.weight, 1);
	assert_int_equal(finish()->slow_s, 0);
}

/* The steps are on its account, what their owner does after it has asked for a drain is not. */
static void test_ceiling_of_steps(void **state)
{
	(void)state;
	opts.max_cpu_ns = 10 * NS_PER_MS;
	begin();
	for (int i = 0; i < 60; i++) {
		assert_int_equal(session_drain(s), 0);
		fake.cpu_ns += NS_PER_S / 2;
		assert_int_equal(session_drain(s), 0);
		fake.cpu_ns += NS_PER_S / 2;
		assert_int_equal(pass(NS_PER_S), 1);
	}
	assert_int_equal(fake.weight, 1);
	fake.drain_cpu_ns = 20 * NS_PER_MS;
	for (int i = 0; i < 60; i++)
		assert_int_equal(pass(NS_PER_S), 1);
	assert_int_equal(fake.weight, 64);
}

static int ignore_record(const struct krait_hdr *rec, void *arg)
{
	(void)rec;
	(void)arg;
	return 0;
}

static uint64_t sink_ns(void *arg)
{
	return *(const uint64_t *)arg;
}

/* What the sink's own threads take is on it too. */
static void test_ceiling_of_the_sink(void **state)
{
	uint64_t took_ns = 10 * NS_PER_S; /* before the run */
	const struct session_sink sink = {
		.on_record = ignore_record, .cpu_ns = sink_ns, .arg = &took_ns};

	(void)state;
	opts.max_cpu_ns = 50 * NS_PER_MS;
	assert_int_equal(session_new(&opts, &sink, &s), 0);
	assert_int_equal(session_start(s), 0);
	for (int i = 0; i < 60; i++) {
		took_ns += 20 * NS_PER_MS;
		assert_int_equal(pass(NS_PER_S), 1);
	}
	assert_int_equal(fake.weight, 1);
	for (int i = 0; i < 60; i++) {
		took_ns += 100 * NS_PER_MS;
		assert_int_equal(pass(NS_PER_S), 1);
	}
	assert_int_equal(fake.weight, 64);
}

static void test_ceiling_of_drains(void **state)
{
	(void)state;
	opts.max_cpu_ns = 10 * NS_PER_MS;
	begin();
	for (int i = 0; i < 60; i++) {
		assert_int_equal(pass(NS_PER_S), 1);
		fake.drain_cpu_ns = 10 * NS_PER_MS;
		assert_int_equal(session_drain(s), 0);
		fake.drain_cpu_ns = 0;
	}
	assert_int_equal(fake.weight, 64);
}

/* Twenty seconds in which scans of 100 ms are all that is missing, while the kernel's part takes
 * `bpf_ns` of each. How many there were. */
static uint32_t scans_of_20_s(uint64_t bpf_ns)
{
	opts.max_cpu_ns = NS_PER_S / 10;
	fake.scan_ns = NS_PER_S / 10;
	fake.scan_cnt = 0;
	begin();
	for (int i = 0; i < 100; i++) /* no scans now are no more scans later */
		assert_int_equal(pass(NS_PER_S), 1);
	for (pid_t pid = 1; pid <= 100; pid++) {
		kernel_add(pid, KRAIT_PROC_UNKNOWN);
		fake_queue_process(KRAIT_PROCESS_SEEN, pid, pid);
	}
	for (int i = 0; i < 80; i++) {
		fake.bpf_ns += bpf_ns / 4;
		assert_int_equal(pass(NS_PER_S / 4), 1);
	}
	session_free(s);
	s = NULL;
	return fake.scan_cnt;
}

/* Scans may take half of the ceiling and some of it in advance; an eighth over the ceiling. */
static void test_scans_are_limited(void **state)
{
	(void)state;
	assert_in_range(scans_of_20_s(0), 10 + 2, 10 + 3);
	assert_in_range(scans_of_20_s(NS_PER_S / 10), 3, 3 + 5);
}

/* ---- Beginnings ---- */

static void test_opts(void **state)
{
	(void)state;
	opts.who.with_children = true;
	begin();
	assert_int_equal(fake.opts.freq_hz, 99);
	assert_int_equal(fake.opts.max_depth, 1024);
	assert_true(fake.opts.selection.is_open);
	assert_true(fake.opts.selection.with_children);
	assert_false(fake.opts.measure);
	assert_int_equal(fake.roles, PRIVILEGE_SAMPLER);
	assert_int_equal(fake.raised_cnt, 0);
	assert_int_equal(session_result(s)->command_status, -1);
	assert_false(finish()->lost_realtime);
	assert_int_equal(fake.lowered_cnt, 0);
}

/* For the drain alone: it is over before names are asked for. */
static void test_realtime(void **state)
{
	(void)state;
	opts.realtime = true;
	assert_int_equal(make(), 0);
	assert_int_equal(fake.raised_cnt, 0);
	assert_int_equal(session_start(s), 0);
	assert_int_equal(fake.raised_cnt, 1);
	assert_int_equal(fake.lowered_cnt, 0);
	assert_true(finish()->lost_realtime);
	assert_int_equal(fake.lowered_cnt, 1);
}

static void test_new_fails(void **state)
{
	(void)state;
	fake.scanner_errno = EAGAIN;
	assert_int_equal(make(), -EAGAIN);
	assert_null(s);
	fake.scanner_errno = 0;
	fake.load_errno = EPERM;
	assert_int_equal(make(), -EPERM);
	assert_null(s);
	assert_false(fake.is_scanner);
}

static void test_start_fails(void **state)
{
	(void)state;
	fake.start_err = -EMFILE;
	assert_int_equal(make(), 0);
	assert_int_equal(session_start(s), -EMFILE);
	assert_int_equal(fake.roles, 0);
	finish();
}

static void test_never_started(void **state)
{
	(void)state;
	assert_int_equal(make(), 0);
	finish();
	assert_false(fake.is_stopped);
	assert_int_equal(session_result(s)->counters[KRAIT_CNT_SAMPLES], 0);
	assert_int_equal(fake.run_cnt, 0);
}

/* ---- In words ---- */

static void assert_text(const char *want)
{
	char *text = selection_text(&opts.who, opts.command);

	assert_non_null(text);
	assert_string_equal(text, want);
	free(text);
}

static void test_target_text(void **state)
{
	static const pid_t pids[] = {12, 13};

	(void)state;
	assert_text("all");
	opts.who.comm = "gunicorn";
	assert_text("comm gunicorn");
	opts.who.pids = pids;
	opts.who.pid_cnt = 1;
	assert_text("pid 12");
	opts.who.pid_cnt = 2;
	assert_text("pid 12,13");
	shell("exit 0");
	assert_text("sh -c exit 0");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_duration),
		TEST(test_no_duration),
		TEST(test_timeout),
		TEST(test_fd_of_others),
		TEST(test_fd_of_a_stuck_scan),
		TEST(test_epochs),
		TEST(test_wake_ups),
		TEST(test_records),
		TEST(test_first_sample),
		TEST(test_slices),
		TEST(test_drain_all),
		TEST(test_sink_fails),
		TEST(test_sink_fails_at_info),
		TEST(test_sink_fails_at_the_end),
		TEST(test_drain_fails),
		TEST(test_malformed),
		TEST(test_finish),
		TEST(test_measure),
		TEST(test_idle_python),
		TEST(test_no_idle_python),
		TEST(test_idle_search_ends),
		TEST(test_a_scan_that_was_given_up),
		TEST(test_idle_of_a_name),
		TEST(test_idle_is_not_asked),
		TEST(test_ceiling),
		TEST(test_below_the_ceiling),
		TEST(test_ceiling_of_steps),
		TEST(test_ceiling_of_the_sink),
		TEST(test_ceiling_of_drains),
		TEST(test_scans_are_limited),
		TEST(test_opts),
		TEST(test_realtime),
		TEST(test_new_fails),
		TEST(test_start_fails),
		TEST(test_never_started),
		TEST(test_target_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
