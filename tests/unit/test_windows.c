/* SPDX-License-Identifier: BSD-2-Clause */
/* A run in windows: what they hold, that they add up to the whole run, and that the dead go. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/unit/aggregated.h"
#include "user/base/clock.h"
#include "user/aggregate/tables.h"

static const struct profile_meta of_windows = {.host = "h", .kernel = "k", .target = "t"};

static struct profile *take(uint64_t samples)
{
	uint64_t counters[KRAIT_CNT_CNT] = {[KRAIT_CNT_SAMPLES] = samples};
	struct profile *window = aggregate_take(agg, &of_windows, counters);

	assert_non_null(window);
	return window;
}

static const char *rendered(const struct profile *p)
{
	strbuf_reset(&text);
	for (uint32_t i = 0; i < p->sample_cnt; i++)
		render_sample(p, &p->samples[i]);
	assert_timeline(p);
	for (uint32_t i = 0; i < p->thread_cnt; i++) {
		assert_in_range(p->threads[i].main_idx, 0, p->thread_cnt - 1);
		assert_int_equal(p->threads[p->threads[i].main_idx].tid, p->threads[i].tid);
	}
	return strbuf_text(&text);
}

/* Takes a window, compares it, and forgets what is dead. */
static void assert_window(uint64_t samples, const char *expected)
{
	struct profile *window = take(samples);

	assert_int_equal(windows_compact(agg), 0);
	assert_string_equal(rendered(window), expected);
	profile_free(window);
}

static void test_windows(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	thread(7, 8, "worker");
	sample(1, 7);
	sample(1, 7);
	sample_of(2, 7, 8, 3);
	assert_window(5, "7 \"p\" 8 \"worker\": c:30 < b:20 = 3\n"
			 "7 \"p\" 7 \"\": a:10 < b:20 = 2\n");
	assert_window(5, "");
	/* Neither names nor stacks are sent again. */
	sample_of(2, 7, 8, 1);
	assert_window(6, "7 \"p\" 8 \"worker\": c:30 < b:20 = 1\n");
	stack(3, 0xa, 0xc);
	sample(3, 7);
	assert_window(7, "7 \"p\" 7 \"\": a:10 < c:30 = 1\n");
}

/* Only what the samples of a window refer to is in it. */
static void test_a_window_is_small(void **state)
{
	struct profile *window;

	(void)state;
	info(7, "p");
	info(9, "q");
	three_functions();
	three_functions_of(9);
	sample(1, 7);
	sample(2, 9);
	profile_free(take(2));
	sample(2, 9);
	window = take(3);
	assert_int_equal(window->process_cnt, 1);
	assert_int_equal(window->thread_cnt, 1);
	assert_int_equal(window->stack_cnt, 1);
	assert_int_equal(window->frame_cnt, 2);
	assert_int_equal(window->function_cnt, 2);
	assert_int_equal(window->events[0].counters[KRAIT_CNT_SAMPLES], 1);
	assert_int_equal(window->events[0].total_cnt, 1);
	assert_string_equal(window->meta.host, "h");
	profile_free(window);
}

/* A window may be read, and freed, when the aggregate is gone. */
static void test_a_window_lives_longer(void **state)
{
	struct profile *window;

	(void)state;
	info(7, "p");
	three_functions();
	sample(1, 7);
	window = take(1);
	event(KRAIT_PROCESS_EXIT, 7);
	assert_int_equal(windows_compact(agg), 0);
	aggregate_free(agg);
	agg = NULL;
	assert_string_equal(rendered(window), "7 \"p\" 7 \"\": a:10 < b:20 = 1\n");
	profile_free(window);
}

/* What a process had is gone with it; the same pid is another's then. */
static void test_the_dead_go(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	three_functions_of(9);
	info(9, "q");
	event(KRAIT_PROCESS_EXIT, 7);
	assert_window(0, "");
	assert_int_equal(agg->bindings.cnt, 2);
	assert_int_equal(agg->processes.cnt, 1);
	sample(1, 7);
	assert_int_equal(profile()->events[0].unnamed_cnt, 1);
	sample(1, 9);
	assert_window(2, "9 \"q\" 9 \"\": a:10 < b:20 = 1\n");
	event(KRAIT_PROCESS_EXEC, 9);
	assert_window(2, "");
	assert_int_equal(agg->bindings.cnt, 0);
}

