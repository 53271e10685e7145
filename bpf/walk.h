/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Walking the frames of a thread state, innermost first, into a hash and the CPU's STACK record.
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

#include "bpf/absent.h"
#include "bpf/thread.h"

/*
 * Plain frames per step at most, and steps per call of walk_steps. The verifier walks through every
 * frame of a step and every call in the loops, so both are kept short, and the frame that ends the
 * plain ones is no matter of that loop: with an entry frame's proof in it the load took 20 ms
 * longer, and a tick no less.
 */
#define PLAIN_FRAMES 32
#define STEPS_CALLS 256
/* A thread state's size at most (3.12: 488); _PyCFrames lie on C stacks otherwise. */
#define ROOT_CFRAME_BYTES 1024
/* No chunk is smaller: Python/pystate.c, DATA_STACK_CHUNK_SIZE. */
#define CHUNK_MIN_BYTES 16384
/* At worst every frame is a step of its own (heap frames), and a shim stands between any two. */
#define STEPS_PER_FRAME 2
#define WALK_CALLS (KRAIT_MAX_DEPTH_LIMIT * STEPS_PER_FRAME / STEPS_CALLS + 1)

/* For frame_view.bytecode_off: from there no instruction in user space is within any code's range
 * (frame_unit). */
#define NO_BYTECODE_OFF (1ULL << 62)

extern __u32 max_depth;
extern KRAIT_CONFIG __u32 stack_room;

#ifndef KRAIT_HOST
static __always_inline struct krait_stack_rec *stack_get(struct scratch *s);
#endif

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
	w->chunk_is_read = true;
	return true;
}

static __always_inline bool chunk_has(const struct walk *w, __u64 frame)
{
	return frame >= w->chunk_lo && frame < w->chunk_hi;
}

/*
 * Whether the frame is in the current chunk or in the one below, which then becomes the current
 * one. The chunk only says how far down may be read at once, so a wrong answer costs a read and is
 * never a wrong frame.
 */
static __always_inline bool chunk_find(struct walk *w, __u64 frame)
{
	__u64 lo, hi, prev;

	if (chunk_has(w, frame))
		return true;
	if (!w->chunk_is_read && chunk_enter(w, w->chunk_lo) && chunk_has(w, frame))
		return true;
	lo = w->chunk_lo, hi = w->chunk_hi, prev = w->chunk_prev;
	if (chunk_enter(w, prev) && chunk_has(w, frame))
		return true;
	w->chunk_lo = lo;
	w->chunk_hi = hi;
	w->chunk_prev = prev;
	return false;
}

/* A mask of the byte at `off` in the word at `marks`, on a little-endian machine. */
static __always_inline __u64 mark_mask(__u32 off, __u32 marks)
{
	return 0xffULL << 8 * ((off - marks) & 7);
}

/* Makes `layout` the one that the scratch is about. */
static __always_inline void layout_use(struct scratch *s, const struct krait_layout *l)
{
	__u32 owner = l->has_shims ? l->fr_owner_off - (__u32)l->fr_first_off : 0;
	__u32 entry = l->has_cframe ? l->fr_entry_off - (__u32)l->fr_first_off : owner;
	__u32 marks = l->has_shims && owner < entry ? owner : entry;

	s->layout = *l;
	s->view = (struct frame_view){
		.first = l->fr_first_off,
		.need = l->fr_read_bytes,
		.code = l->fr_code_off - l->fr_first_off,
		.prev = l->fr_prev_off - l->fr_first_off,
		.instr = l->fr_instr_off - l->fr_first_off,
		.owner = owner,
		.entry = entry,
		.marks = marks,
		.shim_owner = l->has_shims ? l->shim_owner : 256,
		.shim_mask = l->has_shims ? mark_mask(owner, marks) : 0,
		.entry_mask = l->has_cframe ? mark_mask(entry, marks) : 0,
	};
}

/* Fills the window with what lies below and in the frame at `frame`. False if it is in no chunk or
 * can't be read. */
static __always_inline bool window_fill(struct scratch *s, __u64 frame, __u32 need)
{
	struct walk *w = &s->walk;
	__u64 end = frame + need;
	__u64 lo;
	__u32 n;

	if (!chunk_find(w, frame))
		return false;
	lo = end - WINDOW_BYTES;
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
	return true;
}

static __always_inline bool window_has(const struct walk *w, __u64 frame, __u32 need)
{
	return frame >= w->win_lo && frame - w->win_lo + need <= w->win_bytes;
}

