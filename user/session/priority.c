// SPDX-License-Identifier: BSD-2-Clause
#include "user/session/priority.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

static volatile sig_atomic_t was_revoked;

static int set_policy(int policy)
{
	struct sched_param param = {.sched_priority = sched_get_priority_min(policy)};

	/* What it forks is ordinary. */
	return sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &param) == 0 ? 0 : -errno;
}

/* The kernel's watchdog, kernel/time/posix-cpu-timers.c, check_rttime. */
static void on_limit(int signal_number)
{
	struct sched_param param = {};

	(void)signal_number;
	was_revoked = 1;
	sched_setscheduler(0, SCHED_OTHER, &param);
}

int priority_raise(void)
{
	struct sigaction action = {.sa_handler = on_limit, .sa_flags = SA_RESTART};
	struct rlimit limit = {.rlim_cur = (rlim_t)REALTIME_MAX_MS * 1000,
			       .rlim_max = RLIM_INFINITY};

	if (was_revoked)
		return -ETIME;
	if (sigaction(SIGXCPU, &action, NULL) != 0 || setrlimit(RLIMIT_RTTIME, &limit) != 0)
		return -errno;
	return set_policy(SCHED_RR);
}

void priority_lower(void)
{
	set_policy(SCHED_OTHER);
}

bool priority_was_revoked(void)
{
	return was_revoked;
}
