/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The structure of CPython, as data: one row per minor version that publishes no offsets of its own
 * (2.7, 3.6 to 3.12). 3.13 and later: debug_offsets.h.
 *
 * Every number is what offsetof() says in that version's own headers for LP64; tests/layouts
 * compiles them again and compares. Debug builds are the same from 3.8 on; up to 3.7 Py_DEBUG
 * implies Py_TRACE_REFS, and those differ, as do free-threaded builds: a layout is a claim, and
 * prove.h tests it on each process.
 */
#ifndef KRAIT_PYTHON_LAYOUT_H
#define KRAIT_PYTHON_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi/control.h"

#define LAYOUT_MINOR_MIN 6 /* of 3 */
#define LAYOUT_MINOR_MAX 15
#define LAYOUT_VERSIONS "2.7 and 3.6 to 3.15" /* for a person */

/* What the walker is told, and what only discovery needs. */
struct py_layout {
	struct krait_layout walk;
	uint32_t interp_head_off; /* _PyRuntimeState.interpreters.head; not before 3.7 */
	uint32_t initialized_off; /* _PyRuntimeState.initialized, an int; not before 3.7 */
	uint32_t current_off;	  /* _PyRuntimeState.gilstate.tstate_current; or 0 */
	uint32_t collecting_off;  /* _PyRuntimeState.gc.collecting; or 0 */
	uint16_t tp_name_off;	  /* PyTypeObject.tp_name */
	/* PyInterpreterState.modules, from 3.12 on .imports.modules */
	uint32_t interp_modules_off;
};

/* A CPython as it runs in a process: all that a reader of its memory needs. */
struct cpython {
	uint32_t version; /* PY_VERSION_HEX; the micro part may be 0 where it is not known */
	uint32_t interp_modules_off;
	struct krait_addrs addrs;
	struct krait_layout walk;
};

/* The layout of that CPython, or NULL if no table here has it. Static storage. */
const struct py_layout *layout_of_version(unsigned int major, unsigned int minor);
/* Whether krait knows that version at all: by a table here, or by the one it publishes. */
bool layout_is_supported(unsigned int major, unsigned int minor);

/* Sets the read_bytes and fr_first_off fields of *walk, which is of 3.13 or later, from its
 * offsets. */
void layout_set_spans(struct krait_layout *walk);

#endif
