/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rings of samples: what the kernel would write is written here, a CPU's records one after
 * another and its counter raised, and read as the sampler does.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <cmocka.h>

#include "user/drain/samples.h"

#define CPUS 3
#define SLOTS 8
#define STRIDE 4096 /* a CPU's memory is longer than its head */
#define NONE 0xffff /* no call of the reader fails */

struct kernel {
	uint8_t cpus[CPUS * STRIDE];
	struct krait_sample_rec rings[CPUS * SLOTS];
	struct samples samples;
};

struct reader {
	uint64_t stack_ids[64];
	uint32_t cnt;
	uint32_t fail_at;
	size_t slot_bytes; /* 0: those of a sample of the clock */
};

static struct krait_writer *cpu_of(struct kernel *k, uint32_t cpu)
{
	return (struct krait_writer *)(k->cpus + cpu * STRIDE);
}

static int set_up(void **state)
{
	struct kernel *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	k->samples = (struct samples){.rings = (uint8_t *)k->rings,
				      .slot_bytes = sizeof(*k->rings),
				      .writers = k->cpus,
				      .writer_stride = STRIDE,
				      .writer_cnt = CPUS,
				      .slot_cnt = SLOTS};
	assert_int_equal(samples_init(&k->samples), 0);
	*state = k;
	return 0;
}

static int tear_down(void **state)
{
	struct kernel *k = *state;

	samples_release(&k->samples);
	free(k);
	return 0;
}

/* As bpf/emit.h, sample_emit: false if the ring is full. Its stack id says which it is. */
static bool write_sample(struct kernel *k, uint32_t cpu, uint32_t pid, uint64_t time_ns)
{
	struct krait_writer *c = cpu_of(k, cpu);
	__u64 *cnt = &c->samples_written;

	if (*cnt - c->samples_read >= c->sample_slots)
		return false;
	k->rings[cpu * SLOTS + *cnt % c->sample_slots] =
		(struct krait_sample_rec){.h = {.kind = KRAIT_SAMPLE},
					  .time_ns = time_ns,
					  .stack_id = cpu * 1000 + *cnt,
					  .pid = pid};
	(*cnt)++;
	return true;
}

static int on_record(void *record, size_t avail, void *arg)
{
	const struct krait_sample_rec *rec = record;
	struct reader *r = arg;

	assert_int_equal(avail, r->slot_bytes ?: sizeof(*rec));
	assert_int_equal(rec->h.kind, KRAIT_SAMPLE);
	if (r->cnt == r->fail_at)
		return -5;
	r->stack_ids[r->cnt++] = rec->stack_id;
	return 0;
}

static void assert_read(const struct reader *r, const uint64_t *ids, uint32_t cnt)
{
	assert_int_equal(r->cnt, cnt);
	for (uint32_t i = 0; i < cnt; i++)
		assert_int_equal(r->stack_ids[i], ids[i]);
}

