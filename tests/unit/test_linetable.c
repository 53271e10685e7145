/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Line tables by hand: the shapes of each generation, and what a hostile target may put there.
 * tests/oracle asks the real CPythons. Tables lie in memory of exactly their size, so that a build
 * with SAN=address sees a read past the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "user/symbolize/linetable.h"

#define BIG_BYTES (200u * 1024u)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct line_case {
	const char *what;
	enum krait_lines_kind kind;
	const char *table;
	size_t table_bytes;
	int32_t first_line, unit, want;
};

#define LNOTAB(bytes) KRAIT_LINES_LNOTAB, bytes, sizeof(bytes) - 1
#define UNSIGNED(bytes) KRAIT_LINES_LNOTAB_UNSIGNED, bytes, sizeof(bytes) - 1
#define PEP626(bytes) KRAIT_LINES_PEP626, bytes, sizeof(bytes) - 1
#define PEP657(bytes) KRAIT_LINES_PEP657, bytes, sizeof(bytes) - 1

/* First bytes of 3.11 entries: 0x80 | code << 3 | units - 1. */
static const struct line_case cases[] = {
	{"lnotab: empty", LNOTAB(""), 7, 0, 7},
	{"lnotab: empty, far", LNOTAB(""), 7, INT32_MAX, 7},
	{"lnotab: before the first delta", LNOTAB("\x04\x01"), 7, 1, 7},
	{"lnotab: at the delta", LNOTAB("\x04\x01"), 7, 2, 8},
	{"lnotab: the last line runs on", LNOTAB("\x04\x01"), 7, 1000, 8},
	{"lnotab: two deltas at one address", LNOTAB("\x00\x7f\x00\x02"), 1, 0, 130},
	{"lnotab: long address step", LNOTAB("\xff\x00\x01\x05"), 1, 127, 1},
	{"lnotab: long address step, end", LNOTAB("\xff\x00\x01\x05"), 1, 128, 6},
	{"lnotab: backwards", LNOTAB("\x02\xff\x02\x01"), 9, 1, 8},
	{"lnotab: -128 is a step", LNOTAB("\x02\x80"), 200, 1, 72},
	{"lnotab: odd last byte", LNOTAB("\x02\x01\x00"), 5, 9, 6},
	{"lnotab: below line 1", LNOTAB("\x00\x80"), 5, 0, LINE_UNKNOWN},
	{"lnotab: beyond int", LNOTAB("\x00\x7f"), INT32_MAX - 5, 0, LINE_UNKNOWN},
	{"lnotab: below int", LNOTAB("\x00\x80"), INT32_MIN, 0, LINE_UNKNOWN},

	{"2.7: empty", UNSIGNED(""), 7, 0, 7},
	{"2.7: units are bytes", UNSIGNED("\x03\x01"), 7, 2, 7},
	{"2.7: at the delta", UNSIGNED("\x03\x01"), 7, 3, 8},
	{"2.7: the last line runs on", UNSIGNED("\x03\x01"), 7, INT32_MAX, 8},
	{"2.7: deltas have no sign", UNSIGNED("\x03\xff\x01\x80"), 7, 3, 262},
	{"2.7: two of them", UNSIGNED("\x03\xff\x00\x80"), 7, 3, 390},
	{"2.7: long address step", UNSIGNED("\xff\x00\x01\x05"), 1, 255, 1},
	{"2.7: long address step, end", UNSIGNED("\xff\x00\x01\x05"), 1, 256, 6},
	{"2.7: odd last byte", UNSIGNED("\x02\x01\x00"), 5, 9, 6},
	{"2.7: before the start", UNSIGNED("\x00\x02"), 7, -1, 7},
	{"2.7: beyond int", UNSIGNED("\x00\xff"), INT32_MAX - 5, 0, LINE_UNKNOWN},

	{"3.10: empty", PEP626(""), 7, 0, LINE_UNKNOWN},
	{"3.10: delta of its own range", PEP626("\x02\x01\x04\x02"), 7, 0, 8},
	{"3.10: next range", PEP626("\x02\x01\x04\x02"), 7, 1, 10},
	{"3.10: range's last unit", PEP626("\x02\x01\x04\x02"), 7, 2, 10},
	{"3.10: past the end", PEP626("\x02\x01\x04\x02"), 7, 3, LINE_UNKNOWN},
	{"3.10: zero delta is a range", PEP626("\x02\x01\x02\x00\x02\x01"), 7, 1, 8},
	{"3.10: empty range moves the line", PEP626("\x00\x7f\x02\x01"), 1, 0, 129},
	{"3.10: no line", PEP626("\x02\x80\x02\x01"), 7, 0, LINE_UNKNOWN},
	{"3.10: no line keeps the running line", PEP626("\x02\x80\x02\x01"), 7, 1, 8},
	{"3.10: -127 is a step", PEP626("\x02\x81"), 200, 0, 73},
	{"3.10: odd last byte", PEP626("\x02\x01\x02"), 7, 1, LINE_UNKNOWN},
	{"3.10: far past the end", PEP626("\xff\x01"), 7, INT32_MAX, LINE_UNKNOWN},
	{"3.10: beyond int", PEP626("\x02\x7f"), INT32_MAX, 0, LINE_UNKNOWN},

	{"3.11: empty", PEP657(""), 7, 0, LINE_UNKNOWN},
	{"3.11: short form", PEP657("\x80\x00"), 7, 0, 7},
	{"3.11: past the end", PEP657("\x80\x00"), 7, 1, LINE_UNKNOWN},
	{"3.11: eight units", PEP657("\x87\x00\xd8\x01\x02"), 7, 7, 7},
	{"3.11: ninth unit", PEP657("\x87\x00\xd8\x01\x02"), 7, 8, 8},
	{"3.11: one line, delta 0", PEP657("\xd0\x01\x02"), 7, 0, 7},
	{"3.11: one line, delta 2", PEP657("\xe0\x01\x02"), 7, 0, 9},
	{"3.11: no columns, +1", PEP657("\xe8\x02"), 7, 0, 8},
	{"3.11: no columns, -3", PEP657("\xe8\x07"), 7, 0, 4},
	{"3.11: no columns, +32", PEP657("\xe8\x40\x01"), 7, 0, 39},
	{"3.11: long, -32", PEP657("\xf0\x41\x01\x00\x01\x02"), 40, 0, 8},
	{"3.11: long, end line does not count", PEP657("\xf0\x02\x05\x01\x02\x80\x00"), 7, 1, 8},
	{"3.11: no line", PEP657("\xf8\x80\x00"), 7, 0, LINE_UNKNOWN},
	{"3.11: no line keeps the running line", PEP657("\xd8\x01\x02\xf8\x80\x00"), 7, 2, 8},
	{"3.11: largest delta", PEP657("\xe8\x7e\x7f\x7f\x7f\x7f\x03"), 0, 0, INT32_MAX},
	{"3.11: line 0 is none", PEP657("\x80\x00"), 0, 0, LINE_UNKNOWN},
	{"3.11: below line 1", PEP657("\xe8\x0f"), 7, 0, LINE_UNKNOWN},
	{"3.11: back from below", PEP657("\xe8\x0f\xe8\x04"), 7, 1, 2},
	{"3.11: columns missing at the end", PEP657("\x80"), 7, 0, 7},
	{"3.11: starts inside an entry", PEP657("\x00\x80\x00"), 7, 0, LINE_UNKNOWN},
	{"3.11: delta missing", PEP657("\xe8"), 7, 0, LINE_UNKNOWN},
	{"3.11: delta cut by the end", PEP657("\xe8\x42"), 7, 0, LINE_UNKNOWN},
	{"3.11: delta cut by an entry", PEP657("\xe8\x42\x80\x00"), 7, 0, LINE_UNKNOWN},
	{"3.11: nothing after a bad delta", PEP657("\xe8\x42\x80\x00"), 7, 1, LINE_UNKNOWN},
	{"3.11: delta of 33 bits", PEP657("\xe8\x40\x40\x40\x40\x40\x04"), 7, 0, LINE_UNKNOWN},
	{"3.11: delta of 33 bits, line fits", PEP657("\xe8\x40\x40\x40\x40\x40\x04"), -5, 0,
	 LINE_UNKNOWN},
	{"3.11: delta of 7 bytes", PEP657("\xe8\x42\x40\x40\x40\x40\x40\x00"), 7, 0, LINE_UNKNOWN},
	{"3.11: sum beyond int", PEP657("\xe8\x02"), INT32_MAX, 0, LINE_UNKNOWN},
	{"3.11: sum below int", PEP657("\xe8\x03"), INT32_MIN, 0, LINE_UNKNOWN},
	{"3.11: sum beyond int and back", PEP657("\xe8\x02\xe8\x03"), INT32_MAX, 1, LINE_UNKNOWN},

	{"before the start", PEP657("\xe8\x02"), 7, -1, 7},
	{"long before the start", LNOTAB("\x00\x02"), 7, INT32_MIN, 7},
	{"before the start, no line", PEP626("\x02\x02"), -3, -1, LINE_UNKNOWN},
	{"a kind nobody knows", (enum krait_lines_kind)99, "\x80\x00", 2, 7, 0, LINE_UNKNOWN},
};

