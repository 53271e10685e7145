/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the fuzz targets share: how an invariant fails, bytes in memory of exactly their size, a
 * file in memory, and the test for text that base/text.h promises.
 *
 * A target is one tests/fuzz/fuzz_NAME.c, which libFuzzer calls with bytes of its making. Krait's
 * own messages are closed off by tests/fuzz/run.py, since a refused input costs one.
 */
#ifndef KRAIT_TESTS_FUZZ_FUZZ_H
#define KRAIT_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <sanitizer/common_interface_defs.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Goes where the sanitizers' reports go, which is open when stderr is not. */
static inline void fuzz_fail(const char *file, int line, const char *what)
{
	char text[256];

	snprintf(text, sizeof(text), "%s:%d: does not hold: %s", file, line, what);
	__sanitizer_report_error_summary(text);
	abort();
}

#define FUZZ_CHECK(cond) ((cond) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #cond))

/* The bytes on the heap in exactly their size, so that a read past the end is seen. The caller
 * frees. */
static inline void *fuzz_copy(const void *bytes, size_t len)
{
	void *copy = malloc(len ? len : 1);

	FUZZ_CHECK(copy);
	if (len)
		memcpy(copy, bytes, len);
	return copy;
}

/* Takes `len` bytes off the input into dst; what the input does not have is zero. */
static inline void fuzz_take(const uint8_t **data, size_t *size, void *dst, size_t len)
{
	size_t n = len < *size ? len : *size;

	memset(dst, 0, len);
	if (n)
		memcpy(dst, *data, n);
	*data += n;
	*size -= n;
}

static inline uint8_t fuzz_take_byte(const uint8_t **data, size_t *size)
{
	uint8_t byte;

	fuzz_take(data, size, &byte, 1);
	return byte;
}

/* A file that holds these bytes. The same one at each call. */
static inline int fuzz_file(const void *bytes, size_t len)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	FUZZ_CHECK(fd >= 0 && ftruncate(fd, 0) == 0);
	FUZZ_CHECK(pwrite(fd, bytes, len, 0) == (ssize_t)len);
	return fd;
}

/* ---- Safe text, told without base/text.c's tables ---- */

/* The code point that starts at *at, which is moved behind it; UINT32_MAX if none does: RFC 3629,
 * section 4, by what the number must be rather than by ranges of bytes. */
static inline uint32_t fuzz_codepoint(const uint8_t **at, const uint8_t *end)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t head = *(*at)++;
	int len = head < 0x80	    ? 1
		  : head >> 5 == 6  ? 2
		  : head >> 4 == 14 ? 3
		  : head >> 3 == 30 ? 4
				    : 0;
	uint32_t cp = len == 1 ? head : head & (0x7f >> len);

	if (!len || end - *at < len - 1)
		return UINT32_MAX;
	for (int i = 1; i < len; i++, (*at)++) {
		if ((**at & 0xc0) != 0x80)
			return UINT32_MAX;
		cp = cp << 6 | (**at & 0x3f);
	}
	return cp < least[len] || cp > 0x10ffff || cp >> 11 == 0x1b ? UINT32_MAX : cp;
}

/* Whether no terminal obeys it, no reader is misled by it, and XML can hold it. */
static inline bool fuzz_is_shown(uint32_t cp)
{
	bool is_control = cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
	bool is_bidi = cp == 0x61c || cp == 0x200e || cp == 0x200f ||
		       (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);

	return !is_control && !is_bidi && cp != 0x2028 && cp != 0x2029 && cp != 0xfffe &&
	       cp != 0xffff && cp != UINT32_MAX;
}

static inline bool fuzz_is_safe_text(const char *text, size_t len)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + len;

	while (at < end)
		if (!fuzz_is_shown(fuzz_codepoint(&at, end)))
			return false;
	return true;
}

#endif
