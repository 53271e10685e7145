/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a frame, a process and a thread are worded, for every format that shows them as one string.
 *
 * Nothing here escapes for a format: what a format's syntax can't hold is that format's business.
 * Each function appends to `out` and borrows the rest.
 */
#ifndef KRAIT_EXPORT_FRAME_H
#define KRAIT_EXPORT_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "user/aggregate/profile.h"
#include "user/base/strbuf.h"
#include "user/export/export.h"

/*
 * The part of a file name that tells a reader which file it is, a tail of `file` (borrowed): what
 * follows the installation's library folder ("json/decoder.py"), else the last two components
 * ("app/main.py"); "<string>" and "<frozen importlib._bootstrap>" whole.
 */
const char *frame_short_path(const char *file);

/*
 * "qualname (path.py:LINE)", or "qualname (path.py)" with EXPORT_LINES_NONE; a marker is its bare
 * name. LINE is "[line unknown]" where there is none. So it always ends in ')' or ']', whatever
 * name a target makes up: a folded leaf that ended in a space and digits would switch flamegraph.pl
 * to its differential mode.
 */
void frame_add(struct strbuf *out, const struct profile *profile, uint32_t frame_idx,
	       const struct export_opts *opts);

/* The same for a function as a whole: with its first line, whatever opts->lines says. */
void frame_add_function(struct strbuf *out, const struct profile_function *function,
			const struct export_opts *opts);

/* `process PID:"command line"`; a double quote within becomes a single one. */
void frame_add_process(struct strbuf *out, const struct profile_process *process);

/* "thread (TID): name", or "thread (TID)" where the name is not known; and " [interpreter ID]" in
 * one that is not the main one. */
void frame_add_thread(struct strbuf *out, const struct profile_thread *thread);

#endif
