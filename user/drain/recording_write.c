// SPDX-License-Identifier: BSD-2-Clause
/* Writing recordings: records are gathered in blocks, which are written in the background. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "user/base/clock.h"
#include "user/drain/blocks.h"
#include "user/drain/recording.h"

struct recording_writer {
	struct blocks *blocks;
	struct block *block; /* being gathered; NULL: nothing is */
	uint32_t number;     /* of the next block */
	uint64_t full_at_ns; /* when the last one was */
};

/* A block to gather records in; NULL after an error. */
static struct block *begin_block(struct recording_writer *w)
{
	if (!w->block)
		w->block = blocks_get(w->blocks);
	return w->block;
}

/* The block that has been gathered, to be written. */
static struct block *end_block(struct recording_writer *w)
{
	struct block *b = w->block;

	w->block = NULL;
	b->number = w->number++;
	b->until_ns = w->full_at_ns = clock_ns(CLOCK_MONOTONIC);
	return b;
}

void recording_add(struct recording_writer *w, const struct krait_hdr *rec)
{
	struct block *b;

	if (recording_err(w))
		return;
	if (w->block && w->block->len + rec->bytes > BLOCK_FILL_BYTES)
		recording_flush(w);
	b = begin_block(w);
	if (!b)
		return;
	memcpy((char *)b->raw + b->len, rec, rec->bytes);
	b->len += rec->bytes;
}

/* The file's first bytes and its head. */
static void write_head(struct recording_writer *w, const struct krait_head_rec *head)
{
	struct krait_recording_start start = {.version = KRAIT_RECORDING_VERSION};
	struct krait_head_rec rec = *head;

	memcpy(start.magic, RECORDING_MAGIC, sizeof(start.magic));
	start.crc32 =
		crc32(0, (const Bytef *)&start, offsetof(struct krait_recording_start, crc32));
	rec.h = (struct krait_hdr){.kind = KRAIT_HEAD, .bytes = sizeof(rec)};
	recording_add(w, &rec.h);
	if (w->block)
		blocks_begin(w->blocks, &start, sizeof(start), end_block(w));
}

struct recording_writer *recording_start(FILE *out, const struct krait_head_rec *head)
{
	struct recording_writer *w = calloc(1, sizeof(*w));

	if (w)
		w->blocks = blocks_new(out);
	if (!w || !w->blocks) {
		free(w);
		errno = ENOMEM;
		return NULL;
	}
	write_head(w, head);
	return w;
}

void recording_tick(struct recording_writer *w, uint64_t now_ns)
{
	if (w->block && now_ns >= w->full_at_ns + RECORDING_FLUSH_NS && !blocks_waiting(w->blocks))
		recording_flush(w);
}

void recording_flush(struct recording_writer *w)
{
	if (w->block)
		blocks_put(w->blocks, end_block(w));
}

int recording_err(const struct recording_writer *w)
{
	return blocks_err(w->blocks);
}

int recording_sync(struct recording_writer *w)
{
	return blocks_sync(w->blocks);
}

int recording_stop(struct recording_writer *w)
{
	return blocks_stop(w->blocks);
}

uint64_t recording_cpu_ns(const struct recording_writer *w)
{
	return blocks_cpu_ns(w->blocks);
}

uint64_t recording_held_ns(const struct recording_writer *w)
{
	return blocks_held_ns(w->blocks);
}

/* One pair for each number that is a counter's. */
static uint32_t fill_pairs(struct krait_pair *pairs, const uint64_t *counters)
{
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < KRAIT_CNT_CNT; i++)
		if (krait_part_of(i))
			pairs[cnt++] = (struct krait_pair){
				.number = i, .part = krait_part_of(i), .value = counters[i]};
	return cnt;
}

int recording_finish(struct recording_writer *w, uint64_t duration_ns, const uint64_t *counters)
{
	struct {
		struct krait_tail_rec rec;
		struct krait_pair pairs[KRAIT_CNT_CNT];
	} tail = {.rec.duration_ns = duration_ns};

	tail.rec.pair_cnt = fill_pairs(tail.pairs, counters);
	tail.rec.h = (struct krait_hdr){
		.kind = KRAIT_TAIL,
		.bytes = sizeof(tail.rec) + tail.rec.pair_cnt * sizeof(tail.pairs[0]),
	};
	recording_add(w, &tail.rec.h);
	recording_flush(w);
	return recording_stop(w);
}

void recording_free(struct recording_writer *w)
{
	if (!w)
		return;
	blocks_free(w->blocks);
	free(w->block);
	free(w);
}
