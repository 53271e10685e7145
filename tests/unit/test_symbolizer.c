/* SPDX-License-Identifier: BSD-2-Clause */
/* The interpreter's own code object under an __init__, and those that only look like it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "user/drain/records.h"
#include "user/symbolize/symbolizer.h"

struct like {
	const char *name, *file;
	int32_t first_line;
	uint16_t lines_kind;
	uint32_t lines_bytes;
};

/* The symbol of a frame in such a code object. */
static struct symbol symbol_of(const struct like *like)
{
	struct {
		struct krait_code_rec rec;
		char text[64];
	} r = {.rec = {.h = {.kind = KRAIT_CODE}, .code_id = 1}};
	size_t name_len = strlen(like->name), file_len = strlen(like->file);
	struct intern *in = intern_new();
	struct symbolizer *sym = symbolizer_new(in);
	struct krait_frame frame = {.code_id = 1};
	struct symbol symbol;

	r.rec.name = r.rec.qualname = (struct krait_str){.bytes = name_len, .width = 1};
	r.rec.file = (struct krait_str){.bytes = file_len, .width = 1};
	r.rec.first_line = like->first_line;
	r.rec.lines_kind = like->lines_kind;
	r.rec.lines_bytes = r.rec.lines_total = like->lines_bytes;
	strcpy(r.text, like->name);
	strcat(r.text, like->name);
	strcat(r.text, like->file);
	/* Of 4 units, without a line: Objects/locations.md, code 15. */
	memset(r.text + strlen(r.text), 0xfb, like->lines_bytes);
	r.rec.h.bytes = sizeof(r);
	assert_int_equal(symbolizer_add(sym, &r.rec), 0);
	symbol = symbolizer_frame(sym, &frame);
	symbolizer_free(sym);
	intern_free(in);
	return symbol;
}

static void test_init_cleanup_is_a_shim(void **state)
{
	(void)state;
	assert_true(symbol_of(&(struct like){"__init__", "__init__", 0, KRAIT_LINES_PEP657, 1})
			    .is_shim);
}

static void test_what_looks_like_it_is_none(void **state)
{
	static const struct like likes[] = {
		{"__init__", "__init__.py", 0, KRAIT_LINES_PEP657, 1},
		{"__new__", "__init__", 0, KRAIT_LINES_PEP657, 1},
		{"__init__", "__init__", 1, KRAIT_LINES_PEP657, 1},
		{"__init__", "__init__", 0, KRAIT_LINES_PEP657, 2},
		{"__init__", "__init__", 0, KRAIT_LINES_PEP626, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(likes) / sizeof(*likes); i++)
		assert_false(symbol_of(&likes[i]).is_shim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_cleanup_is_a_shim),
		cmocka_unit_test(test_what_looks_like_it_is_none),
	};

	return cmocka_run_group_tests_name("symbolizer", tests, NULL, NULL);
}
