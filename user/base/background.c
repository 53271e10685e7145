// SPDX-License-Identifier: BSD-2-Clause
#include "user/base/background.h"

/* What is in a thread of ours, a profile's arrays apart, is little. */
#define STACK_BYTES (1 << 20)

static void *run(void *arg)
{
	struct background *b = arg;

	b->fn(b->arg);
	atomic_store(&b->is_done, true);
	return NULL;
}

bool background_is_busy(const struct background *b)
{
	return b->is_started && !atomic_load(&b->is_done);
}

int background_start(struct background *b, void (*fn)(void *arg), void *arg)
{
	pthread_attr_t attr;
	int err;

	background_wait(b);
	b->fn = fn;
	b->arg = arg;
	atomic_store(&b->is_done, false);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&b->thread, &attr, run, b);
	pthread_attr_destroy(&attr);
	b->is_started = !err;
	return -err;
}

void background_wait(struct background *b)
{
	if (b->is_started)
		pthread_join(b->thread, NULL);
	b->is_started = false;
}
