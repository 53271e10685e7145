/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Foreign text comes out safe: by table, for every code point there is, and for random bytes
 * checked by the C library's own decoder (iconv).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <iconv.h>
#include <stdbool.h>
#include <wchar.h>

#include "user/base/text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FFFD "\xef\xbf\xbd"

struct utf8_case {
	const char *what, *bytes;
	size_t len;
	const char *want;
};

#define BYTES(literal) literal, sizeof(literal) - 1

static const struct utf8_case utf8_cases[] = {
	{"empty", BYTES(""), ""},
	{"ascii", BYTES("a b;c\\\"<&>"), "a b;c\\\"<&>"},
	{"newline", BYTES("x\nFORGED;leaf 1"), "x\\x0aFORGED;leaf 1"},
	{"NUL, tab, escape, DEL", BYTES("\0\t\x1b[2J\x7f"), "\\x00\\x09\\x1b[2J\\x7f"},
	{"C1", BYTES("\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0"), "\\x80\\x9b\\x9f\xc2\xa0"},
	{"2, 3 and 4 bytes", BYTES("\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d"),
	 "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d"},
	{"bidi override",
	 BYTES("a\xe2\x80\xae"
	       "b\xe2\x81\xa6"),
	 "a\\u202eb\\u2066"},
	{"bidi marks", BYTES("\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c"), "\\u200e\\u200f\\u061c"},
	{"separators", BYTES("\xe2\x80\xa8\xe2\x80\xa9"), "\\u2028\\u2029"},
	{"U+FFFE, U+FFFF", BYTES("\xef\xbf\xbe\xef\xbf\xbf"), "\\ufffe\\uffff"},
	{"stray continuation",
	 BYTES("a\x80\xbf"
	       "b"),
	 "a" FFFD FFFD "b"},
	{"bytes that never occur", BYTES("\xc0\xc1\xf5\xff"), FFFD FFFD FFFD FFFD},
	{"overlong newline", BYTES("\xc0\x8a"), FFFD FFFD},
	{"overlong 3 bytes", BYTES("\xe0\x80\x8a"), FFFD FFFD FFFD},
	{"overlong 4 bytes", BYTES("\xf0\x80\x80\x8a"), FFFD FFFD FFFD FFFD},
	{"surrogate", BYTES("\xed\xa0\x80"), FFFD FFFD FFFD},
	{"beyond U+10FFFF", BYTES("\xf4\x90\x80\x80"), FFFD FFFD FFFD FFFD},
	{"cut by the end", BYTES("a\xf0\x9f\x90"), "a" FFFD},
	{"cut after one", BYTES("\xe2"), FFFD},
	{"cut by a newline", BYTES("\xe2\x82\nb"), FFFD "\\x0ab"},
	{"cut by a start", BYTES("\xf0\x9f\xc3\xa9"), FFFD "\xc3\xa9"},
};

/* From memory that ends where the text ends. */
static char *safe_utf8(const void *bytes, size_t len)
{
	struct strbuf out = {0};
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	text_add_utf8(&out, copy, len);
	assert_false(out.failed);
	free(copy);
	return out.buf ? out.buf : calloc(1, 1);
}

static void test_utf8_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(utf8_cases); i++) {
		char *got = safe_utf8(utf8_cases[i].bytes, utf8_cases[i].len);

		if (strcmp(got, utf8_cases[i].want))
			fail_msg("%s: got \"%s\"", utf8_cases[i].what, got);
		free(got);
	}
}

static void test_appends(void **state)
{
	struct strbuf out = {0};

	(void)state;
	strbuf_add_str(&out, "f ");
	text_add_utf8(&out, "a\n", 2);
	text_add_codepoint(&out, 0x20ac);
	assert_int_equal(text_add_pystr(&out, "b", 1, 1), 0);
	assert_string_equal(strbuf_text(&out), "f a\\x0a\xe2\x82\xac"
					       "b");
	strbuf_release(&out);
}

static void test_pystr(void **state)
{
	static const uint16_t two[] = {'a', 0xe9, 0x20ac, 0xd800, 0xdc00, '\n'};
	static const uint32_t four[] = {'a', 0x1f40d, 0x110000, UINT32_MAX, 0xdfff, 0x202e};
	static const struct {
		const void *bytes;
		size_t len;
		unsigned int width;
		const char *want;
	} pystr_cases[] = {
		{"a\xe9\n\x9b", 4, 1, "a\xc3\xa9\\x0a\\x9b"},
		{"", 0, 1, ""},
		{two, sizeof(two), 2, "a\xc3\xa9\xe2\x82\xac" FFFD FFFD "\\x0a"},
		{two, 3, 2, "a"}, /* half a character at the end */
		{two, 1, 2, ""},
		{four, sizeof(four), 4, "a\xf0\x9f\x90\x8d" FFFD FFFD FFFD "\\u202e"},
		{four, 7, 4, "a"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(pystr_cases); i++) {
		struct strbuf out = {0};
		size_t len = pystr_cases[i].len;
		/* One byte off, as a string in a packed record can be. */
		char *copy = malloc(len + 1);

		assert_non_null(copy);
		memcpy(copy + 1, pystr_cases[i].bytes, len);
		assert_int_equal(text_add_pystr(&out, copy + 1, len, pystr_cases[i].width), 0);
		assert_string_equal(strbuf_text(&out), pystr_cases[i].want);
		free(copy);
		strbuf_release(&out);
	}
}

static void test_pystr_width(void **state)
{
	static const unsigned int widths[] = {0, 3, 5, 7, 8, 255, UINT32_MAX};
	struct strbuf out = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(widths); i++)
		assert_int_equal(text_add_pystr(&out, "abcdefgh", 8, widths[i]), -EINVAL);
	assert_int_equal(out.len, 0);
	strbuf_release(&out);
}

