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

/* The ticks of one thread on one stack. Sorted by (thread_idx, stack_idx), each pair once. */
struct profile_sample {
	uint32_t thread_idx;
	uint32_t stack_idx;
	uint64_t cnt;
};

/* Where and how the profile was taken. */
struct profile_meta {
	uint64_t start_unix_ns; /* UTC */
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
	uint32_t function_cnt, frame_cnt, stack_cnt, process_cnt, thread_cnt, sample_cnt;
	uint64_t total_cnt;		  /* sum of samples[].cnt */
	uint64_t outside_cnt;		  /* of them, of threads that ran no Python frame */
	uint64_t counters[KRAIT_CNT_CNT]; /* the kernel's ledger */
	uint64_t samples_unnamed;	  /* samples received whose stack never arrived */
	struct intern *strings;		  /* a copy holds it */
};

/*
 * A copy that stays as it is, and may be read by any thread, whatever the aggregate goes on to do:
 * the samples, and of all else what they refer to, in the same order. NULL without memory.
 */
struct profile *profile_copy(const struct profile *profile);
void profile_free(struct profile *copy);

#endif
