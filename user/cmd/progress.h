/* SPDX-License-Identifier: BSD-2-Clause */
/* The one line on a terminal that shows a run is alive; nothing in a pipe. */
#ifndef KRAIT_CMD_PROGRESS_H
#define KRAIT_CMD_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool is_on, is_shown;
	uint64_t duration_ns; /* 0: open */
};

/* On if `wanted` and stderr is a terminal. */
void progress_init(struct progress *p, bool wanted, uint64_t duration_ns);
void progress_show(struct progress *p, uint64_t elapsed_ns, uint64_t sample_cnt,
		   uint32_t process_cnt);
/* Wipes the line, so that what follows starts on a clean one. */
void progress_clear(struct progress *p);

#endif
