/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walker over the memory of real, parked interpreters: it gives the frames that the interpreter
 * itself tells, and the bulk reads change nothing of it. The oracle for them is the plainest walk
 * there is: one read per frame.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/host/host.h"
#include "tests/host/python.h"

#define ALL_KINDS "60" /* each kind of frame five times */
#define DEEP "1000"

/* ---- The oracle ---- */

static uint64_t frame_field(uint64_t frame, uint16_t off, uint32_t bytes)
{
	uint64_t word = 0;

	assert_true(memory_copy((uint8_t *)&word, bytes, frame + off));
	return word;
}

static int32_t plain_unit(const struct krait_layout *l, uint64_t frame, uint64_t code)
{
	if (l->instr_kind == KRAIT_INSTR_PTR)
		return (int32_t)((int64_t)(frame_field(frame, l->fr_instr_off, 8) -
					   (code + l->co_bytecode_off)) /
				 2);
	if (l->instr_kind == KRAIT_INSTR_LASTI_BYTES)
		return (int32_t)frame_field(frame, l->fr_instr_off, 4) / 2;
	return (int32_t)frame_field(frame, l->fr_instr_off, 4);
}

/* Walks by one read a field; the frames go to `frames` (room for KRAIT_MAX_DEPTH_LIMIT). */
static uint32_t plain_walk(const struct krait_layout *l, uint64_t tstate,
			   struct krait_frame *frames)
{
	uint64_t frame = host_get(tstate + l->ts_frame_off);
	uint32_t cnt = 0;

	if (l->has_cframe)
		frame = host_get(frame + l->ts_cframe_frame_off);
	for (; frame; frame = host_get(frame + l->fr_prev_off)) {
		uint64_t code = host_get(frame + l->fr_code_off) & ~7ULL;
		bool is_shim =
			l->has_shims && frame_field(frame, l->fr_owner_off, 1) >= l->shim_owner;

		if (is_shim || !code)
			continue;
		assert_true(cnt < KRAIT_MAX_DEPTH_LIMIT);
		frames[cnt].code_id = code;
		frames[cnt++].unit = plain_unit(l, frame, code);
	}
	return cnt;
}

/* ---- Tests ---- */

static void test_names_and_lines(const struct python *py)
{
	struct parked p;

	parked_init(&p, py, script, ALL_KINDS);
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	assert_int_equal(host_mark_cnt(), 0);
	assert_int_equal(host.scratch->walk.flags, 0);
	assert_frames(&p, p.frame_cnt);
	parked_release(&p);
}

/* A walk that keeps no frame comes to the same hash, and leaves the record alone. */
static void assert_hash_alone_is_the_same(void)
{
	size_t bytes = sizeof(*host.stack) + host.scratch->walk.cnt * sizeof(struct krait_frame);
	struct walk kept = host.scratch->walk;
	void *record = malloc(bytes);

	assert_non_null(record);
	memcpy(record, host.stack, bytes);
	/* A frame that is stored all the same would be seen in a record of something else. */
	memset(host.stack, 0x5a, bytes);
	assert_int_equal(walk_stack(host.scratch, false), KRAIT_LOSS_NONE);
	assert_true(host.scratch->walk.hash == kept.hash);
	assert_int_equal(host.scratch->walk.cnt, kept.cnt);
	assert_int_equal(host.scratch->walk.flags, kept.flags);
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(((const uint8_t *)host.stack)[i], 0x5a);
	memcpy(host.stack, record, bytes);
	free(record);
}

/* Debug builds of 3.12 and 3.13 let C recurse 500 times: cpython/pystate.h, Py_C_RECURSION_LIMIT.
 */
static bool goes_deep(const struct python *py)
{
	return !strstr(py->name, "-dbg") || (py->minor != 12 && py->minor != 13);
}

