// SPDX-License-Identifier: BSD-2-Clause
/*
 * All of a block is deflated at once: zlib's tables are 250 KB, which have left the caches when
 * krait wakes up again. Deflating a quarter of a second's records each time took 1.3 us of CPU a
 * sample instead of 0.5. A smaller window or fewer hash bits would save 100 KB, and take a fifth
 * more.
 */
#include "user/drain/blocks.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <zlib.h>

#include "user/base/background.h"
#include "user/base/clock.h"

#define LEVEL 1
#define WINDOW_BITS (-15) /* the largest; no zlib header, for a block has its own checksum */
#define MEM_LEVEL 8

_Static_assert(BLOCK_RAW_BYTES <= KRAIT_BLOCK_BYTES, "recording: block");
_Static_assert(BLOCK_RAW_BYTES % sizeof(uint64_t) == 0, "recording: block");

struct blocks {
	/* The thread's, while it runs. */
	FILE *out;
	z_stream z;
	unsigned char *packed;
	size_t packed_size;

	struct background thread;
	atomic_int err;
	_Atomic(uint64_t) cpu_ns;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* what is below, which the lock is for, or err */
	struct block *first, *last, *spare;
	uint64_t put_cnt, written_cnt;
	uint64_t held_ns, held_since_ns; /* since: 0, blocks_get does not wait */
	bool is_ending;
};

/* ---- A block ---- */

static uint32_t crc_of(const struct krait_block *head, const void *packed)
{
	uint32_t crc = crc32(0, (const Bytef *)head, offsetof(struct krait_block, crc32));

	crc = crc32(crc, (const Bytef *)&head->until_ns, sizeof(head->until_ns));
	return crc32(crc, packed, head->packed_bytes);
}

/* Into bs->packed. So many bytes; 0, which deflateBound rules out, if it does not end. */
static uint32_t pack(struct blocks *bs, const struct block *b)
{
	z_stream *z = &bs->z;

	deflateReset(z);
	z->next_in = (Bytef *)b->raw;
	z->avail_in = b->len;
	z->next_out = bs->packed;
	z->avail_out = bs->packed_size;
	return deflate(z, Z_FINISH) == Z_STREAM_END ? z->total_out : 0;
}

/* Has it leave this process. 0 or -errno. */
static int write_block(struct blocks *bs, const struct block *b)
{
	struct krait_block head = {
		.packed_bytes = pack(bs, b),
		.raw_bytes = b->len,
		.number = b->number,
		.until_ns = b->until_ns,
	};

	if (!head.packed_bytes)
		return -EIO;
	head.crc32 = crc_of(&head, bs->packed);
	if (fwrite(&head, 1, sizeof(head), bs->out) == sizeof(head) &&
	    fwrite(bs->packed, 1, head.packed_bytes, bs->out) == head.packed_bytes &&
	    fflush(bs->out) == 0)
		return 0;
	return errno ? -errno : -EIO;
}

/* ---- The thread ---- */

static void fail(struct blocks *bs, int err)
{
	pthread_mutex_lock(&bs->lock);
	atomic_store(&bs->err, err);
	pthread_cond_broadcast(&bs->changed);
	pthread_mutex_unlock(&bs->lock);
}

/* The next one to write, or NULL: there will be none. */
static struct block *wait_for_block(struct blocks *bs)
{
	struct block *b;

	pthread_mutex_lock(&bs->lock);
	while (!bs->first && !bs->is_ending)
		pthread_cond_wait(&bs->changed, &bs->lock);
	b = bs->first;
	pthread_mutex_unlock(&bs->lock);
	return b;
}

/* One is kept, so that its pages need not be made anew each time. */
static void done_with_first(struct blocks *bs)
{
	struct block *b;

	pthread_mutex_lock(&bs->lock);
	b = bs->first;
	bs->first = b->next;
	bs->written_cnt++;
	if (!bs->spare) {
		bs->spare = b;
		b = NULL;
	}
	pthread_cond_broadcast(&bs->changed);
	pthread_mutex_unlock(&bs->lock);
	free(b);
}

static void write_blocks(void *arg)
{
	struct blocks *bs = arg;
	const struct block *b;

	while (!blocks_err(bs) && (b = wait_for_block(bs))) {
		int err = write_block(bs, b);

		atomic_store(&bs->cpu_ns, clock_ns(CLOCK_THREAD_CPUTIME_ID));
		if (err)
			fail(bs, err);
		else
			done_with_first(bs);
	}
}

/* ---- Who fills them ---- */

static uint64_t held_now(const struct blocks *bs)
{
	return bs->held_since_ns ? clock_ns(CLOCK_MONOTONIC) - bs->held_since_ns : 0;
}

