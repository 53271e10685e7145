/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A recording as krait writes it, read back: whole, cut behind every byte, with a bit flipped in
 * every byte. Whatever happens to a block costs it and those behind it, and no others, and one line
 * says so. What other writers may put into one is in tests/golden.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "user/drain/recording.h"
#include "user/drain/records.h"

#define BLOCKS_MAX 64
#define START_NS 1000

struct file {
	char *bytes;
	size_t len;
	size_t ends[BLOCKS_MAX]; /* where each block ends */
	uint32_t block_cnt;
};

/* What a reader was shown. */
struct seen {
	uint32_t heads, records, samples, tails, cuts;
	uint64_t until_ns;
	uint32_t bytes_max; /* of a record */
	struct recording_tail tail;
};

static int on_head(const struct krait_head_rec *head, void *arg)
{
	struct seen *s = arg;

	assert_string_equal(head->host, "host");
	assert_string_equal(head->target, "all");
	assert_int_equal(head->start_mono_ns, START_NS);
	assert_int_equal(s->records, 0);
	s->heads++;
	return 0;
}

static int on_record(const struct krait_hdr *rec, void *arg)
{
	struct seen *s = arg;

	assert_int_equal(record_check(rec, rec->bytes), rec->bytes);
	if (rec->kind == KRAIT_SAMPLE) /* in their order, each once */
		assert_int_equal(((const struct krait_sample_rec *)rec)->tid, s->samples++);
	s->bytes_max = rec->bytes > s->bytes_max ? rec->bytes : s->bytes_max;
	s->records++;
	return 0;
}

static int on_tail(const struct recording_tail *tail, void *arg)
{
	struct seen *s = arg;

	s->tail = *tail;
	s->tails++;
	return 0;
}

static int on_cut(uint64_t until_ns, void *arg)
{
	struct seen *s = arg;

	s->until_ns = until_ns;
	s->cuts++;
	return 0;
}

/* ---- Writing ---- */

static void add_sample(struct recording_writer *w, uint32_t tid)
{
	const struct krait_sample_rec rec = {
		.h = {.kind = KRAIT_SAMPLE, .bytes = sizeof(rec)}, .tid = tid, .weight = 1};

	recording_add(w, &rec.h);
}

static void add_stack(struct recording_writer *w, uint32_t frame_cnt)
{
	uint32_t bytes = sizeof(struct krait_stack_rec) + frame_cnt * sizeof(struct krait_frame);
	struct krait_stack_rec *rec = calloc(1, bytes);
	struct krait_frame *frames = (struct krait_frame *)(rec + 1);

	assert_non_null(rec);
	rec->h = (struct krait_hdr){.kind = KRAIT_STACK, .bytes = bytes};
	rec->frame_cnt = frame_cnt;
	/* Nothing that deflates. */
	for (uint32_t i = 0; i < frame_cnt; i++)
		frames[i].code_id = (i + 1) * 0x9e3779b97f4a7c15;
	recording_add(w, &rec->h);
	free(rec);
}

static struct recording_writer *start(struct file *f, FILE **out)
{
	struct recording_writer *w;
	const struct krait_head_rec head = {
		.start_mono_ns = START_NS, .freq_hz = 99, .host = "host", .target = "all"};

	*f = (struct file){};
	*out = open_memstream(&f->bytes, &f->len);
	assert_non_null(*out);
	w = recording_start(*out, &head);
	assert_non_null(w);
	return w;
}

static void find_blocks(struct file *f)
{
	struct krait_block block;
	size_t at = sizeof(struct krait_recording_start);

	while (at < f->len) {
		memcpy(&block, f->bytes + at, sizeof(block));
		assert_int_equal(block.number, f->block_cnt);
		at += sizeof(block) + block.packed_bytes;
		assert_true(f->block_cnt < BLOCKS_MAX);
		f->ends[f->block_cnt++] = at;
	}
	assert_int_equal(at, f->len);
}

/* The tail: each counter is 1000 more than its number. */
static void finish(struct recording_writer *w, struct file *f, FILE *out)
{
	uint64_t counters[KRAIT_CNT_CNT];

	for (int i = 0; i < KRAIT_CNT_CNT; i++)
		counters[i] = 1000 + i;
	assert_int_equal(recording_finish(w, 5000, counters), 0);
	recording_free(w);
	assert_int_equal(fclose(out), 0);
	find_blocks(f);
}

/* The head, four blocks of a sample each, the tail. */
static struct file small(void)
{
	struct recording_writer *w;
	struct file f;
	FILE *out;

