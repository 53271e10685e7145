/* SPDX-License-Identifier: BSD-2-Clause */
/* The facts at the end of a run, one line each on stderr: what was taken, what was lost and why,
 * what krait cost. */
#ifndef KRAIT_CMD_FOOTER_H
#define KRAIT_CMD_FOOTER_H

#include "user/aggregate/profile.h"
#include "user/session/session.h"

/* Whether every tick on a target became a sample or a counted loss, and every sample arrived. */
bool ledger_balances(const uint64_t *counters, uint64_t samples_received);

/* The ledger of a profile, live or recorded. Says so loudly if it doesn't balance. */
void footer_ledger(const struct profile *profile);
/* The same of a recording that ends before its counters: what was read of it, and that no ledger is
 * there to hold it against. */
void footer_no_ledger(const struct profile *profile);
/* The processes left out, a line per reason. */
void footer_refusals(const struct session_result *result);
/* What only a live run knows: processes left out, records lost, krait's own CPU and memory. */
void footer_run(const struct session_result *result);
/* --stats: what the run cost, per tick and per sample. */
void footer_stats(const struct session_result *result);

#endif
