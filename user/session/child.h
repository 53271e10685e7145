/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command of `krait record -- COMMAND`: started in two steps, so that it is watched before its
 * first instruction.
 */
#ifndef KRAIT_SESSION_CHILD_H
#define KRAIT_SESSION_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct child {
	const char *name; /* its argv[0], borrowed */
	pid_t pid;	  /* 0: no command */
	int pid_fd;	  /* readable when it has ended */
	int go_fd;
	int status; /* -1 while it runs; then its exit status, or 128 + the signal */
};

/* Forks; the child waits for child_go. Signals blocked here are unblocked in it. to_stderr: its
 * stdout is our stderr, because ours is for data. 0 or -errno, logged. */
int child_start(struct child *c, char *const *argv, bool to_stderr);
/* Lets it exec. 0; or -errno of its exec, logged, and its status is then what a shell would say:
 * 127 for what is not there, 126 for what can't be run. */
int child_go(struct child *c);
/* Takes its status if it has ended (or, with `wait`, when it has; if it still waits for child_go,
 * it ends at that). True if it is over. */
bool child_reap(struct child *c, bool wait);
/* Closes what is open; the command is left alone if it runs, and ended if it was never let go. */
void child_release(struct child *c);

#endif
