// SPDX-License-Identifier: BSD-2-Clause
/*
 * Folded stacks: "root;frame;frame N\n", one line per distinct stack, for flamegraph.pl, speedscope
 * and every text tool.
 *
 * Each frame and root is worded once and ranked among all words; lines are never built in memory,
 * only compared by ranks and written word by word. So a profile of deep stacks costs no more memory
 * than its distinct frames. Lines are sorted bytewise by their stack, and equal ones are one line
 * with the sum of their counts.
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

/* What a line is made of. Its rank is its place among all words in the order that strcmp would find
 * if whole lines were strings, for which it matters what follows: ';', or at the leaf 0. */
struct word {
	const char *text; /* borrowed from folded.texts */
	uint32_t len;
	uint32_t rank, leaf_rank;
};

struct folded {
	const struct profile *profile;
	const struct export_opts *opts;
	struct intern *texts;
	struct strbuf text; /* scratch */
	/* By index of frame, process and thread, all in one array; no_frames is its last. */
	struct word *words, *processes, *threads, *no_frames;
	uint32_t word_cnt;
	uint32_t *order; /* indices of samples */
	int err;
};

/* The one copy of the scratch text as a word of a folded line, where ';' can't be. */
static struct word take_word(struct folded *f)
{
	struct word word = {.len = f->text.len};
	char *p;

	for (p = f->text.buf; p && (p = strchr(p, ';'));)
		*p = ':';
	word.text = intern_add(f->texts, strbuf_text(&f->text), f->text.len);
	/* No word is empty: an empty one means that there was no memory. */
	if (f->text.failed || !word.text[0])
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
		f->words[i] = take_word(f);
	}
	for (i = 0; i < p->process_cnt; i++) {
		frame_add_process(&f->text, &p->processes[i]);
		f->processes[i] = take_word(f);
	}
	for (i = 0; i < p->thread_cnt; i++) {
		frame_add_thread(&f->text, &p->threads[i]);
		f->threads[i] = take_word(f);
	}
	strbuf_add_str(&f->text, no_frames);
	*f->no_frames = take_word(f);
	return f->err;
}

/* A word and what follows it. */
struct place {
	const struct word *word;
	uint32_t *rank;
	char end;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *p = a, *q = b;
	uint32_t len = p->word->len < q->word->len ? p->word->len : q->word->len;
	int by_text =
		p->word->text == q->word->text ? 0 : memcmp(p->word->text, q->word->text, len);
	unsigned char x = len < p->word->len ? p->word->text[len] : p->end;
	unsigned char y = len < q->word->len ? q->word->text[len] : q->end;

	return by_text ? by_text : x < y ? -1 : x > y;
}

/* Words are compared as strings here, once, and by their ranks from then on: lines are long, and
 * begin alike. */
static int rank_all(struct folded *f)
{
	struct place *places = calloc(2UL * f->word_cnt, sizeof(*places));
	uint32_t i, cnt = 0, rank = 0;

	if (!places)
		return -ENOMEM;
	for (i = 0; i < f->word_cnt; i++) {
		struct word *word = &f->words[i];

		places[cnt++] = (struct place){word, &word->rank, ';'};
		places[cnt++] = (struct place){word, &word->leaf_rank, 0};
	}
	qsort(places, cnt, sizeof(*places), compare_places);
	for (i = 0; i < cnt; i++) {
		rank += i && compare_places(&places[i - 1], &places[i]);
		*places[i].rank = rank;
	}
	free(places);
	return 0;
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

static const struct word *line_word(const struct line *line, uint32_t i)
{
	const struct folded *f = line->f;

	if (i == 0)
		return &f->processes[f->profile->threads[line->sample->thread_idx].process_idx];
	if (i < line->root_cnt)
		return &f->threads[line->sample->thread_idx];
	if (!line->stack->cnt)
		return f->no_frames;
	i = line->stack->first + (line->word_cnt - 1 - i);
	return &f->words[packed_get(&f->profile->frame_idx, i)];
}

static uint32_t line_rank(const struct line *line, uint32_t i)
{
	const struct word *word = line_word(line, i);

	return i + 1 < line->word_cnt ? word->rank : word->leaf_rank;
}

/* How many frames the stacks have in common from the root on, as far as equal numbers tell. */
static uint32_t count_shared(const struct line *x, const struct line *y)
{
	const struct packed *numbers = &x->f->profile->frame_idx;
	uint32_t p = x->stack->first + x->stack->cnt, q = y->stack->first + y->stack->cnt;
	uint32_t cnt = x->stack->cnt < y->stack->cnt ? x->stack->cnt : y->stack->cnt, i = 0;

	while (i < cnt && packed_get(numbers, --p) == packed_get(numbers, --q))
		i++;
	return i;
}

static int compare_samples(const void *a, const void *b, void *folded)
{
	struct line x = line_of(folded, *(const uint32_t *)a);
	struct line y = line_of(folded, *(const uint32_t *)b);
	uint32_t i = 0, shared;

	for (; i < x.root_cnt; i++)
		if (line_word(&x, i)->rank != line_word(&y, i)->rank)
			return line_word(&x, i)->rank < line_word(&y, i)->rank ? -1 : 1;
	/* But for the last of them, which may be a leaf in one of the two. */
	shared = count_shared(&x, &y);
	i += shared ? shared - 1 : 0;
	/* No line goes on where the other has ended: the ranks differed there. */
	for (; i < x.word_cnt; i++) {
		uint32_t p = line_rank(&x, i), q = line_rank(&y, i);

		if (p != q)
			return p < q ? -1 : 1;
	}
	return 0;
}

static void write_line(const struct line *line, uint64_t cnt, FILE *out)
{
	uint32_t i;

	for (i = 0; i < line->word_cnt; i++) {
		const struct word *word = line_word(line, i);

		if (i)
			putc_unlocked(';', out);
		fwrite_unlocked(word->text, 1, word->len, out);
	}
	fprintf(out, " %llu\n", (unsigned long long)cnt);
}

static void write_lines(const struct folded *f, FILE *out)
{
	uint32_t i, sample_cnt = f->profile->sample_cnt;
	uint64_t cnt = 0;

	for (i = 0; i < sample_cnt; i++) {
		struct line line = line_of(f, f->order[i]);

		cnt += line.sample->cnt;
		if (i + 1 < sample_cnt &&
		    !compare_samples(&f->order[i], &f->order[i + 1], (void *)f))
			continue;
		write_line(&line, cnt, out);
		cnt = 0;
	}
}

static void folded_release(struct folded *f)
{
	intern_free(f->texts);
	strbuf_release(&f->text);
	free(f->words);
	free(f->order);
}

static int folded_init(struct folded *f)
{
	const struct profile *p = f->profile;
	uint32_t i;

	f->word_cnt = p->frame_cnt + p->process_cnt + p->thread_cnt + 1;
	f->texts = intern_new();
	f->words = calloc(f->word_cnt, sizeof(*f->words));
	/* One more: calloc(0) may return NULL. */
	f->order = calloc(p->sample_cnt + 1UL, sizeof(*f->order));
	if (!f->texts || !f->words || !f->order)
		return -ENOMEM;
	f->processes = f->words + p->frame_cnt;
	f->threads = f->processes + p->process_cnt;
	f->no_frames = f->threads + p->thread_cnt;
	for (i = 0; i < p->sample_cnt; i++)
		f->order[i] = i;
	return word_all(f) ?: rank_all(f);
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
	.has_threads_by_option = true,
	.write = folded_write,
};
