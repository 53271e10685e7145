/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Broken UTF-8 becomes one U+FFFD for each maximal beginning of a sequence, as the Unicode Standard
 * recommends (16.0, 3.9.6, "U+FFFD Substitution of Maximal Subparts"): the byte that
 * breaks a sequence starts the next one, so a broken name can't swallow a character behind it.
 */
#include "user/base/text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define REPLACEMENT 0xfffd
#define CODEPOINT_MAX 0x10ffff

struct range {
	uint32_t first, last;
};

/* What a terminal obeys, or what makes text read otherwise than it is stored. */
static const struct range unsafe_ranges[] = {
	{0x0000, 0x001f}, /* C0 */
	{0x007f, 0x009f}, /* DEL, C1 */
	{0x061c, 0x061c}, /* Bidi_Control, Unicode PropList.txt: arabic letter mark */
	{0x200e, 0x200f}, /* left-to-right mark, right-to-left mark */
	{0x2028, 0x202e}, /* line and paragraph separator; embeddings and overrides */
	{0x2066, 0x2069}, /* isolates */
	{0xfffe, 0xffff}, /* no characters; XML 1.0 (2.2 Char) can't hold them */
};

static bool is_unsafe(uint32_t cp)
{
	for (size_t i = 0; i < sizeof(unsafe_ranges) / sizeof(unsafe_ranges[0]); i++)
		if (cp >= unsafe_ranges[i].first && cp <= unsafe_ranges[i].last)
			return true;
	return false;
}

static bool is_scalar(uint32_t cp)
{
	return cp <= CODEPOINT_MAX && !(cp >= 0xd800 && cp <= 0xdfff);
}

/* cp must be a scalar value. RFC 3629, section 3. */
static void add_utf8(struct strbuf *out, uint32_t cp)
{
	char bytes[4];
	unsigned int len = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	static const uint8_t heads[] = {0, 0x00, 0xc0, 0xe0, 0xf0};

	for (unsigned int i = len - 1; i > 0; i--) {
		bytes[i] = (char)(0x80 | (cp & 0x3f));
		cp >>= 6;
	}
	bytes[0] = (char)(heads[len] | cp);
	strbuf_add(out, bytes, len);
}

static bool is_plain(uint32_t cp)
{
	return cp >= 0x20 && cp < 0x7f;
}

/* How many bytes at the beginning stand for themselves, as nearly all do: they are added at once.
 */
static size_t plain_len(const uint8_t *bytes, size_t len)
{
	size_t plain = 0;

	while (plain < len && is_plain(bytes[plain]))
		plain++;
	return plain;
}

void text_add_codepoint(struct strbuf *out, uint32_t cp)
{
	if (is_plain(cp))
		strbuf_add_char(out, (char)cp);
	else if (!is_scalar(cp))
		add_utf8(out, REPLACEMENT);
	else if (!is_unsafe(cp))
		add_utf8(out, cp);
	else
		strbuf_addf(out, cp <= 0xff ? "\\x%02x" : "\\u%04x", (unsigned int)cp);
}

/*
 * How many bytes follow this first one (-1: it can't start a sequence), and the range of the second
 * byte, which is what keeps out overlong forms, surrogates and what lies beyond U+10FFFF. Unicode
 * Standard, table 3-7.
 */
static int sequence_tail(uint8_t head, struct range *second)
{
	*second = (struct range){0x80, 0xbf};
	if (head < 0x80)
		return 0;
	if (head >= 0xc2 && head <= 0xdf)
		return 1;
	if (head >= 0xe0 && head <= 0xef) {
		second->first = head == 0xe0 ? 0xa0 : 0x80;
		second->last = head == 0xed ? 0x9f : 0xbf;
		return 2;
	}
	if (head >= 0xf0 && head <= 0xf4) {
		second->first = head == 0xf0 ? 0x90 : 0x80;
		second->last = head == 0xf4 ? 0x8f : 0xbf;
		return 3;
	}
	return -1;
}

/* Reads one sequence (len > 0), sets *cp to it or to U+FFFD, and returns the bytes it took. */
static size_t read_utf8(const uint8_t *bytes, size_t len, uint32_t *cp)
{
	static const uint8_t head_masks[] = {0x7f, 0x1f, 0x0f, 0x07};
	struct range range;
	int tail = sequence_tail(bytes[0], &range);

	*cp = REPLACEMENT;
	if (tail < 0)
		return 1;

	uint32_t value = bytes[0] & head_masks[tail];

	for (size_t i = 1; i <= (size_t)tail; i++) {
		if (i >= len || bytes[i] < range.first || bytes[i] > range.last)
			return i;
		value = value << 6 | (bytes[i] & 0x3f);
		range = (struct range){0x80, 0xbf};
	}
	*cp = value;
	return (size_t)tail + 1;
}

void text_add_utf8(struct strbuf *out, const char *bytes, size_t len)
{
	const uint8_t *at = (const uint8_t *)bytes;

	while (len > 0) {
		size_t used = plain_len(at, len);
		uint32_t cp;

		strbuf_add(out, at, used);
		if (used < len) {
			used += read_utf8(at + used, len - used, &cp);
			text_add_codepoint(out, cp);
		}
		at += used;
		len -= used;
	}
}

int text_add_pystr(struct strbuf *out, const void *bytes, size_t len, unsigned int width)
{
	const uint8_t *at = bytes;

	size_t i = 0;

	if (width != 1 && width != 2 && width != 4)
		return -EINVAL;
	if (width == 1) {
		i = plain_len(at, len);
		strbuf_add(out, at, i);
	}
	for (at += i; i < len / width; i++, at += width) {
		uint16_t two;
		uint32_t cp;

		/* Records are packed: nothing says that a string starts aligned. */
		if (width == 1) {
			cp = *at;
		} else if (width == 2) {
			memcpy(&two, at, sizeof(two));
			cp = two;
		} else {
			memcpy(&cp, at, sizeof(cp));
		}
		text_add_codepoint(out, cp);
	}
	return 0;
}
