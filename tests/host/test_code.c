/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which code object is at an address, when addresses are used again: over real memory in which one
 * object is put in another's place. Never an old name for it; and what has proven stable is not
 * read at every tick.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/host/host.h"
#include "tests/host/python.h"

#define LEAF 0	/* park() */
#define OTHER 1 /* nest() */

/* The address of the code object of frame n, from a walk whose frames are not resolved yet. */
static uint64_t code_of(const struct parked *p, uint32_t n, uint64_t now_ns)
{
	assert_int_equal(host_walk(p->thread_id, now_ns), KRAIT_LOSS_NONE);
	return stack_frames(host.stack)[n].code_id;
}

static uint16_t name_off(const struct parked *p)
{
	const struct krait_layout *l = &p->target.python.walk;

	return l->has_qualname ? l->co_qualname_off : l->co_name_off;
}

static const char *leaf_name(const struct parked *p, uint64_t now_ns)
{
	assert_int_equal(host_tick(p->thread_id, now_ns), KRAIT_LOSS_NONE);
	return symbolizer_frame(host.sym, OWNER, stack_frames(host.stack)).name;
}

/* From now on the leaf's code object is one made of another's parts. */
static void replace_leaf(const struct parked *p, uint64_t now_ns)
{
	const struct krait_layout *l = &p->target.python.walk;
	uint64_t leaf = code_of(p, LEAF, now_ns), other = code_of(p, OTHER, now_ns);

	host_patch(leaf + l->co_name_off, host_get(other + l->co_name_off));
	host_patch(leaf + name_off(p), host_get(other + name_off(p)));
}

static void test_other_code_at_the_address(const struct python *py)
{
	struct parked p;
	uint64_t id;

	parked_init(&p, py, script, "1");
	assert_string_equal(leaf_name(&p, 1), "park");
	id = host.scratch->stack_id;
	replace_leaf(&p, 2);
	assert_string_equal(leaf_name(&p, 3), "nest");
	assert_true(host.scratch->stack_id != id);
	host.patch_cnt = 0;
	assert_string_equal(leaf_name(&p, 4), "park");
	assert_int_equal(host.scratch->stack_id, id);
	parked_release(&p);
}

/* What a process has sent of code is more than it may: what is new is not sent, and says so; what
 * is known keeps its name. A stack later it may again. */
static void test_new_code_has_a_budget(const struct python *py)
{
	struct parked p;
	uint64_t sent;

	parked_init(&p, py, script, "1");
	assert_string_equal(leaf_name(&p, 1), "park");
	assert_in_range(host_proc()->code_bytes, 1, KRAIT_CODE_BURST_BYTES);
	replace_leaf(&p, 2);
	host_proc()->code_bytes = KRAIT_CODE_BURST_BYTES + KRAIT_CODE_STACK_BYTES + 1;
	sent = host.sent_cnt;
	assert_string_equal(leaf_name(&p, 3), "[unreadable: too much new code at once]");
	assert_int_equal(host_mark_cnt(), 1);
	assert_int_equal(host.sent_cnt, sent + 1); /* the stack */
	assert_string_equal(leaf_name(&p, 4), "nest");
	assert_int_equal(host_mark_cnt(), 0);
	parked_release(&p);
}

/* The name was freed, and another of the same length came to its address. */
static void test_other_name_at_the_address(const struct python *py)
{
	struct parked p;
	uint64_t name, text;

	parked_init(&p, py, script, "1");
	assert_string_equal(leaf_name(&p, 1), "park");
	name = host_get(code_of(&p, LEAF, 2) + name_off(&p));
	text = host_get(name + p.target.python.walk.str_ascii_bytes);
	assert_memory_equal(&text, "park", 5);
	memcpy(&text, "pork", 4);
	host_patch(name + p.target.python.walk.str_ascii_bytes, text);
	assert_string_equal(leaf_name(&p, 3), "pork");
	parked_release(&p);
}

static void test_other_first_line(const struct python *py)
{
	const struct krait_layout *l;
	struct parked p;
	uint64_t at;

	parked_init(&p, py, script, "1");
	l = &p.target.python.walk;
	leaf_name(&p, 1);
	assert_int_equal(symbolizer_frame(host.sym, OWNER, stack_frames(host.stack)).line,
			 p.frames[0].line);
	at = code_of(&p, LEAF, 2) + l->co_first_line_off;
	host_patch(at, host_get(at) + 1000);
	leaf_name(&p, 3);
	assert_int_equal(symbolizer_frame(host.sym, OWNER, stack_frames(host.stack)).line,
			 p.frames[0].line + 1000);
	parked_release(&p);
}

/* Reads that it takes to name the frames of a stack. */
static uint64_t resolve_reads(const struct parked *p, uint64_t now_ns)
{
	assert_int_equal(host_walk(p->thread_id, now_ns), KRAIT_LOSS_NONE);
	host.read_cnt = 0;
	host_resolve();
	assert_frames(p, p->frame_cnt);
	return host.read_cnt;
}

static void test_trust_takes_two_epochs(const struct python *py)
{
	struct parked p;
	uint64_t now = 1;

	parked_init(&p, py, script, "24");
	for (uint32_t epoch = 1; epoch <= TRUST_EPOCHS; epoch++) {
		host.scratch->epoch = epoch;
		for (int tick = 0; tick < 3; tick++) {
			assert_true(resolve_reads(&p, now++) >= 15);
			assert_int_equal(host.scratch->is_unsettled, 1);
		}
	}
	/* From here on once an epoch. */
	for (uint32_t epoch = TRUST_EPOCHS + 1; epoch < TRUST_EPOCHS + 4; epoch++) {
		host.scratch->epoch = epoch;
		assert_true(resolve_reads(&p, now++) >= 15);
		assert_int_equal(host.scratch->is_unsettled, 0);
		assert_int_equal(resolve_reads(&p, now++), 0);
		assert_int_equal(host.scratch->is_unsettled, 0);
	}
	parked_release(&p);
}

static void test_trusted_code_is_verified_each_epoch(const struct python *py)
{
	struct parked p;
	uint64_t now = 1;

	parked_init(&p, py, script, "1");
	for (; host.scratch->epoch <= TRUST_EPOCHS; host.scratch->epoch++)
		assert_string_equal(leaf_name(&p, now++), "park");
	assert_string_equal(leaf_name(&p, now++), "park");
	assert_int_equal(host.scratch->is_unsettled, 0);
	replace_leaf(&p, now++);
	host.scratch->epoch++;
	assert_string_equal(leaf_name(&p, now++), "nest");
	/* And is not trusted for its forerunner's sake. */
	assert_int_equal(host.scratch->is_unsettled, 1);
	host.patch_cnt = 0;
	assert_string_equal(leaf_name(&p, now++), "park");
	parked_release(&p);
}

int main(void)
{
	static const struct python_test tests[] = {
		{"other_code_at_the_address", test_other_code_at_the_address},
		{"other_name_at_the_address", test_other_name_at_the_address},
		{"other_first_line", test_other_first_line},
		{"new_code_has_a_budget", test_new_code_has_a_budget},
		{"trust_takes_two_epochs", test_trust_takes_two_epochs},
		{"trusted_code_is_verified_each_epoch", test_trusted_code_is_verified_each_epoch},
	};

	return python_tests_run("host code", tests, sizeof(tests) / sizeof(tests[0]));
}
