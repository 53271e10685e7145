/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * base/text.h: names, paths, command lines and comms of other processes, as UTF-8 that ought to be
 * or as a CPython str's characters of 1, 2 or 4 bytes. In life they come out of records, /proc and
 * the target's memory, and go to terminals and into other programs' files.
 *
 * Whatever comes in: what comes out is safe text (fuzz_is_safe_text), is appended to what was
 * there, and is its own safe form.
 */
#include "tests/fuzz/fuzz.h"
#include "user/base/text.h"

/* 0: bytes of UTF-8; 3 is a width that no str has. */
static const unsigned int widths[] = {0, 1, 2, 4, 3};

static void add(struct strbuf *out, const uint8_t *data, size_t size, unsigned int width)
{
	char *bytes = fuzz_copy(data, size);
	size_t before = out->len;

	if (!width) {
		text_add_utf8(out, bytes, size);
	} else if (text_add_pystr(out, bytes, size, width) != 0) {
		FUZZ_CHECK(width == 3 && out->len == before);
	} else {
		FUZZ_CHECK(width != 3 && out->len - before >= size / width);
	}
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strbuf out = {}, again = {};
	unsigned int width =
		widths[fuzz_take_byte(&data, &size) % (sizeof(widths) / sizeof(*widths))];

	strbuf_add_str(&out, "before ");
	add(&out, data, size, width);
	FUZZ_CHECK(!out.failed && memcmp(out.buf, "before ", 7) == 0 && !out.buf[out.len]);
	FUZZ_CHECK(fuzz_is_safe_text(out.buf, out.len));
	text_add_utf8(&again, out.buf, out.len);
	FUZZ_CHECK(again.len == out.len && memcmp(again.buf, out.buf, out.len) == 0);
	strbuf_release(&out);
	strbuf_release(&again);
	return 0;
}
