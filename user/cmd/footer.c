// SPDX-License-Identifier: BSD-2-Clause
/*
 * The footer. The sentences come from the X-macros of ledger.h, so a new reason can't be forgotten
 * here.
 */
#include "user/cmd/footer.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "user/base/log.h"
#include "user/session/priority.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* As the footer names them, in its order. */
static const struct {
	int number;
	bool is_lost; /* a sample that was lost, not a tick that had none to give */
	const char *sentence;
} losses[] = {
#define X(name, number, lost, sentence) {number, lost, sentence},
	KRAIT_LOSSES(X)
#undef X
};

static const struct {
	int number;
	const char *sentence;
} faults[] = {
#define X(name, number, sentence) {number, sentence},
	KRAIT_FRAME_FAULTS(X)
#undef X
};

static uint64_t sum_losses(const uint64_t *counters)
{
	uint64_t sum = counters[KRAIT_LOSS_NONE]; /* a newer krait's: recording.h */

	for (size_t i = 0; i < COUNT(losses); i++)
		sum += counters[losses[i].number];
	return sum;
}

bool ledger_balances(const uint64_t *counters, uint64_t samples_received)
{
	/* KRAIT_CNT_UNKNOWN_TICKS is on both sides. */
	return counters[KRAIT_CNT_TARGET_TICKS] ==
		       counters[KRAIT_CNT_SAMPLES] + sum_losses(counters) &&
	       counters[KRAIT_CNT_SAMPLES] == samples_received;
}

static void ledger_line(const struct profile_event *e)
{
	const uint64_t *c = e->counters;
	uint64_t received = e->total_cnt + e->unnamed_cnt, unknown = c[KRAIT_CNT_UNKNOWN_TICKS];

	if (ledger_balances(c, received))
		log_info("ledger: %" PRIu64 " ticks on targets = %" PRIu64 " samples + %" PRIu64
			 " accounted for",
			 c[KRAIT_CNT_TARGET_TICKS] + unknown, c[KRAIT_CNT_SAMPLES],
			 sum_losses(c) + unknown);
	else
		log_error("ledger DOES NOT BALANCE: %" PRIu64 " ticks on targets, %" PRIu64
			  " samples sent, %" PRIu64 " received, %" PRIu64
			  " accounted for; please report this as a bug of krait",
			  c[KRAIT_CNT_TARGET_TICKS], c[KRAIT_CNT_SAMPLES], received, sum_losses(c));
}

/* What is known without the kernel's counters. */
static void received_lines(const struct profile_event *e)
{
	if (e->unnamed_cnt)
		log_info("  lost %" PRIu64 " whose stack did not arrive", e->unnamed_cnt);
	if (e->outside_cnt)
		log_info("outside of Python: %" PRIu64
			 " samples of threads that were running no Python frame",
			 e->outside_cnt);
}

static void event_no_ledger(const struct profile_event *e)
{
	log_info("ledger: none: the counters come last in a recording; %" PRIu64
		 " samples were read",
		 e->total_cnt + e->unnamed_cnt);
	received_lines(e);
}

void footer_no_ledger(const struct profile *p)
{
	event_no_ledger(&p->events[0]);
}

static void event_ledger(const struct profile_event *e)
{
	const uint64_t *c = e->counters;

	ledger_line(e);
	for (size_t i = 0; i < COUNT(losses); i++)
		if (c[losses[i].number])
			log_info("  %s %" PRIu64 " %s", losses[i].is_lost ? "lost" : "outside",
				 c[losses[i].number], losses[i].sentence);
	if (c[KRAIT_LOSS_NONE])
		log_info("  lost %" PRIu64 " for reasons that this krait does not know",
			 c[KRAIT_LOSS_NONE]);
	if (c[KRAIT_CNT_UNKNOWN_TICKS])
		log_info("  lost %" PRIu64
			 " on processes that ended before krait knew what they were",
			 c[KRAIT_CNT_UNKNOWN_TICKS]);
	received_lines(e);
}

void footer_ledger(const struct profile *p)
{
	const uint64_t *c = p->events[0].counters;

	for (uint32_t i = 0; i < p->event_cnt; i++) {
		if (i)
			log_info("of the event %s:", p->events[i].name);
		if (p->events[i].has_ledger)
			event_ledger(&p->events[i]);
		else
			event_no_ledger(&p->events[i]);
	}
	if (c[KRAIT_CNT_TRUNCATED])
		log_info("stacks truncated: %" PRIu64 " samples deeper than --max-depth",
			 c[KRAIT_CNT_TRUNCATED]);
	for (size_t i = 0; i < COUNT(faults); i++)
		if (c[faults[i].number])
			log_info("frames unreadable: %" PRIu64 " (%s)", c[faults[i].number],
				 faults[i].sentence);
}

static double seconds(struct timeval tv)
{
	return tv.tv_sec + tv.tv_usec / 1e6;
}

/* The most memory it had, from /proc/self/status: ru_maxrss is at least what the program before
 * exec had. */
