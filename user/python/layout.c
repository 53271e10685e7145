/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The offsets of CPython 2.7 and 3.6 to 3.12, LP64.
 *
 * Source of each row: the headers of the release named in it, under Include/:
 *   2.7   pystate.h, frameobject.h, code.h, stringobject.h
 *   3.6   pystate.h, frameobject.h, code.h
 *   3.7   internal/pystate.h (_PyRuntimeState), pystate.h, frameobject.h, code.h
 *   3.8   internal/pycore_pystate.h (_PyRuntimeState, struct _is), cpython/pystate.h (struct _ts),
 *         frameobject.h, code.h
 *   3.9   internal/pycore_runtime.h, internal/pycore_interp.h, cpython/{pystate,frameobject,code}.h
 *   3.10  the same files
 *   3.11  also internal/pycore_frame.h (_PyInterpreterFrame); _PyCFrame is in cpython/pystate.h
 *   3.12  the same files
 * and for all: object.h, cpython/{object,unicodeobject,bytesobject}.h. Within a minor version these
 * structs have kept their layout in every final release that tests/layouts was run against.
 */
#include "user/python/layout.h"

#include <stddef.h>

/* PyObject and PyVarObject, object.h: the same in every version without Py_TRACE_REFS. */
#define OBJECT_FIELDS .ob_type_off = 8, .bytes_size_off = 16, .bytes_data_off = 32
/* PyASCIIObject, PyCompactUnicodeObject: unicodeobject.h. 3.12 dropped wstr and wstr_length. */
#define STR_FIELDS_WSTR                                                                            \
	.str_length_off = 16, .str_state_off = 32, .str_kind_shift = 2, .str_ascii_bytes = 48,     \
	.str_compact_bytes = 72
#define STR_FIELDS                                                                                 \
	.str_length_off = 16, .str_state_off = 32, .str_kind_shift = 2, .str_ascii_bytes = 40,     \
	.str_compact_bytes = 56
/* struct _ts: the list links come first since 3.4. */
#define THREAD_LINKS .has_prev = 1, .ts_prev_off = 0, .ts_next_off = 8, .ts_interp_off = 16
/* PyCodeObject of 3.6 and 3.7: code.h. */
#define CODE_FIELDS_37                                                                             \
	.co_first_line_off = 36, .co_file_off = 96, .co_name_off = 104, .co_lines_off = 112
/*
 * 3.8 to 3.10, where co_posonlyargcount pushes the rest on: code.h, cpython/code.h. co_lnotab, in
 * 3.10 co_linetable, is at 120.
 */
#define CODE_FIELDS_LNOTAB                                                                         \
	.co_first_line_off = 40, .co_file_off = 104, .co_name_off = 112, .co_lines_off = 120
/* Frames that are objects on the heap: PyFrameObject, frameobject.h. */
#define HEAP_FRAMES .fr_prev_off = 24, .fr_code_off = 32

/* PyThreadState has no link back, and those of threads that a fork has not taken along stay, up to
 * 3.3 (Python/ceval.c, PyEval_ReInitThreads); f_lasti is in bytes, any of which an instruction may
 * lie at. */
static const struct py_layout layout_27 = {
	.walk = {.interp_next_off = 0,
		 .interp_threads_off = 8,
		 .collector_kind = KRAIT_COLLECTOR_CURRENT,
		 .fork_keeps_states = 1,
		 .ts_next_off = 0,
		 .ts_interp_off = 8,
		 .ts_frame_off = 16,
		 .ts_thread_id_off = 144,
		 .runner_kind = KRAIT_RUNNER_ID,
		 .ts_read_bytes = 152,
		 HEAP_FRAMES,
		 .fr_first_off = 24,
		 .fr_instr_off = 120,
		 .fr_read_bytes = 100,
		 .instr_kind = KRAIT_INSTR_LASTI_UNITS,
		 .co_first_line_off = 96,
		 .co_file_off = 80,
		 .co_name_off = 88,
		 .co_lines_off = 104,
		 .co_read_bytes = 112,
		 .lines_kind = KRAIT_LINES_LNOTAB_UNSIGNED,
		 .ob_type_off = 8,
		 /* PyStringObject: {ob_size, ob_shash, ob_sstate, ob_sval} from 16 on. */
		 .bytes_size_off = 16,
		 .bytes_data_off = 36,
		 .str_length_off = 16,
		 .str_state_off = 16,
		 .str_ascii_bytes = 36,
		 .str_compact_bytes = 36,
		 .names_are_bytes = 1},
	.interp_modules_off = 16,
	.tp_name_off = 24,
};

