/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * symbolize/linetable.h: the line tables of code objects, four generations. In life they are copied
 * out of the memory of the processes that are profiled, or come from a recording.
 *
 * Any bytes as a table of any kind (and of kinds that there are not), with any first line: no read
 * outside it, no overflow, an end; a line is unknown or at least 1; what lies before the first
 * instruction is on the first line.
 *
 * Input: kind, first line (4), unit (4), table.
 */
#include "tests/fuzz/fuzz.h"
#include "user/symbolize/linetable.h"

#define KINDS 6 /* 0 and 5 are none */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int kind = fuzz_take_byte(&data, &size) % KINDS;
	int32_t first_line, unit, line;
	uint8_t *table;

	fuzz_take(&data, &size, &first_line, sizeof(first_line));
	fuzz_take(&data, &size, &unit, sizeof(unit));
	table = fuzz_copy(data, size);
	line = linetable_line((enum krait_lines_kind)kind, table, size, first_line, unit);
	FUZZ_CHECK(line >= 1 || line == LINE_UNKNOWN);
	if (kind >= KRAIT_LINES_LNOTAB && kind <= KRAIT_LINES_LNOTAB_UNSIGNED && unit < 0)
		FUZZ_CHECK(line == (first_line >= 1 ? first_line : LINE_UNKNOWN));
	free(table);
	return 0;
}
