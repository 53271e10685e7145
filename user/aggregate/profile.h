/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * struct profile: what a run saw, named and counted. The one thing that exporters read.
 *
 * Plain arrays that refer to one another by index; immutable once built; every string in it is
 * interned, made safe (base/text.h) and lives as long as the profile. Order is deterministic: the
 * same records give the same profile, byte for byte. Built by aggregate, which owns it. Exporters
 * only borrow.
 */
#ifndef KRAIT_AGGREGATE_PROFILE_H
#define KRAIT_AGGREGATE_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi/ledger.h"
#include "user/aggregate/timeline.h"
#include "user/base/intern.h"
#include "user/base/packed.h"
#include "user/symbolize/frames.h" /* struct profile_function, struct profile_frame */

/* Numbers first .. first + cnt of frame_idx are indices into frames[], innermost first. */
struct profile_stack {
	uint32_t first;
	uint32_t cnt;
};

struct profile_process {
	uint32_t pid;
	uint32_t py_version; /* PY_VERSION_HEX */
	const char *comm;
	const char *cmdline; /* arguments joined by spaces; the comm where it could not be read */
	uint64_t began_ns;   /* CLOCK_MONOTONIC: when this became known of it */
};

/* A thread in an interpreter. Each thread is there once with interp_id 0, whatever it ran. */
struct profile_thread {
	uint64_t interp_id; /* 0: the main interpreter */
	uint32_t process_idx;
	uint32_t tid;
	uint32_t main_idx; /* the same thread's entry with interp_id 0 */
	const char *name;  /* what Python calls it, else the comm; "" where it was never seen */
	bool is_py_named;
};

/* What was sampled, and its ledger. Counts are of its periods: ticks, of the CPU's clock. */
struct profile_event {
	const char *name, *unit;	  /* "cpu", "nanoseconds"; as pprof has them */
	uint64_t period;		  /* how much of the unit a count of 1 is */
	uint64_t total_cnt;		  /* sum of the counts of its samples */
	uint64_t outside_cnt;		  /* of them, of threads that ran no Python frame */
	uint64_t unnamed_cnt;		  /* received beside them; their stack never arrived */
	uint64_t counters[KRAIT_CNT_CNT]; /* the kernel's ledger, */
	bool has_ledger;		  /* if it has come */
};

/* What one thread had of an event on one stack. Sorted by (thread_idx, stack_idx, event_idx), each
 * of them once. */
struct profile_sample {
	uint32_t thread_idx;
	uint32_t stack_idx;
	uint64_t cnt : 56;
	uint64_t event_idx : 8;
};

/* Where and how the profile was taken. */
struct profile_meta {
	uint64_t start_unix_ns; /* UTC */
	uint64_t start_mono_ns; /* the same moment in CLOCK_MONOTONIC, the timeline's clock */
	uint64_t duration_ns;
	uint32_t freq_hz;
	uint32_t cpu_cnt;
	const char *host, *kernel; /* uname nodename, release */
	const char *target;	   /* "all", "pid 12", "comm x", or the command */
};

struct profile {
	struct profile_meta meta;
	const struct profile_function *functions;
	const struct profile_frame *frames;
	struct packed frame_idx; /* of all stacks; borrowed */
	const struct profile_stack *stacks;
	const struct profile_process *processes;
	const struct profile_thread *threads;
	const struct profile_sample *samples;
	const struct profile_event *events; /* the first is the CPU's clock */
	struct timeline timeline;	    /* when the samples came; borrowed */
	uint32_t function_cnt, frame_cnt, stack_cnt, process_cnt, thread_cnt, sample_cnt, event_cnt;
	struct intern *strings; /* a copy holds it */
};

/*
 * A copy that stays as it is, and may be read by any thread, whatever the aggregate goes on to do:
 * the samples, and of all else what they refer to, in the same order. NULL without memory.
 */
struct profile *profile_copy(const struct profile *profile);
void profile_free(struct profile *copy);

#endif
