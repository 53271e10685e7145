/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Something that may take long, done in a second thread while samples are drained: one at a time.
 * It is an ordinary task whatever the caller is, and blocks the signals that the caller blocks.
 */
#ifndef KRAIT_BASE_BACKGROUND_H
#define KRAIT_BASE_BACKGROUND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* All zero is an idle one. */
struct background {
	pthread_t thread;
	bool is_started; /* and not joined yet */
	atomic_bool is_done;
	void (*fn)(void *arg);
	void *arg;
};

/* Whether the last one still goes on. */
bool background_is_busy(const struct background *b);
/* Calls fn(arg) in a thread; the last one must have ended. 0 or -errno: then fn was not called. */
int background_start(struct background *b, void (*fn)(void *arg), void *arg);
/* Waits for it, if there is one. */
void background_wait(struct background *b);

#endif
