// SPDX-License-Identifier: BSD-2-Clause
/*
 * Writing and reading recordings.
 *
 * A recording is input like any other: its lengths are checked, its texts are cut at their fields,
 * and what it claims of itself is held against the file (the tail, then the checksum).
 */
#include "user/drain/recording.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "user/base/log.h"
#include "user/drain/records.h"

#define READ_BYTES (1 << 20)

/* The counters are stored in the order of their numbers: what is new comes last, so that a file of
 * an older krait has the first of them. Version 3 began with so many. */
#define STORED_LEAST 27

static void put(struct recording_writer *w, const void *bytes, size_t len)
{
	w->crc32 = crc32(w->crc32, bytes, len);
	if (!w->err && fwrite(bytes, 1, len, w->out) != len)
		w->err = errno ? -errno : -EIO;
}

void recording_start(struct recording_writer *w, FILE *out, const struct recording_head *head)
{
	*w = (struct recording_writer){.out = out};
	put(w, head, sizeof(*head));
}

void recording_add(struct recording_writer *w, const struct krait_hdr *rec)
{
	put(w, rec, rec->bytes);
}

int recording_finish(struct recording_writer *w, uint64_t duration_ns, const uint64_t *counters)
{
	struct recording_tail tail = {
		.h = {.kind = RECORDING_TAIL_KIND, .bytes = sizeof(tail)},
		.duration_ns = duration_ns,
	};

	for (int i = 0; i < KRAIT_CNT_CNT; i++)
		tail.counters[i] = counters[i];
	put(w, &tail, offsetof(struct recording_tail, crc32));
	tail.crc32 = w->crc32;
	put(w, &tail.crc32, sizeof(tail) - offsetof(struct recording_tail, crc32));
	return w->err;
}

/* A file being read in large pieces: buf[at .. len) is unread, and starts at a record. */
struct reader {
	const char *path;
	const struct recording_visitor *visitor;
	FILE *in;
	uint32_t crc32;
	char *buf;
	size_t at, len;
	size_t summed;	/* so much of buf is in crc32 */
	bool has_ended; /* the file has no more */
	bool has_tail;
};

static int refuse(const struct reader *r, const char *what)
{
	log_error("report: read %s: %s", r->path, what);
	return -EBADMSG;
}

/* Adds what was read to the checksum; in large pieces, which is several times faster. */
static void sum(struct reader *r)
{
	r->crc32 = crc32(r->crc32, (const Bytef *)r->buf + r->summed, r->at - r->summed);
	r->summed = r->at;
}

/* Makes at least `want` bytes unread ones, if the file has them. */
static int fill(struct reader *r, size_t want)
{
	if (r->len - r->at >= want || r->has_ended)
		return 0;
	sum(r);
	memmove(r->buf, r->buf + r->at, r->len - r->at);
	r->len -= r->at;
	r->at = r->summed = 0;
	r->len += fread(r->buf + r->len, 1, READ_BYTES - r->len, r->in);
	if (ferror(r->in)) {
		log_error("report: read %s: %s", r->path, strerror(errno));
		return -EIO;
	}
	r->has_ended = feof(r->in);
	return 0;
}

static bool is_text(const char *field, size_t size)
{
	return memchr(field, '\0', size) != NULL;
}

