/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * drain/recording.h: a whole .krait file, and what krait report makes of it: the aggregate, the
 * profile and every output. In life somebody sends it.
 *
 * Any file: refused, or read whole. What the visitors are given is what recording.h promises: a
 * head of texts that end, records that pass record_check, each once and within its own length, a
 * tail of the file's own checksum, and nothing left over. The profile keeps what profile.h
 * promises, counts the samples that the records have, neither more nor less, and every output is of
 * safe lines.
 *
 * Input: a byte of options, the file. The low bit leaves its checksum as it is; else the checksum
 * is put right, for no chance would get a changed file past it.
 */
#include <zlib.h>

#include "tests/fuzz/profile.h"
#include "user/drain/recording.h"
#include "user/drain/records.h"
#include "user/export/export.h"

#define TABLE_ROWS 40

enum { KEEP_CRC = 1, THREADS = 2, FULL_PATH = 4, LINES_SHIFT = 3 };

struct replay {
	struct aggregate *agg;
	struct recording_head head;
	struct recording_tail tail;
	uint64_t bytes;	 /* of what has been visited */
	uint64_t weight; /* of the samples among it */
};

/* ---- The visitors: each looks at copies of exactly the size that it was given ---- */

static void check_text(const char *field, size_t size)
{
	FUZZ_CHECK(memchr(field, '\0', size));
}

static int on_head(const struct recording_head *head, void *arg)
{
	struct replay *r = arg;

	FUZZ_CHECK(!r->bytes && !memcmp(head->magic, RECORDING_MAGIC, sizeof(head->magic)));
	FUZZ_CHECK(head->abi_version == KRAIT_ABI_VERSION && head->freq_hz);
	check_text(head->host, sizeof(head->host));
	check_text(head->kernel, sizeof(head->kernel));
	check_text(head->target, sizeof(head->target));
	r->head = *head;
	r->bytes = sizeof(*head);
	return 0;
}

static int on_record(const struct krait_hdr *rec, void *arg)
{
	struct krait_hdr *copy = fuzz_copy(rec, rec->bytes);
	struct replay *r = arg;
	int err;

	FUZZ_CHECK(r->bytes >= sizeof(r->head) && !r->tail.h.kind);
	FUZZ_CHECK(record_check(copy, copy->bytes) == copy->bytes);
	if (copy->kind == KRAIT_SAMPLE)
		r->weight += ((const struct krait_sample_rec *)copy)->weight;
	r->bytes += copy->bytes;
	err = aggregate_add(r->agg, copy);
	free(copy);
	return err;
}

static int on_tail(const struct recording_tail *tail, void *arg)
{
	struct replay *r = arg;

	FUZZ_CHECK(r->bytes >= sizeof(r->head) && !r->tail.h.kind);
	FUZZ_CHECK(tail->h.kind == RECORDING_TAIL_KIND && tail->h.bytes <= sizeof(*tail));
	r->tail = *tail;
	r->bytes += tail->h.bytes; /* fewer than *tail's in an older krait's file */
	return 0;
}

/* ---- The checksum: in the last 8 bytes, of all that is before ---- */

#define CRC_AND_PAD_BYTES (sizeof(struct recording_tail) - offsetof(struct recording_tail, crc32))

static uint32_t crc_of(const uint8_t *file, size_t size)
{
	return crc32(0, file, size - CRC_AND_PAD_BYTES);
}

static void put_crc(uint8_t *file, size_t size)
{
	uint32_t crc;

	if (size < CRC_AND_PAD_BYTES)
		return;
	crc = crc_of(file, size);
	memcpy(file + size - CRC_AND_PAD_BYTES, &crc, sizeof(crc));
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
			FUZZ_CHECK(check_lines(text, len) == profile->total_cnt);
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
	FUZZ_CHECK(profile->total_cnt + profile->samples_unnamed == replay->weight);
	FUZZ_CHECK(!memcmp(profile->counters, replay->tail.counters, sizeof(profile->counters)));
	write_all(profile, opts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bits = fuzz_take_byte(&data, &size), *file = fuzz_copy(data, size);
	struct export_opts opts = {.threads = bits & THREADS, .full_path = bits & FULL_PATH};
	struct replay replay = {.agg = aggregate_new()};
	struct recording_visitor visitor = {on_head, on_record, on_tail, &replay};
	char path[32];

	FUZZ_CHECK(replay.agg);
	opts.lines = (bits >> LINES_SHIFT) % (EXPORT_LINES_NONE + 1);
	if (!(bits & KEEP_CRC))
		put_crc(file, size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fuzz_file(file, size));
	if (recording_read(path, &visitor) == 0) {
		FUZZ_CHECK(replay.bytes == size);
		FUZZ_CHECK(replay.tail.crc32 == crc_of(file, size));
		report(&replay, &opts);
	}
	aggregate_free(replay.agg);
	free(file);
	return 0;
}