/* The executing code unit, from the frame's instruction field. */
static __always_inline __s32 frame_unit(const struct scratch *s, __u64 instr, __u64 code)
{
	__s64 bytes;

	if (s->layout.instr_kind == KRAIT_INSTR_LASTI_UNITS)
		return (__s32)instr;
	if (s->layout.instr_kind == KRAIT_INSTR_LASTI_BYTES)
		return (__s32)instr >> 1;
	bytes = instr - code - s->walk.bytecode_off;
	/* Out of any code's range: a unit that no line table reaches, so it shows as [line
	 * unknown]. */
	if (bytes < -2 || bytes > 0x7ffffffe)
		return 0x7fffffff;
	/* cppcheck-suppress shiftNegativeLHS ; clang and gcc keep the sign */
	return bytes >> 1;
}

/* Counts a frame; false if the stack is full. The count stays in memory: the verifier would follow
 * each value of it. */
static __always_inline bool frame_count(struct walk *w, __u32 *i)
{
	*i = w->cnt;
	if (*i >= w->cnt_max) {
		w->flags |= KRAIT_STACK_TRUNCATED;
		return false;
	}
	w->cnt = *i + 1;
	return true;
}

static __always_inline void frame_keep(struct krait_stack_rec *stack, __u32 i, __u64 code,
				       __s32 unit, __u32 mark)
{
	struct krait_frame *frames = (struct krait_frame *)(stack + 1);

	keep_bounds(i);
	if (i >= stack_room)
		return;
	frames[i].code_id = code;
	frames[i].unit = unit;
	frames[i].mark = mark;
}

/* Ends the walk at a frame that can't be read, with a marker in its place. */
static __always_inline int frame_fault(struct walk *w, struct krait_stack_rec *stack, __u32 fault)
{
	__u32 i;

	w->fault = fault;
	w->hash = mix64(w->hash ^ fault);
	if (frame_count(w, &i) && stack)
		frame_keep(stack, i, 0, 0, fault);
	return 1;
}

/* What a frame adds to the hash. One multiplication waits for the frame before; the other one does
 * not. */
