/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From an instruction to its line: the four generations of CPython's line tables (enum
 * krait_lines_kind).
 *
 * Pure functions of bytes; the table is foreign and may be cut short or made up: no input reads
 * outside it, loops for ever or overflows. Sources: Objects/lnotab_notes.txt (2.7,
 * 3.8, 3.10), Objects/locations.md and Objects/codeobject.c (3.11+).
 */
#ifndef KRAIT_SYMBOLIZE_LINETABLE_H
#define KRAIT_SYMBOLIZE_LINETABLE_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/record.h"

#define LINE_UNKNOWN 0 /* no line belongs to this instruction, or the table does not reach it */

/*
 * The source line of the code unit `unit` (2 bytes; 1 with
 * KRAIT_LINES_LNOTAB_UNSIGNED) of a code object: what CPython's
 * co_lines() (3.10+) or dis.findlinestarts() (before) says of it. A negative unit is before the
 * first instruction: first_line, as PyCode_Addr2Line answers. LINE_UNKNOWN where the table says "no
 * line" or ends before the unit (a LNOTAB table has no end: its last line holds for
 * ever, so never pass a part of one). A line below 1 is unknown too. O(table_bytes).
 */
int32_t linetable_line(enum krait_lines_kind kind, const uint8_t *table, size_t table_bytes,
		       int32_t first_line, int32_t unit);

/*
 * The same for a long table that is asked often: O(log table_bytes) each, once it has been read
 * through. Borrows the table, which must neither move nor change. NULL without memory.
 */
struct linetable *linetable_new(enum krait_lines_kind kind, const uint8_t *table,
				size_t table_bytes, int32_t first_line);
void linetable_free(struct linetable *lt);
int32_t linetable_find(const struct linetable *lt, int32_t unit);

#endif
