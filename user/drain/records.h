/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records, checked: whatever comes out of the ring or out of a recording passes record_check before
 * anyone looks into it.
 *
 * After the check every length inside the record is within the record, so the accessors below need
 * no further test.
 */
#ifndef KRAIT_DRAIN_RECORDS_H
#define KRAIT_DRAIN_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/record.h"

/* No record is longer: a STACK of KRAIT_MAX_DEPTH_LIMIT frames, and what a newer krait may have put
 * behind them. */
#define RECORD_MAX_BYTES                                                                           \
	(sizeof(struct krait_stack_rec) + KRAIT_MAX_DEPTH_LIMIT * sizeof(struct krait_frame) + 1024)

/* What is called with each record as it comes, not yet checked, `avail` bytes of it; a negative
 * value ends the reading. */
typedef int (*raw_record_fn)(void *record, size_t avail, void *arg);

/* The record's length if a whole and consistent record starts at `bytes` (aligned to 8), else 0. */
size_t record_check(const void *bytes, size_t avail);

/* The parts that follow a CODE record's fixed part, in the record's own memory. */
struct code_text {
	const char *name, *qualname, *file;
	const unsigned char *lines;
};

struct code_text code_text(const struct krait_code_rec *rec);

/* The event that a sample is of, and how many of its periods it stands for. */
static inline uint32_t sample_event(const struct krait_sample_rec *rec)
{
	if (rec->h.bytes < sizeof(struct krait_event_sample_rec))
		return KRAIT_EVENT_CPU_CLOCK;
	return ((const struct krait_event_sample_rec *)rec)->event;
}

static inline uint64_t sample_value(const struct krait_sample_rec *rec)
{
	if (sample_event(rec) == KRAIT_EVENT_CPU_CLOCK)
		return rec->weight;
	return ((const struct krait_event_sample_rec *)rec)->value;
}

/* The ledger of an EVENT record: pair_cnt of them. */
static inline const struct krait_pair *event_pairs(const struct krait_event_rec *rec)
{
	return (const struct krait_pair *)(rec + 1);
}

static inline const struct krait_frame *stack_frames(const struct krait_stack_rec *rec)
{
	return (const struct krait_frame *)(rec + 1);
}

/* The text of a record: the command line of INFO, arguments separated by NUL; the name of NAME. */
static inline const char *process_text(const struct krait_process_rec *rec)
{
	return (const char *)(rec + 1);
}

#endif
