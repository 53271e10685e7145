// SPDX-License-Identifier: BSD-2-Clause
#include "user/session/usage.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH 1024

/* The field is in kernel/bpf/syscall.c, bpf_map_show_fdinfo(). */
uint64_t map_memory(int map_fd)
{
	unsigned long long bytes = 0;
	char path[64], line[128];
	FILE *in;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", map_fd);
	in = fopen(path, "re");
	while (in && fgets(line, sizeof(line), in))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	if (in)
		fclose(in);
	return bytes;
}

static int64_t words_set(const uint64_t *words, size_t cnt)
{
	int64_t set = 0;

	for (size_t i = 0; i < cnt; i++)
		set += words[i] != 0;
	return set;
}

/* Of the elements of a map, read BATCH at a time: how many there are, or, if by_words, how many
 * words of their values are not zero. -errno. */
static int64_t count(int map_fd, uint32_t value_bytes, bool by_words)
{
	size_t words = value_bytes / sizeof(uint64_t);
	uint64_t *values = calloc(BATCH, value_bytes);
	uint32_t keys[BATCH], from, next, cnt;
	int64_t sum = 0;
	int err = values ? 0 : -ENOMEM;

	for (bool is_first = true; !err; is_first = false, from = next) {
		cnt = BATCH;
		err = bpf_map_lookup_batch(map_fd, is_first ? NULL : &from, &next, keys, values,
					   &cnt, NULL);
		if (!err || err == -ENOENT) /* which comes with the last ones */
			sum += by_words ? words_set(values, cnt * words) : cnt;
	}
	free(values);
	return err == -ENOENT ? sum : err;
}

int64_t map_keys(int map_fd, uint32_t value_bytes)
{
	return count(map_fd, value_bytes, false);
}

int64_t map_words(int map_fd, uint32_t value_bytes)
{
	return count(map_fd, value_bytes, true);
}