/* A code object of which pieces are still to come. */
static void test_names_that_come_later(void **state)
{
	(void)state;
	info(7, "p");
	stack(1, 0xa, 0xb);
	sample(1, 7);
	assert_window(1, "7 \"p\" 7 \"\": [unreadable: code object lost]:0 < "
			 "[unreadable: code object lost]:0 = 1\n");
	code(0xa, "a", 10);
	code(0xb, "b", 20);
	stack(1, 0xa, 0xb);
	sample(1, 7);
	assert_window(2, "7 \"p\" 7 \"\": a:10 < b:20 = 1\n");
}

/* A function with a line for each of its three units, of the process ids_of. */
static void code_of_lines(uint64_t id)
{
	struct {
		struct krait_code_rec rec;
		char text[16];
	} r = {.rec = {.h = {.kind = KRAIT_CODE}, .code_id = id, .pid = ids_of}};

	r.rec.first_line = 10;
	r.rec.name = (struct krait_str){.bytes = 1, .width = 1};
	r.rec.file = (struct krait_str){.bytes = 4, .width = 1};
	r.rec.lines_kind = KRAIT_LINES_LNOTAB;
	r.rec.lines_bytes = r.rec.lines_total = 4;
	memcpy(r.text, "lf.py\x02\x01\x02\x01", 9);
	add(&r, sizeof(r.rec) + 9);
}

/* What two processes share, a body with its lines, goes along with both, or with the one that
 * lives. */
static void test_lines(void **state)
{
	const struct krait_frame frames[] = {{.code_id = 0xa, .unit = 2},
					     {.code_id = 0xa, .unit = 1}};

	(void)state;
	for (ids_of = 7; ids_of <= 8; ids_of++) {
		info(ids_of, "p");
		code_of_lines(0xa);
	}
	assert_window(0, "");
	for (ids_of = 7; ids_of <= 8; ids_of++) {
		stack_flags(1, 0, 2, frames);
		sample(1, ids_of);
	}
	assert_window(2, "7 \"p\" 7 \"\": l:12 < l:11 = 1\n"
			 "8 \"p\" 8 \"\": l:12 < l:11 = 1\n");
	event(KRAIT_PROCESS_EXIT, 7);
	assert_window(2, "");
	ids_of = 8;
	stack_flags(2, 0, 1, frames);
	ids_of = 9;
	info(9, "p");
	code_of_lines(0xb); /* equal to what is there */
	ids_of = 7;
	sample(2, 8);
	assert_window(3, "8 \"p\" 8 \"\": l:12 = 1\n");
}

/* The name of a thread is with its entry of the main interpreter, where it has no samples. */
static void test_interpreters(void **state)
{
	struct krait_stack_rec r = {
		.h = {.kind = KRAIT_STACK}, .stack_id = 1, .pid = 7, .interp_id = 3};

	(void)state;
	info(7, "p");
	thread(7, 8, "worker");
	add(&r, sizeof(r));
	sample_of(1, 7, 8, 1);
	assert_window(1, "7 \"p\" 8 \"worker\": = 1\n");
	sample_of(1, 7, 8, 1);
	assert_window(2, "7 \"p\" 8 \"worker\": = 1\n");
}

/* ---- The whole is the sum of the windows ---- */

struct line {
	char *text;
	uint64_t cnt;
};

struct sum {
	struct line lines[4096];
	uint32_t cnt;
	uint64_t unnamed;
};

static void add_line(struct sum *sum, const char *line, uint64_t cnt)
{
	uint32_t i = 0;

	while (i < sum->cnt && strcmp(sum->lines[i].text, line) != 0)
		i++;
	assert_true(i < sizeof(sum->lines) / sizeof(*sum->lines));
	if (i == sum->cnt)
		sum->lines[sum->cnt++].text = strdup(line);
	sum->lines[i].cnt += cnt;
}

