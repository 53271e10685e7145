/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf/thread.h, walk.h and code.h, compiled for the host: from a thread to its stack, over memory
 * that may hold anything. In life that is the target's, and its layout too from 3.13 on.
 *
 * A small Python of a layout is made by hand: an interpreter, a thread state, three frames, their
 * code. Then the input writes words into it, between the ticks too. Each tick ends after a bounded
 * number of reads, every record that it sends is a valid one (host.h), the stack is as deep as it
 * may be or less, its instructions are where one can be, what could not be read is counted, and its
 * frames have symbols.
 *
 * Input: number of the layout, or 0x80 and a _Py_DebugOffsets; depth; then words to write, of 8
 * bytes each: where (in words; TICK: take a tick, and make the read fail that the value says), the
 * sign and upper half of the value, its lower half.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/fuzz/python.h"

#define TICK 0xffff
#define TICKS_MAX 4
#define TICK_NS 10000000000ULL /* after every pause of the thread search */
#define WORDS_MAX 256

/* ---- Ticks ---- */

/* A search; a chunk, a window and a frame for each frame visited, twice, and once more where the
 * first way was stale; and of a bytecode's copy three words. */
static uint64_t walk_reads_max(void)
{
	uint64_t visits = STEPS_PER_FRAME * max_depth + STEPS_CALLS;

	return 16 + 3 * SEARCH_STEPS_NO_PREV + 2 * 2 * 6 * visits;
}

/* And a code object: head, table's length and start, three strings, the table. */
static uint64_t code_reads_max(void)
{
	return 3 + 3 * 4 + KRAIT_LINES_CHUNKS;
}

static void check_stack(void)
{
	const struct krait_frame *frames = stack_frames(host.stack);
	const struct walk *w = &host.scratch->walk;
	uint64_t counted = 0, marked = 0;

	for (int i = 0; i < KRAIT_CNT_CNT; i++)
		counted += krait_part_of(i) == KRAIT_PART_FAULT ? host.counts[i] : 0;
	for (uint32_t i = 0; i < w->cnt; i++) {
		struct symbol symbol = symbolizer_frame(host.sym, OWNER, &frames[i]);

		marked += frames[i].mark != 0;
		FUZZ_CHECK(!frames[i].mark || krait_part_of(frames[i].mark) == KRAIT_PART_FAULT);
		FUZZ_CHECK(frames[i].mark || symbol.is_final);
		FUZZ_CHECK(fuzz_is_safe_text(symbol.name, strlen(symbol.name)));
	}
	FUZZ_CHECK(counted == marked);
	FUZZ_CHECK(!marked || host.scratch->is_unsettled);
}

/* A unit of a code object, the place before its first one, or what is in no code at all: another
 * negative one would show as the function's first line (linetable.h). */
static void check_units(void)
{
	const struct krait_frame *frames = stack_frames(host.stack);

	if (host.scratch->layout.instr_kind != KRAIT_INSTR_PTR)
		return; /* then it is a number of the target's */
	for (uint32_t i = 0; i < host.scratch->walk.cnt; i++)
		FUZZ_CHECK(frames[i].unit == INT32_MAX ||
			   (frames[i].unit >= -1 && frames[i].unit <= INT32_MAX / 2));
}

static void tick(uint64_t now_ns)
{
	struct scratch *s = host.scratch;
	enum krait_loss loss;

	memset(host.counts, 0, sizeof(host.counts));
	loss = host_walk(THREAD_ID, now_ns);
	FUZZ_CHECK(host.read_cnt <= walk_reads_max());
	FUZZ_CHECK(!loss || krait_part_of(loss) == KRAIT_PART_LOSS);
	if (loss)
		return;
	FUZZ_CHECK(s->walk.cnt > 0 && s->walk.cnt <= max_depth);
	check_units();
	thread_collects(s);
	interp_id(s);
	host.read_cnt = 0;
	host_resolve();
	FUZZ_CHECK(host.read_cnt <= s->walk.cnt * code_reads_max());
	check_stack();
}

/* ---- The input ---- */

static void take_words(const uint8_t *data, size_t size)
{
	uint64_t now_ns = 0;

	for (int i = 0; i < WORDS_MAX && size > 0 && now_ns < TICKS_MAX * TICK_NS; i++) {
		struct {
			uint16_t at;
			int16_t high;
			uint32_t low;
		} write;
		uint64_t word;

		fuzz_take(&data, &size, &write, sizeof(write));
		word = (uint64_t)write.high << 32 | write.low;
		if (write.at == TICK) {
			host.fail_at = write.low;
			tick(now_ns += TICK_NS);
			host.scratch->epoch++;
			host.fail_at = READ_NONE;
		} else {
			put(BASE + 8ULL * write.at, &word, sizeof(word));
		}
	}
	tick(now_ns + TICK_NS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct py_layout layout;
	uint8_t depth;

	if (!take_layout(&data, &size, &layout))
		return 0;
	depth = fuzz_take_byte(&data, &size);
	host_init(&layout.walk, HEAD_ADDR, TYPE_ADDR);
	host_set_depth(depth ? depth : 1);
	make_python(&layout.walk);
	take_words(data, size);
	host_release();
	return 0;
}
