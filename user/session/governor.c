// SPDX-License-Identifier: BSD-2-Clause
#include "user/session/governor.h"

#include <stdbool.h>

#include "user/base/clock.h"

#define DEFAULT_PERCENT 1.0	/* of the host */
#define LEAST_ONE_CPU_PERCENT 5 /* of one CPU, where nothing was asked for */

void governor_init(struct governor *g, uint64_t ceiling_ns)
{
	*g = (struct governor){
		.ceiling_ns = ceiling_ns,
		.credit_ns = GOVERNOR_SAVED_S * ceiling_ns,
	};
}

/* A step back doubles what a second takes, so there has to be room for twice of it, and some. */
static bool is_calm(const struct governor *g, uint64_t took_ns, uint64_t allowed_ns)
{
	return took_ns * 5 / 2 < allowed_ns && g->credit_ns > 0;
}

static int step_to(struct governor *g, uint32_t step)
{
	g->step = step;
	g->calm_s = 0;
	if (step > g->max_step)
		g->max_step = step;
	return true;
}

int governor_tell(struct governor *g, uint64_t took_ns, uint64_t passed_ns)
{
	uint64_t allowed_ns = (double)g->ceiling_ns * passed_ns / NS_PER_S;
	int64_t most_ns = GOVERNOR_SAVED_S * g->ceiling_ns;

	g->slow_s += g->step > 0;
	g->credit_ns += (int64_t)allowed_ns - (int64_t)took_ns;
	if (g->credit_ns > most_ns)
		g->credit_ns = most_ns;
	/* What has been taken is not paid for long after: the rate is what counts. */
	if (g->credit_ns < -most_ns)
		g->credit_ns = -most_ns;
	if (g->credit_ns < 0 && took_ns > allowed_ns)
		return g->step < GOVERNOR_STEPS_MAX ? step_to(g, g->step + 1) : false;
	g->calm_s = is_calm(g, took_ns, allowed_ns) ? g->calm_s + 1 : 0;
	if (g->step && g->calm_s >= GOVERNOR_CALM_S)
		return step_to(g, g->step - 1);
	return false;
}

uint32_t governor_weight(const struct governor *g)
{
	return g->step > 1 ? 1U << (g->step - 1) : 1;
}

uint64_t governor_scan_ns(const struct governor *g)
{
	return g->step ? g->ceiling_ns / 8 : g->ceiling_ns / 2;
}

uint64_t governor_ceiling_ns(double percent, uint32_t cpu_cnt)
{
	uint64_t least_ns = NS_PER_S * LEAST_ONE_CPU_PERCENT / 100, ns;

	if (percent > 0)
		return percent / 100 * cpu_cnt * NS_PER_S;
	ns = DEFAULT_PERCENT / 100 * cpu_cnt * NS_PER_S;
	return ns > least_ns ? ns : least_ns;
}
