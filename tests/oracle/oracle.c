/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asks linetable_line for the line of every code unit that tests/oracle/dump_lines.py tells the
 * truth about (the stream on stdin is described there), and counts where they differ.
 *
 * Prints one line, "oracle: N code objects, M code units, K mismatches". Exits 1 on any mismatch,
 * and on an empty, cut or malformed stream: a check that checked nothing must not pass.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/symbolize/linetable.h"

#define MAGIC "kraitln1"
#define MAGIC_BYTES 8
#define HEAD_BYTES 15		       /* of a code object, after its tag */
#define SANE_CNT (64u * 1024u * 1024u) /* more in one code object is a broken stream */
#define SHOWN_MISMATCHES 10

struct tally {
	uint64_t codes, units, mismatches;
};

struct code {
	enum krait_lines_kind kind;
	int32_t first_line;
	uint32_t table_bytes, unit_cnt, label_bytes;
	uint8_t *table, *lines, *label;
};

static uint32_t get_u32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The next `len` bytes, caller frees; NULL if the stream ends before (or memory does). Exactly as
 * long as asked for, so that a sanitizer sees a read past a table. */
static uint8_t *read_bytes(size_t len)
{
	uint8_t *bytes = malloc(len ? len : 1);

	if (bytes && fread(bytes, 1, len, stdin) != len) {
		free(bytes);
		return NULL;
	}
	return bytes;
}

static void code_release(struct code *code)
{
	free(code->table);
	free(code->lines);
	free(code->label);
}

static int code_read(struct code *code)
{
	uint8_t head[HEAD_BYTES];

	memset(code, 0, sizeof(*code));
	if (fread(head, 1, sizeof(head), stdin) != sizeof(head))
		return -EPIPE;
	code->kind = (enum krait_lines_kind)head[0];
	code->first_line = (int32_t)get_u32(head + 1);
	code->table_bytes = get_u32(head + 5);
	code->unit_cnt = get_u32(head + 9);
	code->label_bytes = head[13] | (uint32_t)head[14] << 8;
	if (code->table_bytes > SANE_CNT || code->unit_cnt > SANE_CNT)
		return -EINVAL;
	code->table = read_bytes(code->table_bytes);
	code->lines = read_bytes((size_t)code->unit_cnt * 4);
	code->label = read_bytes(code->label_bytes);
	return code->table && code->lines && code->label ? 0 : -EPIPE;
}

static void check_unit(const struct code *code, int32_t unit, int32_t want, struct tally *tally)
{
	int32_t got =
		linetable_line(code->kind, code->table, code->table_bytes, code->first_line, unit);

	if (got == want)
		return;
	if (tally->mismatches++ < SHOWN_MISMATCHES)
		fprintf(stderr,
			"%.*s, first line %" PRId32 ", unit %" PRId32 ": got %" PRId32
			", want %" PRId32 "\n",
			(int)code->label_bytes, (const char *)code->label, code->first_line, unit,
			got, want);
}

static void check_code(const struct code *code, struct tally *tally)
{
	check_unit(code, -1, code->first_line > 0 ? code->first_line : LINE_UNKNOWN, tally);
	for (uint32_t unit = 0; unit < code->unit_cnt; unit++) {
		int32_t want = (int32_t)get_u32(code->lines + (size_t)unit * 4);

		check_unit(code, (int32_t)unit, want, tally);
	}
	tally->codes++;
	tally->units += code->unit_cnt;
}

/* Whether the stream ended as it should: with the count of what it held. */
static int check_end(const struct tally *tally)
{
	uint8_t count[4];

	if (fread(count, 1, sizeof(count), stdin) != sizeof(count))
		return -EPIPE;
	return get_u32(count) == tally->codes ? 0 : -EINVAL;
}

static int check_stream(struct tally *tally)
{
	char magic[MAGIC_BYTES];
	int tag, err = 0;

	if (fread(magic, 1, sizeof(magic), stdin) != sizeof(magic))
		return -EPIPE;
	if (memcmp(magic, MAGIC, sizeof(magic)))
		return -EINVAL;
	while (!err && (tag = getchar()) == 1) {
		struct code code;

		err = code_read(&code);
		if (!err)
			check_code(&code, tally);
		code_release(&code);
	}
	if (err)
		return err;
	return tag == 0 ? check_end(tally) : -EPIPE;
}

int main(void)
{
	struct tally tally = {0};
	int err = check_stream(&tally);

	if (err)
		fprintf(stderr, "oracle: the stream is cut short or not one of dump_lines.py\n");
	printf("oracle: %" PRIu64 " code objects, %" PRIu64 " code units, %" PRIu64 " mismatches\n",
	       tally.codes, tally.units, tally.mismatches);
	return err || tally.mismatches || !tally.units ? 1 : 0;
}