/* By the minor version of 3. */
static const struct py_layout layouts[] = {
	[6] = {.walk = {.interp_next_off = 0,
			.interp_threads_off = 8,
			.collector_kind = KRAIT_COLLECTOR_CURRENT,
			THREAD_LINKS,
			.ts_frame_off = 24,
			.ts_thread_id_off = 152,
			.runner_kind = KRAIT_RUNNER_ID,
			.ts_read_bytes = 160,
			HEAP_FRAMES,
			.fr_first_off = 24,
			.fr_instr_off = 120,
			.fr_read_bytes = 100,
			.instr_kind = KRAIT_INSTR_LASTI_BYTES,
			CODE_FIELDS_37,
			.co_read_bytes = 120,
			.lines_kind = KRAIT_LINES_LNOTAB,
			OBJECT_FIELDS,
			STR_FIELDS_WSTR},
	       .interp_modules_off = 16,
	       .tp_name_off = 24},
	[7] = {.walk = {.interp_next_off = 0,
			.interp_threads_off = 8,
			.has_interp_id = 1,
			.interp_id_off = 16,
			.collector_kind = KRAIT_COLLECTOR_CURRENT,
			THREAD_LINKS,
			.ts_frame_off = 24,
			.ts_thread_id_off = 176,
			.runner_kind = KRAIT_RUNNER_ID,
			.ts_read_bytes = 184,
			HEAP_FRAMES,
			.fr_first_off = 24,
			.fr_instr_off = 104,
			.fr_read_bytes = 84,
			.instr_kind = KRAIT_INSTR_LASTI_BYTES,
			CODE_FIELDS_37,
			.co_read_bytes = 120,
			.lines_kind = KRAIT_LINES_LNOTAB,
			OBJECT_FIELDS,
			STR_FIELDS_WSTR},
	       .interp_head_off = 24,
	       .current_off = 1480,
	       .collecting_off = 632,
	       .initialized_off = 0,
	       .interp_modules_off = 40,
	       .tp_name_off = 24},
	[8] = {.walk = {.interp_next_off = 0,
			.interp_threads_off = 8,
			.has_interp_id = 1,
			.interp_id_off = 16,
			.collector_kind = KRAIT_COLLECTOR_CURRENT,
			THREAD_LINKS,
			.ts_frame_off = 24,
			.ts_thread_id_off = 176,
			.runner_kind = KRAIT_RUNNER_LOOP,
			.ts_read_bytes = 184,
			HEAP_FRAMES,
			.fr_first_off = 24,
			.fr_instr_off = 104,
			.fr_read_bytes = 84,
			.instr_kind = KRAIT_INSTR_LASTI_BYTES,
			CODE_FIELDS_LNOTAB,
			.co_read_bytes = 128,
			.lines_kind = KRAIT_LINES_LNOTAB,
			OBJECT_FIELDS,
			STR_FIELDS_WSTR},
	       .interp_head_off = 32,
	       .current_off = 1368,
	       .collecting_off = 544,
	       .initialized_off = 12,
	       .interp_modules_off = 56,
	       .tp_name_off = 24},
	[9] = {.walk = {.interp_next_off = 0,
			.interp_threads_off = 8,
			.has_interp_id = 1,
			.interp_id_off = 24,
			.interp_collects = 1,
			.interp_collecting_off = 816,
			.collector_kind = KRAIT_COLLECTOR_CURRENT,
			THREAD_LINKS,
			.ts_frame_off = 24,
			.ts_thread_id_off = 176,
			.runner_kind = KRAIT_RUNNER_LOOP,
			.ts_read_bytes = 184,
			HEAP_FRAMES,
			.fr_first_off = 24,
			.fr_instr_off = 104,
			.fr_read_bytes = 84,
			.instr_kind = KRAIT_INSTR_LASTI_BYTES,
			CODE_FIELDS_LNOTAB,
			.co_read_bytes = 128,
			.lines_kind = KRAIT_LINES_LNOTAB,
			OBJECT_FIELDS,
			STR_FIELDS_WSTR},
	       .interp_head_off = 32,
	       .current_off = 568,
	       .initialized_off = 12,
	       .interp_modules_off = 856,
	       .tp_name_off = 24},
	[10] = {.walk = {.interp_next_off = 0,
			 .interp_threads_off = 8,
			 .has_interp_id = 1,
			 .interp_id_off = 24,
			 .interp_collects = 1,
			 .interp_collecting_off = 816,
			 .collector_kind = KRAIT_COLLECTOR_CURRENT,
			 THREAD_LINKS,
			 .ts_frame_off = 24,
			 .ts_thread_id_off = 176,
			 .runner_kind = KRAIT_RUNNER_STACK,
			 .ts_stack_off = 48, /* cframe */
			 .ts_read_bytes = 184,
			 HEAP_FRAMES,
			 .fr_first_off = 24,
			 .fr_instr_off = 96,
			 .fr_read_bytes = 76,
			 .instr_kind = KRAIT_INSTR_LASTI_UNITS,
			 CODE_FIELDS_LNOTAB,
			 .co_read_bytes = 128,
			 .lines_kind = KRAIT_LINES_PEP626,
			 OBJECT_FIELDS,
			 STR_FIELDS_WSTR},
		.interp_head_off = 32,
		.current_off = 568,
		.initialized_off = 12,
		.interp_modules_off = 856,
		.tp_name_off = 24},
	[11] = {.walk = {.interp_next_off = 0,
			 .interp_threads_off = 16,
			 .has_interp_id = 1,
			 .interp_id_off = 48,
			 .interp_collects = 1,
			 .interp_collecting_off = 848,
			 .collector_kind = KRAIT_COLLECTOR_CURRENT,
			 THREAD_LINKS,
			 .ts_thread_id_off = 152,
			 .has_native_id = 1,
			 .ts_native_id_off = 160,
			 .ts_frame_off = 56,
			 .has_cframe = 1,
			 .ts_cframe_frame_off = 8,
			 .ts_cframe_prev_off = 16,
			 .has_chunks = 1,
			 .ts_chunk_off = 296,
			 .runner_kind = KRAIT_RUNNER_STACK,
			 .ts_stack_off = 56,
			 .ts_read_bytes = 304,
			 .fr_first_off = 32,
			 .fr_code_off = 32,
			 .fr_prev_off = 48,
			 .fr_instr_off = 56,
			 .fr_owner_off = 69, /* of which none is a shim's */
			 .fr_read_bytes = 38,
			 .fr_entry_off = 68, /* is_entry */
			 .fr_entry_min = 1,
			 .instr_kind = KRAIT_INSTR_PTR,
			 .co_first_line_off = 72,
			 .co_file_off = 112,
			 .co_name_off = 120,
			 .has_qualname = 1,
			 .co_qualname_off = 128,
			 .co_lines_off = 136,
			 .co_bytecode_off = 184,
			 .co_read_bytes = 144,
			 .lines_kind = KRAIT_LINES_PEP657,
			 OBJECT_FIELDS,
			 STR_FIELDS_WSTR},
		.interp_head_off = 40,
		.current_off = 576,
		.initialized_off = 16,
		.interp_modules_off = 888,
		.tp_name_off = 24},
	[12] = {.walk = {.interp_next_off = 0,
			 .interp_threads_off = 72,
			 .has_interp_id = 1,
			 .interp_id_off = 8,
			 .interp_collects = 1,
			 .interp_collecting_off = 312,
			 .collector_kind = KRAIT_COLLECTOR_GIL,
			 .interp_gil_off = 384,
			 .gil_holder_off = 8,
			 THREAD_LINKS,
			 .ts_thread_id_off = 136,
			 .has_native_id = 1,
			 .ts_native_id_off = 144,
			 .ts_frame_off = 56,
			 .has_cframe = 1,
			 .ts_cframe_frame_off = 0,
			 .ts_cframe_prev_off = 8,
			 .has_chunks = 1,
			 .ts_chunk_off = 232,
			 .runner_kind = KRAIT_RUNNER_STACK,
			 .ts_stack_off = 56,
			 .ts_read_bytes = 240,
			 .fr_first_off = 0,
			 .fr_code_off = 0,
			 .fr_prev_off = 8,
			 .fr_instr_off = 56,
			 .fr_owner_off = 70,
			 .fr_read_bytes = 71,
			 .has_shims = 1,
			 .shim_owner = 3,    /* FRAME_OWNED_BY_CSTACK, pycore_frame.h */
			 .fr_entry_off = 70, /* the shim is the entry frame */
			 .fr_entry_min = 3,
			 .instr_kind = KRAIT_INSTR_PTR,
			 .co_first_line_off = 68,
			 .co_file_off = 112,
			 .co_name_off = 120,
			 .has_qualname = 1,
			 .co_qualname_off = 128,
			 .co_lines_off = 136,
			 .co_bytecode_off = 192,
			 .co_read_bytes = 144,
			 .lines_kind = KRAIT_LINES_PEP657,
			 OBJECT_FIELDS,
			 STR_FIELDS},
		.interp_head_off = 40,
		.initialized_off = 16,
		.interp_modules_off = 944,
		.tp_name_off = 24},
};

