/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The names of threads: when the kernel tells of a thread, this asks the process's own threading
 * module what it is called, and puts a NAME record among the others.
 *
 * Each thread is scanned twice: as soon as it is known, and NAMER_AGAIN_NS later, because a thread
 * may get its name, or a new one, when it has begun. After that only when the kernel's name of it
 * changes, as it does with threading's from 3.14 on. The threads of a process that wait are scanned
 * together, SCAN_THREADS at most.
 */
#ifndef KRAIT_SESSION_NAMER_H
#define KRAIT_SESSION_NAMER_H

#include "bpf/abi/record.h"
#include "user/session/processes.h"
#include "user/session/scanner.h"

#define NAMER_AGAIN_NS 1000000000ULL

struct namer;

/* `processes` is borrowed. `emit` takes the NAME records. NULL if there is no memory. */
struct namer *namer_new(const struct processes *processes,
			int (*emit)(const struct krait_hdr *rec, void *arg), void *arg);
void namer_free(struct namer *n);

/* A THREAD record has come. Without memory, or among too many, it keeps the kernel's name. */
void namer_thread(struct namer *n, const struct krait_process_rec *rec);

/* Fills in the scan that is wanted next, if one is: threads of one process, whose time has come,
 * or, with `all`, any that wait. Its result is what namer_take wants before the next call. */
bool namer_next(struct namer *n, uint64_t now_ns, bool all, struct scan_request *out);
/* When namer_next may have one (CLOCK_MONOTONIC), UINT64_MAX: not before a thread comes. */
uint64_t namer_next_ns(const struct namer *n);
/* 0 or emit's error. */
int namer_take(struct namer *n, const struct scan_result *r, uint64_t now_ns);

#endif
