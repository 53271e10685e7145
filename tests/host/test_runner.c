/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which thread runs the state of a subinterpreter, where its id is that of the thread that made it:
 * two interpreters by hand, in the layouts of CPython 3.11, 3.9 and 3.7.
 *
 * The newer interpreter has one state, SUB, which MAKER made. The main one has a state of each of
 * two threads, MAKER and GUEST. Each state's innermost frame is known by its address.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/host/host.h"
#include "user/python/layout.h"

#define HEAD 0x10000ULL
#define CURRENT 0x11000ULL
#define SUB_INTERP 0x20000ULL
#define MAIN_INTERP 0x21000ULL
#define SUB 0x30000ULL
#define MAKER 0x31000ULL
#define GUEST 0x32000ULL
#define ID_MAKER 0x7f0000001000ULL
#define ID_GUEST 0x7f0000002000ULL
/* Each thread's stack. */
#define STACK_BYTES 0x2000
#define STACK_MAKER 0x100000ULL
#define STACK_GUEST 0x110000ULL

static const struct krait_layout *layout;
static uint64_t now_ns;

static uint64_t frame_of(uint64_t tstate)
{
	return tstate + 0x100000000;
}

static bool has_cframe(void)
{
	return layout->has_cframe;
}

/* The state runs its frame, in an evaluation loop that has its _PyCFrame at `at` on the C stack; or
 * none: 0, and then the _PyCFrame is a part of the state. */
static void put_running(uint64_t tstate, uint64_t at)
{
	uint64_t cframe = at ? at : tstate + 0x800, frame = at ? frame_of(tstate) : 0;

	if (layout->runner_kind == KRAIT_RUNNER_STACK)
		host_put(tstate + layout->ts_stack_off, cframe);
	if (has_cframe())
		host_put(cframe + layout->ts_cframe_frame_off, frame);
	else
		host_put(tstate + layout->ts_frame_off, frame);
}

static void put_state(uint64_t tstate, uint64_t interp, uint64_t prev, uint64_t next, uint64_t id)
{
	host_put(tstate + layout->ts_prev_off, prev);
	host_put(tstate + layout->ts_next_off, next);
	host_put(tstate + layout->ts_interp_off, interp);
	host_put(tstate + layout->ts_thread_id_off, id);
}

static void start(unsigned int minor)
{
	layout = &layout_of_version(3, minor)->walk;
	host_init(layout, HEAD, 0);
	host_proc()->addrs.current = CURRENT;
	host_put(CURRENT, 0);
	host_put(HEAD, SUB_INTERP);
	host_put(SUB_INTERP + layout->interp_next_off, MAIN_INTERP);
	host_put(MAIN_INTERP + layout->interp_next_off, 0);
	host_put(SUB_INTERP + layout->interp_threads_off, SUB);
	host_put(MAIN_INTERP + layout->interp_threads_off, MAKER);
	put_state(SUB, SUB_INTERP, 0, 0, ID_MAKER);
	put_state(MAKER, MAIN_INTERP, 0, GUEST, ID_MAKER);
	put_state(GUEST, MAIN_INTERP, MAKER, 0, ID_GUEST);
	for (uint64_t off = 0; off < STACK_BYTES; off += 4096) {
		host_put(STACK_MAKER + off, 0);
		host_put(STACK_GUEST + off, 0);
	}
	now_ns = 1;
}

/* A tick on the thread: the state that is found for it, or 0. */
static uint64_t tick(uint64_t id, bool is_in_eval)
{
	struct scratch *s = host.scratch;

	host.stack_lo = id == ID_MAKER ? STACK_MAKER : STACK_GUEST;
	host.stack_bytes = STACK_BYTES;
	s->key = (struct thread_key){.thread_id = id};
	s->is_in_eval = is_in_eval;
	s->now_ns = now_ns++;
	return thread_find(s, &host.memo) == KRAIT_LOSS_NONE ? s->tstate : 0;
}

/* 3.11: the frame's C frame tells, whoever has the GIL. */
static void test_cframe_tells(void **state)
{
	(void)state;
	start(11);
	put_running(MAKER, STACK_MAKER + 0x1000);
	put_running(GUEST, STACK_GUEST + 0x1000);
	put_running(SUB, STACK_GUEST + 0x800);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(tick(ID_GUEST, true), SUB);
		assert_int_equal(frame_of(SUB), host.scratch->frame);
		assert_int_equal(tick(ID_MAKER, true), MAKER);
		assert_int_equal(tick(ID_GUEST, false), SUB);
		assert_int_equal(tick(ID_MAKER, false), MAKER);
	}
	/* Now the maker goes in; what the guest left on its stack is another's. */
	put_running(SUB, STACK_MAKER + 0x800);
	assert_int_equal(tick(ID_GUEST, true), GUEST);
	assert_int_equal(tick(ID_MAKER, true), SUB);
	/* And nobody. */
	put_running(SUB, 0);
	assert_int_equal(tick(ID_GUEST, true), GUEST);
	assert_int_equal(tick(ID_MAKER, true), MAKER);
	/* A C frame that is below the stack pointer has returned. */
	put_running(SUB, STACK_GUEST - 8);
	assert_int_equal(tick(ID_GUEST, true), GUEST);
	host_release();
}

