/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that is brought back: frames, code objects and thread states of a made-up layout, in this
 * program's own memory, each on a page of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "user/session/pages.h"

#define PAGES_ALL 2048
/* One in so many is used: a fault maps also what else there is of as many around it
 * (mm/memory.c, fault_around_bytes). */
#define STRIDE 16
#define CODE_TYPE 0x1234567890

enum { CODE = 1, PREV, FRAME_WORDS };

static const struct krait_layout walk = {
	.interp_next_off = 0,
	.interp_threads_off = 8,
	.ts_read_bytes = 48,
	.has_prev = 1,
	.ts_prev_off = 0,
	.ts_next_off = 8,
	.ts_interp_off = 16,
	.ts_frame_off = 24,
	.fr_first_off = 8,
	.fr_read_bytes = 16,
	.fr_code_off = 8 * CODE,
	.fr_prev_off = 8 * PREV,
	.co_read_bytes = 64,
	.co_name_off = 16,
	.has_qualname = 1,
	.co_qualname_off = 24,
	.co_file_off = 32,
	.co_lines_off = 40,
	.ob_type_off = 8,
	.str_state_off = 32,
	.str_length_off = 16,
	.str_ascii_bytes = 40,
	.str_compact_bytes = 56,
	.bytes_size_off = 16,
	.bytes_data_off = 32,
	.str_kind_shift = 2,
};

struct arena {
	char *at;
	size_t page_bytes;
};

static struct arena arena_new(int fd)
{
	struct arena a = {.page_bytes = sysconf(_SC_PAGESIZE)};
	size_t bytes = STRIDE * PAGES_ALL * a.page_bytes;

	if (fd >= 0)
		assert_int_equal(ftruncate(fd, bytes), 0);
	a.at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		    fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
	assert_true(a.at != MAP_FAILED);
	madvise(a.at, bytes, MADV_NOHUGEPAGE);
	if (fd >= 0)
		close(fd);
	return a;
}

static void arena_free(struct arena *a)
{
	munmap(a->at, STRIDE * PAGES_ALL * a->page_bytes);
}

static uint64_t *page(const struct arena *a, uint32_t nth)
{
	return (uint64_t *)(a->at + STRIDE * nth * a->page_bytes);
}

static uint64_t addr(const struct arena *a, uint32_t nth)
{
	return (uintptr_t)page(a, nth);
}

/* All of it is kept by the memfd, and none is mapped in. */
static void forget(const struct arena *a)
{
	assert_int_equal(madvise(a->at, STRIDE * PAGES_ALL * a->page_bytes, MADV_DONTNEED), 0);
}

/* Documentation/admin-guide/mm/pagemap.rst */
static uint32_t there_cnt(const struct arena *a)
{
	static uint64_t entries[STRIDE * PAGES_ALL];
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint32_t cnt = 0;

	assert_int_equal(pread(fd, entries, sizeof(entries), addr(a, 0) / a->page_bytes * 8),
			 sizeof(entries));
	close(fd);
	for (uint32_t i = 0; i < STRIDE * PAGES_ALL; i++)
		cnt += entries[i] >> 63;
	return cnt;
}

struct source {
	struct cpython python;
	struct krait_absent_rec absent;
};

static struct source source_of(uint64_t frame, uint64_t code, uint64_t tstate)
{
	return (struct source){.python = {.addrs.code_type = CODE_TYPE, .walk = walk},
			       .absent = {.pid = getpid(),
					  .frame_addr = frame,
					  .code_addr = code,
					  .tstate_addr = tstate}};
}

static int bring_back(const struct source *source)
{
	return pages_bring_back(&source->python, &source->absent);
}

/* That many come back, which are really there then, and no more the next time. */
static void assert_back(const struct arena *a, const struct source *source, uint32_t cnt)
{
	assert_int_equal(there_cnt(a), 0);
	assert_int_equal(bring_back(source), cnt);
	assert_int_equal(there_cnt(a), cnt);
	assert_int_equal(bring_back(source), 0);
}

/* Frames on the pages [from, to), each called by the next one, the last by the one at `outer`. */
static void make_frames(const struct arena *a, uint32_t from, uint32_t to, uint64_t outer)
{
	for (uint32_t i = from; i < to; i++)
		page(a, i)[PREV] = i + 1 < to ? addr(a, i + 1) : outer;
}

/* A code object on this page, whose strs and line table are on the next ones: five pages. */
static void make_code(const struct arena *a, uint32_t at)
{
	page(a, at)[1] = CODE_TYPE;
	for (uint32_t i = 1; i <= 4; i++)
		page(a, at)[1 + i] = addr(a, at + i);
	for (uint32_t i = 1; i <= 3; i++) {
		page(a, at + i)[2] = 10;		/* characters */
		page(a, at + i)[4] = (1 | 8 | 16) << 2; /* compact ASCII */
	}
	page(a, at + 4)[2] = 10;
}

static void test_frames(void **state)
{
	struct arena a = arena_new(memfd_create("test", 0));
	struct source source = source_of(addr(&a, 3), 0, 0);

	(void)state;
	make_frames(&a, 3, 20, 0);
	make_code(&a, 30);
	make_code(&a, 40);
	page(&a, 3)[CODE] = page(&a, 19)[CODE] = addr(&a, 30) | 1; /* a tagged reference */
	page(&a, 4)[CODE] = addr(&a, 40);
	page(&a, 5)[CODE] = addr(&a, 50); /* no code object, */
	page(&a, 50)[2] = addr(&a, 60);	  /* and so no name */
	forget(&a);
	assert_back(&a, &source, 17 + 5 + 5 + 1);
	arena_free(&a);
}

