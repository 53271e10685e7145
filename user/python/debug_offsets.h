/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * _Py_DebugOffsets: the layout that CPython 3.13 and later publish in the first bytes of
 * _PyRuntime. The bytes come from the target and are hostile until checked here.
 */
#ifndef KRAIT_PYTHON_DEBUG_OFFSETS_H
#define KRAIT_PYTHON_DEBUG_OFFSETS_H

#include <stddef.h>
#include <stdint.h>

#include "user/python/layout.h"

/* Enough of _PyRuntime to take in every field that is read, in each version. */
#define DEBUG_OFFSETS_BYTES 776
/* The cookie and the version word: as much as tells which version it is. */
#define DEBUG_OFFSETS_HEAD_BYTES 16

/* PY_VERSION_HEX of the target, or 0 if bytes (of HEAD_BYTES) do not start with the cookie. */
uint32_t debug_offsets_version(const void *bytes);

/*
 * Makes the layout of what bytes (DEBUG_OFFSETS_BYTES of them) say. 0, or -ENOTSUP with *why set to
 * a static clause: not a version known here, or a value that cannot be.
 */
int debug_offsets_parse(const void *bytes, struct py_layout *out, const char **why);

#endif
