/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Folded lines, which are sorted by their words' ranks and are never strings in memory, against
 * strings that are sorted: for random profiles of words that are hard to keep apart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "user/base/strbuf.h"
#include "user/export/export.h"
#include "user/export/frame.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define RANDOM_STACKS 400
#define RANDOM_SAMPLES 900
#define RANDOM_DEPTH 12

static const struct profile_process processes[] = {
	{100, 0, "a", "a;b", 0},
	{20, 0, "a", "a", 0},
	{100, 0, "a", "a:b", 0}, /* worded as the first */
};

static const struct profile_thread threads[] = {
	{.process_idx = 0, .tid = 1, .name = "a"},
	{.process_idx = 1, .tid = 1, .main_idx = 1, .name = "a"},
	{.process_idx = 2, .tid = 1, .main_idx = 2, .name = "a"},
	{.process_idx = 0, .tid = 1, .main_idx = 3, .name = "a b"},
};

static uint32_t random_below(uint32_t n)
{
	static uint32_t seed = 1;

	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)n * (seed >> 8) >> 24);
}

/* "root;...;leaf", as a string. The caller frees it. */
static char *naive_line(const struct profile *p, const struct profile_sample *sample)
{
	const struct profile_stack *st = &p->stacks[sample->stack_idx];
	struct strbuf words[RANDOM_DEPTH + 2] = {}, line = {};
	uint32_t cnt = 2;

	frame_add_process(&words[0], &p->processes[p->threads[sample->thread_idx].process_idx]);
	frame_add_thread(&words[1], &p->threads[sample->thread_idx]);
	for (uint32_t i = st->cnt; i-- > 0; cnt++)
		frame_add(&words[cnt], p, packed_get(&p->frame_idx, st->first + i),
			  &(struct export_opts){});
	for (uint32_t i = 0; i < cnt; i++) {
		for (size_t j = 0; j < words[i].len; j++)
			strbuf_add_char(&line, words[i].buf[j] == ';' ? ':' : words[i].buf[j]);
		strbuf_add_str(&line, i + 1 < cnt ? ";" : st->cnt ? "" : ";[no frames]");
		strbuf_release(&words[i]);
	}
	return line.buf;
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Counts are 1. */
static void assert_as_sorted(const struct profile *p)
{
	static char *lines[RANDOM_SAMPLES];
	const struct export_opts opts = {.threads = true};
	struct strbuf expected = {};
	char *bytes = NULL;
	size_t len;
	FILE *out = open_memstream(&bytes, &len);
	uint32_t cnt = 0;

	assert_non_null(out);
	assert_int_equal(export_find(NULL, "folded")->write(p, &opts, out), 0);
	assert_int_equal(fclose(out), 0);
	for (uint32_t i = 0; i < p->sample_cnt; i++)
		lines[i] = naive_line(p, &p->samples[i]);
	qsort(lines, p->sample_cnt, sizeof(*lines), compare_strings);
	for (uint32_t i = 0; i < p->sample_cnt; i++) {
		cnt++;
		if (i + 1 < p->sample_cnt && !strcmp(lines[i], lines[i + 1]))
			continue;
		strbuf_addf(&expected, "%s %u\n", lines[i], cnt);
		cnt = 0;
	}
	assert_string_equal(bytes, expected.buf);
	for (uint32_t i = 0; i < p->sample_cnt; i++)
		free(lines[i]);
	strbuf_release(&expected);
	free(bytes);
}

/* Names that begin alike, are alike, or go on with what sorts before and after ';'. Stacks begin
 * as others do. */
static void test_folded_is_sorted(void **state)
{
	static const struct profile_function names[] = {
		{"[a]", "", 0, FRAME_MARKER},	 {"[a] b]", "", 0, FRAME_MARKER},
		{"[a]!]", "", 0, FRAME_MARKER},	 {"[a];]", "", 0, FRAME_MARKER},
		{"[a]<b]", "", 0, FRAME_MARKER}, {"[a]", "", 0, FRAME_MARKER},
		{"[a]:]", "", 0, FRAME_MARKER},	 {"[b]", "", 0, FRAME_MARKER}};
	static struct profile_frame words[COUNT(names)];
	static struct profile_stack some_stacks[RANDOM_STACKS];
	static struct profile_sample some[RANDOM_SAMPLES];
	struct packed numbers = {};
	struct profile p = {.processes = processes, .threads = threads};

	(void)state;
	for (uint32_t i = 0; i < COUNT(names); i++)
		words[i].function_idx = i;
	for (uint32_t i = 0; i < RANDOM_STACKS; i++) {
		uint32_t stack[RANDOM_DEPTH], cnt = random_below(RANDOM_DEPTH + 1);
		uint32_t other = random_below(i + 1), own = random_below(4);

		/* Innermost first: the end is the root's. */
		for (uint32_t j = 0; j < cnt; j++) {
			const struct profile_stack *st = &some_stacks[other];
			bool is_own = j < own || cnt - j > st->cnt;

			stack[j] = is_own ? random_below(COUNT(names))
					  : packed_get(&numbers, st->first + st->cnt - (cnt - j));
		}
		some_stacks[i] = (struct profile_stack){numbers.cnt, cnt};
		assert_int_equal(packed_add(&numbers, stack, cnt), 0);
	}
	for (uint32_t i = 0; i < RANDOM_SAMPLES; i++)
		some[i] = (struct profile_sample){random_below(COUNT(threads)),
						  random_below(RANDOM_STACKS), 1, 0};
	p.functions = names;
	p.frames = words;
	p.frame_idx = numbers;
	p.stacks = some_stacks;
	p.samples = some;
	p.function_cnt = p.frame_cnt = COUNT(names);
	p.process_cnt = COUNT(processes);
	p.thread_cnt = COUNT(threads);
	p.stack_cnt = RANDOM_STACKS;
	for (p.sample_cnt = 1; p.sample_cnt <= RANDOM_SAMPLES; p.sample_cnt += 31)
		assert_as_sorted(&p);
	free(numbers.items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folded_is_sorted),
	};

	return cmocka_run_group_tests_name("export sorted", tests, NULL, NULL);
}
