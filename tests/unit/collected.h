/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records that code under test hands on, checked and kept: a copy of each in memory of just its
 * size, so that a sanitizer sees what reads beyond it. Include after cmocka.h.
 */
#ifndef KRAIT_TESTS_UNIT_COLLECTED_H
#define KRAIT_TESTS_UNIT_COLLECTED_H

#include <stdlib.h>
#include <string.h>

#include "user/drain/records.h"

#define COLLECTED_MAX 1024

struct collected {
	struct krait_hdr *recs[COLLECTED_MAX];
	uint32_t cnt;
	int err; /* what to return of the record that is number err_at and of those after it */
	uint32_t err_at;
};

/* For the `emit` and `on_record` of others; `arg` is a struct collected. */
static inline int collect(const struct krait_hdr *rec, void *arg)
{
	struct collected *to = arg;
	struct krait_hdr *copy = malloc(rec->bytes);

	assert_int_equal(record_check(rec, rec->bytes), rec->bytes);
	assert_true(to->cnt < COLLECTED_MAX);
	assert_non_null(copy);
	memcpy(copy, rec, rec->bytes);
	to->recs[to->cnt++] = copy;
	return to->err && to->cnt >= to->err_at ? to->err : 0;
}

/* Record i, which is a PROCESS record of the kind `what`. */
static inline const struct krait_process_rec *collected_process(const struct collected *c,
								uint32_t i, uint16_t what)
{
	const struct krait_process_rec *rec;

	assert_true(i < c->cnt);
	rec = (const void *)c->recs[i];
	assert_int_equal(rec->h.kind, KRAIT_PROCESS);
	assert_int_equal(rec->what, what);
	return rec;
}

static inline void collected_release(struct collected *c)
{
	for (uint32_t i = 0; i < c->cnt; i++)
		free(c->recs[i]);
	*c = (struct collected){0};
}

#endif
