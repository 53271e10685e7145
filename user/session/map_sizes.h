/* SPDX-License-Identifier: BSD-2-Clause */
/* How large the kernel's maps are, of which user space says so before the load. */
#ifndef KRAIT_SESSION_MAP_SIZES_H
#define KRAIT_SESSION_MAP_SIZES_H

#include <stdint.h>

struct krait_bpf;

struct map_sizes {
	uint32_t cpu_cnt; /* that there is room for */
	uint32_t freq_hz;
	uint32_t max_depth; /* frames of a stack */
};

/* Sets them, and what the programs have to know of them. 0 or -errno: the skeleton is loaded. */
int map_sizes_set(struct krait_bpf *skel, const struct map_sizes *sizes);

#endif
