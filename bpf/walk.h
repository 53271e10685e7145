/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Walking the frames of a thread state, innermost first, into the CPU's STACK record.
 *
 * Since 3.11 frames lie one after another in the thread's data-stack chunks, callers below callees.
 * So the part of the chunk that ends with the innermost frame is read in one piece into a window,
 * and the walk goes on inside that copy: about 10 ns a frame, where a read of each costs about 110.
 * A frame outside the window is looked for in the chunk, then in the chunk below it; a frame in
 * neither (a generator's, which lives in the generator; one on the C stack; any frame up to 3.10,
 * when they were heap objects) is read by itself. The walk decides nothing by version: what differs
 * is in the layout.
 *
 * Nothing of a code object is read here. The instruction is an offset from the code's address, by
 * arithmetic; whether that address holds a code object at all is checked when the stack is new
 * (code.h).
 */
#ifndef KRAIT_WALK_H
#define KRAIT_WALK_H

#include "bpf/thread.h"

/*
 * Frames per call of walk_step, and calls of it per call of walk_steps. A call costs a tick some 3
 * ns; the verifier walks through every frame of walk_step, and through every call in the loops, so
 * both are kept short: the load would take 200 ms otherwise.
 */
#define STEP_FRAMES 4
#define STEPS_CALLS 32
/* The first read takes in some 30 frames for about 120 ns; a walk that leaves it is deep and reads
 * whole chunks. */
#define WINDOW_FIRST_BYTES 4096
/* Frames looked at per frame kept: a shim may stand between any two. */
#define VISITS_PER_FRAME 2

extern KRAIT_CONFIG __u32 max_depth;

#ifndef KRAIT_HOST
static __always_inline struct scratch *scratch_get(void);
static __always_inline struct krait_stack_rec *stack_get(void);
#endif

static __always_inline __u64 window_word(const struct scratch *s, __u32 at, __u16 off)
{
	return *(const __u64 *)(s->window + at + (off & (FRAME_BYTES - 1)));
}

/* Reads the chunk's head at `chunk`: Include/cpython/pystate.h, struct _stack_chunk {previous,
 * size, top, data[]}. */
static __always_inline bool chunk_enter(struct walk *w, __u64 chunk)
{
	__u64 head[2] = {};

	if (!chunk || platform_read_user(head, sizeof(head), chunk) != 0)
		return false;
	w->chunk_prev = head[0];
	w->chunk_lo = chunk;
	w->chunk_hi = chunk + head[1];
	return true;
}

static __always_inline bool chunk_has(const struct walk *w, __u64 frame)
{
	return frame >= w->chunk_lo && frame < w->chunk_hi;
}

/* Whether the frame is in the current chunk or in the one below, which then becomes the current
 * one. */
static __always_inline bool chunk_find(struct walk *w, __u64 frame)
{
	__u64 lo = w->chunk_lo, hi = w->chunk_hi, prev = w->chunk_prev;

	if (chunk_has(w, frame))
		return true;
	if (chunk_enter(w, prev) && chunk_has(w, frame))
		return true;
	w->chunk_lo = lo;
	w->chunk_hi = hi;
	w->chunk_prev = prev;
	return false;
}

/* Fills the window with what lies below and in the frame at `frame`. False if it is in no chunk or
 * can't be read. */
static __always_inline bool window_fill(struct scratch *s, __u64 frame)
{
	struct walk *w = &s->walk;
	__u64 end = frame + s->layout.fr_read_bytes;
	__u64 lo;
	__u32 n;

	if (!chunk_find(w, frame))
		return false;
	lo = end - w->win_want;
	if (lo < w->chunk_lo)
		lo = w->chunk_lo;
	n = end - lo;
	if (n > WINDOW_BYTES)
		n = WINDOW_BYTES;
	keep_bounds(n);
	w->win_bytes = 0;
	if (platform_read_user(s->window, n, lo) != 0)
		return false;
	w->win_lo = lo;
	w->win_bytes = n;
	w->win_want = WINDOW_BYTES;
	return true;
}

/* Where in s->window the frame's fields lie, read if need be; -1 if they can't be read. */
static __always_inline int window_locate(struct scratch *s, __u64 frame)
{
	struct walk *w = &s->walk;
	__u32 need = s->layout.fr_read_bytes & (FRAME_BYTES - 1);
	__u64 at = frame - w->win_lo;

	if (at + need <= w->win_bytes && at < WINDOW_BYTES)
		return at;
	if (window_fill(s, frame)) {
		at = frame - w->win_lo;
		return at < WINDOW_BYTES ? at : -1;
	}
	if (platform_read_user(s->window + SINGLE_OFF, need, frame) != 0)
		return -1;
	return SINGLE_OFF;
}

/* The executing code unit, from the frame's instruction field. */
static __always_inline __s32 frame_unit(const struct scratch *s, __u64 instr, __u64 code)
{
	__s64 bytes;

	if (s->layout.instr_kind == KRAIT_INSTR_LASTI_UNITS)
		return (__s32)instr;
	if (s->layout.instr_kind == KRAIT_INSTR_LASTI_BYTES)
		return (__s32)instr >> 1;
	bytes = instr - code - s->layout.co_bytecode_off;
	/* Out of any code's range: a unit that no line table reaches, so it shows as [line
	 * unknown]. */
	if (bytes < -2 || bytes > 0x7ffffffe)
		return 0x7fffffff;
	return bytes >> 1;
}

