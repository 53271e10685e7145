/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * krait's place in the queue for a CPU: an ordinary task, unless --realtime asks for more.
 *
 * Among a thousand busy processes an ordinary task may wait for a quarter of a second after it has
 * woken up, whatever its niceness: the scheduler first serves those whose turn is overdue. At high
 * rates the rings run over meanwhile. Who would rather have those samples than the ordinary order
 * says --realtime. That is for the drain alone: scans, the command and the writing of the profile
 * are ordinary tasks always.
 *
 * A realtime task that runs without a pause starves the others, so it is watched by the kernel
 * (RLIMIT_RTTIME): after REALTIME_MAX_MS on a CPU in one go it becomes an ordinary task for good.
 */
#ifndef KRAIT_SESSION_PRIORITY_H
#define KRAIT_SESSION_PRIORITY_H

#include <stdbool.h>

#define REALTIME_MAX_MS 200

/* The least realtime priority (SCHED_RR), watched. 0 or -errno: without the permission
 * (CAP_SYS_NICE) krait goes on as it is. */
int priority_raise(void);
/* No realtime task any more. */
void priority_lower(void);
/* Whether the watchdog has ended it. */
bool priority_was_revoked(void);

#endif