/* What is long is followed as far as a record takes it. */
static void test_long_texts(void **state)
{
	struct arena a = arena_new(memfd_create("test", 0));
	struct source source = source_of(0, addr(&a, 0), 0);
	uint32_t lines_pages = KRAIT_LINES_CHUNK_BYTES / a.page_bytes;

	(void)state;
	make_code(&a, 0);
	page(&a, 1)[2] = 1ULL << 40;
	page(&a, 4)[2] = KRAIT_LINES_CHUNK_BYTES;
	forget(&a);
	assert_back(&a, &source, 5 + lines_pages); /* behind its head it ends on one page more */
	arena_free(&a);
	a = arena_new(memfd_create("test", 0));
	source.absent.code_addr = addr(&a, 0);
	make_code(&a, 0);
	page(&a, 4)[2] = UINT64_MAX;
	forget(&a);
	assert_back(&a, &source, 5);
	arena_free(&a);
}

static void test_bounds(void **state)
{
	struct arena a = arena_new(memfd_create("test", 0));
	struct source source = source_of(addr(&a, 0), 0, 0);

	(void)state;
	make_frames(&a, 0, PAGES_ALL, addr(&a, 0)); /* in a circle */
	forget(&a);
	assert_int_equal(bring_back(&source), PAGES_MAX);
	assert_int_equal(there_cnt(&a), PAGES_MAX);
	/* What is there does not count: it goes on where it stopped. */
	assert_int_equal(bring_back(&source), PAGES_MAX);
	for (int i = 0; i < 2; i++)
		assert_int_equal(bring_back(&source), PAGES_MAX);
	assert_int_equal(there_cnt(&a), PAGES_FRAMES_MAX);
	assert_int_equal(bring_back(&source), 0);
	arena_free(&a);
}

/* The thread state, the one before it in the list, and the frames. */
static void test_thread(void **state)
{
	struct arena a = arena_new(memfd_create("test", 0));
	struct source source = source_of(0, 0, addr(&a, 10));

	(void)state;
	page(&a, 10)[0] = addr(&a, 11);
	page(&a, 10)[3] = addr(&a, 20);
	make_frames(&a, 20, 25, 0);
	forget(&a);
	assert_back(&a, &source, 2 + 5);
	arena_free(&a);
}

/* All that a search goes over, when it is not known where the state is. */
static void test_lists(void **state)
{
	struct arena a = arena_new(memfd_create("test", 0));
	struct source source = source_of(0, 0, 0);

	(void)state;
	source.python.addrs.interp_head = addr(&a, 0);
	page(&a, 0)[0] = addr(&a, 1); /* two interpreters, */
	page(&a, 1)[0] = addr(&a, 2);
	page(&a, 1)[1] = addr(&a, 10); /* with two states and none, */
	page(&a, 10)[1] = addr(&a, 11);
	page(&a, 11)[1] = 0;
	forget(&a);
	assert_back(&a, &source, 3 + 2);
	page(&a, 11)[1] = addr(&a, 10); /* in a circle, which takes all steps */
	forget(&a);
	assert_back(&a, &source, 2 + 2);
	arena_free(&a);
}

/* Also memory that was never used: a target may have its frames lie there. */
static void test_anonymous(void **state)
{
	struct arena a = arena_new(-1);
	struct source source = source_of(addr(&a, 3), 0, 0);

	(void)state;
	assert_back(&a, &source, 1);
	arena_free(&a);
}

static void test_not_to_be_had(void **state)
{
	struct arena a = arena_new(memfd_create("test", 0));
	struct source source = source_of(addr(&a, 0), 0, 0);

	(void)state;
	make_frames(&a, 0, 10, 0);
	forget(&a);
	mprotect(page(&a, 4), a.page_bytes, PROT_NONE);
	munmap(page(&a, 20), a.page_bytes);
	assert_back(&a, &source, 4);
	source.absent.frame_addr = addr(&a, 20);
	assert_int_equal(bring_back(&source), 0);
	source.absent.frame_addr = addr(&a, 20) - 16; /* its last field is not there */
	assert_int_equal(bring_back(&source), 1);
	source.absent.frame_addr = UINT64_MAX - 8;
	assert_int_equal(bring_back(&source), 0);
	source.absent.frame_addr = INT64_MAX;
	assert_int_equal(bring_back(&source), 0);
	source.absent.pid = 1 << 30; /* no process */
	assert_true(bring_back(&source) < 0);
	arena_free(&a);
}

/* A file on a file system with no block device is left alone, whatever it is. */
static void test_another_file_system(void **state)
{
	int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY);
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	struct source source = source_of((uintptr_t)at, 0, 0);

	(void)state;
	if (at == MAP_FAILED)
		skip();
	assert_int_equal(bring_back(&source), 0);
	munmap(at, 4096);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),	      cmocka_unit_test(test_long_texts),
		cmocka_unit_test(test_bounds),	      cmocka_unit_test(test_thread),
		cmocka_unit_test(test_lists),	      cmocka_unit_test(test_anonymous),
		cmocka_unit_test(test_not_to_be_had), cmocka_unit_test(test_another_file_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
