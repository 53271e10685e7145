/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The targets: pid → the CPython that runs there in the present lifetime of the pid.
 *
 * The classifier says what a scan has found, and the kernel's records what became of it: a child
 * has what its parent had, a process that ends or calls exec has nothing any more. So who wants to
 * read a target's memory need not ask the kernel's map, which has less.
 *
 * A lost record makes this incomplete, or leaves something of a process that has ended: a reader of
 * memory has to bear that anyway, as the process may end while it reads.
 */
#ifndef KRAIT_SESSION_PROCESSES_H
#define KRAIT_SESSION_PROCESSES_H

#include <sys/types.h>

#include "user/python/layout.h"
#include "user/session/sampler.h"

struct processes;

/* `sampler` is borrowed. NULL if there is no memory. */
struct processes *processes_new(const struct sampler *sampler);
void processes_free(struct processes *p);

/* The process is a target, and this its interpreter (copied). Without memory it is not known. */
void processes_ready(struct processes *p, pid_t pid, const struct cpython *python);
/* A FORK record has come: the child is what its parent is. */
void processes_forked(struct processes *p, pid_t parent, pid_t child);
/* An EXIT or EXEC record has come, or the kernel asks what the process is: what it was is over. */
void processes_ended(struct processes *p, pid_t pid);

/* NULL: it is no target. Borrowed until the next change. */
const struct cpython *processes_find(const struct processes *p, pid_t pid);

#endif
