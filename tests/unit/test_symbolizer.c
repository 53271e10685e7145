/* SPDX-License-Identifier: BSD-2-Clause */
/* The interpreter's own code object under an __init__, and those that only look like it; and which
 * code objects are known to say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "user/base/index.h"
#include "user/drain/records.h"
#include "user/symbolize/linetable.h"
#include "user/symbolize/symbolizer.h"

#define OWNER 1

struct like {
	const char *name, *file;
	int32_t first_line;
	uint16_t lines_kind;
	uint32_t lines_bytes;
	uint8_t entry; /* 0xfb: 4 units without a line (Objects/locations.md, code 15) */
};

/* Adds the part of such a code object with the bytes [from, to) of its line table. Names come with
 * the first part. */
static void add_part(struct symbolizer *sym, uint64_t id, const struct like *like, uint32_t from,
		     uint32_t to)
{
	struct {
		struct krait_code_rec rec;
		char text[64 + KRAIT_LINES_CHUNK_BYTES];
	} r = {.rec = {.h = {.kind = KRAIT_CODE}, .code_id = id}};
	size_t name_len = strlen(like->name), file_len = strlen(like->file);

	r.rec.first_line = like->first_line;
	r.rec.lines_kind = like->lines_kind;
	r.rec.lines_total = like->lines_bytes;
	r.rec.lines_off = from;
	r.rec.lines_bytes = to - from;
	if (!from) {
		r.rec.name = r.rec.qualname = (struct krait_str){.bytes = name_len, .width = 1};
		r.rec.file = (struct krait_str){.bytes = file_len, .width = 1};
		strcpy(r.text, like->name);
		strcat(r.text, like->name);
		strcat(r.text, like->file);
	}
	memset(r.text + strlen(r.text), like->entry, to - from);
	r.rec.h.bytes = sizeof(r);
	assert_int_equal(record_check(&r, sizeof(r)), sizeof(r));
	assert_int_equal(symbolizer_add(sym, OWNER, &r.rec), 0);
}

static void add_code(struct symbolizer *sym, uint64_t id, const struct like *like)
{
	add_part(sym, id, like, 0, like->lines_bytes);
}

/* The symbol of a frame in such a code object. */
static struct symbol symbol_of(const struct like *like)
{
	struct intern *in = intern_new();
	struct symbolizer *sym = symbolizer_new(in);
	struct krait_frame frame = {.code_id = 1};
	struct symbol symbol;

	add_code(sym, 1, like);
	symbol = symbolizer_frame(sym, OWNER, &frame);
	symbolizer_free(sym);
	intern_free(in);
	return symbol;
}

static void test_init_cleanup_is_a_shim(void **state)
{
	(void)state;
	assert_true(
		symbol_of(&(struct like){"__init__", "__init__", 0, KRAIT_LINES_PEP657, 1, 0xfb})
			.is_shim);
}

static void test_what_looks_like_it_is_none(void **state)
{
	static const struct like likes[] = {
		{"__init__", "__init__.py", 0, KRAIT_LINES_PEP657, 1, 0xfb},
		{"__new__", "__init__", 0, KRAIT_LINES_PEP657, 1, 0xfb},
		{"__init__", "__init__", 1, KRAIT_LINES_PEP657, 1, 0xfb},
		{"__init__", "__init__", 0, KRAIT_LINES_PEP657, 2, 0xfb},
		{"__init__", "__init__", 0, KRAIT_LINES_PEP626, 1, 0xfb},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(likes) / sizeof(*likes); i++)
		assert_false(symbol_of(&likes[i]).is_shim);
}

static const struct like like_f = {"f", "a.py", 7, KRAIT_LINES_PEP657, 4, 0xfb};