#define ASSERT_READ(r, ...)                                                                        \
	assert_read(r, (const uint64_t[]){__VA_ARGS__},                                            \
		    sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static struct reader take(struct kernel *k)
{
	struct reader r = {.fail_at = NONE};

	assert_int_equal(samples_take(&k->samples, UINT32_MAX, on_record, &r), 0);
	return r;
}

static void test_only_what_was_looked_at(void **state)
{
	struct kernel *k = *state;
	struct reader r;

	write_sample(k, 0, 7, 10);
	write_sample(k, 2, 7, 11);
	write_sample(k, 2, 7, 12);
	samples_poll(&k->samples);
	write_sample(k, 0, 7, 13);
	write_sample(k, 1, 7, 14);
	r = take(k);
	ASSERT_READ(&r, 0, 2000, 2001);
	samples_poll(&k->samples);
	r = take(k);
	ASSERT_READ(&r, 1, 1000);
	r = take(k);
	assert_int_equal(r.cnt, 0);
	assert_int_equal(k->samples.peak, 2);
}

/* A ring goes round and round; each sample is read once, and a full one takes no more. */
static void test_round_and_full(void **state)
{
	struct kernel *k = *state;
	uint64_t next = 0;

	for (int round = 0; round < 20; round++) {
		uint32_t cnt = 0;
		struct reader r;

		while (cnt < 5u + round % 6 && write_sample(k, 0, 7, 10))
			cnt++;
		assert_int_equal(cnt, 5 + round % 6 < SLOTS ? 5 + round % 6 : SLOTS);
		samples_poll(&k->samples);
		r = take(k);
		assert_int_equal(r.cnt, cnt);
		for (uint32_t i = 0; i < cnt; i++)
			assert_int_equal(r.stack_ids[i], next++);
	}
}

/* A life that ends: its samples come first, the others' when they are due, none twice. */
static void test_before_an_end(void **state)
{
	struct reader early = {.fail_at = NONE}, late;
	struct kernel *k = *state;

	write_sample(k, 0, 7, 10);
	write_sample(k, 0, 8, 20);
	write_sample(k, 0, 7, 40);
	write_sample(k, 1, 7, 15);
	write_sample(k, 1, 7, 30);
	samples_poll(&k->samples);
	/* It ends while the other ring is read. */
	write_sample(k, 2, 7, 29);
	write_sample(k, 2, 8, 29);
	assert_int_equal(samples_take_before(&k->samples, 7, 30, on_record, &early), 0);
	ASSERT_READ(&early, 0, 1000, 2000);
	assert_int_equal(samples_take_before(&k->samples, 7, 30, on_record, &early), 0);
	assert_int_equal(early.cnt, 3);
	late = take(k);
	ASSERT_READ(&late, 1, 2, 1001);
	samples_poll(&k->samples);
	late = take(k);
	ASSERT_READ(&late, 2001);
	/* The slots are as good as new. */
	for (int i = 0; i < SLOTS; i++)
		assert_true(write_sample(k, 0, 7, 50));
	assert_false(write_sample(k, 0, 7, 50));
	samples_poll(&k->samples);
	late = take(k);
	assert_int_equal(late.cnt, SLOTS);
}

static void test_error_ends_it(void **state)
{
	struct reader r = {.fail_at = 1};
	struct kernel *k = *state;

	for (int i = 0; i < 3; i++)
		write_sample(k, 1, 7, 10 + i);
	samples_poll(&k->samples);
	assert_int_equal(samples_take(&k->samples, UINT32_MAX, on_record, &r), -5);
	assert_int_equal(r.cnt, 1);
}

/* In steps; a life that ends between two of them has its samples once. */
static void test_steps(void **state)
{
	struct reader r = {.fail_at = NONE};
	struct kernel *k = *state;

	for (int i = 0; i < 4; i++)
		write_sample(k, 0, 7 + i % 2, 10 + i);
	write_sample(k, 2, 7, 20);
	samples_poll(&k->samples);
	assert_int_equal(samples_take(&k->samples, 3, on_record, &r), 1);
	ASSERT_READ(&r, 0, 1, 2);
	assert_int_equal(samples_take_before(&k->samples, 8, 30, on_record, &r), 0);
	ASSERT_READ(&r, 0, 1, 2, 3);
	assert_int_equal(samples_take(&k->samples, 3, on_record, &r), 0);
	ASSERT_READ(&r, 0, 1, 2, 3, 2000);
	assert_int_equal(samples_take_before(&k->samples, 7, 30, on_record, &r), 0);
	assert_int_equal(r.cnt, 5);
}

/* Two pids may share a slot of the counts: the other's samples stay where they are. */
static void test_pids_of_one_slot(void **state)
{
	struct reader r = {.fail_at = NONE};
	struct kernel *k = *state;

	write_sample(k, 1, 7, 10);
	write_sample(k, 1, 7 + SAMPLES_PID_SLOTS, 11);
	assert_int_equal(samples_take_before(&k->samples, 7 + SAMPLES_PID_SLOTS, 30, on_record, &r),
			 0);
	ASSERT_READ(&r, 1001);
	samples_poll(&k->samples);
	r = take(k);
	ASSERT_READ(&r, 1000);
}

/* ---- The counters ---- */

/* As bpf/krait.bpf.c: a tick counts itself, writes its sample, counts that. */
static void tick(struct krait_writer *c, bool is_lost)
{
	__atomic_fetch_add(&c->counters[KRAIT_CNT_TARGET_TICKS], 2, __ATOMIC_RELEASE);
	if (is_lost) {
		__atomic_fetch_add(&c->counters[KRAIT_LOSS_STARTING], 2, __ATOMIC_RELEASE);
		return;
	}
	__atomic_fetch_add(&c->samples_written, 1, __ATOMIC_RELEASE);
	__atomic_fetch_add(&c->counters[KRAIT_CNT_SAMPLES], 2, __ATOMIC_RELEASE);
}

static struct krait_writer *ticking_cpu;
static volatile unsigned int tick_cnt;

static void on_timer(int signal_number)
{
	(void)signal_number;
	tick(ticking_cpu, tick_cnt++ % 3 == 0);
}

/*
 * A tick may interrupt a look anywhere, and is over when that goes on: so does a signal. Each look
 * finds a moment between two ticks all the same. (Samples of two ticks each; nothing is taken, so
 * how many there are is all that is told of them.)
 */
static void test_counters_are_of_one_moment(void **state)
{
	struct kernel *k = *state;
	const uint64_t *c = k->samples.counters;
	const struct itimerval often = {{0, 20}, {0, 20}}, never = {};

	ticking_cpu = cpu_of(k, 1);
	tick_cnt = 0;
	signal(SIGALRM, on_timer);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	while (tick_cnt < 20000) {
		samples_poll(&k->samples);
		assert_int_equal(c[KRAIT_CNT_TARGET_TICKS],
				 c[KRAIT_CNT_SAMPLES] + c[KRAIT_LOSS_STARTING]);
		assert_int_equal(c[KRAIT_CNT_SAMPLES], 2 * k->samples.seen[1]);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_DFL);
}

/* On another CPU a tick may be under way; one that never ends holds nothing up. */
static void test_counters_within_a_tick(void **state)
{
	struct kernel *k = *state;

	tick(cpu_of(k, 0), false);
	cpu_of(k, 0)->counters[KRAIT_CNT_TARGET_TICKS] += 2;
	samples_poll(&k->samples);
	assert_int_equal(k->samples.seen[0], 1);
	assert_int_equal(k->samples.counters[KRAIT_CNT_SAMPLES], 2);
}

static void test_counters_of_all_cpus(void **state)
{
	struct kernel *k = *state;

	for (int cpu = 0; cpu < CPUS; cpu++)
		tick(cpu_of(k, cpu), cpu == 2);
	for (int i = 0; i < 2; i++) {
		samples_poll(&k->samples);
		assert_int_equal(k->samples.counters[KRAIT_CNT_TARGET_TICKS], 6);
		assert_int_equal(k->samples.counters[KRAIT_CNT_SAMPLES], 4);
		assert_int_equal(k->samples.counters[KRAIT_LOSS_STARTING], 2);
	}
}

/* What an end of a life lets through is counted, though the last look had not seen it; once. */
static void test_counters_of_an_end(void **state)
{
	struct reader r = {.fail_at = NONE};
	struct kernel *k = *state;

	samples_poll(&k->samples);
	write_sample(k, 0, 7, 10);
	k->rings[0].weight = 4;
	cpu_of(k, 0)->counters[KRAIT_CNT_TARGET_TICKS] = 4;
	cpu_of(k, 0)->counters[KRAIT_CNT_SAMPLES] = 4;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(samples_take_before(&k->samples, 7, 30, on_record, &r), 0);
		assert_int_equal(r.cnt, 1);
		assert_int_equal(k->samples.counters[KRAIT_CNT_TARGET_TICKS], 4);
		assert_int_equal(k->samples.counters[KRAIT_CNT_SAMPLES], 4);
	}
	samples_poll(&k->samples);
	assert_int_equal(k->samples.counters[KRAIT_CNT_SAMPLES], 4);
}

