/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Line tables, decoded the way CPython's own PyCode_Addr2Line does it: from the start, entry by
 * entry, until the one that holds the instruction.
 *
 * 99 % of the standard library's tables are shorter than 775 bytes, and a (code, unit) pair is
 * asked for once and its answer kept by the caller; so most need no index. A long one gets marks to
 * begin at, or a process that makes up a table of 512 KB, and a deep stack with another instruction
 * in each frame at each tick, would cost a second of CPU per sample. Every entry moves the reading
 * position on by at least one byte, so a made-up table costs no more than its length. Sums are kept
 * in 64 bits, where tables that fit in memory can't overflow them.
 */
#include "user/symbolize/linetable.h"

#include <stdbool.h>
#include <stdlib.h>

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
 * Where a reading stands, at the start of an entry. `at` never goes back, so whoever looks for an
 * instruction from `at` on may begin here.
 */
struct cursor {
	size_t pos;
	int64_t at; /* where what has been read ends, in the table's own measure: see place_of */
	int64_t line;
};

struct table {
	enum krait_lines_kind kind;
	const uint8_t *bytes;
	size_t len;
};

/* A place that no table comes to. */
#define NO_PLACE INT64_MAX

/*
 * Up to 3.9: (address delta u8, line delta s8, or u8 up to 3.5); a line holds from its address on.
 * Nothing in the table says where the code ends, so the last line holds for ever. lasti in bytes.
 */
static bool step_lnotab(const struct table *t, struct cursor *c, int64_t lasti, int32_t *line)
{
	uint8_t delta;

	if (c->pos + 1 >= t->len || c->at + t->bytes[c->pos] > lasti) {
		*line = line_or_unknown(c->line);
		return true;
	}
	c->at += t->bytes[c->pos];
	delta = t->bytes[c->pos + 1];
	c->line += t->kind == KRAIT_LINES_LNOTAB ? (int8_t)delta : delta;
	c->pos += 2;
	return false;
}

/*
 * 3.10: (range length u8, line delta s8); the delta counts for that very range. An empty range
 * still moves the running line: that is how deltas beyond a byte are spelt.
 */
static bool step_pep626(const struct table *t, struct cursor *c, int64_t lasti, int32_t *line)
{
	int8_t delta;

	*line = LINE_UNKNOWN;
	if (c->pos + 1 >= t->len)
		return true;
	delta = (int8_t)t->bytes[c->pos + 1];
	if (delta != PEP626_NO_LINE)
		c->line += delta;
	c->at += t->bytes[c->pos];
	c->pos += 2;
	if (lasti >= c->at)
		return false;
	if (delta != PEP626_NO_LINE)
		*line = line_or_unknown(c->line);
	return true;
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
static bool step_pep657(const struct table *t, struct cursor *c, int64_t unit, int32_t *line)
{
	unsigned int code;
	int64_t delta;
	uint8_t head;

	*line = LINE_UNKNOWN;
	if (c->pos >= t->len)
		return true;
	head = t->bytes[c->pos++];
	code = head >> 3 & 0xf;
	if (!(head & PEP657_ENTRY_BIT) || !read_line_delta(code, t->bytes, t->len, c->pos, &delta))
		return true;
	c->line += delta;
	/* CPython's running line is an int: one that leaves it was made up. */
	if (c->line != (int32_t)c->line)
		return true;
	c->at += (head & 7) + 1;
	if (unit < c->at) {
		if (code != PEP657_NO_LINE)
			*line = line_or_unknown(c->line);
		return true;
	}
	while (c->pos < t->len && !(t->bytes[c->pos] & PEP657_ENTRY_BIT))
		c->pos++;
	return false;
}

/* Takes the next entry. True if that is the answer, or there is none: *line. */
static bool step(const struct table *t, struct cursor *c, int64_t place, int32_t *line)
{
	switch (t->kind) {
	case KRAIT_LINES_LNOTAB:
	case KRAIT_LINES_LNOTAB_UNSIGNED:
		return step_lnotab(t, c, place, line);
	case KRAIT_LINES_PEP626:
		return step_pep626(t, c, place, line);
	case KRAIT_LINES_PEP657:
		return step_pep657(t, c, place, line);
	}
	*line = LINE_UNKNOWN;
	return true;
}

/* The unit in the measure of the table: bytes up to 3.10. */
static int64_t place_of(enum krait_lines_kind kind, int32_t unit)
{
	bool in_bytes = kind == KRAIT_LINES_LNOTAB || kind == KRAIT_LINES_PEP626;

	return in_bytes ? (int64_t)unit * UNIT_BYTES : unit;
}

static int32_t line_from(const struct table *t, struct cursor c, int64_t place)
{
	int32_t line;

	while (!step(t, &c, place, &line))
		;
	return line;
}

int32_t linetable_line(enum krait_lines_kind kind, const uint8_t *table, size_t table_bytes,
		       int32_t first_line, int32_t unit)
{
	const struct table t = {kind, table, table_bytes};

	if (unit < 0)
		return line_or_unknown(first_line);
	return line_from(&t, (struct cursor){.line = first_line}, place_of(kind, unit));
}

/* ---- Long tables ---- */

#define MARK_BYTES 1024 /* of the table between two marks */

struct linetable {
	struct table table;
	int32_t first_line;
	uint32_t mark_cnt;
	struct cursor marks[];
};

struct linetable *linetable_new(enum krait_lines_kind kind, const uint8_t *table,
				size_t table_bytes, int32_t first_line)
{
	size_t most = table_bytes / MARK_BYTES + 1;
	struct linetable *lt = malloc(sizeof(*lt) + most * sizeof(lt->marks[0]));
	struct cursor c = {.line = first_line};
	int32_t line;

	if (!lt)
		return NULL;
	lt->table = (struct table){kind, table, table_bytes};
	lt->first_line = first_line;
	lt->marks[0] = c;
	lt->mark_cnt = 1;
	while (!step(&lt->table, &c, NO_PLACE, &line))
		if (c.pos >= lt->marks[lt->mark_cnt - 1].pos + MARK_BYTES && lt->mark_cnt < most)
			lt->marks[lt->mark_cnt++] = c;
	return lt;
}

void linetable_free(struct linetable *lt)
{
	free(lt);
}

int32_t linetable_find(const struct linetable *lt, int32_t unit)
{
	int64_t place = place_of(lt->table.kind, unit);
	uint32_t low = 0, high = lt->mark_cnt;

	if (unit < 0)
		return line_or_unknown(lt->first_line);
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (lt->marks[mid].at <= place)
			low = mid;
		else
			high = mid;
	}
	return line_from(&lt->table, lt->marks[low], place);
}
