/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a process is: when the kernel meets one that it knows nothing of, it asks, and this has it
 * scanned and answers.
 *
 * A process waits once, however often the kernel asks meanwhile. The one last asked about comes
 * first: it is the newest, or so busy that the kernel asks again, and either would be gone, or
 * would have lost the most ticks, if it had to wait for the others. An interpreter that is still
 * starting is scanned again and again, with a doubling pause.
 *
 * After a scan the process is left alone for many times as long as the scan took, so that one that
 * is dear to scan is scanned seldom.
 */
#ifndef KRAIT_SESSION_CLASSIFY_H
#define KRAIT_SESSION_CLASSIFY_H

#include "user/session/processes.h"
#include "user/session/sampler.h"
#include "user/session/scanner.h"
#include "user/session/session.h"

struct classifier;

/* `sampler`, `processes` (which is told of targets), `who` and `result` (for what was refused and
 * the count of Pythons) are borrowed. `emit` takes the INFO record of each target, before the first
 * sample of it can come. NULL if there is no memory. */
struct classifier *classifier_new(struct sampler *sampler, struct processes *processes,
				  const struct selection *who, struct session_result *result,
				  int (*emit)(const struct krait_hdr *rec, void *arg), void *arg);
void classifier_free(struct classifier *c);

/* The kernel asks about the process. */
void classifier_ask(struct classifier *c, pid_t pid, uint64_t now_ns);
/* A child of a Python was forked: it is what its parent is, but that of a starting interpreter has
 * to be classified as well. */
void classifier_forked(struct classifier *c, pid_t parent, pid_t pid, uint64_t now_ns);

/* Fills in the scan that is wanted next, if one is; its result is what classifier_take wants before
 * the next call. */
bool classifier_next(struct classifier *c, uint64_t now_ns, struct scan_request *out);
/* When classifier_next may have one (CLOCK_MONOTONIC), UINT64_MAX: not before it is asked. */
uint64_t classifier_next_ns(const struct classifier *c);
/* Answers the kernel. 0 or emit's error. */
int classifier_take(struct classifier *c, const struct scan_result *r, uint64_t now_ns);

/*
 * Whether a process that was asked for by pid can be a target, by a scan of it. 0; or -ESRCH,
 * logged: no such process, a kernel thread, no Python (and no child that is), not to be profiled;
 * or -EPERM, logged.
 */
int classifier_check(const struct scan_result *r, bool has_children);

#endif