static double peak_mb(void)
{
	FILE *in = fopen("/proc/self/status", "re");
	char line[128];
	long kb = 0;

	while (in && fgets(line, sizeof(line), in))
		if (sscanf(line, "VmHWM: %ld kB", &kb) == 1)
			break;
	if (in)
		fclose(in);
	return kb / 1024.0;
}

static void cost_line(const struct session_result *r)
{
	double bpf = r->bpf_ns / 1e9;
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	log_info("krait itself: %.3f s of CPU in %.1f s, %.3f s of it in the kernel at the ticks; "
		 "%.1f MB of memory at most",
		 seconds(use.ru_utime) + seconds(use.ru_stime) + r->scan_cpu_ns / 1e9 + bpf,
		 r->duration_ns / 1e9, bpf, peak_mb() + r->scan_peak_kb / 1024.0);
}

/* What the ceiling has taken. */
static void ceiling_line(const struct session_result *r)
{
	if (r->slow_s && r->max_weight > 1)
		log_warn("over its --max-cpu krait sampled down to 1/%u as often for %u s; each "
			 "sample counts for the ticks it stands for, so the totals are right",
			 r->max_weight, r->slow_s);
	else if (r->slow_s)
		log_warn("over its --max-cpu krait scanned new processes less often for %u s",
			 r->slow_s);
	if (r->lost_realtime)
		log_warn("--realtime ended early: krait was on a CPU for %d ms in one go",
			 REALTIME_MAX_MS);
}

/* All that crossed from the kernel. */
static uint64_t sent_bytes(const uint64_t *counters)
{
	return counters[KRAIT_CNT_RING_BYTES] +
	       counters[KRAIT_CNT_SAMPLES] * sizeof(struct krait_sample_rec);
}

void footer_refusals(const struct session_result *r)
{
	for (uint32_t i = 0; i < r->refusal_cnt; i++)
		log_info("not profiled: %u process%s (pid %u): %s", r->refusals[i].process_cnt,
			 r->refusals[i].process_cnt == 1 ? "" : "es", r->refusals[i].an_example_pid,
			 r->refusals[i].why);
	if (r->others_refused)
		log_info("not profiled: %u more process%s, for other reasons (--verbose says each)",
			 r->others_refused, r->others_refused == 1 ? "" : "es");
}

void footer_run(const struct session_result *r)
{
	const uint64_t *c = r->counters;

	footer_refusals(r);
	if (c[KRAIT_CNT_PROCS_FULL])
		log_warn("%" PRIu64 " times the process map was full: some processes were not seen",
			 c[KRAIT_CNT_PROCS_FULL]);
	if (c[KRAIT_CNT_EVENTS_LOST])
		log_warn("%" PRIu64 " process events lost: the ring buffer was full",
			 c[KRAIT_CNT_EVENTS_LOST]);
	if (r->records_malformed)
		log_error(
			"%" PRIu64
			" malformed records from the kernel; please report this as a bug of krait",
			r->records_malformed);
	if (r->first_sample_ns)
		log_verbose("first sample after %.1f ms", r->first_sample_ns / 1e6);
	log_verbose("sent: %" PRIu64 " stacks, %" PRIu64 " code objects, %" PRIu64 " bytes in all",
		    c[KRAIT_CNT_STACKS], c[KRAIT_CNT_CODES], sent_bytes(c));
	ceiling_line(r);
	cost_line(r);
}

static void usage_lines(const struct usage *u)
{
	log_info("stats: maps of %.1f MB: %" PRIu64 " of %" PRIu64 " processes, %" PRIu64
		 " of %" PRIu64 " stacks, %" PRIu64 " of %" PRIu64 " code objects",
		 u->maps_bytes / 1048576.0, u->procs.used, u->procs.room, u->stacks.used,
		 u->stacks.room, u->codes.used, u->codes.room);
	log_info("stats: waiting to be read at most %" PRIu64 " of %" PRIu64
		 " bytes of records, and %" PRIu64 " of %" PRIu64 " samples of a CPU",
		 u->ring_bytes.used, u->ring_bytes.room, u->samples.used, u->samples.room);
}

void footer_stats(const struct session_result *r)
{
	uint64_t samples = r->counters[KRAIT_CNT_SAMPLES];

	if (r->tick_cnt)
		log_info("stats: %.0f ns per tick in BPF, %" PRIu64 " ticks, %" PRIu64
			 " of them on other processes",
			 (double)r->tick_total_ns / r->tick_cnt, r->tick_cnt,
			 r->counters[KRAIT_CNT_OTHER_TICKS]);
	if (samples)
		log_info("stats: %.2f us of krait's CPU per sample after the start, which took "
			 "%.0f ms; %.1f bytes per sample",
			 (r->end_cpu_ns - r->start_cpu_ns) / 1e3 / samples, r->start_cpu_ns / 1e6,
			 (double)sent_bytes(r->counters) / samples);
	log_info("stats: %" PRIu64 " stacks and %" PRIu64 " code objects sent",
		 r->counters[KRAIT_CNT_STACKS], r->counters[KRAIT_CNT_CODES]);
	usage_lines(&r->usage);
}
