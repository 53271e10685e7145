/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The recording, .krait: the validated records of a run as they came, so that any format can be
 * made of them later, without root, BPF or the processes. docs/recording.md describes every byte.
 *
 *	struct krait_recording_start
 *	blocks		struct krait_block, and records (bpf/abi/record.h), deflated together: the
 *			first is KRAIT_HEAD, then they are as they arrived, the last is KRAIT_TAIL
 *
 * A block is whole by itself and has a checksum, and is in the file five seconds after its
 * first record at the latest. So a file that ends anywhere, because krait was killed or still runs,
 * reads up to its last whole block. Files of version 3 are read too (recording_v3.c).
 *
 * Compression is zlib's fastest: of varied work (82 bytes a sample) it leaves 0.23, for 0.3 to 0.5
 * us of CPU a sample; level 6 leaves a tenth less, for three times the time.
 */
#ifndef KRAIT_DRAIN_RECORDING_H
#define KRAIT_DRAIN_RECORDING_H

#include <stdint.h>
#include <stdio.h>

#include "bpf/abi/ledger.h"
#include "bpf/abi/record.h"

#define RECORDING_MAGIC                                                                            \
	"krait\x1a\r\n" /* no text file starts so, and a transfer in text mode breaks it */
#define RECORDING_FLUSH_NS 3900000000ULL /* the fourth tick after */

/* ---- Writing: in the background, in bounded memory (blocks.h) ---- */

struct recording_writer;

/*
 * Starts a recording on `out` (borrowed), with its head in a block of its own, which is written at
 * once. The record's header is filled in here. NULL with errno: no memory. Whether the writing
 * fails, recording_err tells.
 */
struct recording_writer *recording_start(FILE *out, const struct krait_head_rec *head);
/* Adds one record, already checked. It may take as long as the disk does, if much waits to be
 * written. */
void recording_add(struct recording_writer *w, const struct krait_hdr *rec);
/* To be called each second: has written what has come, if the last block is RECORDING_FLUSH_NS old.
 */
void recording_tick(struct recording_writer *w, uint64_t now_ns);
/* Has written what has come, soon. */
void recording_flush(struct recording_writer *w);
/* Waits until all that was flushed is in the file. 0 or the first -errno. In whatever thread. */
int recording_sync(struct recording_writer *w);
/* The first error so far, -errno, or 0. After one nothing more is written. */
int recording_err(const struct recording_writer *w);
/* CPU time that the writing has taken in the background. */
uint64_t recording_cpu_ns(const struct recording_writer *w);
/* For how long recording_add has waited for the disk. */
uint64_t recording_held_ns(const struct recording_writer *w);
/* Writes the tail, and waits until all is in the file; `counters` are KRAIT_CNT_CNT by number. 0 or
 * the first -errno. */
int recording_finish(struct recording_writer *w, uint64_t duration_ns, const uint64_t *counters);
/* From now on `out` is not used any more: when what was flushed is written, or after an error. 0 or
 * the first -errno. */
int recording_stop(struct recording_writer *w);
/* Stops it and frees it. NULL is legal. */
void recording_free(struct recording_writer *w);

/* ---- Reading ---- */

struct recording_tail {
	uint64_t duration_ns;
	/* By number. That of KRAIT_LOSS_NONE is of the ticks lost for reasons that a newer krait
	 * has and this one does not know. */
	uint64_t counters[KRAIT_CNT_CNT];
};

/* What recording_read calls, in file order. Nonzero ends the reading and is returned. Of the
 * records every one passes record_check (records.h); pointers are the reader's. */
struct recording_visitor {
	int (*on_head)(const struct krait_head_rec *head, void *arg);
	int (*on_record)(const struct krait_hdr *rec, void *arg);
	int (*on_tail)(const struct recording_tail *tail, void *arg);
	/* Instead of on_tail: the file ends, or is damaged, behind so many whole blocks; `until_ns`
	 * (CLOCK_MONOTONIC) is when the last of them was gathered. One line has said it. */
	int (*on_cut)(uint64_t until_ns, void *arg);
	void *arg;
};

/*
 * Reads the recording at `path`, or of "-" the one on stdin, to its end or to where it is no longer
 * whole. 0; or -errno, and what is wrong with the file (not a recording, of another version,
 * without a whole head) has been logged in one line. How much a newer krait has put into it that
 * this one does not know is a warning of one line. Of a file of version 3, which has one checksum
 * at its end, what is not whole is refused, after visitors may have seen records of it.
 */
int recording_read(const char *path, const struct recording_visitor *visitor);

/* ---- Between the readers ---- */

struct recording_input {
	const char *path; /* for messages */
	FILE *in;	  /* behind start */
	struct krait_recording_start start;
	const struct recording_visitor *visitor;
};

/* A file of version 3, whose start has been read. 0 or -errno, logged. */
int recording_read_v3(struct recording_input *input);
/* Says what is wrong with it. -EBADMSG. */
int recording_refuse(const struct recording_input *input, const char *what);

#endif
