/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whose the ids in a record are: a number for each lifetime of a pid.
 *
 * The kernel mixes another seed into the ids of each lifetime of a process (bpf/seed.h), and an id
 * may be whatever its process makes it. So it is only looked up for the owner that it came of. All
 * zero is a valid empty one.
 */
#ifndef KRAIT_AGGREGATE_OWNERS_H
#define KRAIT_AGGREGATE_OWNERS_H

#include <stdbool.h>
#include <stdint.h>

#include "user/base/index.h"

struct owners {
	struct owner {
		uint32_t pid;
		uint32_t num;
		bool has_ended; /* and nothing was heard of the pid since */
	} * items;
	uint32_t cnt, cap;
	struct index by_pid;
	uint32_t given; /* numbers so far */
	uint32_t last;	/* where in items the last one asked for is */
};

void owners_release(struct owners *owners);

/* The number of the pid's present lifetime, from 1 on; 0 without memory. */
uint32_t owners_find(struct owners *owners, uint32_t pid);
/* Another lifetime of the pid begins: exec, or it is a new child. 0 or -ENOMEM. */
int owners_renew(struct owners *owners, uint32_t pid);
/* The pid's lifetime is over. */
void owners_end(struct owners *owners, uint32_t pid);

/* Drops those that are over: their numbers are given to nobody else. 0 or -ENOMEM; then nothing has
 * changed. */
int owners_compact(struct owners *owners);
/* The numbers of those that are not, rising: cnt of them; the caller frees. NULL without memory. */
uint32_t *owners_numbers(const struct owners *owners, uint32_t *cnt);

#endif
