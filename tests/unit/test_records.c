/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * record_check, the gate that every foreign byte passes: good records of each kind, every
 * truncation of them, every length field set to what it can't be, random bytes. What passes is then
 * read to its last byte from memory of just that size, so a sanitizer sees a check that is missing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "user/drain/records.h"

/* Room for the longest record, aligned to 8. */
struct rec {
	size_t bytes;
	union {
		struct krait_hdr h;
		struct krait_process_rec process;
		struct krait_code_rec code;
		struct krait_stack_rec stack;
		struct krait_sample_rec sample;
		struct krait_event_sample_rec of_event;
		struct krait_event_rec event;
		unsigned char raw[1024];
		uint64_t align;
	};
};

static void set_head(struct rec *r, uint16_t kind, size_t bytes)
{
	r->h.kind = kind;
	r->bytes = r->h.bytes = (bytes + 7) & ~7UL;
}

static struct rec process_of(const char *text, size_t len)
{
	struct rec r = {0};

	set_head(&r, KRAIT_PROCESS, sizeof(r.process) + len);
	r.process.what = KRAIT_PROCESS_INFO;
	r.process.text_bytes = len;
	memcpy(r.raw + sizeof(r.process), text, len);
	return r;
}

static struct rec code_rec(void)
{
	static const char text[] = "run\0A\0.\0r\0/a.py123456789";
	struct rec r = {0};

	set_head(&r, KRAIT_CODE, sizeof(r.code) + 24);
	r.code.name = (struct krait_str){.bytes = 3, .width = 1, .is_ascii = 1};
	r.code.qualname = (struct krait_str){.bytes = 6, .width = 2};
	r.code.file = (struct krait_str){.bytes = 6, .width = 1};
	r.code.lines_total = 100;
	r.code.lines_off = 50;
	r.code.lines_bytes = 9;
	memcpy(r.raw + sizeof(r.code), text, 24);
	return r;
}

static struct rec stack_rec(uint32_t frame_cnt)
{
	struct rec r = {0};

	set_head(&r, KRAIT_STACK, sizeof(r.stack) + frame_cnt * sizeof(struct krait_frame));
	r.stack.frame_cnt = frame_cnt;
	return r;
}

static struct rec sample_rec(void)
{
	struct rec r = {0};

	set_head(&r, KRAIT_SAMPLE, sizeof(r.sample));
	return r;
}

static uint32_t sum_bytes(const void *bytes, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += ((const unsigned char *)bytes)[i];
	return sum;
}

/* Reads all that the accessors give. */
static uint32_t read_all(const struct krait_hdr *h)
{
	const struct krait_code_rec *code = (const void *)h;
	const struct krait_stack_rec *stack = (const void *)h;
	const struct krait_process_rec *process = (const void *)h;
	struct code_text text;

	switch (h->kind) {
	case KRAIT_PROCESS:
		return sum_bytes(process_text(process), process->text_bytes);
	case KRAIT_STACK:
		return sum_bytes(stack_frames(stack),
				 stack->frame_cnt * sizeof(struct krait_frame));
	case KRAIT_CODE:
		text = code_text(code);
		return sum_bytes(text.name, code->name.bytes) +
		       sum_bytes(text.qualname, code->qualname.bytes) +
		       sum_bytes(text.file, code->file.bytes) +
		       sum_bytes(text.lines, code->lines_bytes);
	}
	return sum_bytes(h, h->bytes);
}

/* record_check over memory that ends after `avail` bytes. */
static size_t check(const struct rec *r, size_t avail)
{
	void *copy = malloc(avail ? avail : 1);
	size_t got;

	assert_non_null(copy);
	memcpy(copy, r->raw, avail);
	got = record_check(copy, avail);
	assert_true(got <= avail);
	if (got)
		read_all(copy);
	free(copy);
	return got;
}

static void assert_good(const struct rec *r)
{
	assert_int_equal(check(r, r->bytes), r->bytes);
	/* More behind it is the next record's. */
	assert_int_equal(check(r, r->bytes + 8), r->bytes);
	for (size_t avail = 0; avail < r->bytes; avail++)
		assert_int_equal(check(r, avail), 0);
}

static void test_good_records_and_their_truncations(void **state)
{
	struct rec good[] = {
		process_of("", 0), process_of("a\0-c", 4), process_of("12345678", 8),
		code_rec(),	   stack_rec(0),	   stack_rec(1),
		stack_rec(60),	   sample_rec(),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_good(&good[i]);
}

static void test_lengths_of_the_record(void **state)
{
	static const uint32_t lengths[] = {
		0, 1, 7, 8, 16, 31, 33, 36, 41, 1u << 31, UINT32_MAX - 7, UINT32_MAX};
	struct rec all[] = {process_of("abc", 3), code_rec(), stack_rec(3), sample_rec()};

	(void)state;
	for (size_t k = 0; k < 4; k++) {
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			all[k].h.bytes = lengths[i];
			assert_int_equal(check(&all[k], all[k].bytes), 0);
		}
		/* Eight less than it needs, with the memory there. */
		all[k].h.bytes = all[k].bytes - 8;
		assert_int_equal(check(&all[k], all[k].bytes), 0);
	}
	/* Not a multiple of 8, although what it says of itself fits. */
	all[0] = process_of("abc", 3);
	for (uint32_t bytes = sizeof(all[0].process) + 3; bytes < all[0].bytes; bytes++) {
		all[0].h.bytes = bytes;
		assert_int_equal(check(&all[0], all[0].bytes), 0);
	}
	/* Eight more: a newer krait's record may have something at its end. */
	for (size_t k = 0; k < 4; k++) {
		all[k].h.bytes = all[k].bytes + 8;
		assert_int_equal(check(&all[k], all[k].bytes + 8), all[k].bytes + 8);
	}
}

