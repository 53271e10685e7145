// SPDX-License-Identifier: BSD-2-Clause
/*
 * Coding a timeline.
 *
 * The counts of a slice are kept open in a small table, where equal ones add up; when the slice
 * ends, or another one wants its place, a count is appended to the bytes. Numbers are varints, 7
 * bits a byte, the lowest first:
 *
 *	head = (stack_idx + 1) * 4 + (cnt is not 1) * 2 + (another thread than before)
 *	thread_idx, cnt		where the head says so
 *	0, zigzag(difference)	another slice from here on
 *	1, event_idx		another event from here on
 *	2			slices are TIMELINE_LONGER times as long from here on
 *
 * Samples come a CPU after the other, so slices go back and forth: that costs two bytes each time,
 * and a table with many slices open would cost more.
 */
#include "user/aggregate/timeline.h"

#include <errno.h>
#include <stdlib.h>

#include "user/base/array.h"

#define OPEN_BITS 8
#define OPEN_CNT (1 << OPEN_BITS)
#define VARINT_BYTES 10 /* of 64 bits, at most */
#define COUNT_NUMBERS 7 /* of a count with another slice and event before it, at most */

enum { HEAD_SLICE, HEAD_EVENT, HEAD_LONGER };

#define HEAD_THREAD 1
#define HEAD_CNT 2
#define HEAD_SHIFT 2

struct timeline_open {
	struct timeline_count counts[OPEN_CNT]; /* cnt 0: free */
	uint16_t used[OPEN_CNT];		/* places that are not, */
	uint32_t used_cnt;			/* in the order in which they were taken */
};

/* ---- Varints ---- */

static uint8_t *put(uint8_t *at, uint64_t number)
{
	for (; number > 127; number >>= 7)
		*at++ = number | 128;
	*at++ = number;
	return at;
}

static uint64_t take(const uint8_t **at)
{
	uint64_t number = 0;
	int shift = 0;

	for (; **at > 127; shift += 7)
		number |= (uint64_t)(*(*at)++ & 127) << shift;
	return number | (uint64_t) * (*at)++ << shift;
}

static uint64_t zigzag(int64_t number)
{
	return (uint64_t)number << 1 ^ (number < 0 ? UINT64_MAX : 0);
}

static int64_t unzigzag(uint64_t number)
{
	return (int64_t)(number >> 1 ^ -(number & 1));
}

/* ---- The bytes ---- */

struct timeline_iter timeline_begin(const struct timeline *timeline)
{
	const uint8_t *at = timeline->bytes;

	return (struct timeline_iter){
		.at = at, .end = at ? at + timeline->len : NULL, .slice_ns = TIMELINE_SLICE_NS};
}

static void take_change(struct timeline_iter *it, uint64_t head)
{
	if (head == HEAD_SLICE) {
		it->slice += unzigzag(take(&it->at));
	} else if (head == HEAD_EVENT) {
		it->count.event_idx = take(&it->at);
	} else {
		it->slice_ns *= TIMELINE_LONGER;
		it->slice /= TIMELINE_LONGER;
	}
}

bool timeline_next(struct timeline_iter *it)
{
	uint64_t head;

	if (it->at == it->end)
		return false;
	while ((head = take(&it->at)) >> HEAD_SHIFT == 0)
		take_change(it, head);
	it->count.stack_idx = (head >> HEAD_SHIFT) - 1;
	if (head & HEAD_THREAD)
		it->count.thread_idx = take(&it->at);
	it->count.cnt = head & HEAD_CNT ? take(&it->at) : 1;
	return true;
}

/* Puts what is different of the slice and the event. */
static uint8_t *put_changes(struct timeline_iter *coded, uint8_t *at, uint64_t slice,
			    uint64_t slice_ns, uint8_t event_idx)
{
	for (; coded->slice_ns < slice_ns; coded->slice_ns *= TIMELINE_LONGER) {
		at = put(at, HEAD_LONGER);
		coded->slice /= TIMELINE_LONGER;
	}
	if (slice != coded->slice)
		at = put(put(at, HEAD_SLICE), zigzag((int64_t)(slice - coded->slice)));
	if (event_idx != coded->count.event_idx)
		at = put(put(at, HEAD_EVENT), event_idx);
	coded->slice = slice;
	return at;
}