/* Written apart from the table in text.c, from Unicode's Cc and Bidi_Control. */
static bool must_be_escaped(uint32_t cp)
{
	static const uint32_t others[] = {0x7f,	  0x61c,  0x200e, 0x200f, 0x2028, 0x2029,
					  0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066,
					  0x2067, 0x2068, 0x2069, 0xfffe, 0xffff};

	if (cp < 0x20 || (cp >= 0x80 && cp < 0xa0))
		return true;
	for (size_t i = 0; i < COUNT(others); i++)
		if (others[i] == cp)
			return true;
	return false;
}

/* What the C library makes of one character, in UTF-8; false if it is none. */
static bool libc_utf8(iconv_t to_utf8, uint32_t cp, char out[8])
{
	wchar_t wide = (wchar_t)cp;
	char *in = (char *)&wide, *at = out;
	size_t in_left = sizeof(wide), out_left = 7;

	memset(out, 0, 8);
	return iconv(to_utf8, &in, &in_left, &at, &out_left) != (size_t)-1;
}

static void want_codepoint(iconv_t to_utf8, uint32_t cp, char want[8])
{
	if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
		strcpy(want, FFFD);
	else if (must_be_escaped(cp))
		snprintf(want, 8, cp < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned int)cp & 0xffff);
	else
		assert_true(libc_utf8(to_utf8, cp, want));
}

static void test_every_codepoint(void **state)
{
	iconv_t to_utf8 = iconv_open("UTF-8", "WCHAR_T");
	struct strbuf out = {0}, again = {0};

	(void)state;
	assert_true(to_utf8 != (iconv_t)-1);
	for (uint32_t cp = 0; cp < 0x110100; cp++) {
		char want[8];

		strbuf_reset(&out);
		strbuf_reset(&again);
		text_add_codepoint(&out, cp);
		want_codepoint(to_utf8, cp, want);
		if (strcmp(strbuf_text(&out), want))
			fail_msg("U+%04X: got \"%s\"", (unsigned int)cp, strbuf_text(&out));
		/* What is safe already stays as it is. */
		text_add_utf8(&again, out.buf, out.len);
		assert_string_equal(strbuf_text(&again), want);
	}
	iconv_close(to_utf8);
	strbuf_release(&out);
	strbuf_release(&again);
}

/* Whether the C library takes it for UTF-8, and nothing in it had to be escaped. */
static bool is_safe(iconv_t to_wide, const char *text)
{
	wchar_t wide[512];
	char *in = (char *)text, *out = (char *)wide;
	size_t in_left = strlen(text), out_left = sizeof(wide), cnt;

	if (iconv(to_wide, &in, &in_left, &out, &out_left) == (size_t)-1)
		return false;
	cnt = sizeof(wide) / sizeof(wide[0]) - out_left / sizeof(wide[0]);
	for (size_t i = 0; i < cnt; i++)
		if (must_be_escaped((uint32_t)wide[i]))
			return false;
	return true;
}

static void test_random_bytes(void **state)
{
	/* Bytes that make broken sequences likely. */
	static const uint8_t pool[] = "a\n\x1b\x7f\x80\x8a\x9b\xa0\xa8\xae\xbf\xc0\xc2\xd8\xe0\xe2"
				      "\xed\xef\xf0\xf4\xf5\xff\x81\x9c";
	iconv_t to_wide = iconv_open("WCHAR_T", "UTF-8");
	uint32_t seed = 8;

	(void)state;
	assert_true(to_wide != (iconv_t)-1);
	for (int i = 0; i < 100000; i++) {
		uint8_t bytes[24];
		char *text;

		for (size_t at = 0; at < sizeof(bytes); at++) {
			seed = seed * 1664525 + 1013904223;
			bytes[at] = pool[(seed >> 16) % (sizeof(pool) - 1)];
		}
		text = safe_utf8(bytes, sizeof(bytes));
		assert_true(is_safe(to_wide, text));
		free(text);
	}
	iconv_close(to_wide);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8_cases),	cmocka_unit_test(test_appends),
		cmocka_unit_test(test_pystr),		cmocka_unit_test(test_pystr_width),
		cmocka_unit_test(test_every_codepoint), cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
