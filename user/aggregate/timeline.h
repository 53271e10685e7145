/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When samples came: how many of each thread, stack and event there were in each slice of time.
 *
 * Coded in bytes, of which a sample takes one to three, and less where it repeats. Slices are short
 * at first, and from then on four times as long each time that the run is TIMELINE_SLICES of them
 * old, or has filled TIMELINE_BYTES with them. So a month takes not much more than an hour, and
 * what was coded is never gone over again.
 */
#ifndef KRAIT_AGGREGATE_TIMELINE_H
#define KRAIT_AGGREGATE_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

#define TIMELINE_SLICE_NS 10000000ULL /* the first ones */
#define TIMELINE_SLICES 8192	      /* 82 s of these */
#define TIMELINE_BYTES (1U << 20)
#define TIMELINE_LONGER 4

/* How much an event had of a thread on a stack. */
struct timeline_count {
	uint64_t cnt; /* not 0 */
	uint32_t thread_idx, stack_idx;
	uint8_t event_idx;
};

/* All of it, coded. */
struct timeline {
	uint8_t *bytes;
	uint32_t len;
};

/* ---- Reading ---- */

struct timeline_iter {
	const uint8_t *at, *end;
	/* Of the last one. The slice began at slice * slice_ns of CLOCK_MONOTONIC. */
	uint64_t slice, slice_ns;
	struct timeline_count count;
};

/* Ready for the first timeline_next; the timeline must outlive it and not change. */
struct timeline_iter timeline_begin(const struct timeline *timeline);
/*
 * Goes on to the next one. False: there is none. They are about in the order of time, as samples
 * are read: a quarter of a second of each CPU after the other. A slice may have several of the same
 * thread, stack and event, which add up.
 */
bool timeline_next(struct timeline_iter *it);

/* ---- Writing ---- */

struct timeline_open;

/* All 0 is a writer that has nothing yet. Not thread-safe. */
struct timeline_writer {
	struct timeline timeline;   /* whole after timeline_flush */
	uint32_t cap;		    /* of its bytes */
	struct timeline_open *open; /* what is not in the bytes yet, of the slice */
	uint64_t slice, slice_ns;   /* that begins at */
	uint64_t from_ns, end_ns;   /* and ends before; 0: none has begun */
	uint64_t first;		    /* slice of this length, and where the bytes were then */
	uint32_t first_len;
	struct timeline_iter coded; /* what a reader of the bytes would have seen last */
};

/* Adds what came at time_ns. 0 or -ENOMEM. */
int timeline_add(struct timeline_writer *w, uint64_t time_ns, const struct timeline_count *count);
/* Puts what is open into the bytes, for a reader; more may be added. 0 or -ENOMEM. */
int timeline_flush(struct timeline_writer *w);
/* Forgets all that was added, and keeps the memory. */
void timeline_restart(struct timeline_writer *w);
void timeline_release(struct timeline_writer *w);

/* The same with other numbers: those of thread i and of stack i are threads[i] - 1 and
 * stacks[i] - 1. The caller frees to->bytes, whatever comes back. 0 or -ENOMEM. */
int timeline_renumber(struct timeline *to, const struct timeline *from, const uint32_t *threads,
		      const uint32_t *stacks);

#endif