bool layout_is_supported(unsigned int major, unsigned int minor)
{
	return layout_of_version(major, minor) ||
	       (major == 3 && minor >= LAYOUT_MINOR_MIN && minor <= LAYOUT_MINOR_MAX);
}

const struct py_layout *layout_of_version(unsigned int major, unsigned int minor)
{
	if (major == 2 && minor == 7)
		return &layout_27;
	if (major != 3 || minor < LAYOUT_MINOR_MIN || minor >= sizeof(layouts) / sizeof(layouts[0]))
		return NULL;
	return &layouts[minor];
}

static uint16_t span_end(uint16_t end, uint16_t off, uint16_t bytes)
{
	return off + bytes > end ? off + bytes : end;
}

static uint16_t span_first(uint16_t first, uint16_t off)
{
	return off < first ? off : first;
}

void layout_set_spans(struct krait_layout *walk)
{
	uint16_t end;

	end = span_end(0, walk->ts_prev_off, 8);
	end = span_end(end, walk->ts_next_off, 8);
	end = span_end(end, walk->ts_interp_off, 8);
	end = span_end(end, walk->ts_thread_id_off, 8);
	end = span_end(end, walk->ts_native_id_off, 8);
	end = span_end(end, walk->ts_frame_off, 8);
	if (walk->has_base_frame)
		end = span_end(end, walk->ts_base_frame_off, 8);
	walk->ts_read_bytes = span_end(end, walk->ts_chunk_off, 8);

	walk->fr_first_off = span_first(walk->fr_code_off, walk->fr_prev_off);
	walk->fr_first_off = span_first(walk->fr_first_off, walk->fr_instr_off);
	walk->fr_first_off = span_first(walk->fr_first_off, walk->fr_owner_off);
	end = span_end(0, walk->fr_code_off, 8);
	end = span_end(end, walk->fr_prev_off, 8);
	end = span_end(end, walk->fr_instr_off, walk->instr_kind == KRAIT_INSTR_PTR ? 8 : 4);
	if (walk->has_tlbc)
		end = span_end(end, walk->fr_tlbc_off, 4);
	walk->fr_read_bytes = span_end(end, walk->fr_owner_off, 1) - walk->fr_first_off;

	end = span_end(0, walk->co_first_line_off, 4);
	end = span_end(end, walk->co_name_off, 8);
	end = span_end(end, walk->co_qualname_off, 8);
	end = span_end(end, walk->co_file_off, 8);
	walk->co_read_bytes = span_end(end, walk->co_lines_off, 8);
}
