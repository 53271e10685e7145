/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ceiling of what krait takes (--max-cpu): told each second what it has taken, it says how much
 * to give up.
 *
 * What a second leaves over is kept for some seconds, so that a start, when all stacks and
 * processes are new, is no reason to slow down; lasting work over the ceiling is. First scans get a
 * quarter of their time; then the rate of sampling is halved, again and again, and each sample
 * stands for twice as many ticks. The way back is slow, a step in GOVERNOR_CALM_S seconds with room
 * for it.
 *
 * Plain arithmetic, without a clock.
 */
#ifndef KRAIT_SESSION_GOVERNOR_H
#define KRAIT_SESSION_GOVERNOR_H

#include <stdint.h>

#define GOVERNOR_SAVED_S 3 /* what is kept at most, in seconds of the ceiling */
#define GOVERNOR_CALM_S 10
#define GOVERNOR_STEPS_MAX 7 /* scans, then the rate down to a 64th */

struct governor {
	uint64_t ceiling_ns; /* of a second */
	int64_t credit_ns;
	uint32_t step;	   /* 0: nothing is given up */
	uint32_t max_step; /* the highest so far */
	uint32_t calm_s;
	uint32_t slow_s; /* seconds so far in which something was given up */
};

void governor_init(struct governor *g, uint64_t ceiling_ns);
/* `took_ns` of CPU in the last passed_ns. Whether g->step has changed. */
int governor_tell(struct governor *g, uint64_t took_ns, uint64_t passed_ns);

/* What a step means. */
uint32_t governor_weight(const struct governor *g);  /* ticks that a sample stands for */
uint64_t governor_scan_ns(const struct governor *g); /* of a second, for scans */

/* The ceiling in ns of a second: `percent` of all CPUs; 0: 1 % of them, and 5 % of one at least. */
uint64_t governor_ceiling_ns(double percent, uint32_t cpu_cnt);

#endif
