/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walker over real memory with faults put in: reads that fail, one after the other; words that
 * are not what CPython would have there, by chance and by intent.
 *
 * Whatever happens it ends after a bounded number of reads, writes nowhere else (build with
 * SAN=address,undefined to see that), and gives no frame that is not there: a frame is true, or it
 * is a marker with a reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/host/host.h"
#include "tests/host/python.h"

#define LATER_NS 10000000000ULL /* after every pause of the thread search */
#define RANDOM_RUNS 2000	/* per interpreter */
#define RANDOM_DEPTH 64
#define KERNEL_ADDR 0xffff888012345678ULL

/* ---- What every outcome has to keep to ---- */

static bool is_frame_fault(uint32_t mark)
{
	return mark == KRAIT_FAULT_FRAME_UNREADABLE || mark == KRAIT_FAULT_FRAME_CYCLE;
}

/* 3.11 and 3.12: an innermost frame counts only once an entry frame has proven it (walk.h). */
static bool has_proof(void)
{
	return host.scratch->layout.has_cframe;
}

/* Frames [from, to) of the walked stack, markers aside, are those of p from its frame `at` on. */
static bool are_from(const struct parked *p, uint32_t from, uint32_t to, uint32_t at)
{
	const struct krait_frame *frames = stack_frames(host.stack);

	for (uint32_t i = from; i < to; i++) {
		struct symbol s = symbolizer_frame(host.sym, OWNER, &frames[i]);

		if (frames[i].mark)
			continue;
		if (at + i - from >= p->frame_cnt || !is_true(&s, &p->frames[at + i - from], true))
			return false;
	}
	return true;
}

/* The unproven part was left out, with a marker in its place or without: what is there are true
 * frames, each the caller of the one before, down to the outermost one or to one that can't be
 * read. */
static void assert_true_outer_part(const struct parked *p)
{
	const struct krait_frame *frames = stack_frames(host.stack);
	uint32_t cnt = host.scratch->walk.cnt;
	uint32_t from = is_frame_fault(frames[0].mark) ? 1 : 0;
	uint32_t to = cnt > from && is_frame_fault(frames[cnt - 1].mark) ? cnt - 1 : cnt;
	uint32_t at = p->frame_cnt - (to - from);

	if (to < cnt) /* it ends early: anywhere */
		for (at = 0; at < p->frame_cnt && !are_from(p, from, to, at);)
			at++;
	assert_true(to == from || are_from(p, from, to, at));
}

/* Each frame is the true one of its place or a marker; a marker for the frame itself ends the
 * stack, and without one the stack is whole. One marker more than there are frames may come of the
 * shim below the outermost frame: what can't be read does not tell that it is a shim. */
static void assert_true_or_marked(const struct parked *p)
{
	const struct krait_frame *frames = stack_frames(host.stack);
	uint32_t cnt = host.scratch->walk.cnt;

	assert_true(cnt > 0 && cnt <= p->frame_cnt + 1);
	if (has_proof() && is_frame_fault(frames[0].mark)) {
		assert_true_outer_part(p);
		return;
	}
	assert_true(cnt <= p->frame_cnt || is_frame_fault(frames[cnt - 1].mark));
	for (uint32_t i = 0; i < cnt; i++) {
		struct symbol s = symbolizer_frame(host.sym, OWNER, &frames[i]);

		if (frames[i].mark) {
			assert_int_equal(strncmp(s.name, "[unreadable: ", 13), 0);
			assert_true(host.scratch->is_unsettled);
			assert_true(!is_frame_fault(frames[i].mark) || i == cnt - 1);
		} else if (!is_true(&s, &p->frames[i], true)) {
			fail_msg("%s: read %d: frame %u is %s (%s:%d), should be %s (%s:%d)",
				 p->py->name, (int)host.fail_at, i, s.name, s.file, s.line,
				 p->frames[i].name, p->frames[i].file, p->frames[i].line);
		}
	}
	if (!is_frame_fault(frames[cnt - 1].mark))
		assert_int_equal(cnt, p->frame_cnt);
}

/* The most reads that a walk may take: a search; chunk, window and frame for each frame visited. */
static uint64_t walk_reads_max(void)
{
	uint64_t visits = max_depth * 2 + 256;

	return 8 + 3 * SEARCH_STEPS + 3 * visits;
}

/* And a code object: head, table's length and start, three strings, the table. */
static uint64_t code_reads_max(void)
{
	return 3 + 3 * 3 + KRAIT_LINES_CHUNKS;
}

static enum krait_loss bounded_tick(uint64_t thread_id, uint64_t now_ns)
{
	enum krait_loss loss = host_walk(thread_id, now_ns);

