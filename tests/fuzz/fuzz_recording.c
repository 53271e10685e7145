/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * drain/recording.h: a whole .krait file, and what krait report makes of it: the aggregate, the
 * profile and every output. In life somebody sends it.
 *
 * Any file: refused, or read whole, or (version 4) up to where it is cut or damaged. What the
 * visitors are given is what recording.h promises: a head of texts that end, records that pass
 * record_check, each once and within its own length, a tail or a cut, and nothing left over of a
 * file that is whole. The profile keeps what profile.h promises, counts the samples that the
 * records have, neither more nor less, and every output is of safe lines.
 *
 * Input: a byte of options, the file. The low bit leaves it as it is. Else its checksum is put
 * right, for no chance would get a changed file past it; and one of version 4 has its blocks
 * inflated: packed_bytes is then the length of that, and raw_bytes counts with KEEP_LENGTHS alone.
 */
#include <zlib.h>

#include "tests/fuzz/profile.h"
#include "user/drain/recording.h"
#include "user/drain/records.h"
#include "user/export/export.h"

#define TABLE_ROWS 40

enum { KEEP_FILE = 1, THREADS = 2, FULL_PATH = 4, LINES_SHIFT = 3, KEEP_LENGTHS = 32 };

struct replay {
	struct aggregate *agg;
	struct krait_head_rec head;
	struct recording_tail tail;
	uint32_t heads, tails, cuts;
	uint64_t bytes;	 /* of the records that have been visited */
	uint64_t weight; /* of the samples among it */
};

/* ---- The visitors: each looks at copies of exactly the size that it was given ---- */

static void check_text(const char *field, size_t size)
{
	FUZZ_CHECK(memchr(field, '\0', size));
}

static int on_head(const struct krait_head_rec *head, void *arg)
{
	struct replay *r = arg;

	FUZZ_CHECK(!r->heads++ && !r->bytes);
	FUZZ_CHECK(head->h.kind == KRAIT_HEAD && head->freq_hz);
	check_text(head->host, sizeof(head->host));
	check_text(head->kernel, sizeof(head->kernel));
	check_text(head->target, sizeof(head->target));
	r->head = *head;
	return 0;
}

/* Ticks of the CPU's clock. */
static uint64_t weight_of(const struct krait_sample_rec *rec)
{
	return sample_event(rec) == KRAIT_EVENT_CPU_CLOCK ? sample_value(rec) : 0;
}

static int on_record(const struct krait_hdr *rec, void *arg)
{
	struct krait_hdr *copy = fuzz_copy(rec, rec->bytes);
	struct replay *r = arg;
	int err;

	FUZZ_CHECK(r->heads && !r->tails && !r->cuts);
	FUZZ_CHECK(record_check(copy, copy->bytes) == copy->bytes);
	if (copy->kind == KRAIT_SAMPLE)
		r->weight += weight_of((const void *)copy);
	r->bytes += copy->bytes;
	err = aggregate_add(r->agg, copy);
	free(copy);
	return err;
}

static int on_tail(const struct recording_tail *tail, void *arg)
{
	struct replay *r = arg;

	FUZZ_CHECK(r->heads && !r->tails++ && !r->cuts);
	r->tail = *tail;
	return 0;
}

static int on_cut(uint64_t until_ns, void *arg)
{
	struct replay *r = arg;

	(void)until_ns;
	FUZZ_CHECK(r->heads && !r->tails && !r->cuts++);
	return 0;
}

/* ---- Version 3: the checksum is in the last 8 bytes, of all that is before ---- */

#define HEAD_BYTES_V3 424
#define TAIL_BYTES_V3(counters) (24 + 8 * (counters))
#define END_BYTES_V3 8

static uint32_t crc_v3(const uint8_t *file, size_t size)
{
	return crc32(0, file, size - END_BYTES_V3);
}

static void put_crc_v3(uint8_t *file, size_t size)
{
	uint32_t crc;

	if (size < END_BYTES_V3)
		return;
	crc = crc_v3(file, size);
	memcpy(file + size - END_BYTES_V3, &crc, sizeof(crc));
}

/* One that was read is its head, the records, a tail of one of two lengths, and whole. */
static void check_v3(const struct replay *r, const uint8_t *file, size_t size)
{
	size_t tail_bytes = size - HEAD_BYTES_V3 - r->bytes;
	uint32_t crc;

	FUZZ_CHECK(tail_bytes == TAIL_BYTES_V3(27) || tail_bytes == TAIL_BYTES_V3(28));
	memcpy(&crc, file + size - END_BYTES_V3, sizeof(crc));
	FUZZ_CHECK(crc == crc_v3(file, size));
	FUZZ_CHECK(r->tails && !r->cuts);
}

/* ---- Version 4: blocks ---- */

static uint32_t crc_v4(const struct krait_block *head, const uint8_t *packed)
{
	uint32_t crc = crc32(0, (const Bytef *)head, offsetof(struct krait_block, crc32));

	crc = crc32(crc, (const Bytef *)&head->until_ns, sizeof(head->until_ns));
	return crc32(crc, packed, head->packed_bytes);
}

