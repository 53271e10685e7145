/* SPDX-License-Identifier: BSD-2-Clause */
/* strbuf, intern and log; outfile has a file of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "user/base/intern.h"
#include "user/base/log.h"
#include "user/base/strbuf.h"

/* ---- strbuf ---- */

static void test_strbuf_appends(void **state)
{
	struct strbuf sb = {0};

	(void)state;
	assert_string_equal(strbuf_text(&sb), "");
	strbuf_add(&sb, "a\0b", 3);
	strbuf_add_str(&sb, "");
	strbuf_add_char(&sb, 'c');
	strbuf_addf(&sb, "%d%s", -5, "x");
	assert_int_equal(sb.len, 7);
	assert_memory_equal(sb.buf, "a\0bc-5x", 8);
	assert_false(sb.failed);
	strbuf_reset(&sb);
	assert_int_equal(sb.len, 0);
	assert_string_equal(strbuf_text(&sb), "");
	assert_true(sb.cap > 0);
	strbuf_release(&sb);
	assert_null(sb.buf);
	assert_int_equal(sb.cap, 0);
	strbuf_release(&sb);
}

static void test_strbuf_grows(void **state)
{
	struct strbuf sb = {0};

	(void)state;
	for (int i = 0; i < 100000; i++) {
		strbuf_add_char(&sb, (char)('a' + i % 26));
		assert_true(sb.len < sb.cap);
		assert_int_equal(sb.buf[sb.len], 0);
	}
	assert_int_equal(strlen(sb.buf), 100000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(sb.buf[i], 'a' + i % 26);
	/* Longer than what is left by far. */
	strbuf_addf(&sb, "%*d", 500000, 7);
	assert_int_equal(sb.len, 600000);
	assert_int_equal(sb.buf[sb.len - 1], '7');
	strbuf_release(&sb);
}

static void test_strbuf_reserves(void **state)
{
	struct strbuf sb = {0};
	char *buf;

	(void)state;
	assert_true(strbuf_reserve(&sb, 1000));
	assert_string_equal(sb.buf, "");
	buf = sb.buf;
	for (int i = 0; i < 1000; i++)
		strbuf_add_char(&sb, 'x');
	assert_ptr_equal(sb.buf, buf);
	strbuf_release(&sb);
}

static void test_strbuf_no_memory(void **state)
{
	struct strbuf sb = {0};

	(void)state;
	assert_false(strbuf_reserve(&sb, SIZE_MAX));
	assert_true(sb.failed);
	strbuf_release(&sb);

	strbuf_add_str(&sb, "whole");
	assert_false(strbuf_reserve(&sb, SIZE_MAX - 3)); /* len + extra wraps around */
	strbuf_add_str(&sb, " gap");
	assert_true(sb.failed);
	assert_string_equal(strbuf_text(&sb), "whole");
	strbuf_reset(&sb);
	strbuf_add_str(&sb, "again");
	assert_false(sb.failed);
	assert_string_equal(strbuf_text(&sb), "again");
	strbuf_release(&sb);
}

/* ---- intern ---- */

static void test_intern_one_address(void **state)
{
	struct intern *in = intern_new();
	char text[] = {'n', 'a', 'm', 'e', 's'}; /* no NUL */
	const char *name;

	(void)state;
	assert_non_null(in);
	name = intern_add(in, text, 4);
	assert_string_equal(name, "name");
	assert_ptr_equal(intern_str(in, "name"), name);
	assert_ptr_equal(intern_add(in, "name\0more", 9), name);
	assert_ptr_not_equal(intern_add(in, text, 5), name);
	assert_ptr_not_equal(intern_add(in, text, 3), name);
	text[0] = 'X'; /* the table has its own copy */
	assert_string_equal(name, "name");
	assert_string_equal(intern_str(in, ""), "");
	assert_ptr_equal(intern_str(in, ""), intern_add(in, "\0x", 2));
	intern_free(in);
	intern_free(NULL);
}

static void test_intern_many(void **state)
{
	enum { CNT = 20000 };
	static const char *names[CNT];
	struct intern *in = intern_new();
	char text[32];

	(void)state;
	assert_non_null(in);
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < CNT; i++) {
			/* Of every length up to 24: the hash takes eight bytes at a time. */
			snprintf(text, sizeof(text), "%0*d", 5 + i % 20, i);
			const char *name = intern_str(in, text);

			assert_string_equal(name, text);
			if (round)
				assert_ptr_equal(name, names[i]);
			names[i] = name;
		}
	intern_free(in);
}

/* ---- log ---- */

static void log_hostile(void)
{
	log_warn("walk: read %s: %d", "a\nkrait: FORGED\x1b[2J\x7f\xe2\x80\xae\xff", 7);
}

static void log_long(void)
{
	log_info("%*d", 10000, 1);
}

static void log_keeps_errno(void)
{
	errno = EDOM;
	log_info("x");
}

static void log_each_level(void)
{
	for (int level = LOG_ERROR; level <= LOG_VERBOSE; level++) {
		log_set_level((enum log_level)level);
		log_error("%d", level);
		log_warn("%d", level);
		log_info("%d", level);
		log_verbose("%d", level);
	}
	log_set_level(LOG_INFO);
}

static void test_log(void **state)
{
	static char out[1 << 16];

	(void)state;
	assert_int_equal(log_get_level(), LOG_INFO);
	capture(STDERR_FILENO, log_hostile, out, sizeof(out));
	assert_string_equal(out, "krait: walk: read a\\x0akrait: FORGED\\x1b[2J\\x7f\\u202e"
				 "\xef\xbf\xbd: 7\n");
	capture(STDERR_FILENO, log_long, out, sizeof(out));
	assert_int_equal(strlen(out), strlen("krait: ") + 10000 + 1);
	capture(STDERR_FILENO, log_keeps_errno, out, sizeof(out));
	assert_int_equal(errno, EDOM);
	capture(STDERR_FILENO, log_each_level, out, sizeof(out));
	assert_string_equal(out, "krait: 0\n"
				 "krait: 1\nkrait: 1\n"
				 "krait: 2\nkrait: 2\nkrait: 2\n"
				 "krait: 3\nkrait: 3\nkrait: 3\nkrait: 3\n");
	assert_int_equal(log_get_level(), LOG_INFO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strbuf_appends),
		cmocka_unit_test(test_strbuf_grows),
		cmocka_unit_test(test_strbuf_reserves),
		cmocka_unit_test(test_strbuf_no_memory),
		cmocka_unit_test(test_intern_one_address),
		cmocka_unit_test(test_intern_many),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
