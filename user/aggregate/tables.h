/* SPDX-License-Identifier: BSD-2-Clause */
/* What an aggregate holds, for its own files alone. */
#ifndef KRAIT_AGGREGATE_TABLES_H
#define KRAIT_AGGREGATE_TABLES_H

#include "user/aggregate/aggregate.h"
#include "user/aggregate/owners.h"
#include "user/aggregate/timeline.h"
#include "user/base/packed.h"
#include "user/base/strbuf.h"
#include "user/base/table.h"
#include "user/symbolize/frames.h"

struct binding {
	uint64_t stack_id;
	uint64_t interp_id;
	uint32_t owner;
	uint32_t stack_idx;
	uint32_t tid;	     /* the thread that the binding's last sample was of, */
	uint32_t lifetime;   /* and agg->lifetime then */
	uint32_t sample_idx; /* where it was counted; INDEX_NONE: nowhere yet */
	uint8_t event_idx;   /* and as what */
	bool is_outside;     /* of Python: KRAIT_MARK_OUTSIDE */
};

struct aggregate {
	struct intern *in;
	struct frames *frames;
	TABLE(struct profile_stack) stacks;
	TABLE(struct profile_process) processes; /* index: of those alive, by pid */
	TABLE(struct profile_thread) threads;
	TABLE(struct profile_sample) samples;
	struct timeline_writer when; /* of the samples */
	TABLE(struct binding) bindings;
	struct owners owners;
	struct packed frame_idx;
	uint32_t *fresh; /* the numbers of the stack that is looked at */
	uint32_t fresh_cnt, fresh_cap;
	struct profile_event *events; /* the first is the CPU's clock */
	uint32_t event_cnt, event_cap;
	uint8_t event_idx[KRAIT_EVENTS_MAX]; /* by the number in records; 0: not there yet */
	uint32_t lifetime; /* how often a lifetime began or ended: what is known of threads is old
			      then */
	struct strbuf text;
	struct profile profile;
	uint64_t taken_counters[KRAIT_CNT_CNT]; /* when samples were taken last */
	uint32_t kept_cnt; /* what the last compaction has kept: see weight() */
};

/* The number of the stack that agg->fresh is: an old one's if it is equal; or INDEX_NONE. */
uint32_t tables_stack(struct aggregate *agg);
int tables_add_binding(struct aggregate *agg, const struct binding *binding);
/* The number of the pid's present lifetime, or INDEX_NONE. */
uint32_t tables_process(struct aggregate *agg, uint32_t pid);
/* The number of a new lifetime, or INDEX_NONE. */
uint32_t tables_add_process(struct aggregate *agg, const struct profile_process *process);
uint32_t tables_add_thread(struct aggregate *agg, const struct profile_thread *thread);

/* Bytes of any encoding as text that is safe to show, interned. */
const char *tables_safe_text(struct aggregate *agg, const char *bytes, size_t len);

/* The index of the event that has this number in records, below KRAIT_EVENTS_MAX; it is added if it
 * is new. INDEX_NONE without memory. */
uint32_t events_number(struct aggregate *agg, uint32_t number);
/* Takes in what an event is called, and its ledger where that has come. 0 or -ENOMEM. */
int events_describe(struct aggregate *agg, const struct krait_event_rec *rec);
/* Counts of them from zero. */
void events_restart(struct aggregate *agg);
/* Has `to`, which is new, know the events of `from`. 0 or -ENOMEM. */
int events_move(struct aggregate *to, const struct aggregate *from);

/* Keeps what belongs to processes that live, and frees the rest with all of its strings: what is
 * kept moves into new tables. There must be no samples. 0 or -ENOMEM: then it is only to be freed.
 */
int windows_compact(struct aggregate *agg);

#endif
