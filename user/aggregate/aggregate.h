/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records in, a profile out: counts the samples of each thread on each stack.
 *
 * The same code runs behind a live ring and behind a recording, and the order of the records alone
 * decides the result: so `krait report` gives what the live run gave, byte for byte. Not
 * thread-safe.
 */
#ifndef KRAIT_AGGREGATE_AGGREGATE_H
#define KRAIT_AGGREGATE_AGGREGATE_H

#include "bpf/abi/record.h"
#include "user/aggregate/profile.h"

struct aggregate;

/* NULL with errno set if there is no memory. */
struct aggregate *aggregate_new(void);
void aggregate_free(struct aggregate *agg);

/* Takes in one checked record. 0 or -ENOMEM. */
int aggregate_add(struct aggregate *agg, const struct krait_hdr *rec);

/*
 * The profile of what was added so far. Borrowed: it lives until the next aggregate_add or
 * aggregate_free. `meta` is copied, its texts interned and made safe; `counters` are the kernel's.
 * NULL with errno set if there is no memory.
 */
const struct profile *aggregate_profile(struct aggregate *agg, const struct profile_meta *meta,
					const uint64_t *counters);

/*
 * The profile of what came since the last take, or the start; from here on samples are counted from
 * zero. `counters` are the kernel's from the start of the run; the profile has their difference.
 * What only processes were about that have ended is forgotten now and then, so that a run of any
 * length takes the memory of what lives. The caller frees it with profile_free, before or after
 * aggregate_free. NULL with errno set if there is no memory; then it is only to be freed.
 */
struct profile *aggregate_take(struct aggregate *agg, const struct profile_meta *meta,
			       const uint64_t *counters);

#endif
