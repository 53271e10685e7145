/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The recording, .krait: the validated records of a run as they came, so that any format can be
 *made of them later, without root, BPF or the processes.
 *
 *	struct recording_head	magic, versions, how and where the run was made
 *	records			as in bpf/abi/record.h, in the order of arrival
 *	struct recording_tail	duration, the kernel's counters, CRC-32 of all before it
 *
 * Host endian, not compressed (gzip makes it small; writing must stay cheap). A file without its
 *tail is refused as truncated.
 */
#ifndef KRAIT_DRAIN_RECORDING_H
#define KRAIT_DRAIN_RECORDING_H

#include <stdint.h>
#include <stdio.h>

#include "bpf/abi/ledger.h"
#include "bpf/abi/record.h"

#define RECORDING_MAGIC                                                                            \
	"krait\x1a\r\n" /* no text file starts so, and a transfer in text mode breaks it */
#define RECORDING_TAIL_KIND 0x7e6b

struct recording_head {
	char magic[8];
	__u32 abi_version; /* KRAIT_ABI_VERSION */
	__u32 freq_hz;
	__u64 start_unix_ns; /* UTC */
	__u64 start_mono_ns; /* CLOCK_MONOTONIC at the same moment; what records carry */
	__u32 cpu_cnt;
	__u32 pad;
	char host[64];	  /* uname nodename; NUL-terminated, as all texts here */
	char kernel[64];  /* uname release */
	char target[256]; /* "all", "pid 12", "comm x", or the command */
};

struct recording_tail {
	struct krait_hdr h; /* kind RECORDING_TAIL_KIND */
	__u64 duration_ns;
	uint64_t counters[KRAIT_CNT_CNT]; /* for the visitor by enum krait_counter; in a file see
					     recording.c */
	__u32 crc32;			  /* of everything before this field */
	__u32 pad;
};

_Static_assert(sizeof(struct recording_head) == 424, "recording head");
_Static_assert(sizeof(struct recording_tail) % 8 == 0, "recording tail");

/* ---- Writing ---- */

struct recording_writer {
	FILE *out;
	uint32_t crc32;
	int err; /* the first error, -errno */
};

/* Starts a recording on `out` (borrowed). Errors are kept and come back from recording_finish. */
void recording_start(struct recording_writer *w, FILE *out, const struct recording_head *head);
/* Adds one record, already checked. */
void recording_add(struct recording_writer *w, const struct krait_hdr *rec);
/* Writes the tail. 0 or the first -errno. */
int recording_finish(struct recording_writer *w, uint64_t duration_ns, const uint64_t *counters);

/* ---- Reading ---- */

/* What recording_read calls, in file order. Nonzero ends the reading and is returned. */
struct recording_visitor {
	int (*on_head)(const struct recording_head *head, void *arg);
	int (*on_record)(const struct krait_hdr *rec, void *arg);
	int (*on_tail)(const struct recording_tail *tail, void *arg);
	void *arg;
};

/* Reads the recording at `path`, or of "-" the one on stdin, to its end. 0; or -errno, and what is
 * wrong with the file (not a recording, of another version, truncated, damaged) has been logged in
 * one line. Visitors may have seen records before damage shows at the end. */
int recording_read(const char *path, const struct recording_visitor *visitor);

#endif