	w = start(&f, &out);
	for (uint32_t i = 0; i < 4; i++) {
		add_sample(w, i);
		recording_flush(w);
	}
	finish(w, &f, out);
	assert_int_equal(f.block_cnt, 6);
	return f;
}

/* ---- Reading ---- */

static int read_back(const char *bytes, size_t len, struct seen *seen)
{
	const struct recording_visitor visitor = {on_head, on_record, on_tail, on_cut, seen};
	int fd = memfd_create("recording", MFD_CLOEXEC), err;
	char path[32];

	*seen = (struct seen){};
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = recording_read(path, &visitor);
	close(fd);
	return err;
}

/* The same; in `said` is what it wrote to stderr. */
static int read_and_hear(const char *bytes, size_t len, struct seen *seen, char *said, size_t size)
{
	int fd = memfd_create("stderr", MFD_CLOEXEC), saved = dup(STDERR_FILENO), err;
	ssize_t got;

	assert_true(fd >= 0 && saved >= 0);
	dup2(fd, STDERR_FILENO);
	err = read_back(bytes, len, seen);
	dup2(saved, STDERR_FILENO);
	close(saved);
	got = pread(fd, said, size - 1, 0);
	close(fd);
	assert_true(got >= 0);
	said[got] = '\0';
	return err;
}

/* Of this file the first `blocks` blocks are read, and one line says that the rest is missing. */
static void assert_cut(const char *bytes, size_t len, uint32_t blocks)
{
	char said[512];
	struct seen seen;
	int err = read_and_hear(bytes, len, &seen, said, sizeof(said));

	assert_non_null(strchr(said, '\n'));
	assert_string_equal(strchr(said, '\n'), "\n");
	assert_int_equal(seen.tails, 0);
	assert_int_equal(seen.heads, blocks ? 1 : 0);
	assert_int_equal(seen.cuts, blocks ? 1 : 0);
	assert_int_equal(seen.samples, blocks ? blocks - 1 : 0);
	assert_int_equal(err != 0, !blocks);
	if (!blocks)
		return;
	assert_non_null(strstr(said, "missing"));
	assert_true(seen.until_ns > START_NS);
}

static uint32_t whole_blocks(const struct file *f, size_t len)
{
	uint32_t cnt = 0;

	while (cnt < f->block_cnt && f->ends[cnt] <= len)
		cnt++;
	return cnt;
}

static void test_whole(void **state)
{
	struct file f = small();
	struct seen seen;

	(void)state;
	assert_int_equal(read_back(f.bytes, f.len, &seen), 0);
	assert_int_equal(seen.heads, 1);
	assert_int_equal(seen.samples, 4);
	assert_int_equal(seen.tails, 1);
	assert_int_equal(seen.cuts, 0);
	free(f.bytes);
}

static void test_every_counter_under_its_number(void **state)
{
	struct file f = small();
	struct seen seen;

	(void)state;
	assert_int_equal(read_back(f.bytes, f.len, &seen), 0);
	assert_int_equal(seen.tail.duration_ns, 5000);
	for (uint32_t i = 0; i < KRAIT_CNT_CNT; i++)
		assert_int_equal(seen.tail.counters[i], krait_part_of(i) ? 1000 + i : 0);
	free(f.bytes);
}

static void test_cut_at_every_byte(void **state)
{
	struct file f = small();

	(void)state;
	for (size_t len = 0; len < f.len; len++)
		assert_cut(f.bytes, len, whole_blocks(&f, len));
	free(f.bytes);
}

static void test_a_bit_flipped_in_every_byte(void **state)
{
	struct file f = small();

	(void)state;
	for (size_t at = 0; at < f.len; at++) {
		f.bytes[at] ^= 1 << at % 8;
		assert_cut(f.bytes, f.len, whole_blocks(&f, at));
		f.bytes[at] ^= 1 << at % 8;
	}
	free(f.bytes);
}

