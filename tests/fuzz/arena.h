/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A target's memory for the readers of Python objects: takes the place of proc/memory.c and of
 * what proc/procfs.c says of threads, at link time. Include once, after cmocka.h.
 *
 * The memory is the arena of tests/unit/fake_threads.h, at an address that is always the same; what
 * lies behind it is not there; and from WIDE_OFF on it comes again and again, so that a table of
 * any size can be read.
 */
#ifndef KRAIT_TESTS_FUZZ_ARENA_H
#define KRAIT_TESTS_FUZZ_ARENA_H

#include <errno.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_threads.h"
#include "user/python/debug_offsets.h"
#include "user/proc/memory.h"
#include "user/proc/procfs.h"

#define ARENA_ADDR 0x10000000UL
#define ARENA_WORDS (ARENA_BYTES / 8)
#define WIDE_OFF (1UL << 20)
#define WIDE_BYTES (16UL << 20)
#define WRITES_MAX 64
#define TABLE_BIT 0x80
#define NS_TID_OFF 7 /* what a thread's id is less in its own pid namespace */

/* A word of the target that is another one from the nth read on. */
struct later {
	uint64_t after;
	uint32_t word_idx;
	uint64_t value;
};

static struct arena {
	struct fake fake;
	uint64_t read_cnt;
	struct later later[WRITES_MAX];
	uint32_t later_cnt;
} arena;

/* ---- What the readers call ---- */

int memory_init(struct memory *mem, int dir_fd)
{
	mem->fd = dir_fd;
	return 0;
}

void memory_release(struct memory *mem)
{
	mem->fd = -1;
}

int memory_read(const struct memory *mem, uint64_t addr, void *buf, size_t len)
{
	uint64_t off = addr - ARENA_ADDR;

	(void)mem;
	arena.read_cnt++;
	for (uint32_t i = 0; i < arena.later_cnt; i++)
		if (arena.read_cnt == arena.later[i].after)
			put(arena.fake.arena, 8UL * arena.later[i].word_idx, arena.later[i].value);
	if (off <= ARENA_BYTES && len <= ARENA_BYTES - off) {
		memcpy(buf, arena.fake.arena + off, len);
		return 0;
	}
	if (off < WIDE_OFF || off - WIDE_OFF > WIDE_BYTES || len > WIDE_BYTES - (off - WIDE_OFF))
		return -EFAULT;
	for (size_t done = 0, part; done < len; done += part, off += part) {
		part = ARENA_BYTES - off % ARENA_BYTES;
		part = part < len - done ? part : len - done;
		memcpy((char *)buf + done, arena.fake.arena + off % ARENA_BYTES, part);
	}
	return 0;
}

int memory_read_u64(const struct memory *mem, uint64_t addr, uint64_t *out)
{
	return memory_read(mem, addr, out, sizeof(*out));
}

int procfs_open(struct procfs *p, pid_t pid)
{
	*p = (struct procfs){.dir_fd = -1, .pid = pid};
	return 0;
}

void procfs_close(struct procfs *p)
{
	(void)p;
}

int procfs_read_stat(const struct procfs *p, struct procfs_stat *out)
{
	(void)p;
	*out = (struct procfs_stat){.state = 'S'};
	return 0;
}

int procfs_move_to_live_thread(struct procfs *p)
{
	(void)p;
	return 0;
}

uint64_t procfs_ns_tid(const struct procfs *p, pid_t tid)
{
	(void)p;
	return tid - NS_TID_OFF;
}

/* ---- The input ---- */

/* Makes the interpreter that the input's first byte asks for, with the layout of the table behind
 * it if TABLE_BIT is set. False if the table is refused. */
static inline bool arena_take_fake(const uint8_t **data, size_t *size, uint64_t native_id)
{
	uint8_t which = fuzz_take_byte(data, size), table[DEBUG_OFFSETS_BYTES];
	struct py_layout layout;
	const char *why;

	if (!arena.fake.arena)
		arena.fake.arena = mmap((void *)ARENA_ADDR, ARENA_BYTES, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	FUZZ_CHECK(arena.fake.arena == (char *)ARENA_ADDR);
	memset(arena.fake.arena, 0, ARENA_BYTES);
	arena.read_cnt = arena.later_cnt = 0;
	fake_init(&arena.fake, minors[(which & ~TABLE_BIT) % (sizeof(minors) / sizeof(*minors))],
		  native_id);
	if (!(which & TABLE_BIT))
		return true;
	fuzz_take(data, size, table, sizeof(table));
	if (debug_offsets_parse(table, &layout, &why) != 0)
		return false;
	arena.fake.walk = layout.walk;
	return true;
}

/* The value of a write: a number, the address of something in the arena, or near it. */
static inline uint64_t arena_value(int16_t high, uint32_t low)
{
	switch (high) {
	case 1:
		return ARENA_ADDR + low % ARENA_BYTES;
	case 2:
		return ARENA_ADDR + WIDE_OFF + low % ARENA_BYTES;
	default:
		return (uint64_t)high << 32 | low;
	}
}

/* Takes as many writes as the next byte says, of 8 bytes each: the word (10 bits) and when it is
 * written (6 bits: 0 at once, else at every 4th read); the value's upper and lower half. */
static inline void arena_take_writes(const uint8_t **data, size_t *size)
{
	uint8_t cnt = fuzz_take_byte(data, size);

	for (uint32_t i = 0; i < cnt % (WRITES_MAX + 1); i++) {
		struct {
			uint16_t at;
			int16_t high;
			uint32_t low;
		} write;
		uint64_t value;

		fuzz_take(data, size, &write, sizeof(write));
		value = arena_value(write.high, write.low);
		if (write.at / ARENA_WORDS)
			arena.later[arena.later_cnt++] = (struct later){
				4UL * (write.at / ARENA_WORDS), write.at % ARENA_WORDS, value};
		else
			put(arena.fake.arena, 8UL * write.at, value);
	}
}

#endif
