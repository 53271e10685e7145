/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which scan comes next, and how many there may be.
 *
 * Processes to be classified come first, threads to be named in between, memory to be brought back
 * when nothing else is to be done. A second's scans may take
 * so much CPU time and no more; what that leaves over waits. At the start there is more: many
 * processes are new then.
 */
#ifndef KRAIT_SESSION_SCANS_H
#define KRAIT_SESSION_SCANS_H

#include <stdbool.h>
#include <stdint.h>

#include "user/session/classify.h"
#include "user/session/namer.h"
#include "user/session/pager.h"
#include "user/session/scanner.h"

/* A plain struct for the session. All pointers are borrowed. */
struct scans {
	struct scanner *scanner;
	struct classifier *classifier;
	struct namer *namer; /* NULL: nobody wants names */
	struct pager *pager;
	uint64_t ns_per_s;    /* CPU time that scans may take */
	int64_t credit_ns;    /* what they may take now; what a scan took too much is owed */
	uint64_t refilled_ns; /* when it was last added to */
	enum scan_kind kind;  /* of the scan under way */
	bool is_names_turn;
};

void scans_init(struct scans *s, struct scanner *scanner, struct classifier *classifier,
		struct namer *namer, struct pager *pager, uint64_t ns_per_s, uint64_t now_ns);

/* Takes a result that has come and starts the next scan; is_ready: scanner_fd was readable. 0 or
 * the error of who takes a record. */
int scans_step(struct scans *s, uint64_t now_ns, bool is_ready);
/* When scans_step wants to be called though scanner_fd is not readable (CLOCK_MONOTONIC). */
uint64_t scans_next_ns(const struct scans *s, uint64_t now_ns);

/* The end of a run: names the threads that still wait, but stops at end_ns. 0 or the error of who
 * takes a record. */
int scans_finish(struct scans *s, uint64_t end_ns);

#endif