/* What comes never waits for more than its block, and that for no more than a tick. */
static void test_when_it_is_written(void **state)
{
	struct recording_writer *w;
	struct file f;
	struct seen seen;
	size_t len;
	FILE *out;

	(void)state;
	w = start(&f, &out);
	len = f.len;
	assert_true(len > sizeof(struct krait_recording_start)); /* the head is there at once */
	recording_tick(w, UINT64_MAX);
	assert_int_equal(recording_sync(w), 0);
	assert_int_equal(f.len, len); /* nothing to write */
	add_sample(w, 0);
	recording_tick(w, 0); /* not yet: the last was just now */
	assert_int_equal(recording_sync(w), 0);
	assert_int_equal(f.len, len);
	recording_tick(w, UINT64_MAX);
	assert_int_equal(recording_sync(w), 0);
	assert_true(f.len > len);
	assert_int_equal(read_back(f.bytes, f.len, &seen), 0);
	assert_int_equal(seen.samples, 1);
	assert_int_equal(seen.cuts, 1);
	for (uint32_t i = 1; i < 10000; i++)
		add_sample(w, i);
	assert_int_equal(recording_sync(w), 0);
	assert_int_equal(read_back(f.bytes, f.len, &seen), 0);
	assert_true(seen.samples > 8000); /* by itself: 128 KB are 3,276 */
	finish(w, &f, out);
	assert_int_equal(read_back(f.bytes, f.len, &seen), 0);
	assert_int_equal(seen.samples, 10000);
	assert_int_equal(seen.tails, 1);
	free(f.bytes);
}

/* Longer than what is gathered: before, behind and between others. */
static void test_the_longest_stacks(void **state)
{
	struct recording_writer *w;
	struct file f;
	struct seen seen;
	FILE *out;

	(void)state;
	w = start(&f, &out);
	add_stack(w, KRAIT_MAX_DEPTH_LIMIT);
	add_sample(w, 0);
	add_stack(w, KRAIT_MAX_DEPTH_LIMIT);
	add_stack(w, KRAIT_MAX_DEPTH_LIMIT);
	add_stack(w, 0);
	add_sample(w, 1);
	finish(w, &f, out);
	assert_int_equal(read_back(f.bytes, f.len, &seen), 0);
	assert_int_equal(seen.records, 6);
	assert_int_equal(seen.bytes_max,
			 sizeof(struct krait_stack_rec) +
				 KRAIT_MAX_DEPTH_LIMIT * sizeof(struct krait_frame));
	free(f.bytes);
}

/* Of every length around what is gathered, several in a block. */
static void test_stacks_of_every_length(void **state)
{
	struct recording_writer *w;
	struct file f;
	struct seen seen;
	FILE *out;

	(void)state;
	w = start(&f, &out);
	for (uint32_t i = 0; i < 12; i++) {
		add_stack(w, 480 + 4 * i);
		add_stack(w, 480 + 4 * i);
		add_stack(w, 2000);
		add_sample(w, i);
	}
	finish(w, &f, out);
	assert_int_equal(read_back(f.bytes, f.len, &seen), 0);
	assert_int_equal(seen.records, 48);
	assert_int_equal(seen.samples, 12);
	free(f.bytes);
}

static void test_a_disk_that_is_full(void **state)
{
	const struct krait_head_rec head = {.freq_hz = 99};
	static const uint64_t counters[KRAIT_CNT_CNT];
	FILE *out = fopen("/dev/full", "w");
	struct recording_writer *w;

	(void)state;
	assert_non_null(out);
	w = recording_start(out, &head);
	assert_non_null(w);
	assert_int_equal(recording_err(w), -ENOSPC);
	add_sample(w, 0);
	recording_tick(w, UINT64_MAX);
	assert_int_equal(recording_sync(w), -ENOSPC);
	assert_int_equal(recording_finish(w, 1, counters), -ENOSPC);
	recording_free(w);
	recording_free(NULL);
	fclose(out);
}

static int stop_at_two(const struct krait_hdr *rec, void *arg)
{
	(void)rec;
	return ++((struct seen *)arg)->records == 2 ? -ECANCELED : 0;
}

static void test_a_visitor_that_ends_it(void **state)
{
	struct file f = small();
	struct seen seen = {};
	const struct recording_visitor visitor = {on_head, stop_at_two, on_tail, on_cut, &seen};
	int fd = memfd_create("recording", MFD_CLOEXEC);
	char path[32];

	(void)state;
	assert_int_equal(write(fd, f.bytes, f.len), f.len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(recording_read(path, &visitor), -ECANCELED);
	assert_int_equal(seen.records, 2);
	assert_int_equal(seen.tails + seen.cuts, 0);
	close(fd);
	free(f.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_every_counter_under_its_number),
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_a_bit_flipped_in_every_byte),
		cmocka_unit_test(test_when_it_is_written),
		cmocka_unit_test(test_the_longest_stacks),
		cmocka_unit_test(test_stacks_of_every_length),
		cmocka_unit_test(test_a_disk_that_is_full),
		cmocka_unit_test(test_a_visitor_that_ends_it),
	};

	return cmocka_run_group_tests_name("recording_blocks", tests, NULL, NULL);
}
