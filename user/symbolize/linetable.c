/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Line tables, decoded the way CPython's own PyCode_Addr2Line does it: from the start, entry by
 * entry, until the one that holds the instruction.
 *
 * No index is built: a (code, unit) pair is asked for once and its answer kept by the caller, and
 * 99 % of the standard library's tables are shorter than 775 bytes. Every entry moves the reading
 * position on by at least one byte, so a made-up table costs no more than its length. Sums are kept
 * in 64 bits, where tables that fit in memory can't overflow them.
 */
#include "user/symbolize/linetable.h"

#include <stdbool.h>

#define UNIT_BYTES 2 /* sizeof(_Py_CODEUNIT), 3.6 and later; Include/cpython/code.h */

/* 3.10: "no line", and the running line stays; Objects/lnotab_notes.txt */
#define PEP626_NO_LINE (-128)

/* Objects/locations.md, "Location entries", and Include/cpython/code.h (3.11), enum
 * _PyCodeLocationInfoKind. */
#define PEP657_ENTRY_BIT 0x80 /* set in the first byte of an entry and in no other */
#define PEP657_ONE_LINE0 10   /* codes 10 to 12: line delta 0 to 2 */
#define PEP657_ONE_LINE2 12
#define PEP657_NO_COLUMNS 13
#define PEP657_LONG 14
#define PEP657_NO_LINE 15

/* Objects/locations.md, "Varints": 6 bits a byte, least significant first. */
#define VARINT_BITS 6
#define VARINT_MASK 0x3f
#define VARINT_MORE 0x40
#define VARINT_MAX_SHIFT 30 /* the 6th byte is the last that a 32-bit number can need */

static int32_t line_or_unknown(int64_t line)
{
	return line >= 1 && line <= INT32_MAX ? (int32_t)line : LINE_UNKNOWN;
}

/*
 * Up to 3.9: (address delta u8, line delta s8, or u8 up to 3.5); a line holds from its address on.
 * Nothing in the table says where the code ends, so the last line holds for ever. lasti in bytes.
 */
static int32_t line_lnotab(const uint8_t *table, size_t table_bytes, int32_t first_line,
			   int64_t lasti, bool is_signed)
{
	int64_t addr = 0, line = first_line;

	for (size_t i = 0; i + 1 < table_bytes; i += 2) {
		addr += table[i];
		if (addr > lasti)
			break;
		line += is_signed ? (int8_t)table[i + 1] : table[i + 1];
	}
	return line_or_unknown(line);
}

/*
 * 3.10: (range length u8, line delta s8); the delta counts for that very range. An empty range
 * still moves the running line: that is how deltas beyond a byte are spelt.
 */
static int32_t line_pep626(const uint8_t *table, size_t table_bytes, int32_t first_line,
			   int32_t unit)
{
	int64_t lasti = (int64_t)unit * UNIT_BYTES, end = 0, line = first_line;

	for (size_t i = 0; i + 1 < table_bytes; i += 2) {
		int8_t delta = (int8_t)table[i + 1];

		if (delta != PEP626_NO_LINE)
			line += delta;
		end += table[i];
		if (lasti < end)
			return delta == PEP626_NO_LINE ? LINE_UNKNOWN : line_or_unknown(line);
	}
	return LINE_UNKNOWN;
}

/*
 * The signed varint at table[pos], sign in the lowest bit. False if it is cut short (by the table's
 * end or by the next entry) or does not fit in 32 bits, as everything CPython writes does.
 */
static bool read_svarint(const uint8_t *table, size_t table_bytes, size_t pos, int64_t *value)
{
	uint64_t bits = 0;
	uint8_t byte = VARINT_MORE;

	for (unsigned int shift = 0; byte & VARINT_MORE; shift += VARINT_BITS) {
		if (shift > VARINT_MAX_SHIFT || pos >= table_bytes)
			return false;
		byte = table[pos++];
		if (byte & PEP657_ENTRY_BIT)
			return false;
		bits |= (uint64_t)(byte & VARINT_MASK) << shift;
	}
	if (bits > UINT32_MAX)
		return false;
	*value = bits & 1 ? -(int64_t)(bits >> 1) : (int64_t)(bits >> 1);
	return true;
}

/* By how much the entry of this code, whose second byte is at pos, moves the running line. */
static bool read_line_delta(unsigned int code, const uint8_t *table, size_t table_bytes, size_t pos,
			    int64_t *delta)
{
	*delta = 0;
	if (code == PEP657_NO_COLUMNS || code == PEP657_LONG)
		return read_svarint(table, table_bytes, pos, delta);
	if (code >= PEP657_ONE_LINE0 && code <= PEP657_ONE_LINE2)
		*delta = code - PEP657_ONE_LINE0;
	return true;
}

/*
 * 3.11 and later: entries of 1 + n bytes, the first 1cccclll: code, length - 1 in units. The
 * columns are of no use here: what is left of an entry is skipped by looking for the next first
 * byte, as Objects/codeobject.c (advance) does.
 */
static int32_t line_pep657(const uint8_t *table, size_t table_bytes, int32_t first_line,
			   int32_t unit)
{
	int64_t end = 0, line = first_line, delta;
	size_t pos = 0;

	while (pos < table_bytes) {
		uint8_t head = table[pos++];
		unsigned int code = head >> 3 & 0xf;

		if (!(head & PEP657_ENTRY_BIT) ||
		    !read_line_delta(code, table, table_bytes, pos, &delta))
			return LINE_UNKNOWN;
		line += delta;
		/* CPython's running line is an int: one that leaves it was made up. */
		if (line != (int32_t)line)
			return LINE_UNKNOWN;
		end += (head & 7) + 1;
		if (unit < end)
			return code == PEP657_NO_LINE ? LINE_UNKNOWN : line_or_unknown(line);
		while (pos < table_bytes && !(table[pos] & PEP657_ENTRY_BIT))
			pos++;
	}
	return LINE_UNKNOWN;
}

int32_t linetable_line(enum krait_lines_kind kind, const uint8_t *table, size_t table_bytes,
		       int32_t first_line, int32_t unit)
{
	if (unit < 0)
		return line_or_unknown(first_line);
	switch (kind) {
	case KRAIT_LINES_LNOTAB:
		return line_lnotab(table, table_bytes, first_line, (int64_t)unit * UNIT_BYTES,
				   true);
	case KRAIT_LINES_LNOTAB_UNSIGNED:
		return line_lnotab(table, table_bytes, first_line, unit, false);
	case KRAIT_LINES_PEP626:
		return line_pep626(table, table_bytes, first_line, unit);
	case KRAIT_LINES_PEP657:
		return line_pep657(table, table_bytes, first_line, unit);
	}
	return LINE_UNKNOWN;
}
