// SPDX-License-Identifier: BSD-2-Clause
/*
 * Reading recordings.
 *
 * A recording is input like any other. What a block says of its lengths is held against fixed
 * bounds before anything is read, into buffers of these bounds; its checksum is that of the bytes
 * as they lie in the file, so what zlib sees is what a writer has written; and inflating ends where
 * raw_bytes says, or the block is none. Every record of a block is checked before the first of them
 * is shown, so a block is read whole or not at all.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "user/base/log.h"
#include "user/drain/recording.h"
#include "user/drain/records.h"

/* zlib's worst case, compressBound in its deflate.c, and some. */
#define PACKED_BYTES (KRAIT_BLOCK_BYTES + (KRAIT_BLOCK_BYTES >> 10) + 64)

struct reader {
	struct recording_input *input;
	struct krait_block block; /* the last whole one */
	uint32_t block_cnt;	  /* of whole blocks */
	const char *damage;	  /* of the one behind them; NULL: the file ends there */
	uint64_t start_ns;	  /* CLOCK_MONOTONIC at the start of the run */
	bool is_over;		  /* the tail has come, or the cut */
	uint64_t unknown_records, unknown_counters;
	z_stream z;
	unsigned char *packed; /* PACKED_BYTES */
	unsigned char *raw;    /* KRAIT_BLOCK_BYTES */
};

int recording_refuse(const struct recording_input *input, const char *what)
{
	log_error("report: read %s: %s", input->path, what);
	return -EBADMSG;
}

/* ---- A block ---- */

enum { BLOCK_WHOLE, BLOCK_NONE };

/* Reads exactly so many bytes. BLOCK_WHOLE, BLOCK_NONE where the file ends, or -errno, logged. */
static int read_bytes(struct reader *r, void *to, size_t bytes)
{
	if (fread(to, 1, bytes, r->input->in) == bytes)
		return BLOCK_WHOLE;
	if (!ferror(r->input->in))
		return BLOCK_NONE;
	log_error("report: read %s: %s", r->input->path, strerror(errno));
	return -EIO;
}

static int damaged(struct reader *r, const char *what)
{
	r->damage = what;
	return BLOCK_NONE;
}

static bool has_good_lengths(const struct krait_block *block)
{
	return block->packed_bytes && block->packed_bytes <= PACKED_BYTES &&
	       block->raw_bytes >= sizeof(struct krait_hdr) &&
	       block->raw_bytes <= KRAIT_BLOCK_BYTES && block->raw_bytes % 8 == 0;
}

static uint32_t crc_of(const struct krait_block *head, const void *packed)
{
	uint32_t crc = crc32(0, (const Bytef *)head, offsetof(struct krait_block, crc32));

	crc = crc32(crc, (const Bytef *)&head->until_ns, sizeof(head->until_ns));
	return crc32(crc, packed, head->packed_bytes);
}

/* True if the packed bytes are one deflate stream that gives what the block says. */
static bool unpack(struct reader *r, const struct krait_block *block)
{
	inflateReset(&r->z);
	r->z.next_in = r->packed;
	r->z.avail_in = block->packed_bytes;
	r->z.next_out = r->raw;
	r->z.avail_out = block->raw_bytes;
	return inflate(&r->z, Z_FINISH) == Z_STREAM_END && !r->z.avail_in && !r->z.avail_out;
}

static const struct krait_hdr *record_at(const struct reader *r, uint32_t at)
{
	return (const struct krait_hdr *)(r->raw + at);
}

/* Is it of a kind that this krait knows? */
static bool is_known(const struct krait_hdr *h)
{
	const struct krait_process_rec *process = (const void *)h;

	if (h->kind == KRAIT_PROCESS && h->bytes >= sizeof(*process))
		return process->what <= KRAIT_PROCESS_NAME;
	return h->kind >= KRAIT_PROCESS && h->kind <= KRAIT_EVENT;
}

static bool is_text(const char *field, size_t size)
{
	return memchr(field, '\0', size) != NULL;
}

static bool head_is_valid(const struct krait_hdr *h)
{
	const struct krait_head_rec *head = (const void *)h;

	return h->bytes >= sizeof(*head) && head->freq_hz &&
	       is_text(head->host, sizeof(head->host)) &&
	       is_text(head->kernel, sizeof(head->kernel)) &&
	       is_text(head->target, sizeof(head->target));
}

