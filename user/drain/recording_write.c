// SPDX-License-Identifier: BSD-2-Clause
/*
 * Writing recordings: records are gathered, and deflated and written a block at a time.
 *
 * All of a block at once: zlib's tables are 250 KB, which have left the caches when krait wakes up
 * again. Deflating a quarter of a second's records each time took 1.3 us of CPU a sample instead of
 * 0.5. A smaller window or fewer hash bits would save 100 KB, and take a fifth more.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "user/base/clock.h"
#include "user/drain/recording.h"
#include "user/drain/records.h"

/* Records of a block, unless one is longer by itself. Half of it costs 3 % more bytes. */
#define FILL_BYTES (128 << 10)
#define RAW_BYTES (FILL_BYTES > RECORD_MAX_BYTES ? FILL_BYTES : RECORD_MAX_BYTES)
#define LEVEL 1
#define WINDOW_BITS (-15) /* the largest; no zlib header, for a block has its own checksum */
#define MEM_LEVEL 8

struct block_writer {
	z_stream z;
	uint32_t number;
	uint32_t len;		/* of raw */
	uint64_t flushed_at_ns; /* when the last block was written */
	unsigned char *packed;
	size_t packed_size;
	uint64_t raw[RAW_BYTES / sizeof(uint64_t)];
};

_Static_assert(RAW_BYTES <= KRAIT_BLOCK_BYTES, "recording: block");
_Static_assert(RAW_BYTES % sizeof(uint64_t) == 0, "recording: block");

static void put(struct recording_writer *w, const void *bytes, size_t len)
{
	if (!w->err && fwrite(bytes, 1, len, w->out) != len)
		w->err = errno ? -errno : -EIO;
}

static uint32_t crc_of(const struct krait_block *head, const void *packed)
{
	uint32_t crc = crc32(0, (const Bytef *)head, offsetof(struct krait_block, crc32));

	crc = crc32(crc, (const Bytef *)&head->until_ns, sizeof(head->until_ns));
	return crc32(crc, packed, head->packed_bytes);
}

/* Writes the block that has been gathered, and has it leave this process. */
static void flush_block(struct recording_writer *w)
{
	struct block_writer *b = w->block;
	struct krait_block head = {
		.raw_bytes = b->len,
		.number = b->number++,
		.until_ns = clock_ns(CLOCK_MONOTONIC),
	};

	deflateReset(&b->z);
	b->z.next_in = (Bytef *)b->raw;
	b->z.avail_in = b->len;
	b->z.next_out = b->packed;
	b->z.avail_out = b->packed_size;
	if (deflate(&b->z, Z_FINISH) != Z_STREAM_END && !w->err)
		w->err = -EIO; /* which deflateBound rules out */
	head.packed_bytes = b->z.total_out;
	head.crc32 = crc_of(&head, b->packed);
	put(w, &head, sizeof(head));
	put(w, b->packed, head.packed_bytes);
	if (!w->err && fflush(w->out) != 0)
		w->err = errno ? -errno : -EIO;
	b->len = 0;
	b->flushed_at_ns = head.until_ns;
}

/* Room for a record in the block; NULL after an error. */
static void *room_for(struct recording_writer *w, uint32_t bytes)
{
	struct block_writer *b = w->block;

	if (w->err)
		return NULL;
	if (b->len && b->len + bytes > FILL_BYTES)
		flush_block(w);
	return (char *)b->raw + b->len;
}

static struct block_writer *block_writer_new(void)
{
	struct block_writer *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	if (deflateInit2(&b->z, LEVEL, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL, Z_DEFAULT_STRATEGY) !=
	    Z_OK) {
		free(b);
		return NULL;
	}
	b->packed_size = deflateBound(&b->z, sizeof(b->raw));
	b->packed = malloc(b->packed_size);
	if (b->packed)
		return b;
	deflateEnd(&b->z);
	free(b);
	return NULL;
}

void recording_start(struct recording_writer *w, FILE *out, const struct krait_head_rec *head)
{
	struct krait_recording_start start = {.version = KRAIT_RECORDING_VERSION};
	struct krait_head_rec rec = *head;

	*w = (struct recording_writer){.out = out, .block = block_writer_new()};
	if (!w->block) {
		w->err = -ENOMEM;
		return;
	}
	memcpy(start.magic, RECORDING_MAGIC, sizeof(start.magic));
	start.crc32 =
		crc32(0, (const Bytef *)&start, offsetof(struct krait_recording_start, crc32));
	put(w, &start, sizeof(start));
	rec.h = (struct krait_hdr){.kind = KRAIT_HEAD, .bytes = sizeof(rec)};
	recording_add(w, &rec.h);
	flush_block(w);
}

void recording_add(struct recording_writer *w, const struct krait_hdr *rec)
{
	void *room = room_for(w, rec->bytes);

	if (!room)
		return;
	memcpy(room, rec, rec->bytes);
	w->block->len += rec->bytes;
}

void recording_tick(struct recording_writer *w, uint64_t now_ns)
{
	if (!w->err && w->block->len && now_ns >= w->block->flushed_at_ns + RECORDING_FLUSH_NS)
		flush_block(w);
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
	if (!w->err)
		flush_block(w);
	return w->err;
}

void recording_release(struct recording_writer *w)
{
	if (w->block) {
		deflateEnd(&w->block->z);
		free(w->block->packed);
		free(w->block);
	}
	*w = (struct recording_writer){0};
}
