/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a recording's reader is given at the tail: the file's own checksum and length, and each
 * counter where its name says, of a file of this krait as of an older one, which has fewer.
 * Damage of every kind is in tests/golden and tests/fuzz.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "user/drain/recording.h"

#define TAIL_END_BYTES (sizeof(struct recording_tail) - offsetof(struct recording_tail, crc32))

struct file {
	char *bytes;
	size_t len;
};

/* A recording of no records, in which each counter's value is 1000 more than its number. */
static struct file make_file(void)
{
	const struct recording_head head = {.magic = RECORDING_MAGIC,
					    .abi_version = KRAIT_ABI_VERSION,
					    .freq_hz = 99,
					    .host = "host"};
	uint64_t counters[KRAIT_CNT_CNT];
	struct recording_writer w;
	struct file f = {};
	FILE *out = open_memstream(&f.bytes, &f.len);

	assert_non_null(out);
	for (int i = 0; i < KRAIT_CNT_CNT; i++)
		counters[i] = 1000 + i;
	recording_start(&w, out, &head);
	assert_int_equal(recording_finish(&w, 5000, counters), 0);
	assert_int_equal(fclose(out), 0);
	return f;
}

/* As a krait wrote it that did not have the newest counter yet. */
static void drop_newest(struct file *f)
{
	struct krait_hdr *tail = (void *)(f->bytes + sizeof(struct recording_head));
	uint32_t crc;

	f->len -= sizeof(uint64_t);
	tail->bytes -= sizeof(uint64_t);
	crc = crc32(0, (const Bytef *)f->bytes, f->len - TAIL_END_BYTES);
	memset(f->bytes + f->len - TAIL_END_BYTES, 0, TAIL_END_BYTES);
	memcpy(f->bytes + f->len - TAIL_END_BYTES, &crc, sizeof(crc));
}

static int on_head(const struct recording_head *head, void *arg)
{
	(void)arg;
	assert_string_equal(head->host, "host");
	return 0;
}

static int on_record(const struct krait_hdr *rec, void *arg)
{
	(void)arg;
	fail_msg("a record of kind %u, where none is", rec->kind);
	return 0;
}

static int on_tail(const struct recording_tail *tail, void *arg)
{
	memcpy(arg, tail, sizeof(*tail));
	return 0;
}

static struct recording_tail read_tail_of(const struct file *f)
{
	struct recording_tail tail = {};
	const struct recording_visitor visitor = {on_head, on_record, on_tail, &tail};
	int fd = memfd_create("recording", MFD_CLOEXEC);
	char path[32];

	assert_true(fd >= 0);
	assert_int_equal(write(fd, f->bytes, f->len), f->len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(recording_read(path, &visitor), 0);
	close(fd);
	return tail;
}

/* How many of the counters are where they belong; the rest must be 0. */
static int counters_held(const struct recording_tail *tail)
{
	int cnt = 0;

	for (int i = 0; i < KRAIT_CNT_CNT; i++) {
		assert_true(!tail->counters[i] || tail->counters[i] == 1000U + i);
		cnt += tail->counters[i] != 0;
	}
	return cnt;
}

static void check_tail(const struct file *f, int counter_cnt)
{
	struct recording_tail tail = read_tail_of(f);

	assert_int_equal(tail.h.kind, RECORDING_TAIL_KIND);
	assert_int_equal(tail.h.bytes, f->len - sizeof(struct recording_head));
	assert_int_equal(tail.duration_ns, 5000);
	assert_int_equal(tail.crc32, crc32(0, (const Bytef *)f->bytes, f->len - TAIL_END_BYTES));
	assert_int_equal(counters_held(&tail), counter_cnt);
}

static void tail_of_this_krait(void **state)
{
	struct file f = make_file();

	(void)state;
	check_tail(&f, KRAIT_CNT_CNT);
	free(f.bytes);
}

static void tail_of_an_older_krait(void **state)
{
	struct file f = make_file();

	(void)state;
	drop_newest(&f);
	check_tail(&f, KRAIT_CNT_CNT - 1);
	free(f.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tail_of_this_krait),
		cmocka_unit_test(tail_of_an_older_krait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