/* Appends a count of the slice. 0 or -ENOMEM. */
static int append(struct timeline_writer *w, const struct timeline_count *c)
{
	struct timeline_iter *coded = &w->coded;
	struct timeline *t = &w->timeline;
	uint64_t head = (c->stack_idx + 1ULL) << HEAD_SHIFT;
	uint8_t *at;

	/* And each longer slice is a byte: fewer than 4 * VARINT_BYTES. */
	if (array_reserve((void **)&t->bytes, &w->cap, t->len + (COUNT_NUMBERS + 4) * VARINT_BYTES,
			  1) != 0)
		return -ENOMEM;
	head |= (c->cnt != 1 ? HEAD_CNT : 0) |
		(c->thread_idx != coded->count.thread_idx ? HEAD_THREAD : 0);
	at = put_changes(coded, t->bytes + t->len, w->slice, w->slice_ns, c->event_idx);
	at = put(at, head);
	if (head & HEAD_THREAD)
		at = put(at, c->thread_idx);
	if (head & HEAD_CNT)
		at = put(at, c->cnt);
	t->len = at - t->bytes;
	coded->count = *c;
	return 0;
}

/* ---- The slice that is being filled ---- */

int timeline_flush(struct timeline_writer *w)
{
	struct timeline_open *open = w->open;
	int err = 0;

	for (uint32_t i = 0; open && i < open->used_cnt; i++) {
		struct timeline_count *c = &open->counts[open->used[i]];

		err = err ?: append(w, c);
		c->cnt = 0;
	}
	if (open)
		open->used_cnt = 0;
	return err;
}

static uint32_t place_of(const struct timeline_count *c)
{
	return (c->stack_idx * 0x9e3779b1U ^ c->thread_idx * 0x85ebca6bU ^ c->event_idx << 24) >>
	       (32 - OPEN_BITS);
}

static bool is_same(const struct timeline_count *a, const struct timeline_count *b)
{
	return a->stack_idx == b->stack_idx && a->thread_idx == b->thread_idx &&
	       a->event_idx == b->event_idx;
}

static int add_open(struct timeline_writer *w, const struct timeline_count *c)
{
	uint32_t place = place_of(c);
	struct timeline_count *old = &w->open->counts[place];
	int err = 0;

	if (old->cnt && is_same(old, c)) {
		old->cnt += c->cnt;
		return 0;
	}
	if (old->cnt)
		err = append(w, old);
	else
		w->open->used[w->open->used_cnt++] = place;
	*old = *c;
	return err;
}

/* ---- Slices ---- */

static int init(struct timeline_writer *w)
{
	w->open = calloc(1, sizeof(*w->open));
	timeline_restart(w);
	return w->open ? 0 : -ENOMEM;
}

void timeline_restart(struct timeline_writer *w)
{
	struct timeline_writer old = *w;

	*w = (struct timeline_writer){.timeline.bytes = old.timeline.bytes,
				      .cap = old.cap,
				      .open = old.open,
				      .slice_ns = TIMELINE_SLICE_NS,
				      .coded.slice_ns = TIMELINE_SLICE_NS};
	if (w->open)
		*w->open = (struct timeline_open){};
}

/* Whether slices of this length have been too many, in time or in bytes. */
static bool is_length_used_up(const struct timeline_writer *w, uint64_t slice)
{
	uint64_t distance = slice > w->first ? slice - w->first : w->first - slice;

	return distance >= TIMELINE_SLICES || w->timeline.len - w->first_len > TIMELINE_BYTES;
}

/* Ends the open slice and goes on to that of time_ns. 0 or -ENOMEM. */
static int next_slice(struct timeline_writer *w, uint64_t time_ns)
{
	int err = w->open ? timeline_flush(w) : init(w);

	if (err)
		return err;
	if (!w->end_ns)
		w->first = time_ns / w->slice_ns;
	while (is_length_used_up(w, time_ns / w->slice_ns)) {
		w->slice_ns *= TIMELINE_LONGER;
		w->first /= TIMELINE_LONGER;
		w->first_len = w->timeline.len;
	}
	w->slice = time_ns / w->slice_ns;
	w->from_ns = w->slice * w->slice_ns;
	w->end_ns = w->from_ns + w->slice_ns;
	return 0;
}

int timeline_add(struct timeline_writer *w, uint64_t time_ns, const struct timeline_count *count)
{
	int err = 0;

	if (time_ns < w->from_ns || time_ns >= w->end_ns)
		err = next_slice(w, time_ns);
	return err ?: add_open(w, count);
}

void timeline_release(struct timeline_writer *w)
{
	free(w->timeline.bytes);
	free(w->open);
	*w = (struct timeline_writer){};
}

int timeline_renumber(struct timeline *to, const struct timeline *from, const uint32_t *threads,
		      const uint32_t *stacks)
{
	struct timeline_writer w = {.coded.slice_ns = TIMELINE_SLICE_NS};
	struct timeline_iter it = timeline_begin(from);
	int err = 0;

	while (!err && timeline_next(&it)) {
		struct timeline_count c = it.count;

		c.thread_idx = threads[c.thread_idx] - 1;
		c.stack_idx = stacks[c.stack_idx] - 1;
		w.slice = it.slice;
		w.slice_ns = it.slice_ns;
		err = append(&w, &c);
	}
	*to = w.timeline;
	return err;
}
