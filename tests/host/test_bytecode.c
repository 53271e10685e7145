/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that run copies of the bytecode (free-threaded CPython, 3.14 on): which code unit a frame
 * is at, over frames made by hand. No Debian suite has such an interpreter or its source, so there
 * is no real one here; the layout is what the headers of 3.14.10 give with Py_GIL_DISABLED
 * (tests/unit/test_discover_offsets.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/host/host.h"

#define CHUNK 0x100000ULL
#define FRAMES (CHUNK + 24) /* behind the chunk's head */
#define FRAME_SIZE 128
#define GENERATOR 0x180000ULL /* a frame that lies in a generator */
#define CODE 0x200000ULL
#define COPIES 0x300000ULL
#define COPY_1 0x400000ULL	 /* behind the code object */
#define COPY_3 0x080000ULL	 /* before it */
#define COPY_4 0x7f1234567000ULL /* too far for 32 bits */
#define COPY_CNT 5
#define CODE_UNITS 100
#define BYTECODE (CODE + 232)
#define NOWHERE 0x900000ULL
#define LINE_UNKNOWN 0x7fffffff

static const struct krait_layout layout = {
	.has_chunks = 1,
	.has_shims = 1,
	.has_tlbc = 1,
	.ts_frame_off = 72,
	.ts_chunk_off = 232,
	.ts_read_bytes = 240,
	.fr_code_off = 0,
	.fr_prev_off = 8,
	.fr_instr_off = 56,
	.fr_tlbc_off = 72,
	.fr_owner_off = 78,
	.fr_read_bytes = 79,
	.shim_owner = 3,
	.instr_kind = KRAIT_INSTR_PTR,
	.co_tlbc_off = 224,
	.co_bytecode_off = 232,
};

static void put_frame(uint64_t frame, uint64_t caller, uint64_t instr, int32_t idx, uint8_t owner)
{
	host_put(frame, CODE | 1); /* a tagged reference */
	host_put(frame + 8, caller);
	host_put(frame + 56, instr);
	host_put(frame + 72, (uint32_t)idx | (uint64_t)owner << 48);
}

/* One code object with its copies; each thread but that of copy 2 has run it. */
static int setup(void **state)
{
	static const uint64_t copies[COPY_CNT] = {BYTECODE, COPY_1, 0, COPY_3, COPY_4};
	struct krait_layout l = layout;

	(void)state;
	host_init(&l, 0, 0);
	host_put(CHUNK, 0);
	host_put(CHUNK + 8, CHUNK_MIN_BYTES);
	for (uint64_t page = CHUNK + 4096; page < CHUNK + CHUNK_MIN_BYTES; page += 4096)
		host_put(page, 0);
	host_put(CODE + 224, COPIES);
	host_put(COPIES, COPY_CNT);
	for (int i = 0; i < COPY_CNT; i++)
		host_put(COPIES + 8 + 8 * i, copies[i]);
	memcpy(host.scratch->ts + 232, &(uint64_t){CHUNK}, 8);
	host.scratch->frame = FRAMES;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_release();
	return 0;
}

static void walk(bool is_kept)
{
	host.read_cnt = 0;
	assert_int_equal(walk_stack(host.scratch, is_kept), KRAIT_LOSS_NONE);
}

/* The unit of a frame with this instruction and index, in a stack of its own. */
static int32_t unit_of(uint64_t instr, int32_t idx)
{
	put_frame(FRAMES, 0, instr, idx, 0);
	walk(true);
	assert_int_equal(host.scratch->walk.cnt, 1);
	assert_int_equal(stack_frames(host.stack)->mark, 0);
	return stack_frames(host.stack)->unit;
}

static void test_each_copy(void **state)
{
	(void)state;
	for (int32_t unit = 0; unit < CODE_UNITS; unit++) {
		assert_int_equal(unit_of(BYTECODE + 2 * unit, 0), unit);
		assert_int_equal(unit_of(COPY_1 + 2 * unit, 1), unit);
		assert_int_equal(unit_of(COPY_3 + 2 * unit, 3), unit);
		assert_int_equal(unit_of(COPY_4 + 2 * unit, 4), unit);
	}
}

/* A build with a GIL has none of it: that place in its frames is another field's. */
static void test_without_copies(void **state)
{
	(void)state;
	host.scratch->layout.has_tlbc = 0;
	assert_int_equal(unit_of(BYTECODE + 14, 1), 7);
	assert_int_equal(unit_of(BYTECODE + 14, -1), 7);
	assert_int_equal(host.read_cnt, 1); /* the window's */
	put_frame(GENERATOR, 0, BYTECODE + 14, 1, 1);
	host.scratch->frame = GENERATOR;
	walk(true);
	assert_int_equal(stack_frames(host.stack)->unit, 7);
}

/* In the instant in which a frame changes its copy, in all pairs: no line is better than a wrong
 * one. */
static void test_another_copy(void **state)
{
	static const uint64_t at[] = {BYTECODE, COPY_1, COPY_3, COPY_4};
	static const int32_t idx[] = {0, 1, 3, 4};

	(void)state;
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 4; k++) {
			int32_t unit = unit_of(at[i] + 14, idx[k]);

			assert_true(i == k ? unit == 7 : unit > CODE_UNITS);
		}
}

