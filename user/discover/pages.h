/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bringing back the memory that a tick could not read.
 *
 * A tick can't wait for a page, so what has been paged out, a service's outer frames or the names
 * of its first functions, would be marked for as long as the process itself does not need it. To
 * read it through /proc/PID/mem is to have the kernel get it (mm/gup.c), in every version, and on
 * the reader's time. On a page of a userfaultfd the read fails at once.
 */
#ifndef KRAIT_DISCOVER_PAGES_H
#define KRAIT_DISCOVER_PAGES_H

#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi/control.h"

/* What one call brings back at most. */
#define PAGES_MAX 256
#define PAGES_FRAMES_MAX 1024

/* What a tick lacked (struct krait_absent_rec), and of which interpreter. */
struct pages_source {
	pid_t pid;
	uint64_t frame_addr, code_addr, tstate_addr;
	uint64_t interp_head_addr, code_type_addr;
	const struct krait_layout *walk;
};

/*
 * Reads what a tick reads, as far as it is in memory that needs nobody's answer (struct ranges): of
 * the frame and its callers, of the code objects that they run, and of the thread and its frames;
 * all that a target says of itself may be a lie. The number of pages that were not there and are
 * now, or -errno.
 */
int pages_bring_back(const struct pages_source *source);

#endif