	assert_true(host.read_cnt <= walk_reads_max());
	if (loss)
		return loss;
	host.read_cnt = 0;
	host_resolve();
	assert_true(host.read_cnt <= host.scratch->walk.cnt * code_reads_max());
	return KRAIT_LOSS_NONE;
}

static void forget_all(void)
{
	host_forget();
	memset(&host.memo, 0, sizeof(host.memo));
}

/* ---- Reads that fail ---- */

static void fail_nth(const struct parked *p, uint64_t nth)
{
	enum krait_loss loss;

	forget_all();
	host.fail_at = nth;
	loss = host_tick(p->thread_id, 1);
	if (loss)
		assert_int_equal(krait_part_of(loss), KRAIT_PART_LOSS);
	else
		assert_true_or_marked(p);
	/* The next tick is whole again: the fault was the read's, not the target's. */
	host.fail_at = READ_NONE;
	assert_int_equal(host_tick(p->thread_id, LATER_NS), KRAIT_LOSS_NONE);
	assert_frames(p, p->frame_cnt);
}

static void test_each_read_fails_once(const struct python *py)
{
	struct parked p;
	uint64_t reads;

	parked_init(&p, py, script, "24");
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	reads = host.read_cnt;
	assert_true(reads > 150);
	for (uint64_t nth = 0; nth < reads; nth++)
		fail_nth(&p, nth);
	parked_release(&p);
}

/* Each page is missing in turn, as when it is paged out. Where a frame or its code object is marked
 * for that, user space is told, once, and when the page is back all is as it should be. */
static void test_memory_goes_away(const struct python *py)
{
	uint32_t pages, told = 0;
	struct parked p;

	parked_init(&p, py, script, "24");
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	pages = host.page_cnt;
	for (uint32_t i = 0; i < pages; i++) {
		uint8_t *bytes = host.pages[i].bytes;

		forget_all();
		host.pages[i].bytes = NULL;
		host_proc()->absent_at_ns = host.absent_cnt = 0;
		if (bounded_tick(p.thread_id, 1) == KRAIT_LOSS_NONE) {
			assert_true_or_marked(&p);
			assert_int_equal(host.absent_cnt, host_mark_cnt() > 0);
		}
		told += host.absent_cnt;
		host.pages[i].bytes = bytes;
		assert_int_equal(host_tick(p.thread_id, LATER_NS), KRAIT_LOSS_NONE);
		assert_frames(&p, p.frame_cnt);
	}
	assert_true(told > 0);
	parked_release(&p);
}

/* Ticks, 10 ms apart for so many seconds. How often user space was told. */
static uint32_t told_in(const struct parked *p, uint64_t *now_ns, uint32_t seconds)
{
	host.absent_cnt = 0;
	for (uint32_t i = 0; i < 100 * seconds; i++, *now_ns += 10000000)
		host_tick(p->thread_id, *now_ns);
	return host.absent_cnt;
}

/* A page without which a frame or its code object can't be read; it is away now. */
static struct page *page_away(const struct parked *p, uint8_t **bytes)
{
	for (uint32_t i = 0; i < host.page_cnt; i++) {
		*bytes = host.pages[i].bytes;
		forget_all();
		host_proc()->absent_at_ns = host.absent_cnt = 0;
		host.pages[i].bytes = NULL;
		host_tick(p->thread_id, 1);
		if (host.absent_cnt)
			return &host.pages[i];
		host.pages[i].bytes = *bytes;
	}
	fail_msg("no page is needed");
	return NULL;
}

/* A pause of 8 ms that doubles up to 8.192 s, ended by the next tick: so it is told at 0, 10, 30,
 * 70, 140, 270, 530, 1050, 2080, 4130, 8230, 16430 ms, then each 8.2 s. And from the start again,
 * when for as long as the pause was nothing had been missing. */
static void test_pause(const struct python *py)
{
	uint64_t now_ns = LATER_NS;
	struct page *page;
	struct parked p;
	uint8_t *bytes = NULL;

	parked_init(&p, py, script, "24");
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	page = page_away(&p, &bytes);
	host_proc()->absent_at_ns = host_proc()->absent_doublings = 0;
	assert_int_equal(told_in(&p, &now_ns, 10), 11);
	assert_int_equal(told_in(&p, &now_ns, 40), 5);
	page->bytes = bytes;
	assert_int_equal(told_in(&p, &now_ns, 40), 0);
	page->bytes = NULL;
	assert_int_equal(told_in(&p, &now_ns, 10), 11);
	page->bytes = bytes;
	parked_release(&p);
}

/* ---- Words that are wrong ---- */

