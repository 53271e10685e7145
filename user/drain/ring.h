/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The BPF ring buffer, read: Documentation/bpf/ringbuf.rst, kernel/bpf/ringbuf.c.
 *
 * libbpf's reader maps the data twice in a row, so that no record is cut by the end, and both count
 * as the process's memory. Here it is mapped once, and the one record in a round that lies across
 * the end is put together in a buffer.
 */
#ifndef KRAIT_DRAIN_RING_H
#define KRAIT_DRAIN_RING_H

#include <stddef.h>
#include <stdint.h>

#include "user/drain/records.h"

struct ring {
	uint64_t *read_pos;	     /* shared with the kernel: bytes ever read, */
	const uint64_t *written_pos; /* and bytes ever reserved; the data follow a page later */
	const uint8_t *data;
	size_t bytes;	/* of data, a power of two; 0: not open */
	uint8_t *whole; /* a record that lies across the end */
	size_t whole_bytes;
	uint64_t peak_bytes; /* that waited when a reading began, at most */
};

/* Maps the ring buffer map_fd, which stays the caller's and can be polled, of so many bytes. 0 or
 * -errno. */
int ring_open(struct ring *r, int map_fd, size_t bytes);
void ring_close(struct ring *r);

/* How far the kernel has written: where a reading that shall end ends. */
uint64_t ring_written(struct ring *r);

/*
 * Passes on complete records up to end_pos, `max` of them at most, in their order, and frees their
 * room, also if fn failed at one. 0: all up to end_pos have been; 1: some are left, for there were
 * more than `max` or the kernel is writing the next one just now; fn's value if that was negative,
 * or -ENOMEM.
 */
int ring_take(struct ring *r, uint64_t end_pos, uint32_t max, raw_record_fn fn, void *arg);

#endif
