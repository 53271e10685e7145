/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A classifier between a kernel made by hand (fake_sampler.h) and results of scans that nobody has
 * made. Include after cmocka.h.
 */
#ifndef KRAIT_TESTS_UNIT_CLASSIFIED_H
#define KRAIT_TESTS_UNIT_CLASSIFIED_H

#include <string.h>

#include "tests/unit/collected.h"
#include "tests/unit/fake_sampler.h"
#include "user/base/clock.h"
#include "user/base/log.h"
#include "user/session/classify.h"

#define PID 7
#define NOW_NS (1000 * NS_PER_S)

static struct classifier *c;
static struct processes *processes;
static struct selection who;
static struct session_result result;
static struct collected infos;
static struct scan_result scan; /* for classifier_take */
static int state_at_info;	/* what the kernel held the process for when its INFO came */

static inline int emit(const struct krait_hdr *rec, void *arg)
{
	const struct krait_process_rec *info = (const void *)rec;

	state_at_info = kernel_entry(info->pid)->state;
	return collect(rec, arg);
}

static inline int set_up(void **state)
{
	(void)state;
	kernel_init();
	log_set_level(LOG_ERROR);
	who = (struct selection){0};
	result = (struct session_result){0};
	processes = processes_new(&kernel);
	c = classifier_new(&kernel, processes, &who, &result, emit, &infos);
	return processes && c ? 0 : -1;
}

static inline int tear_down(void **state)
{
	(void)state;
	classifier_free(c);
	processes_free(processes);
	collected_release(&infos);
	return 0;
}

/* The process that is to be scanned now; 0: none. */
static inline pid_t next(uint64_t now_ns)
{
	struct scan_request request = {0};

	if (!classifier_next(c, now_ns, &request))
		return 0;
	assert_int_equal(request.kind, SCAN_PROCESS);
	return request.pid;
}

/* A scan's result, in `scan`: a target has an address in each place, none twice. */
static inline struct target *scanned(pid_t pid, enum target_state state)
{
	memset(&scan, 0, sizeof(scan));
	scan.target = (struct target){
		.pid = pid,
		.state = state,
		.python = {.version = 0x030c04f0,
			   .interp_modules_off = 110,
			   .addrs = {.interp_head = 101,
				     .code_type = 102,
				     .current = 103,
				     .collecting = 104,
				     .runtime = 105,
				     .eval = 107,
				     .runtime_bytes = 106,
				     .eval_bytes = 108},
			   .walk = {.ts_frame_off = 109}},
		.how = "symbol",
		.why = "why not",
		.comm = "python3",
	};
	return &scan.target;
}

/* Asks, scans and answers at once. */
static inline void classify(pid_t pid, enum target_state state)
{
	classifier_ask(c, pid, NOW_NS);
	assert_int_equal(next(NOW_NS), pid);
	scanned(pid, state);
	assert_int_equal(classifier_take(c, &scan, NOW_NS), 0);
}

#endif
