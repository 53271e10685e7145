/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compares krait's layout of one CPython version with that version's own headers: check.py compiles
 * this against each include folder it finds, with user/python's tables linked in.
 *
 * 3.13 and later: the table that the interpreter would publish is filled in here, field by field
 * through the headers' own struct, and must read back as what offsetof() says.
 */
#include <Python.h>
#include <frameobject.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#if PY_VERSION_HEX >= 0x03090000
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"
#elif PY_VERSION_HEX >= 0x03080000
#include "internal/pycore_pystate.h"
#elif PY_VERSION_HEX >= 0x03070000
#include "internal/pystate.h"
#endif
#if PY_VERSION_HEX >= 0x030b0000
#include "internal/pycore_dict.h"
#include "internal/pycore_frame.h"
#endif
#if PY_VERSION_HEX >= 0x030e0000
#include "internal/pycore_debug_offsets.h"
#include "internal/pycore_interpframe.h"
#endif

#include "user/python/debug_offsets.h"
#include "user/python/layout.h"
#include "user/python/pyobject.h"

#ifdef Py_DEBUG
#define BUILD PY_VERSION " with Py_DEBUG"
#elif defined(Py_GIL_DISABLED)
#define BUILD PY_VERSION " without a GIL"
#else
#define BUILD PY_VERSION
#endif

static int field_cnt, difference_cnt;

static void compare(const char *name, unsigned long ours, unsigned long theirs)
{
	field_cnt++;
	if (ours == theirs)
		return;
	difference_cnt++;
	printf("layouts: %s: %s is %lu, the headers say %lu\n", BUILD, name, ours, theirs);
}

#define CHECK(member, value) compare(#member, l->member, value)
#define FIELD_END(type, member) (offsetof(type, member) + sizeof(((type *)NULL)->member))