/* A thread whose own state runs no frame shows none of those that another runs under its id. */
static void test_maker_without_frames(void **state)
{
	(void)state;
	for (unsigned int minor = 9; minor <= 11; minor++) {
		start(minor);
		put_running(MAKER, 0);
		put_running(GUEST, STACK_GUEST + 0x1000);
		put_running(SUB, STACK_GUEST + 0x800);
		host_put(CURRENT, SUB);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(tick(ID_MAKER, false), 0);
			assert_int_equal(tick(ID_MAKER, true), 0);
		}
		host_release();
	}
}

/* On a stack that is not the thread's the id has to do, as ever. */
static void test_foreign_stack(void **state)
{
	(void)state;
	start(11);
	put_running(MAKER, STACK_MAKER + 0x1000);
	put_running(SUB, STACK_MAKER + 0x800);
	host.scratch->key = (struct thread_key){.thread_id = ID_MAKER};
	host.stack_bytes = 0;
	assert_int_equal(thread_find(host.scratch, &host.memo), KRAIT_LOSS_NONE);
	assert_int_equal(host.scratch->tstate, SUB);
	host_release();
}

/* What a thread in the evaluation loop with this state has in registers and in its C frame. */
static void put_loop(uint64_t stack, uint64_t tstate)
{
	host.regs[1] = tstate;
	host_put(stack + 0x80, frame_of(tstate));
}

static void start_39(void)
{
	start(9);
	put_running(MAKER, 1);
	put_running(GUEST, 1);
	put_running(SUB, 1);
}

/* 3.9: in the evaluation loop the GIL's state is the thread's, if it is at hand as well. */
static void test_loop_tells(void **state)
{
	(void)state;
	start_39();
	host_put(CURRENT, SUB);
	put_loop(STACK_GUEST, SUB);
	assert_int_equal(tick(ID_GUEST, true), SUB);
	assert_true(host_proc()->is_crossed);
	/* In C code nothing tells. */
	assert_int_equal(tick(ID_GUEST, false), GUEST);
	/* It hands the GIL over, to one that goes on in there. */
	put_loop(STACK_GUEST, GUEST);
	assert_int_equal(tick(ID_GUEST, true), GUEST);
	host.regs[1] = 0;
	host_put(STACK_GUEST + 0x80, frame_of(SUB));
	assert_int_equal(tick(ID_GUEST, true), GUEST);
	/* Nobody has it. */
	put_loop(STACK_GUEST, SUB);
	host_put(CURRENT, 0);
	assert_int_equal(tick(ID_GUEST, true), GUEST);
	host_release();
}

/* 3.9: what a thread has made itself it runs in C code too, once that was proven. */
static void test_maker_in_c_code(void **state)
{
	(void)state;
	start_39();
	put_loop(STACK_MAKER, SUB);
	assert_int_equal(tick(ID_MAKER, false), MAKER);
	host_put(CURRENT, SUB);
	assert_int_equal(tick(ID_MAKER, true), SUB);
	assert_false(host_proc()->is_crossed);
	assert_int_equal(tick(ID_MAKER, false), SUB);
	host_put(CURRENT, GUEST); /* it runs without the GIL */
	assert_int_equal(tick(ID_MAKER, false), SUB);
	host_put(CURRENT, MAKER); /* it has come out */
	assert_int_equal(tick(ID_MAKER, false), MAKER);
	host_put(CURRENT, GUEST);
	host_put(STACK_MAKER + 0x80, 0); /* so its frame is no longer on the stack */
	assert_int_equal(tick(ID_MAKER, false), MAKER);
	/* Another thread has been in there. */
	put_loop(STACK_MAKER, SUB);
	assert_int_equal(tick(ID_MAKER, false), SUB);
	host_proc()->is_crossed = 1;
	assert_int_equal(tick(ID_MAKER, false), MAKER);
	host_release();
}

/* No run_string up to 3.7, and from 3.13 on a state of the thread's own: there the id tells. */
static void test_id_tells(void **state)
{
	(void)state;
	assert_int_equal(layout_of_version(2, 7)->walk.runner_kind, KRAIT_RUNNER_ID);
	start(7);
	put_running(MAKER, 1);
	put_running(GUEST, 1);
	put_running(SUB, 1);
	host_put(CURRENT, SUB);
	assert_int_equal(tick(ID_MAKER, false), SUB);
	assert_int_equal(tick(ID_GUEST, true), GUEST);
	host_release();
}

/* The only interpreter: nothing more is read than before. */
static void test_ordinary_threads_pay_nothing(void **state)
{
	(void)state;
	start(11);
	host_put(HEAD, MAIN_INTERP);
	put_running(MAKER, STACK_GUEST); /* on no stack that it should be on */
	assert_int_equal(tick(ID_MAKER, true), MAKER);
	assert_int_equal(tick(ID_MAKER, true), MAKER);
	host.read_cnt = 0;
	assert_int_equal(tick(ID_MAKER, true), MAKER);
	assert_int_equal(host.read_cnt, 3); /* the state, the head of its list, its _PyCFrame */
	host_release();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cframe_tells),
		cmocka_unit_test(test_maker_without_frames),
		cmocka_unit_test(test_foreign_stack),
		cmocka_unit_test(test_loop_tells),
		cmocka_unit_test(test_maker_in_c_code),
		cmocka_unit_test(test_id_tells),
		cmocka_unit_test(test_ordinary_threads_pay_nothing),
	};

	return cmocka_run_group_tests_name("host runner", tests, NULL, NULL);
}
