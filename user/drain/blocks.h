/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks of a recording (recording.h), deflated and written by a second thread, so that a disk that
 * stalls holds nobody up. They wait in memory for it, BLOCKS_WAITING_MAX of them. Who has filled
 * more waits: what is sampled meanwhile stays in the kernel's rings, and when those are full the
 * ledger tells of each tick that is lost, and the end of the run of how long it waited.
 *
 * At 9,999 Hz a CPU of varied work sends 0.8 MB of records a second, at 99 Hz 8 KB: so that is for
 * two seconds of ten CPUs at the one rate, and of a thousand at the other.
 */
#ifndef KRAIT_DRAIN_BLOCKS_H
#define KRAIT_DRAIN_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "user/drain/records.h"

/* Records of a block, unless one is longer by itself. Half of it costs 3 % more bytes. */
#define BLOCK_FILL_BYTES (128 << 10)
#define BLOCK_RAW_BYTES (BLOCK_FILL_BYTES > RECORD_MAX_BYTES ? BLOCK_FILL_BYTES : RECORD_MAX_BYTES)
#define BLOCKS_WAITING_MAX 128 /* 17 MB */

struct block {
	struct block *next;
	uint64_t until_ns; /* when it was full */
	uint32_t number;
	uint32_t len; /* of raw */
	uint64_t raw[BLOCK_RAW_BYTES / sizeof(uint64_t)];
};

struct blocks;

/* Nothing is written yet. `out` is borrowed until blocks_stop. NULL: no memory. */
struct blocks *blocks_new(FILE *out);
/* Stops first. NULL is legal. */
void blocks_free(struct blocks *bs);

/* An empty block, the caller's until blocks_put or free. It may take as long as the disk does, if
 * too many wait. NULL after an error. */
struct block *blocks_get(struct blocks *bs);
/* Takes the first block, and writes it behind the file's first bytes, in the caller's thread: so it
 * is known at once if nothing can be. */
void blocks_begin(struct blocks *bs, const void *bytes, size_t len, struct block *b);
/* Takes a block and has it written. The first one starts the thread, which then has what the caller
 * is allowed, and signals as the caller has them. */
void blocks_put(struct blocks *bs, struct block *b);
/* How many are not written yet. */
uint32_t blocks_waiting(struct blocks *bs);

/* The first error so far, -errno; after it nothing is written. From any thread. */
int blocks_err(const struct blocks *bs);
/* Waits until all that were put before are written. 0 or the first -errno. From any thread. */
int blocks_sync(struct blocks *bs);
/* Has the thread end, when all is written or after an error. 0 or the first -errno. */
int blocks_stop(struct blocks *bs);
/* CPU time of the thread. */
uint64_t blocks_cpu_ns(const struct blocks *bs);
/* For how long blocks_get has waited until now. */
uint64_t blocks_held_ns(struct blocks *bs);

#endif
