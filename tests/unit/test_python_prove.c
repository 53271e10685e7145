/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The proof, over a target's memory made by hand: a 3.11 interpreter of two threads in a sparse
 * file, read at its offsets as /proc/PID/mem is. Each link is broken in turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "user/python/prove.h"

#define RUNTIME 0x100000
#define INTERP 0x110000
#define INTERP2 0x118000
#define THREAD1 0x120000
#define THREAD2 0x130000
#define PTHREAD1 0x140000
#define PTHREAD2 0x141000
#define CFRAME 0x150000
#define FRAME 0x160000
#define FRAME2 0x161000
#define CODE 0x170000
#define CODE_TYPE 0x180000
#define NAME 0x190000
#define MEMORY_END 0x200000

struct fake {
	struct memory mem;
	struct procfs proc;
	struct prove_args args;
	struct krait_addrs addrs;
};

static void put(struct fake *f, uint64_t addr, uint64_t value)
{
	assert_int_equal(pwrite(f->mem.fd, &value, 8, addr), 8);
}

/* Offsets: layout.c, 3.11. */
static void fake_init(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	f->mem.fd = memfd_create("mem", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->mem.fd, MEMORY_END), 0);
	assert_int_equal(procfs_open(&f->proc, getpid()), 0);
	f->args = (struct prove_args){.mem = &f->mem,
				      .proc = &f->proc,
				      .layout = layout_of_version(3, 11),
				      .initialized_addr = RUNTIME + 16};
	f->addrs = (struct krait_addrs){.interp_head = RUNTIME + 40, .code_type = CODE_TYPE};
	put(f, RUNTIME + 16, 1); /* initialized */
	put(f, RUNTIME + 40, INTERP);
	put(f, INTERP + 16, THREAD1);
	put(f, THREAD1 + 8, THREAD2);
	put(f, THREAD1 + 16, INTERP);
	put(f, THREAD1 + 152, PTHREAD1);
	put(f, THREAD1 + 160, getpid());
	put(f, PTHREAD1, PTHREAD1);
	put(f, THREAD1 + 56, CFRAME);
	put(f, CFRAME + 8, 0); /* the first thread runs no Python */
	put(f, THREAD2 + 0, THREAD1);
	put(f, THREAD2 + 16, INTERP);
	put(f, THREAD2 + 152, PTHREAD2);
	put(f, THREAD2 + 160, getpid());
	put(f, PTHREAD2, PTHREAD2);
	put(f, THREAD2 + 56, CFRAME + 64);
	put(f, CFRAME + 64 + 8, FRAME);
	put(f, FRAME + 32, 0x170008); /* half pushed: not a code object */
	put(f, FRAME + 48, FRAME2);
	put(f, FRAME2 + 32, CODE);
	put(f, CODE + 8, CODE_TYPE);
	put(f, CODE_TYPE + 24, NAME);
	assert_int_equal(pwrite(f->mem.fd, "code", 5, NAME), 5);
}

static void fake_release(struct fake *f)
{
	procfs_close(&f->proc);
	memory_release(&f->mem);
}

static enum proof prove_it(const struct fake *f)
{
	struct krait_addrs addrs = f->addrs;
	const char *why = NULL;
	enum proof proof = prove(&f->args, &addrs, &why);

	assert_int_equal(addrs.interp_head, f->addrs.interp_head);
	if (proof == PROOF_GOOD) {
		assert_int_equal(addrs.code_type, CODE_TYPE);
	} else {
		assert_int_equal(addrs.code_type, f->addrs.code_type);
		assert_non_null(why);
	}
	return proof;
}

static void test_good(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	assert_int_equal(prove_it(&f), PROOF_GOOD);
	f.addrs.code_type = 0; /* no symbol: learned from the frame */
	assert_int_equal(prove_it(&f), PROOF_GOOD);
	fake_release(&f);
}

static void test_idle(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	put(&f, CFRAME + 64 + 8, 0);
	assert_int_equal(prove_it(&f), PROOF_GOOD);
	f.addrs.code_type = 0; /* nothing to learn it from yet */
	assert_int_equal(prove_it(&f), PROOF_NOT_YET);
	fake_release(&f);
}

/* A subinterpreter that is being made comes first in the list. */
static void test_empty_first_interpreter(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	put(&f, RUNTIME + 40, INTERP2);
	put(&f, INTERP2, INTERP);
	assert_int_equal(prove_it(&f), PROOF_GOOD);
	fake_release(&f);
}