static void test_slots(void **state)
{
	(void)state;
	assert_int_equal(samples_slot_cnt(1, 2, sizeof(struct krait_sample_rec)), 2);
	assert_int_equal(samples_slot_cnt(99, 2, sizeof(struct krait_sample_rec)), 256);
	assert_int_equal(samples_slot_cnt(999, 2, sizeof(struct krait_sample_rec)), 2048);
	assert_int_equal(samples_slot_cnt(10000, 2, sizeof(struct krait_sample_rec)), 16384);
	/* 256 CPUs: 8,192 slots of 40 bytes each are 84 MB, and hold most of a second. */
	assert_int_equal(samples_slot_cnt(10000, 256, sizeof(struct krait_sample_rec)), 8192);
}

/* A tick that found no level free has counted nothing else, and is on both sides of the ledger. */
static void test_nested_ticks(void **state)
{
	struct kernel *k = *state;

	tick(cpu_of(k, 1), true);
	cpu_of(k, 1)->counters[KRAIT_LOSS_NESTED] = 3;
	samples_poll(&k->samples);
	assert_int_equal(k->samples.counters[KRAIT_CNT_TARGET_TICKS], 2 + 3);
	assert_int_equal(k->samples.counters[KRAIT_LOSS_STARTING], 2);
	assert_int_equal(k->samples.counters[KRAIT_LOSS_NESTED], 3);
}

/* Slots are as long as the longest kind of sample, whatever is in them. */
static void test_longer_slots(void **state)
{
	struct krait_event_sample_rec slots[2 * SLOTS] = {};
	struct kernel *k = *state;
	struct reader r = {.fail_at = NONE, .slot_bytes = sizeof(*slots)};

	for (uint32_t i = 0; i < CPUS; i++)
		assert_int_equal(cpu_of(k, i)->number, i);
	k->samples.rings = (uint8_t *)slots;
	k->samples.slot_bytes = sizeof(*slots);
	k->samples.writer_cnt = 2;
	slots[SLOTS] = (struct krait_event_sample_rec){
		.sample = {.h = {.kind = KRAIT_SAMPLE}, .stack_id = 4, .pid = 7}};
	slots[SLOTS + 1] = (struct krait_event_sample_rec){
		.sample = {.h = {.kind = KRAIT_SAMPLE}, .stack_id = 5, .pid = 7}};
	cpu_of(k, 1)->samples_written = 2;
	samples_poll(&k->samples);
	assert_int_equal(samples_take(&k->samples, 64, on_record, &r), 0);
	assert_int_equal(r.cnt, 2);
	assert_int_equal(r.stack_ids[0], 4);
	assert_int_equal(r.stack_ids[1], 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_only_what_was_looked_at, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nested_ticks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_longer_slots, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_round_and_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_before_an_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_error_ends_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_steps, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pids_of_one_slot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_counters_are_of_one_moment, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_counters_within_a_tick, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_counters_of_all_cpus, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_counters_of_an_end, set_up, tear_down),
		cmocka_unit_test(test_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
