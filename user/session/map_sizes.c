// SPDX-License-Identifier: BSD-2-Clause
#include "user/session/map_sizes.h"

#include <bpf/libbpf.h>

#include "bpf/abi/control.h"
#include "krait.skel.h"
#include "user/drain/samples.h"

/* Room for what a CPU sends between two reads, with many new stacks in between. */
#define RING_BYTES_PER_CPU (1U << 20)
#define RING_BYTES_MAX (64U << 20)

/* For two CPUs at least, and a power of two. */
static uint32_t ring_bytes(uint32_t cpu_cnt)
{
	uint32_t bytes = 2 * RING_BYTES_PER_CPU;

	while (bytes < RING_BYTES_MAX && bytes < (uint64_t)cpu_cnt * RING_BYTES_PER_CPU)
		bytes *= 2;
	return bytes;
}

int map_sizes_set(struct krait_bpf *skel, const struct map_sizes *sizes)
{
	/* For each level of each CPU: bpf/level.h. */
	uint32_t writer_cnt = sizes->cpu_cnt * skel->rodata->level_cnt;
	uint32_t ring = ring_bytes(sizes->cpu_cnt);
	uint32_t slots = samples_slot_cnt(sizes->freq_hz, writer_cnt,
					  bpf_map__value_size(skel->maps.samples));
	uint32_t stack_bytes =
		sizeof(struct krait_stack_rec) + sizes->max_depth * sizeof(struct krait_frame);
	int err;

	skel->data->max_depth = sizes->max_depth;
	skel->rodata->stack_room = sizes->max_depth;
	skel->rodata->wake_bytes = ring / 4;
	err = bpf_map__set_max_entries(skel->maps.ring, ring);
	err = err ?: bpf_map__set_max_entries(skel->maps.samples, writer_cnt * slots);
	err = err ?: bpf_map__set_max_entries(skel->maps.scratches, writer_cnt);
	err = err ?: bpf_map__set_max_entries(skel->maps.stack_scratches, writer_cnt);
	return err ?: bpf_map__set_value_size(skel->maps.stack_scratches, stack_bytes);
}
