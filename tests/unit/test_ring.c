// SPDX-License-Identifier: BSD-2-Clause
/*
 * The ring buffer: what the kernel would write is written here, a header and a record at a time
 * (kernel/bpf/ringbuf.c, __bpf_ringbuf_reserve and bpf_ringbuf_commit), and read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <linux/bpf.h>

#include "user/drain/ring.h"

#define BYTES 128

struct kernel {
	uint64_t read_pos, written_pos;
	uint8_t *data; /* of exactly BYTES, so that a sanitizer sees a byte too much */
	struct ring ring;
};

struct reader {
	uint8_t first[64]; /* of each record */
	size_t bytes[64];
	uint32_t cnt;
	uint32_t fail_at; /* the record at which it fails, counted from 1; 0: none */
};

static int set_up(void **state)
{
	struct kernel *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	k->data = calloc(1, BYTES);
	assert_non_null(k->data);
	k->ring = (struct ring){.read_pos = &k->read_pos,
				.written_pos = &k->written_pos,
				.data = k->data,
				.bytes = BYTES};
	*state = k;
	return 0;
}

static int tear_down(void **state)
{
	struct kernel *k = *state;

	free(k->ring.whole);
	free(k->data);
	free(k);
	return 0;
}

/* Writes a record of n bytes: id, id + 1 ... Returns where its header lies. */
static uint64_t put(struct kernel *k, uint32_t n, uint8_t id, uint32_t flags)
{
	uint64_t pos = k->written_pos;
	uint32_t head = n | flags;

	assert_true(pos + 8 + n - k->read_pos <= BYTES);
	memcpy(k->data + pos % BYTES, &head, sizeof(head));
	for (uint32_t i = 0; i < n; i++)
		k->data[(pos + 8 + i) % BYTES] = id + i;
	k->written_pos += (8 + n + 7) / 8 * 8;
	return pos;
}

static int on_record(void *record, size_t bytes, void *arg)
{
	struct reader *r = arg;
	const uint8_t *at = record;

	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(at[i], (uint8_t)(at[0] + i));
	r->first[r->cnt] = at[0];
	r->bytes[r->cnt++] = bytes;
	return r->cnt == r->fail_at ? -5 : 7; /* what is not negative means nothing */
}

/* All that has been written. */
static int take(struct kernel *k, struct reader *r)
{
	return ring_take(&k->ring, ring_written(&k->ring), UINT32_MAX, on_record, r);
}

static void test_in_order(void **state)
{
	struct kernel *k = *state;
	struct reader r = {0};

	assert_int_equal(take(k, &r), 0);
	assert_int_equal(r.cnt, 0);
	put(k, 16, 1, 0);
	put(k, 3, 2, 0);
	put(k, 24, 3, 0);
	assert_int_equal(take(k, &r), 0);
	assert_int_equal(r.cnt, 3);
	assert_memory_equal(r.first, "\1\2\3", 3);
	assert_int_equal(r.bytes[0], 16);
	assert_int_equal(r.bytes[1], 3);
	assert_int_equal(r.bytes[2], 24);
	assert_int_equal(k->read_pos, k->written_pos);
	put(k, 8, 4, 0);
	assert_int_equal(take(k, &r), 0);
	assert_int_equal(r.cnt, 4);
	assert_int_equal(k->ring.peak_bytes, 8 + 16 + 8 + 8 + 8 + 24);
}

/* Of all lengths, so across the end at every place where one can. */
static void test_round(void **state)
{
	struct kernel *k = *state;

	for (uint32_t round = 0; round < 2000; round++) {
		uint32_t n = round * 7 % (BYTES - 8);
		struct reader r = {0};

		put(k, n ? n : 1, round, 0);
		assert_int_equal(take(k, &r), 0);
		assert_int_equal(r.cnt, 1);
		assert_int_equal(r.first[0], (uint8_t)round);
		assert_int_equal(r.bytes[0], n ? n : 1);
	}
}

/* What another CPU still writes ends the reading, and what it took back is left out. */
static void test_busy_and_discarded(void **state)
{
	struct kernel *k = *state;
	struct reader r = {0};
	uint64_t busy;
	uint32_t head;

	put(k, 8, 1, 0);
	put(k, 8, 2, BPF_RINGBUF_DISCARD_BIT);
	busy = put(k, 8, 3, BPF_RINGBUF_BUSY_BIT);
	put(k, 8, 4, 0);
	assert_int_equal(take(k, &r), 1);
	assert_int_equal(r.cnt, 1);
	assert_int_equal(k->read_pos, busy);
	head = 8;
	memcpy(k->data + busy % BYTES, &head, sizeof(head));
	assert_int_equal(take(k, &r), 0);
	assert_int_equal(r.cnt, 3);
	assert_memory_equal(r.first, "\1\3\4", 3);
}

static void test_reader_fails(void **state)
{
	struct kernel *k = *state;
	struct reader r = {.fail_at = 2};

	for (uint8_t id = 1; id <= 3; id++)
		put(k, 8, id, 0);
	assert_int_equal(take(k, &r), -5);
	assert_int_equal(r.cnt, 2);
	assert_int_equal(take(k, &r), 0);
	assert_int_equal(r.cnt, 3);
	assert_memory_equal(r.first, "\1\2\3", 3);
}

/* A reading has an end, whatever is written meanwhile, and may be done in steps. */
static void test_steps(void **state)
{
	struct kernel *k = *state;
	struct reader r = {0};
	uint64_t end;

	for (uint8_t id = 1; id <= 3; id++)
		put(k, 8, id, 0);
	end = ring_written(&k->ring);
	put(k, 8, 4, 0);
	assert_int_equal(ring_take(&k->ring, end, 2, on_record, &r), 1);
	assert_int_equal(r.cnt, 2);
	assert_int_equal(ring_take(&k->ring, end, 2, on_record, &r), 0);
	assert_int_equal(r.cnt, 3);
	assert_int_equal(ring_take(&k->ring, end, 2, on_record, &r), 0);
	assert_int_equal(r.cnt, 3);
	assert_int_equal(take(k, &r), 0);
	assert_memory_equal(r.first, "\1\2\3\4", 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_round, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_busy_and_discarded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reader_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_steps, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
