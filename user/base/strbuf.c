/* SPDX-License-Identifier: BSD-2-Clause */
#include "user/base/strbuf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP_BYTES 64

void strbuf_release(struct strbuf *sb)
{
	free(sb->buf);
	*sb = (struct strbuf){0};
}

void strbuf_reset(struct strbuf *sb)
{
	sb->len = 0;
	sb->failed = false;
	if (sb->buf)
		sb->buf[0] = '\0';
}

bool strbuf_reserve(struct strbuf *sb, size_t extra)
{
	size_t need = sb->len + extra + 1, cap = sb->cap ? sb->cap : FIRST_CAP_BYTES;
	char *buf;

	/* Once bytes were dropped, later ones would close the gap and look like whole text. */
	if (sb->failed)
		return false;
	if (need <= sb->cap && need > extra)
		return true;
	while (cap < need && cap <= SIZE_MAX / 2)
		cap *= 2;
	buf = need > extra && cap >= need ? realloc(sb->buf, cap) : NULL;
	if (!buf) {
		sb->failed = true;
		return false;
	}
	sb->buf = buf;
	sb->cap = cap;
	sb->buf[sb->len] = '\0';
	return true;
}

void strbuf_add(struct strbuf *sb, const void *bytes, size_t len)
{
	if (!strbuf_reserve(sb, len))
		return;
	if (len)
		memcpy(sb->buf + sb->len, bytes, len);
	sb->len += len;
	sb->buf[sb->len] = '\0';
}

void strbuf_add_str(struct strbuf *sb, const char *str)
{
	strbuf_add(sb, str, strlen(str));
}

void strbuf_add_char(struct strbuf *sb, char c)
{
	strbuf_add(sb, &c, 1);
}

void strbuf_vaddf(struct strbuf *sb, const char *fmt, va_list ap)
{
	va_list measure;
	int len;

	va_copy(measure, ap);
	len = vsnprintf(NULL, 0, fmt, measure);
	va_end(measure);
	if (len < 0) {
		sb->failed = true;
		return;
	}
	if (!strbuf_reserve(sb, (size_t)len))
		return;
	vsnprintf(sb->buf + sb->len, (size_t)len + 1, fmt, ap);
	sb->len += (size_t)len;
}

void strbuf_addf(struct strbuf *sb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(sb, fmt, ap);
	va_end(ap);
}

const char *strbuf_text(const struct strbuf *sb)
{
	return sb->buf ? sb->buf : "";
}
