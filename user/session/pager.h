/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that ticks could not read, to be brought back by a scan (user/session/pages.h).
 *
 * A process waits once, with what it lacked last, and is scanned once a second at most, ever more
 * rarely while that brings nothing back. A scan that hangs (on a FUSE file that the process has put
 * there just before the read) costs a worker of the scanner, which has few: that process is never
 * scanned for this again, and after some such nobody is in this run.
 */
#ifndef KRAIT_SESSION_PAGER_H
#define KRAIT_SESSION_PAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi/control.h"
#include "user/session/processes.h"
#include "user/session/scanner.h"

#define PAGER_PAUSE_NS 1000000000ULL
#define PAGER_PAUSE_MAX_NS (8 * PAGER_PAUSE_NS)
#define PAGER_FAILURES_MAX 4
#define PAGER_PROCESSES_MAX 1024 /* that are remembered; of others nothing is brought back */

struct pager;

/* `processes` is borrowed. NULL if there is no memory. */
struct pager *pager_new(const struct processes *processes);
void pager_free(struct pager *p);

/* What the kernel tells: that a tick lacked memory, that a process has ended or called exec. */
void pager_absent(struct pager *p, const struct krait_absent_rec *rec, uint64_t now_ns);
void pager_ended(struct pager *p, pid_t pid);

/* Fills in the scan that is wanted next, if one is. Its result is what pager_take wants before the
 * next call. */
bool pager_next(struct pager *p, uint64_t now_ns, struct scan_request *out);
/* When pager_next may have one (CLOCK_MONOTONIC), UINT64_MAX: not before it is told of one. */
uint64_t pager_next_ns(const struct pager *p);
void pager_take(struct pager *p, const struct scan_result *r, uint64_t now_ns);

#endif
