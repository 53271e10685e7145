/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The names of threads: when the kernel tells of a thread, this asks the process's own threading
 * module what it is called, and puts a NAME record among the others.
 *
 * Each thread is looked at twice: with the next reading of the ring, and NAMER_AGAIN_NS later,
 * because a thread may get its name, or a new one, when it has begun. After that only when the
 * kernel's name of it changes, as it does with threading's from 3.14 on. The threads of a process
 * that wait are looked at all at once.
 */
#ifndef KRAIT_SESSION_NAMER_H
#define KRAIT_SESSION_NAMER_H

#include "bpf/abi.h"
#include "user/discover/discover.h"
#include "user/session/sampler.h"

#define NAMER_AGAIN_NS 1000000000ULL

struct namer;

/* `sampler` is borrowed. `emit` takes the NAME records. NULL if there is no memory. */
struct namer *namer_new(struct sampler *sampler,
			int (*emit)(const struct krait_hdr *rec, void *arg), void *arg);
void namer_free(struct namer *n);

/* What targets of this layout are, from the first of them. */
void namer_layout(struct namer *n, uint32_t layout_idx, const struct target *t);
/* A THREAD record has come. Without memory, or among too many, it keeps the kernel's name. */
void namer_thread(struct namer *n, const struct krait_process_rec *rec);
/* Looks at the threads whose time has come, or at all that wait. 0 or emit's error. */
int namer_due(struct namer *n, bool all);

/* Whether some that were due had to wait for the next call, which had better be soon. */
bool namer_is_behind(const struct namer *n);

#endif