#if PY_VERSION_HEX >= 0x030d0000
static const struct py_layout *find_layout(void)
{
	static struct py_layout layout;
	static union {
		_Py_DebugOffsets d;
		char bytes[DEBUG_OFFSETS_BYTES > sizeof(_Py_DebugOffsets)
				   ? DEBUG_OFFSETS_BYTES
				   : sizeof(_Py_DebugOffsets)];
	} table;
	_Py_DebugOffsets *d = &table.d;
	const char *why;

	memset(&table, 0xee, sizeof(table)); /* what is not set below must not be read */
	d->free_threaded = 0;
	memcpy(d->cookie, _Py_Debug_Cookie, sizeof(d->cookie));
	d->version = PY_VERSION_HEX;
#ifdef Py_GIL_DISABLED
	d->free_threaded = 1;
#endif
#define SET(group, entry, value) d->group.entry = (value)
	SET(runtime_state, size, sizeof(_PyRuntimeState));
	SET(runtime_state, finalizing, offsetof(_PyRuntimeState, _finalizing));
	SET(runtime_state, interpreters_head, offsetof(_PyRuntimeState, interpreters.head));
	SET(interpreter_state, size, sizeof(PyInterpreterState));
	SET(interpreter_state, id, offsetof(PyInterpreterState, id));
	SET(interpreter_state, next, offsetof(PyInterpreterState, next));
	SET(interpreter_state, gc, offsetof(PyInterpreterState, gc));
	SET(interpreter_state, imports_modules, offsetof(PyInterpreterState, imports.modules));
	SET(interpreter_state, ceval_gil, offsetof(PyInterpreterState, ceval.gil));
	SET(interpreter_state, gil_runtime_state, offsetof(PyInterpreterState, _gil));
	SET(interpreter_state, gil_runtime_state_holder,
	    offsetof(PyInterpreterState, _gil.last_holder));
	SET(gc, collecting, offsetof(struct _gc_runtime_state, collecting));
#if PY_VERSION_HEX >= 0x030f0000
	SET(gc, frame, offsetof(struct _gc_runtime_state, frame));
#endif
	SET(interpreter_state, threads_head, offsetof(PyInterpreterState, threads.head));
	SET(thread_state, size, sizeof(PyThreadState));
	SET(thread_state, prev, offsetof(PyThreadState, prev));
	SET(thread_state, next, offsetof(PyThreadState, next));
	SET(thread_state, interp, offsetof(PyThreadState, interp));
	SET(thread_state, current_frame, offsetof(PyThreadState, current_frame));
#if PY_VERSION_HEX >= 0x030f0000
	SET(thread_state, base_frame, offsetof(PyThreadState, base_frame));
#endif
	SET(thread_state, thread_id, offsetof(PyThreadState, thread_id));
	SET(thread_state, native_thread_id, offsetof(PyThreadState, native_thread_id));
	SET(thread_state, datastack_chunk, offsetof(PyThreadState, datastack_chunk));
	SET(interpreter_frame, size, sizeof(_PyInterpreterFrame));
	SET(interpreter_frame, previous, offsetof(_PyInterpreterFrame, previous));
	SET(interpreter_frame, executable, offsetof(_PyInterpreterFrame, f_executable));
	SET(interpreter_frame, instr_ptr, offsetof(_PyInterpreterFrame, instr_ptr));
	SET(interpreter_frame, owner, offsetof(_PyInterpreterFrame, owner));
#if PY_VERSION_HEX >= 0x030e0000
	SET(interpreter_frame, tlbc_index, _Py_Debug_interpreter_frame_tlbc_index);
	SET(code_object, co_tlbc, _Py_Debug_code_object_co_tlbc);
#endif
	SET(code_object, size, sizeof(PyCodeObject));
	SET(code_object, filename, offsetof(PyCodeObject, co_filename));
	SET(code_object, name, offsetof(PyCodeObject, co_name));
	SET(code_object, qualname, offsetof(PyCodeObject, co_qualname));
	SET(code_object, linetable, offsetof(PyCodeObject, co_linetable));
	SET(code_object, firstlineno, offsetof(PyCodeObject, co_firstlineno));
	SET(code_object, co_code_adaptive, offsetof(PyCodeObject, co_code_adaptive));
	SET(pyobject, size, sizeof(PyObject));
	SET(pyobject, ob_type, offsetof(PyObject, ob_type));
	SET(type_object, size, sizeof(PyTypeObject));
	SET(type_object, tp_name, offsetof(PyTypeObject, tp_name));
	SET(bytes_object, size, sizeof(PyBytesObject));
	SET(bytes_object, ob_size, offsetof(PyBytesObject, ob_base.ob_size));
	SET(bytes_object, ob_sval, offsetof(PyBytesObject, ob_sval));
	SET(unicode_object, size, sizeof(PyUnicodeObject));
	SET(unicode_object, state, offsetof(PyUnicodeObject, _base._base.state));
	SET(unicode_object, length, offsetof(PyUnicodeObject, _base._base.length));
	SET(unicode_object, asciiobject_size, sizeof(PyASCIIObject));
	if (debug_offsets_parse(&table, &layout, &why)) {
		printf("layouts: %s: refused: %s\n", BUILD, why);
		return NULL;
	}
	return &layout;
}
#else
static const struct py_layout *find_layout(void)
{
	return layout_of_version(PY_MAJOR_VERSION, PY_MINOR_VERSION);
}
#endif

static void check_base_frame(const struct py_layout *l)
{
#if PY_VERSION_HEX >= 0x030f0000
	CHECK(walk.ts_base_frame_off, offsetof(PyThreadState, base_frame));
#endif
	CHECK(walk.has_base_frame, PY_VERSION_HEX >= 0x030f0000);
}

