/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session/thread_names.h: from an interpreter to what its threading calls the threads. In life all
 * of it is the target's memory, and its layout too from 3.13 on; and the target goes on running.
 *
 * An interpreter made by hand, into which the input writes words, before the reading and during it:
 * the reading ends after a bounded number of reads; the threads are the same, in order; a name is
 * safe text of no more than it may be, and text that the memory holds, if that kept still.
 *
 * Input: which interpreter (arena.h); a byte that says which of two threads is looked for as the
 * main one; the writes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/fuzz/arena.h"
#include "user/base/strbuf.h"
#include "user/base/text.h"
#include "user/python/pyversion.h"
#include "user/session/thread_names.h"

#define PID 4711
#define TID 4712
#define IDENTS 3
/* thread_names.c's budget of a pass; a read of a type is two more, and its name up to 16. */
#define PASS_READS ((1 << 14) + 32 * IDENTS)
#define READS_MAX (2 * (PASS_READS * (1 + 1 + 16) + 200))

/* Bytes of the arena, which goes on at its start as the wide part does. */
static void copy_at(void *dst, uint64_t off, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		((char *)dst)[i] = arena.fake.arena[(off + i) % ARENA_BYTES];
}

/* Whether `name` is what krait makes of some str that could be at `addr`, of any kind. */
static bool is_str_at(uint64_t off, const char *name)
{
	static const uint8_t widths[] = {0, 1, 2, 4};
	const struct krait_layout *w = &arena.fake.walk;
	const uint32_t starts[] = {w->str_ascii_bytes, w->str_compact_bytes};
	bool is_it = false;
	uint64_t chars;

	copy_at(&chars, off + w->str_length_off, sizeof(chars));
	/* No character becomes less than a byte, and what is cut says so. */
	if (!chars || (chars <= THREAD_NAME_CHARS && chars > strlen(name)) ||
	    (chars > THREAD_NAME_CHARS && strlen(name) < THREAD_NAME_CHARS))
		return false;
	for (uint32_t i = 0; i < 2 * sizeof(widths) && !is_it; i++) {
		uint64_t start = off + starts[i / sizeof(widths)];
		uint8_t width = widths[i % sizeof(widths)];
		uint64_t cnt = chars > THREAD_NAME_CHARS ? THREAD_NAME_CHARS : chars;
		char bytes[THREAD_NAME_CHARS * 4];
		struct strbuf text = {};

		cnt *= width ? width : 1;
		copy_at(bytes, start, cnt);
		if (width)
			text_add_pystr(&text, bytes, cnt, width);
		else
			text_add_utf8(&text, bytes, cnt);
		if (chars > THREAD_NAME_CHARS)
			strbuf_add_str(&text, "…");
		is_it = !strcmp(strbuf_text(&text), name);
		strbuf_release(&text);
	}
	return is_it;
}

static void check_name(const char *name)
{
	bool is_held = arena.later_cnt > 0;

	FUZZ_CHECK(*name && strlen(name) < THREAD_NAME_BYTES);
	FUZZ_CHECK(fuzz_is_safe_text(name, strlen(name)));
	for (uint64_t off = 0; off < ARENA_BYTES && !is_held; off += 8)
		is_held = is_str_at(off, name);
	FUZZ_CHECK(is_held);
}

static void check_threads(struct named_thread *threads)
{
	uint32_t seen = 0;

	for (uint32_t i = 0; i < IDENTS; i++) {
		FUZZ_CHECK(!i || threads[i - 1].ident <= threads[i].ident);
		seen |= 1U << threads[i].num;
		if (threads[i].name)
			check_name(threads[i].name);
		free(threads[i].name);
	}
	FUZZ_CHECK(seen == (1 << IDENTS) - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct named_thread threads[IDENTS] = {
		{.tid = TID, .num = 0, .ident = IDENT},
		{.tid = PID, .num = 1, .ident = IDENT},
		{.tid = 1, .num = 2, .ident = 7},
	};
	struct cpython python = {.interp_modules_off = MODULES_OFF};
	int minor;

	if (!arena_take_fake(&data, &size, TID - NS_TID_OFF))
		return 0;
	if (fuzz_take_byte(&data, &size) & 1)
		threads[0].tid = PID;
	arena_take_writes(&data, &size);
	minor = arena.fake.minor;
	python.version = minor < 0 ? pyversion_hex(2, 7, 18) : pyversion_hex(3, minor, 0);
	python.walk = arena.fake.walk;
	/* The pointer to the first interpreter lies in the arena's last word. */
	put(arena.fake.arena, ARENA_BYTES - 8, arena.fake.head);
	python.addrs.interp_head = ARENA_ADDR + ARENA_BYTES - 8;
	FUZZ_CHECK(thread_names_read(PID, &python, threads, IDENTS) == 0);
	FUZZ_CHECK(arena.read_cnt <= READS_MAX);
	check_threads(threads);
	return 0;
}
