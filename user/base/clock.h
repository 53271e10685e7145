/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's clocks as one number of nanoseconds. Four are read: CLOCK_MONOTONIC, which the BPF
 * program's times are of, for all that waits; CLOCK_REALTIME for when a run began, to a person; a
 * thread's and the process's CPU time for what krait takes, which are system calls.
 */
#ifndef KRAIT_BASE_CLOCK_H
#define KRAIT_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S 1000000000ULL
#define NS_PER_MS 1000000ULL

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

#endif
