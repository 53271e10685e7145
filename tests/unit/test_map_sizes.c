/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel's maps take on hosts of 2 to 256 CPUs: by the run, and not by the deepest stack
 * or the fastest rate that there could be. Nothing is loaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <bpf/libbpf.h>

#include "bpf/abi/control.h"
#include "krait.skel.h"
#include "user/session/map_sizes.h"

#define KB 1024ULL
#define MB (1024 * KB)

/* Of a map, or of all (NULL), with these sizes. */
static uint64_t bytes_of(const char *name, uint32_t cpu_cnt, uint32_t freq_hz, uint32_t max_depth)
{
	const struct map_sizes sizes = {cpu_cnt, freq_hz, max_depth};
	struct krait_bpf *skel = krait_bpf__open();
	const struct bpf_map *map;
	uint64_t sum = 0;

	assert_non_null(skel);
	assert_int_equal(map_sizes_set(skel, &sizes), 0);
	bpf_object__for_each_map(map, skel->obj)
	{
		uint64_t each = bpf_map__value_size(map) ?: 1; /* a ring buffer has but bytes */

		if (!name || !strcmp(bpf_map__name(map), name))
			sum += each * bpf_map__max_entries(map);
	}
	krait_bpf__destroy(skel);
	return sum;
}

static void test_by_cpu(void **state)
{
	static const uint32_t cpu_cnts[] = {2, 64, 256};

	(void)state;
	for (int i = 0; i < 3; i++) {
		uint32_t n = cpu_cnts[i];

		/* 32 bytes, and 16 a frame. */
		assert_int_equal(bytes_of("stack_scratches", n, 99, 1), n * (32 + 16));
		assert_int_equal(bytes_of("stack_scratches", n, 99, KRAIT_MAX_DEPTH_DEFAULT),
				 n * (32 + 16 * KB));
		assert_int_equal(bytes_of("stack_scratches", n, 99, KRAIT_MAX_DEPTH_LIMIT),
				 n * (32 + 128 * KB));
		/* Two seconds of them, 40 bytes each. */
		assert_int_equal(bytes_of("samples", n, 99, 1), n * 256 * 40);
		assert_true(bytes_of("scratches", n, 99, 1) <= n * 48 * KB);
	}
	assert_int_equal(bytes_of("ring", 2, 99, 1), 2 * MB);
	assert_int_equal(bytes_of("ring", 64, 99, 1), 64 * MB);
	assert_int_equal(bytes_of("ring", 256, 99, 1), 64 * MB);
}

/* What does not depend on CPUs is for what runs there; a CPU's share is a page or some. */
static void test_of_the_whole(void **state)
{
	(void)state;
	assert_true(bytes_of(NULL, 2, 99, KRAIT_MAX_DEPTH_DEFAULT) < 8 * MB);
	assert_true(bytes_of(NULL, 64, 99, KRAIT_MAX_DEPTH_DEFAULT) < (64 + 10) * MB);
	assert_true(bytes_of(NULL, 256, 99, KRAIT_MAX_DEPTH_DEFAULT) < (64 + 24) * MB);
}

/* A stack has room, and the walker keeps to it. */
static void test_what_the_programs_know(void **state)
{
	const struct map_sizes sizes = {4, 999, 77};
	struct krait_bpf *skel = krait_bpf__open();

	(void)state;
	assert_non_null(skel);
	assert_int_equal(map_sizes_set(skel, &sizes), 0);
	assert_int_equal(skel->data->max_depth, 77);
	assert_int_equal(skel->rodata->stack_room, 77);
	assert_int_equal(skel->rodata->wake_bytes, 1 * MB);
	krait_bpf__destroy(skel);
}

/* What a level of a CPU has is there for each; a build for events that nest has several. */
static void test_levels(void **state)
{
	const struct map_sizes sizes = {4, 99, 77};
	struct krait_bpf *skel = krait_bpf__open();

	(void)state;
	assert_non_null(skel);
	assert_int_equal(skel->rodata->level_cnt, 1);
	skel->rodata->level_cnt = 3;
	assert_int_equal(map_sizes_set(skel, &sizes), 0);
	assert_int_equal(bpf_map__max_entries(skel->maps.scratches), 12);
	assert_int_equal(bpf_map__max_entries(skel->maps.stack_scratches), 12);
	assert_int_equal(bpf_map__max_entries(skel->maps.samples), 12 * 256);
	krait_bpf__destroy(skel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_cpu),
		cmocka_unit_test(test_of_the_whole),
		cmocka_unit_test(test_what_the_programs_know),
		cmocka_unit_test(test_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
