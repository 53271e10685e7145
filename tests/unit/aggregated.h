/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records made by hand, and the profile that aggregate makes of them as text: one line per sample,
 *
 *	pid "command line" tid "thread name": leaf:line < ... < root:line = count
 *
 * Include once per program, after cmocka.h.
 */
#ifndef KRAIT_TESTS_UNIT_AGGREGATED_H
#define KRAIT_TESTS_UNIT_AGGREGATED_H

#include <stdlib.h>
#include <string.h>

#include "user/aggregate/aggregate.h"
#include "user/base/index.h"
#include "user/base/strbuf.h"
#include "user/drain/records.h"

#define VERSION 0x030b02f0

static struct aggregate *agg;
static struct strbuf text;

static inline int setup(void **state)
{
	(void)state;
	agg = aggregate_new();
	return agg ? 0 : -1;
}

static inline int teardown(void **state)
{
	(void)state;
	aggregate_free(agg);
	strbuf_release(&text);
	text = (struct strbuf){0};
	return 0;
}

/* ---- Records ---- */

static inline void add(void *rec, size_t bytes)
{
	struct krait_hdr *h = rec;

	h->bytes = (bytes + 7) & ~7UL;
	assert_int_equal(record_check(rec, h->bytes), h->bytes);
	assert_int_equal(aggregate_add(agg, h), 0);
}

static uint64_t now_ns;	    /* of the process records that follow */
static uint32_t ids_of = 7; /* whose the ids are in the CODE and STACK records that follow */

static inline void process(uint16_t what, uint32_t pid, uint32_t tid, uint32_t parent_pid,
			   const char *comm, const char *cmdline, uint32_t len)
{
	struct {
		struct krait_process_rec rec;
		char text[64];
	} r = {.rec = {.h = {.kind = KRAIT_PROCESS}, .time_ns = now_ns, .pid = pid, .tid = tid}};

	r.rec.parent_pid = parent_pid;
	r.rec.what = what;
	r.rec.py_version = what == KRAIT_PROCESS_INFO ? VERSION : 0;
	r.rec.text_bytes = len;
	memcpy(r.rec.comm, comm, strnlen(comm, sizeof(r.rec.comm)));
	memcpy(r.text, cmdline, len);
	add(&r, sizeof(r.rec) + len);
}

static inline void info(uint32_t pid, const char *cmdline)
{
	process(KRAIT_PROCESS_INFO, pid, pid, 0, "comm", cmdline, strlen(cmdline));
}

static inline void forked(uint32_t pid, uint32_t parent_pid)
{
	process(KRAIT_PROCESS_FORK, pid, pid, parent_pid, "comm", "", 0);
}

static inline void event(uint16_t what, uint32_t pid)
{
	process(what, pid, pid, 0, "comm", "", 0);
}

static inline void thread(uint32_t pid, uint32_t tid, const char *comm)
{
	process(KRAIT_PROCESS_THREAD, pid, tid, 0, comm, "", 0);
}

static inline void py_named(uint32_t pid, uint32_t tid, const char *name)
{
	process(KRAIT_PROCESS_NAME, pid, tid, 0, "", name, strlen(name));
}

/* A code object without a qualified name, whose whole code is on its first line (3.9). */
static inline void code(uint64_t id, const char *name, int32_t first_line)
{
	struct {
		struct krait_code_rec rec;
		char text[64];
	} r = {.rec = {.h = {.kind = KRAIT_CODE}, .code_id = id, .pid = ids_of}};

	r.rec.first_line = first_line;
	r.rec.name = (struct krait_str){.bytes = strlen(name), .width = 1};
	r.rec.file = (struct krait_str){.bytes = 4, .width = 1};
	r.rec.lines_kind = KRAIT_LINES_LNOTAB;
	strcpy(r.text, name);
	strcat(r.text, "f.py");
	add(&r, sizeof(r.rec) + strlen(r.text));
}

static inline void stack_flags(uint64_t id, uint16_t flags, uint32_t cnt,
			       const struct krait_frame *frames)
{
	struct {
		struct krait_stack_rec rec;
		struct krait_frame frames[8];
	} r = {.rec = {.h = {.kind = KRAIT_STACK, .flags = flags}, .stack_id = id}};

	r.rec.pid = ids_of;
	r.rec.frame_cnt = cnt;
	memcpy(r.frames, frames, cnt * sizeof(*frames));
	add(&r, sizeof(r.rec) + cnt * sizeof(*frames));
}

/* Of two frames, or with outer 0 of one. */
static inline void stack(uint64_t id, uint64_t leaf, uint64_t outer)
{
	struct krait_frame frames[] = {{.code_id = leaf}, {.code_id = outer}};

	stack_flags(id, 0, outer ? 2 : 1, frames);
}

static uint64_t sample_ns; /* when the samples that follow come */

