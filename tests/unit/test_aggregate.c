/* SPDX-License-Identifier: BSD-2-Clause */
/* From records to a profile: lives of processes, bindings of stacks, names, markers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/aggregated.h"

/* ---- Tests ---- */

static void test_nothing(void **state)
{
	(void)state;
	assert_profile("");
	assert_int_equal(profile()->events[0].unnamed_cnt, 0);
}

static void test_counts_by_thread_and_stack(void **state)
{
	(void)state;
	info(7, "python3");
	three_functions();
	sample_of(1, 7, 7, 1);
	sample_of(2, 7, 8, 1);
	sample_of(1, 7, 8, 1);
	sample_of(1, 7, 7, 5); /* of five ticks' weight */
	sample_of(1, 7, 8, 1);
	sample_of(1, 7, 7, 1);
	assert_profile("7 \"python3\" 7 \"\": a:10 < b:20 = 7\n"
		       "7 \"python3\" 8 \"\": a:10 < b:20 = 2\n"
		       "7 \"python3\" 8 \"\": c:30 < b:20 = 1\n");
}

static void test_snapshot_and_on(void **state)
{
	(void)state;
	info(7, "python3");
	three_functions();
	sample(1, 7);
	assert_profile("7 \"python3\" 7 \"\": a:10 < b:20 = 1\n");
	assert_profile("7 \"python3\" 7 \"\": a:10 < b:20 = 1\n");
	sample(2, 7);
	sample(1, 7);
	assert_profile("7 \"python3\" 7 \"\": a:10 < b:20 = 2\n"
		       "7 \"python3\" 7 \"\": c:30 < b:20 = 1\n");
}

/* A snapshot puts the samples in order: what is counted afterwards must find them there. */
static void test_snapshot_sorts(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	sample(2, 7);
	sample(2, 7);
	sample(1, 7);
	assert_profile("7 \"p\" 7 \"\": a:10 < b:20 = 1\n"
		       "7 \"p\" 7 \"\": c:30 < b:20 = 2\n");
	sample(2, 7);
	sample_of(2, 7, 8, 1);
	sample(1, 7);
	sample(1, 7);
	assert_profile("7 \"p\" 7 \"\": a:10 < b:20 = 3\n"
		       "7 \"p\" 7 \"\": c:30 < b:20 = 3\n"
		       "7 \"p\" 8 \"\": c:30 < b:20 = 1\n");
}

static void test_fork_inherits(void **state)
{
	(void)state;
	info(7, "python3 app.py");
	three_functions();
	sample(1, 7);
	forked(9, 7);
	forked(10, 9);
	three_functions_of(9);
	three_functions_of(10);
	sample(1, 9);
	sample(1, 10);
	event(KRAIT_PROCESS_EXIT, 7);
	sample(1, 9);
	assert_profile("7 \"python3 app.py\" 7 \"\": a:10 < b:20 = 1\n"
		       "9 \"python3 app.py\" 9 \"\": a:10 < b:20 = 2\n"
		       "10 \"python3 app.py\" 10 \"\": a:10 < b:20 = 1\n");
	assert_int_equal(profile()->processes[2].py_version, VERSION);
}

static void test_fork_of_an_unknown_parent(void **state)
{
	(void)state;
	forked(9, 7);
	three_functions_of(9);
	sample(1, 9);
	assert_profile("9 \"[unknown]\" 9 \"\": a:10 < b:20 = 1\n");
}

static void test_exec_begins_a_life(void **state)
{
	(void)state;
	info(7, "python3 a.py");
	three_functions();
	sample(1, 7);
	event(KRAIT_PROCESS_EXEC, 7);
	info(7, "python3 b.py");
	code(0xc, "c", 30);
	stack(3, 0xc, 0);
	sample(3, 7);
	assert_profile("7 \"python3 a.py\" 7 \"\": a:10 < b:20 = 1\n"
		       "7 \"python3 b.py\" 7 \"\": c:30 = 1\n");
}

/* A tick on the new program may have it looked at before the exec is told: that ends no more than
 * what was before it. */
