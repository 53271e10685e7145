/* SPDX-License-Identifier: BSD-2-Clause */
/* Packed numbers come out as they went in, whenever the first large one comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "user/base/packed.h"

#define NUMBERS 1000

/* The first large number is `large`, at `at`. */
static void check(uint32_t at, uint32_t large)
{
	struct packed packed = {};
	uint32_t numbers[NUMBERS];

	for (uint32_t i = 0; i < NUMBERS; i++)
		numbers[i] = i == at ? large : UINT16_MAX - i;
	assert_int_equal(packed_add(&packed, numbers, 0), 0);
	for (uint32_t i = 0, cnt = 1; i < NUMBERS; i += cnt, cnt = 1 + i % 7) {
		cnt = cnt < NUMBERS - i ? cnt : NUMBERS - i;
		assert_int_equal(packed_add(&packed, numbers + i, cnt), 0);
	}
	assert_int_equal(packed.cnt, NUMBERS);
	assert_int_equal(packed.is_wide, at < NUMBERS);
	for (uint32_t i = 0; i < NUMBERS; i++)
		assert_int_equal(packed_get(&packed, i), numbers[i]);
	free(packed.items);
}

static void test_numbers(void **state)
{
	(void)state;
	check(NUMBERS, 0);
	check(0, UINT16_MAX + 1);
	check(1, UINT32_MAX);
	check(500, UINT16_MAX + 1);
	check(NUMBERS - 1, UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