static inline void sample_of(uint64_t stack_id, uint32_t pid, uint32_t tid, uint32_t weight)
{
	struct krait_sample_rec r = {.h = {.kind = KRAIT_SAMPLE},
				     .time_ns = sample_ns,
				     .stack_id = stack_id,
				     .pid = pid,
				     .tid = tid,
				     .weight = weight};

	add(&r, sizeof(r));
}

/* Of another event than the CPU's clock. */
static inline void sample_of_event(uint64_t stack_id, uint32_t pid, uint32_t number, uint64_t value)
{
	struct krait_event_sample_rec r = {.sample = {.h = {.kind = KRAIT_SAMPLE},
						      .time_ns = sample_ns,
						      .stack_id = stack_id,
						      .pid = pid,
						      .tid = pid},
					   .event = number,
					   .value = value};

	add(&r, sizeof(r));
}

static inline void event_described(uint32_t number, const char *name, const char *unit,
				   uint64_t period, uint64_t samples)
{
	struct {
		struct krait_event_rec rec;
		struct krait_pair pair;
	} r = {.rec = {.h = {.kind = KRAIT_EVENT},
		       .event = number,
		       .pair_cnt = 1,
		       .period = period},
	       .pair = {.number = KRAIT_CNT_SAMPLES, .part = KRAIT_PART_TOTAL, .value = samples}};

	strcpy(r.rec.name, name);
	strcpy(r.rec.unit, unit);
	add(&r, sizeof(r));
}

static inline void sample(uint64_t stack_id, uint32_t pid)
{
	sample_of(stack_id, pid, pid, 1);
}

/* ---- The profile as text ---- */

static inline const struct profile *profile(void)
{
	static const struct profile_meta meta = {.host = "h", .kernel = "k", .target = "t"};
	static const uint64_t counters[KRAIT_CNT_CNT];
	const struct profile *p = aggregate_profile(agg, &meta, counters);

	assert_non_null(p);
	return p;
}

static inline void render_sample(const struct profile *p, const struct profile_sample *s)
{
	const struct profile_thread *t = &p->threads[s->thread_idx];
	const struct profile_process *proc = &p->processes[t->process_idx];
	const struct profile_stack *st = &p->stacks[s->stack_idx];

	strbuf_addf(&text, "%u \"%s\" %u \"%s\":", proc->pid, proc->cmdline, t->tid, t->name);
	for (uint32_t i = 0; i < st->cnt; i++) {
		const struct profile_frame *f =
			&p->frames[packed_get(&p->frame_idx, st->first + i)];

		strbuf_addf(&text, "%s %s:%d", i ? " <" : "", p->functions[f->function_idx].name,
			    f->line);
	}
	strbuf_addf(&text, " = %llu", (unsigned long long)s->cnt);
	if (s->event_idx)
		strbuf_addf(&text, " %s", p->events[s->event_idx].name);
	strbuf_add_char(&text, '\n');
}

/* Over all time it is what the samples are. */
static inline void assert_timeline(const struct profile *p)
{
	uint64_t *left = calloc(p->sample_cnt + 1UL, sizeof(*left));
	struct timeline_iter it = timeline_begin(&p->timeline);

	assert_non_null(left);
	for (uint32_t i = 0; i < p->sample_cnt; i++)
		left[i] = p->samples[i].cnt;
	while (timeline_next(&it)) {
		uint32_t i = 0;

		while (i < p->sample_cnt && (p->samples[i].thread_idx != it.count.thread_idx ||
					     p->samples[i].stack_idx != it.count.stack_idx ||
					     p->samples[i].event_idx != it.count.event_idx))
			i++;
		assert_true(i < p->sample_cnt);
		left[i] -= it.count.cnt;
	}
	for (uint32_t i = 0; i < p->sample_cnt; i++)
		assert_int_equal(left[i], 0);
	free(left);
}

static inline void assert_profile(const char *expected)
{
	const struct profile *p = profile();
	uint64_t totals[KRAIT_EVENTS_MAX] = {};

	strbuf_reset(&text);
	for (uint32_t i = 0; i < p->sample_cnt; i++) {
		render_sample(p, &p->samples[i]);
		totals[p->samples[i].event_idx] += p->samples[i].cnt;
	}
	assert_string_equal(strbuf_text(&text), expected);
	for (uint32_t i = 0; i < p->event_cnt; i++)
		assert_int_equal(p->events[i].total_cnt, totals[i]);
	for (uint32_t i = 0; i < p->function_cnt; i++)
		assert_int_equal(p->functions[i].kind,
				 p->functions[i].file[0] ? FRAME_PYTHON : FRAME_MARKER);
	assert_timeline(p);
}

/* Functions a (10), b (20), c (30); stacks 1: a < b, 2: c < b. */
static inline void three_functions(void)
{
	code(0xa, "a", 10);
	code(0xb, "b", 20);
	code(0xc, "c", 30);
	stack(1, 0xa, 0xb);
	stack(2, 0xc, 0xb);
}

/* The same, as another process says it. */
static inline void three_functions_of(uint32_t pid)
{
	ids_of = pid;
	three_functions();
	ids_of = 7;
}

#endif
