// SPDX-License-Identifier: BSD-2-Clause
/*
 * Recordings of version 3, as krait wrote them until 4:
 *
 *	struct head	magic, version, how and where the run was made
 *	records		as in bpf/abi/record.h, not compressed
 *	a tail		duration, counters in the order of their numbers, CRC-32 of all before it
 *
 * What the file claims of itself is held against it at its end, so one without its tail is refused.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "user/base/log.h"
#include "user/drain/recording.h"
#include "user/drain/records.h"

#define READ_BYTES (1 << 20)
#define TAIL_KIND 0x7e6b
#define LEAST_COUNTERS 27 /* in a tail; a later krait of the version had one more */
#define MOST_COUNTERS 28
/* A frame's mark was the place of its reason in a list. Of those ever written one has another
 * number since. */
#define MARK_CODE_TOO_MUCH 17

struct head {
	char magic[8];
	__u32 version;
	__u32 freq_hz;
	__u64 start_unix_ns;
	__u64 start_mono_ns;
	__u32 cpu_cnt;
	__u32 pad;
	char host[64];
	char kernel[64];
	char target[256];
};

/* Then the counters, and a struct tail_end. */
struct tail {
	struct krait_hdr h;
	__u64 duration_ns;
};

struct tail_end {
	__u32 crc32; /* of everything before this field */
	__u32 pad;
};

_Static_assert(sizeof(struct head) == 424, "version 3: head");
_Static_assert(sizeof(struct tail) == 16, "version 3: tail");

/* A file being read in large pieces: buf[at .. len) is unread, and starts at a record. */
struct reader {
	const struct recording_input *input;
	uint32_t crc32;
	char *buf;
	size_t at, len;
	size_t summed;	/* so much of buf is in crc32 */
	bool has_ended; /* the file has no more */
	bool has_tail;
};

/* Adds what was read to the checksum; in large pieces, which is several times faster. */
static void sum(struct reader *r)
{
	r->crc32 = crc32(r->crc32, (const Bytef *)r->buf + r->summed, r->at - r->summed);
	r->summed = r->at;
}

/* Makes at least `want` bytes unread ones, if the file has them. */
static int fill(struct reader *r, size_t want)
{
	FILE *in = r->input->in;

	if (r->len - r->at >= want || r->has_ended)
		return 0;
	sum(r);
	memmove(r->buf, r->buf + r->at, r->len - r->at);
	r->len -= r->at;
	r->at = r->summed = 0;
	r->len += fread(r->buf + r->len, 1, READ_BYTES - r->len, in);
	if (ferror(in)) {
		log_error("report: read %s: %s", r->input->path, strerror(errno));
		return -EIO;
	}
	r->has_ended = feof(in);
	return 0;
}

static bool is_text(const char *field, size_t size)
{
	return memchr(field, '\0', size) != NULL;
}

static int show_head(const struct reader *r, const struct head *from)
{
	struct krait_head_rec head = {
		.h = {.kind = KRAIT_HEAD, .bytes = sizeof(head)},
		.start_unix_ns = from->start_unix_ns,
		.start_mono_ns = from->start_mono_ns,
		.freq_hz = from->freq_hz,
		.cpu_cnt = from->cpu_cnt,
	};

	_Static_assert(sizeof(head.host) == sizeof(from->host), "version 3: host");
	_Static_assert(sizeof(head.kernel) == sizeof(from->kernel), "version 3: kernel");
	_Static_assert(sizeof(head.target) == sizeof(from->target), "version 3: target");
	memcpy(head.host, from->host, sizeof(head.host));
	memcpy(head.kernel, from->kernel, sizeof(head.kernel));
	memcpy(head.target, from->target, sizeof(head.target));
	return r->input->visitor->on_head(&head, r->input->visitor->arg);
}

static int read_head(struct reader *r)
{
	struct head head;

	if (fill(r, sizeof(head)) != 0)
		return -EIO;
	if (r->len < sizeof(head))
		return recording_refuse(r->input, "truncated in its head; copy or record it again");
	memcpy(&head, r->buf, sizeof(head));
	if (!is_text(head.host, sizeof(head.host)) || !is_text(head.kernel, sizeof(head.kernel)) ||
	    !is_text(head.target, sizeof(head.target)) || !head.freq_hz)
		return recording_refuse(r->input, "damaged head; copy or record it again");
	r->at += sizeof(head);
	return show_head(r, &head);
}