/* The line from memory that ends where the table ends. */
static int32_t ask(enum krait_lines_kind kind, const void *table, size_t table_bytes,
		   int32_t first_line, int32_t unit)
{
	uint8_t *copy = malloc(table_bytes ? table_bytes : 1);
	int32_t line;

	assert_non_null(copy);
	memcpy(copy, table, table_bytes);
	line = linetable_line(kind, table_bytes ? copy : NULL, table_bytes, first_line, unit);
	free(copy);
	return line;
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct line_case *c = &cases[i];
		int32_t got = ask(c->kind, c->table, c->table_bytes, c->first_line, c->unit);

		if (got != c->want)
			fail_msg("%s: unit %d: got %d, want %d", c->what, c->unit, got, c->want);
	}
}

/* A function with a finally block, blank lines and a loop, as real interpreters compiled it; the
 * ranges are what they answered: {end in bytes, line}, 0 for none. */
struct real_case {
	enum krait_lines_kind kind;
	const char *table;
	size_t table_bytes;
	struct {
		int end, line;
	} ranges[16];
};

static const struct real_case real_cases[] = {
	/* 3.8.18, dis.findlinestarts() */
	{LNOTAB("\x00\x01\x02\x01\x08\x02\x06\x7f\x00\x7f\x00\x2f\x08\x01\x02\x01\x02\xff\x06\x02"),
	 {{2, 2}, {10, 3}, {16, 5}, {24, 306}, {26, 307}, {28, 308}, {34, 307}, {40, 309}}},
	/* 3.10.13, co_lines() */
	{PEP626("\x02\x01\x06\x01\x0c\x02\x00\x7f\x00\x7f\x08\x2f\x02\x01\x02\x01\x06\xff\x06\x02"),
	 {{2, 2}, {8, 3}, {20, 5}, {28, 306}, {30, 307}, {32, 308}, {38, 307}, {44, 309}}},
	/* 3.12.1, co_lines() */
	{PEP657("\x80\x00\xf0\x02\x03\x03\x06\xd9\x04\x05\xe5\x04\x05\xf0\x5a\x09\x00\x0c\x0d\xf2"
		"\x00\x02\x03\x08\x80\x61\xdc\x05\x06\xdc\x05\x06\xf2\x03\x01\x05\x08\xf0\x03\x02"
		"\x03\x08\xf1\x06\x00\x07\x08\xf8\xf6\x61\x09\x00\x05\x06\xfa"),
	 {{2, 1},
	  {4, 2},
	  {8, 3},
	  {20, 5},
	  {30, 306},
	  {40, 307},
	  {50, 308},
	  {56, 307},
	  {58, 306},
	  {62, 309},
	  {64, 0},
	  {78, 5},
	  {84, 0}}},
};

