// SPDX-License-Identifier: BSD-2-Clause
/*
 * Folded stacks: "root;frame;frame N\n", one line per distinct stack, for flamegraph.pl, speedscope
 * and every text tool.
 *
 * Each frame and root is worded once and interned, so that equal words have one address; lines are
 * never built in memory, only compared and written word by word. So a profile of deep stacks costs
 * no more memory than its distinct frames. Lines are sorted bytewise by their stack, and equal ones
 * are one line with the sum of their counts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/base/intern.h"
#include "user/base/strbuf.h"
#include "user/export/export.h"
#include "user/export/frame.h"

/* A stack without frames needs a leaf that ends in ']', for the reason given in frame.h. */
static const char no_frames[] = "[no frames]";

struct folded {
	const struct profile *profile;
	const struct export_opts *opts;
	struct intern *words;
	struct strbuf text; /* scratch */
	/* Words by index of frame, process and thread; borrowed from `words`. */
	const char **frames, **processes, **threads;
	uint32_t *order; /* indices of samples */
	int err;
};

/* The one copy of the scratch text as a word of a folded line, where ';' can't be. */
static const char *intern_word(struct folded *f)
{
	const char *word;
	char *p;

	for (p = f->text.buf; p && (p = strchr(p, ';'));)
		*p = ':';
	word = intern_add(f->words, strbuf_text(&f->text), f->text.len);
	/* No word is empty: an empty one means that there was no memory. */
	if (f->text.failed || !word[0])
		f->err = -ENOMEM;
	strbuf_reset(&f->text);
	return word;
}

static int word_all(struct folded *f)
{
	const struct profile *p = f->profile;
	uint32_t i;

	for (i = 0; i < p->frame_cnt; i++) {
		frame_add(&f->text, p, i, f->opts);
		f->frames[i] = intern_word(f);
	}
	for (i = 0; i < p->process_cnt; i++) {
		frame_add_process(&f->text, &p->processes[i]);
		f->processes[i] = intern_word(f);
	}
	for (i = 0; i < p->thread_cnt; i++) {
		frame_add_thread(&f->text, &p->threads[i]);
		f->threads[i] = intern_word(f);
	}
	return f->err;
}

/* The words of one sample's stack, root first. */
struct line {
	const struct folded *f;
	const struct profile_sample *sample;
	const struct profile_stack *stack;
	uint32_t root_cnt, word_cnt;
};

static struct line line_of(const struct folded *f, uint32_t sample_idx)
{
	struct line line = {.f = f, .sample = &f->profile->samples[sample_idx]};

	line.stack = &f->profile->stacks[line.sample->stack_idx];
	line.root_cnt = f->opts->threads ? 2 : 1;
	line.word_cnt = line.root_cnt + (line.stack->cnt ? line.stack->cnt : 1);
	return line;
}

static const char *line_word(const struct line *line, uint32_t i)
{
	const struct folded *f = line->f;

	if (i == 0)
		return f->processes[f->profile->threads[line->sample->thread_idx].process_idx];
	if (i < line->root_cnt)
		return f->threads[line->sample->thread_idx];
	if (!line->stack->cnt)
		return no_frames;
	i = line->stack->first + (line->word_cnt - 1 - i);
	return f->frames[f->profile->frame_idx[i]];
}

/* Different words, in the order that strcmp would find if the whole lines were strings: END is what
 * follows the word in its line, ';' or at the leaf 0. */
static int compare_words(const char *a, char a_end, const char *b, char b_end)
{
	unsigned char x, y;
	size_t i = 0;

	while (a[i] && a[i] == b[i])
		i++;
	x = a[i] ? a[i] : a_end;
	y = b[i] ? b[i] : b_end;
	return x < y ? -1 : x > y;
}

static int compare_lines(const struct line *a, const struct line *b)
{
	uint32_t i;

	for (i = 0; i < a->word_cnt && i < b->word_cnt; i++) {
		const char *x = line_word(a, i), *y = line_word(b, i);

		if (x != y)
			return compare_words(x, i + 1 < a->word_cnt ? ';' : 0, y,
					     i + 1 < b->word_cnt ? ';' : 0);
	}
	return a->word_cnt < b->word_cnt ? -1 : a->word_cnt > b->word_cnt;
}

static int compare_samples(const void *a, const void *b, void *folded)
{
	struct line x = line_of(folded, *(const uint32_t *)a);
	struct line y = line_of(folded, *(const uint32_t *)b);

	return compare_lines(&x, &y);
}

static void write_line(const struct line *line, uint64_t cnt, FILE *out)
{
	uint32_t i;

	for (i = 0; i < line->word_cnt; i++) {
		if (i)
			putc_unlocked(';', out);
		fputs_unlocked(line_word(line, i), out);
	}
	fprintf(out, " %llu\n", (unsigned long long)cnt);
}

static void write_lines(const struct folded *f, FILE *out)
{
	uint32_t i, sample_cnt = f->profile->sample_cnt;
	uint64_t cnt = 0;

	for (i = 0; i < sample_cnt; i++) {
		struct line line = line_of(f, f->order[i]), next;

		cnt += line.sample->cnt;
		if (i + 1 < sample_cnt) {
			next = line_of(f, f->order[i + 1]);
			if (!compare_lines(&line, &next))
				continue;
		}
		write_line(&line, cnt, out);
		cnt = 0;
	}
}

static void folded_release(struct folded *f)
{
	intern_free(f->words);
	strbuf_release(&f->text);
	free(f->frames);
	free(f->processes);
	free(f->threads);
	free(f->order);
}

static int folded_init(struct folded *f)
{
	const struct profile *p = f->profile;
	uint32_t i;

	/* One more each: calloc(0) may return NULL. */
	f->words = intern_new();
	f->frames = calloc(p->frame_cnt + 1UL, sizeof(*f->frames));
	f->processes = calloc(p->process_cnt + 1UL, sizeof(*f->processes));
	f->threads = calloc(p->thread_cnt + 1UL, sizeof(*f->threads));
	f->order = calloc(p->sample_cnt + 1UL, sizeof(*f->order));
	if (!f->words || !f->frames || !f->processes || !f->threads || !f->order)
		return -ENOMEM;
	for (i = 0; i < p->sample_cnt; i++)
		f->order[i] = i;
	return word_all(f);
}

static int folded_write(const struct profile *profile, const struct export_opts *opts, FILE *out)
{
	struct folded f = {.profile = profile, .opts = opts};
	int err = folded_init(&f);

	if (!err) {
		qsort_r(f.order, profile->sample_cnt, sizeof(*f.order), compare_samples, &f);
		write_lines(&f, out);
	}
	folded_release(&f);
	return err;
}

const struct exporter export_folded = {
	.name = "folded",
	.suffixes = (const char *const[]){".folded", ".collapsed", ".txt", NULL},
	.help = "one line of text per stack, for flamegraph.pl, speedscope and grep",
	.write = folded_write,
};