static __always_inline __u64 frame_hash(__u64 hash, __u64 code, __u64 instr)
{
	hash = (hash ^ code ^ instr * 0xbf58476d1ce4e5b9ULL) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

/* The code is a tagged reference from 3.14 on; objects are aligned, so the mask is right for all.
 */
static __always_inline __u64 frame_code(const __u8 *field)
{
	return word_at(field) & ~7ULL;
}

/*
 * Takes any frame, whose fields lie at s->window + at, and moves on to its caller. 1 when the walk
 * is over: the stack is full, the walk began at a stale frame, or this is the outermost one.
 */
static __always_inline int frame_take(struct scratch *s, const struct frame_view *v,
				      struct krait_stack_rec *stack, __u32 at)
{
	const __u8 *fields = s->window + at;
	__u64 code = frame_code(fields + v->code), instr = word_at(fields + v->instr);
	struct walk *w = &s->walk;
	__u32 i;

	w->frame = word_at(fields + v->prev);
	if (w->entry == ENTRY_UNPROVEN && fields[v->entry] >= s->layout.fr_entry_min) {
		w->entry = w->frame == w->entry_from ? ENTRY_PROVEN : ENTRY_STALE;
		if (w->entry == ENTRY_STALE)
			return 1;
	}
	if (fields[v->owner] < s->view.shim_owner && code) {
		w->hash = frame_hash(w->hash, code, instr);
		if (!frame_count(w, &i))
			return 1;
		if (stack)
			frame_keep(stack, i, code, frame_unit(s, instr, code), 0);
	}
	return !w->frame;
}

/*
 * Takes the plain frames that follow in the window, a step's worth of them: those that have no
 * mark, only go into the hash and surely have room. Each instruction here is paid for once per
 * frame, so what a frame changes is in locals. What is only compared comes from the scratch: of a
 * local the verifier remembers how it compared, as another state for each outcome.
 */
static __always_inline void frames_take_plain(struct scratch *s, const struct frame_view *v)
{
	struct walk *w = &s->walk;
	/* Pointers, as one addition less per field. */
	const __u8 *codes = s->window + v->code, *marks = s->window + v->marks;
	const __u8 *instrs = s->window + v->instr, *prevs = s->window + v->prev;
	__u64 frame = w->frame, hash = w->hash, lo = w->win_lo - v->first;
	__u64 last = w->win_bytes - v->need;
	__u32 i;

	if (w->is_kept || w->cnt_max - w->cnt < PLAIN_FRAMES)
		return;
	w->odd_marks = s->view.shim_mask;
	if (w->entry == ENTRY_UNPROVEN)
		w->odd_marks |= s->view.entry_mask;
	keep_bounds(codes);
	keep_bounds(marks);
	keep_bounds(instrs);
	keep_bounds(prevs);
	for (i = 0; i < PLAIN_FRAMES; i++) {
		__u64 at = frame - lo, code;

		if (at > last)
			break;
		keep_bounds(at);
		at &= WINDOW_BYTES - 1; /* as it is: for the verifier */
		code = frame_code(codes + at);
		if (!code || word_at(marks + at) & w->odd_marks)
			break;
		hash = frame_hash(hash, code, word_at(instrs + at));
		frame = word_at(prevs + at);
		keep_bounds(i);
	}
	w->frame = frame;
	w->hash = hash;
	w->cnt += i;
}

/*
 * Brent's test for a list that goes in a circle, at the frame that a step starts with: the tortoise
 * sits still for 2^k steps, and a step that meets it has been there before.
 */
static __always_inline bool walk_goes_round(struct walk *w)
{
	if (w->frame == w->tortoise)
		return true;
	if (++w->step_cnt == w->next_mark) {
		w->tortoise = w->frame;
		w->next_mark *= 2;
	}
	return false;
}

/*
 * How far from its code object the bytecode lies that the frame runs, which is at s->window +
 * SINGLE_OFF. Free-threaded, from 3.14 on, each thread runs a copy of its own, and the first of all
 * is the one in the code object: Include/cpython/code.h, _PyCodeArray {size, entries[]};
 * Include/internal/pycore_interpframe.h, _PyFrame_GetBytecode. NO_BYTECODE_OFF if the copy can't be
 * found; also in the instant in which a frame changes its copy, its instruction lies in none of
 * that one: both show as [line unknown].
 */
static __always_inline __u64 frame_bytecode_off(const struct scratch *s, const struct frame_view *v)
{
	const __u8 *fields = s->window + SINGLE_OFF;
	__u32 tlbc = (s->layout.fr_tlbc_off - v->first) & (FRAME_BYTES - 1);
	__u64 code = frame_code(fields + v->code);
	__u32 idx = word_at(fields + tlbc);
	__u64 copies, size, base;

	if (!idx)
		return s->layout.co_bytecode_off;
	if (platform_read_user(&copies, 8, code + s->layout.co_tlbc_off) != 0 ||
	    platform_read_user(&size, 8, copies) != 0 || idx >= size ||
	    platform_read_user(&base, 8, copies + 8 + 8ULL * idx) != 0 || !base)
		return NO_BYTECODE_OFF;
	return base - code;
}

/* Reads the next frame by itself, to s->window + SINGLE_OFF. */
static __always_inline bool frame_read(struct scratch *s, const struct frame_view *v)
{
	if (platform_read_user(s->window + SINGLE_OFF, v->need, s->walk.frame + v->first) != 0)
		return false;
	if (s->walk.is_kept && s->layout.has_tlbc)
		s->walk.bytecode_off = frame_bytecode_off(s, v);
	return true;
}

/* Takes one or some frames. 0 to be called again, 1 when the walk is over. */
KRAIT_GLOBAL int walk_step(struct scratch *s)
{
	struct krait_stack_rec *stack = NULL;
	struct frame_view v;
	__u64 first;
	__u32 at = SINGLE_OFF;

	if (!s || !s->walk.frame)
		return 1;
	if (s->walk.is_kept) {
		stack = stack_get(s);
		if (!stack)
			return 1;
	}
	if (walk_goes_round(&s->walk))
		return frame_fault(&s->walk, stack, KRAIT_FAULT_FRAME_CYCLE);
	v = s->view;
	/* They are in range; the verifier has to see it. */
	v.need &= FRAME_BYTES - 1;
	v.code &= FRAME_BYTES - 1;
	v.prev &= FRAME_BYTES - 1;
	v.instr &= FRAME_BYTES - 1;
	v.owner &= FRAME_BYTES - 1;
	v.entry &= FRAME_BYTES - 1;
	v.marks &= FRAME_BYTES - 1;
	first = s->walk.frame + v.first;
	if (window_has(&s->walk, first, v.need) || window_fill(s, first, v.need)) {
		frames_take_plain(s, &v);
		first = s->walk.frame + v.first;
		if (!s->walk.frame || !window_has(&s->walk, first, v.need))
			return !s->walk.frame;
		at = first - s->walk.win_lo;
	} else if (!frame_read(s, &v)) {
		absent_tell(s, s->walk.frame, 0);
		return frame_fault(&s->walk, stack, KRAIT_FAULT_FRAME_UNREADABLE);
	}
	keep_bounds(at);
	if (at > SINGLE_OFF) /* it is not: for the verifier */
		return 1;
	return frame_take(s, &v, stack, at);
}

/* As many calls of walk_step as it takes, up to STEPS_CALLS. 0 to be called again, 1 when the walk
 * is over. */
KRAIT_GLOBAL int walk_steps(struct scratch *s)
{
	if (!s)
		return 1;
	for (int i = 0; i < STEPS_CALLS; i++)
		if (walk_step(s))
			return 1;
	return 0;
}

/* Walks from `frame` on, as far as it goes; below a marker, if `mark` is the fault of what should
 * be there. */
static __always_inline void walk_from(struct scratch *s, __u64 frame, __u32 mark)
{
	struct walk *w = &s->walk;

	w->frame = frame;
	w->hash = proc_of(s)->seed;
	w->tortoise = w->step_cnt = w->cnt = w->flags = 0;
	w->next_mark = 1;
	if (mark)
		frame_fault(w, w->is_kept ? stack_get(s) : NULL, mark);
	w->fault = 0;
	/* Shims alone, on a page each, would otherwise take 11 ms: nothing but a step counts them.
	 */
	for (__u32 i = 0; i < WALK_CALLS && i * STEPS_CALLS <= STEPS_PER_FRAME * w->cnt_max; i++)
		if (walk_steps(s))
			break;
	if (w->frame && !w->fault && w->cnt)
		w->flags |= KRAIT_STACK_TRUNCATED;
}

/* Where the first entry frame must lead. False if that could not be read. */
static __always_inline bool entry_expect(struct scratch *s)
{
	struct walk *w = &s->walk;

	w->entry = ENTRY_PROVEN;
	if (!s->cframe_prev)
		return true;
	w->entry = ENTRY_UNPROVEN;
	/* The first _PyCFrame is a part of the thread state, and its frame is NULL for ever:
	 * Python/pystate.c. */
	if (s->cframe_prev - s->tstate < ROOT_CFRAME_BYTES)
		return true;
	return platform_read_user(&w->entry_from, sizeof(w->entry_from),
				  s->cframe_prev + s->layout.ts_cframe_frame_off) == 0;
}

/*
 * Whether the walk began at a stale frame: it came to an entry frame that leads elsewhere, or to
 * none. (What an earlier call left may also go in a circle; what runs does not.) A stack that was
 * cut at --max-depth did not come that far and is believed.
 */
static __always_inline bool walk_was_stale(const struct walk *w)
{
	if (w->entry != ENTRY_UNPROVEN)
		return w->entry == ENTRY_STALE;
	return w->fault != KRAIT_FAULT_FRAME_UNREADABLE && !(w->flags & KRAIT_STACK_TRUNCATED);
}

/*
 * Walks the stack of the thread state in s->ts, from s->frame on: into a hash, and if it is to be
 * kept, into the CPU's STACK record. Mostly the stack is known by its hash, and the record's memory
 * and the stores are saved.
 */
static __always_inline enum krait_loss walk_stack(struct scratch *s, bool is_kept)
{
	struct walk *w = &s->walk;

	if (!s->frame)
		return KRAIT_LOSS_NO_FRAME;
	w->is_kept = is_kept;
	w->cnt = 0;
	w->cnt_max = max_depth;
	w->bytecode_off = s->layout.co_bytecode_off;
	w->win_bytes = 0;
	w->entry_from = 0;
	w->chunk_lo = w->chunk_hi = w->chunk_prev = 0;
	w->chunk_is_read = false;
	if (!entry_expect(s))
		return KRAIT_LOSS_THREAD_UNREADABLE;
	/* Frames whose bytecode must be found are read one by one, for it is too much to do within
	 * a step through the window; the hash needs none of it, an instruction's address tells its
	 * copy. */
	if (s->layout.has_chunks && !(is_kept && s->layout.has_tlbc)) {
		w->chunk_lo = ts_word(s, s->layout.ts_chunk_off);
		w->chunk_hi = w->chunk_lo + CHUNK_MIN_BYTES;
	}
	walk_from(s, s->frame, 0);
	if (walk_was_stale(w)) {
		/*
		 * The call has not begun: what called it is what runs. Where nothing did, this may
		 * also be the moment in which 3.12 suspends a generator, whose frame has lost its
		 * way to the callers already (Python/bytecodes.c, YIELD_VALUE): that is no idle
		 * thread, but a sample that can't be had.
		 */
		w->entry = ENTRY_PROVEN;
		walk_from(s, w->entry_from, 0);
		if (!w->cnt)
			return KRAIT_LOSS_THREAD_UNREADABLE;
	} else if (w->entry == ENTRY_UNPROVEN && w->fault) {
		/* Stale, or not resident; a marker stands for the frames of this call then. If
		 * nothing called it, nothing at all is known. */
		if (!w->entry_from)
			return KRAIT_LOSS_THREAD_UNREADABLE;
		w->entry = ENTRY_PROVEN;
		walk_from(s, w->entry_from, w->fault);
	}
	return w->cnt ? KRAIT_LOSS_NONE : KRAIT_LOSS_NO_FRAME;
}

#endif
