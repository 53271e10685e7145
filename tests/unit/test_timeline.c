// SPDX-License-Identifier: BSD-2-Clause
/*
 * The timeline's code: what was added comes back, in the slice that its time lies in. A stack
 * number of its own tells each one that is added from all others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "user/aggregate/timeline.h"

#define SLICE TIMELINE_SLICE_NS
#define ADDED_MAX 300000

static struct {
	uint64_t time_ns, cnt;
	uint32_t thread_idx;
	uint8_t event_idx;
} added[ADDED_MAX];
static uint32_t added_cnt;
static struct timeline_writer writer;

static int setup(void **state)
{
	(void)state;
	added_cnt = 0;
	timeline_release(&writer);
	return 0;
}

static void add(uint64_t time_ns, uint32_t thread_idx, uint8_t event_idx, uint64_t cnt)
{
	const struct timeline_count count = {.cnt = cnt,
					     .thread_idx = thread_idx,
					     .stack_idx = added_cnt,
					     .event_idx = event_idx};

	assert_true(added_cnt < ADDED_MAX);
	added[added_cnt].time_ns = time_ns;
	added[added_cnt].cnt = cnt;
	added[added_cnt].thread_idx = thread_idx;
	added[added_cnt++].event_idx = event_idx;
	assert_int_equal(timeline_add(&writer, time_ns, &count), 0);
}

/* All that was added is there, once, in its slice. Returns the length of the last slice. */
static uint64_t assert_all(const struct timeline *timeline)
{
	struct timeline_iter it = timeline_begin(timeline);
	uint32_t cnt = 0;

	while (timeline_next(&it)) {
		uint32_t i = it.count.stack_idx;

		assert_true(i < added_cnt);
		assert_int_equal(it.count.cnt, added[i].cnt);
		assert_int_equal(it.count.thread_idx, added[i].thread_idx);
		assert_int_equal(it.count.event_idx, added[i].event_idx);
		assert_true(it.slice * it.slice_ns <= added[i].time_ns);
		assert_true(added[i].time_ns - it.slice * it.slice_ns < it.slice_ns);
		added[i].cnt = 0; /* none has 0, so it would be seen if it came twice */
		cnt++;
	}
	assert_int_equal(cnt, added_cnt);
	return it.slice_ns;
}

static void test_nothing(void **state)
{
	struct timeline_iter it = timeline_begin(&writer.timeline);

	(void)state;
	assert_false(timeline_next(&it));
	assert_int_equal(timeline_flush(&writer), 0);
	it = timeline_begin(&writer.timeline);
	assert_false(timeline_next(&it));
}

static uint32_t seed = 7;

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)seed * below) >> 32);
}

/* Times go back and forth, threads and events change, counts are of all sizes. */
static void test_what_was_added_comes_back(void **state)
{
	(void)state;
	for (int i = 0; i < 20000; i++)
		add(1000 * SLICE + (uint64_t)draw(50) * SLICE / 3 + i * 1000ULL, draw(5),
		    draw(8) ? 0 : draw(256), 1ULL << draw(56));
	assert_int_equal(timeline_flush(&writer), 0);
	assert_int_equal(assert_all(&writer.timeline), SLICE);
}

static void test_equal_ones_of_a_slice_are_one(void **state)
{
	struct timeline_count c = {.cnt = 1, .thread_idx = 3, .stack_idx = 5};
	struct timeline_iter it;
	uint64_t sum = 0;
	uint32_t cnt = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		c.stack_idx = i % 2 ? 5 : 6;
		assert_int_equal(timeline_add(&writer, i * SLICE / 1000, &c), 0);
	}
	assert_int_equal(timeline_flush(&writer), 0);
	for (it = timeline_begin(&writer.timeline); timeline_next(&it); cnt++)
		sum += it.count.cnt;
	assert_int_equal(sum, 10000);
	assert_int_equal(cnt, 2 * 10);
	assert_true(writer.timeline.len < 100);
}

/* More of them in a slice than are kept open, and many want the same place. */
static void test_those_in_one_place_are_told_apart(void **state)
{
	static uint64_t left[600][10][3];
	struct timeline_iter it;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		const struct timeline_count c = {.cnt = 1 + draw(3),
						 .thread_idx = draw(600),
						 .stack_idx = draw(10),
						 .event_idx = draw(3)};

		left[c.thread_idx][c.stack_idx][c.event_idx] += c.cnt;
		assert_int_equal(timeline_add(&writer, 0, &c), 0);
	}
	assert_int_equal(timeline_flush(&writer), 0);
	for (it = timeline_begin(&writer.timeline); timeline_next(&it);)
		left[it.count.thread_idx][it.count.stack_idx][it.count.event_idx] -= it.count.cnt;
	for (int i = 0; i < 600 * 10 * 3; i++)
		assert_int_equal(left[i / 30][i / 3 % 10][i % 3], 0);
}