static void test_exec_told_late(void **state)
{
	(void)state;
	now_ns = 10;
	info(7, "python3 a.py");
	three_functions();
	sample(1, 7);
	now_ns = 30;
	info(7, "python3 b.py");
	now_ns = 20;
	event(KRAIT_PROCESS_EXEC, 7);
	three_functions();
	sample(1, 7);
	now_ns = 50;
	info(7, "python3 b.py"); /* the same program again */
	now_ns = 40;
	event(KRAIT_PROCESS_EXEC, 7);
	three_functions();
	sample(1, 7);
	now_ns = 60;
	event(KRAIT_PROCESS_EXIT, 7);
	three_functions();
	sample(1, 7);
	now_ns = 0;
	assert_profile("7 \"python3 a.py\" 7 \"\": a:10 < b:20 = 1\n"
		       "7 \"python3 b.py\" 7 \"\": a:10 < b:20 = 2\n"
		       "7 \"[unknown]\" 7 \"\": a:10 < b:20 = 1\n");
}

/* The same program under the same pid, and even the same ids: still another process. */
static void test_pid_reused(void **state)
{
	(void)state;
	info(7, "python3");
	three_functions();
	sample(1, 7);
	sample(1, 7);
	event(KRAIT_PROCESS_EXIT, 7);
	info(7, "python3");
	three_functions();
	sample(1, 7);
	assert_profile("7 \"python3\" 7 \"\": a:10 < b:20 = 2\n"
		       "7 \"python3\" 7 \"\": a:10 < b:20 = 1\n");
	assert_int_equal(profile()->process_cnt, 2);
}

static void test_told_again_is_one_life(void **state)
{
	(void)state;
	info(7, "python3");
	three_functions();
	sample(1, 7);
	info(7, "python3");
	sample(1, 7);
	assert_profile("7 \"python3\" 7 \"\": a:10 < b:20 = 2\n");
	assert_int_equal(profile()->process_cnt, 1);
}

/* What was learned late counts from then on, for stacks that were counted before as well. */
static void test_told_late(void **state)
{
	(void)state;
	three_functions();
	sample(1, 7);
	info(7, "python3");
	sample(1, 7);
	sample(2, 7);
	assert_profile("7 \"[unknown]\" 7 \"\": a:10 < b:20 = 1\n"
		       "7 \"python3\" 7 \"\": a:10 < b:20 = 1\n"
		       "7 \"python3\" 7 \"\": c:30 < b:20 = 1\n");
}

static void test_stack_id_bound_anew(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	sample(1, 7);
	stack(1, 0xc, 0xb); /* the id's code was freed, and another came to its address */
	sample(1, 7);
	sample(1, 7);
	stack(1, 0xa, 0xb);
	sample(1, 7);
	stack(1, 0xa, 0xb);
	sample(1, 7);
	assert_profile("7 \"p\" 7 \"\": a:10 < b:20 = 3\n"
		       "7 \"p\" 7 \"\": c:30 < b:20 = 2\n");
}

static void test_equal_stacks_are_one(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	stack(5, 0xa, 0xb);
	sample(5, 7);
	sample(1, 7);
	assert_profile("7 \"p\" 7 \"\": a:10 < b:20 = 2\n");
	assert_int_equal(profile()->stack_cnt, 2);
}

/* A part of a stack is another stack. */
static void test_prefix_is_another_stack(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	stack(3, 0xa, 0);
	sample(1, 7);
	sample(3, 7);
	assert_profile("7 \"p\" 7 \"\": a:10 < b:20 = 1\n"
		       "7 \"p\" 7 \"\": a:10 = 1\n");
}

static void test_samples_before_their_stack(void **state)
{
	(void)state;
	info(7, "p");
	code(0xa, "a", 10);
	sample_of(1, 7, 7, 3);
	sample_of(1, 7, 7, 1);
	stack(1, 0xa, 0);
	sample(1, 7);
	assert_profile("7 \"p\" 7 \"\": a:10 = 1\n");
	assert_int_equal(profile()->events[0].unnamed_cnt, 4);
}

static void test_thread_names(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	thread(7, 8, "worker");
	sample_of(1, 7, 8, 1);
	thread(7, 8, "renamed");
	sample_of(1, 7, 8, 1);
	thread(7, 9, "bad\n\x1b[2J\xff");
	sample_of(1, 7, 9, 1);
	thread(7, 10, "0123456789abcdef"); /* no NUL: all 16 bytes */
	sample_of(1, 7, 10, 1);
	assert_profile("7 \"p\" 8 \"renamed\": a:10 < b:20 = 2\n"
		       "7 \"p\" 9 \"bad\\x0a\\x1b[2J\xef\xbf\xbd\": a:10 < b:20 = 1\n"
		       "7 \"p\" 10 \"0123456789abcdef\": a:10 < b:20 = 1\n");
}

