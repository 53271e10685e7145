// SPDX-License-Identifier: BSD-2-Clause
/* Reading the rings of samples. */
#include "user/drain/samples.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_HZ 1000		/* up to here two seconds are little */
#define LOOKS_MAX 1000		/* a tick takes as long as some tens of them */
#define BYTES_MAX (64ULL << 20) /* of all rings */

uint32_t samples_slot_cnt(uint32_t freq_hz, uint32_t writer_cnt, size_t slot_bytes)
{
	uint64_t bytes_each = (uint64_t)writer_cnt * slot_bytes;
	uint32_t seconds = freq_hz > SLOW_HZ ? 1 : 2, slots = 1;

	while (slots < seconds * freq_hz)
		slots *= 2;
	while (slots > freq_hz && slots * bytes_each > BYTES_MAX)
		slots /= 2;
	return slots;
}

static struct krait_writer *writer_at(const struct samples *s, uint32_t writer)
{
	return (struct krait_writer *)(s->writers + writer * s->writer_stride);
}

int samples_init(struct samples *s)
{
	s->seen = calloc(s->writer_cnt, sizeof(*s->seen));
	s->counted = calloc(s->writer_cnt, sizeof(*s->counted));
	if (!s->seen || !s->counted)
		return -ENOMEM;
	for (uint32_t writer = 0; writer < s->writer_cnt; writer++) {
		writer_at(s, writer)->sample_slots = s->slot_cnt;
		writer_at(s, writer)->number = writer;
	}
	return 0;
}

void samples_release(struct samples *s)
{
	free(s->seen);
	free(s->counted);
	s->seen = s->counted = NULL;
}

static uint64_t written(const struct samples *s, uint32_t writer)
{
	return __atomic_load_n(&writer_at(s, writer)->samples_written, __ATOMIC_ACQUIRE);
}

/* Every tick on a target has become a sample or a loss: no tick is under way. */
static bool balances(const uint64_t *counters)
{
	uint64_t sum = counters[KRAIT_CNT_SAMPLES];

	for (unsigned int i = 0; i < KRAIT_CNT_CNT; i++)
		if (krait_part_of(i) == KRAIT_PART_LOSS && i != KRAIT_LOSS_NESTED)
			sum += counters[i];
	return sum == counters[KRAIT_CNT_TARGET_TICKS];
}

/*
 * How many samples the writer has written, and its counters then: read again as long as a tick is
 * under way there, which takes some microseconds. A tick counts itself first, then writes its
 * sample, then counts that, so what balances is of one moment. A virtual CPU may be stopped within
 * a tick: there is an end to it. (Of another event no counter is read here: its sample is there or
 * not.)
 */
static uint64_t poll_writer(struct samples *s, uint32_t writer, uint64_t *counters)
{
	const __u64 *of_writer = writer_at(s, writer)->counters;
	uint64_t n;

	for (int i = 0; i < LOOKS_MAX; i++) {
		n = written(s, writer);
		for (int k = 0; k < KRAIT_COUNTERS_MAX; k++)
			counters[k] = __atomic_load_n(&of_writer[k], __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (balances(counters) && written(s, writer) == n)
			break;
	}
	return n;
}

void samples_poll(struct samples *s)
{
	memset(s->counters, 0, sizeof(s->counters));
	for (uint32_t writer = 0; writer < s->writer_cnt; writer++) {
		uint64_t counters[KRAIT_COUNTERS_MAX], waiting;

		s->seen[writer] = poll_writer(s, writer, counters);
		for (int i = 0; i < KRAIT_COUNTERS_MAX; i++)
			s->counters[i] += counters[i];
		/* Where no level was free the tick could count nothing else. */
		s->counters[KRAIT_CNT_TARGET_TICKS] += counters[KRAIT_LOSS_NESTED];
		waiting = s->seen[writer] - writer_at(s, writer)->samples_read;
		if (waiting > s->peak)
			s->peak = waiting;
	}
}

static struct krait_sample_rec *sample_at(const struct samples *s, uint32_t writer, uint64_t n)
{
	size_t slot = (size_t)writer * s->slot_cnt + (n & (s->slot_cnt - 1));

	return (void *)(s->rings + slot * s->slot_bytes);
}

static uint32_t *waiting_of(struct samples *s, uint32_t pid)
{
	return &s->waiting[pid % SAMPLES_PID_SLOTS];
}

/* Passes the sample on, unless that has been done: then it has no kind any more. */
static int pass_on(struct samples *s, struct krait_sample_rec *rec, raw_record_fn fn, void *arg)
{
	int err;

	if (!rec->h.kind)
		return 0;
	--*waiting_of(s, rec->pid);
	err = fn(rec, s->slot_bytes, arg);
	rec->h.kind = 0;
	return err < 0 ? err : 0;
}

/* Counts what has been written since the last time, by pid; returns the end of it. */
static uint64_t count_new(struct samples *s, uint32_t writer)
{
	uint64_t end = written(s, writer);

	for (; s->counted[writer] < end; s->counted[writer]++)
		++*waiting_of(s, sample_at(s, writer, s->counted[writer])->pid);
	return end;
}

int samples_take(struct samples *s, uint32_t max, raw_record_fn fn, void *arg)
{
	int err = 0;

	for (uint32_t writer = 0; writer < s->writer_cnt; writer++) {
		__u64 *read = &writer_at(s, writer)->samples_read;
		uint64_t n = *read;

		count_new(s, writer);
		for (; n < s->seen[writer] && max && !err; n++, max--)
			err = pass_on(s, sample_at(s, writer, n), fn, arg);
		__atomic_store_n(read, n, __ATOMIC_RELEASE);
		if (err || n < s->seen[writer])
			return err ?: 1;
	}
	return 0;
}

/* A sample that the last poll has not seen. */
static void count_ahead(struct samples *s, const struct krait_sample_rec *rec)
{
	s->counters[KRAIT_CNT_TARGET_TICKS] += rec->weight;
	s->counters[KRAIT_CNT_SAMPLES] += rec->weight;
}

int samples_take_before(struct samples *s, uint32_t pid, uint64_t time_ns, raw_record_fn fn,
			void *arg)
{
	int err = 0;

	for (uint32_t writer = 0; writer < s->writer_cnt; writer++)
		count_new(s, writer);
	for (uint32_t writer = 0; writer < s->writer_cnt && *waiting_of(s, pid); writer++) {
		for (uint64_t n = writer_at(s, writer)->samples_read;
		     n < s->counted[writer] && !err; n++) {
			struct krait_sample_rec *rec = sample_at(s, writer, n);

			if (rec->pid != pid || rec->time_ns >= time_ns)
				continue;
			if (n >= s->seen[writer] && rec->h.kind)
				count_ahead(s, rec);
			err = pass_on(s, rec, fn, arg);
		}
	}
	return err;
}