static void test_random_words(const struct python *py)
{
	uint32_t whole = 0;
	struct parked p;

	parked_init(&p, py, script, "24");
	host_set_depth(RANDOM_DEPTH);
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	for (uint32_t run = 1; run <= RANDOM_RUNS; run++) {
		host.corrupt_seed = (uint64_t)run << 32;
		host.corrupt_one_in = 1 + run % 100;
		if (run % 8 == 0)
			forget_all();
		whole += bounded_tick(p.thread_id, run * LATER_NS) == KRAIT_LOSS_NONE;
		for (uint32_t i = 0; i < host.scratch->walk.cnt; i++)
			symbolizer_frame(host.sym, OWNER, &stack_frames(host.stack)[i]);
	}
	/* Not all may end in the search, or the walk was not tried. */
	assert_true(whole > RANDOM_RUNS / 4);
	parked_release(&p);
}

/* The address of frame n as CPython has them, shims left out. */
static uint64_t nth_frame(uint32_t n)
{
	const struct krait_layout *l = &host.scratch->layout;
	uint64_t frame = host_get(host.scratch->tstate + l->ts_frame_off);

	if (l->has_cframe)
		frame = host_get(frame + l->ts_cframe_frame_off);
	for (;; frame = host_get(frame + l->fr_prev_off)) {
		uint64_t owner = 0;

		assert_true(frame != 0);
		if (l->has_shims)
			memory_copy((uint8_t *)&owner, 1, frame + l->fr_owner_off);
		if ((!l->has_shims || owner < l->shim_owner) && n-- == 0)
			return frame;
	}
}

static uint64_t nth_code(uint32_t n)
{
	return host_get(nth_frame(n) + host.scratch->layout.fr_code_off) & ~7ULL;
}

/* Frame `from` has frame `to` for its caller. */
static void cycle_of(const struct parked *p, uint32_t from, uint32_t to)
{
	const struct krait_frame *frames = stack_frames(host.stack);
	uint32_t cnt, len = from - to + 1;
	enum krait_loss loss;

	forget_all();
	assert_int_equal(host_tick(p->thread_id, 1), KRAIT_LOSS_NONE);
	host_patch(nth_frame(from) + host.scratch->layout.fr_prev_off, nth_frame(to));
	loss = bounded_tick(p->thread_id, 2);
	host.patch_cnt = 0;
	cnt = host.scratch->walk.cnt;
	/* A circle of unproven frames is what an earlier call left: none of them is shown. */
	if (has_proof() && (loss == KRAIT_LOSS_NO_FRAME || !frames[cnt - 1].mark)) {
		assert_true_outer_part(p);
		return;
	}
	assert_int_equal(loss, KRAIT_LOSS_NONE);
	assert_int_equal(frames[cnt - 1].mark, KRAIT_FAULT_FRAME_CYCLE);
	assert_true(cnt - 1 > from);
	for (uint32_t i = 0; i < cnt - 1; i++) {
		struct symbol s = symbolizer_frame(host.sym, OWNER, &frames[i]);
		uint32_t at = i <= from ? i : to + (i - to) % len;

		assert_true(is_true(&s, &p->frames[at], false));
	}
}

static void test_frames_in_a_circle(const struct python *py)
{
	struct parked p;

	parked_init(&p, py, script, "24");
	cycle_of(&p, 0, 0);
	cycle_of(&p, 1, 0);
	cycle_of(&p, 30, 30);
	cycle_of(&p, 31, 29);
	cycle_of(&p, p.frame_cnt - 1, 0);
	cycle_of(&p, p.frame_cnt - 1, 7);
	parked_release(&p);
}

static void test_bad_caller_pointer(const struct python *py)
{
	static const uint64_t bad[] = {1, 8, KERNEL_ADDR, UINT64_MAX, UINT64_MAX - 40, 1ULL << 47};
	struct parked p;

	parked_init(&p, py, script, "24");
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		host_patch(nth_frame(20) + host.scratch->layout.fr_prev_off, bad[i]);
		assert_int_equal(bounded_tick(p.thread_id, 2), KRAIT_LOSS_NONE);
		host.patch_cnt = 0;
		assert_int_equal(host.scratch->walk.cnt, 22);
		assert_int_equal(stack_frames(host.stack)[21].mark, KRAIT_FAULT_FRAME_UNREADABLE);
		assert_true_or_marked(&p);
	}
	parked_release(&p);
}

static void code_is(const struct parked *p, uint64_t code, uint32_t fault)
{
	uint32_t marks = 0;

	host_patch(nth_frame(5) + host.scratch->layout.fr_code_off, code);
	memset(host.counts, 0, sizeof(host.counts));
	assert_int_equal(bounded_tick(p->thread_id, 2), KRAIT_LOSS_NONE);
	host.patch_cnt = 0;
	assert_true_or_marked(p);
	for (uint32_t i = 0; i < p->frame_cnt; i++)
		marks += stack_frames(host.stack)[i].mark != 0;
	assert_int_equal(marks, 1);
	assert_int_equal(stack_frames(host.stack)[5].mark, fault);
	assert_int_equal(host.counts[fault], 1);
}