static void test_kinds(void **state)
{
	struct rec r = sample_rec();

	(void)state;
	for (uint32_t kind = 0; kind < 0x10000; kind++) {
		r.h.kind = kind;
		if (kind < KRAIT_PROCESS || (kind > KRAIT_SAMPLE && kind != KRAIT_EVENT))
			assert_int_equal(check(&r, r.bytes), 0);
	}
}

static void test_what_of_a_process(void **state)
{
	struct rec r = process_of("", 0);

	(void)state;
	for (uint32_t what = 0; what < 0x10000; what++) {
		r.process.what = what;
		assert_int_equal(check(&r, r.bytes), what >= 1 && what <= 7 ? r.bytes : 0);
	}
}

static void test_process_text_is_inside(void **state)
{
	static const uint32_t bad[] = {9, 16, 1u << 31, UINT32_MAX};
	struct rec r = process_of("abcdefgh", 8);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		r.process.text_bytes = bad[i];
		assert_int_equal(check(&r, r.bytes), 0);
	}
}

static void test_frames_are_inside(void **state)
{
	/* The second is 3 again when multiplied by 16 in 32 bits. */
	static const uint32_t bad[] = {4, 0x10000003, UINT32_MAX};
	struct rec r = stack_rec(3);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		r.stack.frame_cnt = bad[i];
		assert_int_equal(check(&r, r.bytes), 0);
	}
}

static void test_longest_stack(void **state)
{
	uint32_t cnt = KRAIT_MAX_DEPTH_LIMIT;
	struct krait_stack_rec *rec = calloc(1, RECORD_MAX_BYTES + sizeof(struct krait_frame));

	(void)state;
	assert_non_null(rec);
	rec->h = (struct krait_hdr){.kind = KRAIT_STACK, .bytes = RECORD_MAX_BYTES};
	rec->frame_cnt = cnt;
	assert_int_equal(record_check(rec, RECORD_MAX_BYTES), RECORD_MAX_BYTES);
	rec->frame_cnt = cnt + 1;
	assert_int_equal(record_check(rec, RECORD_MAX_BYTES), 0);
	rec->frame_cnt = cnt;
	rec->h.bytes += 8;
	assert_int_equal(record_check(rec, rec->h.bytes), 0);
	free(rec);
}

/* One field of a CODE record wrong. */
static void bad_code(size_t off, uint32_t value)
{
	struct rec r = code_rec();

	memcpy(r.raw + off, &value, sizeof(value));
	if (check(&r, r.bytes) != 0)
		fail_msg("code record with %u at %zu passes", (unsigned int)value, off);
}

static void test_code_lengths(void **state)
{
	static const size_t lengths[] = {
		offsetof(struct krait_code_rec, name.bytes),
		offsetof(struct krait_code_rec, qualname.bytes),
		offsetof(struct krait_code_rec, file.bytes),
		offsetof(struct krait_code_rec, lines_bytes),
	};
	static const uint32_t values[] = {25,	     26, 1000, 1u << 31, 0xfffffff0, UINT32_MAX - 1,
					  UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++)
			bad_code(lengths[i], values[k]);
	/* Two that make up for each other in 32 bits. */
	struct rec r = code_rec();

	r.code.name.bytes = 1u << 31;
	r.code.file.bytes = (1u << 31) + 6;
	assert_int_equal(check(&r, r.bytes), 0);
}

static void test_code_lines_are_in_their_table(void **state)
{
	(void)state;
	bad_code(offsetof(struct krait_code_rec, lines_total), 58); /* 50 + 9 are beyond it */
	bad_code(offsetof(struct krait_code_rec, lines_total), 0);
	bad_code(offsetof(struct krait_code_rec, lines_off), 92);
	bad_code(offsetof(struct krait_code_rec, lines_off), UINT32_MAX);
	bad_code(offsetof(struct krait_code_rec, lines_total), UINT32_MAX);
	bad_code(offsetof(struct krait_code_rec, lines_total),
		 KRAIT_LINES_CHUNKS * KRAIT_LINES_CHUNK_BYTES + 1);
}