static bool is_full(const struct blocks *bs)
{
	return !blocks_err(bs) && bs->put_cnt - bs->written_cnt >= BLOCKS_WAITING_MAX;
}

/* Holding the lock. */
static void wait_for_room(struct blocks *bs)
{
	if (!is_full(bs))
		return;
	bs->held_since_ns = clock_ns(CLOCK_MONOTONIC);
	while (is_full(bs))
		pthread_cond_wait(&bs->changed, &bs->lock);
	bs->held_ns += held_now(bs);
	bs->held_since_ns = 0;
}

struct block *blocks_get(struct blocks *bs)
{
	struct block *b;

	pthread_mutex_lock(&bs->lock);
	wait_for_room(bs);
	b = bs->spare;
	bs->spare = NULL;
	pthread_mutex_unlock(&bs->lock);
	b = b ?: malloc(sizeof(*b));
	if (!b) {
		fail(bs, -ENOMEM);
		return NULL;
	}
	if (blocks_err(bs)) {
		free(b);
		return NULL;
	}
	b->len = 0;
	return b;
}

void blocks_begin(struct blocks *bs, const void *bytes, size_t len, struct block *b)
{
	int err = fwrite(bytes, 1, len, bs->out) == len ? write_block(bs, b) : -EIO;

	if (err)
		fail(bs, err);
	bs->spare = b;
}

void blocks_put(struct blocks *bs, struct block *b)
{
	int err;

	b->next = NULL;
	pthread_mutex_lock(&bs->lock);
	if (bs->first)
		bs->last->next = b;
	else
		bs->first = b;
	bs->last = b;
	bs->put_cnt++;
	pthread_cond_broadcast(&bs->changed);
	pthread_mutex_unlock(&bs->lock);
	err = bs->thread.is_started ? 0 : background_start(&bs->thread, write_blocks, bs);
	if (err)
		fail(bs, err);
}

uint32_t blocks_waiting(struct blocks *bs)
{
	uint32_t cnt;

	pthread_mutex_lock(&bs->lock);
	cnt = bs->put_cnt - bs->written_cnt;
	pthread_mutex_unlock(&bs->lock);
	return cnt;
}

int blocks_err(const struct blocks *bs)
{
	return atomic_load(&bs->err);
}

uint64_t blocks_cpu_ns(const struct blocks *bs)
{
	return atomic_load(&bs->cpu_ns);
}

uint64_t blocks_held_ns(struct blocks *bs)
{
	uint64_t ns;

	pthread_mutex_lock(&bs->lock);
	ns = bs->held_ns + held_now(bs);
	pthread_mutex_unlock(&bs->lock);
	return ns;
}

int blocks_sync(struct blocks *bs)
{
	uint64_t goal;

	pthread_mutex_lock(&bs->lock);
	goal = bs->put_cnt;
	while (!blocks_err(bs) && bs->written_cnt < goal)
		pthread_cond_wait(&bs->changed, &bs->lock);
	pthread_mutex_unlock(&bs->lock);
	return blocks_err(bs);
}

int blocks_stop(struct blocks *bs)
{
	pthread_mutex_lock(&bs->lock);
	bs->is_ending = true;
	pthread_cond_broadcast(&bs->changed);
	pthread_mutex_unlock(&bs->lock);
	background_wait(&bs->thread);
	return blocks_err(bs);
}

/* ---- Life ---- */

/* All that it allocates; the thread then needs no memory of its own. */
static bool make_deflater(struct blocks *bs)
{
	if (deflateInit2(&bs->z, LEVEL, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL, Z_DEFAULT_STRATEGY) !=
	    Z_OK)
		return false;
	bs->packed_size = deflateBound(&bs->z, BLOCK_RAW_BYTES);
	bs->packed = malloc(bs->packed_size);
	if (!bs->packed)
		deflateEnd(&bs->z);
	return bs->packed != NULL;
}

struct blocks *blocks_new(FILE *out)
{
	struct blocks *bs = calloc(1, sizeof(*bs));

	if (!bs || !make_deflater(bs)) {
		free(bs);
		return NULL;
	}
	bs->out = out;
	pthread_mutex_init(&bs->lock, NULL);
	pthread_cond_init(&bs->changed, NULL);
	return bs;
}

void blocks_free(struct blocks *bs)
{
	if (!bs)
		return;
	blocks_stop(bs);
	while (bs->first) {
		struct block *next = bs->first->next;

		free(bs->first);
		bs->first = next;
	}
	free(bs->spare);
	pthread_cond_destroy(&bs->changed);
	pthread_mutex_destroy(&bs->lock);
	deflateEnd(&bs->z);
	free(bs->packed);
	free(bs);
}