/* One thing broken at a time. */
static const struct {
	const char *what;
	uint64_t addr, value;
	enum proof want;
} breaks[] = {
	{"no interpreter", RUNTIME + 40, 0, PROOF_NOT_YET},
	{"no thread", INTERP + 16, 0, PROOF_NOT_YET},
	{"interpreter: no pointer", RUNTIME + 40, 0x110001, PROOF_WRONG},
	{"interpreter: kernel address", RUNTIME + 40, 0xffff888000000000, PROOF_WRONG},
	{"interpreter: unmapped", RUNTIME + 40, 0x900000, PROOF_WRONG},
	{"thread: unaligned", INTERP + 16, THREAD1 + 4, PROOF_WRONG},
	{"thread: unmapped", INTERP + 16, 0x900000, PROOF_WRONG},
	{"thread: interp does not point back", THREAD1 + 16, INTERP + 8, PROOF_WRONG},
	{"thread: prev of the first", THREAD1 + 0, THREAD2, PROOF_WRONG},
	{"thread: prev does not point back", THREAD2 + 0, THREAD2, PROOF_WRONG},
	{"thread: next goes round", THREAD1 + 8, THREAD1, PROOF_WRONG},
	{"frame: no code", FRAME2 + 32, CODE_TYPE, PROOF_WRONG},
	{"frame: unmapped", CFRAME + 64 + 8, 0x900000, PROOF_WRONG},
	{"frame: round in circles", FRAME + 48, FRAME, PROOF_WRONG},
	{"type: another name", NAME, 0x656d616e, PROOF_WRONG},
	{"type: unmapped name", CODE_TYPE + 24, 0x900000, PROOF_WRONG},
};

static void test_broken(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
		struct fake f;

		fake_init(&f);
		put(&f, breaks[i].addr, breaks[i].value);
		if (prove_it(&f) != breaks[i].want)
			fail_msg("%s: not as wanted", breaks[i].what);
		/* The same before it is initialised is no contradiction. */
		put(&f, RUNTIME + 16, 0);
		if (prove_it(&f) != PROOF_NOT_YET)
			fail_msg("%s: held against a starting interpreter", breaks[i].what);
		/* Where nothing says whether it is, it counts as initialised. */
		f.args.initialized_addr = 0;
		if (prove_it(&f) != breaks[i].want)
			fail_msg("%s: not as wanted without the flag", breaks[i].what);
		fake_release(&f);
	}
}

/* A thread state may outlive its thread; when all have, the layout is doubtful. */
static void test_dead_threads(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	put(&f, PTHREAD1, 0);
	put(&f, THREAD1 + 160, 0);
	assert_int_equal(prove_it(&f), PROOF_GOOD);
	put(&f, PTHREAD2, 0);
	put(&f, THREAD2 + 160, 0);
	assert_int_equal(prove_it(&f), PROOF_WRONG);
	fake_release(&f);
}

/* No memory at all: the process has ended. */
static void test_gone(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	assert_int_equal(ftruncate(f.mem.fd, 0), 0);
	assert_int_equal(prove_it(&f), PROOF_NOT_YET);
	fake_release(&f);
}

static uint64_t reads_so_far(void)
{
	FILE *io = fopen("/proc/self/io", "r");
	unsigned long long cnt = 0;
	char line[64];

	assert_non_null(io);
	while (fgets(line, sizeof(line), io))
		sscanf(line, "syscr: %llu", &cnt);
	fclose(io);
	return cnt;
}

/* As many threads and frames as an attempt looks at, in an interpreter whose next one it is itself,
 * and no code anywhere: without an end to the sum, each of 20 attempts took some million reads. */
static void test_reads_are_bounded(void **state)
{
	const uint64_t threads = 0x300000, frames = 0x400000, cnt = 1000;
	struct fake f;
	uint64_t before;

	(void)state;
	fake_init(&f);
	assert_int_equal(ftruncate(f.mem.fd, 0x800000), 0);
	put(&f, INTERP, INTERP);
	put(&f, THREAD1 + 8, threads);
	put(&f, CFRAME + 64 + 8, frames);
	for (uint64_t i = 0; i < cnt; i++) {
		uint64_t at = threads + i * 512;

		put(&f, at + 0, i ? at - 512 : THREAD1);
		put(&f, at + 8, i + 1 < cnt ? at + 512 : 0);
		put(&f, at + 16, INTERP);
		put(&f, at + 152, PTHREAD1);
		put(&f, at + 160, getpid());
		put(&f, at + 56, CFRAME + 64);
		put(&f, frames + i * 128 + 32, CODE_TYPE);
		put(&f, frames + i * 128 + 48, frames + (i + 1) % cnt * 128);
	}
	before = reads_so_far();
	assert_int_equal(prove_it(&f), PROOF_WRONG);
	assert_in_range(reads_so_far() - before, 1, 100000);
	fake_release(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_are_bounded),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_empty_first_interpreter),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_dead_threads),
		cmocka_unit_test(test_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
