/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The BPF side as user space sees it: loaded, sized for this host, attached to a timer per CPU, and
 * read.
 *
 * Programs, maps and rings are here, and libbpf with them. Failures are logged in one line with the
 * fix; libbpf's own words show with --verbose.
 */
#ifndef KRAIT_SESSION_SAMPLER_H
#define KRAIT_SESSION_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi/control.h"
#include "user/drain/records.h"
#include "user/session/usage.h"

struct sampler;

struct sampler_opts {
	uint32_t freq_hz;
	uint32_t max_depth;
	struct krait_selection selection;
	bool measure; /* have the kernel time its programs: some 30 ns more a tick */
};

/*
 * Loads the programs and attaches those that follow processes. No tick comes before sampler_start.
 * NULL with errno: EPERM (no permission), EOPNOTSUPP (the kernel lacks something), else; logged.
 */
struct sampler *sampler_new(const struct sampler_opts *opts);
void sampler_free(struct sampler *s);

/* Starts the timers: one per online CPU. 0 or -errno, logged. */
int sampler_start(struct sampler *s);
/* Stops them: when this returns no further tick will run. Records may still wait to be drained. */
void sampler_stop(struct sampler *s);

/* A timer stops for good when its CPU goes offline, also while the host sleeps. Starts those again
 * whose CPU is back; to be called about once a second. */
void sampler_revive(struct sampler *s);

/* Readable when the kernel wants to be drained at once; it must be every now and then anyway. */
int sampler_fd(const struct sampler *s);
/*
 * A step of a drain: calls fn for at most `max` records and samples each that wait, not yet
 * checked; `avail` bytes are its. A drain ends with what had been written when it began. The
 * samples of a CPU come in order of time, after the records that they build on. 0: the drain has
 * ended; 1: it goes on with the next call; or fn's first negative value.
 */
int sampler_drain(struct sampler *s, uint32_t max, raw_record_fn fn, void *arg);

/* From now on one tick of `weight` ticks of opts.freq_hz is taken, and stands for them. */
void sampler_set_weight(struct sampler *s, uint32_t weight);
/* The CPU time that the ticks have taken in the BPF program so far, in ns: one in KRAIT_TIMED_EVERY
 * is timed. The interrupt around it is not in it, nor are the programs that follow processes. */
uint64_t sampler_bpf_ns(const struct sampler *s);

/* Lets ticks on `pid` ask what it is, for runs in which not every process may do so. 0 or
 * -errno. */
int sampler_watch(struct sampler *s, pid_t pid);
/* Whether any process is in the map still. Unless the selection is open: whether any of those
 * wanted lives. */
bool sampler_has_processes(const struct sampler *s);

/*
 * What the kernel holds of the process, to be handed to sampler_classify with the result filled in;
 * the address space in it is the one that the result will be about. 0 or -ENOENT.
 */
int sampler_entry(const struct sampler *s, pid_t pid, struct krait_proc *out);
int sampler_classify(struct sampler *s, pid_t pid, const struct krait_proc *entry);
/* The number of this layout for krait_proc.layout_idx, or -ENOSPC. */
int sampler_layout(struct sampler *s, const struct krait_layout *layout);

/* From now on stacks are verified once again. */
void sampler_next_epoch(struct sampler *s);
/* Time spent in the program of the tick so far, and its runs, idle CPUs' excluded; 0 unless
 * opts.measure. */
void sampler_tick_cost(const struct sampler *s, uint64_t *total_ns, uint64_t *cnt);

/* How full the maps are now, and the rings have been; it takes some milliseconds. */
void sampler_usage(const struct sampler *s, struct usage *out);

/* The kernel's counters, KRAIT_CNT_CNT of them, summed over the CPUs, of the moment that the last
 * drain began: when it has ended they balance with what it handed on. */
void sampler_counters(const struct sampler *s, uint64_t *counters);

#endif