static void test_real_functions(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(real_cases); i++) {
		const struct real_case *c = &real_cases[i];
		int unit = 0;

		for (size_t r = 0; c->ranges[r].end; r++)
			for (; unit < c->ranges[r].end / 2; unit++)
				assert_int_equal(ask(c->kind, c->table, c->table_bytes, 1, unit),
						 c->ranges[r].line);
		assert_true(unit > 0);
	}
}

/* A cut table may know less, but must not say something else. */
static void test_cut_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(real_cases); i++) {
		const struct real_case *c = &real_cases[i];

		if (c->kind == KRAIT_LINES_LNOTAB)
			continue; /* that format has no end to miss */
		for (size_t cut = 0; cut < c->table_bytes; cut++)
			for (int unit = 0; unit < 45; unit++) {
				int32_t whole = ask(c->kind, c->table, c->table_bytes, 1, unit);
				int32_t got = ask(c->kind, c->table, cut, 1, unit);

				assert_true(got == whole || got == LINE_UNKNOWN);
			}
	}
}

/* Real tables of over 64 KB exist only in generated code, but they do. */
static void test_big_tables(void **state)
{
	uint8_t *table = malloc(BIG_BYTES);
	int32_t last = BIG_BYTES / 2 - 1;

	(void)state;
	assert_non_null(table);
	for (size_t i = 0; i < BIG_BYTES; i += 2)
		memcpy(table + i, "\x02\x01", 2);
	assert_int_equal(ask(KRAIT_LINES_LNOTAB, table, BIG_BYTES, 10, last), 10 + last);
	assert_int_equal(ask(KRAIT_LINES_PEP626, table, BIG_BYTES, 10, last), 11 + last);
	assert_int_equal(ask(KRAIT_LINES_PEP626, table, BIG_BYTES, 10, last + 1), LINE_UNKNOWN);
	for (size_t i = 0; i < BIG_BYTES; i += 2)
		memcpy(table + i, "\xe8\x02", 2);
	assert_int_equal(ask(KRAIT_LINES_PEP657, table, BIG_BYTES, 10, last), 11 + last);
	assert_int_equal(ask(KRAIT_LINES_PEP657, table, BIG_BYTES, 10, last + 1), LINE_UNKNOWN);
	free(table);
}

