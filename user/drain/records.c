// SPDX-License-Identifier: BSD-2-Clause
/* The checks that make a record safe to look into: one per kind, in a table. A record may be longer
 * than what is known of it: a newer krait's has something at its end (bpf/abi/record.h). */
#include "user/drain/records.h"

#include <string.h>

static bool process_is_valid(const struct krait_hdr *h)
{
	const struct krait_process_rec *rec = (const void *)h;

	return rec->what >= KRAIT_PROCESS_SEEN && rec->what <= KRAIT_PROCESS_NAME &&
	       rec->text_bytes <= h->bytes - sizeof(*rec);
}

static bool str_is_valid(const struct krait_str *str)
{
	if (str->width == 0)
		return str->bytes == 0;
	if (str->is_bytes && str->width != 1)
		return false;
	return (str->width == 1 || str->width == 2 || str->width == 4) &&
	       str->bytes % str->width == 0;
}

static bool code_is_valid(const struct krait_hdr *h)
{
	const struct krait_code_rec *rec = (const void *)h;
	uint64_t text = (uint64_t)rec->name.bytes + rec->qualname.bytes + rec->file.bytes +
			rec->lines_bytes;

	return str_is_valid(&rec->name) && str_is_valid(&rec->qualname) &&
	       str_is_valid(&rec->file) && text <= h->bytes - sizeof(*rec) &&
	       rec->lines_total <= KRAIT_LINES_CHUNKS * KRAIT_LINES_CHUNK_BYTES &&
	       (uint64_t)rec->lines_off + rec->lines_bytes <= rec->lines_total;
}

static bool stack_is_valid(const struct krait_hdr *h)
{
	const struct krait_stack_rec *rec = (const void *)h;

	return rec->frame_cnt <= KRAIT_MAX_DEPTH_LIMIT &&
	       rec->frame_cnt * sizeof(struct krait_frame) <= h->bytes - sizeof(*rec);
}

static bool sample_is_valid(const struct krait_hdr *h)
{
	return sample_event((const void *)h) < KRAIT_EVENTS_MAX;
}

static bool is_text(const char *field, size_t size)
{
	return memchr(field, '\0', size) != NULL;
}

static bool event_is_valid(const struct krait_hdr *h)
{
	const struct krait_event_rec *rec = (const void *)h;

	return rec->event && rec->event < KRAIT_EVENTS_MAX &&
	       is_text(rec->name, sizeof(rec->name)) && is_text(rec->unit, sizeof(rec->unit)) &&
	       rec->pair_cnt <= (h->bytes - sizeof(*rec)) / sizeof(struct krait_pair);
}

static const struct {
	size_t min_bytes;
	bool (*is_valid)(const struct krait_hdr *h);
} checks[] = {
	[KRAIT_PROCESS] = {sizeof(struct krait_process_rec), process_is_valid},
	[KRAIT_CODE] = {sizeof(struct krait_code_rec), code_is_valid},
	[KRAIT_STACK] = {sizeof(struct krait_stack_rec), stack_is_valid},
	[KRAIT_SAMPLE] = {sizeof(struct krait_sample_rec), sample_is_valid},
	[KRAIT_EVENT] = {sizeof(struct krait_event_rec), event_is_valid},
};

size_t record_check(const void *bytes, size_t avail)
{
	const struct krait_hdr *h = bytes;

	if (avail < sizeof(*h) || h->bytes > avail || h->bytes % 8)
		return 0;
	if (h->kind >= sizeof(checks) / sizeof(*checks) || !checks[h->kind].is_valid)
		return 0;
	if (h->bytes < checks[h->kind].min_bytes || h->bytes > RECORD_MAX_BYTES)
		return 0;
	return checks[h->kind].is_valid(h) ? h->bytes : 0;
}

struct code_text code_text(const struct krait_code_rec *rec)
{
	const char *text = (const char *)(rec + 1);
	struct code_text parts;

	parts.name = text;
	parts.qualname = parts.name + rec->name.bytes;
	parts.file = parts.qualname + rec->qualname.bytes;
	parts.lines = (const unsigned char *)parts.file + rec->file.bytes;
	return parts;
}