/* Python's name is the thread's, whatever the kernel calls it before and after. */
static void test_python_names(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	thread(7, 8, "comm");
	sample_of(1, 7, 8, 1);
	py_named(7, 8, "io-w\xc3\xb6rker\n\xff");
	thread(7, 8, "comm 2");
	sample_of(1, 7, 8, 1);
	thread(7, 9, "before");
	py_named(7, 9, "first");
	sample_of(1, 7, 9, 1);
	py_named(7, 9, "second");
	py_named(7, 9, ""); /* none */
	assert_profile("7 \"p\" 8 \"io-w\xc3\xb6rker\\x0a\xef\xbf\xbd\": a:10 < b:20 = 2\n"
		       "7 \"p\" 9 \"second\": a:10 < b:20 = 1\n");
}

/* A name that comes when the thread's life is over names nobody, and begins no other one. */
static void test_late_python_names(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	thread(7, 8, "comm");
	sample_of(1, 7, 8, 1);
	py_named(7, 9, "never seen");
	event(KRAIT_PROCESS_EXIT, 7);
	py_named(7, 8, "too late");
	assert_profile("7 \"p\" 8 \"comm\": a:10 < b:20 = 1\n");
	assert_int_equal(profile()->process_cnt, 1);
	assert_int_equal(profile()->thread_cnt, 1);
}

static void test_command_lines(void **state)
{
	static const char args[] = "python3\0-c\0a\nb\0\0";

	(void)state;
	three_functions_of(1);
	three_functions_of(2);
	three_functions_of(3);
	process(KRAIT_PROCESS_INFO, 1, 1, 0, "comm", args, sizeof(args));
	process(KRAIT_PROCESS_INFO, 2, 2, 0, "comm;\t", "\0\0", 2);
	process(KRAIT_PROCESS_INFO, 3, 3, 0, "comm", "a\0\0b", 4);
	sample(1, 1);
	sample(1, 2);
	sample(1, 3);
	assert_profile("1 \"python3 -c a\\x0ab\" 1 \"\": a:10 < b:20 = 1\n"
		       "2 \"comm;\\x09\" 2 \"\": a:10 < b:20 = 1\n"
		       "3 \"a  b\" 3 \"\": a:10 < b:20 = 1\n");
}

static void test_truncated_has_a_root_that_says_so(void **state)
{
	struct krait_frame frames[] = {{.code_id = 0xa}, {.code_id = 0xb}};

	(void)state;
	info(7, "p");
	three_functions();
	stack_flags(3, KRAIT_STACK_TRUNCATED, 2, frames);
	sample(3, 7);
	sample(1, 7);
	assert_profile("7 \"p\" 7 \"\": a:10 < b:20 = 1\n"
		       "7 \"p\" 7 \"\": a:10 < b:20 < [truncated]:0 = 1\n");
}

static void test_frames_that_could_not_be_read(void **state)
{
	struct krait_frame frames[] = {
		{.code_id = 0xa},
		{.code_id = 0xa, .mark = KRAIT_FAULT_CODE_NOT_CODE},
		{.code_id = 0xdead}, /* a code object that never came */
		{.mark = 77},	     /* a reason that this krait does not know */
		{.mark = KRAIT_LOSS_RING_FULL},
		{.mark = KRAIT_FAULT_FRAME_CYCLE},
	};

	(void)state;
	info(7, "p");
	three_functions();
	stack_flags(3, 0, 6, frames);
	sample(3, 7);
	assert_profile("7 \"p\" 7 \"\": a:10 < [unreadable: not a code object]:0"
		       " < [unreadable: code object lost]:0"
		       " < [unreadable: for a reason that this krait does not know]:0"
		       " < [unreadable: for a reason that this krait does not know]:0"
		       " < [unreadable: frame list goes in a circle]:0 = 1\n");
}

/* A code object that came late names the stacks that are sent from then on. */
static void test_code_comes_late(void **state)
{
	(void)state;
	info(7, "p");
	stack(1, 0xa, 0);
	sample(1, 7);
	code(0xa, "a", 10);
	stack(1, 0xa, 0);
	sample(1, 7);
	assert_profile("7 \"p\" 7 \"\": [unreadable: code object lost]:0 = 1\n"
		       "7 \"p\" 7 \"\": a:10 = 1\n");
}

