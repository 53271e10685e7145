// SPDX-License-Identifier: BSD-2-Clause
/*
 * The events of a profile: what its counts are of. The CPU's clock is always there, and first; of
 * the others the records say what their numbers mean, and bring their ledgers.
 */
#include <errno.h>
#include <string.h>

#include "user/aggregate/tables.h"
#include "user/base/array.h"
#include "user/drain/records.h"

/* The clock's name; for any other a makeshift until a record describes it. */
static void name_event(struct aggregate *agg, struct profile_event *e, uint32_t number)
{
	bool is_clock = number == KRAIT_EVENT_CPU_CLOCK;

	strbuf_reset(&agg->text);
	strbuf_addf(&agg->text, "event %u", number);
	e->name = intern_str(agg->in, is_clock ? "cpu" : strbuf_text(&agg->text));
	e->unit = intern_str(agg->in, is_clock ? "nanoseconds" : "count");
	e->period = 1;
}

static uint32_t add_event(struct aggregate *agg, uint32_t number)
{
	uint32_t idx = agg->event_cnt;

	if (array_reserve((void **)&agg->events, &agg->event_cap, idx + 1, sizeof(*agg->events)) !=
	    0)
		return INDEX_NONE;
	agg->events[idx] = (struct profile_event){};
	name_event(agg, &agg->events[idx], number);
	agg->event_idx[number] = idx;
	agg->event_cnt++;
	return idx;
}

uint32_t events_number(struct aggregate *agg, uint32_t number)
{
	uint32_t idx = agg->event_idx[number];

	/* The clock's index is 0. */
	if (idx || (number == KRAIT_EVENT_CPU_CLOCK && agg->event_cnt))
		return idx;
	return add_event(agg, number);
}

int events_describe(struct aggregate *agg, const struct krait_event_rec *rec)
{
	const struct krait_pair *pairs = event_pairs(rec);
	uint32_t idx = events_number(agg, rec->event);
	struct profile_event *e;

	if (idx == INDEX_NONE)
		return -ENOMEM;
	e = &agg->events[idx];
	e->name = tables_safe_text(agg, rec->name, strlen(rec->name));
	e->unit = tables_safe_text(agg, rec->unit, strlen(rec->unit));
	e->period = rec->period;
	e->has_ledger |= rec->pair_cnt > 0;
	for (uint32_t i = 0; i < rec->pair_cnt; i++)
		if (krait_part_of(pairs[i].number) != KRAIT_PART_NONE)
			e->counters[pairs[i].number] = pairs[i].value;
	return 0;
}

void events_restart(struct aggregate *agg)
{
	for (uint32_t i = 0; i < agg->event_cnt; i++) {
		struct profile_event *e = &agg->events[i];

		e->total_cnt = e->outside_cnt = e->unnamed_cnt = 0;
		memset(e->counters, 0, sizeof(e->counters));
		e->has_ledger = false;
	}
}

int events_move(struct aggregate *to, const struct aggregate *from)
{
	if (array_reserve((void **)&to->events, &to->event_cap, from->event_cnt,
			  sizeof(*to->events)) != 0)
		return -ENOMEM;
	to->event_cnt = from->event_cnt;
	memcpy(to->event_idx, from->event_idx, sizeof(to->event_idx));
	for (uint32_t i = 0; i < to->event_cnt; i++) {
		to->events[i] = from->events[i];
		to->events[i].name = intern_str(to->in, from->events[i].name);
		to->events[i].unit = intern_str(to->in, from->events[i].unit);
	}
	return 0;
}
