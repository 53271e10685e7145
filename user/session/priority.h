/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * krait's place in the queue for a CPU.
 *
 * Among a thousand busy processes a task that wakes up waits for a quarter of a second, whatever
 * its niceness: the scheduler first serves those whose turn is overdue. Meanwhile the rings fill
 * and no new process is looked at. What krait does while it samples is little and can't wait, so
 * that is done as a realtime task; what takes long, writing the profile, is not.
 *
 * The kernel leaves the others a part of each second whatever a realtime task does
 * (kernel.sched_rt_runtime_us).
 */
#ifndef KRAIT_SESSION_PRIORITY_H
#define KRAIT_SESSION_PRIORITY_H

/* While it samples. Without the permission (CAP_SYS_NICE) krait goes on as it is. */
void priority_raise(void);
/* No realtime task any more, of the least niceness still. */
void priority_lower(void);

#endif