static void test_bad_code_pointer(const struct python *py)
{
	struct parked p;
	uint64_t name;

	parked_init(&p, py, script, "24");
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	name = host_get(nth_code(5) + host.scratch->layout.co_name_off);
	code_is(&p, KERNEL_ADDR & ~7ULL, KRAIT_FAULT_CODE_UNREADABLE);
	code_is(&p, 8, KRAIT_FAULT_CODE_UNREADABLE);
	code_is(&p, name & ~7ULL, KRAIT_FAULT_CODE_NOT_CODE);
	code_is(&p, nth_code(5) + 16, KRAIT_FAULT_CODE_NOT_CODE);
	parked_release(&p);
}

/* The symbol of frame 5, whose code's field at `off` leads to an object with `word` at `word_off`.
 */
static struct symbol forged(const struct parked *p, uint16_t off, uint16_t word_off, uint64_t word)
{
	forget_all();
	host_patch(host_get(nth_code(5) + off) + word_off, word);
	assert_int_equal(bounded_tick(p->thread_id, 2), KRAIT_LOSS_NONE);
	host.patch_cnt = 0;
	assert_int_equal(host.scratch->walk.cnt, p->frame_cnt);
	return symbolizer_frame(host.sym, OWNER, &stack_frames(host.stack)[5]);
}

static void test_forged_strings(const struct python *py)
{
	struct parked p;
	struct symbol s;
	const struct krait_layout *l;
	uint16_t name_off;

	parked_init(&p, py, script, "24");
	l = &p.target.python.walk;
	name_off = l->has_qualname ? l->co_qualname_off : l->co_name_off;
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	/* 4 GB of name: as much of it as a record holds, and it says that it was cut. */
	s = forged(&p, name_off, l->str_length_off, 1ULL << 32);
	assert_true(strlen(s.name) >= KRAIT_NAME_BYTES);
	assert_int_equal(strncmp(s.name, p.frames[5].name, strlen(p.frames[5].name)), 0);
	assert_string_equal(s.name + strlen(s.name) - strlen("…"), "…");
	s = forged(&p, l->co_file_off, l->str_length_off, 1ULL << 63);
	assert_true(strlen(s.file) >= KRAIT_FILE_BYTES);
	/* Kind 7, not compact, kind 0: no string, so no code object. */
	for (uint64_t bits = 0; bits < 16 && !l->names_are_bytes; bits++) {
		uint32_t kind = bits & 7;

		if ((bits & 8) && (kind == 1 || kind == 2 || kind == 4))
			continue;
		s = forged(&p, l->co_file_off, l->str_state_off, bits << l->str_kind_shift);
		assert_string_equal(s.name, "[unreadable: code object not readable]");
	}
	parked_release(&p);
}

static void test_forged_line_table(const struct python *py)
{
	const struct krait_layout *l;
	struct parked p;
	struct symbol s;

	parked_init(&p, py, script, "24");
	l = &p.target.python.walk;
	assert_int_equal(host_tick(p.thread_id, 1), KRAIT_LOSS_NONE);
	/* Longer than any that is sent: no line rather than a wrong one. */
	s = forged(&p, l->co_lines_off, l->bytes_size_off, 1ULL << 32);
	assert_string_equal(s.name, p.frames[5].name);
	assert_int_equal(s.line, 0);
	s = forged(&p, l->co_lines_off, l->bytes_size_off, UINT64_MAX);
	assert_int_equal(s.line, 0);
	/* A long one comes in pieces. Behind the real table lies something else, but not before;
	 * co_lnotab only has no end, so what lies behind may move its last line. */
	s = forged(&p, l->co_lines_off, l->bytes_size_off, 3 * KRAIT_LINES_CHUNK_BYTES + 5);
	assert_true(s.line == p.frames[5].line || s.line == 0 ||
		    l->lines_kind == KRAIT_LINES_LNOTAB ||
		    l->lines_kind == KRAIT_LINES_LNOTAB_UNSIGNED);
	parked_release(&p);
}

int main(void)
{
	static const struct python_test tests[] = {
		{"each_read_fails_once", test_each_read_fails_once},
		{"memory_goes_away", test_memory_goes_away},
		{"pause", test_pause},
		{"random_words", test_random_words},
		{"frames_in_a_circle", test_frames_in_a_circle},
		{"bad_caller_pointer", test_bad_caller_pointer},
		{"bad_code_pointer", test_bad_code_pointer},
		{"forged_strings", test_forged_strings},
		{"forged_line_table", test_forged_line_table},
	};

	return python_tests_run("host faults", tests, sizeof(tests) / sizeof(tests[0]));
}