/* One byte value all over: varints that never end, only entries, only empty ranges. */
static void test_monotone_tables(void **state)
{
	static const enum krait_lines_kind kinds[] = {KRAIT_LINES_LNOTAB, KRAIT_LINES_PEP626,
						      KRAIT_LINES_PEP657,
						      KRAIT_LINES_LNOTAB_UNSIGNED};
	uint8_t *table = malloc(BIG_BYTES);

	(void)state;
	assert_non_null(table);
	for (int byte = 0; byte < 256; byte++) {
		memset(table, byte, BIG_BYTES);
		for (size_t k = 0; k < COUNT(kinds); k++)
			assert_true(linetable_line(kinds[k], table, BIG_BYTES, 1, INT32_MAX) >= 0);
	}
	memset(table, 0x7f, BIG_BYTES);
	table[0] = 0xe8;
	assert_int_equal(ask(KRAIT_LINES_PEP657, table, BIG_BYTES, 1, 0), LINE_UNKNOWN);
	/* Each entry adds 2^31 - 1: a sum that only 64 bits hold, and no int. */
	for (size_t i = 0; i + 7 <= BIG_BYTES; i += 7)
		memcpy(table + i, "\xe8\x7e\x7f\x7f\x7f\x7f\x03", 7);
	assert_int_equal(ask(KRAIT_LINES_PEP657, table, BIG_BYTES, 1, 20000), LINE_UNKNOWN);
	free(table);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223; /* Numerical Recipes' LCG: the same run everywhere */
	return *seed >> 8;
}

static void test_random_tables(void **state)
{
	uint32_t seed = 626;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		uint8_t table[40];
		size_t len = next_random(&seed) % sizeof(table);
		int32_t first = (int32_t)(next_random(&seed) << 8);
		int32_t unit = (int32_t)(next_random(&seed) % 64);

		for (size_t at = 0; at < len; at++)
			table[at] = (uint8_t)next_random(&seed);
		for (int kind = 0; kind < 6; kind++)
			assert_true(ask((enum krait_lines_kind)kind, table, len, first, unit) >= 0);
	}
}

/* Long tables, with marks to begin at: for each instruction the same answer as without. */
static void test_marks_change_nothing(void **state)
{
	uint32_t seed = 657;
	uint8_t table[5000];

	(void)state;
	for (int i = 0; i < 60; i++) {
		size_t len = next_random(&seed) % sizeof(table);
		enum krait_lines_kind kind = i % 5;
		struct linetable *lt;

		/* Of the last generation mostly true entries, or most tables end at the start. */
		for (size_t at = 0; at < len; at++)
			table[at] = kind != KRAIT_LINES_PEP657 ? next_random(&seed)
				    : at % 2		       ? next_random(&seed) & 0x3f
				    : i % 3		       ? 0x80 | next_random(&seed)
							       : next_random(&seed);
		lt = linetable_new(kind, table, len, 1000000);
		assert_non_null(lt);
		for (int32_t unit = -2; unit < 40000; unit++)
			assert_int_equal(linetable_find(lt, unit),
					 linetable_line(kind, table, len, 1000000, unit));
		linetable_free(lt);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_real_functions),
		cmocka_unit_test(test_cut_tables),
		cmocka_unit_test(test_big_tables),
		cmocka_unit_test(test_monotone_tables),
		cmocka_unit_test(test_random_tables),
		cmocka_unit_test(test_marks_change_nothing),
	};

	return cmocka_run_group_tests_name("linetable", tests, NULL, NULL);
}
