/* SPDX-License-Identifier: BSD-2-Clause */
/* How full the BPF maps of a run are, for --stats. */
#ifndef KRAIT_SESSION_USAGE_H
#define KRAIT_SESSION_USAGE_H

#include <stdint.h>

struct fill {
	uint64_t used, room;
};

struct usage {
	uint64_t maps_bytes;		  /* the kernel's memory for all maps */
	struct fill procs, stacks, codes; /* processes known; ids of what user space was sent */
	struct fill ring_bytes, samples;  /* what waited at most to be read: in the ring buffer; of
					     one CPU */
};

/* The kernel's memory for a map, in bytes; 0 if that can't be told. */
uint64_t map_memory(int map_fd);
/* Of a map whose keys have 4 bytes and whose values have value_bytes: how many keys it has (a hash
 * map); how many u64 words of its values are not zero (an array). -errno. */
int64_t map_keys(int map_fd, uint32_t value_bytes);
int64_t map_words(int map_fd, uint32_t value_bytes);

#endif
