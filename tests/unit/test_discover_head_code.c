/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine code of PyInterpreterState_Head: what compilers make of it, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "user/discover/head_code.h"

#define CODE_ADDR 0x174b90
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CODE(bytes) bytes, sizeof(bytes) - 1

static const struct {
	const char *what, *code;
	size_t len;
	uint64_t want;
} cases[] = {
	/* CPython 3.6.15, gcc 12 -O3: objdump says 0x2feee0 <interp_head>. */
	{"plain", CODE("\x48\x8b\x05\x49\xa3\x18\x00\xc3"), 0x2feee0},
	{"backwards", CODE("\x48\x8b\x05\xf9\xff\xff\xff\xc3"), 0x174b90},
	{"endbr64", CODE("\xf3\x0f\x1e\xfa\x48\x8b\x05\x00\x01\x00\x00\xc3"), 0x174c9b},
	{"rep ret", CODE("\x48\x8b\x05\x00\x01\x00\x00\xf3\xc3"), 0x174c97},
	{"frame", CODE("\x55\x48\x89\xe5\x48\x8b\x05\x00\x01\x00\x00\x5d\xc3"), 0x174c9b},
	{"frame without its end", CODE("\x55\x48\x89\xe5\x48\x8b\x05\x00\x01\x00\x00\xc3"), 0},
	{"end without its frame", CODE("\x48\x8b\x05\x00\x01\x00\x00\x5d\xc3"), 0},
	{"another register", CODE("\x48\x8b\x0d\x00\x01\x00\x00\xc3"), 0},
	{"32 bits", CODE("\x8b\x05\x00\x01\x00\x00\xc3\x00"), 0},
	/* 3.7: a member of _PyRuntime, by way of the GOT. */
	{"more follows", CODE("\x48\x8b\x05\xc1\xf1\x11\x00\x48\x8b\x40\x18\xc3"), 0},
	{"nothing", CODE(""), 0},
};

static uint64_t ask(const char *code, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	uint64_t addr;

	assert_non_null(copy);
	memcpy(copy, code, len);
	addr = head_code_addr(copy, len, CODE_ADDR);
	free(copy);
	return addr;
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
#if defined(__x86_64__)
		if (ask(cases[i].code, cases[i].len) != cases[i].want)
			fail_msg("%s: not as wanted", cases[i].what);
#endif
		/* Cut anywhere it tells nothing. (Build with SAN=address.) */
		for (size_t len = 0; len < cases[i].len; len++)
			assert_int_equal(ask(cases[i].code, len), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};

	return cmocka_run_group_tests_name("head code", tests, NULL, NULL);
}
