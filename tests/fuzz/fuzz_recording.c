/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * drain/recording.h: a whole .krait file, and what krait report makes of it: the aggregate, the
 * profile and every output. In life somebody sends it.
 *
 * Any file: refused, or a profile that keeps what profile.h promises, and outputs of safe lines.
 *
 * Input: a byte of options, the file. The low bit leaves its checksum as it is; else the checksum
 * is put right, for no chance would get a changed file past it.
 */
#include <zlib.h>

#include "tests/fuzz/profile.h"
#include "user/drain/recording.h"
#include "user/export/export.h"

#define TABLE_ROWS 40

enum { KEEP_CRC = 1, THREADS = 2, FULL_PATH = 4, LINES_SHIFT = 3 };

struct replay {
	struct aggregate *agg;
	struct recording_head head;
	struct recording_tail tail;
};

static int on_head(const struct recording_head *head, void *arg)
{
	((struct replay *)arg)->head = *head;
	return 0;
}

static int on_record(const struct krait_hdr *rec, void *arg)
{
	return aggregate_add(((struct replay *)arg)->agg, rec);
}

static int on_tail(const struct recording_tail *tail, void *arg)
{
	((struct replay *)arg)->tail = *tail;
	return 0;
}

/* It is in the last 8 bytes, of all that is before. */
static void put_crc(uint8_t *file, size_t size)
{
	const size_t end_bytes =
		sizeof(struct recording_tail) - offsetof(struct recording_tail, crc32);
	uint32_t crc;

	if (size < end_bytes)
		return;
	crc = crc32(0, file, size - end_bytes);
	memcpy(file + size - end_bytes, &crc, sizeof(crc));
}

static void check_lines(const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *nl = memchr(text, '\n', end - text);

		FUZZ_CHECK(nl && fuzz_is_safe_text(text, nl - text));
		text = nl + 1;
	}
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
		if (i < 0 || !strcmp(exporters[i]->name, "folded"))
			check_lines(text, len);
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
	if (recording_read(path, &visitor) == 0)
		report(&replay, &opts);
	aggregate_free(replay.agg);
	free(file);
	return 0;
}
