/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * python/prove.h: whether a layout fits a process. In life all that it reads is the target's
 * memory, its layout too from 3.13 on, and the target goes on running.
 *
 * A Python made by hand (python.h), into which the input writes words, before the proof and during
 * it. The proof ends after a bounded number of reads, gives a reason or a type, and what it calls
 * good is so where the memory kept still: the type is called "code", and the first thread state
 * belongs to its interpreter. It takes the place of proc/memory.c, and pauses take no time.
 *
 * Input: number of the layout, or 0x80 and a _Py_DebugOffsets; a byte of what is known beforehand;
 * words to write as in fuzz_walk.c, and LATER: the next one is written at that read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "tests/fuzz/python.h"
#include "user/python/prove.h"

#define READS_MAX 65536 /* prove.c's */
#define LATER 0xffff
#define WRITES_MAX 128
#define NAME_ADDR (TYPE_ADDR + 0xf00)
#define INITIALIZED_ADDR (HEAD_ADDR + 0x800)

enum { KNOWS_TYPE = 1, KNOWS_INITIALIZED = 2 };

struct write {
	uint64_t at_read, addr, word;
};

static struct write later[WRITES_MAX];
static uint32_t later_cnt;
static uint64_t prove_reads;

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
	(void)mem;
	prove_reads++;
	FUZZ_CHECK(prove_reads <= READS_MAX);
	for (uint32_t i = 0; i < later_cnt; i++)
		if (later[i].at_read == prove_reads)
			put(later[i].addr, &later[i].word, sizeof(later[i].word));
	return memory_copy(buf, len, addr) ? 0 : -EFAULT;
}

int memory_read_u64(const struct memory *mem, uint64_t addr, uint64_t *out)
{
	return memory_read(mem, addr, out, sizeof(*out));
}

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
	(void)wanted;
	(void)left;
	return 0;
}

/* ---- The input ---- */

static void take_writes(const uint8_t *data, size_t size)
{
	uint64_t at_read = 0;

	for (int i = 0; i < WRITES_MAX && size > 0; i++) {
		struct {
			uint16_t at;
			int16_t high;
			uint32_t low;
		} write;
		uint64_t word;

		fuzz_take(&data, &size, &write, sizeof(write));
		word = (uint64_t)write.high << 32 | write.low;
		if (write.at == LATER)
			at_read = word;
		else if (at_read)
			later[later_cnt++] = (struct write){at_read, BASE + 8ULL * write.at, word};
		else
			put(BASE + 8ULL * write.at, &word, sizeof(word));
		if (write.at != LATER)
			at_read = 0;
	}
}

/* ---- What must hold ---- */

static uint64_t held_word(uint64_t addr)
{
	uint64_t word = 0;

	FUZZ_CHECK(memory_copy((uint8_t *)&word, sizeof(word), addr));
	return word;
}

static void check_good(const struct py_layout *l, uint64_t type_addr)
{
	uint64_t interp = held_word(HEAD_ADDR), ts = 0;
	uint8_t name[5];

	FUZZ_CHECK(memory_copy(name, sizeof(name), held_word(type_addr + l->tp_name_off)));
	FUZZ_CHECK(!memcmp(name, "code", sizeof(name)));
	/* One that is being made has none yet. */
	for (int i = 0; i < 64 && interp && !ts; i++) {
		ts = held_word(interp + l->walk.interp_threads_off);
		if (!ts)
			interp = held_word(interp + l->walk.interp_next_off);
	}
	FUZZ_CHECK(ts && held_word(ts + l->walk.ts_interp_off) == interp);
	FUZZ_CHECK(!l->walk.has_prev || !held_word(ts + l->walk.ts_prev_off));
}

static void check_proof(const struct prove_args *args, const struct krait_addrs *known)
{
	struct krait_addrs addrs = *known;
	const char *why = NULL;
	enum proof proof = prove(args, &addrs, &why);

	if (proof != PROOF_GOOD) {
		FUZZ_CHECK(proof == PROOF_NOT_YET || proof == PROOF_WRONG);
		FUZZ_CHECK(why && *why && addrs.code_type == known->code_type);
		return;
	}
	FUZZ_CHECK(addrs.code_type);
	FUZZ_CHECK(!known->code_type || addrs.code_type == known->code_type);
	if (!later_cnt)
		check_good(args->layout, addrs.code_type);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t thread_id = THREAD_ID, name = NAME_ADDR;
	const struct memory mem = {.fd = -1};
	const struct procfs proc = {.dir_fd = -1};
	struct py_layout layout;
	struct prove_args args = {.mem = &mem, .proc = &proc, .layout = &layout};
	struct krait_addrs addrs = {.interp_head = HEAD_ADDR};
	uint8_t known;

	if (!take_layout(&data, &size, &layout))
		return 0;
	known = fuzz_take_byte(&data, &size);
	host_init(&layout.walk, HEAD_ADDR, TYPE_ADDR);
	make_python(&layout.walk);
	put(THREAD_ID, &thread_id, sizeof(thread_id)); /* pthread_self() points to itself */
	put(TYPE_ADDR + layout.tp_name_off, &name, sizeof(name));
	put(NAME_ADDR, "code", 5);
	put(INITIALIZED_ADDR, "\1\0\0\0", 4);
	addrs.code_type = known & KNOWS_TYPE ? TYPE_ADDR : 0;
	args.initialized_addr = known & KNOWS_INITIALIZED ? INITIALIZED_ADDR : 0;
	prove_reads = later_cnt = 0;
	take_writes(data, size);
	check_proof(&args, &addrs);
	host_release();
	return 0;
}
