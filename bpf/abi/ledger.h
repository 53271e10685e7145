/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The ledger: every way in which a tick can fail to become a sample, and the counters that must add
 * up.
 *
 * The numbers are stored in recordings, as the counters' names and as the marks of frames that
 * could not be read, so they keep their meaning for ever: a new line has a number that no line
 * ever had, whatever its place, and none is removed. `make lint` holds them against
 * bpf/abi/released. They are also the places of the counters in struct krait_writer, so a new one
 * is the next.
 */
#ifndef KRAIT_ABI_LEDGER_H
#define KRAIT_ABI_LEDGER_H

/*
 * One line per way in which a tick on a target can fail to become a sample: X(NAME, number, lost,
 * sentence). The line makes the enum, the counter and the sentence of the footer, which has them in
 * this order. Ticks on targets = samples + the sum of these, exactly. LOST says what kind of line
 * it is: 1 a sample that was lost, 0 a tick that had no Python stack to give. The walker ends with
 * one of the latter; it is a sample nowadays, of a KRAIT_MARK_OUTSIDE, and counted as a loss in
 * older recordings only.
 */
#define KRAIT_LOSSES(X)                                                                            \
	X(NO_PYTHON_THREAD, 1, 0, "on a thread without a Python thread state")                     \
	X(NO_FRAME, 2, 0, "on a thread that was running no Python frame")                          \
	X(STARTING, 3, 1, "while the interpreter was starting or not yet verified")                \
	X(UNSUPPORTED, 4, 1, "in an interpreter that krait can't profile (see krait ps)")          \
	X(LAYOUT_MISSING, 5, 1, "without a layout for the interpreter")                            \
	X(RUNTIME_UNREADABLE, 6, 1, "because the interpreter's state was not readable")            \
	X(THREAD_UNREADABLE, 7, 1, "because the thread's state was not readable")                  \
	X(THREAD_SEARCH, 8, 1, "while a long thread list was being searched")                      \
	X(THREAD_UNPROVEN, 9, 1, "in a forked CPython 2.7, on a thread not yet seen with the GIL") \
	X(RING_FULL, 10, 1, "because the ring buffer was full")                                    \
	X(STACK_NOT_SENT, 11, 1, "because the ring buffer had no room for the stack")              \
	X(NESTED, 28, 1, "because they came in the middle of taking another sample")

/* Reasons why a single frame could not be read: X(NAME, number, sentence). The stack is kept, with
 * a marker frame. */
#define KRAIT_FRAME_FAULTS(X)                                                                      \
	X(FRAME_UNREADABLE, 12, "frame not readable")                                              \
	X(FRAME_CYCLE, 13, "frame list goes in a circle")                                          \
	X(CODE_UNREADABLE, 14, "code object not readable")                                         \
	X(CODE_NOT_CODE, 15, "not a code object")                                                  \
	X(CODE_NOT_SENT, 16, "code object lost")                                                   \
	X(CODE_TOO_MUCH, 27, "too much new code at once")

/* The totals that the losses must add up to, and other counts: X(NAME, number, meaning). Ticks are
 * those of the rate that was asked for, also while only one in several is taken. */
#define KRAIT_TOTALS(X)                                                                            \
	X(TARGET_TICKS, 17, "ticks on targets")                                                    \
	X(SAMPLES, 18, "SAMPLE records sent")                                                      \
	X(TRUNCATED, 19, "of them, with a stack cut at --max-depth")                               \
	X(OTHER_TICKS, 20, "ticks on processes that are no targets")                               \
	X(UNKNOWN_TICKS, 21, "ticks on processes that were not classified yet")                    \
	X(PROCS_FULL, 22, "processes not followed because the process map was full")               \
	X(EVENTS_LOST, 23, "PROCESS records that the ring did not take")                           \
	X(STACKS, 24, "STACK records sent")                                                        \
	X(CODES, 25, "CODE records sent")                                                          \
	X(RING_BYTES, 26, "bytes of all other records sent")

/* One more than the highest number. */
#define KRAIT_CNT_CNT 29

enum krait_loss {
	KRAIT_LOSS_NONE = 0,
#define X(name, number, lost, sentence) KRAIT_LOSS_##name = (number),
	KRAIT_LOSSES(X)
#undef X
#define X(name, number, sentence) KRAIT_FAULT_##name = (number),
		KRAIT_FRAME_FAULTS(X)
#undef X
};

/* The per-CPU counters are the losses, the faults and these. */
enum krait_counter {
#define X(name, number, meaning) KRAIT_CNT_##name = (number),
	KRAIT_TOTALS(X)
#undef X
};

/* What part a counter has in the ledger; stored beside it, so that an older krait can add up what a
 * newer one has written. */
enum krait_part {
	KRAIT_PART_NONE = 0, /* no counter of this krait's */
	KRAIT_PART_LOSS = 1, /* of the ticks that are no samples */
	KRAIT_PART_FAULT = 2,
	KRAIT_PART_TOTAL = 3,
};

/* Of a number. Two lines with one number do not compile. */
static inline enum krait_part krait_part_of(unsigned int number)
{
	switch (number) {
#define X(name, number, lost, sentence) case (number):
		KRAIT_LOSSES(X)
#undef X
		return KRAIT_PART_LOSS;
#define X(name, number, sentence) case (number):
		KRAIT_FRAME_FAULTS(X)
#undef X
		return KRAIT_PART_FAULT;
#define X(name, number, meaning) case (number):
		KRAIT_TOTALS(X)
#undef X
		return KRAIT_PART_TOTAL;
	default:
		return KRAIT_PART_NONE;
	}
}

#define X(name, number, ...) _Static_assert((number) < KRAIT_CNT_CNT, "ledger: KRAIT_CNT_CNT");
KRAIT_LOSSES(X)
KRAIT_FRAME_FAULTS(X)
KRAIT_TOTALS(X)
#undef X

#endif