static void test_widths(void **state)
{
	(void)state;
	for (unsigned int width = 0; width < 256; width++) {
		struct rec r = code_rec();
		bool is_good = width == 1 || width == 2; /* 6 bytes of it */

		r.code.qualname.width = width;
		assert_int_equal(check(&r, r.bytes), is_good ? r.bytes : 0);
		/* A byte string is of bytes. */
		r.code.qualname.is_bytes = 1;
		assert_int_equal(check(&r, r.bytes), width == 1 ? r.bytes : 0);
		r.code.qualname.is_bytes = 0;
		/* No string has no bytes. */
		r.code.qualname.bytes = 0;
		is_good = is_good || width == 0 || width == 4;
		assert_int_equal(check(&r, r.bytes), is_good ? r.bytes : 0);
	}
}

static void test_code_text(void **state)
{
	struct rec r = code_rec();
	struct code_text text = code_text(&r.code);

	(void)state;
	assert_memory_equal(text.name, "run", 3);
	assert_memory_equal(text.qualname, "\0A\0.\0r", 6);
	assert_memory_equal(text.file, "\0/a.py", 6);
	assert_memory_equal(text.lines, "123456789", 9);
}

/* Whatever bytes are changed: it is refused, or all of it can be read. */
static void test_random_damage(void **state)
{
	const struct rec good[] = {process_of("abcdefgh", 8), code_rec(), stack_rec(5),
				   sample_rec()};
	uint32_t seed = 3, passed = 0;

	(void)state;
	for (int run = 0; run < 200000; run++) {
		struct rec r = good[run & 3];

		for (int i = 0; i < 2; i++) {
			seed = seed * 1664525 + 1013904223;
			r.raw[(seed >> 8) % 72] = seed >> 4 & 1 ? seed >> 24 : (seed >> 24) & 7;
		}
		passed += check(&r, r.bytes) != 0;
	}
	assert_true(passed > 1000 && passed < 199000);
}

/* A sample says which event it is of where it is long enough to; else it is the CPU's clock. */
static void test_event_of_a_sample(void **state)
{
	struct rec r = {0};

	(void)state;
	set_head(&r, KRAIT_SAMPLE, sizeof(r.of_event));
	r.sample.weight = 3;
	r.of_event.event = 2;
	r.of_event.value = 1ULL << 40;
	for (size_t bytes = sizeof(r.sample); bytes < sizeof(r.of_event); bytes += 8) {
		r.h.bytes = bytes;
		assert_int_equal(check(&r, bytes), bytes);
		assert_int_equal(sample_event(&r.sample), KRAIT_EVENT_CPU_CLOCK);
		assert_int_equal(sample_value(&r.sample), 3);
	}
	r.h.bytes = sizeof(r.of_event);
	assert_int_equal(sample_event(&r.sample), 2);
	assert_int_equal(sample_value(&r.sample), 1ULL << 40);
	r.of_event.event = KRAIT_EVENTS_MAX - 1;
	assert_int_equal(check(&r, r.bytes), r.bytes);
	r.of_event.event = KRAIT_EVENTS_MAX;
	assert_int_equal(check(&r, r.bytes), 0);
	r.of_event.event = KRAIT_EVENT_CPU_CLOCK;
	assert_int_equal(sample_value(&r.sample), 3);
}

static void test_described_event(void **state)
{
	struct rec r = {0};

	(void)state;
	set_head(&r, KRAIT_EVENT, sizeof(r.event) + 2 * sizeof(struct krait_pair));
	r.event.event = 1;
	r.event.pair_cnt = 2;
	assert_int_equal(check(&r, r.bytes), r.bytes);
	r.event.pair_cnt = 3;
	assert_int_equal(check(&r, r.bytes), 0);
	r.event.pair_cnt = 1;
	r.event.event = KRAIT_EVENT_CPU_CLOCK;
	assert_int_equal(check(&r, r.bytes), 0);
	r.event.event = KRAIT_EVENTS_MAX;
	assert_int_equal(check(&r, r.bytes), 0);
	r.event.event = 1;
	memset(r.event.name, 'x', sizeof(r.event.name));
	assert_int_equal(check(&r, r.bytes), 0);
	r.event.name[sizeof(r.event.name) - 1] = 0;
	assert_int_equal(check(&r, r.bytes), r.bytes);
	memset(r.event.unit, 'x', sizeof(r.event.unit));
	assert_int_equal(check(&r, r.bytes), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_records_and_their_truncations),
		cmocka_unit_test(test_lengths_of_the_record),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_event_of_a_sample),
		cmocka_unit_test(test_described_event),
		cmocka_unit_test(test_what_of_a_process),
		cmocka_unit_test(test_process_text_is_inside),
		cmocka_unit_test(test_frames_are_inside),
		cmocka_unit_test(test_longest_stack),
		cmocka_unit_test(test_code_lengths),
		cmocka_unit_test(test_code_lines_are_in_their_table),
		cmocka_unit_test(test_widths),
		cmocka_unit_test(test_code_text),
		cmocka_unit_test(test_random_damage),
	};

	return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
