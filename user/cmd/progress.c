// SPDX-License-Identifier: BSD-2-Clause
/* The progress line: rewritten in place with a carriage return, which every terminal knows. */
#include "user/cmd/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

void progress_init(struct progress *p, bool wanted, uint64_t duration_ns)
{
	*p = (struct progress){.is_on = wanted && isatty(STDERR_FILENO),
			       .duration_ns = duration_ns};
}

void progress_show(struct progress *p, uint64_t elapsed_ns, uint64_t sample_cnt,
		   uint32_t process_cnt)
{
	char of[32] = "";

	if (!p->is_on)
		return;
	if (p->duration_ns)
		snprintf(of, sizeof(of), " of %.0f", p->duration_ns / 1e9);
	fprintf(stderr,
		"\rkrait: %.0f%s s, %" PRIu64 " samples of %u Python processes (Ctrl-C ends) ",
		elapsed_ns / 1e9, of, sample_cnt, process_cnt);
	p->is_shown = true;
}

void progress_clear(struct progress *p)
{
	if (p->is_shown)
		fprintf(stderr, "\r%78s\r", "");
	p->is_shown = false;
}
