/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bringing back the memory that a tick could not read.
 *
 * A tick can't wait for a page, so what has been paged out, a service's outer frames or the names
 * of its first functions, would be marked for as long as the process itself does not need it. To
 * read it through /proc/PID/mem is to have the kernel get it (mm/gup.c), in every version, and on
 * the reader's time. On a page of a userfaultfd the read fails at once.
 */
#ifndef KRAIT_SESSION_PAGES_H
#define KRAIT_SESSION_PAGES_H

#include "user/python/layout.h"

/* What one call brings back at most. */
#define PAGES_MAX 256
#define PAGES_FRAMES_MAX 1024

/*
 * Reads what the tick lacked that says so, and what it would have read then, as far as it is in
 * memory that needs nobody's answer (struct ranges): of the frame and its callers, of the code
 * objects that they run, and of the thread and its frames; all that a target says of itself may be
 * a lie. The number of pages that were not there and are now, or -errno.
 */
int pages_bring_back(const struct cpython *python, const struct krait_absent_rec *absent);

#endif
