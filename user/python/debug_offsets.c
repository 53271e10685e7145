/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fields' places differ by minor version, so there is a column for each. Sources:
 *   3.13  Include/internal/pycore_runtime.h, struct _Py_DebugOffsets
 *   3.14, 3.15  Include/internal/pycore_debug_offsets.h
 * (3.15 as released; its alphas, and betas before last_profiled_frame_seq came in, differ and are
 * refused.) tests/layouts fills the struct through the interpreters' own headers, and compares.
 *
 * A value is taken only if the field it places lies, aligned, within the size that the same table
 * gives for its struct, and that size is one that can be.
 */
#include "user/python/debug_offsets.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "user/python/pyversion.h"

#define COOKIE "xdebugpy" /* _Py_Debug_Cookie */
#define VERSION_POS 8
#define FREE_THREADED_POS 16
#define MINOR_FIRST 13
#define MINORS 3
/* Largest structs: PyInterpreterState 226,232 and _PyRuntimeState 346,560 bytes in 3.15.2. */
#define BIG_STRUCT_MAX (16u << 20)
#define STRUCT_MAX 4096 /* the rest: the largest is PyThreadState, 888 bytes in 3.15.2 */

/* A size in the table, and what it may be at most. */
enum group { RUNTIME, INTERP, THREAD, FRAME, CODE, OBJECT, TYPE, BYTES, STR, GROUP_CNT };

static const struct {
	uint16_t pos[MINORS];
	uint32_t max;
} groups[GROUP_CNT] = {
	[RUNTIME] = {{24, 24, 24}, BIG_STRUCT_MAX}, [INTERP] = {{48, 48, 48}, BIG_STRUCT_MAX},
	[THREAD] = {{152, 176, 176}, STRUCT_MAX},   [FRAME] = {{224, 248, 312}, STRUCT_MAX},
	[CODE] = {{272, 312, 376}, STRUCT_MAX},	    [OBJECT] = {{352, 400, 464}, STRUCT_MAX},
	[TYPE] = {{368, 416, 480}, STRUCT_MAX},	    [BYTES] = {{512, 592, 688}, STRUCT_MAX},
	[STR] = {{536, 616, 712}, STRUCT_MAX},
};

/* What is taken: where its offset stands in the table, its size in the target, where it goes. */
struct field {
	uint16_t pos[MINORS]; /* 0: this version does not have it */
	uint8_t group;
	uint8_t bytes; /* of the field; also its alignment */
	bool is_u32;   /* the goal's type: u32, or u16 */
	uint16_t goal; /* offset in struct py_layout */
};

#define U16(member) .goal = offsetof(struct py_layout, member)
#define U32(member) .is_u32 = true, .goal = offsetof(struct py_layout, member)

static const struct field fields[] = {
	{{40, 40, 40}, RUNTIME, 8, U32(interp_head_off)},
	{{64, 64, 64}, INTERP, 8, U32(walk.interp_next_off)},
	{{56, 56, 56}, INTERP, 8, U16(walk.interp_id_off)},
	{{72, 72, 72}, INTERP, 8, U32(walk.interp_threads_off)},
	{{88, 96, 96}, INTERP, 8, U32(interp_modules_off)},
	{{112, 120, 0}, INTERP, 8, U16(walk.interp_gil_off)},
	{{160, 184, 184}, THREAD, 8, U16(walk.ts_prev_off)},
	{{168, 192, 192}, THREAD, 8, U16(walk.ts_next_off)},
	{{176, 200, 200}, THREAD, 8, U16(walk.ts_interp_off)},
	{{184, 208, 208}, THREAD, 8, U16(walk.ts_frame_off)},
	{{0, 0, 216}, THREAD, 8, U16(walk.ts_base_frame_off)},
	{{192, 216, 240}, THREAD, 8, U16(walk.ts_thread_id_off)},
	{{200, 224, 248}, THREAD, 8, U16(walk.ts_native_id_off)},
	{{208, 232, 256}, THREAD, 8, U16(walk.ts_chunk_off)},
	{{232, 256, 320}, FRAME, 8, U16(walk.fr_prev_off)},
	{{240, 264, 328}, FRAME, 8, U16(walk.fr_code_off)},
	{{248, 272, 336}, FRAME, 8, U16(walk.fr_instr_off)},
	{{264, 288, 352}, FRAME, 1, U16(walk.fr_owner_off)},
	{{280, 320, 384}, CODE, 8, U16(walk.co_file_off)},
	{{288, 328, 392}, CODE, 8, U16(walk.co_name_off)},
	{{296, 336, 400}, CODE, 8, U16(walk.co_qualname_off)},
	{{304, 344, 408}, CODE, 8, U16(walk.co_lines_off)},
	{{312, 352, 416}, CODE, 4, U16(walk.co_first_line_off)},
	{{344, 384, 448}, CODE, 2, U16(walk.co_bytecode_off)},
	{{360, 408, 472}, OBJECT, 8, U16(walk.ob_type_off)},
	{{376, 424, 488}, TYPE, 8, U16(tp_name_off)},
	{{520, 600, 696}, BYTES, 8, U16(walk.bytes_size_off)},
	{{528, 608, 704}, BYTES, 1, U16(walk.bytes_data_off)},
	{{544, 624, 720}, STR, 4, U16(walk.str_state_off)},
	{{552, 632, 728}, STR, 8, U16(walk.str_length_off)},
};

