/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The ledger: every way in which a tick can fail to become a sample, and the counters that must add
 * up. What the numbers stand for is stored in recordings.
 */
#ifndef KRAIT_ABI_LEDGER_H
#define KRAIT_ABI_LEDGER_H

/*
 * One line per way in which a tick on a target can fail to become a sample: X(NAME, sentence). The
 * line makes the enum, the counter and the sentence of the footer. Ticks on targets = samples + the
 * sum of these, exactly. LOST says what kind of line it is: 1 a sample that was lost, 0 a tick that
 * had no Python stack to give. The walker ends with one of the latter; it is a sample nowadays, of
 * a KRAIT_MARK_OUTSIDE, and counted as a loss in older recordings only.
 */
#define KRAIT_LOSSES(X)                                                                            \
	X(NO_PYTHON_THREAD, 0, "on a thread without a Python thread state")                        \
	X(NO_FRAME, 0, "on a thread that was running no Python frame")                             \
	X(STARTING, 1, "while the interpreter was starting or not yet verified")                   \
	X(UNSUPPORTED, 1, "in an interpreter that krait can't profile (see krait ps)")             \
	X(LAYOUT_MISSING, 1, "without a layout for the interpreter")                               \
	X(RUNTIME_UNREADABLE, 1, "because the interpreter's state was not readable")               \
	X(THREAD_UNREADABLE, 1, "because the thread's state was not readable")                     \
	X(THREAD_SEARCH, 1, "while a long thread list was being searched")                         \
	X(THREAD_UNPROVEN, 1, "in a forked CPython 2.7, on a thread not yet seen with the GIL")    \
	X(RING_FULL, 1, "because the ring buffer was full")                                        \
	X(STACK_NOT_SENT, 1, "because the ring buffer had no room for the stack")

/* Reasons why a single frame could not be read: X(NAME, sentence). The stack is kept, with a marker
 * frame. */
#define KRAIT_FRAME_FAULTS(X)                                                                      \
	X(FRAME_UNREADABLE, "frame not readable")                                                  \
	X(FRAME_CYCLE, "frame list goes in a circle")                                              \
	X(CODE_UNREADABLE, "code object not readable")                                             \
	X(CODE_NOT_CODE, "not a code object")                                                      \
	X(CODE_NOT_SENT, "code object lost")                                                       \
	X(CODE_TOO_MUCH, "too much new code at once")

enum krait_loss {
	KRAIT_LOSS_NONE = 0,
#define X(name, lost, sentence) KRAIT_LOSS_##name,
	KRAIT_LOSSES(X)
#undef X
		KRAIT_LOSS_CNT,
	KRAIT_FAULT_FIRST = KRAIT_LOSS_CNT - 1,
#define X(name, sentence) KRAIT_FAULT_##name,
	KRAIT_FRAME_FAULTS(X)
#undef X
		KRAIT_REASON_CNT,
};

/* The per-CPU counters: the reasons above, and behind them the totals that they must add up to.
 * Ticks are those of the rate that was asked for, also while only one in several is taken. */
enum krait_counter {
	KRAIT_CNT_TARGET_TICKS = KRAIT_REASON_CNT, /* ticks on targets */
	KRAIT_CNT_SAMPLES,			   /* SAMPLE records sent */
	KRAIT_CNT_TRUNCATED,			   /* of them, with a stack cut at --max-depth */
	KRAIT_CNT_OTHER_TICKS,			   /* ticks on processes that are no targets */
	KRAIT_CNT_UNKNOWN_TICKS, /* ticks on processes that were not classified yet */
	KRAIT_CNT_PROCS_FULL,	 /* processes not followed because the process map was full */
	KRAIT_CNT_EVENTS_LOST,	 /* PROCESS records that the ring did not take */
	KRAIT_CNT_STACKS,	 /* STACK records sent */
	KRAIT_CNT_CODES,	 /* CODE records sent */
	KRAIT_CNT_RING_BYTES,	 /* bytes of all other records sent */
	KRAIT_CNT_CNT,
};

#endif