static void test_stack_without_frames(void **state)
{
	struct krait_frame none = {0};

	(void)state;
	info(7, "p");
	stack_flags(3, 0, 0, &none);
	stack_flags(4, 0, 0, &none);
	sample(3, 7);
	sample(4, 7);
	assert_profile("7 \"p\" 7 \"\": = 2\n");
}

/* ---- Long line tables ---- */

#define PIECE 100
#define PIECES 4

/* A piece of a table of PIECES pieces: 3.11, each entry one line on (code 11, one unit); but the
 * head's names. */
static void piece(uint32_t i)
{
	struct {
		struct krait_code_rec rec;
		unsigned char bytes[PIECE + 8];
	} r = {.rec = {.h = {.kind = KRAIT_CODE}, .code_id = 0xa, .pid = 7}};
	uint32_t at = i ? 0 : 5;

	r.rec.first_line = 100;
	r.rec.lines_kind = KRAIT_LINES_PEP657;
	r.rec.lines_total = PIECES * PIECE;
	r.rec.lines_off = i * PIECE;
	r.rec.lines_bytes = PIECE;
	if (!i) {
		r.rec.name = (struct krait_str){.bytes = 1, .width = 1};
		r.rec.file = (struct krait_str){.bytes = 4, .width = 1};
		memcpy(r.bytes, "af.py", 5);
	}
	for (uint32_t k = 0; k < PIECE; k += 2)
		r.bytes[at + k] = 0x80 | 11 << 3; /* and one byte of columns, 0 */
	add(&r, sizeof(r.rec) + at + PIECE);
}

/* The line of the last unit, which is in the last piece. */
static void assert_last_line(int32_t line)
{
	struct krait_frame frame = {.code_id = 0xa, .unit = PIECES * PIECE / 2 - 1};
	const struct profile *p;

	info(7, "p");
	stack_flags(1, 0, 1, &frame);
	sample(1, 7);
	p = profile();
	assert_int_equal(p->frame_cnt, 1);
	assert_string_equal(p->functions[0].name, "a");
	assert_int_equal(p->frames[0].line, line);
}

static void test_table_in_pieces(void **state)
{
	(void)state;
	piece(1);
	piece(2);
	piece(3);
	piece(0);
	assert_last_line(100 + PIECES * PIECE / 2);
}

/* The ring was full before the last piece; then all came again. */
static void test_table_sent_twice(void **state)
{
	(void)state;
	piece(1);
	piece(2);
	piece(1);
	piece(2);
	piece(3);
	piece(0);
	assert_last_line(100 + PIECES * PIECE / 2);
}

/* No line rather than one from a table with a hole. */
static void test_table_with_a_hole(void **state)
{
	(void)state;
	piece(1);
	piece(3);
	piece(0);
	assert_last_line(0);
}

static void test_repeated_piece_fills_no_hole(void **state)
{
	(void)state;
	piece(1);
	piece(3);
	piece(3);
	piece(0);
	assert_last_line(0);
}

static void test_last_piece_missing(void **state)
{
	(void)state;
	piece(1);
	piece(2);
	piece(2);
	piece(0);
	assert_last_line(0);
}

#define MANY_CODES 400
#define UNITS 100

/* Code whose every unit is on a line of its own, the first on first_line + 1 (3.11, code 11). */
static void lined_code(uint64_t id, int32_t first_line)
{
	struct {
		struct krait_code_rec rec;
		unsigned char bytes[5 + 2 * UNITS + 7];
	} r = {.rec = {.h = {.kind = KRAIT_CODE}, .code_id = id, .pid = ids_of}};

	r.rec.first_line = first_line;
	r.rec.name = (struct krait_str){.bytes = 1, .width = 1};
	r.rec.file = (struct krait_str){.bytes = 4, .width = 1};
	r.rec.lines_kind = KRAIT_LINES_PEP657;
	r.rec.lines_bytes = r.rec.lines_total = 2 * UNITS;
	memcpy(r.bytes, "af.py", 5);
	for (uint32_t k = 0; k < UNITS; k++)
		r.bytes[5 + 2 * k] = 0x80 | 11 << 3;
	add(&r, sizeof(r.rec) + 5 + 2 * UNITS);
}

/* More frames than are kept at hand (KNOWN_FRAMES), of which many share a place there: each time
 * that a stack is sent it means the same. Their tables are equal, their lines are not. */