static void test_equal_code_has_one_body(void **state)
{
	struct intern *in = intern_new();
	struct symbolizer *sym = symbolizer_new(in);
	static const struct like others[] = {
		{"g", "a.py", 7, KRAIT_LINES_PEP657, 4, 0xfb},
		{"f", "b.py", 7, KRAIT_LINES_PEP657, 4, 0xfb},
		{"f", "a.py", 8, KRAIT_LINES_PEP657, 4, 0xfb},
		{"f", "a.py", 7, KRAIT_LINES_PEP626, 4, 0xfb},
		{"f", "a.py", 7, KRAIT_LINES_PEP657, 5, 0xfb},
		{"f", "a.py", 7, KRAIT_LINES_PEP657, 4, 0xfa},
	};
	uint32_t cnt = sizeof(others) / sizeof(*others), body;

	(void)state;
	add_code(sym, 100, &like_f);
	body = symbolizer_body(sym, OWNER, 100);
	assert_int_not_equal(body, INDEX_NONE);
	for (uint32_t i = 0; i < cnt; i++) {
		struct symbol symbol;

		add_code(sym, 200 + i, &like_f);
		add_code(sym, 300 + i, &others[i]);
		assert_int_equal(symbolizer_body(sym, OWNER, 200 + i), body);
		assert_int_not_equal(symbolizer_body(sym, OWNER, 300 + i), body);
		symbol = symbolizer_frame(sym, OWNER, &(struct krait_frame){.code_id = 300 + i});
		assert_int_equal(symbol.body, symbolizer_body(sym, OWNER, 300 + i));
		assert_string_equal(symbol.name, others[i].name);
		assert_string_equal(symbol.file, others[i].file);
		assert_int_equal(symbol.first_line, others[i].first_line);
	}
	for (uint32_t i = 1; i < cnt; i++)
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(symbolizer_body(sym, OWNER, 300 + i),
					     symbolizer_body(sym, OWNER, 300 + j));
	symbolizer_free(sym);
	intern_free(in);
}

/* Of two that come in pieces, in turn: each is known when its names have come, and one that is like
 * an older one makes no difference to what came between. */
static void test_body_in_pieces(void **state)
{
	static const struct like like_g = {"g", "b.py", 9, KRAIT_LINES_PEP657, 4, 0xfb};
	static const struct like like_h = {"h", "b.py", 19, KRAIT_LINES_PEP657, 4, 0xfb};
	struct intern *in = intern_new();
	struct symbolizer *sym = symbolizer_new(in);

	(void)state;
	add_code(sym, 1, &like_f);
	add_part(sym, 2, &like_f, 2, 4);
	add_part(sym, 3, &like_g, 2, 4);
	assert_int_equal(symbolizer_body(sym, OWNER, 2), INDEX_NONE);
	add_part(sym, 2, &like_f, 0, 2);
	assert_int_equal(symbolizer_body(sym, OWNER, 2), symbolizer_body(sym, OWNER, 1));
	assert_int_equal(symbolizer_body(sym, OWNER, 3), INDEX_NONE);
	assert_int_equal(symbolizer_body(sym, OWNER, 4), INDEX_NONE);
	add_code(sym, 5, &like_h);
	add_part(sym, 3, &like_g, 0, 2);
	assert_string_equal(symbolizer_frame(sym, OWNER, &(struct krait_frame){.code_id = 3}).name,
			    "g");
	assert_string_equal(symbolizer_frame(sym, OWNER, &(struct krait_frame){.code_id = 5}).name,
			    "h");
	assert_int_not_equal(symbolizer_body(sym, OWNER, 3), symbolizer_body(sym, OWNER, 1));
	symbolizer_free(sym);
	intern_free(in);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* The longest table there is, asked for a thousand lines near its end: not a thousand times what it
 * takes to read it through once. */
static void test_long_table_is_read_once(void **state)
{
	const uint32_t len = 512 << 10;
	struct intern *in = intern_new();
	struct symbolizer *sym = symbolizer_new(in);
	uint8_t *table = malloc(len);
	uint64_t once_ns, all_ns;
	/* Entries of one byte: so many units of no line, and no more. */
	struct like like = {"f", "a.py", 7, KRAIT_LINES_PEP657, 0, 0xf8};

	(void)state;
	assert_non_null(table);
	memset(table, 0xf8, len);
	for (uint32_t from = 0; from < len; from += KRAIT_LINES_CHUNK_BYTES) {
		like.lines_bytes = len;
		add_part(sym, 1, &like, len - from - KRAIT_LINES_CHUNK_BYTES, len - from);
	}
	once_ns = cpu_ns();
	assert_int_equal(linetable_line(KRAIT_LINES_PEP657, table, len, 7, len), LINE_UNKNOWN);
	once_ns = cpu_ns() - once_ns;
	all_ns = cpu_ns();
	for (int i = 0; i < 1000; i++) {
		struct krait_frame frame = {.code_id = 1, .unit = len - 1 - i};

		assert_int_equal(symbolizer_frame(sym, OWNER, &frame).line, LINE_UNKNOWN);
	}
	all_ns = cpu_ns() - all_ns;
	/* Some 5 times; without marks 1000. */
	assert_in_range(all_ns, 1, 100 * once_ns);
	free(table);
	symbolizer_free(sym);
	intern_free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_cleanup_is_a_shim),
		cmocka_unit_test(test_what_looks_like_it_is_none),
		cmocka_unit_test(test_equal_code_has_one_body),
		cmocka_unit_test(test_body_in_pieces),
		cmocka_unit_test(test_long_table_is_read_once),
	};

	return cmocka_run_group_tests_name("symbolizer", tests, NULL, NULL);
}
