/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a process of krait may still do once it has what it needs: capabilities are given up, a
 * seccomp filter is set, and nothing that it executes could gain any (no_new_privs).
 *
 * Works without any capability to give up, in containers, and where the kernel has no seccomp
 * (then only the capabilities go). It can't be undone.
 */
#ifndef KRAIT_SESSION_PRIVILEGE_H
#define KRAIT_SESSION_PRIVILEGE_H

#include <stdbool.h>

/* What a process does from now on; a process that does several of them says all. */
enum privilege_role {
	/* Drains the rings, writes maps, opens timers for CPUs that come online, changes its
	 * scheduling, writes output files, reaps children and signals those it has a pidfd of.
	 * Loads no BPF program, makes no map, forks nothing. */
	PRIVILEGE_SAMPLER = 1,
	/* Waits for the user's command too and passes signals on to it: kill(2), CAP_KILL. */
	PRIVILEGE_COMMAND = 2,
	/*
	 * Reads /proc, and files and memory of other processes, and nothing else: opens for reading
	 * alone, writes to stderr alone (so answers go through a socket that is open already, with
	 * send or sendmsg), keeps 0, 1 and 2 open, makes no socket, forks and executes nothing.
	 */
	PRIVILEGE_READER = 4,
	/* Forks readers, with socket pairs to them, and ends them. Such a child says what it does
	 * by a call of its own, which can only narrow the filter further. */
	PRIVILEGE_FORKER = 8,
};

/*
 * Gives up what `roles` (one or several, or-ed) don't need, for the calling thread: call it while
 * the process has one. Children that were forked before are untouched. 0, or -errno if capabilities
 * could not be given up; a kernel without seccomp is a warning.
 */
int privilege_drop(unsigned int roles);

/* Whether this process has capability `cap` (linux/capability.h) now. */
bool privilege_has(int cap);

#endif