static void check_collecting(const struct py_layout *l)
{
#if PY_VERSION_HEX >= 0x03070000
	CHECK(walk.interp_id_off, offsetof(PyInterpreterState, id));
#endif
	CHECK(walk.has_interp_id, PY_VERSION_HEX >= 0x03070000);
#if PY_VERSION_HEX >= 0x03090000
	CHECK(walk.interp_collecting_off, offsetof(PyInterpreterState, gc.collecting));
#endif
	CHECK(walk.interp_collects, PY_VERSION_HEX >= 0x03090000);
#if PY_VERSION_HEX >= 0x030f0000
	CHECK(walk.collector_kind, KRAIT_COLLECTOR_FRAME);
	CHECK(walk.interp_gc_frame_off, offsetof(PyInterpreterState, gc.frame));
#elif defined(Py_GIL_DISABLED)
	CHECK(walk.collector_kind, KRAIT_COLLECTOR_STOPPER);
	CHECK(walk.interp_gc_stats_off, offsetof(PyInterpreterState, gc.generation_stats));
	CHECK(walk.interp_gil_off, offsetof(PyInterpreterState, stoptheworld.requester));
#elif PY_VERSION_HEX >= 0x030c0000
	CHECK(walk.collector_kind, KRAIT_COLLECTOR_GIL);
	CHECK(walk.interp_gil_off, offsetof(PyInterpreterState, ceval.gil));
	CHECK(walk.gil_holder_off, offsetof(struct _gil_runtime_state, last_holder));
#else
	CHECK(walk.collector_kind, KRAIT_COLLECTOR_CURRENT);
#endif
#if PY_VERSION_HEX >= 0x03070000 && PY_VERSION_HEX < 0x030c0000
	CHECK(current_off, offsetof(_PyRuntimeState, gilstate.tstate_current));
#else
	CHECK(current_off, 0);
#endif
#if PY_VERSION_HEX >= 0x03070000 && PY_VERSION_HEX < 0x03090000
	CHECK(collecting_off, offsetof(_PyRuntimeState, gc.collecting));
#else
	CHECK(collecting_off, 0);
#endif
}

static void check_threads(const struct py_layout *l)
{
#if PY_VERSION_HEX >= 0x03070000
	CHECK(interp_head_off, offsetof(_PyRuntimeState, interpreters.head));
	CHECK(initialized_off, offsetof(_PyRuntimeState, initialized));
#endif
	CHECK(walk.interp_next_off, offsetof(PyInterpreterState, next));
#if PY_VERSION_HEX >= 0x03000000
	CHECK(walk.ts_prev_off, offsetof(PyThreadState, prev));
#endif
	CHECK(walk.has_prev, PY_VERSION_HEX >= 0x03000000);
	CHECK(walk.fork_keeps_states, PY_VERSION_HEX < 0x03000000);
	CHECK(walk.ts_next_off, offsetof(PyThreadState, next));
	CHECK(walk.ts_interp_off, offsetof(PyThreadState, interp));
	CHECK(walk.ts_thread_id_off, offsetof(PyThreadState, thread_id));
#if PY_VERSION_HEX >= 0x030b0000
	CHECK(walk.interp_threads_off, offsetof(PyInterpreterState, threads.head));
	CHECK(walk.ts_native_id_off, offsetof(PyThreadState, native_thread_id));
	CHECK(walk.ts_chunk_off, offsetof(PyThreadState, datastack_chunk));
	CHECK(walk.ts_read_bytes, FIELD_END(PyThreadState, datastack_chunk));
#else
	CHECK(walk.interp_threads_off, offsetof(PyInterpreterState, tstate_head));
	CHECK(walk.ts_read_bytes, FIELD_END(PyThreadState, thread_id));
#endif
	CHECK(walk.has_native_id, PY_VERSION_HEX >= 0x030b0000);
	CHECK(walk.has_chunks, PY_VERSION_HEX >= 0x030b0000);
#if PY_VERSION_HEX >= 0x030d0000
	CHECK(walk.ts_frame_off, offsetof(PyThreadState, current_frame));
#elif PY_VERSION_HEX >= 0x030b0000
	CHECK(walk.ts_frame_off, offsetof(PyThreadState, cframe));
	CHECK(walk.ts_cframe_frame_off, offsetof(_PyCFrame, current_frame));
	CHECK(walk.ts_cframe_prev_off, offsetof(_PyCFrame, previous));
#else
	CHECK(walk.ts_frame_off, offsetof(PyThreadState, frame));
#endif
	CHECK(walk.has_cframe, PY_VERSION_HEX >= 0x030b0000 && PY_VERSION_HEX < 0x030d0000);
#if PY_VERSION_HEX >= 0x030d0000 || PY_VERSION_HEX < 0x03080000
	CHECK(walk.runner_kind, KRAIT_RUNNER_ID);
#elif PY_VERSION_HEX >= 0x030a0000
	CHECK(walk.runner_kind, KRAIT_RUNNER_STACK);
	CHECK(walk.ts_stack_off, offsetof(PyThreadState, cframe));
#else
	CHECK(walk.runner_kind, KRAIT_RUNNER_LOOP);
#endif
}