static bool tail_is_valid(const struct krait_hdr *h)
{
	const struct krait_tail_rec *tail = (const void *)h;

	return h->bytes >= sizeof(*tail) &&
	       tail->pair_cnt <= (h->bytes - sizeof(*tail)) / sizeof(struct krait_pair);
}

/* A record whose length is within the block. `is_first`: of the file; `is_last`: of the block. */
static bool record_is_valid(const struct krait_hdr *h, bool is_first, bool is_last)
{
	if (is_first != (h->kind == KRAIT_HEAD))
		return false;
	if (h->kind == KRAIT_HEAD)
		return head_is_valid(h);
	if (h->kind == KRAIT_TAIL)
		return is_last && tail_is_valid(h);
	return !is_known(h) || record_check(h, h->bytes);
}

/* Are the raw bytes whole records, the head first of all, the tail last? */
static bool records_are_valid(const struct reader *r, const struct krait_block *block)
{
	uint32_t left = block->raw_bytes;

	while (left) {
		const struct krait_hdr *h = record_at(r, block->raw_bytes - left);

		if (h->bytes < sizeof(*h) || h->bytes > left || h->bytes % 8)
			return false;
		if (!record_is_valid(h, !block->number && left == block->raw_bytes,
				     left == h->bytes))
			return false;
		left -= h->bytes;
	}
	return true;
}

/* Reads the next block and checks all of it. BLOCK_WHOLE, BLOCK_NONE, or -errno, logged. */
static int read_block(struct reader *r)
{
	struct krait_block block;
	int ret = read_bytes(r, &block, sizeof(block));

	if (ret != BLOCK_WHOLE)
		return ret;
	if (!has_good_lengths(&block))
		return damaged(r, "its lengths are none");
	ret = read_bytes(r, r->packed, block.packed_bytes);
	if (ret != BLOCK_WHOLE)
		return ret;
	if (block.crc32 != crc_of(&block, r->packed))
		return damaged(r, "its checksum does not match");
	if (block.number != r->block_cnt)
		return damaged(r, "it belongs elsewhere");
	if (!unpack(r, &block))
		return damaged(r, "it does not inflate to what it says");
	if (!records_are_valid(r, &block))
		return damaged(r, "a record in it is malformed");
	r->block = block;
	r->block_cnt++;
	return BLOCK_WHOLE;
}

/* ---- What is shown of it ---- */

static void add_pair(struct reader *r, struct recording_tail *tail, const struct krait_pair *pair)
{
	if (krait_part_of(pair->number) != KRAIT_PART_NONE) {
		tail->counters[pair->number] = pair->value;
		return;
	}
	r->unknown_counters++;
	/* Of a tick that this krait would know no reason for, its own ledger still has to know. */
	if (pair->part == KRAIT_PART_LOSS)
		tail->counters[KRAIT_LOSS_NONE] += pair->value;
}

static int show_tail(struct reader *r, const struct krait_tail_rec *rec)
{
	const struct krait_pair *pairs = (const struct krait_pair *)(rec + 1);
	struct recording_tail tail = {.duration_ns = rec->duration_ns};

	for (uint32_t i = 0; i < rec->pair_cnt; i++)
		add_pair(r, &tail, &pairs[i]);
	/* The visitor has seen one recording; two in one file would lose the second in silence. */
	if (fgetc(r->input->in) != EOF)
		return recording_refuse(r->input,
					"damaged: more follows its end; copy or record it again");
	r->is_over = true;
	return r->input->visitor->on_tail(&tail, r->input->visitor->arg);
}

static int show_record(struct reader *r, const struct krait_hdr *h)
{
	const struct recording_visitor *visitor = r->input->visitor;

	if (h->kind == KRAIT_HEAD) {
		r->start_ns = ((const struct krait_head_rec *)h)->start_mono_ns;
		return visitor->on_head((const void *)h, visitor->arg);
	}
	if (h->kind == KRAIT_TAIL)
		return show_tail(r, (const void *)h);
	if (is_known(h))
		return visitor->on_record(h, visitor->arg);
	r->unknown_records++;
	return 0;
}

static int show_block(struct reader *r)
{
	int err = 0;

	for (uint32_t at = 0; at < r->block.raw_bytes && !err;) {
		const struct krait_hdr *h = record_at(r, at);

		err = show_record(r, h);
		at += h->bytes;
	}
	return err;
}

