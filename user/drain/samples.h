/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rings of samples (bpf/abi/control.h), read: one for each writer, in memory shared with the
 * kernel.
 *
 * A sample must not be passed on before the records that it builds on, which come in another ring.
 * So a reading has three steps: samples_poll notes what has been written, the other ring is read,
 * samples_take passes on what was noted. In between, an event that ends a lifetime of a pid first
 * lets the samples of that lifetime through (samples_take_before).
 */
#ifndef KRAIT_DRAIN_SAMPLES_H
#define KRAIT_DRAIN_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/control.h"
#include "user/drain/records.h"

/* A pid's slot in the counts of waiting samples; several pids may share one. */
#define SAMPLES_PID_SLOTS 4096

/* `rings` and `writers` are the kernel's memory, mapped to be written; borrowed. */
struct samples {
	uint8_t *rings;	   /* slot_cnt of slot_bytes for each writer */
	size_t slot_bytes; /* of the longest kind of sample that is written */
	uint8_t *writers;  /* a struct krait_writer every writer_stride bytes */
	size_t writer_stride;
	uint32_t writer_cnt;
	uint32_t slot_cnt; /* a power of two */
	uint64_t *seen;	   /* of each writer: how many samples the last poll found */
	uint64_t *counted; /* of each writer: how many are in `waiting`, or have been */
	uint32_t waiting[SAMPLES_PID_SLOTS]; /* samples not yet passed on, by pid */
	/* Summed over the writers, of the moment that each was polled last; and of the samples
	 * that samples_take_before passed on since. So the ledger balances with what was passed on
	 * once samples_take has come to its end. */
	uint64_t counters[KRAIT_COUNTERS_MAX];
	uint64_t peak; /* of one writer's samples, that waited when it was looked at, at most */
};

/* The slots of a writer's ring, of slot_bytes each, so that it holds two seconds of a clock's
 * samples at least, above 1,000 Hz one; half a second where there are so many that it would take
 * much memory.
 */
uint32_t samples_slot_cnt(uint32_t freq_hz, uint32_t writer_cnt, size_t slot_bytes);

/* Tells the kernel how long the rings are, and whose is which; `s` has all up to slot_cnt. 0 or
 * -ENOMEM. */
int samples_init(struct samples *s);
void samples_release(struct samples *s);

void samples_poll(struct samples *s);
/*
 * Passes on what the last poll found, `max` samples at most, each writer's in order of time, and
 * frees their slots. 0: all of it has been; 1: some are left; or fn's first negative value.
 */
int samples_take(struct samples *s, uint32_t max, raw_record_fn fn, void *arg);
/*
 * Passes on all of `pid` from before time_ns, which a record just read says is the end of a
 * lifetime: what they build on came before that record, so it does not matter what the last poll
 * found. Costs no reading of the samples of others if none of this pid waits: thousands of
 * processes may end between two readings. 0 or fn's first negative value.
 */
int samples_take_before(struct samples *s, uint32_t pid, uint64_t time_ns, raw_record_fn fn,
			void *arg);

#endif
