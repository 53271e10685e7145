/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which processes are Pythons, and what the walker needs to know of them.
 *
 * discover_process classifies one process at a time from /proc and its ELF files, reading the
 * process's own files through /proc/PID/map_files (so a deleted, replaced or containerised binary
 * is the one that runs) and its memory through /proc/PID/mem (never process_vm_readv, which can
 * block on a page nobody serves). All of it is hostile input. What was learned of an ELF file is
 * cached by (device, inode, change time, size). Knows nothing of BPF or samples. Not thread-safe.
 */
#ifndef KRAIT_TARGET_DISCOVER_H
#define KRAIT_TARGET_DISCOVER_H

#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi/record.h"
#include "user/python/layout.h"

enum target_state {
	TARGET_NOT_PYTHON,  /* no CPython runtime is mapped */
	TARGET_STARTING,    /* a Python whose runtime can't be proven yet: scan again soon */
	TARGET_UNSUPPORTED, /* a Python that can't be profiled; why says so */
	TARGET_READY,	    /* proven: `python` is good */
	TARGET_GONE,	    /* no such process (any more) */
	TARGET_KERNEL,	    /* a kernel thread */
	TARGET_FORBIDDEN,   /* its memory or files may not be read; why says so */
};

struct target {
	pid_t pid;
	enum target_state state;
	struct cpython python; /* READY; its version also else, 0 where it is not known */
	uint32_t thread_cnt;   /* OS threads */
	char how[64];	       /* how the runtime was found: ".PyRuntime in libpython3.12.so.1.0" */
	char why[160]; /* UNSUPPORTED, STARTING, FORBIDDEN: one sentence for a person, with the fix
			  if there is one */
	char comm[KRAIT_COMM_BYTES]; /* raw */
};

struct discover;

/* NULL with errno set if there is no memory. */
struct discover *discover_new(void);
void discover_free(struct discover *d);

/*
 * Classifies process `pid` into *out (wholly overwritten). Returns 0 when it could be classified,
 * whatever the result (that a process is gone is one), -errno only for trouble of our own (memory,
 * file descriptors). Cheap to repeat: one read of maps and, per new ELF file, one parse.
 */
int discover_process(struct discover *d, pid_t pid, struct target *out);

#endif
