/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Verdicts: when the kernel meets a process that it knows nothing of, this looks at it and answers.
 *
 * An interpreter that is still starting is looked at again and again, with a doubling pause.
 */
#ifndef KRAIT_SESSION_JUDGE_H
#define KRAIT_SESSION_JUDGE_H

#include "user/session/namer.h"
#include "user/session/session.h"
#include "user/session/sampler.h"

struct judge;

/* `sampler`, `namer` (NULL: nobody asks), `opts` and `result` (for the refusals and the count of
 * Pythons) are borrowed. `emit` takes the INFO record of each target, before the first sample of it
 * can come. NULL with errno set if there is no memory. */
struct judge *judge_new(struct sampler *sampler, struct namer *namer,
			const struct session_opts *opts, struct session_result *result,
			int (*emit)(const struct krait_hdr *rec, void *arg), void *arg);
void judge_free(struct judge *j);

/* Looks at the process that the kernel asks about. 0 or emit's error. */
int judge_process(struct judge *j, pid_t pid);
/* A child of a starting interpreter was forked: it has to be looked at as well. */
void judge_forked(struct judge *j, pid_t pid);
/* Looks again at those whose time has come. 0 or emit's error. */
int judge_due(struct judge *j, uint64_t now_ns);
/* When judge_due wants to be called (CLOCK_MONOTONIC), UINT64_MAX: not at all. */
uint64_t judge_next_ns(const struct judge *j);

/*
 * Whether `pid`, which was asked for by name, can be a target. 0; or -ESRCH, logged: no such
 * process, a kernel thread, no Python (and no child that is), not to be profiled; or -EPERM,
 * logged.
 */
int judge_wanted(struct judge *j, pid_t pid, bool has_children);

#endif
