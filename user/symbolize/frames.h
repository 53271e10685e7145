/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames by number: functions, and lines in them, each there once, whatever process showed it.
 *
 * What a stack is made of, for who compares, counts and exports stacks. A frame's number is found
 * without its symbol where it was seen lately; the symbol of the others comes from symbolizer.h.
 */
#ifndef KRAIT_SYMBOLIZE_FRAMES_H
#define KRAIT_SYMBOLIZE_FRAMES_H

#include <stdint.h>

#include "bpf/abi/record.h"
#include "user/base/intern.h"
#include "user/symbolize/symbolizer.h" /* enum frame_kind */

/* A function: one code object's names. Marker frames ("[unreadable: ...]", "[outside of Python]",
 * "[truncated]", "<GC>") have file "" and first_line 0. */
struct profile_function {
	const char *name;   /* qualified name where the version has one, else the name */
	const char *file;   /* co_filename, whole; "" for a marker */
	int32_t first_line; /* co_firstlineno; 0 for a marker */
	enum frame_kind kind;
};

struct profile_frame {
	uint32_t function_idx;
	int32_t line; /* of the executing instruction; 0: the line table has none for it */
};

struct frames;

/* `in` is borrowed and must outlive it. NULL with errno set if there is no memory. */
struct frames *frames_new(struct intern *in);
void frames_free(struct frames *f);

/* Takes in a checked CODE record. The owner is as in symbolizer.h. 0 or -ENOMEM. */
int frames_add_code(struct frames *f, uint32_t owner, const struct krait_code_rec *rec);

/* Has `to`, which is new, know the code objects of these owners: symbolizer_move. 0 or -ENOMEM. */
int frames_move(struct frames *to, struct frames *from, const uint32_t *owners, uint32_t cnt);
/* The number in `to` of what has number `num` in `from`, or FRAME_NO_MEMORY. */
uint32_t frames_carry(struct frames *to, const struct frames *from, uint32_t num);

#define FRAME_NO_MEMORY UINT32_MAX
#define FRAME_HIDDEN (UINT32_MAX - 1) /* the interpreter's own: not to be shown */

/* The number of a frame of the owner's, or one of the two above. */
uint32_t frames_number(struct frames *f, uint32_t owner, const struct krait_frame *frame);
/* The number of a marker, or FRAME_NO_MEMORY. */
uint32_t frames_marker(struct frames *f, const char *name);

/* All of them so far; borrowed, until one more is added. */
struct frame_arrays {
	const struct profile_function *functions;
	const struct profile_frame *frames;
	uint32_t function_cnt, frame_cnt;
};

struct frame_arrays frames_arrays(const struct frames *f);

#endif
