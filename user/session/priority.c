// SPDX-License-Identifier: BSD-2-Clause
#include "user/session/priority.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>

#include "user/base/log.h"

#define NICENESS -20

static void set_policy(int policy)
{
	struct sched_param param = {.sched_priority = sched_get_priority_min(policy)};

	if (sched_setscheduler(0, policy, &param) != 0)
		log_verbose("record: scheduling policy %d: %s", policy, strerror(errno));
}

void priority_raise(void)
{
	if (setpriority(PRIO_PROCESS, 0, NICENESS) != 0)
		log_verbose("record: niceness %d: %s", NICENESS, strerror(errno));
	set_policy(SCHED_RR);
}

void priority_lower(void)
{
	set_policy(SCHED_OTHER);
}