#if PY_VERSION_HEX >= 0x030d0000
#define FRAME _PyInterpreterFrame
#define FRAME_CODE f_executable
#define FRAME_BACK previous
#define FRAME_INSTR instr_ptr
#elif PY_VERSION_HEX >= 0x030b0000
#define FRAME _PyInterpreterFrame
#define FRAME_CODE f_code
#define FRAME_BACK previous
#define FRAME_INSTR prev_instr
#else
#define FRAME PyFrameObject
#define FRAME_CODE f_code
#define FRAME_BACK f_back
#define FRAME_INSTR f_lasti
#endif

/* The first owner that is a shim. */
#if PY_VERSION_HEX >= 0x030e0000
#define SHIM_OWNER FRAME_OWNED_BY_INTERPRETER
#elif PY_VERSION_HEX >= 0x030c0000
#define SHIM_OWNER FRAME_OWNED_BY_CSTACK
#endif

static void check_frames(const struct py_layout *l)
{
	unsigned long first = offsetof(FRAME, FRAME_CODE), end = FIELD_END(FRAME, FRAME_INSTR);

	if (offsetof(FRAME, FRAME_BACK) < first)
		first = offsetof(FRAME, FRAME_BACK);
	CHECK(walk.fr_code_off, offsetof(FRAME, FRAME_CODE));
	CHECK(walk.fr_prev_off, offsetof(FRAME, FRAME_BACK));
	CHECK(walk.fr_instr_off, offsetof(FRAME, FRAME_INSTR));
#if PY_VERSION_HEX >= 0x030b0000
	end = FIELD_END(FRAME, owner);
	CHECK(walk.fr_owner_off, offsetof(FRAME, owner));
#if PY_VERSION_HEX < 0x030c0000
	CHECK(walk.fr_entry_off, offsetof(FRAME, is_entry));
#elif PY_VERSION_HEX < 0x030d0000
	CHECK(walk.fr_entry_off, offsetof(FRAME, owner));
#endif
#endif
#ifdef SHIM_OWNER
	CHECK(walk.has_shims, 1);
	CHECK(walk.shim_owner, SHIM_OWNER);
#else
	CHECK(walk.has_shims, 0);
#endif
	CHECK(walk.fr_first_off, first);
	CHECK(walk.fr_read_bytes, end - first);
}

static void check_bytecode_copies(const struct py_layout *l)
{
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030e0000
	CHECK(walk.has_tlbc, 1);
	CHECK(walk.fr_tlbc_off, offsetof(_PyInterpreterFrame, tlbc_index));
	CHECK(walk.co_tlbc_off, offsetof(PyCodeObject, co_tlbc));
	/* walk.h, frame_bytecode_off */
	compare("sizeof tlbc_index", 4, sizeof(((_PyInterpreterFrame *)NULL)->tlbc_index));
	compare("_PyCodeArray.entries", 8, offsetof(_PyCodeArray, entries));
#else
	CHECK(walk.has_tlbc, 0);
#endif
}

static void check_codes(const struct py_layout *l)
{
	CHECK(walk.co_first_line_off, offsetof(PyCodeObject, co_firstlineno));
	CHECK(walk.co_name_off, offsetof(PyCodeObject, co_name));
	CHECK(walk.co_file_off, offsetof(PyCodeObject, co_filename));
#if PY_VERSION_HEX >= 0x030b0000
	CHECK(walk.co_qualname_off, offsetof(PyCodeObject, co_qualname));
	CHECK(walk.co_bytecode_off, offsetof(PyCodeObject, co_code_adaptive));
#endif
	CHECK(walk.has_qualname, PY_VERSION_HEX >= 0x030b0000);
#if PY_VERSION_HEX >= 0x030a0000
	CHECK(walk.co_lines_off, offsetof(PyCodeObject, co_linetable));
	CHECK(walk.co_read_bytes, FIELD_END(PyCodeObject, co_linetable));
#else
	CHECK(walk.co_lines_off, offsetof(PyCodeObject, co_lnotab));
	CHECK(walk.co_read_bytes, FIELD_END(PyCodeObject, co_lnotab));
#endif
}

