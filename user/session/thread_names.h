/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What Python's threading module calls the threads of a process.
 *
 * A scan reads them from the live process (scanner.c), and they go on as NAME records: what is
 * behind the recording, so symbolize, never meets the process.
 *
 * A thread has no such name if threading is not imported, does not know the thread (C code's), or
 * has not come to know it yet. A name in doubt is none.
 */
#ifndef KRAIT_SESSION_THREAD_NAMES_H
#define KRAIT_SESSION_THREAD_NAMES_H

#include <stdint.h>
#include <sys/types.h>

#include "user/python/layout.h"

/* Of a name, at most: longer ones are cut and say so. */
#define THREAD_NAME_CHARS 160
/* The most that they can be as safe text: "\uNNNN" each, an ellipsis and a NUL. */
#define THREAD_NAME_BYTES (6 * THREAD_NAME_CHARS + 4)

struct named_thread {
	uint32_t tid;
	uint32_t num;	/* the caller's own: their order changes */
	uint64_t ident; /* PyThreadState.thread_id */
	/* Safe text. Found: the caller frees; NULL: it has none that could be read. */
	char *name;
};

/*
 * Looks for the names of these threads of the process, all at once: what it costs is one scan
 * through the modules and through the process's threads, and a few reads of each thread that is
 * wanted. Sorts them by ident. 0, or -errno and no names: the process is gone, or may not be read,
 * or there is no memory.
 */
int thread_names_read(pid_t pid, const struct cpython *python, struct named_thread *threads,
		      uint32_t cnt);

#endif
