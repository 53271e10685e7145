// SPDX-License-Identifier: BSD-2-Clause
/* Reading the per-CPU rings of samples. */
#include "user/drain/samples.h"

#include <errno.h>
#include <stdlib.h>

#define SLOW_HZ 1000		/* up to here two seconds are little */
#define BYTES_MAX (64ULL << 20) /* of all CPUs' rings */

uint32_t samples_slot_cnt(uint32_t freq_hz, uint32_t cpu_cnt)
{
	uint64_t bytes_each = (uint64_t)cpu_cnt * sizeof(struct krait_sample_rec);
	uint32_t seconds = freq_hz > SLOW_HZ ? 1 : 2, slots = 1;

	while (slots < seconds * freq_hz)
		slots *= 2;
	while (slots > freq_hz && slots * bytes_each > BYTES_MAX)
		slots /= 2;
	return slots;
}

static struct krait_cpu *cpu_at(const struct samples *s, uint32_t cpu)
{
	return (struct krait_cpu *)(s->cpus + cpu * s->cpu_stride);
}

int samples_init(struct samples *s)
{
	s->seen = calloc(s->cpu_cnt, sizeof(*s->seen));
	if (!s->seen)
		return -ENOMEM;
	for (uint32_t cpu = 0; cpu < s->cpu_cnt; cpu++)
		cpu_at(s, cpu)->sample_slots = s->slot_cnt;
	return 0;
}

void samples_release(struct samples *s)
{
	free(s->seen);
	s->seen = NULL;
}

static uint64_t written(const struct samples *s, uint32_t cpu)
{
	return __atomic_load_n(&cpu_at(s, cpu)->counters[KRAIT_CNT_SAMPLES], __ATOMIC_ACQUIRE);
}

void samples_look(struct samples *s)
{
	for (uint32_t cpu = 0; cpu < s->cpu_cnt; cpu++) {
		uint64_t waiting;

		s->seen[cpu] = written(s, cpu);
		waiting = s->seen[cpu] - cpu_at(s, cpu)->samples_read;
		if (waiting > s->peak)
			s->peak = waiting;
	}
}

static struct krait_sample_rec *sample_at(const struct samples *s, uint32_t cpu, uint64_t n)
{
	return &s->rings[(size_t)cpu * s->slot_cnt + (n & (s->slot_cnt - 1))];
}

/* Passes the sample on, unless that has been done: then it has no kind any more. */
static int pass_on(struct krait_sample_rec *rec, samples_record_fn fn, void *arg)
{
	int err;

	if (!rec->h.kind)
		return 0;
	err = fn(arg, rec, sizeof(*rec));
	rec->h.kind = 0;
	return err < 0 ? err : 0;
}

int samples_take(struct samples *s, samples_record_fn fn, void *arg)
{
	int err = 0;

	for (uint32_t cpu = 0; cpu < s->cpu_cnt && !err; cpu++) {
		__u64 *read = &cpu_at(s, cpu)->samples_read;

		for (uint64_t n = *read; n < s->seen[cpu] && !err; n++)
			err = pass_on(sample_at(s, cpu, n), fn, arg);
		__atomic_store_n(read, s->seen[cpu], __ATOMIC_RELEASE);
	}
	return err;
}

int samples_take_before(struct samples *s, uint32_t pid, uint64_t time_ns, samples_record_fn fn,
			void *arg)
{
	int err = 0;

	for (uint32_t cpu = 0; cpu < s->cpu_cnt; cpu++) {
		uint64_t end = written(s, cpu);

		for (uint64_t n = cpu_at(s, cpu)->samples_read; n < end && !err; n++) {
			struct krait_sample_rec *rec = sample_at(s, cpu, n);

			if (rec->pid == pid && rec->time_ns < time_ns)
				err = pass_on(rec, fn, arg);
		}
	}
	return err;
}
