/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small Python made by hand in tests/host/host.h's memory, in any layout: an interpreter, a
 * thread state, three frames, their code. Include once, after cmocka.h.
 */
#ifndef KRAIT_TESTS_FUZZ_PYTHON_H
#define KRAIT_TESTS_FUZZ_PYTHON_H

#include "tests/fuzz/fuzz.h"
#include "tests/host/host.h"
#include "user/python/debug_offsets.h"

/* Where things lie, a few pages apart. The words that the input may write cover all of it. */
#define BASE 0x10000
#define HEAD_ADDR BASE
#define INTERP_ADDR 0x12000
#define TSTATE_ADDR 0x16000
#define CFRAME_ADDR 0x18000
#define TYPE_ADDR 0x19000
#define CHUNK_ADDR 0x1a000
#define CODE_ADDR 0x20000
#define STR_ADDR 0x24000
#define LINES_ADDR 0x26000
#define FRAME_CNT 3
#define FRAME_BYTES_APART 0x200
#define CODE_BYTES_APART 0x1000

#define THREAD_ID 0x7f0000001000
#define TABLE_BIT 0x80

static const struct {
	unsigned int major, minor;
} versions[] = {{2, 7}, {3, 6}, {3, 7}, {3, 8}, {3, 9}, {3, 10}, {3, 11}, {3, 12}};

/* ---- A Python made by hand ---- */

static inline void put(uint64_t addr, const void *bytes, uint32_t len)
{
	const uint8_t *from = bytes;

	for (uint32_t i = 0; i < len; i++, addr++) {
		struct page *page = page_find(addr & ~(PAGE_BYTES - 1ULL));

		if (!page)
			page = page_add(addr & ~(PAGE_BYTES - 1ULL), NULL);
		if (!page->bytes) /* or a tick has found it missing */
			page->bytes = calloc(1, PAGE_BYTES);
		page->bytes[addr & (PAGE_BYTES - 1)] = from[i];
	}
}

static inline void put_at(uint64_t addr, uint32_t off, uint64_t word)
{
	put(addr + off, &word, sizeof(word));
}

static inline void make_strings(const struct krait_layout *l)
{
	uint32_t state = (1 | 8 | 16) << l->str_kind_shift; /* Latin-1, compact, ASCII */

	if (!l->names_are_bytes)
		put(STR_ADDR + l->str_state_off, &state, sizeof(state));
	put_at(STR_ADDR, l->str_length_off, 4);
	put(STR_ADDR + l->str_ascii_bytes, "name", 4);
	put_at(LINES_ADDR, l->bytes_size_off, 6);
	put(LINES_ADDR + l->bytes_data_off, "\x81\x01\x02\x04\x01\x06", 6);
}

static inline void make_code(const struct krait_layout *l, uint64_t addr)
{
	put_at(addr, l->ob_type_off, TYPE_ADDR);
	put_at(addr, l->co_first_line_off, 1);
	put_at(addr, l->co_name_off, STR_ADDR);
	if (l->has_qualname)
		put_at(addr, l->co_qualname_off, STR_ADDR);
	put_at(addr, l->co_file_off, STR_ADDR);
	put_at(addr, l->co_lines_off, LINES_ADDR);
}

/* Frame i, innermost first: the callers lie below it. */
static inline uint64_t frame_addr(uint32_t i)
{
	return CHUNK_ADDR + (FRAME_CNT - i) * FRAME_BYTES_APART;
}

static inline void make_frame(const struct krait_layout *l, uint32_t i)
{
	uint64_t addr = frame_addr(i), code = CODE_ADDR + i * CODE_BYTES_APART;
	uint64_t instr = l->instr_kind == KRAIT_INSTR_PTR ? code + l->co_bytecode_off + 2 : 2;

	put_at(addr, l->fr_instr_off, instr);
	put_at(addr, l->fr_code_off, code);
	put_at(addr, l->fr_prev_off, i + 1 < FRAME_CNT ? frame_addr(i + 1) : 0);
	if (l->has_cframe && i + 1 == FRAME_CNT)
		put(addr + l->fr_entry_off, &l->fr_entry_min, 1);
	make_code(l, code);
}

static inline void make_python(const struct krait_layout *l)
{
	const uint64_t chunk[] = {0, 0x4000};

	put_at(HEAD_ADDR, 0, INTERP_ADDR);
	put_at(INTERP_ADDR, l->interp_next_off, 0);
	put_at(INTERP_ADDR, l->interp_threads_off, TSTATE_ADDR);
	put_at(TSTATE_ADDR, l->ts_interp_off, INTERP_ADDR);
	put_at(TSTATE_ADDR, l->ts_thread_id_off, THREAD_ID);
	if (l->has_chunks)
		put_at(TSTATE_ADDR, l->ts_chunk_off, CHUNK_ADDR);
	put(CHUNK_ADDR, chunk, sizeof(chunk));
	put_at(TSTATE_ADDR, l->ts_frame_off, frame_addr(0));
	if (l->has_cframe) {
		put_at(TSTATE_ADDR, l->ts_frame_off, CFRAME_ADDR);
		put_at(CFRAME_ADDR, l->ts_cframe_frame_off, frame_addr(0));
	}
	make_strings(l);
	for (uint32_t i = 0; i < FRAME_CNT; i++)
		make_frame(l, i);
}

/* ---- The input ---- */

/* The layout that the input asks for. False if its table is refused. */
static inline bool take_layout(const uint8_t **data, size_t *size, struct py_layout *out)
{
	uint8_t which = fuzz_take_byte(data, size), table[DEBUG_OFFSETS_BYTES];
	const char *why;

	if (which & TABLE_BIT) {
		fuzz_take(data, size, table, sizeof(table));
		return debug_offsets_parse(table, out, &why) == 0;
	}
	which %= sizeof(versions) / sizeof(*versions);
	*out = *layout_of_version(versions[which].major, versions[which].minor);
	return true;
}

#endif