/* Two stacks at 100 Hz for a month: as long as it is, its slices are few, and so are its bytes. */
static void test_a_month(void **state)
{
	struct timeline_count c = {.cnt = 1};
	const uint64_t period = SLICE, ticks = 30ULL * 24 * 3600 * 100;
	struct timeline_iter it;
	uint64_t sum = 0;

	(void)state;
	for (uint64_t i = 0; i < ticks; i += 50) {
		c.stack_idx = i / 50 & 1;
		c.cnt = 50;
		assert_int_equal(timeline_add(&writer, i * period, &c), 0);
	}
	assert_int_equal(timeline_flush(&writer), 0);
	for (it = timeline_begin(&writer.timeline); timeline_next(&it);)
		sum += it.count.cnt;
	assert_int_equal(sum, ticks);
	assert_true(writer.timeline.len < 8 * 8192 * 8);
	assert_in_range(it.slice_ns, ticks * period / TIMELINE_SLICES,
			TIMELINE_LONGER * ticks * period / TIMELINE_SLICES);
}

static void test_slices_become_longer_with_time(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 3 * TIMELINE_SLICES; i++) {
		add(i * SLICE, 0, 0, 1);
		if (i % 100 == 0) /* another CPU's, which are read later */
			add((i - i % 25) * SLICE, 1, 0, 1);
	}
	assert_int_equal(timeline_flush(&writer), 0);
	assert_int_equal(assert_all(&writer.timeline), TIMELINE_LONGER * SLICE);
}

/* Of what never repeats there are many bytes soon. */
static void test_slices_become_longer_with_bytes(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < ADDED_MAX; i++)
		add(i * SLICE / 1000, i, 0, 1);
	assert_int_equal(timeline_flush(&writer), 0);
	assert_true(writer.timeline.len > TIMELINE_BYTES);
	assert_true(assert_all(&writer.timeline) > SLICE);
}

/* A recording may say any. */
static void test_times_that_are_none(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		add(0, 0, 0, 1);
		add(UINT64_MAX, 0, 0, 1);
		add((uint64_t)draw(UINT32_MAX) << draw(32), 1, 1, 2);
	}
	assert_int_equal(timeline_flush(&writer), 0);
	assert_all(&writer.timeline);
}

/* It may be read in between, and goes on. */
static void test_flush_and_on(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		add(i * SLICE / 7, i / 100, 0, 1 + i % 3);
		if (i % 13 == 0)
			assert_int_equal(timeline_flush(&writer), 0);
	}
	assert_int_equal(timeline_flush(&writer), 0);
	assert_all(&writer.timeline);
}

static void test_restart(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 3 * TIMELINE_SLICES; i++)
		add(i * SLICE, 3, 1, 2);
	timeline_restart(&writer);
	assert_int_equal(writer.timeline.len, 0);
	added_cnt = 0;
	for (int i = 0; i < 100; i++)
		add(i * SLICE, 0, 0, 1);
	assert_int_equal(timeline_flush(&writer), 0);
	assert_int_equal(assert_all(&writer.timeline), SLICE);
}

static void test_renumber(void **state)
{
	static uint32_t threads[4] = {4, 3, 2, 1}, stacks[3 * TIMELINE_SLICES];
	struct timeline other, back;

	(void)state;
	for (uint32_t i = 0; i < 3 * TIMELINE_SLICES; i++) {
		add(i * SLICE, i % 4, i % 2, 1 + i % 3);
		stacks[i] = 3 * TIMELINE_SLICES - i;
	}
	assert_int_equal(timeline_flush(&writer), 0);
	assert_int_equal(timeline_renumber(&other, &writer.timeline, threads, stacks), 0);
	/* Both turn the numbers about, so twice is not at all. */
	assert_int_equal(timeline_renumber(&back, &other, threads, stacks), 0);
	assert_int_equal(back.len, writer.timeline.len);
	assert_memory_equal(back.bytes, writer.timeline.bytes, back.len);
	assert_true(other.len != back.len || memcmp(other.bytes, back.bytes, back.len) != 0);
	assert_all(&back);
	free(other.bytes);
	free(back.bytes);
}

#define TEST(test) cmocka_unit_test_setup(test, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),
		TEST(test_what_was_added_comes_back),
		TEST(test_equal_ones_of_a_slice_are_one),
		TEST(test_those_in_one_place_are_told_apart),
		TEST(test_a_month),
		TEST(test_slices_become_longer_with_time),
		TEST(test_slices_become_longer_with_bytes),
		TEST(test_times_that_are_none),
		TEST(test_flush_and_on),
		TEST(test_restart),
		TEST(test_renumber),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	timeline_release(&writer);
	return failed;
}