/* Without the count, and the thread's name, which may be known later only. With the slice of time
 * in which it came. */
static void add_profile(struct sum *sum, const struct profile *p)
{
	struct timeline_iter it = timeline_begin(&p->timeline);

	assert_timeline(p);
	while (timeline_next(&it)) {
		const struct profile_sample s = {.thread_idx = it.count.thread_idx,
						 .stack_idx = it.count.stack_idx,
						 .event_idx = it.count.event_idx};

		assert_int_equal(it.slice_ns, TIMELINE_SLICE_NS);
		strbuf_reset(&text);
		strbuf_addf(&text, "%llu: ", (unsigned long long)it.slice);
		render_sample(p, &s);
		add_line(sum, strbuf_text(&text), it.count.cnt);
	}
	for (uint32_t i = 0; i < p->event_cnt; i++)
		sum->unnamed += p->events[i].unnamed_cnt;
}

static void free_sum(struct sum *sum)
{
	for (uint32_t i = 0; i < sum->cnt; i++)
		free(sum->lines[i].text);
	free(sum);
}

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

/* One of what may come, of one of eight pids. Ids are the same in all of them, and mean other
 * things. */
static void add_random(void)
{
	uint32_t pid = 7 + draw(8), nth = draw(6);
	char name[16];

	now_ns++;
	sample_ns = now_ns / 100 * TIMELINE_SLICE_NS;
	ids_of = pid;
	snprintf(name, sizeof(name), "%s%u", draw(2) ? "shared" : "own", draw(3));
	switch (draw(11)) {
	case 0:
		info(pid, name);
		break;
	case 1:
		forked(pid, 7 + draw(8));
		break;
	case 2:
		event(draw(2) ? KRAIT_PROCESS_EXEC : KRAIT_PROCESS_EXIT, pid);
		break;
	case 3:
		code(0xa + nth, name, 10 + pid * (name[0] == 'o'));
		break;
	case 4:
		stack(1 + nth, 0xa + draw(6), draw(2) ? 0xa + draw(6) : 0);
		break;
	case 5:
		sample_of_event(1 + nth, pid, 3 + draw(2), 1 + draw(100));
		break;
	default:
		sample_of(1 + nth, pid, pid + draw(2), 1 + draw(2));
	}
	ids_of = 7;
}

#define RECORDS 3000

static void add_all(uint32_t from, struct sum *windows)
{
	seed = from;
	now_ns = 0;
	for (int i = 0; i < RECORDS; i++) {
		struct profile *window;

		add_random();
		if (!windows || i % 7)
			continue;
		window = take(0);
		add_profile(windows, window);
		profile_free(window);
		if (i % 2) /* as now and then in a run */
			assert_int_equal(windows_compact(agg), 0);
	}
	if (windows) {
		struct profile *window = take(0);

		add_profile(windows, window);
		profile_free(window);
	}
}

static void test_the_sum_is_the_whole(void **state)
{
	(void)state;
	for (uint32_t from = 1; from <= 20; from++) {
		struct sum *whole = calloc(1, sizeof(*whole)),
			   *windows = calloc(1, sizeof(*windows));

		assert_non_null(whole);
		assert_non_null(windows);
		add_all(from, windows);
		aggregate_free(agg);
		agg = aggregate_new();
		add_all(from, NULL);
		add_profile(whole, profile());
		assert_int_equal(whole->unnamed, windows->unnamed);
		for (uint32_t i = 0; i < windows->cnt; i++)
			add_line(whole, windows->lines[i].text, -windows->lines[i].cnt);
		assert_in_range(whole->cnt, 50, 4096);
		for (uint32_t i = 0; i < whole->cnt; i++)
			if (whole->lines[i].cnt)
				fail_msg("seed %u, off by %lld: %s", from,
					 (long long)whole->lines[i].cnt, whole->lines[i].text);
		free_sum(whole);
		free_sum(windows);
		aggregate_free(agg);
		agg = aggregate_new();
	}
}