static int read_head(struct reader *r)
{
	struct recording_head head;

	if (fill(r, sizeof(head)) != 0)
		return -EIO;
	if (r->len < sizeof(head.magic) || memcmp(r->buf, RECORDING_MAGIC, sizeof(head.magic)) != 0)
		return refuse(r, "not a krait recording (make one with krait record -o x.krait)");
	if (r->len < sizeof(head))
		return refuse(r, "truncated in its head; copy or record it again");
	memcpy(&head, r->buf, sizeof(head));
	if (head.abi_version != KRAIT_ABI_VERSION) {
		log_error("report: read %s: recording version %u, this krait reads %u; use the "
			  "krait that made it",
			  r->path, head.abi_version, KRAIT_ABI_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (!is_text(head.host, sizeof(head.host)) || !is_text(head.kernel, sizeof(head.kernel)) ||
	    !is_text(head.target, sizeof(head.target)) || !head.freq_hz)
		return refuse(r, "damaged head; copy or record it again");
	r->at += sizeof(head);
	return r->visitor->on_head(&head, r->visitor->arg);
}

#define TAIL_HEAD_BYTES offsetof(struct recording_tail, counters)
#define TAIL_END_BYTES (sizeof(struct recording_tail) - offsetof(struct recording_tail, crc32))

/* How many counters a tail of so many bytes has; 0: there is no such tail. */
static uint32_t tail_counters(uint32_t bytes)
{
	uint32_t cnt = (bytes - TAIL_HEAD_BYTES - TAIL_END_BYTES) / sizeof(uint64_t);

	if (bytes % 8 || bytes > sizeof(struct recording_tail) || cnt > KRAIT_CNT_CNT)
		return 0;
	return cnt < STORED_LEAST ? 0 : cnt;
}

static int read_tail(struct reader *r)
{
	struct recording_tail tail = {};
	uint32_t cnt, bytes;

	if (fill(r, sizeof(tail)) != 0)
		return -EIO;
	if (r->len - r->at < TAIL_HEAD_BYTES)
		return refuse(r, "truncated in its tail; copy or record it again");
	memcpy(&tail, r->buf + r->at, TAIL_HEAD_BYTES);
	cnt = tail_counters(tail.h.bytes);
	if (!cnt)
		return refuse(r, "damaged: its tail has no length of one; copy or record it again");
	bytes = TAIL_HEAD_BYTES + cnt * sizeof(uint64_t);
	if (r->len - r->at < bytes + TAIL_END_BYTES)
		return refuse(r, "truncated in its tail; copy or record it again");
	for (uint32_t i = 0; i < cnt; i++)
		memcpy(&tail.counters[i], r->buf + r->at + TAIL_HEAD_BYTES + i * sizeof(uint64_t),
		       sizeof(uint64_t));
	memcpy(&tail.crc32, r->buf + r->at + bytes, sizeof(tail.crc32));
	r->at += bytes;
	sum(r);
	if (tail.crc32 != r->crc32)
		return refuse(r, "damaged: its checksum does not match; copy or record it again");
	/* The visitor has seen one recording; two in one file would lose the second in silence. */
	if (r->len - r->at > TAIL_END_BYTES)
		return refuse(r, "damaged: more follows its end; copy or record it again");
	r->has_tail = true;
	return r->visitor->on_tail(&tail, r->visitor->arg);
}

/* Up to version 3 the mark of a frame was the place of its reason in a list. Of those ever written
 * one is another number since. */
#define MARK_CODE_TOO_MUCH_V3 17

/* Marks in their numbers of today. The checksum is of the file as it is, so it comes first. */
static void renumber_marks(struct reader *r, struct krait_stack_rec *rec)
{
	struct krait_frame *frames = (struct krait_frame *)(rec + 1);

	sum(r);
	for (uint32_t i = 0; i < rec->frame_cnt; i++)
		if (frames[i].mark == MARK_CODE_TOO_MUCH_V3)
			frames[i].mark = KRAIT_FAULT_CODE_TOO_MUCH;
}

/* Reads one record or the tail. */
static int read_next(struct reader *r)
{
	struct krait_hdr *h;
	size_t bytes;
	int err = fill(r, RECORD_MAX_BYTES);

	if (err)
		return err;
	h = (void *)(r->buf + r->at);
	if (r->len - r->at >= sizeof(*h) && h->kind == RECORDING_TAIL_KIND)
		return read_tail(r);
	bytes = record_check(h, r->len - r->at);
	if (!bytes && (r->len - r->at < sizeof(*h) || h->bytes > r->len - r->at))
		return refuse(r, "truncated; copy or record it again");
	if (!bytes)
		return refuse(r, "damaged: a record in it is malformed; copy or record it again");
	r->at += bytes;
	if (h->kind == KRAIT_STACK)
		renumber_marks(r, (void *)h);
	return r->visitor->on_record(h, r->visitor->arg);
}

/* 0 or -errno, logged. */
static int open_input(struct reader *r, const char *path)
{
	struct stat st;
	int err;

	if (!strcmp(path, "-")) {
		r->path = "standard input";
		r->in = stdin;
		return 0;
	}
	r->in = fopen(path, "re");
	if (r->in && !fstat(fileno(r->in), &st) && !S_ISDIR(st.st_mode))
		return 0;
	err = r->in ? -EISDIR : -errno;
	log_error("report: open %s: %s", path, strerror(-err));
	return err;
}

int recording_read(const char *path, const struct recording_visitor *visitor)
{
	struct reader r = {.path = path, .visitor = visitor};
	int err = open_input(&r, path);

	if (err)
		goto out;
	r.buf = malloc(READ_BYTES);
	if (!r.buf) {
		err = -ENOMEM;
		goto out;
	}
	err = read_head(&r);
	while (!err && !r.has_tail)
		err = read_next(&r);
out:
	free(r.buf);
	if (r.in && r.in != stdin)
		fclose(r.in);
	return err;
}
