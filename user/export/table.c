// SPDX-License-Identifier: BSD-2-Clause
/*
 * The table of top functions on a terminal: where the time goes, in one screen.
 *
 * Rows are functions as a person knows them: (name, file, first line), so two code objects of one
 * source line are one row. The counts are samples: a sampling profiler does not count calls. The
 * function's name comes last, so nothing has to be padded behind a name of unknown width.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/base/strbuf.h"
#include "user/export/export.h"
#include "user/export/frame.h"

struct row {
	const struct profile_function *function;
	uint64_t self, total; /* samples */
	uint32_t seen_in;     /* 1 + the last sample that counted into total */
};

struct table {
	const struct profile *profile;
	uint32_t *order;  /* function indices, sorted by what makes functions one row */
	uint32_t *row_of; /* function index to row */
	struct row *rows;
	uint32_t row_cnt;
};

static int compare_names(const struct profile_function *a, const struct profile_function *b)
{
	int by_name = strcmp(a->name, b->name);
	int by_file = by_name ? by_name : strcmp(a->file, b->file);

	return by_file ? by_file
		       : (a->first_line > b->first_line) - (a->first_line < b->first_line);
}

static int compare_functions(const void *a, const void *b, void *functions)
{
	const struct profile_function *f = functions;

	return compare_names(&f[*(const uint32_t *)a], &f[*(const uint32_t *)b]);
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->self != y->self)
		return x->self > y->self ? -1 : 1;
	if (x->total != y->total)
		return x->total > y->total ? -1 : 1;
	return compare_names(x->function, y->function);
}

static void make_rows(struct table *t)
{
	const struct profile_function *functions = t->profile->functions;
	uint32_t i, cnt = t->profile->function_cnt;

	for (i = 0; i < cnt; i++)
		t->order[i] = i;
	qsort_r(t->order, cnt, sizeof(*t->order), compare_functions, (void *)functions);
	for (i = 0; i < cnt; i++) {
		const struct profile_function *function = &functions[t->order[i]];

		if (!i || compare_names(function, t->rows[t->row_cnt - 1].function))
			t->rows[t->row_cnt++].function = function;
		t->row_of[t->order[i]] = t->row_cnt - 1;
	}
}

static void count_sample(struct table *t, uint32_t sample_idx)
{
	const struct profile *p = t->profile;
	const struct profile_sample *sample = &p->samples[sample_idx];
	const struct profile_stack *stack = &p->stacks[sample->stack_idx];
	uint32_t i;

	for (i = 0; i < stack->cnt; i++) {
		const struct profile_frame *frame =
			&p->frames[packed_get(&p->frame_idx, stack->first + i)];
		struct row *row = &t->rows[t->row_of[frame->function_idx]];

		if (i == 0)
			row->self += sample->cnt;
		/* A function that recurses is on the stack many times, and counts once. */
		if (row->seen_in != sample_idx + 1)
			row->total += sample->cnt;
		row->seen_in = sample_idx + 1;
	}
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

/* How many of the numbers below `max` that number_of gives for the samples are different. 0 too
 * without memory. */
static uint32_t distinct(const struct profile *p, uint32_t max,
			 uint32_t (*number_of)(const struct profile_thread *t))
{
	bool *is_seen = calloc(max + 1UL, sizeof(*is_seen));
	uint32_t cnt = 0;

	for (uint32_t i = 0; is_seen && i < p->sample_cnt; i++) {
		uint32_t number = number_of(&p->threads[p->samples[i].thread_idx]);

		if (p->samples[i].event_idx != EXPORT_EVENT)
			continue;
		cnt += !is_seen[number];
		is_seen[number] = true;
	}
	free(is_seen);
	return cnt;
}

static uint32_t process_of(const struct profile_thread *t)
{
	return t->process_idx;
}

/* A thread that ran several interpreters is one all the same. */
static uint32_t thread_of(const struct profile_thread *t)
{
	return t->main_idx;
}

static void print_summary(const struct profile *p, FILE *out)
{
	uint64_t total = p->events[EXPORT_EVENT].total_cnt;
	/* With a sample: there are others, which krait met while they were idle. */
	uint32_t processes = distinct(p, p->process_cnt, process_of);
	uint32_t threads = distinct(p, p->thread_cnt, thread_of);

	fprintf(out, "%llu sample%s, %u process%s, %u thread%s, %.1f s at %u Hz\n",
		(unsigned long long)total, total == 1 ? "" : "s", processes,
		processes == 1 ? "" : "es", threads, threads == 1 ? "" : "s",
		(double)p->meta.duration_ns / 1e9, p->meta.freq_hz);
}

static int print_rows(const struct table *t, const struct export_opts *opts, uint32_t cnt,
		      FILE *out)
{
	uint64_t whole = t->profile->events[EXPORT_EVENT].total_cnt;
	struct strbuf text = {};
	uint32_t i;
	int err;

	fputs("\nself %    samples  total %    samples  function\n", out);
	for (i = 0; i < cnt; i++) {
		const struct row *row = &t->rows[i];

		strbuf_reset(&text);
		frame_add_function(&text, row->function, opts);
		fprintf(out, "%5.1f%%  %9llu   %5.1f%%  %9llu  %s\n", percent(row->self, whole),
			(unsigned long long)row->self, percent(row->total, whole),
			(unsigned long long)row->total, strbuf_text(&text));
	}
	if (cnt < t->row_cnt)
		fprintf(out, "… and %u more function%s\n", t->row_cnt - cnt,
			t->row_cnt - cnt == 1 ? "" : "s");
	err = text.failed ? -ENOMEM : 0;
	strbuf_release(&text);
	return err;
}

int export_table(const struct profile *profile, const struct export_opts *opts, unsigned int rows,
		 FILE *out)
{
	/* One more each: calloc(0) may return NULL. */
	size_t cnt = profile->function_cnt + 1UL;
	struct table t = {
		.profile = profile,
		.order = calloc(cnt, sizeof(*t.order)),
		.row_of = calloc(cnt, sizeof(*t.row_of)),
		.rows = calloc(cnt, sizeof(*t.rows)),
	};
	int err = -ENOMEM;
	uint32_t i;

	if (!t.order || !t.row_of || !t.rows)
		goto out;
	make_rows(&t);
	for (i = 0; i < profile->sample_cnt; i++)
		if (profile->samples[i].event_idx == EXPORT_EVENT)
			count_sample(&t, i);
	qsort(t.rows, t.row_cnt, sizeof(*t.rows), compare_rows);
	print_summary(profile, out);
	err = t.row_cnt ? print_rows(&t, opts, rows && rows < t.row_cnt ? rows : t.row_cnt, out)
			: 0;
out:
	free(t.order);
	free(t.row_of);
	free(t.rows);
	return err;
}