/* ---- A month ---- */

/* What the allocator has given out, large pieces (which it maps) included. */
static size_t allocated(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/* A process that lives for one sample, runs a function of its own, and ends. */
static void live_shortly(uint32_t nth)
{
	uint32_t pid = 100 + nth % 30000;
	char name[16];

	now_ns++;
	sample_ns = now_ns / 100 * TIMELINE_SLICE_NS;
	ids_of = pid;
	snprintf(name, sizeof(name), "f%u", nth);
	info(pid, name);
	code(0xa, name, 10);
	stack(1, 0xa, 0);
	sample(1, pid);
	event(KRAIT_PROCESS_EXIT, pid);
	ids_of = 7;
}

/* 1,000,000 processes in windows of 1,000: what the allocator has given out does not grow. */
static void test_a_million_processes(void **state)
{
	size_t after_first = 0;

	(void)state;
	info(7, "p");
	three_functions();
	for (uint32_t nth = 0; nth < 1000000; nth++) {
		live_shortly(nth);
		if (nth % 1000 != 999)
			continue;
		sample(1, 7);
		profile_free(take(nth));
		if (nth == 99999)
			after_first = allocated();
	}
	/* Some thousand of the dead are there at any time, more or less: 1 MB. */
	assert_in_range(allocated(), 0, after_first + (1 << 20));
	sample(1, 7);
	assert_window(1000000, "7 \"p\" 7 \"\": a:10 < b:20 = 1\n");
}

#define DAY_STACKS 500
#define DAY_THREADS 8
#define DAY_SAMPLES (24 * 3600 * 99 * 2ULL) /* two busy CPUs at 99 Hz */

/* The nth sample of a day, on stacks and threads in no order that a coder could make use of. */
static void sample_of_day(uint64_t nth)
{
	uint32_t dice = nth * 2654435761U >> 8;

	sample_ns = nth * (NS_PER_S / 99 / 2);
	sample_of(1 + dice % DAY_STACKS, 7, 7 + dice / DAY_STACKS % DAY_THREADS, 1);
}

/* A day of samples, what the allocator has given out after an hour of it, and at its end. */
static void day(bool in_windows, size_t *after_hour, size_t *after_day)
{
	info(7, "p");
	for (uint32_t i = 0; i < DAY_STACKS; i++) {
		code(0x100 + i, "f", 10);
		stack(1 + i, 0x100 + i, 0);
	}
	for (uint64_t nth = 1; nth <= DAY_SAMPLES; nth++) {
		sample_of_day(nth);
		if (in_windows && nth % (DAY_SAMPLES / 24 / 360) == 0)
			profile_free(take(nth));
		if (nth == DAY_SAMPLES / 24)
			*after_hour = allocated();
	}
	*after_day = allocated();
}

static void test_a_day_in_windows(void **state)
{
	size_t after_hour, after_day;

	(void)state;
	day(true, &after_hour, &after_day);
	assert_in_range(after_day, 0, after_hour + (64 << 10));
}

/* When all of them came is told too: in longer and longer slices, so it takes little more. */
static void test_a_day_in_one(void **state)
{
	struct timeline_iter it;
	const struct profile *p;
	size_t after_hour, after_day;
	uint64_t cnt = 0;

	(void)state;
	day(false, &after_hour, &after_day);
	assert_in_range(after_day, 0, after_hour + 4UL * TIMELINE_BYTES);
	p = profile();
	assert_int_equal(p->events[0].total_cnt, DAY_SAMPLES);
	for (it = timeline_begin(&p->timeline); timeline_next(&it);)
		cnt += it.count.cnt;
	assert_int_equal(cnt, DAY_SAMPLES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_window_is_small, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_window_lives_longer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_dead_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_that_come_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interpreters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_sum_is_the_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_million_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_day_in_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_day_in_one, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