/* ---- The end ---- */

/* Says where it stops being whole, and shows that. */
static int show_cut(struct reader *r)
{
	const struct recording_visitor *visitor = r->input->visitor;
	double seconds = (int64_t)(r->block.until_ns - r->start_ns) / 1e9;

	r->is_over = true;
	if (!r->block_cnt)
		return recording_refuse(
			r->input, r->damage ? "damaged head; copy or record it again"
					    : "truncated in its head; copy or record it again");
	if (r->damage)
		log_error("report: read %s: block %u is damaged: %s; only the %.1f s before it "
			  "are read, and the rest and the ledger are missing",
			  r->input->path, r->block_cnt, r->damage, seconds);
	else
		log_error("report: read %s: it ends %.1f s into the run, after %u whole blocks; "
			  "what came later and the ledger are missing",
			  r->input->path, seconds, r->block_cnt);
	return visitor->on_cut(r->block.until_ns, visitor->arg);
}

static void tell_unknown(const struct reader *r)
{
	if (r->unknown_records || r->unknown_counters)
		log_warn("report: %s is of a newer krait: %llu records and %llu counters that this "
			 "one does not know were passed over",
			 r->input->path, (unsigned long long)r->unknown_records,
			 (unsigned long long)r->unknown_counters);
}

static int read_v4(struct recording_input *input)
{
	struct reader r = {.input = input};
	int ret;

	r.packed = malloc(PACKED_BYTES);
	r.raw = malloc(KRAIT_BLOCK_BYTES);
	if (!r.packed || !r.raw || inflateInit2(&r.z, -MAX_WBITS) != Z_OK) {
		ret = -ENOMEM;
		goto out;
	}
	do {
		ret = read_block(&r);
		if (ret >= 0)
			ret = ret == BLOCK_WHOLE ? show_block(&r) : show_cut(&r);
	} while (!ret && !r.is_over);
	inflateEnd(&r.z);
	tell_unknown(&r);
out:
	free(r.packed);
	free(r.raw);
	return ret;
}

/* ---- The file ---- */

/* 0 or -errno, logged. */
static int open_input(struct recording_input *input)
{
	struct stat st;
	int err;

	if (!strcmp(input->path, "-")) {
		input->path = "standard input";
		input->in = stdin;
		return 0;
	}
	input->in = fopen(input->path, "re");
	if (input->in && !fstat(fileno(input->in), &st) && !S_ISDIR(st.st_mode))
		return 0;
	err = input->in ? -EISDIR : -errno;
	log_error("report: open %s: %s", input->path, strerror(-err));
	return err;
}

static int read_start(struct recording_input *input)
{
	struct krait_recording_start *start = &input->start;
	size_t got = fread(start, 1, sizeof(*start), input->in);

	if (ferror(input->in)) {
		log_error("report: read %s: %s", input->path, strerror(errno));
		return -EIO;
	}
	if (got < sizeof(start->magic) ||
	    memcmp(start->magic, RECORDING_MAGIC, sizeof(start->magic)) != 0)
		return recording_refuse(
			input, "not a krait recording (make one with krait record -o x.krait)");
	if (got < sizeof(*start))
		return recording_refuse(input, "truncated in its head; copy or record it again");
	return 0;
}

static int read_by_version(struct recording_input *input)
{
	const struct krait_recording_start *start = &input->start;

	if (start->version == 3)
		return recording_read_v3(input);
	if (start->version != KRAIT_RECORDING_VERSION) {
		log_error("report: read %s: recording version %u, this krait reads 3 and %u; use "
			  "the krait that made it",
			  input->path, start->version, KRAIT_RECORDING_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (start->crc32 !=
	    crc32(0, (const Bytef *)start, offsetof(struct krait_recording_start, crc32)))
		return recording_refuse(input, "damaged head; copy or record it again");
	return read_v4(input);
}

int recording_read(const char *path, const struct recording_visitor *visitor)
{
	struct recording_input input = {.path = path, .visitor = visitor};
	int err = open_input(&input);

	err = err ?: read_start(&input);
	err = err ?: read_by_version(&input);
	if (input.in && input.in != stdin)
		fclose(input.in);
	return err;
}