static uint32_t deflate_into(uint8_t *to, size_t room, const uint8_t *from, size_t len)
{
	z_stream z = {.next_in = (Bytef *)from, .avail_in = len, .next_out = to, .avail_out = room};

	FUZZ_CHECK(deflateInit2(&z, 1, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	FUZZ_CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

/* The file whose blocks lie inflated in `data`; what is left over behind them stays as it is. */
static uint8_t *pack_v4(const uint8_t *data, size_t *size, bool keep_lengths)
{
	size_t at = sizeof(struct krait_recording_start), len = at, room = 2 * *size + 4096;
	uint8_t *file = malloc(room);
	uint32_t crc = crc32(0, data, offsetof(struct krait_recording_start, crc32));
	struct krait_block head;

	FUZZ_CHECK(file);
	memcpy(file, data, at);
	memcpy(file + offsetof(struct krait_recording_start, crc32), &crc, sizeof(crc));
	while (*size - at >= sizeof(head) && room - len > 2 * sizeof(head) + *size - at + 512) {
		size_t raw;

		memcpy(&head, data + at, sizeof(head));
		at += sizeof(head);
		raw = head.packed_bytes < *size - at ? head.packed_bytes : *size - at;
		head.packed_bytes = deflate_into(file + len + sizeof(head),
						 room - len - sizeof(head), data + at, raw);
		head.raw_bytes = keep_lengths ? head.raw_bytes : raw;
		head.crc32 = crc_v4(&head, file + len + sizeof(head));
		memcpy(file + len, &head, sizeof(head));
		len += sizeof(head) + head.packed_bytes;
		at += raw;
	}
	if (room - len < *size - at)
		at = *size;
	memcpy(file + len, data + at, *size - at);
	*size = len + *size - at;
	return file;
}

/* Of one that was read to its tail every block has its checksum, and nothing follows them. */
static void check_v4(const struct replay *r, const uint8_t *file, size_t size)
{
	size_t at = sizeof(struct krait_recording_start);
	struct krait_block head;

	FUZZ_CHECK(r->tails + r->cuts == 1);
	while (r->tails && at < size) {
		FUZZ_CHECK(size - at >= sizeof(head));
		memcpy(&head, file + at, sizeof(head));
		at += sizeof(head);
		FUZZ_CHECK(head.packed_bytes <= size - at);
		FUZZ_CHECK(head.crc32 == crc_v4(&head, file + at));
		at += head.packed_bytes;
	}
}

static bool is_v4(const uint8_t *data, size_t size)
{
	uint32_t version = 0;

	if (size >= sizeof(struct krait_recording_start))
		memcpy(&version, data + offsetof(struct krait_recording_start, version),
		       sizeof(version));
	return version == KRAIT_RECORDING_VERSION;
}

/* ---- The outputs ---- */

/* Lines of safe text. The sum of the numbers that they end with. */
static uint64_t check_lines(const char *text, size_t len)
{
	const char *end = text + len;
	uint64_t sum = 0;

	while (text < end) {
		const char *nl = memchr(text, '\n', end - text);
		const char *space = nl ? memrchr(text, ' ', nl - text) : NULL;

		FUZZ_CHECK(nl && fuzz_is_safe_text(text, nl - text));
		sum += space ? strtoull(space, NULL, 10) : 0;
		text = nl + 1;
	}
	return sum;
}

static void write_all(const struct profile *profile, const struct export_opts *opts)
{
	for (int i = -1; i < 0 || exporters[i]; i++) {
		char *text = NULL;
		size_t len = 0;
		FILE *out = open_memstream(&text, &len);
		int err = 0;

		FUZZ_CHECK(out);
		if (i < 0)
			err = export_table(profile, opts, TABLE_ROWS, out);
		else if (exporters[i]->write)
			err = exporters[i]->write(profile, opts, out);
		fclose(out);
		FUZZ_CHECK(err == 0);
		if (i < 0)
			check_lines(text, len);
		else if (!strcmp(exporters[i]->name, "folded"))
			FUZZ_CHECK(check_lines(text, len) == profile->events[0].total_cnt);
		free(text);
	}
}

static void report(struct replay *replay, const struct export_opts *opts)
{
	const struct profile_meta meta = {
		.start_unix_ns = replay->head.start_unix_ns,
		.duration_ns = replay->tail.duration_ns,
		.freq_hz = replay->head.freq_hz,
		.cpu_cnt = replay->head.cpu_cnt,
		.host = replay->head.host,
		.kernel = replay->head.kernel,
		.target = replay->head.target,
	};
	const struct profile *profile =
		aggregate_profile(replay->agg, &meta, replay->tail.counters);

	profile_check(profile);
	FUZZ_CHECK(profile->events[0].total_cnt + profile->events[0].unnamed_cnt == replay->weight);
	FUZZ_CHECK(!memcmp(profile->events[0].counters, replay->tail.counters,
			   sizeof(profile->events[0].counters)));
	write_all(profile, opts);
}

/* The file that the input stands for; the caller frees it. */
static uint8_t *make_file(uint8_t bits, const uint8_t *data, size_t *size)
{
	uint8_t *file;

	if (is_v4(data, *size) && !(bits & KEEP_FILE))
		return pack_v4(data, size, bits & KEEP_LENGTHS);
	file = fuzz_copy(data, *size);
	if (!(bits & KEEP_FILE))
		put_crc_v3(file, *size);
	return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bits = fuzz_take_byte(&data, &size), *file = make_file(bits, data, &size);
	struct export_opts opts = {.threads = bits & THREADS, .full_path = bits & FULL_PATH};
	struct replay replay = {.agg = aggregate_new()};
	struct recording_visitor visitor = {on_head, on_record, on_tail, on_cut, &replay};
	char path[32];

	FUZZ_CHECK(replay.agg);
	opts.lines = (bits >> LINES_SHIFT) % (EXPORT_LINES_NONE + 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fuzz_file(file, size));
	if (recording_read(path, &visitor) == 0) {
		if (is_v4(file, size))
			check_v4(&replay, file, size);
		else
			check_v3(&replay, file, size);
		report(&replay, &opts);
	}
	aggregate_free(replay.agg);
	free(file);
	return 0;
}
