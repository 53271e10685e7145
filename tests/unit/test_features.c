/* SPDX-License-Identifier: BSD-2-Clause */
/* Which kernels krait keeps off, by their release. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "user/session/features.h"

static void test_good_kernels(void **state)
{
	static const char *const good[] = {
		"5.15.0-91-generic", "5.18.19", "6.1.0-50-cloud-amd64", "6.10.3", "6.18", "7.0.0",
		"7.2.13+deb14-amd64"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_null(features_kernel_trouble(good[i]));
}

static void test_old_kernels(void **state)
{
	static const char *const old[] = {"2.6.78", "4.19.0-27-amd64", "5.10.0", "5.14.21", "",
					  "x"};

	(void)state;
	for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++)
		assert_string_equal(features_kernel_trouble(old[i]), ": krait needs 5.15 or later");
}

static void test_kernels_that_lock_up(void **state)
{
	(void)state;
	assert_non_null(features_kernel_trouble("5.19.17"));
	assert_non_null(features_kernel_trouble("6.0.12-amd64"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_kernels),
		cmocka_unit_test(test_old_kernels),
		cmocka_unit_test(test_kernels_that_lock_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