/* Free-threaded, from 3.14 on each thread runs a copy of the bytecode: has_tlbc. */
static const struct field tlbc_fields[] = {
	{{0, 304, 368}, FRAME, 4, U16(walk.fr_tlbc_off)},
	{{0, 392, 456}, CODE, 8, U16(walk.co_tlbc_off)},
};
#define FIELDS(table) table, sizeof(table) / sizeof((table)[0])

/* interpreter_state.gc and gc.collecting in it; .gil_runtime_state and its last_holder, which are
 * places of the interpreter's own GIL: it may share the one of another. */
static const uint16_t gc_pos[MINORS] = {80, 88, 88}, collecting_pos[MINORS] = {576, 656, 760};
static const uint16_t gil_pos[MINORS] = {120, 128}, holder_pos[MINORS] = {144, 152};
/* From 3.15 on gc.frame tells the collector, and the GIL is not asked. */
static const uint16_t gc_frame_pos[MINORS] = {0, 0, 768};
/* What no table has: free-threaded, stoptheworld.requester, which is only compared with the
 * thread's own state: pycore_interp.h of 3.13.5, pycore_interp_structs.h of 3.14.10. And
 * gc.generation_stats, which ends where gc.collecting starts: three struct gc_generation_stats of
 * three words, pycore_gc.h and pycore_interp_structs.h. */
static const uint16_t requester_off[MINORS] = {10760, 10864};
#define GC_STATS_BYTES 72
#define BASE_FRAME_COL 2   /* 3.15 */
#define GIL_STRUCT_MAX 512 /* struct _gil_runtime_state: 208 bytes in 3.15.2 */

#define FINALIZING_POS 32    /* runtime_state.finalizing: all three versions */
#define ASCII_SIZE_POS_IDX 3 /* unicode_object: size, state, length, asciiobject_size */

static uint64_t word(const void *bytes, size_t pos)
{
	uint64_t v;

	memcpy(&v, (const char *)bytes + pos, sizeof(v));
	return v;
}

uint32_t debug_offsets_version(const void *bytes)
{
	uint64_t version = word(bytes, VERSION_POS);

	if (memcmp(bytes, COOKIE, 8) || version > UINT32_MAX)
		return 0;
	return version;
}

static bool take_field(const void *bytes, int col, const struct field *f, struct py_layout *out)
{
	uint64_t off = word(bytes, f->pos[col]), size = word(bytes, groups[f->group].pos[col]);
	char *goal = (char *)out + f->goal;

	if (size > groups[f->group].max || off > size || f->bytes > size - off || off % f->bytes)
		return false;
	if (!f->is_u32 && off > UINT16_MAX) /* of PyInterpreterState, which is that large */
		return false;
	if (f->is_u32)
		memcpy(goal, &(uint32_t){off}, sizeof(uint32_t));
	else
		memcpy(goal, &(uint16_t){off}, sizeof(uint16_t));
	return true;
}

static bool take_fields(const void *bytes, int col, const struct field *table, size_t cnt,
			struct py_layout *out)
{
	for (size_t i = 0; i < cnt; i++) {
		if (table[i].pos[col] && !take_field(bytes, col, &table[i], out))
			return false;
	}
	return true;
}

/*
 * PyASCIIObject.state starts with interned, which takes two bits, but a byte of its own where it is
 * written without a GIL: cpython/unicodeobject.h, 3.14 on. (The free-threaded 3.13 has two bits.)
 */
static bool take_free_threaded(const void *bytes, int col, struct py_layout *out)
{
	uint64_t flag = word(bytes, FREE_THREADED_POS);

	out->walk.str_kind_shift = 2;
	if (!flag || col == 0)
		return flag <= 1;
	out->walk.str_kind_shift = 8;
	out->walk.has_tlbc = 1;
	return flag == 1 && take_fields(bytes, col, FIELDS(tlbc_fields), out) &&
	       out->walk.fr_tlbc_off && out->walk.co_tlbc_off;
}

/* The header sizes of str objects: these are ends of structs, not places in them. */
static bool take_str_sizes(const void *bytes, int col, struct krait_layout *walk)
{
	uint64_t ascii = word(bytes, groups[STR].pos[col] + 8 * ASCII_SIZE_POS_IDX);

	if (ascii > 256 || ascii % 8 || ascii < walk->str_state_off + 4u ||
	    ascii < walk->str_length_off + 8u)
		return false;
	walk->str_ascii_bytes = ascii;
	/* PyCompactUnicodeObject adds utf8_length and utf8: cpython/unicodeobject.h, 3.12 on. */
	walk->str_compact_bytes = ascii + 16;
	return true;
}