static void test_more_frames_than_are_at_hand(void **state)
{
	uint32_t cnt = MANY_CODES * UNITS;
	const struct profile *p;

	(void)state;
	info(7, "p");
	for (uint32_t i = 0; i < 3 * cnt; i++) {
		uint32_t id = i % cnt;
		struct krait_frame frame = {.code_id = 1 + id / UNITS, .unit = id % UNITS};

		if (i < cnt && id % UNITS == 0)
			lined_code(frame.code_id, id);
		stack_flags(hash_pair(id, 0), 0, 1, &frame);
		sample(hash_pair(id, 0), 7);
	}
	p = profile();
	assert_int_equal(p->sample_cnt, cnt);
	for (uint32_t i = 0; i < cnt; i++) {
		const struct profile_stack *st = &p->stacks[p->samples[i].stack_idx];

		assert_int_equal(p->samples[i].cnt, 3);
		assert_int_equal(p->frames[packed_get(&p->frame_idx, st->first)].line, i + 1);
	}
}

/* A frame of the number 0 is none that is at hand. */
static void test_code_id_0(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	stack(3, 0, 0);
	sample(3, 7);
	assert_profile("7 \"p\" 7 \"\": [unreadable: code object lost]:0 = 1\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Samples of two events on one stack are counted apart, and a binding that has counted one counts
 * the other where it belongs. */
static void test_events(void **state)
{
	const struct profile_event *e;

	(void)state;
	info(7, "p");
	three_functions();
	event_described(9, "page-faults", "count", 16, 0);
	sample(1, 7);
	sample_of_event(1, 7, 9, 5);
	sample(1, 7);
	sample_of_event(1, 7, 9, 1ULL << 40);
	sample_of_event(2, 7, 9, 3);
	sample_of_event(0x99, 7, 9, 4); /* its stack never came */
	event_described(9, "page-faults", "count", 16, 15);
	assert_profile("7 \"p\" 7 \"\": a:10 < b:20 = 2\n"
		       "7 \"p\" 7 \"\": a:10 < b:20 = 1099511627781 page-faults\n"
		       "7 \"p\" 7 \"\": c:30 < b:20 = 3 page-faults\n");
	assert_int_equal(profile()->event_cnt, 2);
	e = profile()->events;
	assert_string_equal(e[0].name, "cpu");
	assert_string_equal(e[0].unit, "nanoseconds");
	assert_int_equal(e[0].unnamed_cnt, 0);
	assert_string_equal(e[1].unit, "count");
	assert_int_equal(e[1].period, 16);
	assert_int_equal(e[1].unnamed_cnt, 4);
	assert_int_equal(e[1].counters[KRAIT_CNT_SAMPLES], 15);
	assert_int_equal(e[0].counters[KRAIT_CNT_SAMPLES], 0);
}

/* What no record describes is shown by its number. */
static void test_event_without_a_name(void **state)
{
	(void)state;
	info(7, "p");
	three_functions();
	sample_of_event(1, 7, KRAIT_EVENTS_MAX - 1, 5);
	assert_profile("7 \"p\" 7 \"\": a:10 < b:20 = 5 event 255\n");
	assert_string_equal(profile()->events[1].unit, "count");
	assert_int_equal(profile()->events[1].period, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),
		TEST(test_counts_by_thread_and_stack),
		TEST(test_events),
		TEST(test_event_without_a_name),
		TEST(test_snapshot_and_on),
		TEST(test_snapshot_sorts),
		TEST(test_fork_inherits),
		TEST(test_fork_of_an_unknown_parent),
		TEST(test_exec_begins_a_life),
		TEST(test_exec_told_late),
		TEST(test_pid_reused),
		TEST(test_told_again_is_one_life),
		TEST(test_told_late),
		TEST(test_stack_id_bound_anew),
		TEST(test_equal_stacks_are_one),
		TEST(test_prefix_is_another_stack),
		TEST(test_samples_before_their_stack),
		TEST(test_thread_names),
		TEST(test_python_names),
		TEST(test_late_python_names),
		TEST(test_command_lines),
		TEST(test_truncated_has_a_root_that_says_so),
		TEST(test_frames_that_could_not_be_read),
		TEST(test_code_comes_late),
		TEST(test_stack_without_frames),
		TEST(test_table_in_pieces),
		TEST(test_table_sent_twice),
		TEST(test_table_with_a_hole),
		TEST(test_repeated_piece_fills_no_hole),
		TEST(test_last_piece_missing),
		TEST(test_more_frames_than_are_at_hand),
		TEST(test_code_id_0),
	};

	return cmocka_run_group_tests_name("aggregate", tests, NULL, NULL);
}
