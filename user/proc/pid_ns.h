/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pid namespace that krait runs in: the host's, or one of its own, as in a container.
 *
 * It decides which processes there are and what their ids are, to /proc, to the kernel's part of
 * krait and to whoever reads the profile; so all of them must speak of the same one.
 */
#ifndef KRAIT_PROC_PID_NS_H
#define KRAIT_PROC_PID_NS_H

#include <stdbool.h>

/* Why nothing can be said of processes, in a sentence with the fix: /proc shows those of another
 * pid namespace, or there is none. NULL: it is the right one. To be asked before all else here. */
const char *pid_ns_trouble(void);

/* Whether krait sees only the processes of a pid namespace of its own. */
bool pid_ns_is_own(void);

/* "on this host", or where else krait sees processes. */
const char *pid_ns_where(void);

#endif
