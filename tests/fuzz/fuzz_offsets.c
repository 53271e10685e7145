/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * python/debug_offsets.h: the first bytes of _PyRuntime of CPython 3.13 and later, which give the
 * layout of all that krait reads in it. In life they come out of the target's memory.
 *
 * Any bytes: refused with a reason, or a layout in which every place is the one that the table
 * says, and is within what the walker reads. The rest is for the proof on the process (prove.h).
 */
#include <errno.h>

#include "tests/fuzz/fuzz.h"
#include "user/python/debug_offsets.h"
#include "user/python/pyversion.h"

#define STRUCT_MAX 4096
/* _Py_DebugOffsets.interpreter_state: the same places in 3.13 to 3.15. */
#define INTERP_BYTES_POS 48
#define INTERP_ID_POS 56
#define INTERP_THREADS_POS 72

static uint64_t word(const uint8_t *bytes, size_t pos)
{
	uint64_t v;

	memcpy(&v, bytes + pos, sizeof(v));
	return v;
}

static bool is_within(uint16_t off, uint16_t bytes, uint32_t first, uint32_t end)
{
	return off >= first && (uint32_t)off + bytes <= end;
}

static void check_spans(const struct krait_layout *l)
{
	uint32_t first = l->fr_first_off, end = first + l->fr_read_bytes;

	FUZZ_CHECK(end <= STRUCT_MAX && l->ts_read_bytes <= STRUCT_MAX);
	FUZZ_CHECK(l->co_read_bytes <= STRUCT_MAX);
	FUZZ_CHECK(is_within(l->fr_code_off, 8, first, end));
	FUZZ_CHECK(is_within(l->fr_prev_off, 8, first, end));
	FUZZ_CHECK(is_within(l->fr_instr_off, 8, first, end));
	FUZZ_CHECK(is_within(l->fr_owner_off, 1, first, end));
	FUZZ_CHECK(is_within(l->ts_prev_off, 8, 0, l->ts_read_bytes));
	FUZZ_CHECK(is_within(l->ts_next_off, 8, 0, l->ts_read_bytes));
	FUZZ_CHECK(is_within(l->ts_frame_off, 8, 0, l->ts_read_bytes));
	FUZZ_CHECK(is_within(l->ts_thread_id_off, 8, 0, l->ts_read_bytes));
	FUZZ_CHECK(is_within(l->co_name_off, 8, 0, l->co_read_bytes));
	FUZZ_CHECK(is_within(l->co_lines_off, 8, 0, l->co_read_bytes));
}

static void check_layout(const uint8_t *bytes, const struct py_layout *layout)
{
	const struct krait_layout *l = &layout->walk;

	FUZZ_CHECK(l->interp_id_off == word(bytes, INTERP_ID_POS));
	FUZZ_CHECK(l->interp_threads_off == word(bytes, INTERP_THREADS_POS));
	FUZZ_CHECK(l->interp_collecting_off <= word(bytes, INTERP_BYTES_POS));
	FUZZ_CHECK(l->str_ascii_bytes >= l->str_length_off + 8u);
	check_spans(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(DEBUG_OFFSETS_BYTES);
	struct py_layout layout;
	const char *why = NULL;
	int err;

	FUZZ_CHECK(bytes);
	fuzz_take(&data, &size, bytes, DEBUG_OFFSETS_BYTES);
	err = debug_offsets_parse(bytes, &layout, &why);
	FUZZ_CHECK(err ? err == -ENOTSUP && why : !why);
	if (!err)
		check_layout(bytes, &layout);
	free(bytes);
	return 0;
}
