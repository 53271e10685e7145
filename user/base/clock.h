/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's clocks as one number of nanoseconds. */
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
