// SPDX-License-Identifier: BSD-2-Clause
/* Reading the BPF ring buffer. */
#include "user/drain/ring.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FLAGS (BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT)

int ring_open(struct ring *r, int map_fd, size_t bytes)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *reader, *writer;

	reader = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (reader == MAP_FAILED)
		return -errno;
	writer = mmap(NULL, page + bytes, PROT_READ, MAP_SHARED, map_fd, page);
	if (writer == MAP_FAILED) {
		int err = -errno;

		munmap(reader, page);
		return err;
	}
	*r = (struct ring){
		.read_pos = reader,
		.written_pos = writer,
		.data = (const uint8_t *)writer + page,
		.bytes = bytes,
	};
	return 0;
}

void ring_close(struct ring *r)
{
	size_t page = sysconf(_SC_PAGESIZE);

	if (!r->bytes)
		return;
	munmap(r->read_pos, page);
	munmap((void *)r->written_pos, page + r->bytes);
	free(r->whole);
	*r = (struct ring){0};
}

/* The n bytes at `off`, in one piece; NULL without memory. */
static const uint8_t *piece(struct ring *r, size_t off, size_t n)
{
	size_t first = r->bytes - off;

	if (n <= first)
		return r->data + off;
	if (n > r->whole_bytes) {
		uint8_t *whole = realloc(r->whole, n);

		if (!whole)
			return NULL;
		r->whole = whole;
		r->whole_bytes = n;
	}
	memcpy(r->whole, r->data + off, first);
	memcpy(r->whole + first, r->data, n - first);
	return r->whole;
}

/* Takes the record at `pos`; its bytes in the ring go to *n. */
static int take_one(struct ring *r, uint64_t pos, uint32_t head, raw_record_fn fn, void *arg,
		    uint64_t *n)
{
	uint32_t bytes = head & ~FLAGS;
	const uint8_t *record;

	*n = (BPF_RINGBUF_HDR_SZ + (uint64_t)bytes + 7) & ~7ULL;
	if (head & BPF_RINGBUF_DISCARD_BIT)
		return 0;
	record = piece(r, (pos + BPF_RINGBUF_HDR_SZ) & (r->bytes - 1), bytes);
	return record ? fn((void *)record, bytes, arg) : -ENOMEM;
}

uint64_t ring_written(struct ring *r)
{
	uint64_t end = __atomic_load_n(r->written_pos, __ATOMIC_ACQUIRE);

	if (end - *r->read_pos > r->peak_bytes)
		r->peak_bytes = end - *r->read_pos;
	return end;
}

int ring_take(struct ring *r, uint64_t end_pos, uint32_t max, raw_record_fn fn, void *arg)
{
	uint64_t pos = *r->read_pos;
	int ret = 0;

	for (; ret >= 0 && max && pos < end_pos; max--) {
		/* A header never lies across the end: all is aligned to its size. */
		const uint32_t *at = (const uint32_t *)(r->data + (pos & (r->bytes - 1)));
		uint32_t head = __atomic_load_n(at, __ATOMIC_ACQUIRE);
		uint64_t n;

		if (head & BPF_RINGBUF_BUSY_BIT)
			break;
		ret = take_one(r, pos, head, fn, arg, &n);
		pos += n;
		__atomic_store_n(r->read_pos, pos, __ATOMIC_RELEASE);
	}
	return ret < 0 ? ret : pos < end_pos;
}