/* Keeps a frame; false if the stack is full. */
static __always_inline bool frame_keep(struct scratch *s, struct krait_stack_rec *stack, __u64 code,
				       __s32 unit, __u32 mark)
{
	struct krait_frame *frames = (struct krait_frame *)(stack + 1);
	struct walk *w = &s->walk;
	__u32 i = w->cnt;

	if (i >= max_depth) {
		w->flags |= KRAIT_STACK_TRUNCATED;
		return false;
	}
	keep_bounds(i);
	frames[i].code_id = code;
	frames[i].unit = unit;
	frames[i].mark = mark;
	w->hash = (w->hash ^ code) * 0x9e3779b97f4a7c15ULL;
	w->hash = (w->hash ^ (w->hash >> 29) ^ (__u32)unit) * 0xbf58476d1ce4e5b9ULL;
	w->cnt = i + 1;
	return true;
}

/* Ends the walk at a frame that can't be read, with a marker in its place. */
static __always_inline bool frame_fault(struct scratch *s, struct krait_stack_rec *stack,
					__u32 fault)
{
	s->walk.fault = fault;
	frame_keep(s, stack, 0, 0, fault);
	return false;
}

/* Brent's test: the tortoise sits still for 2^k frames; a frame that meets it has been there
 * before. */
static __always_inline bool frame_is_seen(struct walk *w, __u64 frame)
{
	if (frame == w->tortoise)
		return true;
	if (++w->visited == w->next_mark) {
		w->tortoise = frame;
		w->next_mark *= 2;
	}
	return false;
}

/* Takes the frame w->frame. False when the walk is over. */
static __always_inline bool walk_frame(struct scratch *s, struct krait_stack_rec *stack)
{
	struct krait_layout *l = &s->layout;
	struct walk *w = &s->walk;
	__u64 code, instr;
	int at;

	if (!w->frame)
		return false;
	if (frame_is_seen(w, w->frame))
		return frame_fault(s, stack, KRAIT_FAULT_FRAME_CYCLE);
	at = window_locate(s, w->frame + l->fr_first_off);
	if (at < 0 || at > SINGLE_OFF)
		return frame_fault(s, stack, KRAIT_FAULT_FRAME_UNREADABLE);
	/* From 3.14 on the code is a tagged reference; objects are aligned, so the mask is right
	 * for all. */
	code = window_word(s, at, l->fr_code_off - l->fr_first_off) & ~7ULL;
	instr = window_word(s, at, l->fr_instr_off - l->fr_first_off);
	w->frame = window_word(s, at, l->fr_prev_off - l->fr_first_off);
	if (l->fr_owner_off != KRAIT_NO_OFF &&
	    (__u8)window_word(s, at, l->fr_owner_off - l->fr_first_off) >= l->shim_owner)
		return true;
	if (!code)
		return true;
	return frame_keep(s, stack, code, frame_unit(s, instr, code), 0);
}

/* Takes up to STEP_FRAMES frames. 0 to be called again, 1 when the walk is over. */
KRAIT_GLOBAL int walk_step(void)
{
	struct krait_stack_rec *stack = stack_get();
	struct scratch *s = scratch_get();

	if (!s || !stack)
		return 1;
	for (int i = 0; i < STEP_FRAMES; i++)
		if (!walk_frame(s, stack))
			return 1;
	return 0;
}

/* As many calls of walk_step as it takes, up to STEPS_CALLS. 0 to be called again, 1 when the walk
 * is over. */
KRAIT_GLOBAL int walk_steps(void)
{
	for (int i = 0; i < STEPS_CALLS; i++)
		if (walk_step())
			return 1;
	return 0;
}

/* Points the walk at the innermost frame of the thread state in s->ts. False if that could not be
 * read. */
static __always_inline bool walk_start(struct scratch *s)
{
	__u64 frame = ts_word(s, s->layout.ts_frame_off);

	/* 3.11 and 3.12 keep it one step away, in the _PyCFrame of the innermost C call of the
	 * interpreter. */
	if (frame && s->layout.ts_cframe_frame_off != KRAIT_NO_OFF &&
	    platform_read_user(&frame, sizeof(frame), frame + s->layout.ts_cframe_frame_off) != 0)
		return false;
	s->walk.frame = frame;
	return true;
}

/* Walks the stack of the thread state in s->ts into the CPU's STACK record. */
static __always_inline enum krait_loss walk_stack(struct scratch *s)
{
	struct walk *w = &s->walk;
	__u32 calls = max_depth * VISITS_PER_FRAME / (STEP_FRAMES * STEPS_CALLS) + 1;

	__builtin_memset(w, 0, sizeof(*w));
	w->hash = s->proc.seed;
	w->win_want = WINDOW_FIRST_BYTES;
	w->next_mark = 1;
	if (!walk_start(s))
		return KRAIT_LOSS_THREAD_UNREADABLE;
	if (!w->frame)
		return KRAIT_LOSS_NO_FRAME;
	if (s->layout.ts_chunk_off != KRAIT_NO_OFF)
		chunk_enter(w, ts_word(s, s->layout.ts_chunk_off));
	for (__u32 i = 0; i < calls; i++)
		if (walk_steps())
			break;
	if (w->frame && !w->fault && w->cnt)
		w->flags |= KRAIT_STACK_TRUNCATED;
	return w->cnt ? KRAIT_LOSS_NONE : KRAIT_LOSS_NO_FRAME;
}

#endif