/* How many counters a tail of so many bytes has; 0: there is no such tail. */
static uint32_t tail_counters(uint32_t bytes)
{
	uint32_t cnt = (bytes - sizeof(struct tail) - sizeof(struct tail_end)) / sizeof(uint64_t);

	if (bytes % 8 || cnt < LEAST_COUNTERS || cnt > MOST_COUNTERS)
		return 0;
	return cnt;
}

static int read_tail(struct reader *r)
{
	struct recording_tail to = {};
	struct tail tail;
	struct tail_end end;
	uint32_t cnt, bytes;

	if (fill(r, READ_BYTES) != 0)
		return -EIO;
	if (r->len - r->at < sizeof(tail))
		return recording_refuse(r->input, "truncated in its tail; copy or record it again");
	memcpy(&tail, r->buf + r->at, sizeof(tail));
	cnt = tail_counters(tail.h.bytes);
	if (!cnt)
		return recording_refuse(
			r->input,
			"damaged: its tail has no length of one; copy or record it again");
	bytes = sizeof(tail) + cnt * sizeof(uint64_t);
	if (r->len - r->at < bytes + sizeof(end))
		return recording_refuse(r->input, "truncated in its tail; copy or record it again");
	to.duration_ns = tail.duration_ns;
	memcpy(to.counters, r->buf + r->at + sizeof(tail), cnt * sizeof(uint64_t));
	to.counters[KRAIT_LOSS_NONE] = 0; /* stored, and of nothing */
	memcpy(&end, r->buf + r->at + bytes, sizeof(end));
	r->at += bytes;
	sum(r);
	if (end.crc32 != r->crc32)
		return recording_refuse(
			r->input, "damaged: its checksum does not match; copy or record it again");
	/* The visitor has seen one recording; two in one file would lose the second in silence. */
	if (r->len - r->at > sizeof(end))
		return recording_refuse(r->input,
					"damaged: more follows its end; copy or record it again");
	r->has_tail = true;
	return r->input->visitor->on_tail(&to, r->input->visitor->arg);
}

/* Marks in their numbers of today. The checksum is of the file as it is, so it comes first. */
static void renumber_marks(struct reader *r, struct krait_stack_rec *rec)
{
	struct krait_frame *frames = (struct krait_frame *)(rec + 1);

	sum(r);
	for (uint32_t i = 0; i < rec->frame_cnt; i++)
		if (frames[i].mark == MARK_CODE_TOO_MUCH)
			frames[i].mark = KRAIT_FAULT_CODE_TOO_MUCH;
}

/* Reads one record or the tail. */
static int read_next(struct reader *r)
{
	const struct recording_visitor *visitor = r->input->visitor;
	struct krait_hdr *h;
	size_t bytes;
	int err = fill(r, RECORD_MAX_BYTES);

	if (err)
		return err;
	h = (void *)(r->buf + r->at);
	if (r->len - r->at >= sizeof(*h) && h->kind == TAIL_KIND)
		return read_tail(r);
	bytes = record_check(h, r->len - r->at);
	if (!bytes && (r->len - r->at < sizeof(*h) || h->bytes > r->len - r->at))
		return recording_refuse(r->input, "truncated; copy or record it again");
	if (!bytes)
		return recording_refuse(
			r->input, "damaged: a record in it is malformed; copy or record it again");
	r->at += bytes;
	if (h->kind == KRAIT_STACK)
		renumber_marks(r, (void *)h);
	return visitor->on_record(h, visitor->arg);
}

int recording_read_v3(struct recording_input *input)
{
	struct reader r = {.input = input, .buf = malloc(READ_BYTES)};
	int err;

	if (!r.buf)
		return -ENOMEM;
	memcpy(r.buf, &input->start, sizeof(input->start));
	r.len = sizeof(input->start);
	err = read_head(&r);
	while (!err && !r.has_tail)
		err = read_next(&r);
	free(r.buf);
	return err;
}