static void check_objects(const struct py_layout *l)
{
	CHECK(tp_name_off, offsetof(PyTypeObject, tp_name));
	CHECK(walk.names_are_bytes, PY_VERSION_HEX < 0x03000000);
	CHECK(walk.ob_type_off, offsetof(PyObject, ob_type));
#if PY_VERSION_HEX >= 0x03000000
	PyASCIIObject kind_1 = {.state = {.kind = 1}};
	unsigned int state;

	memcpy(&state, &kind_1.state, sizeof(state));
	CHECK(walk.str_kind_shift, __builtin_ctz(state));
	CHECK(walk.str_state_off, offsetof(PyASCIIObject, state));
	CHECK(walk.str_length_off, offsetof(PyASCIIObject, length));
	CHECK(walk.str_ascii_bytes, sizeof(PyASCIIObject));
	CHECK(walk.str_compact_bytes, sizeof(PyCompactUnicodeObject));
#else
	CHECK(walk.str_length_off, offsetof(PyVarObject, ob_size));
	CHECK(walk.str_ascii_bytes, offsetof(PyStringObject, ob_sval));
#endif
	CHECK(walk.bytes_size_off, offsetof(PyVarObject, ob_size));
	CHECK(walk.bytes_data_off, offsetof(PyBytesObject, ob_sval));
}

/* Of pyobject.h, from the end of the head. The keys of a dict have no header before 3.11. */
static void check_names(const struct py_layout *l)
{
	const struct pyobject_layout *objects =
		pyobject_layout_of_version(PY_MAJOR_VERSION, PY_MINOR_VERSION);
	unsigned long head = l->walk.ob_type_off + 8;

#define BEHIND(name, type, member) compare(#name, head + PYOBJECT_##name, offsetof(type, member))
	compare("head", head, sizeof(PyObject));
	BEHIND(TP_NAME, PyTypeObject, tp_name);
	BEHIND(TP_BASICSIZE, PyTypeObject, tp_basicsize);
	BEHIND(TP_FLAGS, PyTypeObject, tp_flags);
	BEHIND(TP_DICTOFFSET, PyTypeObject, tp_dictoffset);
#if PY_VERSION_HEX >= 0x03000000
	BEHIND(MA_KEYS, PyDictObject, ma_keys);
	compare("MA_VALUES", head + PYOBJECT_MA_KEYS + 8, offsetof(PyDictObject, ma_values));
#else
	BEHIND(MA_MASK, PyDictObject, ma_mask);
	compare("MA_TABLE", head + PYOBJECT_MA_MASK + 8, offsetof(PyDictObject, ma_table));
#endif
#if PY_VERSION_HEX >= 0x030c0000
	CHECK(interp_modules_off, offsetof(PyInterpreterState, imports.modules));
#else
	CHECK(interp_modules_off, offsetof(PyInterpreterState, modules));
#endif
#if PY_VERSION_HEX >= 0x030b0000
	compare("cached_keys_off", head + objects->cached_keys_off,
		offsetof(PyHeapTypeObject, ht_cached_keys));
	compare("dk_log2_index_bytes", 9, offsetof(struct _dictkeysobject, dk_log2_index_bytes));
	compare("dk_kind", 10, offsetof(struct _dictkeysobject, dk_kind));
	compare("dk_nentries", 24, offsetof(struct _dictkeysobject, dk_nentries));
	compare("dk_indices", 32, offsetof(struct _dictkeysobject, dk_indices));
	compare("values", objects->attrs == PYATTRS_INLINE ? 8 : 0,
		offsetof(struct _dictvalues, values));
#endif
}

int main(void)
{
	const struct py_layout *l = find_layout();

	if (!l) {
		printf("layouts: %s: no layout\n", BUILD);
		return 1;
	}
	check_threads(l);
	check_collecting(l);
	check_base_frame(l);
	check_frames(l);
	check_codes(l);
	check_bytecode_copies(l);
	check_objects(l);
	check_names(l);
	if (!difference_cnt)
		printf("layouts: %s: %d fields agree\n", BUILD, field_cnt);
	return difference_cnt != 0;
}
