/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A session run for somebody at a terminal or in a pipe: until it is over, a signal asks for its
 * end, or who reads stdout has left. SIGINT, SIGTERM, SIGQUIT and SIGHUP end it, and are passed on
 * to the command; SIGUSR1 asks for a snapshot, and is krait's alone.
 */
#ifndef KRAIT_CMD_LIVE_H
#define KRAIT_CMD_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "user/session/session.h"

struct live_opts {
	bool show_progress;
	uint64_t duration_ns; /* for the progress line; 0: open */
	int reader_fd; /* a pipe or socket without whose reader there is nothing to run for; -1 */
	/* A signal has asked for the end: what is written from now on should not wait for long. */
	void (*on_stop)(void *arg);
	/* Once a second. A negative return ends the run with that error. */
	int (*on_second)(uint64_t now_ns, void *arg);
	/* SIGUSR1: write what there is; the sink has had all until now. Nothing is drained until it
	 * returns. */
	void (*on_snapshot)(void *arg);
	void *arg;
};

/* From session_start to session_finish. 0 or -errno, logged. When it returns another signal has its
 * default effect: it abandons what is being written. */
int live_run(struct session *s, const struct live_opts *opts);

#endif