/* A field at `off` of what lies at `base` in the interpreter: its place there. Negative if it can't
 * be. */
static int64_t place_in_interp(const void *bytes, int col, uint64_t base, uint64_t off,
			       unsigned int size)
{
	uint64_t max = word(bytes, groups[INTERP].pos[col]);

	if (base > UINT16_MAX || off > UINT16_MAX - base || base + off + size > max ||
	    (base + off) % size)
		return -1;
	return base + off;
}

static bool take_gc_frame(const void *bytes, int col, struct krait_layout *walk)
{
	int64_t frame = place_in_interp(bytes, col, word(bytes, gc_pos[col]),
					word(bytes, gc_frame_pos[col]), 8);

	walk->collector_kind = KRAIT_COLLECTOR_FRAME;
	walk->interp_gc_frame_off = frame;
	return frame > 0;
}

static bool take_requester(const void *bytes, int col, struct krait_layout *walk)
{
	int64_t stats = place_in_interp(bytes, col, word(bytes, gc_pos[col]),
					word(bytes, collecting_pos[col]) - GC_STATS_BYTES, 8);

	walk->collector_kind = KRAIT_COLLECTOR_STOPPER;
	walk->interp_gil_off = requester_off[col];
	walk->interp_gc_stats_off = stats;
	return stats > 0;
}

static bool take_gil_holder(const void *bytes, int col, struct krait_layout *walk)
{
	uint64_t gil = word(bytes, gil_pos[col]), holder = word(bytes, holder_pos[col]) - gil;

	walk->collector_kind = KRAIT_COLLECTOR_GIL;
	walk->gil_holder_off = holder;
	return gil <= BIG_STRUCT_MAX && holder <= GIL_STRUCT_MAX && holder % 8 == 0;
}

/* How to tell that a thread collects garbage: that its interpreter does, and which thread it is.
 * False if it can't be so. */
static bool take_collecting(const void *bytes, int col, struct krait_layout *walk)
{
	uint64_t gc = word(bytes, gc_pos[col]);
	int64_t collecting = place_in_interp(bytes, col, gc, word(bytes, collecting_pos[col]), 4);

	walk->interp_collecting_off = collecting;
	if (collecting < 0)
		return false;
	if (gc_frame_pos[col])
		return take_gc_frame(bytes, col, walk);
	if (word(bytes, FREE_THREADED_POS))
		return take_requester(bytes, col, walk);
	return take_gil_holder(bytes, col, walk);
}

/*
 * The table does not place the flag `initialized`; it is the last of the ints before _finalizing, a
 * pointer, with four bytes of padding between: pycore_runtime.h 3.13, pycore_runtime_structs.h.
 */
static bool take_initialized(const void *bytes, struct py_layout *out)
{
	uint64_t finalizing = word(bytes, FINALIZING_POS);

	if (finalizing < DEBUG_OFFSETS_HEAD_BYTES || finalizing > BIG_STRUCT_MAX || finalizing % 8)
		return false;
	out->initialized_off = finalizing - 8;
	return true;
}

int debug_offsets_parse(const void *bytes, struct py_layout *out, const char **why)
{
	uint32_t version = debug_offsets_version(bytes);
	int col = (int)pyversion_minor(version) - MINOR_FIRST;
	struct krait_layout *walk = &out->walk;

	memset(out, 0, sizeof(*out));
	if (pyversion_major(version) != 3 || col < 0 || col >= MINORS) {
		*why = "its debug offsets are of a version that krait does not know";
		return -ENOTSUP;
	}
	if (!take_fields(bytes, col, FIELDS(fields), out) || !take_str_sizes(bytes, col, walk) ||
	    !take_collecting(bytes, col, walk) || !take_initialized(bytes, out) ||
	    !take_free_threaded(bytes, col, out)) {
		*why = "its debug offsets hold values that cannot be";
		return -ENOTSUP;
	}
	walk->has_prev = walk->has_interp_id = walk->has_native_id = walk->interp_collects = 1;
	walk->has_chunks = walk->has_shims = walk->has_qualname = 1;
	walk->has_base_frame = col >= BASE_FRAME_COL;
	walk->runner_kind = KRAIT_RUNNER_ID;
	/* FRAME_OWNED_BY_CSTACK in 3.13, FRAME_OWNED_BY_INTERPRETER from 3.14: pycore_frame.h,
	 * pycore_interpframe_structs.h. */
	walk->shim_owner = 3;
	walk->instr_kind = KRAIT_INSTR_PTR;
	walk->lines_kind = KRAIT_LINES_PEP657;
	layout_set_spans(walk);
	return 0;
}