static void test_long_stack_equals_plain_walk(const struct python *py)
{
	struct krait_frame *plain = calloc(KRAIT_MAX_DEPTH_LIMIT, sizeof(*plain));
	const struct krait_frame *frames;
	struct parked p;
	uint32_t cnt;

	if (!goes_deep(py)) {
		free(plain);
		skip();
	}
	parked_init(&p, py, script, DEEP);
	host_set_depth(KRAIT_MAX_DEPTH_LIMIT);
	assert_int_equal(host_walk(p.thread_id, 1), KRAIT_LOSS_NONE);
	cnt = plain_walk(&p.target.python.walk, host.scratch->tstate, plain);
	assert_true(cnt > 2000);
	assert_int_equal(host.scratch->walk.cnt, cnt);
	frames = stack_frames(host.stack);
	for (uint32_t i = 0; i < cnt; i++) {
		assert_int_equal(frames[i].code_id, plain[i].code_id);
		assert_int_equal(frames[i].unit, plain[i].unit);
	}
	/* What is in chunks is read in bulk, or this test would show nothing; but where threads run
	 * copies of the bytecode, frames that are kept are read one by one. */
	if (p.target.python.walk.has_chunks && !p.target.python.walk.has_tlbc)
		assert_true(host.read_cnt < cnt);
	assert_hash_alone_is_the_same();
	host_resolve();
	assert_frames(&p, p.frame_cnt);
	free(plain);
	parked_release(&p);
}

static void test_cut_keeps_innermost(const struct python *py)
{
	static const uint32_t depths[] = {1, 2, 3, 4, 31, 100, 127, 128, 129};
	struct parked p;

	parked_init(&p, py, script, "100");
	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
		host_set_depth(depths[i]);
		assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
		assert_int_equal(host.scratch->walk.flags, KRAIT_STACK_TRUNCATED);
		assert_frames(&p, depths[i]);
	}
	/* As deep as allowed is not cut; one less is. */
	host_set_depth(p.frame_cnt);
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	assert_int_equal(host.scratch->walk.flags, 0);
	host_set_depth(p.frame_cnt - 1);
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	assert_int_equal(host.scratch->walk.flags, KRAIT_STACK_TRUNCATED);
	parked_release(&p);
}

static void test_known_code_is_not_sent_again(const struct python *py)
{
	struct parked p;
	uint64_t codes;

	parked_init(&p, py, script, ALL_KINDS);
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	codes = host.counts[KRAIT_CNT_CODES];
	assert_true(codes >= 10 && codes < p.frame_cnt);
	assert_int_equal(host_tick(p.thread_id, 2), KRAIT_LOSS_NONE);
	assert_int_equal(host.counts[KRAIT_CNT_CODES], codes);
	assert_frames(&p, p.frame_cnt);
	parked_release(&p);
}

/* Nothing is remembered as sent that the ring did not take. */
static void test_full_ring_heals(const struct python *py)
{
	struct parked p;

	parked_init(&p, py, script, ALL_KINDS);
	assert_int_equal(host_walk(p.thread_id, 1), KRAIT_LOSS_NONE);
	host.is_ring_full = true;
	host_resolve();
	assert_int_equal(host.scratch->is_unsettled, 1);
	for (uint32_t i = 0; i < p.frame_cnt; i++)
		assert_int_equal(stack_frames(host.stack)[i].mark, KRAIT_FAULT_CODE_NOT_SENT);
	assert_int_equal(host.counts[KRAIT_FAULT_CODE_NOT_SENT], p.frame_cnt);
	host.is_ring_full = false;
	assert_int_equal(host_tick(p.thread_id, 2), KRAIT_LOSS_NONE);
	assert_frames(&p, p.frame_cnt);
	parked_release(&p);
}

int main(void)
{
	static const struct python_test tests[] = {
		{"names_and_lines", test_names_and_lines},
		{"long_stack_equals_plain_walk", test_long_stack_equals_plain_walk},
		{"cut_keeps_innermost", test_cut_keeps_innermost},
		{"known_code_is_not_sent_again", test_known_code_is_not_sent_again},
		{"full_ring_heals", test_full_ring_heals},
	};

	return python_tests_run("host walk", tests, sizeof(tests) / sizeof(tests[0]));
}
