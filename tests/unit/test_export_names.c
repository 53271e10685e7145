// SPDX-License-Identifier: BSD-2-Clause
/*
 * No output injection: names that a hostile process could choose, through base/text.h as every name
 * goes, come out of the folded format as just one line each. Other text formats can be added here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/base/intern.h"
#include "user/base/strbuf.h"
#include "user/base/text.h"
#include "user/export/export.h"

#define HOSTILE_CNT 300000

static const struct profile_process process = {1, 0, "python3", "x\";y", 0};
static const struct profile_thread thread = {.tid = 1, .name = "thread 7"};

static uint64_t random_next(uint64_t *seed)
{
	/* Knuth, MMIX: TAOCP vol. 2, 3.3.4, table 1, line 26. */
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return *seed >> 33;
}

/* A name that differs from the others', of bytes that formats care for, and of any bytes. */
static const char *hostile_name(struct intern *in, uint64_t *seed, unsigned int i)
{
	static const char loved[] = "\n\r;\" 7(:)[]\\\t\x1b\x7f#";
	struct strbuf text = {};
	char bytes[16];
	const char *name;
	size_t j, len = random_next(seed) % sizeof(bytes);

	for (j = 0; j < len; j++)
		bytes[j] = random_next(seed) % 2 ? loved[random_next(seed) % (sizeof(loved) - 1)]
						 : (char)random_next(seed);
	strbuf_addf(&text, "%x", i);
	text_add_utf8(&text, bytes, len);
	/* Half of them end as a folded line's count does. */
	if (random_next(seed) % 2)
		strbuf_add_str(&text, " 20");
	name = intern_add(in, strbuf_text(&text), text.len);
	strbuf_release(&text);
	return name;
}

struct hostile {
	struct intern *names;
	struct profile_function *functions;
	struct profile_frame *frames;
	uint32_t *frame_idx;
	struct profile_stack *stacks;
	struct profile_sample *samples;
};

/* A stack of one frame for each name; every third function is of an empty or a hostile file. */
static struct profile hostile_init(struct hostile *h)
{
	static const struct profile_event event = {
		.name = "cpu", .unit = "nanoseconds", .total_cnt = HOSTILE_CNT};
	struct profile p = {
		.meta = {.host = "", .kernel = "", .target = ""},
		.processes = &process,
		.threads = &thread,
		.process_cnt = 1,
		.thread_cnt = 1,
		.events = &event,
		.event_cnt = 1,
	};
	uint64_t seed = 42;
	uint32_t i;

	h->names = intern_new();
	h->functions = calloc(HOSTILE_CNT, sizeof(*h->functions));
	h->frames = calloc(HOSTILE_CNT, sizeof(*h->frames));
	h->frame_idx = calloc(HOSTILE_CNT, sizeof(*h->frame_idx));
	h->stacks = calloc(HOSTILE_CNT, sizeof(*h->stacks));
	h->samples = calloc(HOSTILE_CNT, sizeof(*h->samples));
	for (i = 0; i < HOSTILE_CNT; i++) {
		const char *name = hostile_name(h->names, &seed, i);

		h->functions[i] =
			(struct profile_function){.name = name, .file = i % 3 ? "/a/b/c.py" : ""};
		if (i % 3 == 1)
			h->functions[i].file = name;
		h->frames[i] = (struct profile_frame){i, (int32_t)(i % 2)};
		h->frame_idx[i] = i;
		h->stacks[i] = (struct profile_stack){i, 1};
		h->samples[i] = (struct profile_sample){.stack_idx = i, .cnt = 1};
	}
	p.functions = h->functions;
	p.frames = h->frames;
	p.frame_idx = (struct packed){.items = h->frame_idx, .cnt = HOSTILE_CNT, .is_wide = true};
	p.stacks = h->stacks;
	p.samples = h->samples;
	p.function_cnt = p.frame_cnt = p.stack_cnt = p.sample_cnt = HOSTILE_CNT;
	return p;
}

static void hostile_release(struct hostile *h)
{
	intern_free(h->names);
	free(h->functions);
	free(h->frames);
	free(h->frame_idx);
	free(h->stacks);
	free(h->samples);
}

/* Checks a line, and that it comes after the one before it. */
static void assert_line(const char *line, const char *before)
{
	const unsigned char *p;
	size_t len = strlen(line);

	for (p = (const unsigned char *)line; *p; p++) {
		assert_true(*p >= 0x20 && *p != 0x7f);
		/* U+0080 to U+009F */
		assert_false(p[0] == 0xc2 && p[1] < 0xa0);
	}
	assert_true(len > 3 && !strcmp(line + len - 2, " 1"));
	assert_true(line[len - 3] == ')' || line[len - 3] == ']');
	assert_ptr_equal(strchr(line, ';'), strrchr(line, ';'));
	assert_true(strcmp(before, line) < 0);
}

static void test_hostile_names(void **state)
{
	struct hostile h;
	struct profile p = hostile_init(&h);
	const struct export_opts opts = {};
	char *bytes = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&bytes, &len);
	char *line, *end;
	const char *before = "";
	uint32_t line_cnt = 0;

	(void)state;
	assert_non_null(out);
	assert_int_equal(export_find("-", NULL)->write(&p, &opts, out), 0);
	assert_int_equal(fclose(out), 0);
	for (line = bytes; (end = strchr(line, '\n')); line = end + 1) {
		*end = 0;
		assert_line(line, before);
		before = line;
		line_cnt++;
	}
	assert_int_equal(line_cnt, HOSTILE_CNT);
	assert_ptr_equal(line, bytes + len);
	free(bytes);
	hostile_release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
