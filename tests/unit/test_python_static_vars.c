/* SPDX-License-Identifier: BSD-2-Clause */
/* Machine code that leads to static variables: what compilers make of it, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "user/python/static_vars.h"

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

/* PyGC_Collect, as objdump shows it; `want` as an offset from CODE_ADDR. */
static const struct {
	const char *what, *code;
	size_t len;
	uint64_t want;
} collects[] = {
	/* CPython 2.7.18, gcc 12 -O3: collecting is 0xcdc00 behind the function. */
	{"2.7",
	 CODE("\x53\x31\xdb\x48\x83\xec\x20\x8b\x05\xf3\xdb\x0c\x00\x85\xc0\x74\x0f\x48\x83\xc4"
	      "\x20\x48\x89\xd8\x5b\xc3\x66\x0f\x1f\x44\x00\x00\x48\x8d\x54\x24\x18\x48\x8d\x74"
	      "\x24\x10\xc7\x05\xcc\xdb\x0c\x00\x01\x00\x00\x00"),
	 0xcdc00},
	{"a register that needs a prefix",
	 CODE("\x44\x8b\x05\xf9\x00\x00\x00\xc7\x05\xef\x00\x00\x00\x01\x00\x00\x00"), 0x100},
	{"compared", CODE("\x83\x3d\xf9\x00\x00\x00\x00\xc7\x05\xef\x00\x00\x00\x01\x00\x00\x00"),
	 0x100},
	{"compared with 1",
	 CODE("\x83\x3d\xf9\x00\x00\x00\x01\xc7\x05\xef\x00\x00\x00\x01\x00\x00\x00"), 0},
	{"set to 2", CODE("\x8b\x05\xfa\x00\x00\x00\x90\xc7\x05\xef\x00\x00\x00\x02\x00\x00\x00"),
	 0},
	{"another is set",
	 CODE("\x8b\x05\xfa\x00\x00\x00\x90\xc7\x05\xf3\x00\x00\x00\x01\x00\x00\x00"), 0},
	{"another is set first",
	 CODE("\x8b\x05\xfa\x00\x00\x00\xc7\x05\xf3\x00\x00\x00\x01\x00\x00\x00"
	      "\xc7\x05\xe6\x00\x00\x00\x01\x00\x00\x00"),
	 0x100},
	{"set before it is asked",
	 CODE("\xc7\x05\xf6\x00\x00\x00\x01\x00\x00\x00\x8b\x05\xf0\x00\x00\x00\x90"), 0},
	{"nothing", CODE(""), 0},
};

static void test_collects(void **state)
{
	(void)state;
#if defined(__x86_64__)
	for (size_t i = 0; i < COUNT(collects); i++) {
		/* Cut anywhere it tells nothing. (Build with SAN=address.) */
		for (size_t len = 0; len <= collects[i].len; len++) {
			uint8_t *copy = malloc(len ? len : 1);
			uint64_t want = collects[i].want && len == collects[i].len
						? CODE_ADDR + collects[i].want
						: 0;

			assert_non_null(copy);
			memcpy(copy, collects[i].code, len);
			if (collect_code_addr(copy, len, CODE_ADDR) != want)
				fail_msg("%s: not as wanted", collects[i].what);
			free(copy);
		}
	}
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases),
					   cmocka_unit_test(test_collects)};

	return cmocka_run_group_tests_name("static variables", tests, NULL, NULL);
}
