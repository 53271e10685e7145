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
#define THREAD_LINKS .ts_prev_off = 0, .ts_next_off = 8, .ts_interp_off = 16
/* Who collects garbage. Up to 3.11 one field tells who holds the GIL (py_layout.current_off). */
#define NO_GIL_STRUCT .interp_gil_off = KRAIT_NO_OFF, .gil_holder_off = KRAIT_NO_OFF
#define NO_COLLECTING .interp_collecting_off = KRAIT_NO_OFF, NO_GIL_STRUCT
/* PyCodeObject of 3.6 and 3.7: code.h. */
#define CODE_FIELDS_37                                                                             \
	.co_first_line_off = 36, .co_file_off = 96, .co_name_off = 104, .co_lines_off = 112,       \
	.co_qualname_off = KRAIT_NO_OFF, .co_bytecode_off = KRAIT_NO_OFF
/*
 * 3.8 to 3.10, where co_posonlyargcount pushes the rest on: code.h, cpython/code.h. co_lnotab, in
 * 3.10 co_linetable, is at 120.
 */
#define CODE_FIELDS_LNOTAB                                                                         \
	.co_first_line_off = 40, .co_file_off = 104, .co_name_off = 112, .co_lines_off = 120,      \
	.co_qualname_off = KRAIT_NO_OFF, .co_bytecode_off = KRAIT_NO_OFF
/* What versions with frames on the heap do not have: PyFrameObject, frameobject.h. */
#define HEAP_FRAMES                                                                                \
	.ts_native_id_off = KRAIT_NO_OFF, .ts_cframe_frame_off = KRAIT_NO_OFF,                     \
	.ts_cframe_prev_off = KRAIT_NO_OFF, .fr_entry_off = KRAIT_NO_OFF,                          \
	.ts_chunk_off = KRAIT_NO_OFF, .fr_prev_off = 24, .fr_code_off = 32,                        \
	.fr_owner_off = KRAIT_NO_OFF, .shim_owner = 255

/* PyThreadState has no link back; f_lasti is in bytes, any of which an instruction may lie at. */
static const struct py_layout layout_27 = {
	.walk = {.interp_next_off = 0,
		 .interp_threads_off = 8,
		 .interp_id_off = KRAIT_NO_OFF,
		 NO_COLLECTING,
		 .ts_prev_off = KRAIT_NO_OFF,
		 .ts_next_off = 0,
		 .ts_interp_off = 8,
		 .ts_frame_off = 16,
		 .ts_thread_id_off = 144,
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
		 .co_qualname_off = KRAIT_NO_OFF,
		 .co_bytecode_off = KRAIT_NO_OFF,
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
		 .str_kind_shift = KRAIT_STR_BYTES},
	.interp_modules_off = 16,
	.tp_name_off = 24,
};

/* By the minor version of 3. */
static const struct py_layout layouts[] = {
	[6] = {.walk = {.interp_next_off = 0,
			.interp_threads_off = 8,
			.interp_id_off = KRAIT_NO_OFF,
			NO_COLLECTING,
			THREAD_LINKS,
			.ts_frame_off = 24,
			.ts_thread_id_off = 152,
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
			.interp_id_off = 16,
			NO_COLLECTING,
			THREAD_LINKS,
			.ts_frame_off = 24,
			.ts_thread_id_off = 176,
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
			.interp_id_off = 16,
			NO_COLLECTING,
			THREAD_LINKS,
			.ts_frame_off = 24,
			.ts_thread_id_off = 176,
			.ts_stack_off = KRAIT_NO_OFF,
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
			.interp_id_off = 24,
			.interp_collecting_off = 816,
			NO_GIL_STRUCT,
			THREAD_LINKS,
			.ts_frame_off = 24,
			.ts_thread_id_off = 176,
			.ts_stack_off = KRAIT_NO_OFF,
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
			 .interp_id_off = 24,
			 .interp_collecting_off = 816,
			 NO_GIL_STRUCT,
			 THREAD_LINKS,
			 .ts_frame_off = 24,
			 .ts_thread_id_off = 176,
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
			 .interp_id_off = 48,
			 .interp_collecting_off = 848,
			 NO_GIL_STRUCT,
			 THREAD_LINKS,
			 .ts_thread_id_off = 152,
			 .ts_native_id_off = 160,
			 .ts_frame_off = 56,
			 .ts_cframe_frame_off = 8,
			 .ts_cframe_prev_off = 16,
			 .ts_chunk_off = 296,
			 .ts_stack_off = 56,
			 .ts_read_bytes = 304,
			 .fr_first_off = 32,
			 .fr_code_off = 32,
			 .fr_prev_off = 48,
			 .fr_instr_off = 56,
			 .fr_owner_off = 69,
			 .fr_read_bytes = 38,
			 .shim_owner = 255,  /* 3.11 pushes no shim frames */
			 .fr_entry_off = 68, /* is_entry */
			 .fr_entry_min = 1,
			 .instr_kind = KRAIT_INSTR_PTR,
			 .co_first_line_off = 72,
			 .co_file_off = 112,
			 .co_name_off = 120,
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
			 .interp_id_off = 8,
			 .interp_collecting_off = 312,
			 .interp_gil_off = 384,
			 .gil_holder_off = 8,
			 THREAD_LINKS,
			 .ts_thread_id_off = 136,
			 .ts_native_id_off = 144,
			 .ts_frame_off = 56,
			 .ts_cframe_frame_off = 0,
			 .ts_cframe_prev_off = 8,
			 .ts_chunk_off = 232,
			 .ts_stack_off = 56,
			 .ts_read_bytes = 240,
			 .fr_first_off = 0,
			 .fr_code_off = 0,
			 .fr_prev_off = 8,
			 .fr_instr_off = 56,
			 .fr_owner_off = 70,
			 .fr_read_bytes = 71,
			 .shim_owner = 3,    /* FRAME_OWNED_BY_CSTACK, pycore_frame.h */
			 .fr_entry_off = 70, /* the shim is the entry frame */
			 .fr_entry_min = 3,
			 .instr_kind = KRAIT_INSTR_PTR,
			 .co_first_line_off = 68,
			 .co_file_off = 112,
			 .co_name_off = 120,
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
	if (off == KRAIT_NO_OFF || off + bytes <= end)
		return end;
	return off + bytes;
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
	end = span_end(end, walk->ts_base_frame_off, 8);
	walk->ts_read_bytes = span_end(end, walk->ts_chunk_off, 8);

	walk->fr_first_off = span_first(walk->fr_code_off, walk->fr_prev_off);
	walk->fr_first_off = span_first(walk->fr_first_off, walk->fr_instr_off);
	walk->fr_first_off = span_first(walk->fr_first_off, walk->fr_owner_off);
	end = span_end(0, walk->fr_code_off, 8);
	end = span_end(end, walk->fr_prev_off, 8);
	end = span_end(end, walk->fr_instr_off, walk->instr_kind == KRAIT_INSTR_PTR ? 8 : 4);
	if (walk->fr_tlbc_off)
		end = span_end(end, walk->fr_tlbc_off, 4);
	walk->fr_read_bytes = span_end(end, walk->fr_owner_off, 1) - walk->fr_first_off;

	end = span_end(0, walk->co_first_line_off, 4);
	end = span_end(end, walk->co_name_off, 8);
	end = span_end(end, walk->co_qualname_off, 8);
	end = span_end(end, walk->co_file_off, 8);
	walk->co_read_bytes = span_end(end, walk->co_lines_off, 8);
}