static void test_no_copy(void **state)
{
	(void)state;
	assert_int_equal(unit_of(COPY_1 + 14, 2), LINE_UNKNOWN); /* not made */
	assert_int_equal(unit_of(0x1000, 2), LINE_UNKNOWN);
	host_put(COPIES + 8 + 8 * COPY_CNT, COPY_1); /* behind the array */
	assert_int_equal(unit_of(COPY_1 + 14, COPY_CNT), LINE_UNKNOWN);
	host_put(COPIES - 8, COPY_1); /* before it */
	assert_int_equal(unit_of(COPY_1 + 14, -2), LINE_UNKNOWN);
	assert_int_equal(unit_of(COPY_1 + 14, INT32_MIN), LINE_UNKNOWN);
	host_put(COPIES, UINT64_MAX); /* a size that lets any pass */
	assert_int_equal(unit_of(COPY_1 + 14, -2), LINE_UNKNOWN);
	assert_int_equal(unit_of(COPY_1 + 14, INT32_MAX), LINE_UNKNOWN);
	host_put(COPIES, 0);
	assert_int_equal(unit_of(COPY_1 + 14, 1), LINE_UNKNOWN);
	host_put(CODE + 224, NOWHERE);
	assert_int_equal(unit_of(COPY_1 + 14, 1), LINE_UNKNOWN);
	host_put(CODE + 224, 0);
	assert_int_equal(unit_of(COPY_1 + 14, 1), LINE_UNKNOWN);
	/* The one in the code object needs none of that. */
	assert_int_equal(unit_of(BYTECODE + 14, 0), 7);
}

/* Of five frames each at another place: in the chunk, in a generator, a shim between them. */
static void put_stack(void)
{
	put_frame(FRAMES, GENERATOR, COPY_1 + 10, 1, 0);
	put_frame(GENERATOR, FRAMES + 3 * FRAME_SIZE, COPY_4 + 20, 4, 1);
	put_frame(FRAMES + 3 * FRAME_SIZE, FRAMES + 2 * FRAME_SIZE, NOWHERE, 2, 3);
	put_frame(FRAMES + 2 * FRAME_SIZE, FRAMES + FRAME_SIZE, BYTECODE + 30, 0, 0);
	put_frame(FRAMES + FRAME_SIZE, 0, COPY_3 + 40, 3, 2);
}

static const int32_t stack_units[] = {5, 10, 15, 20};
#define STACK_CNT 4

static void test_stack(void **state)
{
	(void)state;
	put_stack();
	walk(true);
	assert_int_equal(host.scratch->walk.cnt, STACK_CNT);
	for (int i = 0; i < STACK_CNT; i++)
		assert_int_equal(stack_frames(host.stack)[i].unit, stack_units[i]);
}

/* Each read fails in turn: a frame is at its unit, or has no line, or is a marker that ends the
 * stack. */
static void test_reads_fail(void **state)
{
	uint32_t unknown = 0, faults = 0;
	uint64_t reads;

	(void)state;
	put_stack();
	walk(true);
	reads = host.read_cnt;
	for (host.fail_at = 0; host.fail_at < reads; host.fail_at++) {
		const struct krait_frame *frames = stack_frames(host.stack);
		uint32_t cnt;

		walk(true);
		cnt = host.scratch->walk.cnt;
		for (uint32_t i = 0; i < cnt; i++) {
			if (frames[i].mark) {
				assert_int_equal(frames[i].mark, KRAIT_FAULT_FRAME_UNREADABLE);
				assert_int_equal(i, cnt - 1);
				faults++;
			} else if (frames[i].unit != stack_units[i]) {
				assert_int_equal(frames[i].unit, LINE_UNKNOWN);
				unknown++;
			}
		}
		assert_true(cnt == STACK_CNT || frames[cnt - 1].mark);
	}
	assert_int_equal(unknown, 9); /* three reads for each of three frames */
	assert_int_equal(faults, 5);  /* and one for each frame, the shim too */
}

/* The walk of every tick reads no copies; what a frame is at is in its hash all the same. */
static void test_hash(void **state)
{
	uint64_t kept, reads;

	(void)state;
	put_stack();
	walk(true);
	kept = host.scratch->walk.hash;
	walk(false);
	assert_true(host.scratch->walk.hash == kept);
	reads = host.read_cnt;
	host.scratch->layout.has_tlbc = 0;
	walk(false);
	assert_int_equal(host.read_cnt, reads);
	assert_true(host.scratch->walk.hash == kept);
	host.scratch->layout.has_tlbc = 1;
	put_frame(FRAMES, GENERATOR, COPY_3 + 10, 3, 0);
	walk(false);
	assert_true(host.scratch->walk.hash != kept);
}

/* A frame, and then shims that have no end: what a tick reads follows from --max-depth, not from
 * what the bound of that is. */
static void test_shims_without_an_end(void **state)
{
	const uint64_t shims = 0xa00000, cnt = 20000;

	(void)state;
	put_frame(FRAMES, shims, BYTECODE, 0, 0);
	for (uint64_t i = 0; i < cnt; i++)
		put_frame(shims + 128 * i, shims + 128 * (i + 1), BYTECODE, 0, 3);
	for (int is_kept = 0; is_kept < 2; is_kept++) {
		walk(is_kept);
		assert_int_equal(host.scratch->walk.cnt, 1);
		assert_true(host.scratch->walk.flags & KRAIT_STACK_TRUNCATED);
		assert_in_range(host.read_cnt, STEPS_PER_FRAME * max_depth,
				STEPS_PER_FRAME * max_depth + 2 * STEPS_CALLS);
	}
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_each_copy),	 TEST(test_without_copies),
		TEST(test_another_copy), TEST(test_no_copy),
		TEST(test_stack),	 TEST(test_reads_fail),
		TEST(test_hash),	 TEST(test_shims_without_an_end),
	};

	return cmocka_run_group_tests_name("host bytecode", tests, NULL, NULL);
}
